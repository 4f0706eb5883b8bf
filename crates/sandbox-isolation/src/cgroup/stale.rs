//! Names cgroups after their owner, and removes those whose owner is gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use super::{CgroupError, discover::discover, write_file};

/// What all our cgroups' names start with.
const PREFIX: &str = "sandbox-";
/// An operation's own part of the name.
const NAME_LIMIT_BYTES: usize = 128;

/// A process, told apart from later ones with the same number and from those of other containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: u32,
    /// In clock ticks since boot.
    pub(super) start_time: u64,
    /// The number of its process namespace.
    pub(super) namespace: u64,
}

/// Removes empty cgroups that were made by processes which have ended, and returns them.
///
/// Looks where this process would make cgroups itself. Members are never killed: they are an
/// ended owner's business (its guests die with it) or still dying; a later call finds the rest.
pub fn remove_stale() -> Vec<PathBuf> {
    let hierarchies = discover();
    let Ok(this) = this_process() else {
        return Vec::new();
    };
    let bases = hierarchies.bases().into_iter();
    bases.flat_map(|base| remove_stale_in(base, this)).collect()
}

fn remove_stale_in(base: &Path, this: Owner) -> Vec<PathBuf> {
    let orphans = orphans_of(base, this).into_iter().map(|(_, path)| path);
    orphans
        .filter(|path| {
            // Killed members of a frozen cgroup of version 1 are there until they are thawed.
            let _only_there = write_file(&path.join("freezer.state"), "THAWED");
            fs::remove_dir(path).is_ok()
        })
        .collect()
}

/// Returns the cgroups in `base` that were made by processes which have ended, with their names.
pub(super) fn orphans_in(base: &Path) -> Vec<(String, PathBuf)> {
    this_process().map_or_else(|_| Vec::new(), |this| orphans_of(base, this))
}

fn orphans_of(base: &Path, this: Owner) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let owner = parse_owner(&name)?;
            let is_orphan = owner.namespace == this.namespace && !is_alive(owner);
            is_orphan.then(|| (name, entry.path()))
        })
        .collect()
}

/// Returns the operation that a directory's name tells, if we made it.
pub(super) fn operation_of(directory_name: &str) -> Option<&str> {
    directory_name.strip_prefix(PREFIX)?.splitn(4, '-').nth(3)
}

/// Returns the name of the cgroup of this process's operation `name`.
pub(super) fn directory_name(name: &str) -> Result<String, CgroupError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > NAME_LIMIT_BYTES || !name.bytes().all(is_plain) {
        let name = name.to_owned();
        return Err(CgroupError::Name { name });
    }
    let owner = this_process()?;
    let Owner {
        pid,
        start_time,
        namespace,
    } = owner;
    Ok(format!("{PREFIX}{pid}-{start_time}-{namespace}-{name}"))
}

/// Returns the owner that a directory's name tells, if we made it.
pub(super) fn parse_owner(directory_name: &str) -> Option<Owner> {
    let mut fields = directory_name.strip_prefix(PREFIX)?.splitn(4, '-');
    let owner = Owner {
        pid: fields.next()?.parse().ok()?,
        start_time: fields.next()?.parse().ok()?,
        namespace: fields.next()?.parse().ok()?,
    };
    fields.next().map(|_name| owner)
}

fn this_process() -> Result<Owner, CgroupError> {
    let failed = |path: &str| {
        let path = PathBuf::from(path);
        |source| CgroupError::Owner { path, source }
    };
    let stat = "/proc/self/stat";
    let start_time = fs::read_to_string(stat)
        .and_then(|text| parse_start_time(&text).ok_or(io::ErrorKind::InvalidData.into()))
        .map_err(failed(stat))?;
    let link = "/proc/self/ns/pid";
    let namespace = fs::read_link(link)
        .and_then(|target| parse_namespace(&target).ok_or(io::ErrorKind::InvalidData.into()))
        .map_err(failed(link))?;
    Ok(Owner {
        pid: process::id(),
        start_time,
        namespace,
    })
}

fn is_alive(owner: Owner) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", owner.pid));
    stat.is_ok_and(|text| parse_start_time(&text) == Some(owner.start_time))
}

/// Returns field 22 of `/proc/<pid>/stat`; field 2 is a name in parentheses that may contain anything.
pub(super) fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(22 - 3)?.parse().ok()
}

/// Returns the number in `pid:[4026531836]`.
fn parse_namespace(target: &Path) -> Option<u64> {
    let (_, number) = target.to_str()?.split_once('[')?;
    number.strip_suffix(']')?.parse().ok()
}
