//! Who calls, and who the guest is therefore.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::process::{Gid, Uid};

use crate::child::identity::Identity;

/// How many ids a sandbox of a root caller has.
const IDS: u32 = 65_536;

/// The guest's ids, inside and outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    /// As the guest sees them.
    pub(crate) inside: (u32, u32),
    /// As the host sees them.
    pub(crate) outside: (Uid, Gid),
    /// Whether a range of host ids is used, which takes root on the host.
    pub(crate) mapped: bool,
    host_first: u32,
}

impl Ids {
    /// Returns the guest's ids for a workspace: what it makes there belongs to the workspace's owner.
    pub(crate) fn of(workspace: &fs::Metadata, host_first: u32) -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if uid != Uid::ROOT || !is_initial_user_namespace() {
            return Self {
                inside: (uid.as_raw(), gid.as_raw()),
                outside: (uid, gid),
                mapped: false,
                host_first,
            };
        }
        let inside = (workspace.uid(), workspace.gid());
        let host = |id: u32| host_first + id.min(IDS - 1);
        Self {
            inside,
            outside: (Uid::from_raw(host(inside.0)), Gid::from_raw(host(inside.1))),
            mapped: true,
            host_first,
        }
    }

    /// Returns what the children need of it.
    pub(crate) fn identity(&self) -> Identity {
        let (uid, gid) = self.inside;
        if !self.mapped {
            return Identity::Own {
                uid_map: format!("{uid} {uid} 1\n").into_bytes(),
                gid_map: format!("{gid} {gid} 1\n").into_bytes(),
            };
        }
        Identity::Mapped {
            uid_map: self.range(uid),
            gid_map: self.range(gid),
            guest: (Uid::from_raw(uid), Gid::from_raw(gid)),
        }
    }

    /// Maps 0 to 65,535. An owner beyond takes the place of the last.
    fn range(&self, owner: u32) -> Vec<u8> {
        let first = self.host_first;
        if owner < IDS {
            return format!("0 {first} {IDS}\n").into_bytes();
        }
        let last = IDS - 1;
        format!("0 {first} {last}\n{owner} {} 1\n", first + last).into_bytes()
    }
}

/// Returns how many threads this user has, which is what the kernel compares its limit of processes with.
pub(crate) fn threads() -> u64 {
    let uid = rustix::process::getuid().as_raw();
    let own = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|found| found.uid() == uid);
    let is_process = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let threads = processes
        .filter(|entry| is_process(entry) && own(entry))
        .map(|entry| fs::read_dir(entry.path().join("task")).map_or(1, Iterator::count));
    threads.fold(0, |sum, count| {
        sum.saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
    })
}

/// Root of a container's user namespace has no range of host ids to give away.
fn is_initial_user_namespace() -> bool {
    fs::read_to_string(Path::new("/proc/self/uid_map"))
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}
