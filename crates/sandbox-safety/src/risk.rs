//! The score: what the findings add up to, unconfined and inside the confinement.

use sandbox_types::{Effect, NetworkAccess, Risk, RiskLevel};

use crate::validator::Confinement;

/// A finding that a person should know of and need not answer.
pub(crate) const LOW: u8 = 15;
/// Loses work or reaches outside; a person is asked.
pub(crate) const MEDIUM: u8 = 35;
/// Serious, and rarely meant.
pub(crate) const HIGH: u8 = 60;
/// Destroys the machine or gives it away: refused.
pub(crate) const CRITICAL: u8 = 90;

/// What each further class of effects adds, up to two of them.
const CLASS_BONUS: u8 = 10;
const CLASS_BONUS_MAX: u8 = 20;
/// What rollback takes off: two levels.
const ROLLBACK_DISCOUNT: u8 = 50;

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

/// Returns what the parts add up to unconfined.
pub(crate) fn inherent(parts: &[Part<'_>]) -> Risk {
    sum(parts, |part| part.score)
}

/// Returns what remains of the parts inside the confinement.
pub(crate) fn residual(parts: &[Part<'_>], confinement: &Confinement) -> Risk {
    sum(parts, |part| remaining(part, confinement))
}

/// Returns what remains of one part inside the confinement.
pub(crate) fn remaining(part: &Part<'_>, confinement: &Confinement) -> u8 {
    let Confinement::Sandboxed {
        network,
        transaction,
    } = confinement
    else {
        return part.score;
    };
    let held = match part.held {
        Held::Rollback => *transaction,
        Held::View => true,
        Held::Network => match network {
            NetworkAccess::None => true,
            // What may leave, may leave to any of the listed hosts.
            NetworkAccess::Allow(list) => list.patterns().is_empty(),
            NetworkAccess::Host => false,
        },
        Held::Nothing => false,
    };
    if held {
        part.score.saturating_sub(ROLLBACK_DISCOUNT).clamp(1, LOW)
    } else {
        part.score
    }
}

/// The strongest part, plus [`CLASS_BONUS`] for each further class of effects, within its level.
///
/// Two harmless things together are not a harm: what is one has its own rule (see `flow`). So the
/// bonus orders findings of one level and never lifts them over it.
fn sum(parts: &[Part<'_>], score: impl Fn(&Part<'_>) -> u8) -> Risk {
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
        .saturating_mul(CLASS_BONUS)
        .min(CLASS_BONUS_MAX);
    let highest = match RiskLevel::of_score(base) {
        RiskLevel::None => 0,
        RiskLevel::Low => 24,
        RiskLevel::Medium => 49,
        RiskLevel::High => 79,
        RiskLevel::Critical => 100,
    };
    Risk::of_score(base.saturating_add(bonus).min(highest))
}
