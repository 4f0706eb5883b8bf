//! What the kernel says of one file: identity, type, attributes, times.

use std::{io, os::fd::AsFd};

use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags};
use serde::{Deserialize, Serialize};

/// A time of the file system's clock: seconds and nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
pub(crate) struct Time(pub(crate) i64, pub(crate) u32);

/// The mode bits that give a program another identity.
pub(crate) const SETID_BITS: u32 = 0o6000;

/// The status of one file; symlinks are never followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) ino: u64,
    /// Type and permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) nlink: u32,
    pub(crate) rdev: (u32, u32),
    pub(crate) dev: (u32, u32),
    pub(crate) mount: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    /// Immutable or append-only: the kernel refuses to rename it.
    pub(crate) pinned: bool,
}

impl Stat {
    /// Returns the status of `name` in the directory `dir`; the empty name is `dir` itself.
    pub(crate) fn at(dir: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let mask = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat = Self::of(&rustix::fs::statx(dir, name, flags, mask)?);
        #[cfg(test)]
        let stat = crate::step::as_seen(stat);
        Ok(stat)
    }

    /// Returns the status of an open file.
    pub(crate) fn of_fd(fd: impl AsFd) -> io::Result<Self> {
        Self::at(fd, "")
    }

    /// Returns the status of `name` in `dir`, or `None` if there is no such file.
    pub(crate) fn find(dir: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Option<Self>> {
        match Self::at(dir, name) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(raw: &Statx) -> Self {
        let pinned = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
        Self {
            ino: raw.stx_ino,
            mode: u32::from(raw.stx_mode),
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            size: raw.stx_size,
            blocks: raw.stx_blocks,
            nlink: raw.stx_nlink,
            rdev: (raw.stx_rdev_major, raw.stx_rdev_minor),
            dev: (raw.stx_dev_major, raw.stx_dev_minor),
            mount: raw.stx_mnt_id,
            mtime: Time(raw.stx_mtime.tv_sec, raw.stx_mtime.tv_nsec),
            ctime: Time(raw.stx_ctime.tv_sec, raw.stx_ctime.tv_nsec),
            pinned: raw.stx_attributes.intersects(pinned),
        }
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.kind() == FileType::Symlink
    }

    pub(crate) fn is_device(&self) -> bool {
        matches!(
            self.kind(),
            FileType::CharacterDevice | FileType::BlockDevice
        )
    }

    /// Returns the permission bits without the type.
    pub(crate) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// Returns the size if it is a regular file, else 0.
    pub(crate) fn file_bytes(&self) -> u64 {
        if self.is_file() { self.size } else { 0 }
    }
}

/// Returns whether `error` says that there is no such file.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
