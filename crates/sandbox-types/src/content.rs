//! What the content scan found in files, and how much of them it read.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RiskLevel;

/// One match of a content rule in a file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(from = "Document", into = "Document")]
pub struct ContentFinding {
    /// The file; bytes as the file system has them.
    pub path: PathBuf,
    /// Where it begins, counted from 1. What concerns the file as a whole stands at 1.
    pub line: u64,
    /// The byte of the line (of its UTF-8 form, if the file is UTF-16), counted from 1.
    pub column: u64,
    /// The rule's id, as in `secret.github-token`.
    pub rule: String,
    /// How bad it is.
    pub severity: RiskLevel,
    /// What was found, for people.
    pub message: String,
    /// The text that was found: without secrets, control characters escaped, on one line.
    pub evidence: String,
    /// What to do about it.
    pub suggestion: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Document {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    path_base64: Option<String>,
    line: u64,
    column: u64,
    rule: String,
    severity: RiskLevel,
    message: String,
    evidence: String,
    suggestion: String,
}

impl From<ContentFinding> for Document {
    fn from(finding: ContentFinding) -> Self {
        let (path, path_base64) = crate::change::path_as_text(&finding.path);
        Self {
            path,
            path_base64,
            line: finding.line,
            column: finding.column,
            rule: finding.rule,
            severity: finding.severity,
            message: finding.message,
            evidence: finding.evidence,
            suggestion: finding.suggestion,
        }
    }
}

impl From<Document> for ContentFinding {
    fn from(document: Document) -> Self {
        // A report is read back as far as it can be: a damaged path keeps its readable form.
        let exact = document
            .path_base64
            .and_then(|it| crate::change::path_of_base64(&it).ok());
        Self {
            path: exact.unwrap_or_else(|| document.path.into()),
            line: document.line,
            column: document.column,
            rule: document.rule,
            severity: document.severity,
            message: document.message,
            evidence: document.evidence,
            suggestion: document.suggestion,
        }
    }
}

/// How much of an operation's changes was scanned.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct ContentScan {
    /// Files that were scanned, wholly or in part.
    pub files: u64,
    /// Bytes that were read of them.
    pub bytes: u64,
    /// Findings that are not listed because there are too many.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub findings_not_listed: u64,
    /// What was not scanned, and why; cut after twenty.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub skipped: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What becomes of the changes of an operation in which the content scan finds something.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ContentAction {
    /// Nothing is scanned.
    Off,
    /// The findings are in the report.
    #[default]
    Report,
    /// The changes wait for a person.
    Review,
    /// The changes are dropped.
    Discard,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_text_comes_back() {
        use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};
        let finding = ContentFinding {
            path: OsString::from_vec(b"a\xffb".to_vec()).into(),
            line: 1,
            column: 2,
            rule: "text.hidden".to_owned(),
            severity: RiskLevel::High,
            message: String::new(),
            evidence: String::new(),
            suggestion: String::new(),
        };
        let text = serde_json::to_string(&finding).unwrap();
        assert!(text.contains("path_base64"), "{text}");
        assert_eq!(
            serde_json::from_str::<ContentFinding>(&text).unwrap(),
            finding
        );
    }
}
