//! From what was read to a verdict: rules, packs, scores, decision.

use std::panic;

use sandbox_types::{Decision, Finding, JudgedCommand, RiskLevel, RiskTerm, Verdict};

use crate::{
    flow::Copies,
    gate::Gate,
    inline::Codes,
    lint,
    pack::{Answer, Occasion, Packs},
    paths::Places,
    policy::Policy,
    risk::{CRITICAL, HIGH, Held, MEDIUM, Part},
    rules::{Pipes, Scene, Scripts, Told, matching},
    shell::{
        Reading, SimpleCommand, Span,
        read::{Given, Problem, TEXT_BYTES_MAX},
        read_argv, read_text,
    },
    validator::Surroundings,
};

/// Evidence is cut to so many bytes.
const EVIDENCE_BYTES_MAX: usize = 400;
/// No more findings than this are reported; the strongest stay.
const FINDINGS_MAX: usize = 100;

/// The findings that a site's own `deny` and `ask` are.
const DENIED: &str = "policy.deny";
const ASKED: &str = "policy.ask";

/// What is judged by what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) policy: Policy,
    pub(crate) packs: &'a Packs,
    pub(crate) surroundings: &'a Surroundings,
    /// The type of the operation.
    pub(crate) type_name: &'a str,
}

impl Case<'_> {
    /// Judges shell text.
    pub(crate) fn text(&self, text: &str, given: &Given<'_>) -> Verdict {
        let length = text.len() + given.stdin.map_or(0, str::len);
        let read = |given: &Given<'_>| bounded(length, || read_text(text, given));
        self.both(text, None, given, read)
    }

    /// Judges a program with its arguments.
    pub(crate) fn words(&self, argv: &[String], given: &Given<'_>) -> Verdict {
        let text = argv.join(" ");
        let length = text.len() + given.stdin.map_or(0, str::len);
        let mut spans = Vec::with_capacity(argv.len());
        let mut at = 0;
        for word in argv {
            spans.push((at, at + word.len()));
            at += word.len() + 1;
        }
        let read = |given: &Given<'_>| bounded(length, || read_argv(argv, &spans, given));
        self.both(&text, None, given, read)
    }

    /// Judges what was read, and what is read plainly where that may be something else; the graver verdict holds.
    pub(crate) fn both(
        &self,
        text: &str,
        own_gate: Option<Gate>,
        given: &Given<'_>,
        read: impl Fn(&Given<'_>) -> Reading,
    ) -> Verdict {
        let reading = read(given);
        let gate = |reading: &Reading| own_gate.unwrap_or_else(|| gate(text, reading, given));
        let verdict = self.verdict(gate(&reading), text, &reading);
        if !reading.differs_plainly {
            return verdict;
        }
        let reading = read(&Given {
            plain: true,
            ..*given
        });
        let plain = self.verdict(gate(&reading), text, &reading);
        let weight = |it: &Verdict| (it.decision, it.residual_risk.score, it.risk.score);
        if weight(&plain) > weight(&verdict) {
            plain
        } else {
            verdict
        }
    }

    /// Judges what was read.
    pub(crate) fn verdict(&self, gate: Gate, text: &str, reading: &Reading) -> Verdict {
        let places = Places {
            workspace: self.surroundings.workspace.clone(),
            home: self.surroundings.home.clone(),
        };
        let scene = Scene {
            reading,
            places: &places,
            gate,
            pipes: Pipes::of(reading),
            codes: Codes::of(reading),
            scripts: Scripts::default(),
            downloads: Copies::new(),
            secrets: Copies::new(),
        };
        let mut found: Vec<(Told<'_>, Span)> = Vec::new();
        let whole = lint::characters(text).into_iter().chain(lint::lines(text));
        let whole = whole.map(|(rule, span)| (rule.told(), span));
        found.extend(whole.filter_map(|(told, span)| Some((self.packs.overridden(told)?, span))));
        for (problem, span) in &reading.problems {
            let told = lint::of_problem(*problem).and_then(|it| self.packs.overridden(it.told()));
            found.extend(told.map(|told| (told, *span)));
        }
        let mut commands: Vec<JudgedCommand> = Vec::new();
        for command in &reading.commands {
            let own = self.of_command(&scene, command);
            if !command.taken_apart && !command.words.is_empty() {
                let judged = JudgedCommand {
                    argv: command.words.iter().map(|word| word.text.clone()).collect(),
                    decision: self.decide(&own),
                };
                // Another reading is told where it is why somebody is asked.
                let is_told = !command.context.other_reading || judged.decision != Decision::Allow;
                if is_told && commands.last() != Some(&judged) {
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
        let confinement = &self.surroundings.confinement;
        let formula = self.packs.formula();
        let told = found.iter().take(FINDINGS_MAX);
        Verdict {
            decision: self.decide(&found),
            risk: formula.inherent(&parts),
            residual_risk: formula.residual(&parts, confinement),
            findings: told
                .map(|(told, span)| finding(told, *span, text))
                .collect(),
            terms: found
                .iter()
                .zip(&parts)
                .take(FINDINGS_MAX)
                .map(|((told, _), part)| RiskTerm {
                    rule: told.id.to_owned(),
                    score: part.score,
                    residual_score: formula.remaining(part, confinement),
                    held_by: told.held.by().map(str::to_owned),
                })
                .collect(),
            commands,
        }
    }

    /// Returns what the rules, and then the packs, say of one command.
    fn of_command<'a>(
        &'a self,
        scene: &Scene<'a>,
        command: &'a SimpleCommand,
    ) -> Vec<(Told<'a>, Span)> {
        let mut own: Vec<(Told<'a>, Span)> = matching(scene, command)
            .into_iter()
            .chain(lint::names(command))
            .map(|(rule, span)| (rule.told(), span))
            .filter(|(told, _)| !command.context.in_file || counts_in_a_file(told))
            .collect();
        if self.packs.is_empty() {
            return own;
        }
        own.extend(self.packs.matching(command, scene.places));
        let overridden = |(told, span)| Some((self.packs.overridden(told)?, span));
        let mut own: Vec<(Told<'a>, Span)> = own.into_iter().filter_map(overridden).collect();
        let occasion = Occasion {
            type_name: self.type_name,
            workspace: self.surroundings.workspace.as_deref(),
        };
        match self.packs.answer(command, &occasion) {
            Some((Answer::Deny, why)) => {
                own.push((answered(DENIED, CRITICAL, why), command.span));
            }
            Some((Answer::Ask, why)) => {
                own.push((answered(ASKED, MEDIUM, why), command.span));
            }
            // What is critical is refused whatever a site allows.
            Some((Answer::Allow, _)) => own.retain(|(told, _)| is_critical(told)),
            None => {}
        }
        own
    }

    fn decide(&self, found: &[(Told<'_>, Span)]) -> Decision {
        let parts = parts(found);
        let formula = self.packs.formula();
        let inherent = formula.inherent(&parts).score;
        let residual = formula
            .residual(&parts, &self.surroundings.confinement)
            .score;
        let Some(thresholds) = formula.thresholds(self.policy.profile) else {
            return Decision::Allow;
        };
        // What a site says in words holds wherever its scores begin.
        let says = |id: &str| found.iter().any(|(told, _)| told.id == id);
        let said = match (says(DENIED), says(ASKED)) {
            (true, _) => Decision::Deny,
            (false, true) => Decision::Ask,
            (false, false) => Decision::Allow,
        };
        thresholds.decide(inherent, residual).max(said)
    }
}

/// Returns whether a finding in a file counts. Programs of a workspace do all kinds of things, and what
/// they do to files can be undone: only what is serious and plain is told before they run.
const fn counts_in_a_file(told: &Told<'_>) -> bool {
    told.score >= HIGH && !matches!(told.held, Held::Nothing | Held::Rollback)
}

fn is_critical(told: &Told<'_>) -> bool {
    RiskLevel::of_score(told.score) == RiskLevel::Critical
}

/// Returns what is told of a command that a policy asks about or denies.
fn answered<'a>(id: &'static str, score: u8, why: &'a str) -> Told<'a> {
    Told {
        id,
        score,
        effects: &[],
        held: Held::Nothing,
        message: why,
        suggestion: "ask whoever keeps the policy",
    }
}

/// Returns which scanners run: all where a word is hidden, or text is judged that is not before us.
fn gate(text: &str, reading: &Reading, given: &Given<'_>) -> Gate {
    let hidden = |command: &SimpleCommand| command.words.iter().any(|word| word.disguised);
    let more = given.stdin.is_some()
        || given.env.is_some_and(|it| !it.is_empty())
        || given.files.is_some_and(|it| !it.is_empty());
    if more || reading.commands.iter().any(hidden) {
        Gate::ALL
    } else {
        Gate::of(text)
    }
}

fn parts<'a>(found: &[(Told<'a>, Span)]) -> Vec<Part<'a>> {
    found
        .iter()
        .map(|(told, _)| Part {
            score: told.score,
            effects: told.effects,
            held: told.held,
        })
        .collect()
}

/// Reads `length` bytes, unless that is too much. A panic would be a mistake of ours; the text then
/// counts as unreadable, which asks.
pub(crate) fn bounded(length: usize, read: impl FnOnce() -> Reading) -> Reading {
    let failed = |problem| Reading {
        problems: vec![(problem, (0, 0))],
        ..Reading::default()
    };
    if length > TEXT_BYTES_MAX {
        return failed(Problem::TooLarge);
    }
    panic::catch_unwind(panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_payload| failed(Problem::Unparsed))
}

fn finding(told: &Told<'_>, span: Span, text: &str) -> Finding {
    let (start, end) = within(span, text);
    let (_, cut) = within((start, end.min(start + EVIDENCE_BYTES_MAX)), text);
    Finding {
        rule: told.id.to_owned(),
        severity: RiskLevel::of_score(told.score),
        effects: told.effects.to_vec(),
        message: told.message.to_owned(),
        evidence: text[start..cut].to_owned(),
        span: (start, end),
        suggestion: Some(told.suggestion.to_owned()),
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
