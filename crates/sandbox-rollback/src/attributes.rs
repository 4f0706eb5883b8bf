//! The attributes of a directory that a commit sets and an undo puts back.

use std::{
    ffi::OsStr,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use serde::{Deserialize, Serialize};

use crate::{
    raw,
    stat::{Stat, Time},
    step::step,
    xattr::{self, Xattrs},
};

/// Mode, owner, modification time and extended attributes (access control lists are among them).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    #[serde(with = "raw::xattrs")]
    pub(crate) xattrs: Xattrs,
}

impl Attributes {
    /// Returns the attributes of a file, given its status and extended attributes.
    pub(crate) fn of(stat: &Stat, xattrs: Xattrs) -> Self {
        Self {
            mode: stat.permissions(),
            uid: stat.uid,
            gid: stat.gid,
            mtime: stat.mtime,
            xattrs,
        }
    }

    /// Reads the attributes of `name` in `dir`.
    pub(crate) fn read(dir: &OwnedFd, name: &OsStr) -> io::Result<Self> {
        Ok(Self::of(&Stat::at(dir, name)?, xattr::read(dir, name)?))
    }

    /// Returns whether both are equal but for the time.
    pub(crate) fn same_but_time(&self, other: &Self) -> bool {
        (self.mode, self.uid, self.gid) == (other.mode, other.uid, other.gid)
            && self.xattrs == other.xattrs
    }

    /// Gives these attributes to `name` in `dir`, changing only what differs.
    ///
    /// The order matters: chown clears set-id bits, an access control list changes the mode, and
    /// each of them moves the ctime only, so the mtime comes last.
    pub(crate) fn apply(&self, dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.give(dir, name, Err)
    }

    /// As [`Self::apply`], without the owner and the extended attributes that this process may not
    /// set; returns whether it set all.
    pub(crate) fn apply_permitted(&self, dir: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        let mut all = true;
        self.give(dir, name, |error| {
            all = false;
            // An id that this user namespace does not know is invalid: user_namespaces(7).
            let denied = [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput];
            if denied.contains(&error.kind()) {
                return Ok(());
            }
            Err(error)
        })?;
        Ok(all)
    }

    fn give(
        &self,
        dir: &OwnedFd,
        name: &OsStr,
        mut denied: impl FnMut(io::Error) -> io::Result<()>,
    ) -> io::Result<()> {
        let now = Self::read(dir, name)?;
        let path = xattr::proc_path(dir, name);
        if (now.uid, now.gid) != (self.uid, self.gid) {
            step()?;
            chown(dir, name, self.uid, self.gid).or_else(&mut denied)?;
        }
        for gone in now.xattrs.keys().filter(|n| !self.xattrs.contains_key(*n)) {
            step()?;
            xattr::remove(&path, gone).or_else(&mut denied)?;
        }
        for (attribute, value) in &self.xattrs {
            if now.xattrs.get(attribute) != Some(value) {
                step()?;
                xattr::set(&path, attribute, value).or_else(&mut denied)?;
            }
        }
        if Stat::at(dir, name)?.permissions() != self.mode {
            step()?;
            chmod(dir, name, self.mode)?;
        }
        if now.mtime != self.mtime {
            step()?;
            set_mtime(dir, name, self.mtime)?;
        }
        Ok(())
    }
}

/// Sets the permission bits of `name` in `dir`, which must not be a symlink.
pub(crate) fn chmod(dir: &OwnedFd, name: &OsStr, mode: u32) -> io::Result<()> {
    // fchmodat follows links; a descriptor of the file itself does not. It may be unreadable, so
    // it is opened with O_PATH and named through /proc, see open(2).
    if name.is_empty() {
        return chmod_open(dir, mode);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if Stat::of_fd(&file)?.is_symlink() {
        return Err(rustix::io::Errno::LOOP.into());
    }
    chmod_open(&file, mode)
}

fn chmod_open(file: &OwnedFd, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode & 0o7777);
    Ok(rustix::fs::chmod(fd_path(file), mode)?)
}

/// Returns a path to an open file itself; unlike `.` it needs no permission on a directory.
fn fd_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn chown(dir: &OwnedFd, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::chownat(dir, name, Some(uid), Some(gid), flags)?)
}

/// Sets the modification time of `name` in `dir` and leaves the access time.
pub(crate) fn set_mtime(dir: &OwnedFd, name: &OsStr, mtime: Time) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.0,
            tv_nsec: i64::from(mtime.1),
        },
    };
    if name.is_empty() {
        let (cwd, path) = (rustix::fs::CWD, fd_path(dir));
        return Ok(rustix::fs::utimensat(cwd, path, &times, AtFlags::empty())?);
    }
    Ok(rustix::fs::utimensat(
        dir,
        name,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}
