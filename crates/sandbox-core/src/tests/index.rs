//! Old operations are found however long the journal is.

use jiff::Timestamp;
use sandbox_state::hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Bench, fs, ledger};
use crate::history::HistoryError;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn ran(bench: &Bench, id: &str, argv: &[&str]) {
    let operation = json!({"id": id, "type": "command", "argv": argv, "cwd": "/"});
    let kinds = [ledger::STARTED, ledger::FINISHED];
    let records = bench.sandbox.log(1).unwrap();
    let mut report = serde_json::to_value(&records[0].report).unwrap();
    report["operation"] = operation;
    for kind in kinds {
        bench.sandbox.journal().append(kind, AT, &report).unwrap();
    }
}

fn fill(bench: &Bench) {
    for n in 0..1100 {
        bench.sandbox.journal().append("test", AT, &n).unwrap();
    }
}

#[test]
fn an_old_operation_is_found_by_the_index_and_without_it() {
    let bench = Bench::new(Some(super::ExitReason::Exited(0)), |_| {});
    bench.run(&super::Operation::shell("true")).unwrap();
    let file = bench.state().join("operations.index");
    let show = |name: &str| bench.sandbox.show(name);
    ran(&bench, "first-aaaa", &["one"]);
    assert_eq!(show("aaaa").unwrap().argv, ["one"]);
    assert!(!file.exists(), "few records are read as fast");
    fill(&bench);
    assert_eq!(show("first-aaaa").unwrap().argv, ["one"]);
    let known = fs::read_to_string(&file).unwrap();
    // What is newer than the index is found too, and what happened since.
    ran(&bench, "second-bbbb", &["two"]);
    let first = "first-aaaa".parse().unwrap();
    ledger::about(bench.sandbox.journal(), ledger::UNDONE, &first, None, AT).unwrap();
    assert_eq!(show("bbbb").unwrap().argv, ["two"]);
    assert_eq!(show("aaaa").unwrap().since, Some("undone"));
    assert_eq!(fs::read_to_string(&file).unwrap(), known, "little is new");
    fill(&bench);
    assert_eq!(show("aaaa").unwrap().since, Some("undone"));
    let longer = fs::read_to_string(&file).unwrap();
    assert!(longer.starts_with(&known) && longer != known, "appended");
    assert_eq!(show("bbbb").unwrap().argv, ["two"]);
    assert!(matches!(show("cccc"), Err(HistoryError::Unknown { .. })));
    // One that is damaged is not used.
    let without: String = known
        .split_inclusive('\n')
        .filter(|it| !it.contains("first-aaaa"))
        .collect();
    fs::write(&file, without).unwrap();
    assert_eq!(show("aaaa").unwrap().argv, ["one"]);
    fs::remove_file(&file).unwrap();
    assert_eq!(show("aaaa").unwrap().argv, ["one"]);
}

/// Whoever asks first, after thousands of operations, reads few records.
#[test]
fn operations_bring_the_index_up_to_date_without_being_asked() {
    let bench = Bench::new(Some(super::ExitReason::Exited(0)), |_| {});
    let file = bench.state().join("operations.index");
    let run = || bench.run(&super::Operation::shell("true")).unwrap();
    run();
    ran(&bench, "first-aaaa", &["one"]);
    assert!(!file.exists(), "the control: too early");
    let fill_to = |last: u64| {
        let journal = bench.sandbox.journal();
        while journal.append("test", AT, &()).unwrap().sequence < last {}
    };
    fill_to(510);
    run();
    let known = fs::read_to_string(&file).unwrap();
    ran(&bench, "second-bbbb", &["two"]);
    fill_to(1022);
    run();
    let longer = fs::read_to_string(&file).unwrap();
    assert!(longer.starts_with(&known), "the new part is appended");
    let seal: Value = serde_json::from_str(longer.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&seal["after"], &seal["journal"]["records"]),
        (&json!(512), &json!(1024))
    );
    for (name, argv) in [("aaaa", "one"), ("bbbb", "two")] {
        assert_eq!(bench.sandbox.show(name).unwrap().argv, [argv]);
    }
    // It is used: one that lacks an operation does not find it, and is not believed.
    let rest = rewrite(&known, |lines| {
        let of_first = |it: &Vec<String>| it[2] == "first-aaaa";
        lines.into_iter().filter(|it| !of_first(it)).collect()
    });
    fs::write(&file, rest).unwrap();
    assert!(matches!(
        bench.sandbox.show("aaaa"),
        Err(HistoryError::Unknown { .. })
    ));
    // Too much is new: that is for who asks.
    fs::remove_file(&file).unwrap();
    fill_to(4 * 1024 + 1022);
    run();
    assert!(!file.exists());
}

#[test]
fn what_is_newer_than_a_damage_is_found() {
    let bench = Bench::new(Some(super::ExitReason::Exited(0)), |_| {});
    bench.run(&super::Operation::shell("true")).unwrap();
    ran(&bench, "first-aaaa", &["one"]);
    let journal = bench.sandbox.journal().path();
    let middle = fs::read(&journal).unwrap().len() + 60;
    bench
        .sandbox
        .journal()
        .append("test", AT, &"damaged")
        .unwrap();
    ran(&bench, "second-bbbb", &["two"]);
    let mut bytes = fs::read(&journal).unwrap();
    bytes[middle] ^= 1;
    fs::write(&journal, bytes).unwrap();
    assert_eq!(bench.sandbox.show("bbbb").unwrap().argv, ["two"]);
    assert!(matches!(
        bench.sandbox.show("aaaa"),
        Err(HistoryError::Read(_))
    ));
}

/// Changes the places of an index, as one that is whole.
fn rewrite(text: &str, change: impl FnOnce(Vec<Vec<String>>) -> Vec<Vec<String>>) -> String {
    let (lines, seal) = text.split_at(text.find('{').unwrap());
    let words = |line: &str| line.splitn(3, ' ').map(str::to_owned).collect();
    let changed = change(lines.lines().map(words).collect());
    let lines: String = changed.iter().map(|words| words.join(" ") + "\n").collect();
    let mut seal: Value = serde_json::from_str(seal).unwrap();
    seal["sha256"] = hex(&Sha256::digest(&lines)).into();
    format!("{lines}{seal}\n")
}

/// One operation is asked for: a place of the index that is damaged or wrong hides nothing that the journal has.
#[test]
fn one_bad_place_of_the_index_hides_no_operation() {
    let bench = Bench::new(Some(super::ExitReason::Exited(0)), |_| {});
    bench.run(&super::Operation::shell("true")).unwrap();
    let file = bench.state().join("operations.index");
    let show = |name: &str| bench.sandbox.show(name);
    ran(&bench, "first-aaaa", &["one"]);
    ran(&bench, "second-bbbb", &["two"]);
    fill(&bench);
    show("aaaa").unwrap();
    let known = fs::read_to_string(&file).unwrap();
    let mut other = String::new();
    rewrite(&known, |lines| {
        let of_other = lines.iter().find(|it| it[2] == "second-bbbb");
        other.clone_from(&of_other.unwrap()[0]);
        lines
    });
    for offset in [other.as_str(), "1", "99999999999", "18446744073709551615"] {
        let wrong = rewrite(&known, |mut lines| {
            for line in lines.iter_mut().filter(|it| it[2] == "first-aaaa") {
                offset.clone_into(&mut line[0]);
            }
            lines
        });
        fs::write(&file, wrong).unwrap();
        assert_eq!(show("aaaa").unwrap().argv, ["one"], "{offset}");
        assert_eq!(fs::read_to_string(&file).unwrap(), known, "it is made anew");
    }
    // The start is damaged, and the end is whole.
    let mut start = 0;
    rewrite(&known, |lines| {
        let of_first = lines.iter().find(|it| it[2] == "first-aaaa");
        start = of_first.unwrap()[0].parse().unwrap();
        lines
    });
    let journal = bench.sandbox.journal().path();
    let mut bytes = fs::read(&journal).unwrap();
    bytes[start + 100] ^= 1;
    fs::write(&journal, bytes).unwrap();
    assert_eq!(show("aaaa").unwrap().argv, ["one"]);
    fs::remove_file(&file).unwrap();
    assert_eq!(show("aaaa").unwrap().argv, ["one"], "nor without it");
}
