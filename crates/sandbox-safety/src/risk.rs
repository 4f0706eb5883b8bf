//! The score: what the findings add up to, unconfined and inside the confinement.

mod formula;

use sandbox_types::{Effect, NetworkAccess, Risk, RiskLevel};

use crate::validator::Confinement;

pub use formula::Thresholds;
pub(crate) use formula::{Formula, FormulaChange, ProfileChange};

/// A finding that a person should know of and need not answer.
pub(crate) const LOW: u8 = 15;
/// Loses work or reaches outside; a person is asked.
pub(crate) const MEDIUM: u8 = 35;
/// Serious, and rarely meant.
pub(crate) const HIGH: u8 = 60;
/// Destroys the machine or gives it away: refused.
pub(crate) const CRITICAL: u8 = 90;

/// What takes an effect back or keeps it from happening in a sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Held {
    /// The transaction: it can be undone.
    Rollback,
    /// The view: what it is about cannot be seen or written from inside.
    View,
    /// An empty network: it cannot leave the machine.
    Network,
    /// Nothing: what cannot be read may do anything.
    Nothing,
}

impl Held {
    /// Returns what holds it, in a word; `None` where nothing does.
    pub(crate) const fn by(self) -> Option<&'static str> {
        match self {
            Self::Rollback => Some("rollback"),
            Self::View => Some("view"),
            Self::Network => Some("network"),
            Self::Nothing => None,
        }
    }
}

/// A finding's part in the score.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) score: u8,
    pub(crate) effects: &'a [Effect],
    pub(crate) held: Held,
}

impl Formula {
    /// Returns what the parts add up to unconfined.
    pub(crate) fn inherent(&self, parts: &[Part<'_>]) -> Risk {
        self.sum(parts, |part| part.score)
    }

    /// Returns what remains of the parts inside the confinement.
    pub(crate) fn residual(&self, parts: &[Part<'_>], confinement: &Confinement) -> Risk {
        self.sum(parts, |part| self.remaining(part, confinement))
    }

    /// Returns what remains of one part inside the confinement.
    pub(crate) fn remaining(&self, part: &Part<'_>, confinement: &Confinement) -> u8 {
        if is_held(part.held, confinement) {
            let left = part.score.saturating_sub(self.held_takes_off);
            left.min(self.held_keeps_at_most).max(1)
        } else {
            part.score
        }
    }

    /// The strongest part, plus `class_adds` for each further class of effects, within its level.
    ///
    /// Two harmless things together are not a harm: what is one has its own rule (see `flow`). So the
    /// bonus orders findings of one level and never lifts them over it.
    fn sum(&self, parts: &[Part<'_>], score: impl Fn(&Part<'_>) -> u8) -> Risk {
        let Some(strongest) = parts.iter().max_by_key(|part| score(part)) else {
            return Risk::default();
        };
        let base = score(strongest);
        let mut classes: Vec<Effect> = parts
            .iter()
            .flat_map(|part| part.effects)
            .copied()
            .collect();
        classes.sort_unstable();
        classes.dedup();
        let further = classes
            .iter()
            .filter(|class| !strongest.effects.contains(class))
            .count();
        let bonus = u8::try_from(further)
            .unwrap_or(u8::MAX)
            .saturating_mul(self.class_adds)
            .min(self.classes_add_at_most);
        let highest = match RiskLevel::of_score(base) {
            RiskLevel::None => 0,
            RiskLevel::Low => 24,
            RiskLevel::Medium => 49,
            RiskLevel::High => 79,
            RiskLevel::Critical => 100,
        };
        Risk::of_score(base.saturating_add(bonus).min(highest))
    }
}

/// Returns whether the confinement holds what is held so.
fn is_held(held: Held, confinement: &Confinement) -> bool {
    let Confinement::Sandboxed {
        network,
        transaction,
    } = confinement
    else {
        return false;
    };
    match held {
        Held::Rollback => *transaction,
        Held::View => true,
        Held::Network => match network {
            NetworkAccess::None => true,
            // What may leave, may leave to any of the listed hosts.
            NetworkAccess::Allow(list) => list.patterns().is_empty(),
            NetworkAccess::Host => false,
        },
        Held::Nothing => false,
    }
}
