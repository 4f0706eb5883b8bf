//! `cargo xtask differential`: random shell texts, run by real shells and judged.
//!
//! A text is made of fragments around one command that no text should hide: `rm -rf` of a place that is nowhere. The
//! shells find a marker in place of `rm`, which only notes that it ran and with what. Whenever bash or dash really runs
//! the command, the judge must have flagged the text; what it lets through is a blind spot.

mod fragments;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use sandbox_safety::{Policy, Profile, SafetyValidator, Surroundings};
use sandbox_types::Decision;

use fragments::Writer;

/// How many texts are tried if nothing is said, and from which seed.
pub(crate) const TEXTS_DEFAULT: u64 = 2_000;
pub(crate) const SEED_DEFAULT: u64 = 1;
/// What is to be deleted: a place of the system that is not there, should anything go wrong.
const TARGET: &str = "/usr/share/nowhere-of-the-differential-test";
/// A shell is ended after so many seconds.
const SECONDS_MAX: &str = "2";
/// So many blind spots are printed.
const SHOWN_MAX: usize = 20;
/// The control tries so many texts.
const CONTROL_TEXTS: u64 = 120;

/// The shells that run the texts.
const SHELLS: [&str; 2] = ["bash", "dash"];
/// All that the shells find besides the marker: what passes text on.
const TOOLS: [&str; 7] = ["cat", "env", "head", "tee", "timeout", "tr", "xargs"];

/// What became of the texts.
#[derive(Debug, Default)]
struct Outcome {
    texts: u64,
    /// How many a shell made run the marker.
    ran: u64,
    /// Those of them that were not flagged, each with the shell.
    unseen: Vec<(&'static str, String)>,
}

/// Tries `count` texts from `seed` on, after a control that the comparison sees a blind spot.
pub(crate) fn run(count: u64, seed: u64) -> anyhow::Result<()> {
    let place = Place::make()?;
    let control = place.compare(CONTROL_TEXTS, seed, &blind_to_loops)?;
    if control.unseen.is_empty() {
        bail!("the control found nothing: a judge that sees no loops went unnoticed");
    }
    println!(
        "control: {} texts, {} ran, {} blind spots found in a judge that sees no loops",
        control.texts,
        control.ran,
        control.unseen.len()
    );
    let outcome = place.compare(count, seed, &is_flagged)?;
    println!(
        "{} texts from seed {seed}: {} ran the marker, {} of them not flagged",
        outcome.texts,
        outcome.ran,
        outcome.unseen.len()
    );
    for (shell, text) in outcome.unseen.iter().take(SHOWN_MAX) {
        println!("{shell}: {text:?}");
    }
    if !outcome.unseen.is_empty() {
        bail!("the judge let {} texts through", outcome.unseen.len());
    }
    Ok(())
}

/// Returns whether somebody would be asked, or it would be denied.
fn is_flagged(text: &str) -> bool {
    let validator = SafetyValidator::new(Policy::of(Profile::Default));
    let verdict = validator.judge_text(text, &Surroundings::unconfined());
    verdict.decision != Decision::Allow
}

/// A judge with a planted blind spot.
fn blind_to_loops(text: &str) -> bool {
    !text.contains("while") && is_flagged(text)
}

/// A throw-away directory with a marker for `rm`, and nothing else that could do harm.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn make() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let place = Self { directory };
        let programs = place.programs();
        fs::create_dir(&programs).context("cannot make a directory")?;
        let marker = programs.join("rm");
        let log = place.log();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> '{}'\n",
            log.to_str().context("a strange name of a directory")?
        );
        fs::write(&marker, script).context("cannot write the marker")?;
        fs::set_permissions(&marker, fs::Permissions::from_mode(0o755))
            .context("cannot make the marker executable")?;
        for tool in TOOLS {
            symlink(found(tool)?, programs.join(tool)).context("cannot link a tool")?;
        }
        Ok(place)
    }

    fn programs(&self) -> PathBuf {
        self.directory.path().join("programs")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("ran")
    }

    /// Runs the texts and asks `flags` about those that ran the marker.
    fn compare(
        &self,
        count: u64,
        seed: u64,
        flags: &dyn Fn(&str) -> bool,
    ) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut writer = Writer::new(seed);
        for _ in 0..count {
            let text = writer.text(TARGET);
            outcome.texts += 1;
            for shell in SHELLS {
                if !self.runs_the_marker(shell, &text)? {
                    continue;
                }
                outcome.ran += 1;
                if !flags(&text) {
                    outcome.unseen.push((shell, text.clone()));
                    break;
                }
            }
        }
        Ok(outcome)
    }

    /// Returns whether the shell runs `rm -rf TARGET` for this text.
    fn runs_the_marker(&self, shell: &str, text: &str) -> anyhow::Result<bool> {
        let work = self.directory.path().join("work");
        let _none_there = fs::remove_dir_all(&work);
        fs::create_dir(&work).context("cannot make a directory")?;
        let _none_there = fs::remove_file(self.log());
        let shell = found(shell)?;
        let name = self.programs().join("sh");
        let _none_there = fs::remove_file(&name);
        symlink(&shell, &name).context("cannot link a shell")?;
        Command::new(found("timeout")?)
            .args(["--kill-after=1", SECONDS_MAX])
            .arg(&shell)
            .args(["-c", text])
            .env_clear()
            .env("PATH", self.programs())
            .env("HOME", &work)
            .current_dir(&work)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot start `timeout`")?;
        let ran = fs::read_to_string(self.log()).unwrap_or_default();
        Ok(ran.lines().any(deletes_the_target))
    }
}

/// Returns whether these are the arguments of a deletion of the target.
fn deletes_the_target(arguments: &str) -> bool {
    let mut words = arguments.split_whitespace();
    words.clone().any(|word| word == TARGET) && words.any(|word| word == "-rf")
}

/// Returns where a program is.
fn found(program: &str) -> anyhow::Result<PathBuf> {
    let places = ["/usr/bin", "/bin"];
    let mut paths = places.iter().map(|it| Path::new(it).join(program));
    paths
        .find(|path| path.exists())
        .with_context(|| format!("`{program}` is missing"))
}

#[cfg(test)]
mod tests {
    use super::{CONTROL_TEXTS, Place, TARGET, blind_to_loops, deletes_the_target, is_flagged};

    #[test]
    fn the_marker_notes_what_a_shell_runs() {
        let place = Place::make().unwrap();
        let text = |prefix: &str| format!("{prefix} rm -rf {TARGET}");
        assert!(place.runs_the_marker("bash", &text("true;")).unwrap());
        assert!(place.runs_the_marker("dash", &text("true;")).unwrap());
        assert!(!place.runs_the_marker("bash", &text("echo")).unwrap());
        assert!(!place.runs_the_marker("dash", "rm -f x").unwrap());
        assert!(deletes_the_target(&format!("-rf {TARGET}")) && !deletes_the_target("-rf x"));
    }

    #[test]
    fn a_planted_blind_spot_is_found_and_the_judge_has_none_here() {
        let place = Place::make().unwrap();
        let control = place.compare(CONTROL_TEXTS, 1, &blind_to_loops).unwrap();
        assert!(!control.unseen.is_empty());
        let outcome = place.compare(CONTROL_TEXTS, 1, &is_flagged).unwrap();
        assert!(outcome.ran > CONTROL_TEXTS / 4, "{outcome:?}");
        assert!(outcome.unseen.is_empty(), "{outcome:?}");
    }
}
