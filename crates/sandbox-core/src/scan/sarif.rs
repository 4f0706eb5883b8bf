//! A scan's report in SARIF 2.1.0, for tools of code review.
//!
//! The format is OASIS's: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path},
};

use sandbox_safety::{ContentRule, content_rules};
use sandbox_types::{ContentFinding, RiskLevel};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{ScanReport, Unreadable};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// What relative paths begin at: the directory that was scanned from.
const ROOT: &str = "%SRCROOT%";

impl ScanReport {
    /// Returns the report as a SARIF 2.1.0 log with one run.
    ///
    /// A finding has its line; its column is a byte, which SARIF cannot say, and stands in its
    /// properties. What could not be scanned is a notification of the run.
    pub fn sarif(&self) -> Value {
        let rules: Vec<&ContentRule> = content_rules().collect();
        let mut seen = BTreeMap::new();
        let results: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                let index = rules.iter().position(|it| it.id == finding.rule);
                result(finding, index, &mut seen)
            })
            .collect();
        json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {
                    "name": "sandbox",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules.into_iter().map(rule).collect::<Vec<_>>(),
                }},
                "invocations": [{
                    "executionSuccessful": self.unreadable.is_empty(),
                    "toolExecutionNotifications": self.notifications(),
                }],
                "results": results,
            }],
        })
    }

    fn notifications(&self) -> Vec<Value> {
        let unreadable = self.unreadable.iter().map(not_scanned);
        let partly = self.partly.iter().map(|path| {
            let text = "only the first bytes were scanned".to_owned();
            notification("warning", text, Some(path))
        });
        let unlisted = [
            (
                "error",
                self.unreadable_not_listed,
                "more could not be scanned",
            ),
            (
                "warning",
                self.findings_not_listed,
                "more findings are not listed",
            ),
        ];
        let unlisted = unlisted
            .into_iter()
            .filter(|(_, count, _)| *count > 0)
            .map(|(level, count, what)| notification(level, format!("{count} {what}"), None));
        unreadable.chain(partly).chain(unlisted).collect()
    }
}

fn not_scanned(unreadable: &Unreadable) -> Value {
    let text = format!("not scanned: {}", unreadable.reason);
    notification("error", text, Some(&unreadable.path))
}

fn notification(level: &str, text: String, path: Option<&Path>) -> Value {
    let mut notification = json!({"level": level, "message": {"text": text}});
    if let Some(path) = path {
        let location = json!({"physicalLocation": {"artifactLocation": artifact(path)}});
        notification["locations"] = json!([location]);
    }
    notification
}

fn rule(rule: &ContentRule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.message},
        "help": {"text": rule.suggestion},
        "defaultConfiguration": {"level": level(rule.severity)},
        "properties": {"tags": ["security"], "security-severity": severity(rule.severity)},
    })
}

fn result(
    finding: &ContentFinding,
    rule_index: Option<usize>,
    seen: &mut BTreeMap<String, u64>,
) -> Value {
    let text = if finding.evidence.is_empty() {
        finding.message.clone()
    } else {
        format!("{}: {}", finding.message, finding.evidence)
    };
    let mut result = json!({
        "ruleId": finding.rule,
        "level": level(finding.severity),
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": artifact(&finding.path),
            "region": {"startLine": finding.line},
        }}],
        "partialFingerprints": {"ruleFileEvidence/v1": fingerprint(finding, seen)},
        "properties": {"byteColumn": finding.column},
    });
    if let Some(index) = rule_index {
        result["ruleIndex"] = json!(index);
    }
    result
}

/// Returns what stays the same when lines are added above a finding: its rule, file and evidence, and
/// which of several equal ones it is.
fn fingerprint(finding: &ContentFinding, seen: &mut BTreeMap<String, u64>) -> String {
    let mut hash = Sha256::new();
    let path = finding.path.as_os_str().as_bytes();
    for part in [finding.rule.as_bytes(), path, finding.evidence.as_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        let _infallible = write!(text, "{byte:02x}");
    }
    let count = seen.entry(text.clone()).or_default();
    *count += 1;
    let _infallible = write!(text, ":{count}");
    text
}

const fn level(severity: RiskLevel) -> &'static str {
    match severity {
        RiskLevel::Critical | RiskLevel::High => "error",
        RiskLevel::Medium => "warning",
        RiskLevel::Low => "note",
        RiskLevel::None => "none",
    }
}

/// Returns the severity as GitHub's code scanning reads it: a number in the ranges of CVSS.
const fn severity(severity: RiskLevel) -> &'static str {
    match severity {
        RiskLevel::Critical => "9.5",
        RiskLevel::High => "8.0",
        RiskLevel::Medium => "5.0",
        RiskLevel::Low => "2.0",
        RiskLevel::None => "0.0",
    }
}

/// Returns where a file lies: relative to the root if it was named so.
fn artifact(path: &Path) -> Value {
    if path.is_absolute() {
        return json!({"uri": format!("file://{}", encoded(path))});
    }
    let parts = path.components();
    let path: &Path = &parts
        .filter(|it| *it != Component::CurDir)
        .collect::<std::path::PathBuf>();
    json!({"uri": encoded(path), "uriBaseId": ROOT})
}

/// Returns a path with all but the unreserved characters of RFC 3986 percent-encoded, byte by byte.
fn encoded(path: &Path) -> String {
    let mut uri = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            let _infallible = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
