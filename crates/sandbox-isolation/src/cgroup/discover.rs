//! Finds, for each controller, the directory in which an operation's cgroup can be made.
//!
//! Version 1: the caller's own cgroup, if it may be written.
//! Version 2 has two more rules. A controller works in a cgroup only if the *parent* has enabled it
//! in `cgroup.subtree_control`; and only the root may enable controllers while it has processes
//! itself. The caller's own cgroup has one, the caller. So, in this order:
//!
//! 1. own is the root of the host: below it;
//! 2. the parent may be written and has controllers for us: beside our own (what systemd delegates
//!    to a user or a container looks like this);
//! 3. we are alone in our own and it may be written: we move into a leaf below it, then below it;
//! 4. own may be written: below it without controllers; it still kills, counts CPU time and gives birth;
//! 5. nowhere.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
    process,
};

use rustix::fs::{Access, AtFlags, CWD};

use super::{Controller, limits::Version, stale, write_file};

/// More than the texts about most processes' cgroups and mounts have.
const READ_BYTES: usize = 16 * 1024;

/// Where the operation's cgroups go.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchies {
    separate: BTreeMap<Controller, Result<PathBuf, String>>,
    unified: Result<UnifiedBase, String>,
}

/// The place of one controller.
#[derive(Debug)]
pub(super) enum Seat<'a> {
    /// Version 1: below this directory.
    Separate(&'a Path),
    /// Version 2.
    Unified(&'a UnifiedBase),
    /// Nowhere, because …
    Absent(&'a str),
}

/// The directory of the unified hierarchy that operations' cgroups are made in.
#[derive(Clone, Debug)]
pub(super) struct UnifiedBase {
    pub(super) path: PathBuf,
    /// Enabled for children, or can be.
    controllers: Vec<Controller>,
    /// Whether we must leave `path` before it can give controllers to children.
    must_leave: bool,
}

/// One line of `/proc/self/cgroup`.
#[derive(Debug, PartialEq, Eq)]
struct Membership<'a> {
    /// Empty for version 2.
    controllers: Vec<&'a str>,
    path: &'a str,
}

/// One mounted hierarchy of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    version: Version,
    /// Which directory of the hierarchy is mounted.
    root: String,
    point: PathBuf,
    read_only: bool,
    options: Vec<&'a str>,
}

/// Where the cgroups of another process's operations are, in one hierarchy that can freeze.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) caller: u32,
    pub(super) unified: bool,
    /// Its own cgroup, and the one above it: by the rules above it is one of them.
    pub(super) bases: Vec<PathBuf>,
}

impl Reach {
    /// Looks where `caller` makes cgroups, as far as this process may write there: the unified
    /// hierarchy first. None if it is gone.
    pub(super) fn of(caller: u32) -> Vec<Self> {
        let (cgroup, mountinfo) = (
            read(&format!("/proc/{caller}/cgroup")),
            read("/proc/self/mountinfo"),
        );
        let (memberships, mounts) = (parse_memberships(&cgroup), parse_mounts(&mountinfo));
        [None, Some(Controller::Freezer)]
            .into_iter()
            .filter_map(|controller| {
                let own = own_directory(controller, &memberships, &mounts)?.ok()?;
                let parent = own.parent().map(Path::to_owned);
                let scopes = match controller {
                    Some(_) => Vec::new(),
                    None => scopes_of(caller),
                };
                let bases: Vec<PathBuf> = [Some(own), parent]
                    .into_iter()
                    .flatten()
                    .chain(scopes)
                    .filter(|base| base.join("cgroup.procs").exists() && may_write(base).is_ok())
                    .collect();
                (!bases.is_empty()).then_some(Self {
                    caller,
                    unified: controller.is_none(),
                    bases,
                })
            })
            .collect()
    }
}

/// Returns the scopes in which systemd has put operations of `caller`.
fn scopes_of(caller: u32) -> Vec<PathBuf> {
    let guests = super::stop::guests_of(caller);
    let places = guests.into_iter().filter_map(unified_directory_of);
    let scopes = places.filter_map(|place| Some(place.parent()?.to_owned()));
    scopes
        .filter(|path| path.extension().is_some_and(|it| it == "scope"))
        .collect()
}

/// Returns where a process is in the unified hierarchy, as far as that is seen here.
pub(super) fn unified_directory_of(pid: rustix::process::Pid) -> Option<PathBuf> {
    let cgroup = read(&format!("/proc/{}/cgroup", pid.as_raw_nonzero()));
    let mountinfo = read("/proc/self/mountinfo");
    own_directory(None, &parse_memberships(&cgroup), &parse_mounts(&mountinfo))?.ok()
}

/// Says why operations are in no cgroup that can be frozen.
pub(super) fn no_freezer() -> String {
    let hierarchies = discover();
    match (&hierarchies.unified, hierarchies.seat(Controller::Freezer)) {
        (Ok(_), _) | (_, Seat::Separate(_) | Seat::Unified(_)) => {
            "it was started where it could have none".to_owned()
        }
        (Err(unified), Seat::Absent(_)) => unified.clone(),
    }
}

/// Looks where this process is, and what may be made there; changes nothing.
pub(crate) fn discover() -> Hierarchies {
    from_text(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
}

/// Whether `controller` may well be used through version 1, from one small file: enough to plan with.
pub(crate) fn is_likely_separate(controller: Controller) -> bool {
    parse_memberships(&read("/proc/self/cgroup"))
        .iter()
        .any(|membership| membership.controllers.contains(&controller.name()))
}

/// Reads a file of `/proc` in few calls: its size is not known before, and each call makes the text anew.
fn read(path: &str) -> String {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    let read = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_absent) => String::new(),
    }
}

/// As [`discover`], of the contents of `/proc/self/cgroup` and `/proc/self/mountinfo`.
pub(super) fn from_text(cgroup: &str, mountinfo: &str) -> Hierarchies {
    let memberships = parse_memberships(cgroup);
    let mounts = parse_mounts(mountinfo);
    let mut separate = BTreeMap::new();
    for controller in Controller::ALL {
        if let Some(own) = own_directory(Some(controller), &memberships, &mounts) {
            separate.insert(controller, own.and_then(writable));
        }
    }
    let unified = own_directory(None, &memberships, &mounts)
        .unwrap_or_else(|| Err("no cgroup2 file system is mounted".to_owned()))
        .and_then(|own| UnifiedBase::of(&own, &mounts));
    Hierarchies { separate, unified }
}

impl Hierarchies {
    /// Below a scope that is ours and has no members itself.
    pub(super) fn of_scope(path: PathBuf) -> Self {
        let controllers = available(&path);
        Self {
            separate: BTreeMap::new(),
            unified: Ok(UnifiedBase {
                path,
                controllers,
                must_leave: false,
            }),
        }
    }

    /// Whether `controller` can be used somewhere; CPU time is counted in every cgroup of version 2.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.version_of(controller).is_ok()
            || (controller == Controller::CpuAccounting && self.unified.is_ok())
    }

    /// Returns the place of `controller`.
    pub(super) fn seat(&self, controller: Controller) -> Seat<'_> {
        match (self.separate.get(&controller), &self.unified) {
            (Some(Ok(base)), _) => Seat::Separate(base),
            (Some(Err(reason)), _) | (None, Err(reason)) => Seat::Absent(reason),
            (None, Ok(base)) if base.controllers.contains(&controller) => Seat::Unified(base),
            (None, Ok(_)) => Seat::Absent(
                "neither a version 1 hierarchy nor the part of the unified one we may use has the controller",
            ),
        }
    }

    /// Returns the directory for the unified hierarchy's cgroups, whatever its controllers.
    pub(super) fn unified(&self) -> Option<&UnifiedBase> {
        self.unified.as_ref().ok()
    }

    /// Returns the version that has `controller`, or why it cannot be used.
    pub(crate) fn version_of(&self, controller: Controller) -> Result<Version, String> {
        match self.seat(controller) {
            Seat::Separate(_) => Ok(Version::One),
            Seat::Unified(_) => Ok(Version::Two),
            Seat::Absent(reason) => Err(reason.to_owned()),
        }
    }

    /// Returns every directory that may hold cgroups of ours.
    pub(super) fn bases(&self) -> Vec<&Path> {
        let separate = self.separate.values().flatten().map(PathBuf::as_path);
        let unified = self.unified().map(|base| base.path.as_path());
        let mut bases: Vec<&Path> = separate.chain(unified).collect();
        bases.sort_unstable();
        bases.dedup();
        bases
    }
}

impl UnifiedBase {
    /// Chooses by the rules above; `own` is the caller's cgroup.
    fn of(own: &Path, mounts: &[Mount<'_>]) -> Result<Self, String> {
        let base = |path: &Path, controllers, must_leave| Self {
            path: path.to_owned(),
            controllers,
            must_leave,
        };
        let writable_own = writable(own.to_owned());
        // Every cgroup but the root of the host has this file.
        if !own.join("cgroup.events").exists() {
            return writable_own.map(|path| base(&path, available(&path), false));
        }
        let is_mount_point = mounts.iter().any(|mount| mount.point == own);
        if let Some(parent) = own.parent().filter(|_| !is_mount_point)
            && writable(parent.to_owned()).is_ok()
            && may_write(&parent.join("cgroup.procs")).is_ok()
        {
            let controllers = usable(parent);
            if !controllers.is_empty() {
                return Ok(base(parent, controllers, false));
            }
        }
        let own = writable_own?;
        may_write(&own.join("cgroup.procs"))
            .map_err(|source| format!("{} is read-only to us: {source}", own.display()))?;
        if is_alone(&own) {
            return Ok(base(&own, usable(&own), true));
        }
        Ok(base(&own, Vec::new(), false))
    }

    /// Makes `controller` work in `child`, or says why it cannot.
    pub(super) fn enable(&self, controller: Controller, child: &Path) -> Result<(), String> {
        let name = controller
            .unified_name()
            .expect("only controllers of version 2 have their seat here");
        // Each controller adds files of its name to the children that it works in.
        let marker = match controller {
            Controller::Memory | Controller::Cpu | Controller::Pids => format!("{name}.max"),
            Controller::Io | Controller::CpuAccounting | Controller::Freezer => {
                format!("{name}.stat")
            }
        };
        if child.join(marker).exists() {
            return Ok(());
        }
        if self.must_leave {
            self.leave().map_err(|source| {
                format!("cannot leave {} for a leaf: {source}", self.path.display())
            })?;
        }
        let file = self.path.join("cgroup.subtree_control");
        write_file(&file, &format!("+{name}"))
            .map_err(|source| format!("cannot enable {name} in {}: {source}", file.display()))
    }

    /// Moves this process into a leaf, so that `path` has no processes of its own.
    fn leave(&self) -> io::Result<()> {
        let name = stale::directory_name("self").map_err(io::Error::other)?;
        let leaf = self.path.join(name);
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        write_file(&leaf.join("cgroup.procs"), "0")
    }
}

/// Whether this process is the only member.
fn is_alone(cgroup: &Path) -> bool {
    let members = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    members.trim() == process::id().to_string()
}

/// Returns the controllers that `cgroup` gives to children, or may be made to.
fn usable(cgroup: &Path) -> Vec<Controller> {
    if may_write(&cgroup.join("cgroup.subtree_control")).is_ok() {
        available(cgroup)
    } else {
        listed(cgroup, "cgroup.subtree_control")
    }
}

fn available(cgroup: &Path) -> Vec<Controller> {
    listed(cgroup, "cgroup.controllers")
}

fn listed(cgroup: &Path, file: &str) -> Vec<Controller> {
    let text = fs::read_to_string(cgroup.join(file)).unwrap_or_default();
    let names: Vec<&str> = text.split_whitespace().collect();
    Controller::ALL
        .into_iter()
        .filter(|controller| {
            controller
                .unified_name()
                .is_some_and(|name| names.contains(&name))
        })
        .collect()
}

/// Returns `path` if directories can be made in it.
fn writable(path: PathBuf) -> Result<PathBuf, String> {
    match may_write(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(format!("{} is not writable: {source}", path.display())),
    }
}

/// Asks with the effective identity, which is the one that will write.
fn may_write(path: &Path) -> io::Result<()> {
    rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).map_err(Into::into)
}

/// Returns the directory of the caller's own cgroup in the hierarchy of `controller` (`None`:
/// the unified one); `None` if there is no such hierarchy, an error if it is out of reach.
fn own_directory(
    controller: Option<Controller>,
    memberships: &[Membership<'_>],
    mounts: &[Mount<'_>],
) -> Option<Result<PathBuf, String>> {
    let membership = memberships.iter().find(|membership| match controller {
        Some(controller) => membership.controllers.contains(&controller.name()),
        None => membership.controllers.is_empty(),
    })?;
    let mut in_reach: Vec<(&Mount<'_>, PathBuf)> = mounts
        .iter()
        .filter(|mount| match controller {
            Some(controller) => {
                mount.version == Version::One && mount.options.contains(&controller.name())
            }
            None => mount.version == Version::Two,
        })
        .filter_map(|mount| {
            // `..` leads out of what our cgroup namespace shows.
            let below = Path::new(membership.path)
                .strip_prefix(&mount.root)
                .ok()
                .filter(|below| !below.components().any(|part| part == Component::ParentDir))?;
            Some((mount, mount.point.join(below).components().collect()))
        })
        .collect();
    // Of several mounts the last writable one: it hides the others.
    in_reach.sort_by_key(|(mount, _)| !mount.read_only);
    let name = controller.map_or("cgroup2", Controller::name);
    Some(match in_reach.pop() {
        None => Err(format!(
            "the {name} hierarchy is not mounted where we are in it"
        )),
        Some((mount, _)) if mount.read_only => {
            Err(format!("{} is mounted read-only", mount.point.display()))
        }
        Some((_, path)) => Ok(path),
    })
}

/// Parses `/proc/self/cgroup`: `id:controllers:path`, see cgroups(7).
fn parse_memberships(text: &str) -> Vec<Membership<'_>> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let controllers = controllers.split(',').filter(|name| !name.is_empty());
            Some(Membership {
                controllers: controllers.collect(),
                path,
            })
        })
        .collect()
}

/// Parses the cgroup mounts of `/proc/self/mountinfo`, see `proc_pid_mountinfo(5)`.
fn parse_mounts(text: &str) -> Vec<Mount<'_>> {
    text.lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let version = match after.next()? {
                "cgroup" => Version::One,
                "cgroup2" => Version::Two,
                _ => return None,
            };
            let superblock = after.nth(1)?;
            let mut before = before.split(' ').skip(3);
            let (root, point, options) = (before.next()?, before.next()?, before.next()?);
            let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
            Some(Mount {
                version,
                root: unescape(root),
                point: unescape(point).into(),
                read_only: is_read_only(options) || is_read_only(superblock),
                options: superblock.split(',').collect(),
            })
        })
        .collect()
}

/// Undoes the kernel's escapes: space, tab, newline and backslash as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for (escape, meaning) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        plain = plain.replace(escape, meaning);
    }
    plain
}
