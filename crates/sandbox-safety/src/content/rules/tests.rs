//! Every content rule finds what it says it finds, and spares what it says it spares.

use std::collections::BTreeSet;

use sandbox_types::RiskLevel;

use super::{LooksIn, When, content_rules, content_words};
use crate::{ContentPolicy, ContentScanner};

fn found(example: &str) -> BTreeSet<String> {
    let (name, text) = example
        .strip_prefix('@')
        .and_then(|it| it.split_once('|'))
        .unwrap_or(("example", example));
    let scanner = ContentScanner::new(ContentPolicy::from(RiskLevel::Low));
    let scanned = scanner.scan(name, text.as_bytes());
    scanned.findings.into_iter().map(|it| it.rule).collect()
}

#[test]
fn every_rule_matches_and_spares_its_examples() {
    let mut wrong = Vec::new();
    for rule in content_rules() {
        for text in rule.matches {
            if !found(text).contains(rule.id) {
                wrong.push(format!("{} misses {text:?}: {:?}", rule.id, found(text)));
            }
        }
        for text in rule.spares {
            if found(text).contains(rule.id) {
                wrong.push(format!("{} does not spare {text:?}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules_are_told_apart_explained_and_exemplified() {
    let ids: Vec<&str> = content_rules().map(|rule| rule.id).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len());
    assert!(ids.len() >= 60, "{}", ids.len());
    for rule in content_rules() {
        assert!(rule.severity > RiskLevel::None, "{}", rule.id);
        assert!(
            !rule.message.is_empty() && !rule.suggestion.is_empty(),
            "{}",
            rule.id
        );
        if !matches!(rule.when, When::Policy) {
            assert!(
                !rule.matches.is_empty() && !rule.spares.is_empty(),
                "{}",
                rule.id
            );
        }
        if matches!(rule.when, When::File(_)) {
            assert_eq!(rule.looks_in, LooksIn::Name, "{}", rule.id);
        }
    }
    assert!(content_words().all(|word| word.len() > 1));
}

/// A secret that a finding shows would be one more place where it leaks.
#[test]
fn no_secret_is_shown() {
    for rule in content_rules().filter(|rule| rule.id.starts_with("secret.")) {
        for example in rule.matches {
            let scanner = ContentScanner::new(ContentPolicy::from(RiskLevel::Low));
            for finding in scanner.scan("example", example.as_bytes()).findings {
                let shown = finding.evidence;
                let secret = example
                    .split(|c: char| !c.is_ascii_alphanumeric())
                    .any(|word| word.len() >= 16 && shown.contains(&word[..16]));
                assert!(!secret, "{}: {shown}", rule.id);
            }
        }
    }
}
