//! `cargo xtask eval safety`: how well the judge tells labelled commands apart.
//!
//! A corpus has one JSON object a line: `id`, `command`, `label` (`dangerous`, `benign`; any other
//! label is left out), `category`, `group` and `source`. Nothing of it is run.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, bail};
use sandbox_safety::{Policy, Profile, SafetyValidator, Surroundings};
use sandbox_types::{Decision, Verdict};
use serde_json::Value;

/// A command in a list of misses is cut to so many characters.
const SHOWN_CHARS: usize = 160;

/// What is measured.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    corpus: &'a str,
    /// One of the two halves into which the ids fall.
    half: Option<u64>,
    /// Whether every miss is printed.
    misses: bool,
}

impl<'a> Wanted<'a> {
    /// Reads `--corpus FILE [--half 0|1] [--misses]`.
    pub(crate) fn parse(args: &[&'a str]) -> Option<Self> {
        let mut wanted = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--corpus" => wanted.corpus = args.next()?,
                "--half" => wanted.half = Some(args.next()?.parse().ok().filter(|half| *half < 2)?),
                "--misses" => wanted.misses = true,
                _ => return None,
            }
        }
        (!wanted.corpus.is_empty()).then_some(wanted)
    }
}

/// Commands of one kind: how many, and how many were flagged.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    flagged: usize,
    denied: usize,
}

impl Count {
    fn add(&mut self, decision: Decision) {
        self.all += 1;
        self.flagged += usize::from(decision != Decision::Allow);
        self.denied += usize::from(decision == Decision::Deny);
    }
}

/// Measures and prints the rates, and the misses if they are wanted.
pub(crate) fn safety(wanted: &Wanted<'_>) -> anyhow::Result<()> {
    let corpus = wanted.corpus;
    let text = fs::read_to_string(corpus).with_context(|| format!("cannot read {corpus}"))?;
    let validator = SafetyValidator::new(Policy::of(Profile::Default));
    let mut counts: BTreeMap<(String, String, String), Count> = BTreeMap::new();
    let mut misses = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry: Value = serde_json::from_str(line)
            .with_context(|| format!("{corpus}:{}: no JSON object", index + 1))?;
        let field = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        let label = field("label");
        if !matches!(label.as_str(), "dangerous" | "benign")
            || wanted
                .half
                .is_some_and(|half| half_of(&field("id")) != half)
        {
            continue;
        }
        let command = entry["command"]
            .as_str()
            .with_context(|| format!("{corpus}:{}: no command", index + 1))?;
        let verdict = validator.judge_text(command, &Surroundings::unconfined());
        for (by, name) in [
            ("", String::new()),
            ("group", field("group")),
            ("category", field("category")),
            ("source", field("source")),
        ] {
            let key = (label.clone(), by.to_owned(), name);
            counts.entry(key).or_default().add(verdict.decision);
        }
        if (label == "benign") == (verdict.decision != Decision::Allow) {
            misses.push(miss(&entry, command, &verdict));
        }
    }
    if counts.is_empty() {
        bail!("{corpus} has no labelled commands");
    }
    print(&counts);
    if wanted.misses {
        misses.sort_unstable();
        println!("\n{}", misses.join("\n"));
    } else {
        println!("\n{} misses; --misses lists them", misses.len());
    }
    Ok(())
}

/// Returns the half of an id: FNV-1a over its bytes, so that it never changes, and mixed (as the end of `MurmurHash3`),
/// since the bits of similar ids are similar.
fn half_of(id: &str) -> u64 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 33) % 2
}

fn miss(entry: &Value, command: &str, verdict: &Verdict) -> String {
    let shown: String = command.escape_debug().take(SHOWN_CHARS).collect();
    let rules: Vec<&str> = verdict.findings.iter().map(|it| it.rule.as_str()).collect();
    format!(
        "{} {} {} [{}] {} {shown}",
        entry["label"].as_str().unwrap_or("-"),
        entry["group"].as_str().unwrap_or("-"),
        entry["category"].as_str().unwrap_or("-"),
        verdict.decision,
        rules.join(","),
    )
}

fn print(counts: &BTreeMap<(String, String, String), Count>) {
    println!(
        "{:<10} {:<40} {:>6} {:>9} {:>9}",
        "label", "of", "all", "flagged", "denied"
    );
    for ((label, by, name), count) in counts {
        let of = if by.is_empty() {
            "all".to_owned()
        } else {
            format!("{by} {name}")
        };
        println!(
            "{label:<10} {of:<40} {:>6} {:>8.2}% {:>8.2}%",
            count.all,
            percent(count.flagged, count.all),
            percent(count.denied, count.all),
        );
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a corpus has far fewer than 2^52 commands"
)]
fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{Wanted, half_of, safety};

    #[test]
    fn options_are_read_and_wrong_ones_refused() {
        let wanted = Wanted::parse(&["--corpus", "x", "--half", "1", "--misses"]).unwrap();
        assert_eq!(
            (wanted.corpus, wanted.half, wanted.misses),
            ("x", Some(1), true)
        );
        for wrong in [
            &["--half", "2", "--corpus", "x"][..],
            &[],
            &["--corpus"],
            &["x"],
        ] {
            assert!(Wanted::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn ids_fall_into_two_halves() {
        let ids = (0..1000).map(|id| half_of(&format!("id:{id}")));
        let second: u64 = ids.sum();
        assert!((400..600).contains(&second), "{second}");
    }

    #[test]
    fn a_corpus_without_commands_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let corpus = place.path().join("corpus.jsonl");
        std::fs::write(&corpus, "{\"label\": \"ambiguous\"}\n").unwrap();
        let wanted = |corpus| Wanted {
            corpus,
            ..Wanted::default()
        };
        let error = safety(&wanted(corpus.to_str().unwrap())).unwrap_err();
        assert!(error.to_string().contains("no labelled"), "{error}");
        assert!(safety(&wanted("/nonexistent")).is_err());
    }
}
