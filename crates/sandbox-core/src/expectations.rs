//! What a site expects of its policy: commands with the decisions that they should get.

use sandbox_types::{Decision, Operation, Verdict};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::check::Judge;

/// One expectation.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The line in the file, counted from 1.
    pub line: u64,
    /// Shell text.
    pub command: String,
    /// What is to happen.
    pub decision: Decision,
    /// Rules that must be among the findings.
    pub rules: Vec<String>,
}

/// A file of expectations cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot use {file}:{line}:{column}: {problem}")]
#[non_exhaustive]
pub struct ExpectationsError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u64,
    /// The column, counted from 1.
    pub column: u64,
    /// What is wrong there.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    command: Spanned<String>,
    decision: Decision,
    #[serde(default)]
    rules: Vec<String>,
}

/// Reads a list of expectations: `command`, `decision`, and `rules` if some must be found.
///
/// # Errors
///
/// When the text is not such a list, or is an empty one.
pub fn expectations(file: &str, text: &str) -> Result<Vec<Expectation>, ExpectationsError> {
    let failed = |line, column, problem: String| ExpectationsError {
        file: file.to_owned(),
        line,
        column,
        problem,
    };
    let options = serde_saphyr::options! { with_snippet: false };
    let entries: Vec<Entry> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let (line, column) = error
                .location()
                .map_or((1, 1), |it| (it.line(), it.column()));
            let told = error.to_string();
            let suffix = format!(" at line {line}, column {column}");
            let problem = told.strip_suffix(&suffix).unwrap_or(&told);
            failed(line, column, problem.to_owned())
        })?;
    if entries.is_empty() {
        return Err(failed(1, 1, "it expects nothing".to_owned()));
    }
    let entries = entries.into_iter().map(|it| Expectation {
        line: it.command.referenced.line(),
        command: it.command.value,
        decision: it.decision,
        rules: it.rules,
    });
    Ok(entries.collect())
}

impl Expectation {
    /// Returns the verdict, and what of it is not as expected.
    pub fn check(&self, judge: &Judge) -> (Verdict, Option<String>) {
        let verdict = judge.judge(&Operation::shell(&self.command));
        let found = |rule: &String| verdict.findings.iter().any(|it| it.rule == *rule);
        let missing: Vec<&str> = self
            .rules
            .iter()
            .filter(|rule| !found(rule))
            .map(String::as_str)
            .collect();
        let problem = if verdict.decision != self.decision {
            Some(format!(
                "expected {}, and it is {}",
                self.decision, verdict.decision
            ))
        } else if !missing.is_empty() {
            Some(format!("did not find {}", missing.join(", ")))
        } else {
            None
        };
        (verdict, problem)
    }
}
