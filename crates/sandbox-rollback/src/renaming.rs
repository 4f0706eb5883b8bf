//! rename(2) that does not replace, or exchanges, also where the file system cannot do so in one step.
//!
//! NFS, and FUSE servers without `rename2`, refuse the flags of renameat2(2) with `EINVAL`. There a name is looked
//! at before it is taken, which somebody else may do in between, and two files change places by a third name:
//!
//! ```text
//!                     workspace   set     aside
//! before              old         new     -
//! link or rename      old or -    new     old      a directory cannot be linked
//! rename over it      new         -       old
//! rename              new         old     -
//! ```
//! Each state names the next step, so that [`complete`] finishes or reverses what was interrupted.

use std::{io, os::fd::AsFd};

use rustix::{
    fs::{AtFlags, RenameFlags},
    io::Errno,
    path::Arg,
};

use crate::{
    stat::Stat,
    step::{self, step},
    tree::Spot,
};

/// Renames to a name that must be free.
pub(crate) fn to_free_name(
    from_dir: impl AsFd,
    from: impl Arg,
    to_dir: impl AsFd,
    to: impl Arg,
) -> Result<(), Errno> {
    let (from, to) = (from.into_c_str()?, to.into_c_str()?);
    let renamed = if step::knows_flags() {
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(&from_dir, &*from, &to_dir, &*to, flags)
    } else {
        Err(Errno::INVAL)
    };
    if renamed != Err(Errno::INVAL) {
        return renamed;
    }
    match rustix::fs::statat(&to_dir, &*to, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => rustix::fs::renameat(from_dir, &*from, to_dir, &*to),
        Err(error) => Err(error),
    }
}

/// Lets two files change places; `aside` is a name that is free.
pub(crate) fn exchange(kept: &Spot, outside: &Spot, aside: &Spot) -> io::Result<()> {
    let exchanged = if step::knows_flags() {
        let flags = RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(&kept.dir, &kept.name, &outside.dir, &outside.name, flags)
    } else {
        Err(Errno::INVAL)
    };
    if exchanged != Err(Errno::INVAL) {
        return Ok(exchanged?);
    }
    // Then no reader finds nothing there. A directory takes no file's place, and has no second name.
    let can_replace = !Stat::at(&kept.dir, &kept.name)?.is_dir();
    if !can_replace || link(outside, aside).is_err() {
        // What an earlier exchange left there is somebody's original.
        to_free_name(&outside.dir, &*outside.name, &aside.dir, &*aside.name)?;
    }
    step()?;
    rename(kept, outside)?;
    step()?;
    rename(aside, kept)
}

/// Finishes or reverses an exchange that was interrupted, if `aside` is one of the two files of it, by their inodes:
/// then each place has one of them again.
pub(crate) fn complete(
    (kept, outside, aside): (&Spot, &Spot, &Spot),
    files: [u64; 2],
) -> io::Result<()> {
    let Some(stays) = ino(aside)?.filter(|it| files.contains(it)) else {
        return Ok(());
    };
    match (ino(outside)?, ino(kept)?) {
        (None, Some(_)) => {
            step()?;
            rename(aside, outside)
        }
        (Some(_), None) => {
            step()?;
            rename(aside, kept)
        }
        (Some(outside), Some(_)) if outside == stays => {
            step()?;
            Ok(rustix::fs::unlinkat(
                &aside.dir,
                &aside.name,
                AtFlags::empty(),
            )?)
        }
        _ => Ok(()),
    }
}

fn ino(spot: &Spot) -> io::Result<Option<u64>> {
    Ok(Stat::find(&spot.dir, &spot.name)?.map(|stat| stat.ino))
}

fn link(from: &Spot, to: &Spot) -> Result<(), Errno> {
    let flags = AtFlags::empty();
    rustix::fs::linkat(&from.dir, &from.name, &to.dir, &to.name, flags)
}

fn rename(from: &Spot, to: &Spot) -> io::Result<()> {
    Ok(rustix::fs::renameat(
        &from.dir, &from.name, &to.dir, &to.name,
    )?)
}
