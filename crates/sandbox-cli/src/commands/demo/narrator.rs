//! Tells the story line by line, and counts what held.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    failure::Failure,
    settings::Settings,
    ui::{self, Marks, Tone, Ui, marks, one_line},
};

/// The widest detail that is printed.
const DETAIL_WIDTH: usize = 160;

pub(super) struct Narrator {
    ui: Ui,
    marks: Marks,
    began: Instant,
    chapters: usize,
    steps: Vec<Value>,
    failed: usize,
}

impl Narrator {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            ui: settings.ui,
            marks: marks(&settings.host),
            began: Instant::now(),
            chapters: 0,
            steps: Vec::new(),
            failed: 0,
        }
    }

    pub(super) fn chapter(&mut self, title: &str) -> Result<(), Failure> {
        self.chapters += 1;
        let title = format!("{}. {title}", self.chapters);
        self.say(&format!("\n{}\n", self.ui.tone(Tone::Strong, &title)))
    }

    /// Shows what is run, as one would type it.
    pub(super) fn command(&self, typed: &str) -> Result<(), Failure> {
        self.say(&format!(
            "  {}\n",
            self.ui.tone(Tone::Faint, &format!("$ {typed}"))
        ))
    }

    /// Says whether a claim held: `held` is the evidence, or what is wrong.
    pub(super) fn step<T: Evidence>(
        &mut self,
        claim: &str,
        held: Result<T, String>,
    ) -> Result<(), Failure> {
        let (mark, tone, detail) = match &held {
            Ok(evidence) => (self.marks.good, Tone::Good, evidence.text()),
            Err(wrong) => (self.marks.bad, Tone::Bad, wrong.clone()),
        };
        self.failed += usize::from(held.is_err());
        self.steps
            .push(json!({"claim": claim, "held": held.is_ok(), "detail": detail}));
        let mark = self.ui.tone(tone, mark);
        let detail = one_line(&detail, DETAIL_WIDTH);
        if detail.is_empty() {
            self.say(&format!("  {mark} {claim}\n"))
        } else {
            self.say(&format!("  {mark} {claim}: {detail}\n"))
        }
    }

    pub(super) fn every_step_held(&self) -> bool {
        self.failed == 0
    }

    pub(super) fn end(&self) -> Result<(), Failure> {
        let seconds = self.began.elapsed().as_secs_f64();
        if self.ui.is_json() {
            ui::print_json(&json!({
                "ok": self.every_step_held(),
                "steps": self.steps,
                "duration_ms": seconds * 1000.0,
            }))?;
            return Ok(());
        }
        let steps = self.steps.len();
        let held = if self.every_step_held() {
            self.ui.tone(Tone::Good, &format!("all {steps} steps held"))
        } else {
            self.ui.tone(
                Tone::Bad,
                &format!("{} of {steps} steps did not hold", self.failed),
            )
        };
        self.say(&format!("\n{held}, in {seconds:.1} seconds\n"))
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        if !self.ui.is_json() {
            // When nobody reads any more, the story is still told to its end: it verifies.
            ui::print(text)?;
        }
        Ok(())
    }
}

/// What shows that a claim held; nothing, if the claim says it all.
pub(super) trait Evidence {
    fn text(&self) -> String;
}

impl Evidence for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl Evidence for () {
    fn text(&self) -> String {
        String::new()
    }
}
