//! The three system calls of Landlock (`landlock(7)`).
#![expect(unsafe_code, reason = "the Landlock calls take raw structures")]

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::check;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RulesetAttributes {
    pub(crate) handled_access_fs: u64,
    pub(crate) handled_access_net: u64,
    pub(crate) scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

const RULE_PATH_BENEATH: libc::c_int = 1;
const CREATE_RULESET_VERSION: u32 = 1;

/// Returns the version of the kernel's Landlock interface, `None` without Landlock.
pub(crate) fn abi() -> Option<u32> {
    // SAFETY: with this flag the kernel reads no structure.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    check(answer).ok().and_then(|abi| u32::try_from(abi).ok())
}

/// Returns a new ruleset; only the first `size` bytes of the attributes are known to the kernel.
pub(crate) fn create_ruleset(
    attributes: &RulesetAttributes,
    size: usize,
) -> Result<OwnedFd, Errno> {
    let size = size.min(size_of::<RulesetAttributes>());
    // SAFETY: the structure is at least `size` bytes long.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(attributes),
            size,
            0_u32,
        )
    };
    let fd = i32::try_from(check(answer)?).map_err(|_too_large| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Allows `access` at and below `path`.
pub(crate) fn add_path(
    ruleset: BorrowedFd<'_>,
    path: BorrowedFd<'_>,
    access: u64,
) -> Result<(), Errno> {
    let rule = PathBeneath {
        allowed_access: access,
        parent_fd: path.as_raw_fd(),
    };
    // SAFETY: the structure is the one that this kind of rule has.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0_u32,
        )
    };
    check(answer).map(drop)
}

/// Confines this thread, for ever; needs `no_new_privs`.
pub(crate) fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no pointers are given.
    let answer =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    check(answer).map(drop)
}
