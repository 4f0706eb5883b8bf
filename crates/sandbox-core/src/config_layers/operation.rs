//! Operation documents from files: JSON or YAML, with the place of what is wrong.

use sandbox_types::{ForeignType, Operation, OperationError};

use super::yaml::{self, Position};

/// The text does not describe an operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationTextError {
    /// It is neither JSON nor YAML.
    #[error("cannot read {name}:{line}:{column}: {problem}")]
    Syntax {
        /// The file, as the caller named it.
        name: String,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// What the parser did not understand.
        problem: String,
    },
    /// It is not an operation that can be run.
    #[error("cannot accept the operation at {name}:{line}:{column}")]
    Operation {
        /// The file, as the caller named it.
        name: String,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// What is wrong.
        #[source]
        source: OperationError,
    },
}

/// Reads an operation document in JSON or YAML; `name` is the file's name in errors.
///
/// # Errors
///
/// Fails when `text` is neither, or does not describe an operation.
pub fn operation_from_text(text: &str, name: &str) -> Result<Operation, OperationTextError> {
    operation_from_text_with(text, name, &[])
}

/// Like [`operation_from_text`], with types that a program adds.
pub(crate) fn operation_from_text_with(
    text: &str,
    name: &str,
    types: &[ForeignType<'_>],
) -> Result<Operation, OperationTextError> {
    if let Ok(document) = serde_json::from_str(text) {
        return Operation::from_document_with(document, types)
            .map_err(|source| misplaced(source, name, yaml::parse(text).ok().as_ref()));
    }
    let tree = yaml::parse(text).map_err(|error| OperationTextError::Syntax {
        name: name.to_owned(),
        line: error.at.line,
        column: error.at.column,
        problem: error.problem,
    })?;
    Operation::from_document_with(tree.clone().into_json(), types)
        .map_err(|source| misplaced(source, name, Some(&tree)))
}

fn misplaced(source: OperationError, name: &str, tree: Option<&yaml::Node>) -> OperationTextError {
    let field = source.field().and_then(|field| tree?.find(field));
    let at = field.unwrap_or(Position { line: 1, column: 1 });
    OperationTextError::Operation {
        name: name.to_owned(),
        line: at.line,
        column: at.column,
        source,
    }
}
