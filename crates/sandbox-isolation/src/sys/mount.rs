//! `mount_setattr(2)`.
#![expect(unsafe_code, reason = "mount_setattr(2) takes a raw structure")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

use super::raw;

/// Attributes of mounts, as `mount_setattr(2)` has them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Attributes {
    /// Flags to set.
    pub(crate) set: u64,
    /// The user namespace whose mapping an idmapped mount uses.
    pub(crate) idmap: Option<i32>,
}

/// Sets attributes of the mount at `tree`, of all mounts below it too if `recursive`.
pub(crate) fn set_attributes(
    tree: BorrowedFd<'_>,
    recursive: bool,
    attributes: Attributes,
) -> Result<(), Errno> {
    let mut wanted = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    if let Some(namespace) = attributes.idmap {
        wanted.attr_set |= libc::MOUNT_ATTR_IDMAP;
        wanted.userns_fd = u64::try_from(namespace).map_err(|_negative| Errno::BADF)?;
    }
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // A builder calls this in memory that it shares, and it may well fail: no `errno`.
    // SAFETY: the path is an empty C string, the structure has the size that is given.
    let answer = unsafe {
        raw::call(
            libc::SYS_mount_setattr,
            [
                tree.as_raw_fd().cast_unsigned() as usize,
                c"".as_ptr().expose_provenance(),
                flags.cast_unsigned() as usize,
                (&raw const wanted).expose_provenance(),
                size_of::<libc::mount_attr>(),
            ],
        )
    };
    answer.map(drop)
}
