//! Random edits on a real overlay: the commit reproduces exactly what the guest saw, and the undo
//! exactly what was there before.

use std::{
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use proptest::{collection::vec, prelude::*};

use super::*;

/// One act of a guest. It may fail; then nothing happened.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Write(PathBuf, u8),
    Append(PathBuf),
    MakeDir(PathBuf),
    Remove(PathBuf),
    /// `rm -r d; mkdir d`
    Renew(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Symlink(PathBuf, PathBuf),
    Mode(PathBuf, u32),
    Touch(PathBuf, u32),
    Xattr(PathBuf, &'static str, bool),
    OpenForWriting(PathBuf),
    Pipe(PathBuf),
}

impl Edit {
    pub(crate) fn make(&self, root: &Path) {
        let _done = self.attempt(root);
    }

    fn attempt(&self, root: &Path) -> std::io::Result<()> {
        let at = |path: &PathBuf| root.join(path);
        match self {
            Self::Write(path, byte) => {
                if fs::symlink_metadata(at(path)).is_ok() {
                    not_a_link(&at(path))?;
                }
                fs::write(at(path), [*byte; 5])
            }
            Self::Append(path) => {
                not_a_link(&at(path))?;
                let mut file = fs::OpenOptions::new().append(true).open(at(path))?;
                file.write_all(b"more")
            }
            Self::MakeDir(path) => fs::create_dir(at(path)),
            Self::Remove(path) => remove(&at(path)),
            Self::Renew(path) => {
                remove(&at(path))?;
                fs::create_dir(at(path))
            }
            Self::Rename(from, to) => fs::rename(at(from), at(to)),
            Self::Link(from, to) => fs::hard_link(at(from), at(to)),
            Self::Symlink(path, to) => symlink(to, at(path)),
            Self::Mode(path, mode) => {
                not_a_link(&at(path))?;
                fs::set_permissions(at(path), fs::Permissions::from_mode(*mode))
            }
            Self::Touch(path, second) => {
                not_a_link(&at(path))?;
                let time = std::time::UNIX_EPOCH + std::time::Duration::new(u64::from(*second), 7);
                fs::File::open(at(path))?.set_modified(time)
            }
            Self::Xattr(path, name, set) => {
                let path = at(path).into_os_string();
                if *set {
                    xattr::set(&path, name.as_bytes(), b"y")
                } else {
                    xattr::remove(&path, name.as_bytes())
                }
            }
            Self::OpenForWriting(path) => {
                not_a_link(&at(path))?;
                fs::OpenOptions::new().write(true).open(at(path)).map(drop)
            }
            Self::Pipe(path) => {
                use rustix::fs::{CWD, FileType, Mode};
                let mode = Mode::RUSR;
                Ok(rustix::fs::mknodat(CWD, at(path), FileType::Fifo, mode, 0)?)
            }
        }
    }
}

/// Refuses links, and pipes: opening one of those waits.
fn not_a_link(path: &Path) -> std::io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(());
    }
    Err(std::io::ErrorKind::Unsupported.into())
}

fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_dir_all(path);
    }
    fs::remove_file(path)
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name = prop_oneof![
        6 => "[a-c]".prop_map(String::into_bytes),
        1 => Just(b"\xff\n".to_vec()),
    ];
    vec(name, 1..4).prop_map(|names| names.iter().map(|name| bytes_name(name)).collect())
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let attribute = prop_oneof![
        Just("user.a"),
        Just("user.overlay.opaque"),
        Just("user.overlay.whiteout")
    ];
    let mode = prop_oneof![Just(0o755_u32), Just(0o600), Just(0o000), Just(0o2770)];
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(p, b)| Edit::Write(p, b)),
        1 => path().prop_map(Edit::Append),
        4 => path().prop_map(Edit::MakeDir),
        2 => path().prop_map(Edit::Remove),
        2 => path().prop_map(Edit::Renew),
        2 => (path(), path()).prop_map(|(a, b)| Edit::Rename(a, b)),
        1 => (path(), path()).prop_map(|(a, b)| Edit::Link(a, b)),
        1 => (path(), path()).prop_map(|(a, b)| Edit::Symlink(a, b)),
        1 => (path(), mode).prop_map(|(p, m)| Edit::Mode(p, m)),
        1 => (path(), any::<u32>()).prop_map(|(p, t)| Edit::Touch(p, t)),
        1 => (path(), attribute, any::<bool>()).prop_map(|(p, n, s)| Edit::Xattr(p, n, s)),
        1 => path().prop_map(Edit::OpenForWriting),
        1 => path().prop_map(Edit::Pipe),
    ]
}

/// Returns the manifest without what may be stripped: set-id bits of files, marks of an overlay.
fn plain(manifest: &Manifest) -> Manifest {
    let mut plain = manifest.clone();
    for item in plain.values_mut() {
        item.mode &= !(if item.mode & 0o170_000 == 0o100_000 {
            0o6000
        } else {
            0
        });
        item.xattrs
            .retain(|name, _| !name.starts_with(b"user.overlay."));
    }
    plain
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn the_visible_tree_is_committed_and_undone(
        start in vec(edit(), 0..25),
        first in vec(edit(), 0..20),
        second in vec(edit(), 0..10),
    ) {
        if !crate::apply::is_privileged() {
            println!("skipped: overlays and closed modes need root here");
            return Ok(());
        }
        let lab = Lab::new();
        for edit in start.iter().filter(|edit| !matches!(edit, Edit::Xattr(_, "user.overlay.opaque" | "user.overlay.whiteout", _))) {
            edit.make(&lab.ws());
        }
        let before = lab.manifest();
        let tx = lab.begin("op1");
        let Some(seen) = lab.overlay(&tx, |root| first.iter().for_each(|edit| edit.make(root))) else {
            return Ok(());
        };
        let survey = tx.survey().unwrap();
        prop_assert!(survey.conflicts.is_empty(), "{:?}", survey.conflicts);
        let kinds = survey.changes.clone();
        tx.commit(survey).unwrap();
        let between = lab.manifest();
        assert_same(&plain(&seen), &plain(&between), &format!("first commit, {kinds:?}"));
        let tx = lab.begin("op2");
        lab.overlay(&tx, |root| second.iter().for_each(|edit| edit.make(root)));
        let survey = tx.survey().unwrap();
        prop_assert!(survey.conflicts.is_empty(), "{:?}", survey.conflicts);
        let undoable = tx.commit(survey).unwrap().undoable;
        if undoable {
            lab.undo("op2");
        }
        assert_same(&between, &lab.manifest(), "second undo");
        if lab.manager.undoable().unwrap() == [id("op1")] {
            lab.undo("op1");
        }
        assert_same(&before, &lab.manifest(), "first undo");
    }
}
