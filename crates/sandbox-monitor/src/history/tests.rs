//! The file on a real file system: torn, damaged, shared between threads, and a year long.

use std::{os::unix::fs::symlink, thread};

use sandbox_types::Outcome;
use tempfile::TempDir;

use super::*;
use crate::{StateTracker, stats};

const MINUTE_MS: u64 = 60_000;
const YEAR_MINUTES: u64 = 366 * 24 * 60;

struct Place {
    directory: TempDir,
    file: HistoryFile,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = HistoryFile::new(directory.path());
        Self { directory, file }
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.file.path()).unwrap()
    }
}

/// The end of an operation that took `wall_us` and nothing else.
fn end(at_ms: u64, wall_us: u64) -> UsageRecord {
    let total = Total {
        sum: wall_us,
        max: wall_us,
    };
    let mut record = UsageRecord {
        at_ms,
        samples: 1,
        operation: 7,
        cpu_us: 3,
        outcomes: Outcomes::one(Outcome::Completed),
        wall_us: total,
        ..UsageRecord::default()
    };
    record.buckets[Figure::Wall as usize].count(wall_us >> UNIT_SHIFT[Figure::Wall as usize]);
    record
}

#[test]
fn what_is_appended_is_read() {
    let place = Place::new();
    assert_eq!(place.file.read().unwrap(), History::default());
    let records = [end(1, 10), end(2, 20)];
    for record in &records {
        place.file.append(record).unwrap();
    }
    let history = place.file.read().unwrap();
    assert_eq!(history.records, records);
    assert_eq!((history.damaged, history.bytes), (0, 1024));
    let mode = fs::metadata(place.file.path()).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_append_that_was_cut_off_anywhere_is_left_out_and_cut_off_by_the_next() {
    for torn in 1..RECORD_BYTES {
        let place = Place::new();
        place.file.append(&end(1, 10)).unwrap();
        let mut bytes = place.bytes();
        bytes.extend_from_slice(&end(2, 20).encode()[..torn]);
        fs::write(place.file.path(), &bytes).unwrap();
        assert_eq!(place.file.read().unwrap().records, [end(1, 10)]);
        place.file.append(&end(3, 30)).unwrap();
        let history = place.file.read().unwrap();
        assert_eq!(history.records, [end(1, 10), end(3, 30)], "cut at {torn}");
        assert_eq!(history.damaged, 0);
    }
}

#[test]
fn a_damaged_record_costs_only_itself() {
    let place = Place::new();
    for n in 0..5 {
        place.file.append(&end(n, n)).unwrap();
    }
    let mut bytes = place.bytes();
    bytes[2 * RECORD_BYTES + 50] ^= 4;
    // What a power cut can leave: the length is there, the content is not.
    bytes.extend_from_slice(&[0; RECORD_BYTES]);
    fs::write(place.file.path(), bytes).unwrap();
    let history = place.file.read().unwrap();
    assert_eq!(
        history.records,
        [end(0, 0), end(1, 1), end(3, 3), end(4, 4)]
    );
    assert_eq!(history.damaged, 2);
}

#[test]
fn what_is_no_file_of_ours_is_refused() {
    let place = Place::new();
    symlink("/etc/passwd", place.file.path()).unwrap();
    assert!(matches!(
        place.file.append(&end(1, 1)),
        Err(HistoryWriteError::Open { .. })
    ));
    assert!(place.file.read().is_err());
    fs::remove_file(place.file.path()).unwrap();
    fs::create_dir(place.file.path()).unwrap();
    assert!(place.file.append(&end(1, 1)).is_err());
    assert!(place.file.read().is_err());
}

#[test]
fn many_writers_lose_nothing_also_while_the_file_is_shortened() {
    let place = Place::new();
    // Two minutes between ends: what is more than a day old is summed up.
    let (threads, each) = (4, 2500);
    thread::scope(|scope| {
        for writer in 0..threads {
            let file = &place.file;
            scope.spawn(move || {
                for n in 0..each {
                    file.append(&end(writer + n * 2 * MINUTE_MS, 100)).unwrap();
                }
            });
        }
    });
    let history = place.file.read().unwrap();
    let sum = stats::sum_of(&history.records.iter().collect::<Vec<_>>());
    assert_eq!(sum.outcomes.total(), threads * each);
    assert_eq!(sum.samples, 10_000);
    assert_eq!(sum.wall_us.sum, threads * each * 100);
    assert!(
        history.bytes < 10_000 * RECORD_BYTES as u64,
        "it was shortened"
    );
    let names = fs::read_dir(place.directory.path()).unwrap().count();
    assert_eq!(names, 1, "nothing else is left");
}

#[test]
fn a_shortening_that_was_killed_leaves_the_history_as_it_was() {
    let place = Place::new();
    let full = BLOCK_BYTES / RECORD_BYTES as u64;
    let bytes: Vec<u8> = (0..full - 1).flat_map(|n| end(n, 1).encode()).collect();
    fs::write(place.file.path(), bytes).unwrap();
    // Killed half-way: the new file is there, and not yet in place of the old one.
    fs::write(place.directory.path().join(NEW_FILE_NAME), "half").unwrap();
    assert_eq!(place.file.read().unwrap().records.len() as u64, full - 1);
    let next_day = 2 * 24 * 60 * MINUTE_MS;
    place.file.append(&end(next_day, 1)).unwrap();
    let history = place.file.read().unwrap();
    assert_eq!(
        history.records.len(),
        2,
        "one minute, and the newest by itself"
    );
    assert!(!place.directory.path().join(NEW_FILE_NAME).exists());
    let tracker = StateTracker::open(place.directory.path());
    assert_eq!(tracker.total().unwrap().outcomes.total(), full);
}

#[test]
fn a_busy_year_fits_and_loses_nothing() {
    let mut records = Vec::new();
    let mut largest = 0;
    // Every hour that is kept, and every minute of the last ten days, has something.
    let last_days = YEAR_MINUTES - 10 * 24 * 60;
    let minutes = (0..last_days).step_by(60).chain(last_days..YEAR_MINUTES);
    let count = minutes.clone().count() as u64;
    for minute in minutes {
        records.push(end(minute * MINUTE_MS, 1000));
        if records.len().is_multiple_of(4096) {
            records = shorten::shorten(records, minute * MINUTE_MS);
            largest = largest.max(records.len());
        }
    }
    let sum = stats::sum_of(&records.iter().collect::<Vec<_>>());
    assert_eq!(sum.outcomes.total(), count);
    let bytes = (largest + 4096) * RECORD_BYTES;
    assert!(bytes <= 20 * 1024 * 1024, "{bytes}");
    assert_eq!(
        HISTORY_FORMAT, 1,
        "a new version needs a way to read the old"
    );
}

#[test]
fn the_file_is_bounded_when_the_clock_is_wrong() {
    let mut records: Vec<UsageRecord> = Vec::new();
    // Every record in an hour of its own, far ahead and far back.
    for n in 0..60_000_u64 {
        records.push(end((n * 7919 % 60_000) * 60 * MINUTE_MS, 1000));
        if records.len().is_multiple_of(4096) {
            records = shorten::shorten(records, 0);
        }
    }
    let sum = stats::sum_of(&records.iter().collect::<Vec<_>>());
    assert_eq!(sum.outcomes.total(), 60_000);
    assert!(records.len() * RECORD_BYTES <= 20 * 1024 * 1024);
}

#[test]
fn shortening_twice_changes_nothing() {
    let records: Vec<_> = (0..30_000)
        .map(|n| end(n * 10 * MINUTE_MS, n * 50))
        .collect();
    let now = 30_000 * 10 * MINUTE_MS;
    let once = shorten::shorten(records, now);
    assert!(once.len() < 20_000);
    assert_eq!(shorten::shorten(once.clone(), now), once);
}

/// A fixture of the first format: what was written once is read for ever.
#[test]
fn the_first_format_is_read() {
    let record = UsageRecord {
        resolution: Resolution::Minute,
        at_ms: 1_700_000_000_000,
        operation: 0x1122_3344_5566_7788,
        guest: Some(GuestProcess {
            pid: 4321,
            started: 99,
        }),
        cpu_us: 5,
        memory_peak_bytes: 1 << 40,
        outcomes: Outcomes::one(Outcome::Killed),
        ..end(0, 64)
    };
    let bytes = record.encode();
    let mut expected = b"SBXU\x01\x01\0\0".to_vec();
    expected.extend(1_700_000_000_000_u64.to_le_bytes());
    expected.extend(0x1122_3344_5566_7788_u64.to_le_bytes());
    assert_eq!(bytes[..24], expected);
    let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    // The guest; killed is the seventh outcome; one wall time of a unit.
    assert_eq!((field(24), field(32)), (99, 4321));
    assert_eq!((field(56), field(80), field(84)), (5, 0, 256));
    assert_eq!((field(88 + 6 * 4), field(128)), (1, 64));
    assert_eq!(u16::from_le_bytes([bytes[186], bytes[187]]), 1);
    let decoded = UsageRecord::decode(&bytes).unwrap();
    assert_eq!(decoded, record);
}
