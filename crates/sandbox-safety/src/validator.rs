//! The front door: from an operation to a verdict.

use std::{collections::BTreeMap, sync::Arc};

use sandbox_types::{Action, JudgedCommand, NetworkAccess, Operation, Verdict};

use crate::{
    extra::{self, Validator},
    gate::Gate,
    judged,
    judgement::{self, Case},
    pack::{Packs, RulePack},
    policy::Policy,
    risk::Thresholds,
    shell::{
        Reading,
        read::{Given, ScriptUse, may_run_a_file, named_scripts, script_uses},
        read_argv, read_text,
    },
};

/// Where the judged command would run.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The directory that it may change, as an absolute path.
    pub workspace: Option<String>,
    /// The home directory of the user.
    pub home: Option<String>,
    /// What confines it.
    pub confinement: Confinement,
    /// The texts of files that it may run, by the names that it uses for them.
    pub files: BTreeMap<String, String>,
}

impl Surroundings {
    /// Returns the surroundings of a command of which nothing is known and that nothing confines.
    pub const fn unconfined() -> Self {
        Self {
            workspace: None,
            home: None,
            confinement: Confinement::None,
            files: BTreeMap::new(),
        }
    }
}

/// What confines the judged command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Confinement {
    /// Nothing: the decision is on the inherent risk.
    None,
    /// A sandbox: the decision is on what remains inside it.
    Sandboxed {
        /// What it may reach over the network.
        network: NetworkAccess,
        /// Whether its changes can be taken back.
        transaction: bool,
    },
}

/// Judges commands before they run.
#[derive(Clone, Debug)]
pub struct SafetyValidator {
    policy: Policy,
    packs: Packs,
    validators: Vec<Arc<dyn Validator>>,
}

impl SafetyValidator {
    /// Returns a judge that decides by `policy`.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            packs: Packs::default(),
            validators: Vec::new(),
        }
    }

    /// Judges by these packs too; where they say different things of a rule, the last one counts.
    #[must_use]
    pub fn with_packs(mut self, packs: Vec<RulePack>) -> Self {
        self.packs = Packs::of(packs);
        self
    }

    /// Asks these too about every operation, after the built-in rules.
    #[must_use]
    pub fn with_validators(mut self, validators: Vec<Arc<dyn Validator>>) -> Self {
        self.validators = validators;
        self
    }

    /// Returns from where a person is asked and from where it is refused; `None` where it never is.
    pub fn thresholds(&self) -> Option<Thresholds> {
        self.packs.formula().thresholds(self.policy.profile)
    }

    /// Judges an operation. Total: bad input is a finding.
    pub fn judge(&self, operation: &Operation, surroundings: &Surroundings) -> Verdict {
        let verdict = self.judge_action(operation, surroundings);
        extra::ask(&self.validators, self.thresholds(), operation, verdict)
    }

    fn judge_action(&self, operation: &Operation, surroundings: &Surroundings) -> Verdict {
        let given = Given {
            env: Some(&operation.env),
            files: Some(&surroundings.files),
            stdin: operation.stdin.as_deref(),
            plain: false,
        };
        let case = Case {
            policy: self.policy,
            packs: &self.packs,
            surroundings,
            type_name: &operation.type_name,
        };
        match &operation.action {
            Action::Shell(text) => case.text(text, &given),
            Action::Argv(argv) => case.words(argv, &given),
            Action::Script(script) => {
                // Its interpreter is not in the text, so no word of it says what to look for.
                case.both(&script.source, Some(Gate::ALL), &given, |given| {
                    judgement::bounded(script.source.len(), || {
                        judged::script(script, &operation.env, given.plain)
                    })
                })
            }
            Action::File(work) => {
                let reading = judgement::bounded(0, || judged::file_work(work));
                let text = work.paths().join(" ");
                let mut verdict = case.verdict(Gate::ALL, &text, &reading);
                // Told as what it is, not as the command that would do the same.
                verdict.commands = vec![JudgedCommand {
                    argv: operation.action.argv(),
                    decision: verdict.decision,
                }];
                verdict
            }
        }
    }

    /// Judges shell text. Spans of the findings are bytes of `shell_text`.
    pub fn judge_text(&self, shell_text: &str, surroundings: &Surroundings) -> Verdict {
        let given = Given {
            files: Some(&surroundings.files),
            ..Given::default()
        };
        self.command(surroundings).text(shell_text, &given)
    }

    /// Judges a program with its arguments. Spans are bytes of the arguments joined by blanks.
    pub fn judge_argv(&self, argv: &[String], surroundings: &Surroundings) -> Verdict {
        let given = Given {
            files: Some(&surroundings.files),
            ..Given::default()
        };
        self.command(surroundings).words(argv, &given)
    }

    fn command<'a>(&'a self, surroundings: &'a Surroundings) -> Case<'a> {
        Case {
            policy: self.policy,
            packs: &self.packs,
            surroundings,
            type_name: "command",
        }
    }
}

/// Returns the files that the operation would run, by the names that it uses, relative to where it
/// runs: scripts, Makefiles, `package.json`. Who puts their texts into [`Surroundings::files`] has
/// them judged too.
pub fn scripts_named_by(operation: &Operation) -> Vec<String> {
    reading_of(operation).map_or_else(Vec::new, |it| named_scripts(&it.commands))
}

/// Returns the files that the operation would run as scripts, or let a build tool read, each with how much its words say
/// of it: what must not change if an approval of it is to hold.
pub fn script_uses_of(operation: &Operation) -> Vec<ScriptUse> {
    let Some(reading) = reading_of(operation) else {
        return Vec::new();
    };
    let mut uses = script_uses(&reading.commands);
    let text = match &operation.action {
        Action::Argv(argv) => argv.join(" "),
        Action::Shell(text) => text.clone(),
        Action::Script(_) | Action::File(_) => String::new(),
    };
    if !reading.problems.is_empty() && may_run_a_file(&text) {
        // What was not read may name others.
        uses.push(ScriptUse {
            is_needed: true,
            ..ScriptUse::default()
        });
    }
    uses
}

/// Reads what an operation's own words run; `None` if it brings all with it.
fn reading_of(operation: &Operation) -> Option<Reading> {
    let none = Given::default();
    Some(match &operation.action {
        Action::Shell(text) => judgement::bounded(text.len(), || read_text(text, &none)),
        Action::Argv(argv) => {
            let spans = vec![(0, 0); argv.len()];
            let length = argv.iter().map(String::len).sum();
            judgement::bounded(length, || read_argv(argv, &spans, &none))
        }
        Action::Script(_) | Action::File(_) => return None,
    })
}

#[cfg(test)]
mod tests;
