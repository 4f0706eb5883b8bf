//! Who the guest is: user and group ids, inside and outside.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    process::{Gid, Pid, Uid},
    thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets},
};

use super::status::{Act, Failure};
use crate::sys::process;

/// How ids inside relate to ids outside.
pub(crate) enum Identity {
    /// The caller's own id, mapped to itself: all that the kernel grants a caller without privileges.
    Own { uid_map: Vec<u8>, gid_map: Vec<u8> },
    /// A range of ids that nothing else on the host has.
    Mapped {
        uid_map: Vec<u8>,
        gid_map: Vec<u8>,
        /// The guest's ids, as it sees them.
        guest: (Uid, Gid),
    },
}

impl Identity {
    /// Maps this process's own ids, from inside the new namespace.
    pub(super) fn map_own(&self) -> Result<(), Failure> {
        let (Self::Own { uid_map, gid_map }
        | Self::Mapped {
            uid_map, gid_map, ..
        }) = self;
        let maps: [(&std::ffi::CStr, &[u8]); 3] = [
            // Without this the kernel does not let an unprivileged process map groups (user_namespaces(7)).
            (c"/proc/self/setgroups", b"deny"),
            (c"/proc/self/uid_map", uid_map),
            (c"/proc/self/gid_map", gid_map),
        ];
        for (path, content) in maps {
            write_file(path, content).map_err(|errno| Act::IdMap.failed(errno))?;
        }
        Ok(())
    }

    /// Maps the ids of `init`'s namespace, from outside; returns that namespace.
    pub(super) fn map(&self, init: Pid) -> Result<OwnedFd, Failure> {
        let (Self::Own { uid_map, gid_map }
        | Self::Mapped {
            uid_map, gid_map, ..
        }) = self;
        let map = || {
            let mut buffer = [0; 64];
            write_file(proc_path(&mut buffer, init, b"/uid_map"), uid_map)?;
            write_file(proc_path(&mut buffer, init, b"/gid_map"), gid_map)?;
            let path = proc_path(&mut buffer, init, b"/ns/user");
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        };
        map().map_err(|errno| Act::IdMap.failed(errno))
    }

    /// Becomes the guest's user.
    pub(super) fn become_guest(&self) -> Result<(), Failure> {
        match self {
            Self::Own { .. } => Ok(()),
            Self::Mapped {
                guest: (uid, gid), ..
            } => become_user(*uid, *gid).map_err(|errno| Act::Identity.failed(errno)),
        }
    }
}

/// Becomes root of the new user namespace: an unprivileged user of the host.
pub(super) fn become_root() -> Result<(), Failure> {
    become_user(Uid::ROOT, Gid::ROOT).map_err(|errno| Act::Identity.failed(errno))
}

fn become_user(uid: Uid, gid: Gid) -> Result<(), Errno> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Keeps capabilities through a change of user id, until [`drop_capabilities`] takes all at once.
pub(super) fn lock_secure_bits() -> Result<(), Failure> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(bits)
        .map_err(|errno| Act::Capabilities.failed(errno))
}

/// Empties the bounding set: no program can give capabilities back. Children inherit that.
pub(super) fn empty_bounding_set() -> Result<(), Failure> {
    process::empty_bounding_set().map_err(|errno| Act::Capabilities.failed(errno))
}

/// Drops every capability from every other set, for ever.
pub(crate) fn drop_capabilities() -> Result<(), Failure> {
    keep_capabilities(CapabilitySet::empty())
}

/// The same for init, which ends what the guest has left: that may be another user's than init itself.
pub(crate) fn keep_capability_to_kill() -> Result<(), Failure> {
    keep_capabilities(CapabilitySet::KILL)
}

fn keep_capabilities(kept: CapabilitySet) -> Result<(), Failure> {
    let drop_others = || {
        rustix::thread::clear_ambient_capability_set()?;
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, sets)
    };
    drop_others().map_err(|errno| Act::Capabilities.failed(errno))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| Act::NoNewPrivileges.failed(errno))
}

fn write_file(path: &std::ffi::CStr, content: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, content).map(drop)
}

/// Writes `/proc/<pid><rest>` into `buffer`, which is long enough for any pid.
fn proc_path<'a>(buffer: &'a mut [u8; 64], pid: Pid, rest: &[u8]) -> &'a std::ffi::CStr {
    *buffer = [0; 64];
    let mut digits = [0_u8; 10];
    let mut number = pid.as_raw_nonzero().get().unsigned_abs();
    let mut first = digits.len();
    while number > 0 && first > 0 {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    let parts = [b"/proc/".as_slice(), &digits[first..], rest];
    let bytes = parts.into_iter().flatten();
    for (place, byte) in buffer.iter_mut().take(63).zip(bytes) {
        *place = *byte;
    }
    std::ffi::CStr::from_bytes_until_nul(buffer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_paths_have_the_pid() {
        let pid = Pid::from_raw(4_194_304).unwrap();
        let mut buffer = [0; 64];
        let path = proc_path(&mut buffer, pid, b"/ns/user");
        assert_eq!(path, c"/proc/4194304/ns/user");
    }
}
