//! Logs of every length, written and read at once.

use std::{fs, os::unix::fs::PermissionsExt as _};

use sandbox_types::{OperationId, Stream};
use tempfile::TempDir;

use super::{LOGS_KEPT_MAX, OutputError, OutputKeeper, OutputLog, OutputPiece, is_live, prune};

const BYTES_MAX: u64 = 64 * 1024;

struct Lab(TempDir);

impl Lab {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn keeper(&self) -> OutputKeeper {
        OutputKeeper::begin(&self.0.path().join("op-1"), BYTES_MAX).unwrap()
    }

    fn log(&self) -> OutputLog {
        let id: OperationId = "op-1".parse().unwrap();
        OutputLog::open(&self.0.path().join("op-1"), id).unwrap()
    }

    fn size(&self) -> u64 {
        let files = fs::read_dir(self.0.path().join("op-1")).unwrap();
        files.map(|it| it.unwrap().metadata().unwrap().len()).sum()
    }
}

fn all(log: &mut OutputLog) -> Vec<OutputPiece> {
    std::iter::from_fn(|| log.next_piece().unwrap()).collect()
}

#[test]
fn what_is_printed_is_read_in_order_while_it_is_written() {
    let lab = Lab::new();
    let mut keeper = lab.keeper();
    let mut log = lab.log();
    assert_eq!(log.next_piece().unwrap(), None);
    keeper.append(Stream::Stdout, b"one\xff\n");
    keeper.append(Stream::Stderr, b"two");
    let read: Vec<_> = all(&mut log)
        .into_iter()
        .map(|it| (it.stream, it.bytes, it.skipped))
        .collect();
    assert_eq!(
        read,
        [
            (Stream::Stdout, b"one\xff\n".to_vec(), 0),
            (Stream::Stderr, b"two".to_vec(), 0)
        ]
    );
    keeper.append(Stream::Stdout, b"three");
    assert_eq!(log.next_piece().unwrap().unwrap().bytes, b"three");
    assert!(log.is_live());
    drop(keeper);
    assert!(!log.is_live());
    assert_eq!(log.next_piece().unwrap(), None);
}

#[test]
fn a_long_log_keeps_its_beginning_and_its_end() {
    let lab = Lab::new();
    let mut keeper = lab.keeper();
    let line = |number: u64| format!("{number:>9}\n");
    let count = 100_000;
    let mut slow = lab.log();
    for number in 0..count {
        keeper.append(Stream::Stdout, line(number).as_bytes());
    }
    assert!(keeper.failure().is_none());
    // One piece may reach over the end of a segment.
    assert!(lab.size() < BYTES_MAX + 4096, "{}", lab.size());
    let pieces = all(&mut slow);
    assert_eq!(pieces[0].bytes, line(0).as_bytes());
    assert_eq!(pieces.last().unwrap().bytes, line(count - 1).as_bytes());
    let read: u64 = pieces.iter().map(|it| it.bytes.len() as u64).sum();
    let skipped: u64 = pieces.iter().map(|it| it.skipped).sum();
    assert_eq!(read + skipped, count * 10);
    assert_eq!(pieces.iter().filter(|it| it.skipped > 0).count(), 1);
    assert!(skipped > 0);
}

#[test]
fn a_reader_that_keeps_up_misses_nothing() {
    let lab = Lab::new();
    let mut keeper = lab.keeper();
    let mut log = lab.log();
    let mut read = 0;
    for number in 0..2000_usize {
        keeper.append(Stream::Stdout, &vec![b'x'; number % 997]);
        read += all(&mut log)
            .iter()
            .map(|it| {
                assert_eq!(it.skipped, 0);
                it.bytes.len()
            })
            .sum::<usize>();
    }
    assert_eq!(read, (0..2000_usize).map(|it| it % 997).sum::<usize>());
}

#[test]
fn what_is_half_written_is_not_there_yet_and_what_is_wrong_is_damaged() {
    let lab = Lab::new();
    let mut keeper = lab.keeper();
    keeper.append(Stream::Stdout, b"whole");
    let file = lab.0.path().join("op-1/000000.log");
    let whole = fs::read(&file).unwrap();
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert_eq!(lab.log().next_piece().unwrap(), None, "{length}");
    }
    for (at, byte) in [(0, b'x'), (16, 9), (20, 0xff)] {
        let mut wrong = whole.clone();
        wrong[at] = byte;
        fs::write(&file, wrong).unwrap();
        let read = lab.log().next_piece();
        assert!(matches!(read, Err(OutputError::Damaged { .. })), "{read:?}");
    }
}

#[test]
fn old_logs_make_room_and_live_ones_stay() {
    let directory = tempfile::tempdir().unwrap();
    let begin =
        |number: usize| OutputKeeper::begin(&directory.path().join(format!("op-{number}")), 0);
    let live = begin(0).unwrap();
    for number in 1..LOGS_KEPT_MAX + 5 {
        prune(directory.path());
        drop(begin(number).unwrap());
    }
    let kept = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(kept, LOGS_KEPT_MAX);
    assert!(is_live(&directory.path().join("op-0")));
    drop(live);
    assert!(!is_live(&directory.path().join("op-0")));
}
