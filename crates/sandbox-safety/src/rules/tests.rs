//! Every rule finds what it says it finds, and spares what it says it spares.

use std::collections::BTreeSet;

use super::all;
use crate::{Policy, Profile, SafetyValidator, Surroundings};

fn found(text: &str) -> BTreeSet<String> {
    let validator = SafetyValidator::new(Policy::of(Profile::Default));
    let verdict = validator.judge_text(text, &Surroundings::unconfined());
    verdict
        .findings
        .into_iter()
        .map(|finding| finding.rule)
        .collect()
}

#[test]
fn every_rule_matches_and_spares_its_examples() {
    let mut wrong = Vec::new();
    for rule in all() {
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
fn rules_are_told_apart_and_explained() {
    let ids: Vec<&str> = all().map(|rule| rule.id).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len());
    assert!(ids.len() >= 40, "{}", ids.len());
    for rule in all() {
        assert!((1..=100).contains(&rule.score), "{}", rule.id);
        assert!(
            !rule.effects.is_empty() && !rule.message.is_empty(),
            "{}",
            rule.id
        );
        assert!(!rule.suggestion.is_empty(), "{}", rule.id);
    }
}
