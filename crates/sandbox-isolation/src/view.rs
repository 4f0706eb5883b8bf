//! The allow-list: everything that the guest sees, as data, in the order of its paths.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use sandbox_types::NetworkAccess;

use crate::{
    child::step::Access,
    egress,
    plan::LaunchPlan,
    real_paths::RealPaths,
    toolchains::{self, ETC_ENTRIES, HOME_SECRETS, SYSTEM_DIRECTORIES},
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
/// Files in `/proc` that tell about the host; the rest of it is about the guest's own processes. (What can only
/// be written is covered too: all of `/proc` is read-only.)
const PROC_SECRETS: [&str; 10] = [
    "/proc/acpi",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];
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
#[derive(Debug)]
pub(crate) struct Layout {
    /// By path; parents before children.
    pub(crate) entries: BTreeMap<PathBuf, Entry>,
    /// Read-only parts of the workspace.
    pub(crate) protected: Vec<PathBuf>,
    /// Paths to cover, if they are there.
    pub(crate) hidden: Vec<PathBuf>,
    paths: RealPaths,
}

/// Something that was asked for is not there.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) path: PathBuf,
    pub(crate) source: std::io::Error,
}

impl Layout {
    /// Lays out what `plan` asks for.
    pub(crate) fn of(plan: &LaunchPlan) -> Result<Self, Unusable> {
        let mut layout = Self {
            entries: BTreeMap::new(),
            protected: Vec::new(),
            hidden: Vec::new(),
            paths: RealPaths::default(),
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
        layout.add_hidden(plan);
        Ok(layout)
    }

    /// Returns the entry that `path` lies in: its own, or the nearest above.
    pub(crate) fn holder(&self, path: &Path) -> Option<(&Path, &Entry)> {
        path.ancestors()
            .find_map(|above| self.entries.get_key_value(above))
            .map(|(path, entry)| (path.as_path(), entry))
    }

    fn add(&mut self, at: impl Into<PathBuf>, entry: Entry) {
        self.entries.insert(at.into(), entry);
    }

    fn add_host(&mut self, at: &Path) {
        match fs::symlink_metadata(at) {
            Ok(found) if found.is_symlink() => match (fs::read_link(at), self.paths.of(at)) {
                // What a link leads to below /usr is there too.
                (Ok(to), Some(real)) if real.starts_with("/usr") => self.add(at, Entry::Link(to)),
                (_, Some(source)) => {
                    let is_directory = source.is_dir();
                    self.add(at, Entry::read(source, is_directory));
                }
                (_, None) => {}
            },
            Ok(found) => {
                let entry = copy_of(at, &found).map(Entry::File);
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
        let known = toolchains::of_home(home).into_iter();
        let named = toolchains::of_search_path(&plan.view.search_path, home);
        for path in known.chain(named) {
            let Some(real) = self.paths.of(&path) else {
                continue;
            };
            if self.is_led_out(&path, &real, plan) {
                continue;
            }
            if toolchains::is_system(&real) || plan.view.home.starts_with(&real) {
                continue;
            }
            if real != path {
                self.add(&path, Entry::Link(real.clone()));
            }
            if !matches!(self.holder(&real), Some((_, Entry::Bind { .. }))) {
                self.add(&real, Entry::read(&real, true));
            }
        }
    }

    /// Returns whether `path` goes through a directory that a guest may have changed, and out of it again: then it was
    /// the guest who chose where it leads.
    fn is_led_out(&mut self, path: &Path, real: &Path, plan: &LaunchPlan) -> bool {
        let changeable = std::iter::once(&plan.workspace).chain(&plan.view.write);
        changeable.into_iter().any(|directory| {
            let mut above = path.ancestors().skip(1);
            !real.starts_with(directory)
                && above.any(|it| {
                    self.paths
                        .of(it)
                        .is_some_and(|it| it.starts_with(directory))
                })
        })
    }

    fn add_granted(&mut self, plan: &LaunchPlan) -> Result<(), Unusable> {
        let read = plan.view.read.iter().map(|path| (path, Access::Read));
        let write = plan.view.write.iter().map(|path| (path, Access::Write));
        for (path, access) in read.chain(write) {
            let real = fs::canonicalize(path).map_err(|source| Unusable {
                path: path.clone(),
                source,
            })?;
            if real.starts_with(&plan.workspace) {
                // There already, and writable as the workspace is.
                if access == Access::Read && real != plan.workspace {
                    self.protected.push(real);
                }
                continue;
            }
            if toolchains::is_system(&real) && (access == Access::Write || real == Path::new("/")) {
                let source = std::io::ErrorKind::PermissionDenied.into();
                return Err(Unusable {
                    path: path.clone(),
                    source,
                });
            }
            if real != *path && path.is_absolute() {
                self.add(path, Entry::Link(real.clone()));
            }
            self.add(
                &real,
                Entry::Bind {
                    source: real.clone(),
                    is_directory: real.is_dir(),
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
            .retain(|path, _| path == workspace || !path.starts_with(workspace));
    }

    /// A convenience link (`/var/tmp`) gives way to a directory with something in it (`/var/tmp/workspace`).
    fn drop_links_above_others(&mut self) {
        // In the order of paths, what lies below a path follows it.
        let following = self.entries.iter().zip(self.entries.keys().skip(1));
        let above_others: Vec<PathBuf> = following
            .filter(|((path, entry), next)| {
                matches!(entry, Entry::Link(_)) && next.starts_with(path)
            })
            .map(|((path, _), _)| path.clone())
            .collect();
        for path in above_others {
            self.entries.remove(&path);
        }
    }

    /// A path may be visible by the name that was given and by the one that links lead to: both are hidden.
    fn add_hidden(&mut self, plan: &LaunchPlan) {
        let mut paths = BTreeSet::new();
        let home = &plan.view.home;
        let real_home = self.paths.of(home);
        let there = toolchains::names_in(home);
        for name in HOME_SECRETS {
            let path = home.join(name);
            if toolchains::may_be_in(there.as_ref(), Path::new(name)) {
                paths.extend(self.real_forms(&path));
            }
            paths.extend(real_home.as_ref().map(|home| home.join(name)));
            paths.insert(path);
        }
        for path in &plan.view.hide {
            paths.extend(self.real_forms(path));
            paths.insert(path.clone());
        }
        let aliases: Vec<PathBuf> = paths.iter().flat_map(|path| self.aliases(path)).collect();
        paths.extend(aliases);
        paths.retain(|path| match self.holder(path) {
            // A workspace may change until the launch: it is looked at then.
            Some((_, Entry::Workspace)) => true,
            Some((_, Entry::Bind { .. } | Entry::File(_))) => fs::symlink_metadata(path).is_ok(),
            // Links lead to what has another name in the list.
            _ => false,
        });
        self.hidden.extend(paths);
        self.hidden.extend(PROC_SECRETS.iter().map(PathBuf::from));
    }

    /// Returns `path` without the links above it, and without any: what is not there (yet) keeps its name.
    fn real_forms(&mut self, path: &Path) -> [PathBuf; 2] {
        let whole = self.paths.as_far_as_there(path);
        let above = path
            .parent()
            .and_then(|above| self.paths.as_far_as_there(above));
        let link = above.zip(path.file_name());
        [
            link.map_or_else(|| path.to_owned(), |(above, name)| above.join(name)),
            whole.unwrap_or_else(|| path.to_owned()),
        ]
    }

    /// Returns where else the host's `path` is visible: below what is mounted at another place than its own.
    fn aliases(&self, path: &Path) -> Vec<PathBuf> {
        let elsewhere = self.entries.iter().filter_map(|(at, entry)| {
            let Entry::Bind { source, .. } = entry else {
                return None;
            };
            let rest = path.strip_prefix(source).ok().filter(|_| source != at)?;
            Some(at.components().chain(rest.components()).collect())
        });
        elsewhere.collect()
    }
}

/// Returns what the small file at `path` holds, if the guest may know: a copy is readable by everybody.
fn copy_of(path: &Path, found: &fs::Metadata) -> Option<Vec<u8>> {
    let is_small = found.is_file() && found.len() <= COPY_LIMIT_BYTES;
    let is_public = found.permissions().mode() & READABLE == READABLE;
    (is_small && is_public)
        .then(|| fs::read(path).ok())
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
