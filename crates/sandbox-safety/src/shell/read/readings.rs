//! Readings: a command whose words depend on whether a variable is set is judged both ways.
//!
//! `${DRY+echo} rm -rf /` is harmless where `DRY` is set, and `rm -rf /` where it is not. The text does not say which,
//! so the command is read again for the other cases. The first reading, which inserts what every `${…}` could insert,
//! stays as it is: another reading adds findings and takes none away, and what it does to variables and to the current
//! directory is forgotten.

use std::{collections::BTreeMap, mem};

use super::{Origin, RawCommand, Reader, VALUE_BYTES_MAX};
use crate::shell::Word;

/// So many variables of one command are looked at both ways; those behind them are as the first reading has them.
const VARIABLES_MAX: usize = 3;
/// So many values of a variable besides its first are remembered.
const VALUES_MAX: usize = 8;
/// The name under which splitting at the characters of `IFS` is looked at.
pub(in crate::shell) const SEPARATORS: &str = "IFS";

/// What is known of the cases.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// The variables on which the words of the current command depend.
    met: Vec<String>,
    /// In another reading than the first: which of them are set.
    assumed: Option<BTreeMap<String, bool>>,
    /// Values that variables have in other readings.
    values: BTreeMap<String, Vec<Word>>,
}

impl Reader {
    /// Notes that the words depend on whether `name` is set, and returns what is assumed; `None` in the first reading.
    pub(in crate::shell) fn depends_on(&mut self, name: &str) -> Option<bool> {
        if let Some(assumed) = &self.readings.assumed {
            // What the text sets is set; what is met only in this reading is as the others are.
            let met_here = assumed.get(name).copied();
            let is_set = self.variables.contains_key(name);
            let as_others = || (!is_set).then(|| assumed.values().all(|is_set| *is_set));
            return met_here.or_else(as_others);
        }
        if !self.readings.met.iter().any(|it| it == name) {
            self.readings.met.push(name.to_owned());
        }
        None
    }

    /// Returns the value that a variable has in the assumed reading, where it has another one than in the first.
    pub(in crate::shell) fn other_value(&mut self, name: &str) -> Option<Word> {
        if self.readings.values.is_empty() {
            return None;
        }
        let other = self.readings.values.get(name)?.last()?.clone();
        (self.depends_on(name) == Some(false)).then_some(other)
    }

    /// Reads a command, and then again for the other cases of the variables on which it depends.
    pub(super) fn in_all_readings(&mut self, raw: &RawCommand, origin: Origin) {
        let outer = mem::take(&mut self.readings.met);
        self.in_one_reading(raw, origin);
        let mut met = mem::replace(&mut self.readings.met, outer);
        if met.is_empty() || self.readings.assumed.is_some() {
            return;
        }
        met.truncate(VARIABLES_MAX);
        let only_assigns = raw.words.is_empty();
        for case in 0..1_u32 << met.len() {
            let set = |index: usize| case & (1 << index) != 0;
            let assumed = met
                .iter()
                .enumerate()
                .map(|(index, name)| (name.clone(), set(index)));
            self.readings.assumed = Some(assumed.collect());
            if only_assigns {
                self.remember_values(raw, origin);
            } else {
                self.in_another_reading(raw, origin);
            }
            self.readings.assumed = None;
        }
    }

    /// Reads a command in the assumed case; what it changes is forgotten.
    fn in_another_reading(&mut self, raw: &RawCommand, origin: Origin) {
        let variables = self.variables.clone();
        let aliases = self.aliases.clone();
        let functions = self.functions.clone();
        let positional = self.positional.clone();
        let directory = self.directory.clone();
        let files = self.files.clone();
        let input = self.input.clone();
        let outer = self.context;
        self.context.other_reading = true;
        self.in_one_reading(raw, origin);
        self.context = outer;
        self.variables = variables;
        self.aliases = aliases;
        self.functions = functions;
        self.positional = positional;
        self.directory = directory;
        let others = mem::replace(&mut self.files, files);
        self.input = input;
        self.keep_written(others);
    }

    /// Puts what the other reading wrote behind what the first wrote: whichever it is, it may be run.
    fn keep_written(&mut self, others: BTreeMap<String, String>) {
        for (name, text) in others {
            let own = self.files.entry(name).or_default();
            if !own.contains(&text) && own.len() + text.len() <= VALUE_BYTES_MAX * 4 {
                own.push('\n');
                own.push_str(&text);
            }
        }
    }

    /// Notes what the variables of an assignment hold in the assumed case.
    fn remember_values(&mut self, raw: &RawCommand, origin: Origin) {
        for word in &raw.assignments {
            let (name, value) = self.assignment(word, origin);
            let first = self.variables.get(&name);
            if first.is_some_and(|first| first.text == value.text) {
                continue;
            }
            self.holds_too(&name, value);
        }
    }

    /// Notes that a variable may hold this, too.
    pub(super) fn holds_too(&mut self, name: &str, value: Word) {
        let values = self.readings.values.entry(name.to_owned()).or_default();
        if values.len() < VALUES_MAX && values.iter().all(|it| it.text != value.text) {
            values.push(value);
        }
    }
}
