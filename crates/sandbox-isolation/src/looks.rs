//! What was looked at on the host: as long as none of it has changed, looking again would find the same.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Looks at the host, and remembers what it saw if it was made by [`Self::recording`].
#[derive(Debug, Default)]
pub(crate) struct Looks(Option<Record>);

#[derive(Debug)]
struct Record {
    /// Nanoseconds since 1970. All looks came later.
    begun: i128,
    seen: RefCell<BTreeMap<(OsString, Way), Option<Stamp>>>,
}

/// What of a path was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// The file of that name, which may be a link.
    Itself,
    /// What it leads to.
    Target,
    /// What it leads to, and what is in that.
    Content,
}

/// Tells one file, and one state of it, from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    owner: (u32, u32),
    mode: u32,
    /// Numbers of inodes are given again.
    created: Option<SystemTime>,
    /// When it was changed, in nanoseconds since 1970: of a directory only if its content matters.
    changed: Option<i128>,
}

/// The time stamps of a file system may be as coarse as this (`CONFIG_HZ=100`): what was changed so shortly before it
/// was looked at may be changed again without another time stamp.
const TICK_NANOSECONDS: i128 = 10_000_000;

impl Looks {
    /// Remembers what is looked at, from now on.
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the time stamps of files"
    )]
    pub(crate) fn recording() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(Some(Record {
            begun: now.map_or(0, |now| i128::try_from(now.as_nanos()).unwrap_or(0)),
            seen: RefCell::default(),
        }))
    }

    pub(crate) fn lstat(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::symlink_metadata(path);
        self.note(path, Way::Itself, || stamp(&found, false));
        found
    }

    pub(crate) fn stat(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::metadata(path);
        self.note(path, Way::Target, || stamp(&found, false));
        found
    }

    pub(crate) fn is_dir(&self, path: &Path) -> bool {
        self.stat(path).is_ok_and(|found| found.is_dir())
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.stat(path).is_ok()
    }

    pub(crate) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.note(path, Way::Itself, || look(path, Way::Itself));
        fs::read_link(path)
    }

    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.note(path, Way::Content, || look(path, Way::Content));
        fs::read(path)
    }

    pub(crate) fn read_dir(&self, path: &Path) -> io::Result<fs::ReadDir> {
        self.note(path, Way::Content, || look(path, Way::Content));
        fs::read_dir(path)
    }

    pub(crate) fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        for above in path.ancestors() {
            self.note(above, Way::Itself, || look(above, Way::Itself));
        }
        self.note(path, Way::Target, || look(path, Way::Target));
        fs::canonicalize(path)
    }

    /// Returns what `path` leads to, whatever is in that.
    pub(crate) fn identity(&self, path: &Path) -> Option<Stamp> {
        let mut stamp = stamp(&self.stat(path), false)?;
        stamp.changed = None;
        Some(stamp)
    }

    /// Returns whether it remembers, and nothing that it remembers has changed. One that says no may be wrong.
    ///
    /// Somebody waits for this, so no file is asked for twice: what is no link is what its name leads to, and below a
    /// name that leads nowhere there is nothing.
    pub(crate) fn is_unchanged(&self) -> bool {
        let Some(Record { begun, seen }) = &self.0 else {
            return false;
        };
        let settled = |stamp: &Option<Stamp>| {
            let changed = stamp.as_ref().and_then(|stamp| stamp.changed);
            changed.is_none_or(|changed| changed < begun - TICK_NANOSECONDS)
        };
        let mut again = Again::default();
        seen.borrow()
            .iter()
            .all(|((path, way), stamp)| settled(stamp) && again.look(path, *way) == *stamp)
    }

    /// The first look counts: what changed between two of them is to be found.
    fn note(&self, path: &Path, way: Way, stamp: impl FnOnce() -> Option<Stamp>) {
        if let Some(record) = &self.0 {
            let key = (path.as_os_str().to_owned(), way);
            let mut seen = record.seen.borrow_mut();
            seen.entry(key).or_insert_with(stamp);
        }
    }
}

/// Looks at paths in their order, and each time at nothing that the look before has answered.
#[derive(Default)]
struct Again<'a> {
    last: Option<(&'a OsStr, Way, io::Result<Metadata>)>,
    /// The last that led nowhere.
    nowhere: Option<&'a OsStr>,
}

impl<'a> Again<'a> {
    fn look(&mut self, path: &'a OsStr, way: Way) -> Option<Stamp> {
        if self.nowhere.is_some_and(|above| is_below(path, above)) {
            return None;
        }
        let known = self.last.take_if(|(last, last_way, found)| {
            let is_link = found.as_ref().is_ok_and(Metadata::is_symlink);
            *last == path && (*last_way != Way::Itself || !is_link)
        });
        let found = known.map_or_else(|| find(Path::new(path), way), |(.., found)| found);
        if found.is_err() {
            self.nowhere = Some(path);
        }
        let stamp = stamp(&found, way == Way::Content);
        self.last = Some((path, way, found));
        stamp
    }
}

/// Whether the one path begins with the other.
fn is_below(path: &OsStr, above: &OsStr) -> bool {
    let rest = path.as_bytes().strip_prefix(above.as_bytes());
    rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

fn look(path: &Path, way: Way) -> Option<Stamp> {
    stamp(&find(path, way), way == Way::Content)
}

fn find(path: &Path, way: Way) -> io::Result<Metadata> {
    match way {
        Way::Itself => fs::symlink_metadata(path),
        Way::Target | Way::Content => fs::metadata(path),
    }
}

fn stamp(found: &io::Result<Metadata>, with_content: bool) -> Option<Stamp> {
    let found = found.as_ref().ok()?;
    let is_told_by_time = with_content || !found.is_dir();
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        owner: (found.uid(), found.gid()),
        mode: found.mode(),
        created: found.created().ok(),
        changed: is_told_by_time.then(|| nanoseconds(found.ctime(), found.ctime_nsec())),
    })
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    type Change = fn(&Path);

    /// Makes a tree, looks at all of it, and returns whether `change` is noticed.
    fn notices(change: Change) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(base.join("listed")).unwrap();
        fs::create_dir_all(base.join("seen")).unwrap();
        fs::write(base.join("file"), "1").unwrap();
        symlink("seen", base.join("link")).unwrap();
        let mut looks = Looks::recording();
        looks.read_dir(&base.join("listed")).unwrap();
        looks.read(&base.join("file")).unwrap();
        assert!(looks.is_dir(&base.join("seen")));
        looks.lstat(&base.join("link")).unwrap();
        looks.canonicalize(&base.join("link")).unwrap();
        looks.read_link(&base.join("link")).unwrap();
        assert!(!looks.exists(&base.join("absent")));
        assert!(looks.lstat(&base.join("absent/below")).is_err());
        assert!(looks.lstat(&base.join("absent-too")).is_err());
        assert!(looks.stat(&base.join("link")).is_ok());
        assert!(looks.lstat(&base.join("file")).is_ok());
        // As if it had been made a while ago.
        if let Some(record) = &mut looks.0 {
            record.begun += 3_600_000_000_000;
        }
        assert!(looks.is_unchanged());
        change(&base);
        !looks.is_unchanged()
    }

    #[test]
    fn what_changes_is_noticed() {
        let changes: [(&str, Change); 11] = [
            ("a name in a directory", |base| {
                fs::write(base.join("listed/x"), "").unwrap();
            }),
            ("content", |base| fs::write(base.join("file"), "2").unwrap()),
            ("another file", |base| {
                fs::write(base.join("next"), "1").unwrap();
                fs::rename(base.join("next"), base.join("file")).unwrap();
            }),
            ("a file that is there", |base| {
                fs::write(base.join("absent"), "").unwrap();
            }),
            ("a file below what was not there", |base| {
                fs::create_dir(base.join("absent")).unwrap();
                fs::write(base.join("absent/below"), "").unwrap();
            }),
            ("a file that is named like it", |base| {
                fs::write(base.join("absent-too"), "").unwrap();
            }),
            ("what a link leads to", |base| {
                fs::remove_dir(base.join("seen")).unwrap();
                fs::create_dir(base.join("other")).unwrap();
                fs::rename(base.join("other"), base.join("seen")).unwrap();
            }),
            ("one that is gone", |base| {
                fs::remove_file(base.join("link")).unwrap();
            }),
            ("where a link leads", |base| {
                fs::remove_file(base.join("link")).unwrap();
                symlink("listed", base.join("link")).unwrap();
            }),
            ("a mode", |base| {
                let mode = fs::Permissions::from_mode(0o700);
                fs::set_permissions(base.join("seen"), mode).unwrap();
            }),
            ("a kind", |base| {
                fs::remove_dir(base.join("seen")).unwrap();
                fs::write(base.join("seen"), "").unwrap();
            }),
        ];
        for (what, change) in changes {
            assert!(notices(change), "{what}");
        }
    }

    #[test]
    fn what_was_not_looked_at_does_not_matter() {
        assert!(!notices(|base| fs::write(base.join("seen/x"), "").unwrap()));
        assert!(!notices(|base| fs::write(base.join("other"), "").unwrap()));
    }

    #[test]
    fn what_changed_just_before_is_not_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let looks = Looks::recording();
        looks.read_dir(directory.path()).unwrap();
        assert!(!looks.is_unchanged());
        assert!(!Looks::default().is_unchanged(), "nothing was remembered");
    }
}
