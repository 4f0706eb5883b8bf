//! Turns a plan into the flat lists that the children work off.

use std::{
    collections::BTreeSet,
    ffi::{CString, OsStr},
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::process::Resource;
use sandbox_types::{Limits, NetworkAccess};

use super::{caller, error::LaunchError, ruleset};
use crate::{
    child::{
        guest::{Guest, Ruleset},
        step::{Access, Ids, Inode, STAGE_LAYERS, STAGE_LOWER, Step},
    },
    init,
    plan::{Confinement, LaunchPlan, WorkspaceMode},
    seccomp_profile::{Mode, OtherWalls},
    sys::exec::Program,
    view::{Entry, Layout},
};

/// Where programs are looked for if the guest's environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How many files a private temporary file system holds: one for each of so many bytes of its size.
const TMP_BYTES_PER_INODE: u64 = 4096;
const TMP_INODES_MIN: u64 = 1024;

/// The steps of building the view.
pub(crate) struct Steps {
    pub(crate) build: Vec<Step>,
    pub(crate) inner: Vec<Step>,
}

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
    workspace: &fs::Metadata,
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
    let mut inner = Vec::new();
    if let WorkspaceMode::Overlay { upper, work } = &plan.workspace_mode {
        inner.push(build.add_overlay(upper, work)?);
    }
    build.steps.push(Step::Seal);
    inner.extend([Step::Pivot, Step::Proc, Step::Terminals]);
    for path in layout.ways_to_protected(&plan.workspace) {
        inner.push(Step::Hold { at: inside(&path)? });
    }
    for path in &layout.protected {
        inner.push(Step::Protect { at: inside(path)? });
    }
    for path in &layout.hidden {
        inner.push(Step::Hide { at: inside(path)? });
    }
    Ok(Steps {
        build: build.steps,
        inner,
    })
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

    /// Stages both layers and returns the mount itself.
    fn add_overlay(&mut self, upper: &Path, work: &Path) -> Result<Step, LaunchError> {
        let at = inside(&self.plan.workspace)?;
        // A transaction that is not begun yet has no directory: then the one that will hold it is staged.
        let set = upper.parent().filter(|set| work.parent() == Some(set));
        let layers = set.and_then(|set| {
            if set.exists() {
                Some(set)
            } else {
                set.parent()
            }
        });
        let inside = |path: &Path| Some(path.strip_prefix(layers?).ok()?.as_os_str().to_owned());
        let (Some(layers), Some(upper), Some(work)) = (layers, inside(upper), inside(work)) else {
            let source = io::Error::other("its upper and work directories have different parents");
            return Err(LaunchError::new(
                "mount the transaction over the workspace",
                source,
            ));
        };
        let lower = self.workspace(c_string(STAGE_LOWER, "a path")?, Access::Read)?;
        self.steps.push(lower);
        self.steps.push(Step::Bind {
            source: c_string(layers, "the layers")?,
            at: c_string(STAGE_LAYERS, "a path")?,
            access: Access::Write,
            ids: self.shift(Ids::Shift),
        });
        let mut options = format!("lowerdir={STAGE_LOWER},upperdir={STAGE_LAYERS}/").into_bytes();
        options.extend(escape_option(&upper));
        options.extend(format!(",workdir={STAGE_LAYERS}/").into_bytes());
        options.extend(escape_option(&work));
        options.extend(b",userxattr,volatile");
        Ok(Step::Overlay {
            at,
            options: c_string(OsStr::from_bytes(&options), "the layers")?,
        })
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

/// Commas separate options, and a backslash escapes (`fs/overlayfs/params.c`).
fn escape_option(name: &OsStr) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for &byte in name.as_bytes() {
        if matches!(byte, b',' | b'\\' | b':') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}

/// Lays out what makes a process the guest.
pub(crate) fn guest(
    plan: &LaunchPlan,
    layout: &Layout,
    shares_id_with_init: bool,
) -> Result<Guest, LaunchError> {
    Ok(Guest {
        program: program(plan)?,
        directory: c_string(&plan.cwd, "the working directory")?,
        limits: process_limits(&plan.limits, shares_id_with_init),
        landlock: ruleset::of(plan, layout)?,
        filter: plan.seccomp.compile(mode_of(plan)),
        alone: false,
        failure: None,
    })
}

/// The same without namespaces.
pub(crate) fn guest_alone(plan: &LaunchPlan, ruleset: Ruleset) -> Result<Guest, LaunchError> {
    let mut limits = process_limits(&plan.limits, false);
    for (resource, value) in &mut limits {
        if *resource == Resource::Nproc {
            // Counted by user here, with all that runs already.
            *value = value.saturating_add(caller::threads());
        }
    }
    Ok(Guest {
        program: program(plan)?,
        directory: c_string(&plan.cwd, "the working directory")?,
        limits,
        landlock: Some(ruleset),
        filter: plan.seccomp.compile(mode_of(plan)),
        alone: true,
        failure: None,
    })
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
    }
}

fn program(plan: &LaunchPlan) -> Result<Program, LaunchError> {
    let Some(name) = plan.argv.first() else {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(LaunchError::new("execute an empty command", source));
    };
    let candidates = if name.as_bytes().contains(&b'/') {
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
    Ok(Program::new(
        candidates,
        arguments.collect::<Result<_, _>>()?,
        environment.collect::<Result<_, _>>()?,
    ))
}

fn process_limits(limits: &Limits, shares_id_with_init: bool) -> Vec<(Resource, u64)> {
    let mut list = vec![(Resource::Core, 0)];
    if let Some(files) = limits.open_files {
        list.push((Resource::Nofile, files.value));
    }
    if let Some(size) = limits.file_size {
        list.push((Resource::Fsize, size.value.get()));
    }
    if let Some(time) = limits.cpu_time {
        // For one process, in whole seconds, and only if this side is not there to count them all.
        list.push((Resource::Cpu, time.value.as_secs().saturating_add(2)));
    }
    if let Some(processes) = limits.processes {
        // Counted by user id within the guest's own user namespace (since Linux 5.14), so it is a limit of the
        // tree. Our own processes count if they have the guest's id.
        let own = if shares_id_with_init {
            init::PROCESSES
        } else {
            0
        };
        list.push((
            Resource::Nproc,
            u64::from(processes.value.saturating_add(own)),
        ));
    }
    list
}
