//! Starting a plan without namespaces: Landlock, the system call filter and limits, and nothing else.
//!
//! The guest sees the host's root. What the view grants elsewhere is granted by Landlock rules here; what the view
//! leaves out cannot be opened. There is no transaction and no private `/tmp`, and the guest has a directory of its
//! own in its place.

use std::{
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::pipe::PipeFlags;
use sandbox_types::{CgroupKind, Enforcement, Level, NetworkAccess};

use super::{
    caller::Ids,
    error::LaunchError,
    meter::Meter,
    recipe,
    ruleset::{self, access},
    run::Confined,
    start::{
        Readied, argument_area, check_workspace, lay_out, no_channel, open_streams, own_handle,
        start_channel,
    },
    tree::Tree,
};
use crate::{
    child::{
        self, Channels, Recipe, Stacks,
        guest::Ruleset,
        step::{Access, Steps},
    },
    looks::Looks,
    plan::{LaunchPlan, WorkspaceMode},
    sys::landlock::{self, RulesetAttributes},
    view::{Entry, Layout},
};

/// The first version of Landlock that confines signals: without it, a guest could end its keeper.
pub(crate) const LANDLOCK_NEEDED: u32 = 6;

const TEMPORARY: &str = "/tmp";
const TEMPORARY_PREFIX: &str = "sandbox-alone-";

/// The guest's own temporary directory. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct TemporaryDirectory(PathBuf);

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is tried again by the next launch.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Starts to build what `plan` says.
pub(crate) fn prepare(mut plan: LaunchPlan) -> Result<Readied, LaunchError> {
    check(&plan)?;
    let workspace = check_workspace(&plan, &Looks::default())?;
    let ids = Ids::of(&workspace, plan.host_ids);
    let layout = lay_out(&plan, &ids, Looks::default())?;
    let temporary = TemporaryDirectory::make(&plan.name)?;
    for (key, value) in &mut plan.env {
        if key == "TMPDIR" {
            value.clone_from(&temporary.0.clone().into_os_string());
        }
    }
    let rules = Rules::of(&plan, &layout, &temporary.0)?;
    let guest = recipe::guest_alone(&plan, rules.into_ruleset()?);
    let order = recipe::order_alone(&plan)?;
    let mut streams = open_streams(plan.stdin, &ids)?;
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(no_channel);
    let (status, built) = (pipe()?, pipe()?);
    let begin = start_channel().map_err(no_channel)?;
    let own = own_handle()?;
    let recipe = Box::new(Recipe {
        identity: ids.identity(),
        namespaces: 0,
        own_network: false,
        steps: Steps::default(),
        overlay: None,
        order,
        channels: Channels {
            caller: Some(own.as_raw_fd()),
            status: status.1.as_raw_fd(),
            built: (built.0.as_raw_fd(), built.1.as_raw_fd()),
            start: begin.1.as_raw_fd(),
            doors: None,
            stdio: streams.guest_ends(),
        },
        guest,
        arguments: argument_area(),
        stacks: Stacks::new(),
        old_root: None,
    });
    let meter = Meter::prepare(&plan.name, &plan.limits, workspace.dev())?;
    let children = child::alone::start(recipe)
        .map_err(|(_, failure)| LaunchError::of(failure, &Steps::default()))?;
    drop((status.1, built, begin.1));
    streams.close_guest_ends();
    let parts = (streams, meter, plan.limits);
    let mut confined = Confined::of(Tree::of_keeper(children)?, status.0.into(), parts);
    confined.enforcement = enforcement(&plan.network);
    confined.temporary = Some(temporary);
    Ok(Readied::of(confined, begin.0))
}

fn check(plan: &LaunchPlan) -> Result<(), LaunchError> {
    let refuse = |reason: &str, hint: &str| {
        let error = LaunchError::new(
            "confine the command without namespaces",
            io::Error::other(reason.to_owned()),
        );
        Err(error.with_hint(hint))
    };
    if rustix::process::geteuid().is_root() {
        return refuse(
            "the caller is root, and so would the command be",
            "run it as a user without privileges, or allow namespaces: `sandbox doctor` says how",
        );
    }
    if landlock::abi().is_none_or(|abi| abi < LANDLOCK_NEEDED) {
        return refuse(
            "Landlock 6 (Linux 6.12) is needed for that: an older one does not confine signals",
            "allow namespaces: `sandbox doctor` says how",
        );
    }
    if !fs::exists("/proc/thread-self/children").unwrap_or(false) {
        return refuse(
            "the kernel does not tell a process's children, so what the command leaves could not be ended",
            "mount /proc, or allow namespaces: `sandbox doctor` says how",
        );
    }
    if matches!(plan.workspace_mode, WorkspaceMode::Overlay { .. }) {
        return refuse(
            "a transaction needs a mount namespace",
            "let it write to the workspace directly",
        );
    }
    match plan.network {
        NetworkAccess::None | NetworkAccess::Host => Ok(()),
        NetworkAccess::Allow(_) => refuse(
            "a list of allowed hosts needs a network namespace",
            "give it no network, or the host's (--net host)",
        ),
    }
}

impl TemporaryDirectory {
    fn make(name: &str) -> Result<Self, LaunchError> {
        remove_stale();
        let own = format!("{TEMPORARY_PREFIX}{}-{name}", std::process::id());
        let path = Path::new(TEMPORARY).join(own);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|source| LaunchError::new(format!("make {}", path.display()), source))?;
        Ok(Self(path))
    }
}

/// Removes what launches of killed callers left.
fn remove_stale() {
    let uid = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(TEMPORARY).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let caller = name
            .to_str()
            .and_then(|name| name.strip_prefix(TEMPORARY_PREFIX)?.split('-').next());
        let Some(caller) = caller.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        let is_ours = fs::symlink_metadata(entry.path())
            .is_ok_and(|found| found.is_dir() && found.uid() == uid);
        if is_ours && !fs::exists(format!("/proc/{caller}")).unwrap_or(true) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// What Landlock grants, as host paths.
struct Rules<'a> {
    hidden: &'a [PathBuf],
    handled: u64,
    paths: Vec<(PathBuf, u64)>,
}

const READ: u64 = access::EXECUTE | access::READ_FILE | access::READ_DIR;

impl<'a> Rules<'a> {
    fn of(plan: &LaunchPlan, layout: &'a Layout, temporary: &Path) -> Result<Self, LaunchError> {
        let (handled, _) = ruleset::handled(LANDLOCK_NEEDED);
        let mut rules = Self {
            hidden: &layout.hidden,
            handled,
            paths: vec![
                (temporary.to_owned(), handled),
                (PathBuf::from("/dev"), access::READ_DIR),
            ],
        };
        for (path, entry) in &layout.entries {
            match entry {
                Entry::Bind { source, access, .. } => rules.grant(source, rules.right(*access)),
                Entry::File(_) | Entry::Link(_) if path.starts_with("/etc") => {
                    rules.grant(path, READ);
                }
                Entry::Directory if path == Path::new("/proc") => {
                    rules.paths.push((path.to_owned(), READ));
                }
                Entry::Processors => rules.grant(path, READ),
                Entry::Workspace => rules.grant_workspace(plan, layout)?,
                Entry::Temporary { .. } | Entry::Directory | Entry::Link(_) | Entry::File(_) => {}
            }
        }
        Ok(rules)
    }

    fn right(&self, access: Access) -> u64 {
        match access {
            Access::Read => READ,
            Access::Write => self.handled,
            Access::Device => access::READ_FILE | access::WRITE_FILE | access::IOCTL_DEV,
        }
    }

    /// Landlock cannot take away below what it grants, and names in the workspace come and go.
    fn grant_workspace(&mut self, plan: &LaunchPlan, layout: &Layout) -> Result<(), LaunchError> {
        let workspace = &plan.workspace;
        let inside = |path: &&PathBuf| path.starts_with(workspace);
        let hidden = layout.hidden.iter().filter(inside);
        let mut special = hidden.chain(&layout.protected);
        if let Some(path) = special.find(|path| fs::symlink_metadata(path).is_ok()) {
            let source = io::Error::other("that needs a mount namespace");
            let step = format!("hide or protect {} in the workspace", path.display());
            return Err(LaunchError::new(step, source)
                .with_hint("choose a workspace without it, or allow namespaces"));
        }
        let right = match plan.workspace_mode {
            WorkspaceMode::Direct => self.handled,
            WorkspaceMode::ReadOnly | WorkspaceMode::Overlay { .. } => READ,
        };
        self.paths.push((workspace.clone(), right));
        Ok(())
    }

    /// Grants `path`, but for what is hidden in it: then each of its other names is granted by itself.
    fn grant(&mut self, path: &Path, right: u64) {
        if self.hidden.iter().any(|hidden| path.starts_with(hidden)) {
            return;
        }
        if !self.hidden.iter().any(|hidden| hidden.starts_with(path)) {
            self.paths.push((path.to_owned(), right));
            return;
        }
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            // What a link leads to is granted by its own name, or not at all.
            if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
                self.grant(&entry.path(), right);
            }
        }
    }

    fn into_ruleset(self) -> Result<Ruleset, LaunchError> {
        let (handled, size) = ruleset::handled(LANDLOCK_NEEDED);
        let paths = self.paths.into_iter().map(|(path, right)| {
            let right = if path.is_dir() {
                right
            } else {
                right & access::FILE
            };
            Ok((recipe::c_string(path, "a path")?, right & handled))
        });
        Ok(Ruleset {
            attributes: RulesetAttributes {
                handled_access_fs: handled,
                handled_access_net: 0,
                scoped: access::SCOPES,
            },
            size,
            paths: paths.collect::<Result<_, LaunchError>>()?,
            workspace: None,
        })
    }
}

fn enforcement(network: &NetworkAccess) -> Enforcement {
    let missing = [
        "namespaces: there are none here, so Landlock and the system call filter confined the command alone",
        "processes: the host's are visible by name; what the command left running was searched for and ended",
        "files: names and sizes of all of the host's are visible; times and modes of what it may read can be changed",
        "temporary files: their size is not limited",
    ];
    Enforcement {
        user_namespace: Level::Absent,
        mount: Level::Absent,
        pid: Level::Absent,
        network: match network {
            // The filter refuses every socket.
            NetworkAccess::None => Level::Partial,
            NetworkAccess::Host | NetworkAccess::Allow(_) => Level::Absent,
        },
        seccomp: Level::Full,
        landlock: Level::Full,
        cgroup: CgroupKind::Absent,
        missing: missing.map(str::to_owned).to_vec(),
    }
}
