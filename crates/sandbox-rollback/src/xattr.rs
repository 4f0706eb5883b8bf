//! Extended attributes of a file that is named by a directory and one component, never followed.
//!
//! The system calls take paths, so the directory is named through `/proc/self/fd`; see proc(5).

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
};

use rustix::{fs::XattrFlags, io::Errno};

/// Names and values.
pub(crate) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The longest list of names and the longest value that the kernel gives; see xattr(7).
const XATTR_BYTES_MAX: usize = 65_536;

/// Attributes that the kernel's security modules set by themselves: no part of a change.
const KERNEL_OWNED: [&[u8]; 4] = [
    b"security.selinux",
    b"security.ima",
    b"security.evm",
    b"security.SMACK64",
];

/// File capabilities; see capabilities(7).
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// Returns a path to `name` in `dir` for calls without a directory argument.
pub(crate) fn proc_path(dir: impl AsFd, name: &OsStr) -> OsString {
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(if name.is_empty() {
        b"."
    } else {
        name.as_bytes()
    });
    OsString::from_vec(path)
}

/// Returns the attributes of `name` in `dir`, without those that the kernel owns.
pub(crate) fn read(dir: impl AsFd, name: &OsStr) -> io::Result<Xattrs> {
    let path = proc_path(&dir, name);
    gather(
        |list| rustix::fs::llistxattr(&path, list),
        |attribute, value| rustix::fs::lgetxattr(&path, attribute, value),
    )
}

/// Returns the attributes of an open file, as [`read`] does.
pub(crate) fn read_open(file: impl AsFd) -> io::Result<Xattrs> {
    gather(
        |list| rustix::fs::flistxattr(&file, list),
        |attribute, value| rustix::fs::fgetxattr(&file, attribute, value),
    )
}

fn gather(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Xattrs> {
    let mut all = Xattrs::new();
    for attribute in names(list)? {
        if KERNEL_OWNED.contains(&attribute.as_slice()) {
            continue;
        }
        if let Some(value) = value(|value| get(&attribute, value))? {
            all.insert(attribute, value);
        }
    }
    Ok(all)
}

fn names(list: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Vec<Vec<u8>>> {
    let mut few = [0_u8; 1024];
    let list = match list(&mut few) {
        Ok(length) => few[..length].to_vec(),
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            let mut many = vec![0_u8; XATTR_BYTES_MAX];
            let length = list(&mut many)?;
            many.truncate(length);
            many
        }
        Err(error) => return Err(error.into()),
    };
    let names = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

fn value(get: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Option<Vec<u8>>> {
    let mut short = [0_u8; 256];
    match get(&mut short) {
        Ok(length) => Ok(Some(short[..length].to_vec())),
        Err(Errno::RANGE) => {
            let mut long = vec![0_u8; XATTR_BYTES_MAX];
            let length = get(&mut long)?;
            long.truncate(length);
            Ok(Some(long))
        }
        // Listed, but not for us (`trusted.*` without the capability), or gone.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets one attribute.
pub(crate) fn set(path: &OsStr, attribute: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::lsetxattr(
        path,
        attribute,
        value,
        XattrFlags::empty(),
    )?)
}

/// Removes one attribute; it is no error if it is not there.
pub(crate) fn remove(path: &OsStr, attribute: &[u8]) -> io::Result<()> {
    match rustix::fs::lremovexattr(path, attribute) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
