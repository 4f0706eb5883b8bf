//! The transactions as a whole: on hand-made upper layers, and on real overlays where permitted.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    thread,
};

use sandbox_types::{ChangeKind, OperationId};

use crate::{
    Committed, OnConflict, RollbackManager, Transaction,
    stat::{Stat, Time},
    tree::Tree,
    xattr::{self, Xattrs},
};

pub(crate) mod basic;
pub(crate) mod crash;
mod full_disk;
mod hostile;
mod parallel;
mod portion;
pub(crate) mod power;
pub(crate) mod properties;
mod redo;
mod renames;
mod retention;
mod split;
mod together;
mod undo;
mod upkeep;

/// So many cases of a property, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(count: u32) -> proptest::test_runner::Config {
    let asked = proptest::test_runner::Config::default();
    proptest::test_runner::Config {
        cases: if asked.cases == 256 {
            count
        } else {
            asked.cases
        },
        max_shrink_iters: 200,
        ..asked
    }
}

/// What a copy must preserve of one file. Access and change times and inode numbers are not in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Item {
    mode: u32,
    owner: (u32, u32),
    mtime: Time,
    rdev: (u32, u32),
    content: Vec<u8>,
    xattrs: Xattrs,
    /// The first path with the same inode, for regular files.
    hard_link: Option<PathBuf>,
}

/// Everything below a directory, the directory included.
pub(super) type Manifest = BTreeMap<PathBuf, Item>;

/// Describes a tree exactly.
pub(super) fn manifest(root: &Path) -> Manifest {
    let tree = Tree::open(root).unwrap();
    let (mut items, mut links) = (Manifest::new(), BTreeMap::new());
    let mut stack = vec![PathBuf::new()];
    while let Some(path) = stack.pop() {
        let spot = tree.spot(&path).unwrap();
        let stat = Stat::at(&spot.dir, &spot.name).unwrap();
        if stat.is_dir() {
            let names = tree.names(&path).unwrap();
            stack.extend(names.into_iter().map(|name| path.join(name)));
        }
        let content = if stat.is_symlink() {
            let target = rustix::fs::readlinkat(&spot.dir, &spot.name, Vec::new());
            target.unwrap().into_bytes()
        } else if stat.is_file() {
            fs::read(xattr::proc_path(&spot.dir, &spot.name)).unwrap()
        } else {
            Vec::new()
        };
        // An overlay shows two inodes for two names of one pipe or link.
        if stat.is_file() {
            let group: &mut Vec<PathBuf> = links.entry(stat.ino).or_default();
            group.push(path.clone());
        }
        let item = Item {
            mode: stat.mode,
            owner: (stat.uid, stat.gid),
            mtime: stat.mtime,
            rdev: stat.rdev,
            content,
            xattrs: xattr::read(&spot.dir, &spot.name).unwrap(),
            hard_link: None,
        };
        items.insert(path, item);
    }
    for mut group in links.into_values().filter(|group| group.len() > 1) {
        group.sort();
        for path in &group {
            items.get_mut(path).unwrap().hard_link = Some(group[0].clone());
        }
    }
    items
}

/// Fails with the differing paths only.
#[track_caller]
pub(super) fn assert_same(left: &Manifest, right: &Manifest, what: &str) {
    let all: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differing: Vec<_> = all
        .into_iter()
        .filter(|path| left.get(*path) != right.get(*path))
        .map(|path| (path, left.get(path), right.get(path)))
        .collect();
    assert!(differing.is_empty(), "{what}: {differing:#?}");
}

/// A workspace and its layers in a temporary directory.
pub(super) struct Lab {
    pub(super) root: tempfile::TempDir,
    pub(super) manager: RollbackManager,
}

impl Lab {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("ws")).unwrap();
        let manager =
            RollbackManager::open(&root.path().join("ws"), &root.path().join("layers")).unwrap();
        Self { root, manager }
    }

    pub(super) fn ws(&self) -> PathBuf {
        self.root.path().join("ws")
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.root.path().join("layers")
    }

    pub(super) fn file(&self, path: &str, text: &str) -> &Self {
        write(&self.ws().join(path), text);
        self
    }

    pub(super) fn manifest(&self) -> Manifest {
        manifest(&self.ws())
    }

    pub(super) fn begin(&self, name: &str) -> Transaction {
        self.manager.begin(&id(name)).unwrap()
    }

    pub(super) fn undo(&self, name: &str) {
        self.manager.undo(&id(name), OnConflict::Refuse).unwrap();
    }

    /// Runs `edit` on a real overlay with a path to its root, and returns what it looked like
    /// afterwards. Returns `None` where overlays may not be mounted.
    pub(super) fn overlay(
        &self,
        tx: &Transaction,
        edit: impl FnOnce(&Path) + Send,
    ) -> Option<Manifest> {
        let merged = self.root.path().join("merged");
        fs::create_dir_all(&merged).unwrap();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr,volatile",
            self.ws().display(),
            tx.upper().display(),
            tx.work().display()
        );
        // The mount namespace ends with the thread, and the mount with it.
        thread::scope(|scope| {
            let run = scope.spawn(|| {
                mount(&merged, &options)?;
                edit(&merged);
                Some(manifest(&merged))
            });
            run.join().unwrap()
        })
    }
}

/// Gives this thread mounts of its own, which end with it; `None` where that is not permitted.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for the sake of FILES, not used here"
)]
pub(super) fn private_mounts() -> Option<()> {
    use rustix::{mount::MountPropagationFlags, thread::UnshareFlags};
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounts need root here");
        return None;
    }
    rustix::thread::unshare(UnshareFlags::FS | UnshareFlags::NEWNS).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
    Some(())
}

fn mount(target: &Path, options: &str) -> Option<()> {
    private_mounts()?;
    let options = std::ffi::CString::new(options).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("overlay", target, "overlay", flags, &*options).unwrap();
    Some(())
}

pub(super) fn id(name: &str) -> OperationId {
    name.parse().unwrap()
}

pub(super) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Makes the mark that says a name is deleted.
pub(super) fn whiteout(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode};
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

pub(super) fn set_xattr(path: &Path, name: &str, value: &str) {
    xattr::set(path.as_os_str(), name.as_bytes(), value.as_bytes()).unwrap();
}

/// Makes a directory of the upper layer hide what is below it.
pub(super) fn opaque(path: &Path) {
    fs::create_dir_all(path).unwrap();
    set_xattr(path, "user.overlay.opaque", "y");
}

pub(super) fn commit(tx: Transaction) -> Committed {
    let survey = tx.survey().unwrap();
    tx.commit(survey).unwrap()
}

/// Returns the changes as short lines.
pub(super) fn listed(tx: &Transaction) -> Vec<String> {
    let sign = |kind| match kind {
        ChangeKind::Created => 'A',
        ChangeKind::Modified => 'M',
        ChangeKind::Deleted => 'D',
        ChangeKind::Metadata => 'm',
        ChangeKind::Renamed => 'R',
    };
    let changes = tx.changes().unwrap();
    changes
        .iter()
        .map(|change| format!("{} {}", sign(change.kind), change.path.display()))
        .collect()
}

pub(super) fn bytes_name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
