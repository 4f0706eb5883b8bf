//! What was typed and the surroundings, with their meaning worked out: which sandbox, which home.

use std::{
    env, fs,
    path::{Component, Path, PathBuf},
};

use sandbox_core::{
    CreateError, FindError, Home, Host, MissingWorkspace, NewSandbox, OpenError, Overrides,
    RecoveryReport, SandboxCore, SandboxRecord,
};
use sandbox_types::{SandboxConfig, SandboxName};

use crate::{
    args::GlobalArgs,
    failure::{Failure, Kind},
    ui::{Colour, Form, Ui, Words, inline},
};

/// The home directory of a user who has none, as /etc/passwd has it on Debian.
const NO_HOME: &str = "/nonexistent";

/// The program's surroundings. Making it touches no file.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) ui: Ui,
    pub(crate) host: Host,
    name: Option<SandboxName>,
}

/// A sandbox, and whether it was made just now.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) record: SandboxRecord,
    pub(crate) made: bool,
}

impl Settings {
    pub(crate) fn new(typed: GlobalArgs) -> Self {
        let host = Host::from_environment();
        let is_dumb = host.variable("TERM") == Some("dumb");
        let no_colour = is_dumb || host.variable("NO_COLOR").is_some_and(|it| !it.is_empty());
        let ui = Ui {
            form: if typed.json { Form::Json } else { Form::Text },
            words: if typed.quiet {
                Words::None
            } else {
                Words::Some
            },
            colour: if no_colour {
                Colour::Never
            } else {
                Colour::OnTerminals
            },
        };
        Self {
            ui,
            host,
            name: typed.sandbox,
        }
    }

    /// Returns the name that was typed, or that `SANDBOX_NAME` has.
    pub(crate) fn name(&self) -> Result<Option<SandboxName>, Failure> {
        if let Some(name) = &self.name {
            return Ok(Some(name.clone()));
        }
        let Some(text) = self
            .host
            .variable("SANDBOX_NAME")
            .filter(|text| !text.is_empty())
        else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error| {
            Failure::of(Kind::Usage, &error)
                .while_doing("cannot use the environment variable SANDBOX_NAME")
                .hint("unset SANDBOX_NAME, or set it to a name that `sandbox list` shows")
        })
    }

    /// Returns the caller's sandboxes.
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        if !Path::new("/proc/self").exists() {
            return Err(Failure::new(
                Kind::Sandbox,
                "no /proc is mounted here, and nothing can be confined without it",
            )
            .hint("mount it: mount -t proc proc /proc"));
        }
        let mut host = self.host.clone();
        if host.data.starts_with(NO_HOME) {
            return Err(Failure::new(Kind::Config, "there is no home directory to keep data in")
                .hint("set HOME, or SANDBOX_HOME to a directory of your own in which nobody else can write"));
        }
        if host.data.is_relative() {
            return Err(Failure::new(
                Kind::Config,
                format!("SANDBOX_HOME is '{}', which is another place in each directory", host.data.display()),
            )
            .hint("give an absolute path: a relative one would have other sandboxes wherever you stand"));
        }
        host.data = without_parents(&host.data);
        Ok(Home::new(host))
    }

    /// Returns the sandbox that was named, else the one of the current directory.
    pub(crate) fn find(&self, home: &Home) -> Result<SandboxRecord, Failure> {
        if let Some(name) = self.name()? {
            return Ok(home.find(&name)?);
        }
        let here = current_directory()?;
        home.find_here(&here).map_err(|error| {
            let is_none = matches!(error, FindError::NoneHere { .. });
            let moved = home.find_moved(&here).filter(|_| is_none);
            let failure = Failure::from(error);
            moved
                .iter()
                .fold(failure, |failure, it| failure.hint(was_moved(it)))
        })
    }

    /// Returns the sandbox for a run: named, or of `directory` (else the current one), which gets
    /// one if it has none.
    pub(crate) fn find_or_create(
        &self,
        home: &Home,
        directory: Option<&Path>,
        overrides: &Overrides,
    ) -> Result<Found, Failure> {
        let found = |record| Found {
            record,
            made: false,
        };
        let named = match directory {
            // What was typed is stronger than a variable.
            Some(_) => self.name.clone(),
            None => self.name()?,
        };
        if let Some(name) = named {
            let record = home.find(&name)?;
            if let Some(directory) = directory {
                belongs(directory, &record)?;
            }
            return Ok(found(record));
        }
        let directory = match directory {
            Some(directory) => absolute(directory)?,
            None => current_directory()?,
        };
        // What is no directory has no sandbox; making one says what is wrong with it.
        if directory.is_dir() {
            match home.find_here(&directory) {
                Ok(record) => return Ok(found(record)),
                Err(FindError::NoneHere { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // A wrong configuration must not leave a sandbox behind.
        home.effective_config(None, overrides)?;
        let config = SandboxConfig::default();
        // Planning looks at everything and makes nothing, not even our own directory.
        let request = NewSandbox {
            name: None,
            workspace: &directory,
            missing: MissingWorkspace::Refuse,
            config: &config,
        };
        let made = match home.plan(request.clone()) {
            Ok(_) => home.create(request),
            Err(error) => Err(error.into()),
        };
        match made {
            Ok(record) => {
                if let Some(moved) = &home.find_moved(&record.workspace) {
                    self.ui
                        .insist(&format!("sandbox: {}", inline(&was_moved(moved))));
                }
                Ok(Found { record, made: true })
            }
            // Another run made one at the same time.
            Err(OpenError::Create(CreateError::WorkspaceTaken { .. })) => {
                Ok(found(home.find_here(&directory)?))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the sandbox that was named, else the one of the current directory.
    pub(crate) fn open(&self) -> Result<SandboxCore, Failure> {
        self.open_with(&Overrides::default())
    }

    /// Like [`Settings::open`], with a configuration that the caller adds.
    pub(crate) fn open_with(&self, overrides: &Overrides) -> Result<SandboxCore, Failure> {
        let home = self.home()?;
        let record = self.find(&home)?;
        self.open_record(&home, record, overrides)
    }

    /// Opens the sandbox that was named, else the one of the current directory, to read about it.
    pub(crate) fn open_to_read(&self) -> Result<SandboxCore, Failure> {
        let home = self.home()?;
        let record = self.find(&home)?;
        let (core, recovery) = home.open_to_read(record, &Overrides::default())?;
        self.tell(&recovery);
        Ok(core)
    }

    /// Opens the sandbox that was named, else the one of the current directory, and settles nothing.
    pub(crate) fn open_to_examine(&self) -> Result<SandboxCore, Failure> {
        let home = self.home()?;
        let record = self.find(&home)?;
        Ok(home.open_to_examine(record, &Overrides::default())?)
    }

    /// Opens a sandbox, and says what was settled in it.
    pub(crate) fn open_record(
        &self,
        home: &Home,
        record: SandboxRecord,
        overrides: &Overrides,
    ) -> Result<SandboxCore, Failure> {
        for file in home.ignored_configuration(Some(&record)) {
            self.ui.note(&format!(
                "sandbox: {} is ignored: commands of a sandbox can change it, because it lies in a workspace",
                inline(&file.to_string_lossy())
            ));
        }
        let (core, recovery) = home.open(record, overrides)?;
        self.tell(&recovery);
        Ok(core)
    }

    fn tell(&self, recovery: &RecoveryReport) {
        for id in &recovery.interrupted {
            self.ui.note(&format!(
                "sandbox: {id} was killed; its changes were dropped"
            ));
        }
        for id in &recovery.completed {
            self.ui.note(&format!(
                "sandbox: {id} was killed while it committed; its changes are in the workspace"
            ));
        }
        for (what, ids) in [("undo", &recovery.undone), ("redo", &recovery.redone)] {
            for id in ids {
                self.ui.note(&format!(
                    "sandbox: the {what} of {id} was interrupted; it is finished now"
                ));
            }
        }
        for id in &recovery.reversed {
            self.ui.note(&format!(
                "sandbox: what was interrupted could not be finished; {id} is as before"
            ));
        }
    }
}

/// Says that a directory had a sandbox where it was, and how to go on.
fn was_moved(record: &SandboxRecord) -> String {
    let name = &record.name;
    format!(
        "this directory belonged to the sandbox '{name}' when it was {}: its undo sets, snapshots and secrets are there again once it is moved back; `sandbox destroy {name}` gives them up",
        record.workspace.display()
    )
}

/// Refuses a directory that was named together with a sandbox and is not in its workspace.
fn belongs(directory: &Path, record: &SandboxRecord) -> Result<(), Failure> {
    let directory = absolute(directory)?;
    let (name, workspace) = (&record.name, record.workspace.display());
    let canonical = fs::canonicalize(&directory).map_err(|error| {
        Failure::of(Kind::Usage, &error)
            .while_doing(format!("cannot use the directory {}", directory.display()))
            .hint(format!("the workspace of '{name}' is {workspace}"))
    })?;
    if canonical.starts_with(&record.workspace) {
        return Ok(());
    }
    let directory = canonical.display();
    Err(Failure::new(
        Kind::Usage,
        format!("{directory} does not lie in the workspace of '{name}', which is {workspace}"),
    )
    .hint("give either -w DIR or -s NAME"))
}

/// Returns the directory where the user stands.
pub(crate) fn current_directory() -> Result<PathBuf, Failure> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    env::current_dir().map_err(|error| {
        Failure::of(Kind::Usage, &error)
            .while_doing("cannot tell the current directory")
            .hint("it may have been removed: go to one that exists")
    })
}

/// Returns where the file really lies that is to be made at a typed path: no link of a command chooses that.
pub(crate) fn place_of_new(home: &Home, path: &Path) -> Result<PathBuf, Failure> {
    let path = absolute(path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(path);
    };
    match home.real_path(parent) {
        Ok(parent) => Ok(parent.join(name)),
        Err(error) => Err(Failure::of(Kind::Usage, &error)
            .while_doing(format!("cannot write {}", path.display()))
            .hint("name a file in a directory that no link of a workspace leads to")),
    }
}

/// Returns a path without `..`, as the kernel goes it: the parent of what a link leads to is another one.
fn without_parents(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain = fs::canonicalize(&plain).unwrap_or(plain);
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// Returns a typed path as an absolute one, without looking at the file system.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    Ok(current_directory()?.join(path))
}
