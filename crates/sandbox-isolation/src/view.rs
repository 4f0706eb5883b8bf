//! The allow-list: everything that the guest sees, as data, in the order of its paths.

mod entries;
mod hidden;
mod ways;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use sandbox_types::NetworkAccess;

use self::entries::Entries;
use crate::{
    child::step::Access,
    egress,
    launch::caller::Ids,
    looks::Looks,
    plan::LaunchPlan,
    real_paths::{self, RealPaths},
    toolchains::{self, ETC_ENTRIES, SYSTEM_DIRECTORIES},
};

/// Device nodes that every program may use.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// The one part of `/sys` that programs need: how many processors there are.
const PROCESSORS: &str = "/sys/devices/system/cpu";
const HOSTS: &[u8] = b"127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost ip6-loopback\n";

/// Files of `/etc` up to this size are copied: that costs less than a mount, which is made, copied and taken down.
const COPY_LIMIT_BYTES: u64 = 16 * 1024;
/// May be read by everybody.
const READABLE: u32 = 0o444;

/// What stands at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A host path, or a part of one.
    Bind {
        source: PathBuf,
        is_directory: bool,
        access: Access,
        granted: bool,
    },
    /// A private temporary file system.
    Temporary {
        mode: u32,
    },
    /// An empty directory in what stands above it.
    Directory,
    Link(PathBuf),
    File(Vec<u8>),
    /// The part of `/sys` that tells about processors.
    Processors,
    Workspace,
}

/// What the guest sees.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// By path; parents before children.
    pub(crate) entries: Entries,
    /// Read-only parts of the workspace.
    pub(crate) protected: Vec<PathBuf>,
    /// Paths to cover, if they are there.
    pub(crate) hidden: Vec<PathBuf>,
    /// The workspace, and what was asked for: by the name that was given, and by the one that it leads to.
    granted: Vec<PathBuf>,
    paths: RealPaths,
}

/// Something that was asked for is not there.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl Layout {
    /// Lays out what `plan` asks for.
    pub(crate) fn of(plan: &LaunchPlan, ids: &Ids, looks: Looks) -> Result<Self, Unusable> {
        let mut layout = Self {
            entries: Entries::default(),
            protected: Vec::new(),
            hidden: Vec::new(),
            granted: vec![plan.workspace.clone()],
            paths: RealPaths::with(looks),
        };
        layout.add_system(&plan.network);
        layout.add_private(&plan.view.home);
        layout.add_toolchains(plan);
        layout.add_granted(plan)?;
        // The workspace wins over whatever stands at its path.
        layout
            .entries
            .insert(plan.workspace.clone(), Entry::Workspace);
        layout.drop_what_the_workspace_holds(&plan.workspace);
        layout.drop_links_above_others();
        layout.hold_ways_below_writable();
        layout.add_hidden(plan);
        layout.open_ways(ids);
        Ok(layout)
    }

    /// Returns the entry that `path` lies in: its own, or the nearest above.
    pub(crate) fn holder(&self, path: &Path) -> Option<(&Path, &Entry)> {
        self.entries.holder(path)
    }

    /// Gives away what was looked at for it, if that was to be remembered.
    pub(crate) fn take_looks(&mut self) -> Looks {
        std::mem::take(&mut self.paths.looks)
    }

    /// Returns whether the guest sees the same.
    pub(crate) fn shows_the_same_as(&self, other: &Self) -> bool {
        (&self.entries, &self.protected, &self.hidden)
            == (&other.entries, &other.protected, &other.hidden)
    }

    fn add(&mut self, at: impl Into<PathBuf>, entry: Entry) {
        self.entries.insert(at.into(), entry);
    }

    fn add_host(&mut self, at: &Path) {
        match self.paths.looks.lstat(at) {
            Ok(found) if found.is_symlink() => {
                match (self.paths.looks.read_link(at), self.paths.of(at)) {
                    // What a link leads to below /usr is there too.
                    (Ok(to), Some(real)) if real.starts_with("/usr") => {
                        self.add(at, Entry::Link(to));
                    }
                    (_, Some(source)) => {
                        let is_directory = self.paths.looks.is_dir(&source);
                        self.add(at, Entry::read(source, is_directory));
                    }
                    (_, None) => {}
                }
            }
            Ok(found) => {
                let entry = copy_of(&self.paths.looks, at, &found).map(Entry::File);
                self.add(at, entry.unwrap_or_else(|| Entry::read(at, found.is_dir())));
            }
            Err(_absent) => {}
        }
    }

    fn add_system(&mut self, network: &NetworkAccess) {
        for directory in SYSTEM_DIRECTORIES {
            self.add_host(Path::new(directory));
        }
        for name in ETC_ENTRIES {
            self.add_host(&Path::new("/etc").join(name));
        }
        self.add("/etc/hosts", Entry::File(HOSTS.to_vec()));
        self.add("/etc/mtab", Entry::Link("/proc/self/mounts".into()));
        match network {
            NetworkAccess::None => {}
            NetworkAccess::Allow(_) => {
                let text = format!("nameserver {}\n", egress::GATEWAY_IPV4);
                self.add("/etc/resolv.conf", Entry::File(text.into_bytes()));
            }
            NetworkAccess::Host => {
                for name in ["/etc/resolv.conf", "/etc/hosts"] {
                    self.add_host(Path::new(name));
                }
            }
        }
        self.add("/proc", Entry::Directory);
        self.add("/dev", Entry::Directory);
        self.add("/dev/pts", Entry::Directory);
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            let entry = Entry::Bind {
                source: path.clone(),
                is_directory: false,
                access: Access::Device,
                granted: false,
            };
            self.add(path, entry);
        }
        for (name, to) in DEVICE_LINKS {
            self.add(Path::new("/dev").join(name), Entry::Link(to.into()));
        }
        self.add(PROCESSORS, Entry::Processors);
    }

    fn add_private(&mut self, home: &Path) {
        for directory in ["/tmp", "/dev/shm", "/run"] {
            self.add(directory, Entry::Temporary { mode: 0o1777 });
        }
        self.add("/var/tmp", Entry::Link("/tmp".into()));
        self.add("/var/run", Entry::Link("/run".into()));
        // Homes like `/` or `/usr/games` stay what they are.
        let in_system = matches!(self.holder(home), Some((_, Entry::Bind { .. })));
        if home.is_absolute() && !toolchains::is_system(home) && !in_system {
            self.add(home, Entry::Temporary { mode: 0o755 });
        }
    }

    fn add_toolchains(&mut self, plan: &LaunchPlan) {
        let home = &plan.view.home;
        let repositories = plan.network == NetworkAccess::None;
        let known = toolchains::of_home(&self.paths.looks, home, repositories).into_iter();
        let found = toolchains::of_search_path(&self.paths.looks, &plan.view.search_path, home);
        let named = plan.view.toolchains.iter().cloned();
        let changeable = self.changeable(plan);
        for path in known.chain(found).chain(named) {
            let Some(real) = self.paths.of(&path) else {
                continue;
            };
            // Then it was a guest who chose where it leads.
            if real != path && real_paths::leads_astray(&self.paths.looks, &path, &changeable) {
                continue;
            }
            if toolchains::is_system(&real) || plan.view.home.starts_with(&real) {
                continue;
            }
            if real != path {
                self.add(&path, Entry::Link(real.clone()));
            }
            if !matches!(self.holder(&real), Some((_, Entry::Bind { .. }))) {
                let is_directory = self.paths.looks.is_dir(&real);
                self.add(&real, Entry::read(&real, is_directory));
            }
        }
    }

    /// Returns the directories that a guest may have changed before.
    fn changeable(&mut self, plan: &LaunchPlan) -> Vec<PathBuf> {
        let granted = plan.view.write.iter().filter_map(|it| self.paths.of(it));
        std::iter::once(plan.workspace.clone())
            .chain(granted)
            .collect()
    }

    fn add_granted(&mut self, plan: &LaunchPlan) -> Result<(), Unusable> {
        let read = plan.view.read.iter().map(|path| (path, Access::Read));
        let write = plan.view.write.iter().map(|path| (path, Access::Write));
        let changeable = self.changeable(plan);
        for (path, access) in read.chain(write) {
            let unusable = |source| Unusable {
                path: path.clone(),
                source,
            };
            let real = self.paths.looks.canonicalize(path).map_err(unusable)?;
            self.granted.extend([path.clone(), real.clone()]);
            if real_paths::leads_astray(&self.paths.looks, path, &changeable) {
                let reason = "a link in a directory that the command can change leads out of there";
                let source = io::Error::new(io::ErrorKind::PermissionDenied, reason);
                return Err(unusable(source));
            }
            if real.starts_with(&plan.workspace) {
                // There already, and writable as the workspace is.
                if access == Access::Read && real != plan.workspace {
                    self.protected.push(real);
                }
                continue;
            }
            if toolchains::is_system(&real) && (access == Access::Write || real == Path::new("/")) {
                return Err(unusable(io::ErrorKind::PermissionDenied.into()));
            }
            if real != *path && path.is_absolute() {
                self.add(path, Entry::Link(real.clone()));
            }
            self.add(
                &real,
                Entry::Bind {
                    source: real.clone(),
                    is_directory: self.paths.looks.is_dir(&real),
                    access,
                    granted: true,
                },
            );
        }
        Ok(())
    }

    /// What lies in the workspace is visible there, as the workspace is.
    fn drop_what_the_workspace_holds(&mut self, workspace: &Path) {
        self.entries
            .retain(|path| path == workspace || !path.starts_with(workspace));
    }

    /// A convenience link (`/var/tmp`) gives way to a directory with something in it (`/var/tmp/workspace`).
    fn drop_links_above_others(&mut self) {
        let links = self.entries.iter();
        let links = links.filter(|(_, entry)| matches!(entry, Entry::Link(_)));
        let above_others: Vec<PathBuf> = links
            .filter(|(path, _)| self.entries.below(path).next().is_some())
            .map(|(path, _)| path.to_owned())
            .collect();
        for path in above_others {
            self.entries.remove(&path);
        }
    }
}

/// Returns what the small file at `path` holds, if the guest may know: a copy is readable by everybody.
fn copy_of(looks: &Looks, path: &Path, found: &fs::Metadata) -> Option<Vec<u8>> {
    let is_small = found.is_file() && found.len() <= COPY_LIMIT_BYTES;
    let is_public = found.permissions().mode() & READABLE == READABLE;
    (is_small && is_public)
        .then(|| looks.read(path).ok())
        .flatten()
}

impl Entry {
    fn read(source: impl Into<PathBuf>, is_directory: bool) -> Self {
        Self::Bind {
            source: source.into(),
            is_directory,
            access: Access::Read,
            granted: false,
        }
    }
}
