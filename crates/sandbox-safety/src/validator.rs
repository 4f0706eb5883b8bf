//! The front door: from an operation to a verdict.

use std::{panic, sync::Arc};

use sandbox_types::{
    Action, Decision, Finding, JudgedCommand, NetworkAccess, Operation, RiskLevel, Verdict,
};

use crate::{
    extra::{self, Validator},
    gate::Gate,
    judged, lint,
    paths::Places,
    policy::Policy,
    risk::{Part, inherent, residual},
    rules::{Rule, Scene, matching},
    shell::{
        Reading, SimpleCommand, Span,
        read::{Problem, TEXT_BYTES_MAX},
        read_argv, read_text,
    },
};

/// Evidence is cut to so many bytes.
const EVIDENCE_BYTES_MAX: usize = 400;
/// No more findings than this are reported; the strongest stay.
const FINDINGS_MAX: usize = 100;

/// Where the judged command would run.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The directory that it may change, as an absolute path.
    pub workspace: Option<String>,
    /// The home directory of the user.
    pub home: Option<String>,
    /// What confines it.
    pub confinement: Confinement,
}

impl Surroundings {
    /// Returns the surroundings of a command of which nothing is known and that nothing confines.
    pub const fn unconfined() -> Self {
        Self {
            workspace: None,
            home: None,
            confinement: Confinement::None,
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
    validators: Vec<Arc<dyn Validator>>,
}

impl SafetyValidator {
    /// Returns a judge that decides by `policy`.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            validators: Vec::new(),
        }
    }

    /// Asks these too about every operation, after the built-in rules.
    #[must_use]
    pub fn with_validators(mut self, validators: Vec<Arc<dyn Validator>>) -> Self {
        self.validators = validators;
        self
    }

    /// Judges an operation. Total: bad input is a finding.
    pub fn judge(&self, operation: &Operation, surroundings: &Surroundings) -> Verdict {
        let verdict = self.judge_action(operation, surroundings);
        extra::ask(&self.validators, self.policy, operation, verdict)
    }

    fn judge_action(&self, operation: &Operation, surroundings: &Surroundings) -> Verdict {
        let given = operation.stdin.as_deref();
        match &operation.action {
            Action::Shell(text) => self.judge_text(text, surroundings),
            Action::Argv(argv) => self.judge_words(argv, given, surroundings),
            Action::Script(script) => {
                let reading = if script.source.len() > TEXT_BYTES_MAX {
                    too_large()
                } else {
                    contained(|| judged::script(script))
                };
                // Its interpreter is not in the text, so no word of it says what to look for.
                self.verdict_behind(Gate::ALL, &script.source, &reading, surroundings)
            }
            Action::File(work) => {
                let reading = contained(|| judged::file_work(work));
                let mut verdict = self.verdict(&work.paths().join(" "), &reading, surroundings);
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
        let reading = if shell_text.len() > TEXT_BYTES_MAX {
            too_large()
        } else {
            contained(|| read_text(shell_text))
        };
        self.verdict(shell_text, &reading, surroundings)
    }

    /// Judges a program with its arguments. Spans are bytes of the arguments joined by blanks.
    pub fn judge_argv(&self, argv: &[String], surroundings: &Surroundings) -> Verdict {
        self.judge_words(argv, None, surroundings)
    }

    fn judge_words(
        &self,
        argv: &[String],
        stdin: Option<&str>,
        surroundings: &Surroundings,
    ) -> Verdict {
        let text = argv.join(" ");
        let given = stdin.map_or(0, str::len);
        let reading = if text.len() + given > TEXT_BYTES_MAX {
            too_large()
        } else {
            let mut spans = Vec::with_capacity(argv.len());
            let mut at = 0;
            for word in argv {
                spans.push((at, at + word.len()));
                at += word.len() + 1;
            }
            contained(|| read_argv(argv, &spans, stdin))
        };
        self.verdict(&text, &reading, surroundings)
    }

    fn verdict(&self, text: &str, reading: &Reading, surroundings: &Surroundings) -> Verdict {
        let hidden = |command: &SimpleCommand| command.words.iter().any(|word| word.disguised);
        let gate = if reading.commands.iter().any(hidden) {
            Gate::ALL
        } else {
            Gate::of(text)
        };
        self.verdict_behind(gate, text, reading, surroundings)
    }

    fn verdict_behind(
        &self,
        gate: Gate,
        text: &str,
        reading: &Reading,
        surroundings: &Surroundings,
    ) -> Verdict {
        let places = Places {
            workspace: surroundings.workspace.clone(),
            home: surroundings.home.clone(),
        };
        let scene = Scene {
            reading,
            places: &places,
            gate,
        };
        let mut found: Vec<(&'static Rule, Span)> = Vec::new();
        found.extend(lint::characters(text));
        for (problem, span) in &reading.problems {
            found.extend(lint::of_problem(*problem).map(|rule| (rule, *span)));
        }
        let mut commands: Vec<JudgedCommand> = Vec::new();
        for command in &reading.commands {
            let mut own = matching(&scene, command);
            own.extend(lint::names(command));
            if !command.taken_apart && !command.words.is_empty() {
                let judged = JudgedCommand {
                    argv: command.words.iter().map(|word| word.text.clone()).collect(),
                    decision: self.decide(&own, surroundings),
                };
                if commands.last() != Some(&judged) {
                    commands.push(judged);
                }
            }
            found.extend(own);
        }
        found.sort_by(|(a, a_span), (b, b_span)| {
            b.score
                .cmp(&a.score)
                .then_with(|| (a_span, a.id).cmp(&(b_span, b.id)))
        });
        found.dedup_by(|(a, a_span), (b, b_span)| a.id == b.id && a_span == b_span);
        let parts = parts(&found);
        Verdict {
            decision: self.decide(&found, surroundings),
            risk: inherent(&parts),
            residual_risk: residual(&parts, &surroundings.confinement),
            findings: found
                .iter()
                .take(FINDINGS_MAX)
                .map(|(rule, span)| finding(rule, *span, text))
                .collect(),
            commands,
        }
    }

    fn decide(&self, found: &[(&'static Rule, Span)], surroundings: &Surroundings) -> Decision {
        let parts = parts(found);
        let inherent = inherent(&parts).level;
        let residual = residual(&parts, &surroundings.confinement).level;
        self.policy.decide(inherent, residual)
    }
}

fn parts(found: &[(&'static Rule, Span)]) -> Vec<Part<'static>> {
    found
        .iter()
        .map(|(rule, _)| Part {
            score: rule.score,
            effects: rule.effects,
            held: rule.held,
        })
        .collect()
}

fn too_large() -> Reading {
    Reading {
        problems: vec![(Problem::TooLarge, (0, 0))],
        ..Reading::default()
    }
}

fn unreadable() -> Reading {
    Reading {
        problems: vec![(Problem::Unparsed, (0, 0))],
        ..Reading::default()
    }
}

/// A panic would be a mistake of ours; the text then counts as unreadable, which asks.
fn contained(read: impl FnOnce() -> Reading) -> Reading {
    panic::catch_unwind(panic::AssertUnwindSafe(read)).unwrap_or_else(|_payload| unreadable())
}

fn finding(rule: &'static Rule, span: Span, text: &str) -> Finding {
    let (start, end) = within(span, text);
    let (_, cut) = within((start, end.min(start + EVIDENCE_BYTES_MAX)), text);
    Finding {
        rule: rule.id.to_owned(),
        severity: RiskLevel::of_score(rule.score),
        effects: rule.effects.to_vec(),
        message: rule.message.to_owned(),
        evidence: text[start..cut].to_owned(),
        span: (start, end),
        suggestion: Some(rule.suggestion.to_owned()),
    }
}

/// Moves a span into the text and onto boundaries of characters.
fn within((start, end): Span, text: &str) -> Span {
    let down = |at: usize| {
        (0..=at.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0)
    };
    let start = down(start);
    (start, down(end).max(start))
}

#[cfg(test)]
mod tests;
