//! Opening files that are ours alone: no symbolic links, no other owner, no other writers.

pub(crate) mod storage;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat},
    io::Errno,
};
use storage::Change;

/// Why a file or directory of the state was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused it.
    #[error("the system refused it")]
    System(#[source] io::Error),
    /// There is a symbolic link in its place.
    #[error("a symbolic link is in its place")]
    SymbolicLink,
    /// Something else than a regular file is in its place.
    #[error("it is not a regular file")]
    NotAFile,
    /// It belongs to another user.
    #[error("it belongs to user {owner}, not to the calling user {caller}")]
    OtherOwner {
        /// The owner's user id.
        owner: u32,
        /// The effective user id of the caller.
        caller: u32,
    },
    /// Its mode lets other users read it, and it holds a key.
    #[error("its mode {mode:o} lets other users read it")]
    OthersMayRead {
        /// The permission bits.
        mode: u32,
    },
    /// Its mode lets other users change it.
    #[error("its mode {mode:o} lets other users change it")]
    OthersMayWrite {
        /// The permission bits.
        mode: u32,
    },
}

impl OpenError {
    fn of(errno: Errno) -> Self {
        match errno {
            // O_NOFOLLOW gives ELOOP for a link, O_NOFOLLOW|O_DIRECTORY gives ENOTDIR as well.
            Errno::LOOP => Self::SymbolicLink,
            other => Self::System(other.into()),
        }
    }
}

/// A directory that is ours alone, held open: files are opened relative to it.
#[derive(Debug)]
pub(crate) struct Directory {
    handle: File,
    path: PathBuf,
}

impl Directory {
    /// Opens the directory; `None` if there is none.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, OpenError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(handle) => {
                let handle = File::from(handle);
                check_ownership(&rustix::fs::fstat(&handle).map_err(OpenError::of)?)?;
                let path = path.to_owned();
                Ok(Some(Self { handle, path }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR) if path.is_symlink() => Err(OpenError::SymbolicLink),
            Err(errno) => Err(OpenError::of(errno)),
        }
    }

    /// Opens the directory, and makes it (mode 0700, its parent must exist) if there is none.
    pub(crate) fn open_or_make(path: &Path) -> Result<Self, OpenError> {
        loop {
            if let Some(directory) = Self::open(path)? {
                return Ok(directory);
            }
            match rustix::fs::mkdir(path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(OpenError::of(errno)),
            }
        }
    }

    /// Opens a regular file in it; `None` if there is none. Created files get mode 0600.
    pub(crate) fn file(&self, name: &str, flags: OFlags) -> Result<Option<File>, OpenError> {
        // NONBLOCK: a FIFO in its place must not make us wait.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |flags| rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR);
        let opened = match open(flags) {
            // Who is not the owner may not ask for that, and is told below that somebody else is.
            Err(Errno::PERM) if flags.contains(OFlags::NOATIME) => open(flags - OFlags::NOATIME),
            opened => opened,
        };
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(OpenError::of(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(OpenError::of)?;
        if flags.contains(OFlags::CREATE) {
            storage::note(|| Change::Name {
                name: name.to_owned(),
                inode: stat.st_ino,
            });
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(OpenError::NotAFile);
        }
        check_ownership(&stat)?;
        Ok(Some(file))
    }

    /// Returns the inode of a name and the length of what is there; `None` if there is nothing.
    pub(crate) fn inode_of(&self, name: &str) -> io::Result<Option<(u64, u64)>> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_ino, stat.st_size.unsigned_abs()))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the names of what is in it, those that are UTF-8.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        Ok(names)
    }

    /// Gives a file a second name, which nothing has.
    pub(crate) fn link(&self, from: &str, to: &str) -> io::Result<()> {
        storage::about_to_link()?;
        rustix::fs::linkat(&self.handle, from, &self.handle, to, AtFlags::empty())?;
        storage::note(|| Change::Link {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    /// Returns the open directory itself.
    pub(crate) fn into_handle(self) -> File {
        self.handle
    }

    /// Removes a file; it is no error if there is none.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        storage::about_to_change()?;
        storage::note(|| Change::Remove {
            name: name.to_owned(),
        });
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives a file another name, in place of what had that name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        storage::about_to_change()?;
        rustix::fs::renameat(&self.handle, from, &self.handle, to)?;
        storage::note(|| Change::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    /// Makes the names in the directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        storage::about_to_change()?;
        self.handle.sync_all()?;
        storage::note(|| Change::SyncNames);
        Ok(())
    }

    /// Waits for the exclusive lock of the directory itself.
    pub(crate) fn lock(&self) -> io::Result<Lock<'_>> {
        Lock::exclusive(&self.handle)
    }

    /// Takes the exclusive lock of the directory itself; `None` if somebody else has it.
    pub(crate) fn try_lock(&self) -> io::Result<Option<Lock<'_>>> {
        match Lock::take(&self.handle, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            taken => taken.map(Some),
        }
    }

    /// Returns where `name` lies.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// A `flock(2)`, released explicitly when dropped: a process that was cloned meanwhile shares the
/// open file and would keep the lock otherwise.
#[derive(Debug)]
pub(crate) struct Lock<'a>(&'a File);

impl<'a> Lock<'a> {
    /// Waits until nobody else holds a lock.
    pub(crate) fn exclusive(file: &'a File) -> io::Result<Self> {
        Self::take(file, FlockOperation::LockExclusive)
    }

    /// Waits until nobody holds the exclusive lock.
    pub(crate) fn shared(file: &'a File) -> io::Result<Self> {
        Self::take(file, FlockOperation::LockShared)
    }

    fn take(file: &'a File, operation: FlockOperation) -> io::Result<Self> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation))?;
        Ok(Self(file))
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Cannot fail on a file that was locked; closing it would release the lock as well.
        rustix::fs::flock(self.0, FlockOperation::Unlock).ok();
    }
}

fn check_ownership(stat: &Stat) -> Result<(), OpenError> {
    let caller = rustix::process::geteuid().as_raw();
    if stat.st_uid != caller {
        return Err(OpenError::OtherOwner {
            owner: stat.st_uid,
            caller,
        });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 != 0 {
        return Err(OpenError::OthersMayWrite { mode });
    }
    Ok(())
}
