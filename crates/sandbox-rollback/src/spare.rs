//! The directory of a transaction that changed nothing is the next one's: making and deleting directories is most
//! of what such a transaction costs. It may be made ready ahead, with its overlay mounted already.

use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use crate::{layout::Layout, lock, renaming, stat::Stat, step::step, trash};

/// What a set holds that was never more than begun.
const PLAIN: [&str; 3] = ["lock", "upper", "work"];
/// What the kernel leaves in the work directory of a volatile overlay, the innermost first. It does not mount one
/// over these: `Documentation/filesystems/overlayfs.rst`.
const LEFT_BY_OVERLAY: [&str; 4] = [
    "work/work/incompat/volatile/dirty",
    "work/work/incompat/volatile",
    "work/work/incompat",
    "work/work",
];

/// Makes `set` a spare one if its upper layer is empty and there are not enough yet; returns whether it did. Its lock
/// stays taken as long as the overlay may be mounted.
pub(crate) fn keep(layout: &Layout, set: &Path) -> bool {
    let keep = || -> io::Result<bool> {
        if !is_plain(set)? {
            return Ok(false);
        }
        for spare in layout.spares() {
            step()?;
            match rename(set, &spare) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => return result.map(|()| true),
            }
        }
        Ok(false)
    };
    // What cannot be kept is thrown away.
    keep().unwrap_or(false)
}

/// Returns whether nothing was ever written to the set.
pub(crate) fn is_plain(set: &Path) -> io::Result<bool> {
    if fs::read_dir(set.join("upper"))?.next().is_some() {
        return Ok(false);
    }
    for entry in fs::read_dir(set)? {
        let name = entry?.file_name();
        if !PLAIN.iter().any(|plain| name == *plain) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what the kernel has left. The overlay must be unmounted.
fn clean(set: &Path) -> io::Result<()> {
    for path in LEFT_BY_OVERLAY {
        let path = set.join(path);
        match remove(&path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                // The kernel makes it for nobody, and its owner may not be root.
                let top = set.join("work/work");
                fs::set_permissions(top, fs::Permissions::from_mode(0o700))?;
                remove(&path)?;
            }
            result => result?,
        }
    }
    Ok(())
}

/// Makes a spare set `set`; returns its lock file, taken. `None` if there is none whose overlay is unmounted.
pub(crate) fn claim(layout: &Layout, set: &Path) -> Option<fs::File> {
    layout.spares().find_map(|spare| {
        let Taken::Usable(file) = lock(&spare) else {
            return None;
        };
        step().ok()?;
        rename(&spare, set).ok()?;
        // Another one may have been put there since it was locked.
        if is_lock_of(&file, set) && clean(set).is_ok() {
            return Some(file);
        }
        // If this fails too, recovery discards it, and the transaction says that its id is in use.
        drop(trash::throw(set, &layout.trash()));
        None
    })
}

/// Whether a set that lies about can be used.
pub(crate) enum Taken {
    /// Its lock file, taken.
    Usable(fs::File),
    /// Its overlay may be mounted.
    InUse,
    /// It is no whole set.
    Broken,
}

/// Takes a set that was left where the next one is made ready, and cleans it.
pub(crate) fn take(set: &Path) -> Taken {
    match lock(set) {
        Taken::Usable(file) if clean(set).is_ok() && is_plain(set).unwrap_or(false) => {
            Taken::Usable(file)
        }
        Taken::Usable(_) => Taken::Broken,
        other @ (Taken::InUse | Taken::Broken) => other,
    }
}

fn lock(set: &Path) -> Taken {
    let open = || -> io::Result<Taken> {
        let file = open_lock(set)?;
        let lock = file.try_clone()?.into();
        Ok(if lock::try_exclusive(&lock)? {
            Taken::Usable(file)
        } else {
            Taken::InUse
        })
    };
    open().unwrap_or(Taken::Broken)
}

/// Returns whether `lock` is the lock of the set that lies at `set` now.
fn is_lock_of(lock: impl AsFd, set: &Path) -> bool {
    let there = Stat::at(rustix::fs::CWD, set.join("lock"));
    let held = Stat::of_fd(lock);
    matches!((there, held), (Ok(there), Ok(held)) if (there.dev, there.ino) == (held.dev, held.ino))
}

/// Makes the set that was made ready `set`, if `lock` is its lock; returns its lock file. Whoever makes sets ready may
/// put another one there at any time: which one was taken is only known afterwards.
pub(crate) fn claim_ready(layout: &Layout, set: &Path, lock: OwnedFd) -> Option<fs::File> {
    let ready = layout.readies().find(|ready| is_lock_of(&lock, ready))?;
    step().ok()?;
    rename(&ready, set).ok()?;
    if is_lock_of(&lock, set) {
        return Some(lock.into());
    }
    drop(trash::throw(set, &layout.trash()));
    None
}

fn open_lock(set: &Path) -> io::Result<fs::File> {
    let path = set.join("lock");
    fs::OpenOptions::new().read(true).write(true).open(path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let cwd = rustix::fs::CWD;
    Ok(renaming::to_free_name(cwd, from, cwd, to)?)
}

/// Removes a file or an empty directory that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    let attempt = || match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => fs::remove_dir(path),
        result => result,
    };
    match attempt() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Lab, write};

    #[test]
    fn a_set_that_changed_nothing_is_used_again() {
        let lab = Lab::new();
        let first = lab.begin("first");
        let set = lab.layers().join("tx/first");
        fs::create_dir_all(set.join("work/work/incompat/volatile")).unwrap();
        fs::write(set.join("work/work/incompat/volatile/dirty"), "").unwrap();
        let inode = |path: &Path| Stat::at(rustix::fs::CWD, path).unwrap().ino;
        let number = inode(&set);
        drop(first.discard().unwrap());
        assert!(lab.layers().join("spare").exists());

        fs::set_permissions(lab.ws(), fs::Permissions::from_mode(0o750)).unwrap();
        let second = lab.begin("second");
        let set = lab.layers().join("tx/second");
        assert_eq!(inode(&set), number);
        assert!(fs::read_dir(set.join("work")).unwrap().next().is_none());
        let mode = fs::metadata(second.upper()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o750);
        assert_eq!(second.changes().unwrap(), []);
        write(&second.upper().join("a"), "1");
        drop(second.discard().unwrap());
        assert!(!lab.layers().join("spare").exists(), "it holds something");
        assert!(lab.layers().join("trash/second.0").exists());
    }

    #[test]
    fn a_set_whose_overlay_may_be_mounted_is_not_used() {
        let lab = Lab::new();
        let held = lab.begin("first").discard().unwrap();
        let second = lab.begin("second");
        assert!(
            lab.layers().join("spare").exists(),
            "it is left for a later one"
        );
        drop(second.discard().unwrap());
        assert!(lab.layers().join("spare1").exists());
        drop(held);
        let third = lab.begin("third");
        assert!(!lab.layers().join("spare").exists());
        drop(third.discard().unwrap());
        assert!(lab.manager.recover().unwrap().interrupted.is_empty());
        lab.manager.clone().remove_all().unwrap();
        assert!(!lab.layers().exists());
    }
}
