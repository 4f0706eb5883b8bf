//! A workspace to try things in, and a launcher that collects what happens.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use sandbox_isolation::{
    BaseProfile, Cancellation, Confinement, Ended, KernelLauncher, LaunchError, LaunchPlan,
    Launcher as _, Observer, SeccompProfile, StdinSource, View, WorkspaceMode,
};
use sandbox_types::{CgroupPaths, ExitReason, LimitKind, Limits, NetworkAccess, Stream};

/// How long a test waits for something that should be there at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a workspace and a home in it.
pub(crate) struct Lab {
    base: PathBuf,
    /// Removes it at the end, unless another process does.
    directory: Option<tempfile::TempDir>,
    pub(crate) plan: Option<LaunchPlan>,
}

/// What a run printed and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) ticks: u64,
    pub(crate) end_at_tick: Option<LimitKind>,
}

impl Observer for Collect {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
        }
    }

    fn tick(&mut self, _: &CgroupPaths) -> Option<LimitKind> {
        self.ticks += 1;
        self.end_at_tick
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("iso-").tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        let mut lab = Self::at(base);
        lab.directory = Some(directory);
        lab
    }

    /// Returns a lab in a directory that another process made and removes.
    pub(crate) fn at(base: PathBuf) -> Self {
        for name in ["workspace", "home", "layers/upper", "layers/work"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        let workspace = base.join("workspace");
        let plan = LaunchPlan {
            name: base.file_name().unwrap().to_string_lossy().into_owned(),
            argv: Vec::new(),
            env: vec![
                ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
                ("HOME".into(), base.join("home").into()),
            ],
            workspace_mode: WorkspaceMode::Direct,
            cwd: workspace.clone(),
            workspace,
            view: View {
                home: base.join("home"),
                search_path: OsString::new(),
                toolchains: Vec::new(),
                secrets: Vec::new(),
                read: Vec::new(),
                write: Vec::new(),
                hide: Vec::new(),
            },
            network: NetworkAccess::None,
            seccomp: SeccompProfile::built_in(BaseProfile::Default),
            confinement: Confinement::Namespaces,
            limits: Limits::default(),
            host_ids: 2_000_000,
            stdin: StdinSource::Empty,
        };
        Self {
            base,
            directory: None,
            plan: Some(plan),
        }
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.base.clone()
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.base().join("workspace")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.base().join("home")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.base().join("layers/upper")
    }

    /// Changes the plan of the next run.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut LaunchPlan)) -> Self {
        change(self.plan.as_mut().unwrap());
        self
    }

    pub(crate) fn overlay(self) -> Self {
        let layers = self.base().join("layers");
        self.with(|plan| {
            plan.workspace_mode = WorkspaceMode::Overlay {
                upper: layers.join("upper"),
                work: layers.join("work"),
            };
        })
    }

    /// Writes a file below the lab's directory.
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        let path = self.base().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn sh(&mut self, script: &str) -> Outcome {
        self.run(&["sh", "-c", script])
    }

    pub(crate) fn run(&mut self, argv: &[&str]) -> Outcome {
        self.try_run(argv, Collect::default()).unwrap()
    }

    pub(crate) fn try_run(
        &mut self,
        argv: &[&str],
        mut collect: Collect,
    ) -> Result<Outcome, LaunchError> {
        let mut plan = self.plan.take().expect("one run a lab");
        plan.argv = argv.iter().map(Into::into).collect();
        let mut running = KernelLauncher::new().launch(plan)?;
        let ended = running.wait(&mut collect, &Cancellation::new())?;
        running.release()?;
        Ok(Outcome {
            ended,
            stdout: String::from_utf8_lossy(&collect.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&collect.stderr).into_owned(),
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.directory.is_some() {
            // The overlay's own directories are closed to everybody; so they could not be removed.
            for own in [
                "work/work",
                "work/work/incompat",
                "work/work/incompat/volatile",
            ] {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
                fs::set_permissions(self.base.join("layers").join(own), mode).ok();
            }
        }
    }
}

impl Outcome {
    pub(crate) fn exit(&self) -> ExitReason {
        self.ended.exit
    }

    /// Asserts success and returns what was printed.
    pub(crate) fn output(&self) -> &str {
        assert_eq!(self.exit(), ExitReason::Exited(0), "{self:#?}");
        self.stdout.trim_end()
    }
}

/// Runs `script` without any confinement: the control.
#[expect(
    clippy::disallowed_methods,
    reason = "a control runs outside of the sandbox on purpose"
)]
pub(crate) fn outside(script: &str, directory: &Path) -> (bool, String) {
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(directory)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned();
    (output.status.success(), stdout)
}

/// Returns whether `condition` holds; if not, says so, or fails where everything was promised.
#[expect(
    clippy::disallowed_methods,
    reason = "the promise is made by an environment variable"
)]
pub(crate) fn needs(condition: bool, what: &str) -> bool {
    if !condition {
        let required = std::env::var("SANDBOX_TEST_REQUIRE").is_ok_and(|value| value == "all");
        assert!(!required, "this test needs {what}");
        eprintln!("SKIPPED: this test needs {what}");
    }
    condition
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Returns whether a process with `marker` among its arguments lives.
pub(crate) fn is_alive(marker: &str) -> bool {
    let lists = fs::read_dir("/proc").unwrap().flatten();
    lists
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|list| {
            list.split(|&byte| byte == 0)
                .any(|word| word == marker.as_bytes())
        })
}
