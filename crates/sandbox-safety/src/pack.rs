//! Rule packs: what programs do, and what a site allows, asks and denies, as YAML.
//!
//! The packs in `packs/` are compiled into tables (`embedded`), so that they cost nothing at the
//! start of a program; a user's packs are read when a judge is made.

pub(crate) mod embedded;
mod grant;
mod numbers;
mod source;
mod text;

use std::sync::Arc;

use sandbox_types::{Effect, operation_file::type_names};

use crate::{
    Policy, Profile, SafetyValidator, Surroundings,
    paths::Places,
    pattern,
    risk::{Formula, FormulaChange, Held},
    rules::{self, Told},
    shell::{SimpleCommand, Span},
};

pub(crate) use grant::{Answer, Occasion};
pub use source::embedded_source;

/// A rule pack that was read and whose examples hold.
#[derive(Clone, Debug)]
pub struct RulePack {
    name: String,
    rules: Vec<PackRule>,
    overrides: Vec<Override>,
    grants: Vec<grant::Grant>,
    formula: FormulaChange,
}

/// A rule of a pack, with the places of what may be wrong in it.
#[derive(Clone, Debug)]
struct PackRule {
    id: String,
    score: u8,
    effects: Vec<Effect>,
    held: Held,
    when: Vec<String>,
    why: String,
    safer: String,
    examples: Vec<Example>,
}

/// A command that a rule must find, or must leave alone.
#[derive(Clone, Debug)]
struct Example {
    command: String,
    found: bool,
    at: Position,
}

/// What another pack makes of a rule: a score of its own, or nothing at all.
#[derive(Clone, Debug)]
struct Override {
    rule: String,
    /// 0 switches it off.
    score: u8,
}

/// A line and a column, both counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Position {
    line: u64,
    column: u64,
}

/// A rule pack cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot use {file}:{line}:{column}: {problem}")]
#[non_exhaustive]
pub struct PackError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u64,
    /// The column, counted from 1.
    pub column: u64,
    /// What is wrong there.
    pub problem: String,
}

impl PackError {
    fn at(file: &str, at: Position, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            problem: problem.into(),
        }
    }
}

impl RulePack {
    /// Reads a pack and checks that every rule finds and spares its examples. `file` is its name in
    /// errors.
    ///
    /// # Errors
    ///
    /// When the text is not YAML, has a field, effect, place, type or pattern that is not known, gives a
    /// rule the id of another one, or when an example does not hold.
    pub fn parse(file: &str, text: &str) -> Result<Self, PackError> {
        Self::parse_with(file, text, &[])
    }

    /// Like [`Self::parse`], for a program that adds `types` of operations.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn parse_with(file: &str, text: &str, types: &[&str]) -> Result<Self, PackError> {
        let mut known: Vec<&str> = type_names().collect();
        known.extend(types);
        let pack = text::read(file, text, &known)?;
        pack.check_ids(file)?;
        pack.check_examples(file)?;
        Ok(pack)
    }

    /// Returns the name that the pack gives itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the ids of its rules.
    pub fn rule_ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.id.as_str())
    }

    fn check_ids(&self, file: &str) -> Result<(), PackError> {
        for (index, rule) in self.rules.iter().enumerate() {
            let at = rule.examples.first().map(|it| it.at).unwrap_or_default();
            if rules::all().any(|known| known.id == rule.id) {
                let problem = format!(
                    "the rule `{}` is built in: use `override` to change it",
                    rule.id
                );
                return Err(PackError::at(file, at, problem));
            }
            if self.rules[..index].iter().any(|other| other.id == rule.id) {
                let problem = format!("the rule `{}` is there twice", rule.id);
                return Err(PackError::at(file, at, problem));
            }
        }
        Ok(())
    }

    fn check_examples(&self, file: &str) -> Result<(), PackError> {
        let only_rules = Self {
            overrides: Vec::new(),
            grants: Vec::new(),
            formula: FormulaChange::default(),
            ..self.clone()
        };
        let validator =
            SafetyValidator::new(Policy::of(Profile::Default)).with_packs(vec![only_rules]);
        for rule in &self.rules {
            for example in &rule.examples {
                let verdict = validator.judge_text(&example.command, &Surroundings::unconfined());
                let found = verdict.findings.iter().any(|it| it.rule == rule.id);
                if found != example.found {
                    let does = if found { "finds" } else { "does not find" };
                    let problem = format!("the rule `{}` {does} `{}`", rule.id, example.command);
                    return Err(PackError::at(file, example.at, problem));
                }
            }
        }
        Ok(())
    }
}

/// The packs that a judge uses besides the embedded ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packs {
    all: Arc<[RulePack]>,
    formula: Arc<Formula>,
}

impl Packs {
    pub(crate) fn of(packs: Vec<RulePack>) -> Self {
        let mut formula = Formula::default();
        for pack in &packs {
            pack.formula.apply(&mut formula);
        }
        Self {
            all: packs.into(),
            formula: Arc::new(formula),
        }
    }

    /// Returns the numbers of the score; of what several packs say, the last one counts.
    pub(crate) fn formula(&self) -> &Formula {
        &self.formula
    }

    /// Returns the rules of the packs that match one command.
    pub(crate) fn matching<'a>(
        &'a self,
        command: &'a SimpleCommand,
        places: &'a Places,
    ) -> impl Iterator<Item = (Told<'a>, Span)> {
        let rules = self.all.iter().flat_map(|pack| &pack.rules);
        rules.filter_map(move |rule| {
            let looks = |pattern: &String| {
                let program = pattern.split(' ').next().unwrap_or(pattern);
                pattern::is_named(program, command.program())
                    && pattern::matches(pattern, command, places)
            };
            (!command.words.is_empty() && rule.when.iter().any(looks))
                .then(|| (rule.told(), command.span))
        })
    }

    /// Returns what the packs make of a finding; the last one that says something counts.
    pub(crate) fn overridden<'a>(&self, told: Told<'a>) -> Option<Told<'a>> {
        let overrides = self.all.iter().flat_map(|pack| &pack.overrides);
        let mut own = overrides.filter(|it| it.rule == told.id);
        match own.next_back() {
            Some(it) if it.score == 0 => None,
            Some(it) => Some(Told {
                score: it.score,
                ..told
            }),
            None => Some(Told {
                score: self.formula.raised(told.score, told.effects),
                ..told
            }),
        }
    }

    /// Returns what the packs say of one command: the strictest answer, and why.
    pub(crate) fn answer(
        &self,
        command: &SimpleCommand,
        occasion: &Occasion<'_>,
    ) -> Option<(Answer, &str)> {
        let grants = self.all.iter().flat_map(|pack| &pack.grants);
        grants
            .filter(|grant| grant.holds(command, occasion))
            .map(|grant| (grant.answer, grant.why.as_str()))
            .max_by_key(|(answer, _)| *answer)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl PackRule {
    fn told(&self) -> Told<'_> {
        Told {
            id: &self.id,
            score: self.score,
            effects: &self.effects,
            held: self.held,
            message: &self.why,
            suggestion: &self.safer,
        }
    }
}

#[cfg(test)]
mod tests;
