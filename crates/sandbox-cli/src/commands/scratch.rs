//! A temporary place with a sandbox of its own: workspace, data and home, all removed at the end.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
};

use sandbox_core::{
    HeldChanges, Home, Host, MissingWorkspace, NewSandbox, Overrides, SandboxCore, SandboxRecord,
    WorkspaceFate,
};
use sandbox_types::SandboxConfig;

use crate::failure::{Failure, Kind};

/// How many names are tried before giving up.
const NAMES_TRIED_MAX: u32 = 100;

/// The place. Dropping it removes it too, without saying what could not be removed.
#[derive(Debug)]
pub(crate) struct Scratch {
    root: PathBuf,
    home: Home,
    removed: bool,
}

impl Scratch {
    /// Makes a place in the first directory where transactions are possible.
    pub(crate) fn new(host: &Host, purpose: &str) -> Result<Self, Failure> {
        let temporary = host
            .variable("TMPDIR")
            .map(PathBuf::from)
            .filter(|it| it.is_absolute());
        let candidates = temporary
            .into_iter()
            .chain(["/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from))
            .chain([host.home.clone()]);
        let mut failure =
            Failure::new(Kind::Sandbox, "cannot find a place for a temporary sandbox");
        for directory in candidates {
            match Self::inside(&directory, host, purpose) {
                Ok(scratch) => return Ok(scratch),
                Err(reason) => failure
                    .causes
                    .push(format!("{}: {reason}", directory.display())),
            }
        }
        Err(failure.hint("set TMPDIR to a directory of yours on ext4, xfs, btrfs or tmpfs"))
    }

    fn inside(directory: &Path, host: &Host, purpose: &str) -> Result<Self, String> {
        let directory = fs::canonicalize(directory).map_err(|error| error.to_string())?;
        let root = make_unique(&directory, purpose).map_err(|error| error.to_string())?;
        let mut host = host.clone();
        host.data = root.join("data");
        host.home = root.join("home");
        // Nobody's settings may change what is shown.
        host.system_config = root.join("no-such-file");
        host.user_config = root.join("no-such-file");
        host.variables
            .retain(|(name, _)| !name.starts_with("SANDBOX_"));
        let scratch = Self {
            root,
            home: Home::new(host),
            removed: false,
        };
        for directory in [scratch.workspace(), scratch.user_home()] {
            fs::create_dir(directory).map_err(|error| error.to_string())?;
        }
        let config = SandboxConfig::default();
        let plan = scratch
            .home
            .plan(NewSandbox {
                name: None,
                workspace: &scratch.workspace(),
                missing: MissingWorkspace::Refuse,
                config: &config,
            })
            .map_err(|error| error.to_string())?;
        match plan.record.no_layers_because {
            None => Ok(scratch),
            Some(reason) => Err(reason),
        }
    }

    /// The directory that holds all of it.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.root.join("workspace")
    }

    /// What the sandbox takes for the user's home directory.
    pub(crate) fn user_home(&self) -> PathBuf {
        self.root.join("home")
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Makes the sandbox for the workspace.
    pub(crate) fn create(&self) -> Result<SandboxRecord, Failure> {
        let config = SandboxConfig::default();
        let workspace = self.workspace();
        Ok(self.home.create(NewSandbox {
            name: None,
            workspace: &workspace,
            missing: MissingWorkspace::Refuse,
            config: &config,
        })?)
    }

    pub(crate) fn open(&self, record: SandboxRecord) -> Result<SandboxCore, Failure> {
        Ok(self.home.open(record, &Overrides::default())?.0)
    }

    /// Removes everything, and says what could not be removed.
    pub(crate) fn remove(mut self) -> Result<(), Failure> {
        self.removed = true;
        self.remove_all()
    }

    fn remove_all(&self) -> Result<(), Failure> {
        for record in self.home.list()? {
            self.home
                .destroy(&record, WorkspaceFate::Keep, HeldChanges::Lose)?;
        }
        fs::remove_dir_all(&self.root).map_err(|error| {
            Failure::of(Kind::Sandbox, &error)
                .while_doing(format!("cannot remove {}", self.root.display()))
                .hint("remove it by hand")
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.removed {
            // Only after another failure, which is the one that is told.
            let _removed = self.remove_all();
        }
    }
}

fn make_unique(directory: &Path, purpose: &str) -> io::Result<PathBuf> {
    let id = process::id();
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for n in 0..NAMES_TRIED_MAX {
        let root = directory.join(format!("sandbox-{purpose}-{id}-{n}"));
        match fs::DirBuilder::new().mode(0o700).create(&root) {
            Ok(()) => return Ok(root),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
