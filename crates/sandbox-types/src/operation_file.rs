//! Operation documents: requests written as JSON or YAML.

/// The document does not describe an operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {}
