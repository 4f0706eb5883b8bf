//! Many processes, many kills, and copies put back: short here, at length with `cargo xtask state`.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::Lab;

/// Tells how often: the number of kills, and of operations of each process.
const LENGTH_VARIABLE: &str = "SANDBOX_STATE_CAMPAIGN";
const PROCESSES: usize = 8;
/// Each process runs so many operations, unless the variable asks for more.
const OPERATIONS_DEFAULT: usize = 2;
const KILLS_DEFAULT: usize = 12;

fn length(default: usize) -> usize {
    let asked = std::env::var(LENGTH_VARIABLE).ok();
    asked.map_or(default, |it| it.parse().unwrap())
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab
}

/// All records, from the first to the last.
fn records(lab: &Lab) -> Vec<Value> {
    let exported = lab.sandbox(&["audit", "export"]);
    let lines = exported.code(0).stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What is wrong with the records of operations of which each must have one start and one end, in this order.
fn problems(records: &[Value], expected: usize) -> Vec<String> {
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut found = Vec::new();
    for (record, number) in records.iter().zip(1_u64..) {
        if record["sequence"] != number {
            found.push(format!("record {number} has another number"));
        }
        let kind = record["kind"].as_str().unwrap();
        if matches!(kind, "operation.started" | "operation.finished") {
            let id = record["payload"]["operation"]["id"].as_str().unwrap();
            seen.entry(id).or_default().push(kind);
        }
    }
    for (id, kinds) in &seen {
        if *kinds != ["operation.started", "operation.finished"] {
            found.push(format!("{id}: {kinds:?}"));
        }
    }
    if seen.len() != expected {
        found.push(format!("{} operations of {expected}", seen.len()));
    }
    found
}

#[test]
fn each_operation_of_many_processes_is_recorded_once() {
    let lab = lab();
    let each = length(OPERATIONS_DEFAULT);
    std::thread::scope(|scope| {
        for process in 0..PROCESSES {
            let lab = &lab;
            scope.spawn(move || {
                for number in 0..each {
                    let path = format!("{process}-{number}");
                    lab.sandbox(&["run", "-q", "--", "touch", &path]).code(0);
                }
            });
        }
    });
    let expected = PROCESSES * each;
    assert_eq!(lab.tree().len(), expected + 1, "a change is missing");
    let mut records = records(&lab);
    assert_eq!(problems(&records, expected), Vec::<String>::new());
    let verified = lab.sandbox(&["audit", "verify", "--json"]).code(0).json();
    assert_eq!(verified["records"], records.len());
    // The control: an end that is missing, and a start that is there twice.
    let is_end = |it: &Value| it["kind"] == "operation.finished";
    let end = records.iter().rposition(is_end).unwrap();
    let removed = records.remove(end);
    assert!(!problems(&records, expected).is_empty());
    records.insert(end, removed.clone());
    records.push(removed);
    assert!(!problems(&records, expected).is_empty());
}

/// What the state must be: what was acknowledged, or that and the change that was cut off.
struct Expected {
    number: u32,
    in_flight: Option<u32>,
}

impl Expected {
    fn allows(&self, found: u32) -> bool {
        found == self.number || Some(found) == self.in_flight
    }
}

/// Reads everything that was stored.
fn found(lab: &Lab) -> Result<[u32; 4], String> {
    let get = |key: &str| {
        let ended = lab.sandbox(&["state", "get", key]);
        let number = ended.stdout.trim_start_matches("secret ").parse();
        number.map_err(|_not_a_number| ended.to_string())
    };
    Ok([get("open")?, get("sealed")?, get("pair/a")?, get("pair/b")?])
}

/// Kills a process at its moment, unless it ends before. Returns whether it said that it was done.
fn kill(mut child: Child, moment: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < moment {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::yield_now();
    }
    // One that has ended meanwhile cannot be killed.
    let _killed = child.kill();
    child.wait().unwrap().success()
}

/// Writes the transaction of two keys that `state apply` gets.
fn write_pair(pair: &Path, number: u32) {
    let changes =
        ["pair/a", "pair/b"].map(|key| serde_json::json!({"set": key, "text": number.to_string()}));
    fs::write(pair, serde_json::to_string(&changes).unwrap()).unwrap();
}

/// Returns the words of one of five commands.
fn words(pair: &Path, which: usize, number: u32) -> Vec<String> {
    let number = number.to_string();
    let secret = format!("secret {number}");
    let words: &[&str] = match which {
        0 => &["state", "set", "open", &number],
        1 => &["state", "set", "--secret", "sealed", &secret],
        2 => &["state", "apply", pair.to_str().unwrap()],
        3 => &["state", "rekey"],
        _ => &["run", "-q", "--shell", "echo x >> grown; exit 0"],
    };
    words.iter().map(|&it| it.to_owned()).collect()
}

#[test]
fn whatever_is_killed_leaves_the_state_before_or_after() {
    let lab = lab();
    let pair = lab.root().join("pair.json");
    let mut expected: [Expected; 4] = std::array::from_fn(|_| Expected {
        number: 0,
        in_flight: None,
    });
    let mut whole = [Duration::ZERO; 5];
    write_pair(&pair, 0);
    for (which, time) in whole.iter_mut().enumerate() {
        let words = words(&pair, which, 0);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let start = Instant::now();
        lab.sandbox(&words).code(0);
        *time = start.elapsed();
    }
    let mut acknowledged = 0;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for turn in 1..=u32::try_from(length(KILLS_DEFAULT)).unwrap() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let which = usize::try_from(random % 5).unwrap();
        let moment = whole[which] * u32::try_from(random >> 32 & 0xFF).unwrap() / 200;
        write_pair(&pair, turn);
        let words = words(&pair, which, turn);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = lab.command(&words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let done = kill(command.spawn().unwrap(), moment);
        acknowledged += u32::from(done);
        let changed: &[usize] = match which {
            0 => &[0],
            1 => &[1],
            2 => &[2, 3],
            _ => &[],
        };
        for &key in changed {
            expected[key].in_flight = Some(turn);
        }
        let found = found(&lab).unwrap_or_else(|error| panic!("turn {turn}, {words:?}: {error}"));
        for (key, (found, expected)) in found.iter().zip(&mut expected).enumerate() {
            assert!(
                expected.allows(*found),
                "turn {turn}, {words:?}, key {key}: {found}, and {} was acknowledged",
                expected.number
            );
            assert!(
                !done || !changed.contains(&key) || *found == turn,
                "turn {turn}: what {words:?} acknowledged is lost"
            );
            (expected.number, expected.in_flight) = (*found, None);
        }
        assert_eq!(found[2], found[3], "turn {turn}: half of a transaction");
        if turn % 10 == 0 {
            lab.sandbox(&["audit", "verify"]).code(0);
        }
    }
    assert!(acknowledged > 0, "every process was killed");
    lab.sandbox(&["audit", "verify"]).code(0);
    lab.sandbox(&["ps"]).code(0).says("nothing runs");
    let grown = lab.read("grown").unwrap_or_default();
    assert!(grown.lines().all(|line| line == "x"), "half a line");
    control(&lab, &expected);
}

/// The control: a store without its last change is not what was acknowledged.
fn control(lab: &Lab, expected: &[Expected; 4]) {
    let store = lab.data().join("sandboxes/workspace/state.redb");
    let old = fs::read(&store).unwrap();
    let next = expected[0].number + 1;
    lab.sandbox(&["state", "set", "open", &next.to_string()])
        .code(0);
    let after = Expected {
        number: next,
        in_flight: None,
    };
    assert!(after.allows(found(lab).unwrap()[0]));
    fs::write(&store, old).unwrap();
    let lost = found(lab).map_or(true, |found| !after.allows(found[0]));
    assert!(lost, "a lost change was not noticed");
    lab.sandbox(&["state", "recover"]).code(0);
}

/// Every older copy is noticed, however old, and the newest is not taken for one.
#[test]
fn every_older_copy_of_the_store_is_noticed() {
    let lab = lab();
    let store = lab.data().join("sandboxes/workspace/state.redb");
    let mut copies = Vec::new();
    for number in 0..length(KILLS_DEFAULT).clamp(4, 100) / 4 {
        lab.sandbox(&["state", "set", "k", &number.to_string()])
            .code(0);
        copies.push(fs::read(&store).unwrap());
    }
    let newest = copies.pop().unwrap();
    for copy in &copies {
        fs::write(&store, copy).unwrap();
        for args in [&["state", "get", "k"][..], &["state", "set", "k", "x"]] {
            let ended = lab.sandbox(args);
            ended.code(1).says("an older copy is in its place");
        }
    }
    fs::write(&store, &newest).unwrap();
    lab.sandbox(&["state", "get", "k"])
        .code(0)
        .prints(&copies.len().to_string());
}
