//! `sandbox top`, and what packages install: `completions`, `man`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{lab::Lab, terminal::Sitting};

/// What burns one processor until it is ended.
const BUSY: &str = "while :; do :; done";

/// A sandbox in which something runs; returns the id of that.
#[track_caller]
fn busy(lab: &Lab) -> String {
    lab.sandbox(&["create", "box"]).code(0);
    let ended = lab.sandbox(&["run", "-q", "--yes", "--detach", "--shell", BUSY]);
    ended.code(0).stdout.trim().to_owned()
}

#[test]
fn it_shows_what_runs_in_all_sandboxes() {
    let lab = Lab::new();
    lab.sandbox(&["top", "--once"])
        .code(0)
        .prints("0 sandboxes, 0 operations")
        .prints("nothing runs");
    let id = busy(&lab);
    let short = &id[id.len() - 8..];
    // Not from its workspace: it looks at all of them.
    let mut elsewhere = lab.command(&["top", "--once", "--json"]);
    let output = elsewhere.current_dir("/").output().unwrap();
    let look: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(look["sandboxes"], 1, "{look:#}");
    let operation = &look["operations"][0];
    assert_eq!(
        (&operation["sandbox"], &operation["id"]),
        (&"box".into(), &id.as_str().into())
    );
    assert!(
        operation["usage"]["memory_bytes"].as_u64() > Some(0),
        "{look:#}"
    );
    // Without a terminal it looks once.
    let text = lab.sandbox(&["top"]);
    text.code(0).prints(short).prints(BUSY);
    lab.sandbox(&["top", "--once", "-s", "nowhere"])
        .code(1)
        .says("nowhere");
    lab.sandbox(&["kill", &id]).code(0);
    lab.sandbox(&["top", "--once"])
        .code(0)
        .prints("nothing runs");
}

#[test]
fn it_measures_between_two_looks() {
    let lab = Lab::new();
    let id = busy(&lab);
    let mut top = lab
        .command(&["top", "--json", "--interval", "200ms"])
        .spawn()
        .unwrap();
    let lines = BufReader::new(top.stdout.take().unwrap()).lines();
    // On a machine with other work it may get little of a processor, and not nothing for ever.
    let measured = lines.take(100).find_map(|line| {
        let look: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let percent = look["operations"][0]["cpu_percent"].as_f64()?;
        (percent > 1.0).then_some(percent)
    });
    // Two threads of time, at the most: the shell has one.
    assert!(
        measured.is_some_and(|percent| percent < 150.0),
        "{measured:?}"
    );
    // Its reader is gone with `lines`, so it ends by itself.
    assert_eq!(top.wait().unwrap().code(), Some(0));
    lab.sandbox(&["kill", &id]).code(0);
}

#[test]
fn on_a_terminal_it_draws_until_q_is_typed_and_gives_the_terminal_back() {
    let lab = Lab::new().env("TERM", "xterm");
    let id = busy(&lab);
    let mut at_top = Sitting::start(&lab, &["top", "--interval", "100ms"]);
    at_top
        .sees("\x1b[?1049h")
        .sees("1 operation ")
        .sees("SANDBOX")
        .sees(&id[id.len() - 8..])
        // Drawn again.
        .sees("\x1b[H")
        .sees("1 operation ")
        .types("q");
    let (status, shown) = at_top.end();
    assert_eq!(status.code(), Some(0));
    assert!(shown.ends_with("\x1b[?25h\x1b[?1049l"), "{shown:?}");
    for signal in [Signal::TERM, Signal::INT] {
        let mut at_top = Sitting::start(&lab, &["top"]);
        at_top.sees("SANDBOX");
        at_top.signal(signal);
        let (status, shown) = at_top.end();
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert!(shown.ends_with("\x1b[?1049l"), "{shown:?}");
    }
    lab.sandbox(&["kill", &id]).code(0);
    // A terminal that cannot be drawn on.
    let dumb = Lab::new().env("TERM", "dumb");
    let (status, shown) = Sitting::start(&dumb, &["top"]).end();
    assert_eq!(status.code(), Some(0));
    assert!(
        shown.contains("nothing runs") && !shown.contains('\x1b'),
        "{shown:?}"
    );
}

#[test]
fn wrong_intervals_are_usage_errors() {
    let lab = Lab::new();
    lab.sandbox(&["top", "--interval", "1ms"])
        .code(2)
        .says("from 100ms to 1h");
}

#[test]
fn completions_and_pages_know_every_command() {
    let lab = Lab::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = lab.sandbox(&["completions", shell]);
        script.code(0).prints("snapshot").prints("allow-host");
    }
    lab.sandbox(&["completions", "tcsh"]).code(2).says("fish");
    lab.sandbox(&["man"]).code(0).prints(".TH sandbox 1");
    let pages = lab.root().join("pages");
    fs::create_dir(&pages).unwrap();
    let to = pages.to_str().unwrap();
    lab.sandbox(&["man", "--to", to]).code(0);
    for page in ["sandbox.1", "sandbox-run.1", "sandbox-snapshot-create.1"] {
        let text = fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(!pages.join("sandbox-supervise.1").exists());
    lab.sandbox(&["man", "--to", "/no/such/directory"])
        .code(1)
        .says("must exist");
}
