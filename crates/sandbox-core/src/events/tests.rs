//! The stream, the handlers and the file, against a real journal.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::{Barrier, Mutex, mpsc},
};

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::{
    event::{EventHandler, EventKind},
    ledger::{self, HANDLER_QUEUE_MAX, Ledger},
};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Lab {
    directory: TempDir,
    ledger: Ledger,
    journal: Journal,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path(), &name());
        let journal = sandbox_state::StateManager::open(directory.path())
            .journal()
            .clone();
        Self {
            directory,
            ledger,
            journal,
        }
    }

    fn append(&self, number: u64) {
        append(&self.ledger, number);
    }

    fn stream(&self, since: Option<u64>) -> EventStream {
        EventStream::start(&self.journal, &name(), since).unwrap()
    }
}

fn name() -> SandboxName {
    "bench".parse().unwrap()
}

fn append(ledger: &Ledger, number: u64) {
    ledger
        .append("test.number", Timestamp::UNIX_EPOCH, &number)
        .unwrap();
}

/// Takes events until `count` have come.
fn take(stream: &mut EventStream, count: usize) -> Vec<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut taken = Vec::new();
        while taken.len() < count {
            let next = tokio::time::timeout(PATIENCE, stream.next()).await;
            taken.push(next.expect("in time").unwrap().unwrap().sequence);
        }
        taken
    })
}

#[test]
fn the_stream_has_the_history_and_then_what_others_append() {
    let lab = Lab::new();
    // Nothing is there yet, not even the file.
    let (mut all, mut next) = (lab.stream(Some(0)), lab.stream(None));
    lab.append(1);
    assert_eq!(take(&mut all, 1), [1]);
    assert_eq!(take(&mut next, 1), [1]);
    let mut later = lab.stream(None);
    let mut third = lab.stream(Some(2));
    let other = Ledger::open(lab.directory.path(), &name());
    append(&other, 2);
    append(&other, 3);
    assert_eq!(take(&mut later, 2), [2, 3]);
    assert_eq!(take(&mut third, 1), [3]);
    assert_eq!(take(&mut all, 2), [2, 3]);
    let past: Vec<u64> = PastEvents::new(&lab.journal, &name(), 1)
        .unwrap()
        .map(|event| event.unwrap().sequence)
        .collect();
    assert_eq!(past, [2, 3]);
}

#[test]
fn many_writers_and_a_slow_reader_lose_nothing() {
    const EACH: u64 = 100;
    let lab = Lab::new();
    let mut stream = lab.stream(Some(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            // As another process: a ledger of its own.
            let ledger = Ledger::open(lab.directory.path(), &name());
            scope.spawn(move || (0..EACH).for_each(|number| append(&ledger, number)));
        }
    });
    // The channel holds far less.
    let all: Vec<u64> = (1..=4 * EACH).collect();
    assert_eq!(take(&mut stream, all.len()), all);
}

#[test]
fn the_stream_ends_with_the_journal_and_the_thread_with_the_stream() {
    let lab = Lab::new();
    lab.append(1);
    let mut stream = lab.stream(Some(0));
    assert_eq!(take(&mut stream, 1), [1]);
    lab.append(2);
    fs::remove_file(lab.journal.path()).unwrap();
    assert_eq!(take(&mut stream, 1), [2]);
    assert!(stream.events.blocking_recv().is_none());

    let idle = Lab::new().stream(None);
    let over = Arc::downgrade(&idle.over);
    drop(idle);
    wait_until(|| over.strong_count() == 0);
}

#[test]
fn damage_is_told_and_ends_the_stream() {
    let lab = Lab::new();
    lab.append(1);
    lab.append(2);
    let mut bytes = fs::read(lab.journal.path()).unwrap();
    let last = bytes.len() - 60;
    bytes[last] ^= 1;
    fs::write(lab.journal.path(), bytes).unwrap();
    let mut stream = lab.stream(Some(0));
    assert_eq!(take(&mut stream, 1), [1]);
    stream.events.blocking_recv().unwrap().unwrap_err();
    assert!(stream.events.blocking_recv().is_none());
}

/// Remembers what it hears; panics at number 2 if it is told to.
#[derive(Default)]
struct Ears {
    heard: Mutex<Vec<u64>>,
    panics: bool,
}

impl EventHandler for Ears {
    fn handle(&self, event: &SandboxEvent) {
        assert!(!self.panics || event.sequence < 2, "as the test wants");
        self.heard.lock().unwrap().push(event.sequence);
    }
}

#[test]
fn handlers_hear_in_order_and_a_panic_reaches_nobody_else() {
    let lab = Lab::new();
    let (good, bad) = (
        Arc::new(Ears::default()),
        Arc::new(Ears {
            panics: true,
            ..Ears::default()
        }),
    );
    lab.ledger.call(Arc::<Ears>::clone(&bad));
    lab.ledger.call(Arc::<Ears>::clone(&good));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20).for_each(|number| lab.append(number)));
        }
    });
    // The end waits until everything was heard.
    drop(lab);
    let heard = good.heard.lock().unwrap();
    assert_eq!(*heard, (1..=80).collect::<Vec<u64>>());
    assert_eq!(*bad.heard.lock().unwrap(), [1]);
}

/// Does not come back before it is let go.
struct Stuck(Barrier, mpsc::Sender<u64>);

impl EventHandler for Stuck {
    fn handle(&self, event: &SandboxEvent) {
        if event.sequence == 1 {
            self.0.wait();
        }
        let _nobody_asks = self.1.send(event.sequence);
    }
}

#[test]
fn a_handler_that_is_stuck_holds_nobody_up() {
    let lab = Lab::new();
    let (sender, heard) = mpsc::channel();
    let stuck = Arc::new(Stuck(Barrier::new(2), sender));
    lab.ledger.call(Arc::<Stuck>::clone(&stuck));
    let more = u64::try_from(HANDLER_QUEUE_MAX).unwrap() + 10;
    (0..more).for_each(|number| lab.append(number));
    // All are in the journal; to the handler, those that found the queue full were not handed.
    let past = PastEvents::new(&lab.journal, &name(), 0).unwrap();
    assert_eq!(u64::try_from(past.count()).unwrap(), more);
    stuck.0.wait();
    drop((lab, stuck));
    let heard: Vec<u64> = heard.iter().collect();
    assert!((HANDLER_QUEUE_MAX..HANDLER_QUEUE_MAX + 5).contains(&heard.len()));
    assert!(heard.is_sorted());
}

#[test]
fn the_file_has_a_line_for_each_event() {
    let lab = Lab::new();
    let path = lab.directory.path().join("events.jsonl");
    // What a kill in the middle of a line leaves.
    fs::write(&path, "{\"sequence\": 0, \"at").unwrap();
    lab.ledger.copy_to(&path);
    lab.append(1);
    let id = "op-1".parse().unwrap();
    ledger::about(
        &lab.ledger,
        ledger::UNDONE,
        &id,
        None,
        Timestamp::UNIX_EPOCH,
    )
    .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let events: Vec<SandboxEvent> = text
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        matches!(&events[0].kind, EventKind::Other { kind, data } if kind == "test.number" && *data == 1)
    );
    assert!(matches!(&events[1].kind, EventKind::OperationUndone(it) if it.operation == id));
    assert_eq!((events.len(), lab.ledger.copy_failure()), (2, None));
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_breaks_nothing() {
    let lab = Lab::new();
    let elsewhere = lab.directory.path().join("elsewhere");
    let link = lab.directory.path().join("link");
    symlink(&elsewhere, &link).unwrap();
    for path in [link, "/proc/version".into(), "/nonexistent/events".into()] {
        let ledger = Ledger::open(lab.directory.path(), &name());
        ledger.copy_to(&path);
        append(&ledger, 1);
        append(&ledger, 2);
        let failure = ledger.copy_failure().unwrap();
        assert!(failure.contains(&path.display().to_string()), "{failure}");
    }
    assert!(!elsewhere.exists());
    let made = lab.directory.path().join("made");
    lab.ledger.copy_to(&made);
    lab.append(1);
    let mode = fs::metadata(&made).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Waits for something that is about to happen.
#[track_caller]
fn wait_until(happened: impl Fn() -> bool) {
    let (_never, timer) = mpsc::channel::<()>();
    let started = std::time::Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "it did not happen");
        let _passed = timer.recv_timeout(Duration::from_millis(2));
    }
}
