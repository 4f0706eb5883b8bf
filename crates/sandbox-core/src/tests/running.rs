//! Which operations run, with and without what was remembered of the journal.

use jiff::Timestamp;
use sandbox_types::Operation;
use serde_json::json;

use super::{Bench, ExitReason, fs, ledger};
use crate::process_mark::ProcessMark;

fn append(bench: &Bench, kind: &str, id: &str) {
    let payload = json!({
        "operation": {"id": id, "type": "command", "argv": ["sleep"], "cwd": "/"},
        "verdict": bench.sandbox.judge(&Operation::shell("true")),
        "process": ProcessMark::of_this(),
    });
    let journal = bench.sandbox.journal();
    journal
        .append(kind, Timestamp::UNIX_EPOCH, &payload)
        .unwrap();
}

fn fill(bench: &Bench) {
    for n in 0..300 {
        let journal = bench.sandbox.journal();
        journal.append("test", Timestamp::UNIX_EPOCH, &n).unwrap();
    }
}

fn running(bench: &Bench) -> Vec<String> {
    let running = bench.sandbox.running_by_journal().unwrap();
    running.iter().map(|it| it.id.to_string()).collect()
}

#[test]
fn what_runs_is_remembered_and_what_ended_since_is_not_listed() {
    let bench = Bench::new(None, |_| {});
    let file = bench.state().join("running.json");
    append(&bench, ledger::STARTED, "one");
    append(&bench, ledger::STARTED, "two");
    assert_eq!(running(&bench), ["one", "two"]);
    assert!(!file.exists(), "few records are read as fast");
    fill(&bench);
    assert_eq!(running(&bench), ["one", "two"]);
    let first = fs::read(&file).unwrap();
    append(&bench, ledger::STARTED, "three");
    append(&bench, ledger::FINISHED, "one");
    assert_eq!(running(&bench), ["two", "three"]);
    assert_eq!(fs::read(&file).unwrap(), first, "little is new");
    fill(&bench);
    assert_eq!(running(&bench), ["two", "three"]);
    assert_ne!(fs::read(&file).unwrap(), first);
    // What it says is used: the control for the next test.
    let text = String::from_utf8(fs::read(&file).unwrap()).unwrap();
    fs::write(&file, text.replace("\"two\"", "\"2\"")).unwrap();
    assert_eq!(running(&bench), ["2", "three"]);
}

#[test]
fn after_many_operations_what_runs_is_remembered_without_being_asked() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), |_| {});
    let file = bench.state().join("running.json");
    bench.run(&Operation::shell("true")).unwrap();
    assert!(!file.exists(), "the control: too early");
    append(&bench, ledger::STARTED, "one");
    let journal = bench.sandbox.journal();
    while journal
        .append("test", Timestamp::UNIX_EPOCH, &())
        .unwrap()
        .sequence
        < 510
    {}
    bench.run(&Operation::shell("true")).unwrap();
    let known: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(known["sequence"], 512);
    assert_eq!(running(&bench), ["one"]);
}

#[test]
fn what_is_remembered_of_another_journal_is_not_believed() {
    let bench = Bench::new(None, |_| {});
    append(&bench, ledger::STARTED, "one");
    fill(&bench);
    assert_eq!(running(&bench), ["one"]);
    let other = Bench::new(None, |_| {});
    append(&other, ledger::STARTED, "other");
    fill(&other);
    let (from, to) = (bench.state(), other.state());
    fs::copy(from.join("running.json"), to.join("running.json")).unwrap();
    assert_eq!(running(&other), ["other"]);
    for text in ["", "{}", "{\"format\": 2}"] {
        fs::write(from.join("running.json"), text).unwrap();
        assert_eq!(running(&bench), ["one"], "{text:?}");
    }
}
