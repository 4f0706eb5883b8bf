//! Whether a file in the upper layer differs from the one below it.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{Mode, OFlags, SeekFrom},
    io::Errno,
};
use sandbox_types::ChangeKind;

use crate::{
    overlay,
    stat::Stat,
    xattr::{self, Xattrs},
};

/// How much is compared at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// From this size on holes are looked for and skipped.
const SPARSE_BYTES_MIN: u64 = 16 << 20;

/// One file on one side.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) dir: &'a OwnedFd,
    pub(crate) name: &'a OsStr,
    pub(crate) stat: &'a Stat,
}

/// How two files compare.
#[derive(Clone, Copy)]
pub(crate) struct Comparison {
    /// `None` if nothing differs that the guest could see.
    pub(crate) kind: Option<ChangeKind>,
    pub(crate) same_content: bool,
    /// Whether the file below has the same file capabilities.
    pub(crate) same_capabilities: bool,
}

/// Compares what is not a directory; `xattrs` are those of the upper side.
pub(crate) fn files(upper: Side<'_>, xattrs: &Xattrs, lower: Side<'_>) -> io::Result<Comparison> {
    if upper.stat.kind() != lower.stat.kind() || !same_content(upper, lower)? {
        return Ok(Comparison {
            kind: Some(ChangeKind::Modified),
            same_content: false,
            same_capabilities: false,
        });
    }
    let below = xattr::read(lower.dir, lower.name)?;
    let same_metadata = (upper.stat.mtime == lower.stat.mtime)
        && (upper.stat.uid, upper.stat.gid) == (lower.stat.uid, lower.stat.gid)
        && upper.stat.permissions() == lower.stat.permissions()
        && overlay::visible(xattrs) == overlay::visible(&below);
    Ok(Comparison {
        kind: (!same_metadata).then_some(ChangeKind::Metadata),
        same_content: true,
        same_capabilities: xattrs.get(xattr::CAPABILITY) == below.get(xattr::CAPABILITY),
    })
}

pub(crate) fn same_content(upper: Side<'_>, lower: Side<'_>) -> io::Result<bool> {
    if upper.stat.is_symlink() {
        let target = |side: Side<'_>| rustix::fs::readlinkat(side.dir, side.name, Vec::new());
        return Ok(target(upper)? == target(lower)?);
    }
    if !upper.stat.is_file() {
        return Ok(upper.stat.rdev == lower.stat.rdev);
    }
    if upper.stat.size != lower.stat.size {
        return Ok(false);
    }
    if upper.stat.size == 0 {
        return Ok(true);
    }
    let (Some(mut above), Some(mut below)) = (open(upper)?, open(lower)?) else {
        // Unreadable for us: taking it as changed loses nothing.
        return Ok(false);
    };
    if upper.stat.size < SPARSE_BYTES_MIN {
        return same_bytes(&mut above, &mut below, u64::MAX);
    }
    same_sparse(&mut above, &mut below, upper.stat.size)
}

/// Opens a file for reading, or returns `None` if it may not be read or is another one by now.
fn open(side: Side<'_>) -> io::Result<Option<File>> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(side.dir, side.name, flags, Mode::empty()) {
        Ok(fd) => {
            let same = Stat::of_fd(&fd)?.ino == side.stat.ino;
            Ok(same.then(|| File::from(fd)))
        }
        Err(Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::LOOP | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn same_bytes(above: &mut File, below: &mut File, limit: u64) -> io::Result<bool> {
    let mut blocks = [vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]];
    let mut left = limit;
    while left > 0 {
        let wanted = usize::try_from(left)
            .unwrap_or(BLOCK_BYTES)
            .min(BLOCK_BYTES);
        let [first, second] = &mut blocks;
        let got = read_full(above, &mut first[..wanted])?;
        if read_full(below, &mut second[..wanted])? != got || first[..got] != second[..got] {
            return Ok(false);
        }
        if got < wanted {
            return Ok(true);
        }
        left -= u64::try_from(got).unwrap_or(left);
    }
    Ok(true)
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            got => filled += got,
        }
    }
    Ok(filled)
}

/// Compares block by block, skipping what is a hole on both sides.
fn same_sparse(above: &mut File, below: &mut File, size: u64) -> io::Result<bool> {
    let mut position = 0;
    while position < size {
        let data = next_data(above, position, size)?.min(next_data(below, position, size)?);
        if data >= size {
            return Ok(true);
        }
        for file in [&*above, &*below] {
            rustix::fs::seek(file, SeekFrom::Start(data))?;
        }
        let block = SPARSE_BYTES_MIN.min(size - data);
        if !same_bytes(above, below, block)? {
            return Ok(false);
        }
        position = data + block;
    }
    Ok(true)
}

fn next_data(file: &File, from: u64, size: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(data) => Ok(data),
        Err(Errno::NXIO) => Ok(size),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(from),
        Err(error) => Err(error.into()),
    }
}
