//! Identifiers: operations and sandboxes.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest id or name, in bytes.
pub const ID_LENGTH_MAX: usize = 64;

/// The text cannot name an operation or a sandbox.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "'{text}' is not a valid {what}: use 1 to {ID_LENGTH_MAX} letters, digits, '-', '_' and '.', starting with a letter or digit"
)]
pub struct IdError {
    /// What was given, shortened.
    pub text: String,
    /// What it was given for.
    pub what: &'static str,
}

fn check(text: &str, what: &'static str) -> Result<(), IdError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && text.len() <= ID_LENGTH_MAX && text.chars().all(legal) {
        return Ok(());
    }
    Err(IdError {
        text: text.chars().take(80).collect(),
        what,
    })
}

/// The name of one operation, unique within its sandbox.
#[derive(
    Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct OperationId(String);

impl OperationId {
    /// Returns a new id: a UUID of version 7 (RFC 9562), so ids sort by time.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a sandbox, unique within one home directory.
#[derive(
    Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxName(String);

impl SandboxName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a request that waits for approval, or of a rule that approves.
#[derive(
    Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct ApprovalId(String);

impl ApprovalId {
    /// Returns a new id: a UUID of version 7 (RFC 9562), so ids sort by time. No id is ever used again.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_id {
    ($name:ident, $what:literal) => {
        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text, $what).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(OperationId, "operation id");
text_id!(SandboxName, "sandbox name");
text_id!(ApprovalId, "approval id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_file_names() {
        assert!("demo_op".parse::<OperationId>().is_ok());
        for bad in ["", ".", "..", "a/b", "-x", "a b", "a\n"] {
            assert!(bad.parse::<SandboxName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn generated_ids_sort_by_time() {
        let first = OperationId::generate();
        assert!(first < OperationId::generate());
    }
}
