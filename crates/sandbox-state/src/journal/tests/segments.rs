//! A journal of several files: read as one, and whole after a power cut at any step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::files::storage::{Change, Watch, watch};

const SECTOR: usize = 512;

/// A journal that begins a new file after some records.
pub(super) fn small(directory: &Path) -> Journal {
    let state = StateManager::open(directory).with_segment_bytes(2000);
    state.journal().clone()
}

pub(super) fn fill(journal: &Journal, count: u64) {
    for number in 0..count {
        journal.append("n", at(), &number).unwrap();
    }
}

pub(super) fn full_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_full = |path: &PathBuf| path.to_string_lossy().contains("journal-0");
    let mut found: Vec<_> = paths.filter(is_full).collect();
    found.sort();
    found
}

#[test]
fn files_that_follow_each_other_are_one_journal() {
    let lab = tempfile::tempdir().unwrap();
    let journal = small(lab.path());
    let mut follower = journal.follow(Some(0)).unwrap();
    let mut followed = Vec::new();
    for _ in 0..10 {
        fill(&journal, 10);
        let records = follower.read(1000).unwrap().unwrap();
        followed.extend(records.into_iter().map(|record| record.sequence));
    }
    let full = full_files(lab.path());
    assert!(full.len() > 3, "{full:?}");
    let found = journal.verify().unwrap();
    assert_eq!(found.damage, None);
    // Each file but the first begins with a record of its own.
    let all: Vec<u64> = (1..=100 + full.len() as u64).collect();
    assert_eq!(sequences(journal.records().unwrap()), all);
    assert_eq!(followed, all);
    let mut backwards = sequences(journal.records_newest_first().unwrap());
    backwards.reverse();
    assert_eq!(backwards, all);
    let mut late = journal.follow(Some(50)).unwrap();
    assert_eq!(late.read(1).unwrap().unwrap()[0].sequence, 51);
    // Verification goes on across files.
    let known = found.checkpoint().unwrap();
    fill(&journal, 40);
    let since = journal.verify_since(&known).unwrap();
    assert_eq!(since, journal.verify().unwrap());
    let anchor = journal.records().unwrap().map(Result::unwrap);
    let anchor = anchor
        .into_iter()
        .find(|it| it.kind == "journal.anchor")
        .unwrap();
    assert_eq!(anchor.payload["segment"], 2);
    assert_eq!(anchor.payload["records"], anchor.sequence - 1);
    assert_eq!(anchor.payload["after"], "journal-000001.log");
}

#[test]
fn a_limit_below_an_anchor_ends_with_one_record_in_a_file() {
    for bytes in [0, 1, 100] {
        let lab = tempfile::tempdir().unwrap();
        let state = StateManager::open(lab.path()).with_segment_bytes(bytes);
        fill(state.journal(), 3);
        assert_eq!(full_files(lab.path()).len(), 2);
        let found = state.journal().verify().unwrap();
        assert_eq!((found.damage, found.records), (None, 5));
    }
}

#[test]
fn a_changed_removed_or_swapped_file_is_found() {
    let lab = tempfile::tempdir().unwrap();
    let journal = small(lab.path());
    fill(&journal, 60);
    let full = full_files(lab.path());
    let (first, second) = (fs::read(&full[0]).unwrap(), fs::read(&full[1]).unwrap());
    for at in [0, 70, second.len() - 1] {
        let mut bytes = second.clone();
        bytes[at] ^= 1;
        fs::write(&full[1], &bytes).unwrap();
        let damage = journal.verify().unwrap().damage.unwrap();
        assert_eq!(damage.file, "journal-000002.log");
        assert!(damage.offset <= at as u64, "{damage:?}");
        let read: Result<Vec<_>, _> = journal.records_newest_first().unwrap().collect();
        read.unwrap_err();
    }
    fs::write(&full[0], &second).unwrap();
    fs::write(&full[1], &first).unwrap();
    assert!(journal.verify().unwrap().damage.is_some());
    fs::write(&full[0], &first).unwrap();
    fs::remove_file(&full[1]).unwrap();
    assert!(journal.verify().unwrap().damage.is_some());
    fs::write(&full[1], &second).unwrap();
    assert_eq!(journal.verify().unwrap().damage, None);
}

#[test]
fn a_damaged_newest_file_continues_the_one_before() {
    let lab = tempfile::tempdir().unwrap();
    let journal = small(lab.path());
    fill(&journal, 60);
    let last = full_files(lab.path()).len();
    fs::write(journal.path(), vec![7; 300]).unwrap();
    fill(&journal, 1);
    let found = journal.verify().unwrap();
    // It is told for ever, and nothing else is wrong.
    assert_eq!(found.damage.unwrap().what, Fault::MovedAside);
    assert_eq!(found.repairs, 1);
    assert_eq!(full_files(lab.path()).len(), last);
}

#[test]
fn many_threads_lose_nothing_while_files_are_sealed() {
    let lab = tempfile::tempdir().unwrap();
    let journal = small(lab.path());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fill(&journal, 100));
        }
    });
    let found = journal.verify().unwrap();
    assert_eq!(found.damage, None);
    let full = full_files(lab.path()).len() as u64;
    assert_eq!(found.records, 400 + full);
}

/// Storage after a power cut: of what was not synced, `survives` says what is there.
fn after_the_cut(
    changes: &[Change],
    lies: bool,
    mut survives: impl FnMut() -> bool,
) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for (place, change) in changes.iter().enumerate() {
        let later = || changes[place..].iter();
        let file_synced = |inode: u64| {
            !lies
                && later()
                    .any(|it| matches!(it, Change::Sync { inode: synced } if *synced == inode))
        };
        let names_synced = !lies && later().any(|it| matches!(it, Change::SyncNames));
        match change {
            Change::Write {
                inode,
                offset,
                bytes,
            } => {
                let file = files.entry(*inode).or_default();
                let at = usize::try_from(*offset).unwrap();
                if file.len() < at + bytes.len() {
                    file.resize(at + bytes.len(), 0);
                }
                let synced = file_synced(*inode);
                for (sector, part) in bytes.chunks(SECTOR).enumerate() {
                    if synced || survives() {
                        let at = at + sector * SECTOR;
                        file[at..at + part.len()].copy_from_slice(part);
                    }
                }
            }
            Change::Length { inode, length } if file_synced(*inode) || survives() => {
                files
                    .entry(*inode)
                    .or_default()
                    .resize(usize::try_from(*length).unwrap(), 0);
            }
            Change::Name { name, inode } if names_synced || survives() => {
                names.insert(name.clone(), *inode);
            }
            Change::Link { from, to } if names_synced || survives() => {
                names
                    .get(from)
                    .copied()
                    .map(|inode| names.insert(to.clone(), inode));
            }
            Change::Rename { from, to } if names_synced || survives() => {
                names
                    .remove(from)
                    .map(|inode| names.insert(to.clone(), inode));
            }
            Change::Remove { name } if names_synced || survives() => {
                names.remove(name);
            }
            Change::Name { .. }
            | Change::Link { .. }
            | Change::Rename { .. }
            | Change::Remove { .. }
            | Change::Length { .. }
            | Change::Sync { .. }
            | Change::SyncNames => {}
        }
    }
    let content = |inode: u64| files.get(&inode).cloned().unwrap_or_default();
    names
        .into_iter()
        .map(|(name, inode)| (name, content(inode)))
        .collect()
}

/// Appends until a step of storage fails, cuts the power, and returns how many records were acknowledged
/// and the journal that is found afterwards.
fn crashed(directory: &Path, fails: u32, torn: u8, seed: u64, lies: bool) -> (u64, Journal) {
    let journal = small(directory);
    watch(Some(Watch {
        left: Some(fails),
        torn,
        ..Watch::default()
    }));
    let mut acknowledged = 0;
    for number in 0..40_u64 {
        match journal.append_synced("n", at(), &number) {
            Ok(receipt) => acknowledged = receipt.sequence,
            Err(_) => break,
        }
    }
    let changes = watch(None).unwrap().changes;
    let mut state = seed | 1;
    let left = after_the_cut(&changes, lies, || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state & 1 == 0
    });
    for entry in fs::read_dir(directory).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let mut written: BTreeMap<Vec<u8>, PathBuf> = BTreeMap::new();
    for (name, bytes) in left {
        let path = directory.join(name);
        // A file with two names stays one.
        match written.get(&bytes) {
            Some(same) if !bytes.is_empty() => fs::hard_link(same, &path).unwrap(),
            _ => fs::write(&path, &bytes).unwrap(),
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        written.insert(bytes, path);
    }
    (acknowledged, journal)
}

fn cases() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: if asked.cases == 256 { 32 } else { asked.cases },
        failure_persistence: None,
        ..asked
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_cut_or_a_failure_loses_no_synced_record(fails in 0..140_u32, torn: u8, seed: u64) {
        let lab = tempfile::tempdir().unwrap();
        let (acknowledged, journal) = crashed(lab.path(), fails, torn, seed, false);
        let found = journal.verify().unwrap();
        prop_assert_eq!(&found.damage, &None);
        prop_assert!(found.records >= acknowledged, "{} of {acknowledged}", found.records);
        fill(&journal, 30);
        let found = journal.verify().unwrap();
        prop_assert_eq!(&found.damage, &None);
        prop_assert!(found.records >= acknowledged + 30);
    }
}

/// The control: syncs that do nothing lose acknowledged records, or leave damage.
#[test]
fn storage_that_does_not_sync_is_found_out() {
    let lost = (1..40_u64).filter(|seed| {
        let lab = tempfile::tempdir().unwrap();
        let (acknowledged, journal) = crashed(lab.path(), 120, 0, seed * 0x9E37_79B9, true);
        let found = journal.verify().unwrap();
        found.damage.is_some() || found.records < acknowledged
    });
    assert!(lost.count() > 30);
}
