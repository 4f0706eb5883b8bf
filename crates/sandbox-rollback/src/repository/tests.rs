//! The repository as a whole, on real directories.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    OnConflict,
    tests::{Lab, assert_same, id, manifest, set_xattr},
};

mod crash;
mod damage;
mod encrypted;
mod excludes;
mod first;
mod flips;
mod hostile;
mod power;
mod properties;
mod transfer;
mod upkeep;

impl Repository {
    fn take_in(&self, path: &Path) -> Result<Imported, ImportError> {
        self.import(path, arrival())
    }

    fn take_in_from(&self, input: &mut dyn std::io::Read) -> Result<Imported, ImportError> {
        self.import_from(input, arrival())
    }
}

/// When snapshots from elsewhere come.
fn arrival() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

impl Lab {
    fn repository(&self) -> Repository {
        self.manager.repository(&self.root.path().join("repo"))
    }

    fn take(&self) -> Taken {
        self.repository().snapshot(&new()).unwrap()
    }

    fn restore(&self, taken: &Taken, name: &str) -> Restored {
        let restored = self
            .repository()
            .restore(&taken.snapshot.id, &options(name));
        restored.unwrap()
    }
}

fn new() -> NewSnapshot {
    NewSnapshot {
        created_at: Timestamp::UNIX_EPOCH,
        tags: Vec::new(),
        message: None,
        state_sequence: None,
        compression: Compression::Zstd,
        retention: Retention::All,
        excludes: Excludes::default(),
    }
}

fn options(name: &str) -> RestoreOptions {
    RestoreOptions {
        operation: id(name),
        paths: Vec::new(),
        to: Destination::Workspace,
        dry_run: false,
    }
}

fn selected(name: &str, globs: &[&str]) -> RestoreOptions {
    RestoreOptions {
        paths: globs.iter().map(|glob| (*glob).to_owned()).collect(),
        ..options(name)
    }
}

/// Bytes that cannot be compressed.
fn noise(count: usize) -> Vec<u8> {
    let mut random = 1_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

fn listed(changes: &[Change]) -> Vec<String> {
    let line = |change: &Change| format!("{:?} {}", change.kind, change.path.display());
    changes.iter().map(line).collect()
}

/// A workspace with a bit of everything.
fn rich() -> Lab {
    let lab = Lab::new();
    fill(&lab);
    lab
}

fn fill(lab: &Lab) {
    lab.file("a", "one")
        .file("dir/b", "two")
        .file("dir/sub/c", "three");
    fs::create_dir(lab.ws().join("empty")).unwrap();
    fs::write(lab.ws().join("nothing"), "").unwrap();
    symlink("a", lab.ws().join("link")).unwrap();
    fs::hard_link(lab.ws().join("a"), lab.ws().join("dir/a2")).unwrap();
    set_xattr(&lab.ws().join("dir/b"), "user.note", "kept");
    fs::set_permissions(lab.ws().join("a"), fs::Permissions::from_mode(0o640)).unwrap();
}

#[test]
fn a_snapshot_returns_and_its_restore_can_be_undone() {
    let lab = rich();
    let before = lab.manifest();
    let taken = lab.take();
    assert_eq!((taken.snapshot.files, taken.snapshot.dirs), (6, 3));
    assert!(taken.omitted.is_empty() && taken.torn.is_empty());
    lab.file("a", "edited").file("dir/new/x", "new");
    fs::remove_dir_all(lab.ws().join("dir/sub")).unwrap();
    fs::remove_file(lab.ws().join("nothing")).unwrap();
    fs::create_dir(lab.ws().join("nothing")).unwrap();
    set_xattr(&lab.ws().join("dir/b"), "user.note", "changed");
    let edited = lab.manifest();
    let restored = lab.restore(&taken, "back");
    assert!(restored.undoable && restored.notes.is_empty());
    let expected = [
        "Modified a",
        "Modified dir/a2",
        "Metadata dir/b",
        "Deleted dir/new",
        "Deleted dir/new/x",
        "Created dir/sub",
        "Created dir/sub/c",
        "Modified nothing",
    ];
    assert_eq!(listed(&restored.changes), expected);
    assert_same(&before, &lab.manifest(), "restored");
    assert!(
        lab.repository()
            .diff(&taken.snapshot.id, None)
            .unwrap()
            .is_empty()
    );
    assert_eq!(lab.manager.undoable().unwrap(), [id("back")]);
    lab.undo("back");
    assert_same(&edited, &lab.manifest(), "undone");
}

#[test]
fn an_unchanged_workspace_is_not_read_and_costs_nothing() {
    let lab = rich();
    let first = lab.take();
    assert!(first.files_read > 0 && first.snapshot.new_bytes > 0);
    let second = lab.take();
    assert_eq!(second.files_read, 0);
    assert_eq!(
        (second.snapshot.new_bytes, second.snapshot.stored_bytes),
        (0, 0)
    );
    assert!(second.stored_bytes < 1500, "{}", second.stored_bytes);
    assert_eq!(second.snapshot.parent, Some(first.snapshot.id));
    assert_eq!(second.snapshot.root, first.snapshot.root);
    lab.file("dir/sub/c", "three and more");
    let third = lab.take();
    assert_eq!(third.files_read, 1, "only what changed");
    lab.file("copy", "three and more");
    let fourth = lab.take();
    assert_eq!(
        fourth.snapshot.new_bytes, 0,
        "known content is not stored again"
    );
    let ids: Vec<_> = lab.repository().snapshots().unwrap();
    assert_eq!(ids.len(), 4);
    let prefix = &first.snapshot.id.to_string()[..10];
    assert_eq!(lab.repository().show(prefix).unwrap().id, first.snapshot.id);
}

#[test]
fn names_that_come_and_go_behind_a_directorys_back_are_found() {
    let lab = rich();
    // Twice: what was listed in the first snapshot is not listed in the second.
    lab.take();
    lab.take();
    let dir = lab.ws().join("dir/sub");
    let before = fs::metadata(&dir).unwrap().modified().unwrap();
    fs::rename(dir.join("c"), dir.join("d")).unwrap();
    fs::write(dir.join("e"), "").unwrap();
    fs::File::open(&dir).unwrap().set_modified(before).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().modified().unwrap(), before);
    // Another directory takes its place, under the same name.
    fs::create_dir(lab.ws().join("other")).unwrap();
    lab.file("other/x", "moves in");
    lab.take();
    fs::rename(lab.ws().join("empty"), lab.ws().join("away")).unwrap();
    fs::rename(lab.ws().join("other"), lab.ws().join("empty")).unwrap();
    let known = lab.take();
    // A repository that has seen nothing lists everything.
    let unknown = lab.manager.repository(&lab.root.path().join("unknown"));
    let unknown = unknown.snapshot(&new()).unwrap();
    assert_eq!(known.snapshot.root, unknown.snapshot.root);
    assert_eq!(known.snapshot.files, unknown.snapshot.files);
}

#[test]
fn an_edit_that_hides_is_found() {
    let lab = rich();
    lab.take();
    let path = lab.ws().join("dir/b");
    let times = fs::metadata(&path).unwrap();
    fs::write(&path, "TWO").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
    drop(file);
    let now = fs::metadata(&path).unwrap();
    assert_eq!(
        (now.len(), now.mtime_nsec()),
        (times.len(), times.mtime_nsec())
    );
    let taken = lab.take();
    assert_eq!(taken.files_read, 1);
    lab.file("dir/b", "else");
    lab.restore(&taken, "back");
    assert_eq!(fs::read(&path).unwrap(), b"TWO");
}

#[test]
fn large_and_sparse_files_return_with_their_holes() {
    let lab = Lab::new();
    let noise = noise(5_000_000);
    fs::write(lab.ws().join("large"), &noise).unwrap();
    let sparse = fs::File::create(lab.ws().join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"island", 20 << 20).unwrap();
    drop(sparse);
    let before = lab.manifest();
    let first = lab.take();
    assert!(first.snapshot.new_bytes < 6_000_000, "holes are not stored");
    let mut edited = noise.clone();
    edited.splice(2_500_000..2_500_000, *b"inserted");
    fs::write(lab.ws().join("large"), &edited).unwrap();
    let second = lab.take();
    assert!(
        second.snapshot.new_bytes < 4_500_000,
        "{:?}",
        second.snapshot
    );
    fs::remove_file(lab.ws().join("sparse")).unwrap();
    lab.restore(&first, "back");
    assert_same(&before, &lab.manifest(), "restored");
    let blocks = fs::metadata(lab.ws().join("sparse")).unwrap().blocks();
    assert!(blocks < 1000, "{blocks} blocks");
}

#[test]
fn a_selection_touches_nothing_else() {
    let lab = rich();
    let taken = lab.take();
    lab.file("a", "edited")
        .file("dir/b", "edited")
        .file("dir/sub/extra", "x");
    lab.file("dir/extra", "x").file("outside/extra", "x");
    fs::remove_file(lab.ws().join("dir/sub/c")).unwrap();
    let repository = lab.repository();
    let restored = repository.restore(&taken.snapshot.id, &selected("one", &["dir/sub"]));
    let changes = listed(&restored.unwrap().changes);
    assert_eq!(changes, ["Created dir/sub/c", "Deleted dir/sub/extra"]);
    assert!(lab.ws().join("dir/extra").exists() && lab.ws().join("outside/extra").exists());
    assert_eq!(fs::read(lab.ws().join("dir/b")).unwrap(), b"edited");
    fs::remove_dir_all(lab.ws().join("dir")).unwrap();
    let gone = lab.manifest();
    let restored = repository.restore(&taken.snapshot.id, &selected("two", &["**/c"]));
    assert_eq!(
        listed(&restored.unwrap().changes),
        ["Created dir", "Created dir/sub", "Created dir/sub/c"]
    );
    assert!(!lab.ws().join("dir/b").exists());
    lab.undo("two");
    assert_same(&gone, &lab.manifest(), "undone");
    for bad in ["", "/etc", "../x", "a/../.."] {
        let refused = repository.restore(&taken.snapshot.id, &selected("bad", &[bad]));
        assert!(matches!(refused, Err(RestoreError::NoPath { .. })), "{bad}");
    }
}

#[test]
fn a_dry_run_and_another_place_leave_the_workspace_alone() {
    let lab = rich();
    let before = lab.manifest();
    let taken = lab.take();
    lab.file("a", "edited").file("extra", "x");
    let edited = lab.manifest();
    let repository = lab.repository();
    let plan = RestoreOptions {
        dry_run: true,
        ..options("plan")
    };
    let planned = repository.restore(&taken.snapshot.id, &plan).unwrap();
    assert_eq!(
        listed(&planned.changes),
        ["Modified a", "Modified dir/a2", "Deleted extra"]
    );
    let to = lab.root.path().join("elsewhere");
    let away = RestoreOptions {
        to: Destination::Directory(to.clone()),
        ..options("away")
    };
    repository.restore(&taken.snapshot.id, &away).unwrap();
    assert_same(&before, &manifest(&to), "elsewhere");
    let refused = repository.restore(&taken.snapshot.id, &away);
    assert!(matches!(refused, Err(RestoreError::NotEmpty { .. })));
    assert_same(&edited, &lab.manifest(), "the workspace");
    assert!(lab.manager.undoable().unwrap().is_empty());
    assert_eq!(fs::read_dir(lab.layers().join("tx")).unwrap().count(), 0);
}

#[test]
fn links_are_joined_and_parted() {
    let lab = Lab::new();
    lab.file("x/a", "same").file("y/b", "same").file("c", "own");
    fs::hard_link(lab.ws().join("x/a"), lab.ws().join("y/a2")).unwrap();
    let before = lab.manifest();
    let taken = lab.take();
    // Parted, joined with another one, and one name less.
    fs::remove_file(lab.ws().join("y/a2")).unwrap();
    fs::write(lab.ws().join("y/a2"), "same").unwrap();
    fs::remove_file(lab.ws().join("y/b")).unwrap();
    fs::hard_link(lab.ws().join("x/a"), lab.ws().join("y/b")).unwrap();
    fs::hard_link(lab.ws().join("c"), lab.ws().join("c2")).unwrap();
    lab.restore(&taken, "back");
    assert_same(&before, &lab.manifest(), "restored");
    let plan = RestoreOptions {
        dry_run: true,
        ..options("plan")
    };
    let again = lab.repository().restore(&taken.snapshot.id, &plan).unwrap();
    assert!(again.changes.is_empty(), "{:?}", again.changes);
}

#[test]
fn a_commit_between_is_in_the_next_snapshot_and_held_changes_are_not() {
    let (lab, tx) = crate::tests::basic::rich("op");
    let first = lab.take();
    tx.hold().unwrap();
    let same = lab.take();
    assert_eq!(
        same.snapshot.root, first.snapshot.root,
        "what is held is not in it"
    );
    let tx = lab.manager.resume(&id("op")).unwrap();
    crate::tests::commit(tx);
    let second = lab.take();
    let changed = lab
        .repository()
        .diff(&first.snapshot.id, Some(&second.snapshot.id));
    assert!(listed(&changed.unwrap()).contains(&"Modified edit".to_owned()));
    let after = lab.manifest();
    lab.manager.undo(&id("op"), OnConflict::Refuse).unwrap();
    lab.restore(&second, "again");
    assert_same(&after, &lab.manifest(), "after the commit");
}
