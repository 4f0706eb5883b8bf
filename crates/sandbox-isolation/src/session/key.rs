//! What a confinement depends on besides its operation. Two launches with the same key can use the same one.

use std::{
    ffi::{CStr, OsString},
    io,
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    buffer::spare_capacity,
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
    process::Rlimit,
};
use sandbox_types::{AllowList, HostPattern, Limit, Limits, NetworkAccess};

use crate::{
    child::order::RESOURCES,
    launch::layers::Layers,
    plan::{Confinement, LaunchPlan, StdinSource, View, WorkspaceMode},
    seccomp_profile::{BaseProfile, SeccompProfile},
    sys::process,
};

/// Another meaning of the same bytes needs another number.
const FORMAT: u8 = 3;

/// A key: what the plan says of the place, and what the caller hands down without saying it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) site: Vec<u8>,
    pub(crate) ambient: Vec<u8>,
}

impl Key {
    /// Returns the key of `plan` for this process, if a confinement for it can be built ahead.
    pub(crate) fn of(plan: &LaunchPlan) -> Option<Self> {
        Some(Self {
            site: site(plan)?,
            ambient: ambient().ok()?,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        put(&mut bytes, &self.site);
        put(&mut bytes, &self.ambient);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let format = reader.byte()?;
        let key = Self {
            site: reader.bytes()?.to_vec(),
            ambient: reader.bytes()?.to_vec(),
        };
        (format == FORMAT && reader.0.is_empty()).then_some(key)
    }
}

/// Every part of a plan is either in the key or belongs to the operation: a new one must be decided on here.
#[expect(
    clippy::unneeded_field_pattern,
    reason = "`..` would let a new part slip through"
)]
fn site(plan: &LaunchPlan) -> Option<Vec<u8>> {
    let LaunchPlan {
        name: _,
        argv: _,
        env: _,
        workspace,
        workspace_mode,
        cwd: _,
        view:
            View {
                home,
                search_path,
                toolchains,
                secrets,
                read,
                write,
                hide,
            },
        network,
        seccomp,
        confinement,
        limits,
        host_ids,
        stdin: _,
    } = plan;
    // The filter is a part of the place.
    if *confinement != Confinement::Namespaces
        || *seccomp != SeccompProfile::built_in(BaseProfile::Default)
    {
        return None;
    }
    let mut bytes = Vec::with_capacity(512);
    put(&mut bytes, workspace.as_os_str().as_bytes());
    let (mode, layers) = match workspace_mode {
        WorkspaceMode::Overlay { .. } => (0, Layers::of(plan).ok().flatten()?.directory),
        WorkspaceMode::Direct => (1, Path::new("")),
        WorkspaceMode::ReadOnly => (2, Path::new("")),
    };
    let (network, patterns): (_, &[HostPattern]) = match network {
        NetworkAccess::None => (0, &[]),
        NetworkAccess::Host => (1, &[]),
        // Its guest hands out a descriptor of its own when it starts, to who is there then.
        NetworkAccess::Allow(list) if list.has_any_port() => return None,
        NetworkAccess::Allow(list) => (2, list.patterns()),
    };
    bytes.extend([mode, network]);
    bytes.extend((patterns.len() as u64).to_le_bytes());
    for pattern in patterns {
        put(&mut bytes, pattern.to_string().as_bytes());
    }
    put(&mut bytes, layers.as_os_str().as_bytes());
    put(&mut bytes, home.as_os_str().as_bytes());
    put(&mut bytes, search_path.as_bytes());
    for list in [toolchains, secrets, read, write, hide] {
        bytes.extend((list.len() as u64).to_le_bytes());
        for path in list {
            put(&mut bytes, path.as_os_str().as_bytes());
        }
    }
    let size = limits.tmp_size.map_or(0, |size| size.value.get());
    bytes.extend(size.to_le_bytes());
    bytes.extend(host_ids.to_le_bytes());
    Some(bytes)
}

/// Returns a plan with such a site, and without an operation.
pub(crate) fn plan(site: &[u8]) -> Option<LaunchPlan> {
    let mut reader = Reader(site);
    let workspace = reader.path()?;
    let (mode, network) = (reader.byte()?, reader.byte()?);
    let patterns = reader.texts()?;
    let layers = reader.path()?;
    let view = View {
        home: reader.path()?,
        search_path: OsString::from_vec(reader.bytes()?.to_vec()),
        toolchains: reader.paths()?,
        secrets: reader.paths()?,
        read: reader.paths()?,
        write: reader.paths()?,
        hide: reader.paths()?,
    };
    let size = reader.number()?;
    let host_ids = u32::from_le_bytes(*reader.take(4)?.first_chunk()?);
    if !reader.0.is_empty() {
        return None;
    }
    let limits = Limits {
        tmp_size: size.to_string().parse().ok().map(Limit::requested),
        ..Limits::default()
    };
    Some(LaunchPlan {
        name: String::new(),
        argv: Vec::new(),
        env: Vec::new(),
        cwd: workspace.clone(),
        workspace,
        workspace_mode: match mode {
            0 => WorkspaceMode::Overlay {
                upper: layers.join("next/upper"),
                work: layers.join("next/work"),
            },
            1 => WorkspaceMode::Direct,
            2 => WorkspaceMode::ReadOnly,
            _ => return None,
        },
        view,
        network: match network {
            0 => NetworkAccess::None,
            1 => NetworkAccess::Host,
            2 => NetworkAccess::Allow(AllowList::parse(patterns).ok()?),
            _ => return None,
        },
        seccomp: SeccompProfile::built_in(BaseProfile::Default),
        confinement: Confinement::Namespaces,
        limits,
        host_ids,
        stdin: StdinSource::Empty,
    })
}

/// Returns what a child of this process would have from it: who it is, what it may use, where it lives, and which
/// program builds confinements.
///
/// Every operation asks, so what a system call tells is not read from `/proc`, where each file costs some ten of them.
pub(crate) fn ambient() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = rustix::fs::open(c"/proc/self", flags, Mode::empty())?;
    let program = rustix::fs::statat(&own, c"exe", AtFlags::empty())?;
    let root = rustix::fs::stat(c"/")?;
    let (policy, priority) = process::scheduling()?;
    let numbers = [
        program.st_dev,
        program.st_ino,
        program.st_size.cast_unsigned(),
        program.st_ctime.cast_unsigned(),
        program.st_ctime_nsec,
        root.st_dev,
        root.st_ino,
        process::io_priority().cast_unsigned(),
        process::personality()?,
        policy,
        priority,
    ];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    let nice = rustix::process::getpriority_process(None)?;
    bytes.extend(nice.to_le_bytes());
    for resource in RESOURCES {
        let Rlimit { current, maximum } = rustix::process::getrlimit(resource);
        for limit in [current, maximum] {
            bytes.extend(limit.unwrap_or(u64::MAX).to_le_bytes());
        }
    }
    let namespaces = rustix::fs::openat(&own, c"ns", flags, Mode::empty())?;
    for name in NAMESPACES {
        // A kernel may lack some.
        let link = rustix::fs::readlinkat(&namespaces, name, Vec::with_capacity(32));
        put(&mut bytes, link.unwrap_or_default().as_bytes());
    }
    let mut space = Vec::with_capacity(8192);
    read_whole(&own, c"status", &mut space)?;
    let lines = space.split(|byte| *byte == b'\n');
    for line in lines.filter(|line| STATUS.iter().any(|name| line.starts_with(name))) {
        put(&mut bytes, line);
    }
    for name in FILES {
        // A kernel may lack some.
        if read_whole(&own, name, &mut space).is_err() {
            space.clear();
        }
        put(&mut bytes, &space);
    }
    Ok(bytes)
}

/// Reads a file of `/proc` into `space`, without asking for its size: nobody knows it.
fn read_whole(directory: &OwnedFd, name: &CStr, space: &mut Vec<u8>) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    space.clear();
    loop {
        space.reserve(2048);
        if rustix::io::read(&file, spare_capacity(space))? == 0 {
            return Ok(());
        }
    }
}

/// All that a process has (namespaces(7)); init's cgroup namespace begins at the caller's cgroup.
const NAMESPACES: [&CStr; 8] = [
    c"mnt", c"pid", c"net", c"user", c"ipc", c"uts", c"cgroup", c"time",
];
/// Lines of `/proc/self/status`: ids, capabilities, filters, processors (`proc_pid_status(5)`).
const STATUS: [&[u8]; 11] = [
    b"Umask:",
    b"Uid:",
    b"Gid:",
    b"Groups:",
    b"CapInh:",
    b"CapPrm:",
    b"CapBnd:",
    b"NoNewPrivs:",
    b"Seccomp",
    b"Cpus_allowed:",
    b"Mems_allowed:",
];
/// Files of `/proc/self`: the cgroups, and what else is handed down.
const FILES: [&CStr; 3] = [c"cgroup", c"oom_score_adj", c"attr/current"];

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u64).to_le_bytes());
    bytes.extend_from_slice(part);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(part)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(OsString::from_vec(self.bytes()?.to_vec()).into())
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        let count = self.number()?;
        let mut text = || String::from_utf8(self.bytes()?.to_vec()).ok();
        (0..count).map(|_| text()).collect()
    }

    fn paths(&mut self) -> Option<Vec<PathBuf>> {
        let count = self.number()?;
        (0..count).map(|_| self.path()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> LaunchPlan {
        let path = |path: &str| PathBuf::from(path);
        LaunchPlan {
            name: "a".into(),
            argv: vec!["true".into()],
            env: Vec::new(),
            workspace: path("/w"),
            workspace_mode: WorkspaceMode::Overlay {
                upper: path("/l/a/upper"),
                work: path("/l/a/work"),
            },
            cwd: path("/w/sub"),
            view: View {
                home: path("/home/x"),
                search_path: "/usr/bin".into(),
                toolchains: vec![path("/opt/java")],
                secrets: vec![path("/s/token")],
                read: vec![path("/r")],
                write: Vec::new(),
                hide: vec![path("/h"), path("/i")],
            },
            network: NetworkAccess::None,
            seccomp: SeccompProfile::built_in(BaseProfile::Default),
            confinement: Confinement::Namespaces,
            limits: Limits::default(),
            host_ids: 100_000,
            stdin: StdinSource::Empty,
        }
    }

    #[test]
    fn a_key_brings_back_the_place_and_not_the_operation() {
        let key = Key::of(&example()).unwrap();
        assert_eq!(Key::decode(&key.encode()), Some(key.clone()));
        let plan = plan(&key.site).unwrap();
        assert_eq!(site(&plan).as_ref(), Some(&key.site));
        assert_eq!(plan.view, example().view);
        let mut other = example();
        other.name = "b".into();
        other.argv = vec!["false".into()];
        other.workspace_mode = WorkspaceMode::Overlay {
            upper: "/l/b/upper".into(),
            work: "/l/b/work".into(),
        };
        assert_eq!(site(&other).as_ref(), Some(&key.site));
    }

    #[test]
    fn another_place_has_another_key() {
        let key = site(&example()).unwrap();
        let changes: [fn(&mut LaunchPlan); 10] = [
            |plan| plan.view.toolchains.clear(),
            |plan| plan.view.secrets.clear(),
            |plan| plan.seccomp = SeccompProfile::built_in(BaseProfile::Strict),
            |plan| plan.workspace = "/v".into(),
            |plan| plan.workspace_mode = WorkspaceMode::Direct,
            |plan| plan.network = NetworkAccess::Host,
            |plan| plan.host_ids += 1,
            |plan| plan.view.search_path = "/bin".into(),
            |plan| plan.view.write = std::mem::take(&mut plan.view.read),
            |plan| {
                plan.view.hide.pop();
            },
        ];
        for change in changes {
            let mut plan = example();
            change(&mut plan);
            assert_ne!(site(&plan), Some(key.clone()), "{plan:?}");
        }
    }

    #[test]
    fn a_list_of_allowed_hosts_is_a_part_of_the_key() {
        let with = |pattern: &str| {
            let network = NetworkAccess::Allow(AllowList::parse([pattern]).unwrap());
            LaunchPlan {
                network,
                ..example()
            }
        };
        let (one, other) = (with("one.example:8443"), with("other.example:8443"));
        let key = site(&one).unwrap();
        assert_ne!(Some(&key), site(&other).as_ref());
        assert_eq!(plan(&key).unwrap().network, one.network);
        assert_eq!(site(&with("one.example:*")), None);
    }

    #[test]
    fn what_is_cut_short_is_no_key() {
        let key = Key::of(&example()).unwrap();
        let whole = key.encode();
        for length in 0..whole.len() {
            assert_eq!(Key::decode(&whole[..length]), None, "{length}");
        }
        for length in 0..key.site.len() {
            assert!(plan(&key.site[..length]).is_none(), "{length}");
        }
    }
}
