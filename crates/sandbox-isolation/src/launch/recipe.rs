//! Turns a plan into the flat lists that the children work off.

use std::{
    collections::BTreeSet,
    ffi::{CStr, CString, OsStr},
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::process::Resource;
use sandbox_types::{Bytes, Limit, LimitSource, Limits, NetworkAccess};

use super::{caller, error::LaunchError, layers::Layers, ruleset};
use crate::{
    child::{
        guest::{Guest, Ruleset},
        order::Contents,
        step::{Access, Ids, Inode, STAGE_LAYERS, STAGE_LOWER, Step, Steps},
    },
    init,
    plan::{Confinement, LaunchPlan, StdinSource, WorkspaceMode},
    seccomp_profile::{Mode, OtherWalls},
    stdio::terminal::Shape,
    view::{Entry, Layout},
};

/// Where programs are looked for if the guest's environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How many files a private temporary file system holds: one for each of so many bytes of its size.
const TMP_BYTES_PER_INODE: u64 = 4096;
const TMP_INODES_MIN: u64 = 1024;

/// Returns `bytes` for the kernel.
pub(crate) fn c_string(bytes: impl AsRef<OsStr>, what: &str) -> Result<CString, LaunchError> {
    CString::new(bytes.as_ref().as_bytes()).map_err(|error| {
        LaunchError::new(
            format!("pass {what}: it holds a NUL byte"),
            io::Error::from(error),
        )
    })
}

/// A path relative to the new root.
fn inside(path: &Path) -> Result<CString, LaunchError> {
    c_string(path.strip_prefix("/").unwrap_or(path), "a path")
}

/// Lays the steps out.
pub(crate) fn steps(
    plan: &LaunchPlan,
    layout: &Layout,
    ids: &caller::Ids,
    (workspace, when): (&fs::Metadata, When),
) -> Result<Steps, LaunchError> {
    let mut build = Build {
        plan,
        layout,
        ids,
        inode: Inode {
            device: workspace.dev(),
            number: workspace.ino(),
        },
        steps: vec![Step::Private, Step::Root],
        made: BTreeSet::new(),
    };
    for (path, entry) in &layout.entries {
        build.add(path, entry)?;
    }
    let layers = Layers::of(plan)?;
    if let Some(layers) = &layers {
        build.stage(layers)?;
    }
    build.steps.push(Step::Seal);
    let mut inner = vec![Step::Pivot, Step::Proc, Step::Terminals];
    if when == When::Ahead {
        if let (Some(layers), Some(at)) = (&layers, overlay(plan)?) {
            let [upper, work] = layers.names()?;
            inner.push(Step::Overlay { at, upper, work });
        }
        inner.push(Step::LetGo);
    }
    let mut late = Vec::new();
    for path in layout.ways_to_hold(&plan.workspace_mode) {
        late.push(Step::Hold { at: inside(&path)? });
    }
    for path in &layout.protected {
        late.push(Step::Protect { at: inside(path)? });
    }
    for path in &layout.hidden {
        let at = inside(path)?;
        // Nobody outside can change these until the operation starts.
        let is_ours = path.starts_with("/proc");
        let steps = if is_ours { &mut inner } else { &mut late };
        steps.push(Step::Hide { at });
    }
    Ok(Steps {
        build: build.steps,
        inner,
        late,
    })
}

/// Returns where the transaction is mounted, inside.
pub(crate) fn overlay(plan: &LaunchPlan) -> Result<Option<CString>, LaunchError> {
    let is_overlay = matches!(plan.workspace_mode, WorkspaceMode::Overlay { .. });
    let at = is_overlay.then(|| inside(&plan.workspace));
    at.transpose()
}

/// When a confinement is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// For an operation that is known.
    Now,
    /// For one that comes later, perhaps.
    Ahead,
}

/// What a mount needs to be mounted on.
#[derive(Clone, Copy)]
enum MountPoint {
    /// In a host directory that is visible there.
    Exists,
    Directory,
    File,
}

impl MountPoint {
    fn of_directory(exists: bool) -> Self {
        if exists {
            Self::Exists
        } else {
            Self::Directory
        }
    }
}

struct Build<'a> {
    plan: &'a LaunchPlan,
    layout: &'a Layout,
    ids: &'a caller::Ids,
    inode: Inode,
    steps: Vec<Step>,
    made: BTreeSet<PathBuf>,
}

impl Build<'_> {
    fn shift(&self, wanted: Ids) -> Ids {
        if self.ids.mapped { wanted } else { Ids::Host }
    }

    fn add(&mut self, path: &Path, entry: &Entry) -> Result<(), LaunchError> {
        let at = inside(path)?;
        let below_bind = match path.parent().and_then(|parent| self.layout.holder(parent)) {
            Some((_, Entry::Bind { .. })) => true,
            // Nothing can be made below these.
            Some((_, Entry::Link(_) | Entry::File(_) | Entry::Processors | Entry::Workspace)) => {
                return Ok(());
            }
            Some((_, Entry::Temporary { .. } | Entry::Directory)) | None => false,
        };
        if below_bind && !path.exists() {
            return Ok(());
        }
        let directory = MountPoint::of_directory(below_bind);
        match entry {
            Entry::Directory | Entry::Link(_) | Entry::File(_) if below_bind => {}
            Entry::Directory => self.make_directories(path)?,
            Entry::Link(to) => {
                self.make_parents(path)?;
                let to = c_string(to, "a link")?;
                self.steps.push(Step::Link { at, to });
            }
            Entry::File(content) => {
                self.make_parents(path)?;
                let content = content.clone();
                self.steps.push(Step::File { at, content });
            }
            Entry::Temporary { mode } => {
                self.make_mount_point(path, directory)?;
                let options = self.temporary_options(*mode)?;
                self.steps.push(Step::Temporary { at, options });
            }
            Entry::Bind {
                source,
                is_directory,
                access,
                granted,
            } => {
                let is_file = !below_bind && !is_directory;
                let kind = if is_file { MountPoint::File } else { directory };
                self.make_mount_point(path, kind)?;
                let ids = self.shift(match (granted, access) {
                    (true, Access::Write) => Ids::Shift,
                    (true, Access::Read | Access::Device) => Ids::ShiftIfPossible,
                    (false, _) => Ids::Host,
                });
                let (source, access) = (c_string(source, "a path")?, *access);
                self.steps.push(Step::Bind {
                    source,
                    at,
                    access,
                    ids,
                });
            }
            Entry::Processors => {
                self.make_directories(path)?;
                self.steps.push(Step::Processors);
            }
            Entry::Workspace => {
                self.make_mount_point(path, directory)?;
                let access = match self.plan.workspace_mode {
                    WorkspaceMode::Overlay { .. } => return Ok(()),
                    WorkspaceMode::Direct => Access::Write,
                    WorkspaceMode::ReadOnly => Access::Read,
                };
                let step = self.workspace(at, access)?;
                self.steps.push(step);
            }
        }
        Ok(())
    }

    fn workspace(&self, at: CString, access: Access) -> Result<Step, LaunchError> {
        Ok(Step::Workspace {
            source: c_string(&self.plan.workspace, "the workspace")?,
            inode: self.inode,
            at,
            access,
            ids: self.shift(Ids::Shift),
        })
    }

    /// Puts the layers where the overlay will find them.
    fn stage(&mut self, layers: &Layers<'_>) -> Result<(), LaunchError> {
        let lower = self.workspace(c_string(STAGE_LOWER, "a path")?, Access::Read)?;
        self.steps.push(lower);
        self.steps.push(Step::Bind {
            source: c_string(layers.directory, "the layers")?,
            at: c_string(STAGE_LAYERS, "a path")?,
            access: Access::Write,
            ids: self.shift(Ids::Shift),
        });
        Ok(())
    }

    fn temporary_options(&self, mode: u32) -> Result<CString, LaunchError> {
        let (uid, gid) = (self.ids.outside.0.as_raw(), self.ids.outside.1.as_raw());
        // 0 is no limit.
        let size = self.plan.limits.tmp_size.map_or(0, |size| size.value.get());
        // Each file costs the kernel about 1 KiB, also an empty one.
        let inodes = match size {
            0 => 0,
            size => (size / TMP_BYTES_PER_INODE).max(TMP_INODES_MIN),
        };
        c_string(
            format!("mode={mode:o},uid={uid},gid={gid},size={size},nr_inodes={inodes}"),
            "an option",
        )
    }

    fn make_mount_point(&mut self, path: &Path, kind: MountPoint) -> Result<(), LaunchError> {
        match kind {
            MountPoint::Exists => {}
            MountPoint::Directory => self.make_directories(path)?,
            MountPoint::File => {
                self.make_parents(path)?;
                let (at, content) = (inside(path)?, Vec::new());
                self.steps.push(Step::File { at, content });
            }
        }
        Ok(())
    }

    fn make_parents(&mut self, path: &Path) -> Result<(), LaunchError> {
        path.parent()
            .map_or(Ok(()), |parent| self.make_directories(parent))
    }

    /// Makes `path` and what is missing above it, up to the entry that holds it.
    fn make_directories(&mut self, path: &Path) -> Result<(), LaunchError> {
        if path == Path::new("/") || self.made.contains(path) {
            return Ok(());
        }
        let own = self.layout.entries.get(path);
        let is_there = matches!(
            own,
            Some(Entry::Temporary { .. } | Entry::Bind { .. } | Entry::Workspace)
        );
        self.make_parents(path)?;
        // In a private temporary file system, which is the guest's, the directories are the guest's too.
        let in_temporary = path
            .parent()
            .and_then(|parent| self.layout.holder(parent))
            .is_some_and(|(_, holder)| matches!(holder, Entry::Temporary { .. }));
        let owner = (self.ids.mapped && in_temporary && !is_there).then_some(self.ids.outside);
        self.steps.push(Step::Directory {
            at: inside(path)?,
            owner,
        });
        self.made.insert(path.to_owned());
        Ok(())
    }
}

/// Lays out what makes a process the guest, whatever its operation.
pub(crate) fn guest(plan: &LaunchPlan, layout: &Layout) -> Result<Guest, LaunchError> {
    Ok(Guest {
        landlock: ruleset::of(plan, layout)?,
        filter: plan.seccomp.compile(mode_of(plan)),
        alone: false,
        umask: None,
        failure: None,
    })
}

/// The same without namespaces.
pub(crate) fn guest_alone(plan: &LaunchPlan, ruleset: Ruleset) -> Guest {
    Guest {
        landlock: Some(ruleset),
        filter: plan.seccomp.compile(mode_of(plan)),
        alone: true,
        umask: None,
        failure: None,
    }
}

/// Lays out the operation where there are no namespaces.
pub(crate) fn order_alone(plan: &LaunchPlan) -> Result<Vec<u64>, LaunchError> {
    let mut limits = process_limits(plan, false);
    for (resource, value) in &mut limits {
        if *resource == Resource::Nproc {
            // Counted by user here, with all that runs already.
            *value = value.saturating_add(caller::threads());
        }
    }
    let mut contents = Contents {
        directory: c_string(&plan.cwd, "the working directory")?,
        limits,
        overlay: None,
        ..program(plan)?
    };
    if contents.programs.len() > 1 {
        contents
            .programs
            .retain(|program| !is_out_of_reach(program));
    }
    Ok(contents.pack())
}

/// Whether a directory on the way to `program` is closed to this user, who is the guest's too: in such a one it is
/// not looked for. Executing it would fail as if it were there.
fn is_out_of_reach(program: &CStr) -> bool {
    fs::symlink_metadata(OsStr::from_bytes(program.to_bytes()))
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Lays out the operation. Its layers are mounted by now if the confinement is built ahead.
pub(crate) fn order(
    plan: &LaunchPlan,
    shares_id_with_init: bool,
    when: When,
) -> Result<Vec<u64>, LaunchError> {
    let layers = Layers::of(plan)?.filter(|_| when == When::Now);
    let overlay = layers.map(|layers| layers.names());
    let contents = Contents {
        directory: c_string(&plan.cwd, "the working directory")?,
        limits: process_limits(plan, shares_id_with_init),
        overlay: overlay.transpose()?,
        ..program(plan)?
    };
    Ok(contents.pack())
}

/// What the guest writes to the host directly passes no gate that would take its set-user-id bits.
fn mode_of(plan: &LaunchPlan) -> Mode {
    let direct = plan.workspace_mode == WorkspaceMode::Direct;
    Mode {
        writes_to_host: direct || !plan.view.write.is_empty(),
        walls: match plan.confinement {
            Confinement::Namespaces => OtherWalls::Namespaces,
            Confinement::LandlockAlone => OtherWalls::Landlock {
                network: plan.network == NetworkAccess::Host,
            },
        },
        // The kernel allows one listener, and a network that may lead to any port has it.
        tells: plan.confinement == Confinement::Namespaces
            && !matches!(&plan.network, NetworkAccess::Allow(list) if list.has_any_port()),
    }
}

fn program(plan: &LaunchPlan) -> Result<Contents, LaunchError> {
    let Some(name) = plan.argv.first() else {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(LaunchError::new("execute an empty command", source));
    };
    let programs = if name.as_bytes().contains(&b'/') {
        vec![c_string(name, "the program")?]
    } else {
        let path = plan.env.iter().find(|(key, _)| key == "PATH");
        let path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, path)| path);
        std::env::split_paths(path)
            .filter(|directory| directory.is_absolute() && !name.is_empty())
            .map(|directory| c_string(directory.join(name), "the program"))
            .collect::<Result<_, _>>()?
    };
    let arguments = plan
        .argv
        .iter()
        .map(|argument| c_string(argument, "an argument"));
    let environment = plan.env.iter().map(|(key, value)| {
        let mut variable = key.clone();
        variable.push("=");
        variable.push(value);
        c_string(variable, "an environment variable")
    });
    Ok(Contents {
        programs,
        arguments: arguments.collect::<Result<_, _>>()?,
        environment: environment.collect::<Result<_, _>>()?,
        terminal: terminal(plan)?,
        ..Contents::default()
    })
}

/// Looks at the terminal whose like the guest gets.
fn terminal(plan: &LaunchPlan) -> Result<Option<Shape>, LaunchError> {
    let StdinSource::Terminal(source) = &plan.stdin else {
        return Ok(None);
    };
    let shape = Shape::of(source);
    shape
        .map(Some)
        .map_err(|errno| LaunchError::new("ask the caller's terminal for its size and keys", errno))
}

/// How far one file may pass the limit of the disk: enough to be seen by who counts what is written.
const DISK_EXCESS_BYTES: u64 = 64 * 1024;

/// One file alone does not pass a limit of the disk that was asked for by much: fallocate(2) takes gigabytes sooner than
/// anybody looks.
fn file_bytes_max(plan: &LaunchPlan) -> Option<u64> {
    let file = plan.limits.file_size.map(|it| it.value.get());
    // What is written directly is in no transaction, and may be appended to a file that is larger already.
    let has_layers = matches!(plan.workspace_mode, WorkspaceMode::Overlay { .. });
    let disk = disk_asked_for(&plan.limits)
        .filter(|_| has_layers)
        .map(|it| it.value.get().saturating_add(DISK_EXCESS_BYTES));
    file.into_iter().chain(disk).min()
}

/// Returns the limit of the disk that files may not pass. The built-in one leaves sparse files alone, which are larger
/// than what they hold.
pub(crate) fn disk_asked_for(limits: &Limits) -> Option<Limit<Bytes>> {
    limits.disk.filter(|it| it.source == LimitSource::Requested)
}

fn process_limits(plan: &LaunchPlan, shares_id_with_init: bool) -> Vec<(Resource, u64)> {
    let limits = &plan.limits;
    let mut list = vec![(Resource::Core, 0)];
    if let Some(files) = limits.open_files {
        list.push((Resource::Nofile, files.value));
    }
    if let Some(bytes) = file_bytes_max(plan) {
        list.push((Resource::Fsize, bytes));
    }
    if let Some(time) = limits.cpu_time {
        // For one process, in whole seconds, and only if this side is not there to count them all.
        list.push((Resource::Cpu, time.value.as_secs().saturating_add(2)));
    }
    if let Some(processes) = limits.processes {
        // Counted by user id within the guest's own user namespace (since Linux 5.14), so it is a limit of the
        // tree. Our own processes count if they have the guest's id. One more than a cgroup would allow, so that it
        // is the cgroup that refuses where there is one: it tells.
        let own = if shares_id_with_init {
            init::PROCESSES
        } else {
            1
        };
        list.push((
            Resource::Nproc,
            u64::from(processes.value.saturating_add(own)),
        ));
    }
    list
}
