//! The `risk` of a rule pack as it is written: other numbers for the score.

use std::collections::BTreeMap;

use sandbox_types::{Effect, RiskLevel};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    PackError,
    text::{Score, wrong},
};
use crate::risk::{FormulaChange, ProfileChange};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NumbersText {
    #[serde(default)]
    ask_from: ProfilesText,
    #[serde(default)]
    deny_from: ProfilesText,
    #[serde(default)]
    at_least: BTreeMap<Effect, Spanned<Score>>,
    class_adds: Option<Spanned<u8>>,
    classes_add_at_most: Option<Spanned<u8>>,
    held_takes_off: Option<Spanned<u8>>,
    held_keeps_at_most: Option<Spanned<u8>>,
}

/// `audit` is none of them: it never blocks.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfilesText {
    strict: Option<Spanned<From>>,
    default: Option<Spanned<From>>,
    permissive: Option<Spanned<From>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(
    untagged,
    expecting = "a profile asks or denies from a number from 1 to 100, or from low, medium, high or critical"
)]
enum From {
    Score(u8),
    Level(RiskLevel),
}

/// Reads the numbers of a pack.
pub(super) fn read(file: &str, text: NumbersText) -> Result<FormulaChange, PackError> {
    let number = |it: Option<Spanned<u8>>| it.map(|it| up_to_100(file, &it)).transpose();
    let mut at_least = BTreeMap::new();
    for (effect, score) in text.at_least {
        let value = score.value.value();
        if !(1..=100).contains(&value) {
            let problem = "a score is 1 to 100, or low, medium, high or critical";
            return Err(wrong(file, &score, problem));
        }
        at_least.insert(effect, value);
    }
    Ok(FormulaChange {
        class_adds: number(text.class_adds)?,
        classes_add_at_most: number(text.classes_add_at_most)?,
        held_takes_off: number(text.held_takes_off)?,
        held_keeps_at_most: number(text.held_keeps_at_most)?,
        at_least,
        ask_from: profiles(file, text.ask_from)?,
        deny_from: profiles(file, text.deny_from)?,
    })
}

fn up_to_100(file: &str, number: &Spanned<u8>) -> Result<u8, PackError> {
    if number.value > 100 {
        return Err(wrong(file, number, "scores end at 100"));
    }
    Ok(number.value)
}

fn profiles(file: &str, text: ProfilesText) -> Result<ProfileChange, PackError> {
    let score = |it: Option<Spanned<From>>| it.map(|it| least(file, &it)).transpose();
    Ok(ProfileChange {
        strict: score(text.strict)?,
        default: score(text.default)?,
        permissive: score(text.permissive)?,
    })
}

/// Returns the least score that is meant.
fn least(file: &str, from: &Spanned<From>) -> Result<u8, PackError> {
    let levels = 1..=100_u8;
    let score = match from.value {
        From::Score(score) => Some(score),
        From::Level(level) => levels
            .clone()
            .find(|score| RiskLevel::of_score(*score) == level),
    };
    score.filter(|score| levels.contains(score)).ok_or_else(|| {
        let problem = "0 and `none` would be reached by what nobody found anything in: \
                           give 1 to 100, or low, medium, high or critical";
        wrong(file, from, problem)
    })
}
