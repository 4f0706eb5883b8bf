//! Operation documents: requests written as JSON or YAML.
//!
//! ```json
//! {"type": "command", "command": "echo hi > output.txt", "files": ["output.txt"], "timeout": "30s"}
//! ```
//!
//! A document comes from an agent as often as from a person, so nothing in it is ignored: an unknown
//! field, a wrong type and a value that cannot be meant are errors that name the field.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{
    Bytes, ConfigError, LimitsRequest, OnFailure, Operation,
    config::{check_number, check_wall_time},
};

mod action;
mod fields;
mod network;
#[cfg(test)]
mod tests;

use fields::Fields;

/// The fields that an operation of every type may have.
const COMMON_FIELDS: [&str; 9] = [
    "type",
    "id",
    "env",
    "files",
    "timeout",
    "limits",
    "network",
    "on_failure",
    "hide",
];
const LIMIT_FIELDS: [&str; 12] = [
    "memory_mb",
    "cpu_percent",
    "cpu_time",
    "processes",
    "disk_mb",
    "inodes",
    "io_read_mb",
    "io_write_mb",
    "open_files",
    "file_size_mb",
    "tmp_mb",
    "output_total_mb",
];
const ON_FAILURE: [(&str, OnFailure); 3] = [
    ("keep", OnFailure::Keep),
    ("discard", OnFailure::Discard),
    ("review", OnFailure::Review),
];

/// The document does not describe an operation that this version can run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The text is not JSON; the source has line and column.
    #[error("cannot read the operation document as JSON")]
    Json(#[source] serde_json::Error),
    /// A field that no operation has.
    #[error("cannot accept the unknown field `{field}`{}", did_you_mean(nearest.as_deref()))]
    UnknownField {
        /// The field with its path, as in `limits.memroy_mb`.
        field: String,
        /// The field that was probably meant.
        nearest: Option<String>,
    },
    /// A field of the wrong type. The document itself is the field `.`.
    #[error("cannot read `{field}`: expected {expected}, found {found}")]
    WrongType {
        /// The field with its path.
        field: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A field that every operation has is not there.
    #[error("cannot read an operation without the field `{field}`")]
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// A field that operations of another type have.
    #[error(
        "cannot accept the field `{field}` in an operation of type `{type_name}`, which has {}",
        in_words(known)
    )]
    ForeignField {
        /// The field.
        field: String,
        /// The type that the document has.
        type_name: String,
        /// The fields that this type has besides those that all have.
        known: Vec<&'static str>,
    },
    /// A type that nobody runs.
    #[error(
        "cannot run an operation of type `{given}`; there are {known}{}",
        did_you_mean(nearest.as_deref())
    )]
    UnsupportedType {
        /// The type that the document has.
        given: String,
        /// The types that there are, in words.
        known: String,
        /// The type that was probably meant.
        nearest: Option<String>,
    },
    /// Whoever added the type refuses the document.
    #[error("cannot read the operation of type `{type_name}`: {reason}")]
    Refused {
        /// The type.
        type_name: String,
        /// Why, as the plugin says it.
        reason: String,
    },
    /// Both `command` and `args`, or neither.
    #[error(
        "cannot tell what to run: an operation has either `command` (shell text) or `args` (a program and its arguments), and here is {found}"
    )]
    NotOneAction {
        /// What the document has.
        found: &'static str,
    },
    /// Both `content` and `content_base64`, or neither.
    #[error(
        "cannot tell what to write: a `file_write` has either `content` (text) or `content_base64`, and here is {found}"
    )]
    NotOneContent {
        /// What the document has.
        found: &'static str,
    },
    /// A value that cannot be meant.
    #[error("cannot use {value} for `{field}`: {reason}")]
    Value {
        /// The field with its path.
        field: String,
        /// What was given, in quotes if it is text.
        value: String,
        /// Why not, and what can be used.
        reason: String,
    },
}

impl OperationError {
    /// Returns the path of the field that is wrong, if it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Json(_)
            | Self::NotOneAction { .. }
            | Self::NotOneContent { .. }
            | Self::Refused { .. } => None,
            Self::UnknownField { field, .. }
            | Self::ForeignField { field, .. }
            | Self::WrongType { field, .. }
            | Self::Value { field, .. } => Some(field),
            Self::MissingField { field } => Some(field),
            Self::UnsupportedType { .. } => Some("type"),
        }
    }
}

impl Operation {
    /// Reads an operation document written as JSON.
    ///
    /// # Errors
    ///
    /// Fails when `text` is not JSON, and as [`from_document`](Self::from_document).
    pub fn from_json(text: &str) -> Result<Self, OperationError> {
        let document = serde_json::from_str(text).map_err(OperationError::Json)?;
        Self::from_document(document)
    }

    /// Reads an operation document. A field that is `null` counts as absent.
    ///
    /// # Errors
    ///
    /// Fails at an unknown field, a wrong type, a value that cannot be meant, or a type of operation
    /// that there is not.
    pub fn from_document(document: Value) -> Result<Self, OperationError> {
        Self::from_document_with(document, &[])
    }

    /// Like [`from_document`](Self::from_document), with types that a program adds.
    ///
    /// # Errors
    ///
    /// As [`from_document`](Self::from_document), and when whoever added the type refuses it.
    pub fn from_document_with(
        document: Value,
        foreign: &[ForeignType<'_>],
    ) -> Result<Self, OperationError> {
        let mut fields = Fields::of(document, "")?;
        let type_name = fields
            .take_text("type")?
            .ok_or(OperationError::MissingField { field: "type" })?;
        let built_in = action::TYPES.iter().find(|(name, ..)| *name == type_name);
        let mut operation = match built_in {
            Some((_, own, read)) => {
                refuse_foreign(&fields, &type_name, own)?;
                read(&mut fields)?
            }
            None => match foreign.iter().find(|it| it.name == type_name) {
                Some(foreign) => take_foreign(&mut fields, foreign)?,
                None => return Err(unsupported(&type_name, foreign)),
            },
        };
        operation.type_name = type_name;
        take_common(&mut fields, &mut operation)?;
        Ok(operation)
    }
}

/// Returns the names of the built-in types.
pub fn type_names() -> impl Iterator<Item = &'static str> {
    action::TYPES.iter().map(|(name, ..)| *name)
}

/// A type of operations that a program adds.
pub struct ForeignType<'a> {
    /// The `type` of its documents.
    pub name: &'a str,
    /// The fields that it has besides those that all have: `id`, `env`, `files`, `timeout`,
    /// `limits`, `network` and `on_failure`.
    pub fields: &'a [&'a str],
    /// Makes the operation of its own fields, or says why not.
    pub read: &'a dyn Fn(Map<String, Value>) -> Result<Operation, String>,
}

impl std::fmt::Debug for ForeignType<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignType")
            .field("name", &self.name)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

fn unsupported(given: &str, foreign: &[ForeignType<'_>]) -> OperationError {
    let built_in = action::TYPES.iter().map(|(name, ..)| *name);
    let names = built_in.chain(foreign.iter().map(|it| it.name));
    OperationError::UnsupportedType {
        nearest: crate::nearest(given, names).map(str::to_owned),
        known: action::type_names(foreign),
        given: shown(given),
    }
}

/// Refuses a field that the type has not, and says whether another type has it.
fn refuse_foreign(
    fields: &Fields,
    type_name: &str,
    own: &'static [&'static str],
) -> Result<(), OperationError> {
    let known: Vec<&str> = COMMON_FIELDS.iter().chain(own).copied().collect();
    let is_elsewhere = |field: &String| {
        let mut types = action::TYPES.iter();
        !known.contains(&field.as_str())
            && types.any(|(_, fields, _)| fields.contains(&field.as_str()))
    };
    match fields.names().into_iter().find(is_elsewhere) {
        Some(field) => Err(OperationError::ForeignField {
            field,
            type_name: type_name.to_owned(),
            known: own.to_vec(),
        }),
        None => fields.refuse_unknown(&known),
    }
}

fn take_foreign(
    fields: &mut Fields,
    foreign: &ForeignType<'_>,
) -> Result<Operation, OperationError> {
    let known: Vec<&str> = COMMON_FIELDS
        .iter()
        .chain(foreign.fields)
        .copied()
        .collect();
    fields.refuse_unknown(&known)?;
    (foreign.read)(fields.take_others(&COMMON_FIELDS)).map_err(|reason| OperationError::Refused {
        type_name: foreign.name.to_owned(),
        reason,
    })
}

/// Reads what an operation of every type may have; what is not there stays as the type made it.
fn take_common(fields: &mut Fields, operation: &mut Operation) -> Result<(), OperationError> {
    if let Some(id) = fields.take_text("id")? {
        operation.id = id
            .parse()
            .map_err(|error: crate::IdError| value_error("id", &id, error.to_string()))?;
    }
    operation.cwd = take_cwd(fields)?.or(operation.cwd.take());
    operation.stdin = fields.take_text("stdin")?.or(operation.stdin.take());
    operation.env.extend(take_env(fields)?);
    operation.files = take_files(fields)?.or(operation.files.take());
    operation.hide.extend(take_hide(fields)?);
    operation.timeout = take_span(fields, "timeout")?.or(operation.timeout);
    operation.limits = take_limits(fields)?.or(std::mem::take(&mut operation.limits));
    operation.network = network::take(fields)?.or(operation.network.take());
    if let Some(mode) = fields.take_choice("on_failure", &ON_FAILURE)? {
        operation.on_failure = mode;
    }
    Ok(())
}

fn take_cwd(fields: &mut Fields) -> Result<Option<PathBuf>, OperationError> {
    let Some(text) = fields.take_text("cwd")? else {
        return Ok(None);
    };
    refuse_nul("cwd", &text)?;
    let climbs = Path::new(&text)
        .components()
        .any(|part| part == Component::ParentDir);
    if climbs || text.is_empty() {
        let reason = "must be a directory of the workspace, without `..`";
        return Err(value_error("cwd", &text, reason));
    }
    Ok(Some(PathBuf::from(text)))
}

fn take_env(fields: &mut Fields) -> Result<BTreeMap<String, String>, OperationError> {
    let Some(mut variables) = fields.take_section("env")? else {
        return Ok(BTreeMap::new());
    };
    let mut env = BTreeMap::new();
    for name in variables.names() {
        let field = variables.path(&name);
        if name.is_empty() || name.contains('=') {
            let reason =
                "the name of an environment variable has at least one character and no '='";
            return Err(value_error("env", &name, reason));
        }
        refuse_nul(&field, &name)?;
        let Some(value) = variables.take_text(&name)? else {
            return Err(OperationError::WrongType {
                field,
                expected: "text".to_owned(),
                found: "null".to_owned(),
            });
        };
        refuse_nul(&field, &value)?;
        env.insert(name, value);
    }
    Ok(env)
}

fn take_files(fields: &mut Fields) -> Result<Option<Vec<String>>, OperationError> {
    let files = fields.take_texts("files")?;
    for (at, glob) in files.iter().flatten().enumerate() {
        let field = format!("files[{at}]");
        refuse_nul(&field, glob)?;
        if glob.is_empty() {
            let reason = "must be a path or a glob relative to the workspace";
            return Err(value_error(&field, glob, reason));
        }
    }
    Ok(files)
}

/// A document may hide more; what is granted is up to who runs it.
fn take_hide(fields: &mut Fields) -> Result<Vec<PathBuf>, OperationError> {
    let paths = fields.take_texts("hide")?.unwrap_or_default();
    for (at, path) in paths.iter().enumerate() {
        let field = format!("hide[{at}]");
        refuse_nul(&field, path)?;
        let mut parts = Path::new(path).components();
        if path.is_empty() || parts.any(|part| part == Component::ParentDir) {
            let reason = "must be a path without `..`, absolute or relative to the workspace";
            return Err(value_error(&field, path, reason));
        }
    }
    Ok(paths.into_iter().map(PathBuf::from).collect())
}

fn take_span(fields: &mut Fields, name: &str) -> Result<Option<Duration>, OperationError> {
    let path = fields.path(name);
    fields
        .take_text(name)?
        .map(|text| check_wall_time(&path, &text).map_err(|error| renamed(error, path.clone())))
        .transpose()
}

fn take_limits(fields: &mut Fields) -> Result<LimitsRequest, OperationError> {
    let Some(mut limits) = fields.take_section("limits")? else {
        return Ok(LimitsRequest::default());
    };
    limits.refuse_unknown(&LIMIT_FIELDS)?;
    let cpu_time = take_span(&mut limits, "cpu_time")?;
    let mut amount = |name: &str| -> Result<Option<u64>, OperationError> {
        let Some(value) = limits.take_number(name)? else {
            return Ok(None);
        };
        check_number(&format!("resource_limits.{name}"), value)
            .map_err(|error| renamed(error, limits.path(name)))?;
        Ok(Some(value.unsigned_abs()))
    };
    let small = |value: Option<u64>| value.map(|it| u32::try_from(it).unwrap_or(u32::MAX));
    Ok(LimitsRequest {
        memory: amount("memory_mb")?.map(Bytes::mib),
        cpu_percent: small(amount("cpu_percent")?),
        cpu_time,
        processes: small(amount("processes")?),
        disk: amount("disk_mb")?.map(Bytes::mib),
        inodes: amount("inodes")?,
        io_read: amount("io_read_mb")?.map(Bytes::mib),
        io_write: amount("io_write_mb")?.map(Bytes::mib),
        // It has a field of its own, `timeout`.
        wall_time: None,
        open_files: amount("open_files")?,
        file_size: amount("file_size_mb")?.map(Bytes::mib),
        tmp_size: amount("tmp_mb")?.map(Bytes::mib),
        output_total: amount("output_total_mb")?.map(Bytes::mib),
    })
}

fn refuse_nul(field: &str, text: &str) -> Result<(), OperationError> {
    if text.contains('\0') {
        let reason = "must not contain a NUL byte: the kernel ends texts there";
        return Err(value_error(field, text, reason));
    }
    Ok(())
}

fn value_error(field: &str, value: &str, reason: impl Into<String>) -> OperationError {
    OperationError::Value {
        field: field.escape_debug().to_string(),
        value: format!("'{}'", shown(value)),
        reason: reason.into(),
    }
}

fn renamed(error: ConfigError, field: String) -> OperationError {
    OperationError::Value {
        field,
        value: error.value,
        reason: error.reason,
    }
}

/// Returns text from a document as a message shows it: short, on one line, without control bytes.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    short.escape_debug().to_string()
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn in_words(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
