//! The numbers of the score: built in, and changed by the `risk` of a rule pack.

use std::collections::BTreeMap;

use sandbox_types::{Decision, Effect};

use super::LOW;
use crate::policy::Profile;

/// The numbers that the score and the decision are made with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Formula {
    /// What each further class of effects adds, and all of them together at most.
    pub(super) class_adds: u8,
    pub(super) classes_add_at_most: u8,
    /// What is taken off a finding that is held, and what it keeps at most.
    pub(super) held_takes_off: u8,
    pub(super) held_keeps_at_most: u8,
    /// What a finding with this effect scores at least.
    at_least: BTreeMap<Effect, u8>,
    ask_from: ByProfile,
    deny_from: ByProfile,
}

/// A score for each profile that decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct ByProfile {
    strict: u8,
    default: u8,
    permissive: u8,
}

impl Default for Formula {
    fn default() -> Self {
        Self {
            class_adds: 10,
            classes_add_at_most: 20,
            held_takes_off: 50,
            held_keeps_at_most: LOW,
            at_least: BTreeMap::new(),
            // The least scores of low, medium and high; of critical.
            ask_from: ByProfile {
                strict: 1,
                default: 25,
                permissive: 50,
            },
            deny_from: ByProfile {
                strict: 80,
                default: 80,
                permissive: 80,
            },
        }
    }
}

/// The scores from which a profile asks and denies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Thresholds {
    /// The residual risk from which a person is asked.
    pub ask_from: u8,
    /// The inherent risk from which it is refused, whatever confines it.
    pub deny_from: u8,
}

impl Thresholds {
    /// Decides on two scores.
    pub(crate) const fn decide(self, inherent: u8, residual: u8) -> Decision {
        if inherent >= self.deny_from {
            Decision::Deny
        } else if residual >= self.ask_from {
            Decision::Ask
        } else {
            Decision::Allow
        }
    }
}

impl Formula {
    /// Returns from where a profile asks and denies; `None` for one that never does.
    pub(crate) const fn thresholds(&self, profile: Profile) -> Option<Thresholds> {
        let (asks, denies) = (&self.ask_from, &self.deny_from);
        let (ask_from, deny_from) = match profile {
            Profile::Strict => (asks.strict, denies.strict),
            Profile::Default => (asks.default, denies.default),
            Profile::Permissive => (asks.permissive, denies.permissive),
            Profile::Audit => return None,
        };
        Some(Thresholds {
            ask_from,
            deny_from,
        })
    }

    /// Returns the score of a finding with these effects.
    pub(crate) fn raised(&self, score: u8, effects: &[Effect]) -> u8 {
        let least = effects.iter().filter_map(|it| self.at_least.get(it));
        least.copied().fold(score, u8::max)
    }
}

/// What a rule pack makes of the formula; what it does not name stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct FormulaChange {
    pub(crate) class_adds: Option<u8>,
    pub(crate) classes_add_at_most: Option<u8>,
    pub(crate) held_takes_off: Option<u8>,
    pub(crate) held_keeps_at_most: Option<u8>,
    pub(crate) at_least: BTreeMap<Effect, u8>,
    pub(crate) ask_from: ProfileChange,
    pub(crate) deny_from: ProfileChange,
}

/// Other scores for some profiles.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProfileChange {
    pub(crate) strict: Option<u8>,
    pub(crate) default: Option<u8>,
    pub(crate) permissive: Option<u8>,
}

impl FormulaChange {
    /// Changes `formula`.
    pub(crate) fn apply(&self, formula: &mut Formula) {
        let number = |of: &mut u8, to: Option<u8>| *of = to.unwrap_or(*of);
        number(&mut formula.class_adds, self.class_adds);
        number(&mut formula.classes_add_at_most, self.classes_add_at_most);
        number(&mut formula.held_takes_off, self.held_takes_off);
        number(&mut formula.held_keeps_at_most, self.held_keeps_at_most);
        formula.at_least.extend(&self.at_least);
        for (by, change) in [
            (&mut formula.ask_from, &self.ask_from),
            (&mut formula.deny_from, &self.deny_from),
        ] {
            number(&mut by.strict, change.strict);
            number(&mut by.default, change.default);
            number(&mut by.permissive, change.permissive);
        }
    }
}
