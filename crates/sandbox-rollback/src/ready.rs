//! The directory of the next transaction, made while nobody waits for it. Its overlay may be mounted before the
//! transaction begins.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use crate::{
    begin::{fill, stamp, write_begun},
    file_error::{FileError, cannot},
    layout::{Begun, Layout, begun},
    manager::RollbackManager,
    root,
    spare::{self, Taken},
    trash,
};

/// An empty upper layer that no transaction has yet; [`RollbackManager::begin_ready`] gives it to one.
#[derive(Debug)]
pub struct Ready {
    /// For the overlay's `upperdir`.
    pub upper: PathBuf,
    /// For the overlay's `workdir`.
    pub work: PathBuf,
    /// Keep it, or a copy of it, until the overlay is unmounted: as long as it is there, nobody else mounts one.
    pub lock: OwnedFd,
}

impl RollbackManager {
    /// Makes the next transaction's directory beside the others of `layers`, which must exist; what was made ready before, and is in
    /// nobody's use, is used again. Two calls must not overlap.
    ///
    /// # Errors
    ///
    /// Fails when a directory cannot be made.
    pub fn make_ready(workspace: &Path, layers: &Path) -> Result<Ready, FileError> {
        let layout = Layout {
            workspace: workspace.to_owned(),
            layers: layers.to_owned(),
        };
        let (set, used) = place(&layout)?;
        let (lock, _begun) = fill(&layout, &set, used)?;
        let [upper, work] = ["upper", "work"].map(|name| set.join(name));
        Ok(Ready { upper, work, lock })
    }
}

/// Returns where the next one is made ready: the first directory whose overlay is not mounted, with its lock file if it
/// was used before.
fn place(layout: &Layout) -> Result<(PathBuf, Option<fs::File>), FileError> {
    let mut last = None;
    for set in layout.readies() {
        if set.exists() {
            match spare::take(&set) {
                Taken::Usable(file) => return Ok((set, Some(file))),
                Taken::InUse => {
                    last = Some(set);
                    continue;
                }
                Taken::Broken => {
                    trash::throw(&set, &layout.trash()).map_err(cannot("discard", &set))?;
                }
            }
        }
        return anew(layout, set);
    }
    // Whoever has it mounted keeps it, but it is nobody's next one.
    let set = last.unwrap_or_default();
    trash::throw(&set, &layout.trash()).map_err(cannot("discard", &set))?;
    anew(layout, set)
}

fn anew(layout: &Layout, set: PathBuf) -> Result<(PathBuf, Option<fs::File>), FileError> {
    let used = spare::claim(layout, &set);
    if used.is_none() {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&set)
            .map_err(cannot("create", &set))?;
    }
    Ok((set, used))
}

/// Takes the directory that was made ready for the transaction `set`, if `lock` is its lock and the workspace's root
/// looks as it did then: an overlay that is mounted would not follow.
pub(crate) fn claim(layout: &Layout, set: &Path, lock: OwnedFd) -> Option<(OwnedFd, Begun)> {
    let file = spare::claim_ready(layout, set, lock)?;
    let begin = || -> io::Result<Option<(OwnedFd, Begun)>> {
        let before = begun(set).map_err(io::Error::other)?;
        let (file, lock, mut begun) = stamp(layout, file)?;
        begun.root = before.root;
        if !root::is_imitated(&layout.workspace, &set.join("upper"), begun.root.as_ref())? {
            return Ok(None);
        }
        write_begun(&file, &begun)?;
        Ok(Some((lock, begun)))
    };
    if let Ok(Some(begun)) = begin() {
        return Some(begun);
    }
    // As with a spare one that cannot be used.
    drop(trash::throw(set, &layout.trash()));
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::tests::{Lab, write};

    fn make_ready(lab: &Lab) -> Ready {
        RollbackManager::make_ready(&lab.ws(), &lab.layers()).unwrap()
    }

    fn inode(path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn a_transaction_begins_in_the_directory_that_was_made_ready() {
        let lab = Lab::new();
        let ready = make_ready(&lab);
        let number = inode(&ready.upper);
        write(&lab.ws().join("since"), "its time is another one");
        let id = "first".parse().unwrap();
        let transaction = lab.manager.begin_ready(&id, Some(ready.lock)).unwrap();
        assert_eq!(inode(transaction.upper()), number);
        assert_eq!(transaction.changes().unwrap(), []);
        assert!(!lab.layers().join("tx/.ready").exists());
        write(&transaction.upper().join("a"), "1");
        let survey = transaction.survey().unwrap();
        transaction.commit(survey).unwrap();
        assert!(lab.ws().join("a").exists());
    }

    #[test]
    fn what_does_not_fit_any_more_is_not_used() {
        let lab = Lab::new();
        let begin = |id: &str, lock| {
            let id = id.parse().unwrap();
            lab.manager.begin_ready(&id, Some(lock)).unwrap()
        };
        let ready = make_ready(&lab);
        let number = inode(&ready.upper);
        fs::set_permissions(lab.ws(), fs::Permissions::from_mode(0o750)).unwrap();
        let other = begin("first", ready.lock);
        assert_ne!(inode(other.upper()), number, "another mode");
        let mode = fs::metadata(other.upper()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o750);
        assert_eq!(other.changes().unwrap(), []);
        drop(other.discard().unwrap());

        let old = make_ready(&lab);
        // Somebody holds it still: the next one is another directory, and each lock is that of its own.
        let new = make_ready(&lab);
        let numbers = [&old, &new].map(|ready| inode(&ready.upper));
        assert_ne!(numbers[0], numbers[1]);
        let third = begin("second", new.lock);
        assert_eq!(inode(third.upper()), numbers[1]);
        let fourth = begin("third", old.lock);
        assert_eq!(inode(fourth.upper()), numbers[0]);
    }

    #[test]
    fn what_nobody_has_used_is_made_ready_again() {
        let lab = Lab::new();
        let first = make_ready(&lab);
        let number = inode(&first.upper);
        fs::create_dir_all(first.work.join("work/incompat/volatile")).unwrap();
        fs::write(first.work.join("work/incompat/volatile/dirty"), "").unwrap();
        drop(first);
        let second = make_ready(&lab);
        assert_eq!(inode(&second.upper), number);
        assert!(fs::read_dir(&second.work).unwrap().next().is_none());
        write(&second.upper.join("left"), "by whom?");
        drop(second);
        let third = make_ready(&lab);
        assert!(fs::read_dir(&third.upper).unwrap().next().is_none());
        drop(third);
        lab.manager.clone().remove_all().unwrap();
        assert!(!lab.layers().exists());
    }
}
