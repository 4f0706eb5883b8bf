//! The journal under concurrency, tampering and cuts.

mod missing;
mod segments;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    sync::Barrier,
    thread,
};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{Hash, OpenError, StateManager, hex};

struct Lab {
    home: TempDir,
    journal: Journal,
}

impl Lab {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("box");
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .unwrap();
        let journal = StateManager::open(&directory).journal().clone();
        Self { home, journal }
    }

    /// A journal with `count` records of different lengths.
    fn with_records(count: u64) -> Self {
        let lab = Self::new();
        for number in 1..=count {
            lab.append(number);
        }
        lab
    }

    fn append(&self, number: u64) -> Receipt {
        let payload =
            json!({"number": number, "text": "x".repeat(usize::try_from(number).unwrap())});
        self.journal.append("test", at(), &payload).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.journal.path()).unwrap()
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(self.journal.path(), bytes).unwrap();
    }

    /// Where each record begins, and the end of the last.
    fn offsets(&self) -> Vec<usize> {
        let bytes = self.bytes();
        let mut offsets = vec![0];
        while *offsets.last().unwrap() < bytes.len() {
            let offset = *offsets.last().unwrap();
            offsets.push(offset + frame::frame_length(&bytes[offset..]).unwrap());
        }
        offsets
    }

    fn damage(&self) -> Option<(u64, u64)> {
        let damage = self.journal.verify().unwrap().damage?;
        Some((damage.sequence, damage.offset))
    }
}

fn at() -> Timestamp {
    "2026-11-22T20:00:00.123456789Z".parse().unwrap()
}

fn sequences(records: impl Iterator<Item = Result<Record, ReadError>>) -> Vec<u64> {
    records.map(|record| record.unwrap().sequence).collect()
}

#[test]
fn records_come_back_as_they_were_appended() {
    let lab = Lab::new();
    assert!(sequences(lab.journal.records().unwrap()).is_empty());
    assert!(sequences(lab.journal.records_newest_first().unwrap()).is_empty());
    let large = "y".repeat(100_000);
    let first = lab.journal.append("operation", at(), &"ls").unwrap();
    let second = lab.journal.append_synced("approval", at(), &large).unwrap();
    assert_eq!((first.sequence, second.sequence), (1, 2));

    let records: Vec<_> = lab.journal.records().unwrap().map(Result::unwrap).collect();
    assert_eq!(records[0].kind, "operation");
    assert_eq!(records[0].payload, json!("ls"));
    assert_eq!(records[0].at, at());
    assert_eq!(records[1].payload, json!(large));
    assert_eq!(records[1].hash, second.hash);
    let mut backwards: Vec<_> = lab
        .journal
        .records_newest_first()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    backwards.reverse();
    assert_eq!(backwards, records);

    let found = lab.journal.verify().unwrap();
    assert_eq!(
        (found.records, found.damage, found.torn_tail),
        (2, None, None)
    );
    assert_eq!(found.head, Some(hex(&second.hash)));
    assert_eq!(found.bytes, lab.bytes().len() as u64);
}

#[test]
fn only_the_owner_may_read_it() {
    let lab = Lab::with_records(1);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(lab.journal.path()), 0o600);
    assert_eq!(mode(lab.home.path().join("box")), 0o700);
}

#[test]
fn every_flipped_byte_is_found_in_its_record() {
    let lab = Lab::with_records(4);
    let (good, offsets) = (lab.bytes(), lab.offsets());
    for flipped in 0..good.len() {
        let record = offsets.iter().filter(|offset| **offset <= flipped).count();
        for mask in [0x01, 0x80, 0xFF] {
            let mut bytes = good.clone();
            bytes[flipped] ^= mask;
            lab.write(&bytes);
            let expected = Some((record as u64, offsets[record - 1] as u64));
            assert_eq!(lab.damage(), expected, "byte {flipped} ^ {mask:#x}");
        }
    }
}

#[test]
fn dropped_doubled_and_swapped_records_are_found() {
    let lab = Lab::with_records(6);
    let (good, offsets) = (lab.bytes(), lab.offsets());
    let frames: Vec<&[u8]> = offsets.windows(2).map(|at| &good[at[0]..at[1]]).collect();
    let damaged = |frames: &[&[u8]]| {
        lab.write(&frames.concat());
        lab.damage().map(|(sequence, _)| sequence)
    };
    for number in 0..frames.len() {
        let expected = Some(number as u64 + 1);
        if number + 1 < frames.len() {
            let mut dropped = frames.clone();
            dropped.remove(number);
            assert_eq!(damaged(&dropped), expected, "drop {number}");
            let mut swapped = frames.clone();
            swapped.swap(number, number + 1);
            assert_eq!(damaged(&swapped), expected, "swap {number}");
        }
        let mut doubled = frames.clone();
        doubled.insert(number, frames[number]);
        assert_eq!(
            damaged(&doubled),
            Some(number as u64 + 2),
            "double {number}"
        );
    }
    // The limit that the documentation states: whole records missing at the end leave no trace here.
    assert_eq!(damaged(&frames[..5]), None);
}

#[test]
fn bytes_from_elsewhere_are_found() {
    let lab = Lab::with_records(3);
    let (good, offsets) = (lab.bytes(), lab.offsets());
    let other = Lab::with_records(2);
    other.append(30);
    for offset in &offsets[..3] {
        let mut bytes = good.clone();
        bytes.insert(*offset, 0x20);
        lab.write(&bytes);
        assert_eq!(lab.damage().unwrap().1, *offset as u64);
    }
    // A whole record of another journal, in the place of ours.
    let mut bytes = good[..offsets[1]].to_vec();
    bytes.extend_from_slice(&other.bytes()[other.offsets()[2]..]);
    lab.write(&bytes);
    assert_eq!(lab.damage().unwrap().0, 2);
    lab.write(b"this is no journal");
    assert_eq!(lab.damage(), Some((1, 0)));
}

#[test]
fn a_cut_at_every_byte_is_torn_and_repaired() {
    let lab = Lab::with_records(3);
    let (good, offsets) = (lab.bytes(), lab.offsets());
    for cut in 1..good.len() {
        let whole = offsets.iter().filter(|offset| **offset <= cut).count() - 1;
        let rest = (cut - offsets[whole]) as u64;
        let expected = (rest > 0).then_some(rest);
        lab.write(&good[..cut]);
        let found = lab.journal.verify().unwrap();
        assert_eq!((found.damage, found.torn_tail), (None, expected), "{cut}");
        assert_eq!(found.records, whole as u64);
        let newest = sequences(lab.journal.records_newest_first().unwrap());
        assert_eq!(
            newest,
            (1..=whole as u64).rev().collect::<Vec<_>>(),
            "{cut}"
        );

        let receipt = lab.append(9);
        let notes = u64::from(rest > 0);
        assert_eq!(receipt.sequence, whole as u64 + 1 + notes, "{cut}");
        let found = lab.journal.verify().unwrap();
        assert_eq!((found.damage, found.torn_tail), (None, None), "{cut}");
        assert_eq!((found.records, found.repairs), (receipt.sequence, notes));
    }
}

#[test]
fn a_torn_end_is_kept_aside() {
    let lab = Lab::with_records(2);
    let (good, offsets) = (lab.bytes(), lab.offsets());
    lab.write(&good[..good.len() - 10]);
    lab.append(3);
    let note = lab.journal.records().unwrap().nth(1).unwrap().unwrap();
    assert_eq!(note.kind, "journal.repaired");
    assert_eq!(note.payload["offset"], offsets[1]);
    assert_eq!(note.payload["torn"], true);
    let kept = lab
        .home
        .path()
        .join("box")
        .join(note.payload["kept_as"].as_str().unwrap());
    assert_eq!(fs::read(kept).unwrap(), good[offsets[1]..good.len() - 10]);
}

#[test]
fn zeros_at_the_end_are_a_torn_end() {
    let lab = Lab::with_records(2);
    let (good, offsets) = (lab.bytes(), lab.offsets());
    // What a power cut leaves: the size is there, the content is not, or not all of it.
    for kept in [offsets[1], offsets[1] + 60] {
        let mut bytes = good.clone();
        bytes[kept..].fill(0);
        lab.write(&bytes);
        let found = lab.journal.verify().unwrap();
        assert_eq!(found.damage, None);
        assert_eq!(found.torn_tail, Some((good.len() - offsets[1]) as u64));
    }
}

#[test]
fn a_changed_last_record_stays_visible_after_the_next_append() {
    let lab = Lab::with_records(3);
    let (mut bytes, offsets) = (lab.bytes(), lab.offsets());
    bytes[offsets[2] + 70] ^= 1;
    lab.write(&bytes);
    assert_eq!(lab.damage(), Some((3, offsets[2] as u64)));
    let mut newest = lab.journal.records_newest_first().unwrap();
    assert!(matches!(
        newest.next(),
        Some(Err(ReadError::Damaged { .. }))
    ));
    assert!(newest.next().is_none());

    assert_eq!(lab.append(4).sequence, 4);
    let found = lab.journal.verify().unwrap();
    assert_eq!((found.records, found.repairs), (4, 1));
    assert_eq!(found.damage.unwrap().what, Fault::MovedAside);
}

#[test]
fn reading_newest_first_stops_at_damage() {
    let lab = Lab::with_records(5);
    let (mut bytes, offsets) = (lab.bytes(), lab.offsets());
    bytes[offsets[1] + 60] ^= 1;
    lab.write(&bytes);
    let read: Vec<_> = lab.journal.records_newest_first().unwrap().collect();
    assert_eq!(read.len(), 4);
    assert!(read[..3].iter().all(Result::is_ok));
    assert!(matches!(read[3], Err(ReadError::Damaged { .. })));
    let read: Vec<_> = lab.journal.records().unwrap().collect();
    assert!(matches!(&read[..], [Ok(_), Err(ReadError::Damaged { .. })]));
}

#[test]
fn a_record_of_a_newer_format_is_not_built_upon() {
    let lab = Lab::with_records(1);
    let mut bytes = lab.bytes();
    bytes[3] = FORMAT_VERSION + 1;
    let content = bytes.len() - 40;
    let hash: Hash = crate::hash::sha256(&[&bytes[..content]]);
    bytes[content..content + 32].copy_from_slice(&hash);
    lab.write(&bytes);
    let refused = lab.journal.append("test", at(), &1);
    assert!(matches!(refused, Err(AppendError::Newer { .. })));
    assert_eq!(
        lab.journal.verify().unwrap().damage.unwrap().what,
        Fault::Version
    );
    assert_eq!(lab.bytes(), bytes);
}

#[test]
fn concurrent_appends_are_each_there_once_and_in_one_chain() {
    let lab = Lab::new();
    let (writers, each) = (8, 100);
    let together = Barrier::new(writers);
    thread::scope(|scope| {
        for writer in 0..writers {
            // A journal of its own: nothing is shared but the file.
            let journal = StateManager::open(&lab.home.path().join("box"))
                .journal()
                .clone();
            let together = &together;
            scope.spawn(move || {
                together.wait();
                for number in 0..each {
                    journal
                        .append("test", at(), &json!([writer, number]))
                        .unwrap();
                }
            });
        }
        // Readers see a whole chain at every moment.
        for _ in 0..50 {
            let found = lab.journal.verify().unwrap();
            assert_eq!((found.damage, found.torn_tail), (None, None));
        }
    });
    let mut payloads: Vec<_> = lab
        .journal
        .records()
        .unwrap()
        .map(|record| record.unwrap().payload.to_string())
        .collect();
    assert_eq!(payloads.len(), writers * each);
    payloads.sort();
    payloads.dedup();
    assert_eq!(payloads.len(), writers * each);
}

#[test]
fn a_link_or_a_directory_in_its_place_is_refused() {
    let refused = |lab: &Lab| match lab.journal.append("test", at(), &1) {
        Err(AppendError::Open { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let lab = Lab::with_records(1);
    let target = lab.home.path().join("target");
    fs::rename(lab.journal.path(), &target).unwrap();
    symlink(&target, lab.journal.path()).unwrap();
    assert!(matches!(refused(&lab), OpenError::SymbolicLink));
    assert!(lab.journal.records().is_err());
    fs::remove_file(lab.journal.path()).unwrap();
    fs::create_dir(lab.journal.path()).unwrap();
    assert!(matches!(refused(&lab), OpenError::System(_)));

    let lab = Lab::new();
    fs::remove_dir(lab.home.path().join("box")).unwrap();
    symlink(lab.home.path(), lab.home.path().join("box")).unwrap();
    assert!(matches!(refused(&lab), OpenError::SymbolicLink));

    let lab = Lab::with_records(1);
    fs::set_permissions(lab.journal.path(), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(refused(&lab), OpenError::OthersMayWrite { .. }));
}

#[test]
fn brackets_in_a_text_nest_nothing() {
    let lab = Lab::with_records(1);
    let text = "[{".repeat(1000);
    lab.journal.append("test", at(), &text).unwrap();
    assert_eq!(frame::opening(text.as_bytes()), 2000);
    assert_eq!(lab.journal.verify().unwrap().records, 2);
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let lab = Lab::with_records(1);
    let before = lab.bytes();
    let mut deep = json!(1);
    for _ in 0..125 {
        deep = json!([deep]);
    }
    let refused = lab.journal.append("test", at(), &deep);
    assert!(matches!(refused, Err(AppendError::TooDeep { .. })));
    let refused = lab
        .journal
        .append("test", at(), &"x".repeat(BODY_BYTES_MAX));
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    assert_eq!(lab.bytes(), before);
    // Brackets in strings are not nesting.
    lab.journal
        .append("test", at(), &"[\"\\".repeat(500))
        .unwrap();
    assert_eq!(lab.journal.verify().unwrap().damage, None);
}

#[test]
fn any_bytes_are_decoded_without_panic() {
    proptest::proptest!(|(bytes: Vec<u8>, keep in 0_usize..400)| {
        let lab = Lab::with_records(2);
        let mut all = lab.bytes();
        all.truncate(keep);
        all.extend_from_slice(&bytes);
        lab.write(&all);
        lab.journal.verify().unwrap();
        lab.journal.records_newest_first().unwrap().for_each(drop);
        lab.append(3);
        let found = lab.journal.verify().unwrap();
        proptest::prop_assert!(found.damage.is_none_or(|it| it.what == Fault::MovedAside));
    });
}

#[test]
fn a_directory_that_is_gone_is_not_made_again() {
    let lab = Lab::with_records(1);
    let directory = lab.home.path().join("box");
    fs::remove_dir_all(&directory).unwrap();
    let refused = lab.journal.append("test", at(), &1);
    assert!(matches!(
        refused,
        Err(AppendError::Open {
            source: OpenError::System(_),
            ..
        })
    ));
    assert!(!directory.exists());
}
