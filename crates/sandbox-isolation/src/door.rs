//! The short way in: one command, confined as tightly as can be, with what it printed.

use std::{ffi::OsString, path::PathBuf};

use sandbox_types::{CapturedOutput, CgroupPaths, LimitKind, Limits, NetworkAccess, Stream};

use crate::{
    launch::{Cancellation, Ended, KernelLauncher, LaunchError, Launcher as _, Observer},
    plan::{Confinement, LaunchPlan, StdinSource, View, WorkspaceMode},
    seccomp_profile::{BaseProfile, SeccompProfile},
};

/// What is kept of each stream; the rest is counted.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Host ids for the guests of a root caller, below those that sandbox-core gives to its sandboxes.
const HOST_IDS: u32 = 0x6FFF_0000;

impl LaunchPlan {
    /// Returns the tightest plan for a command: it may read `workspace` (absolute and canonical) and the system's
    /// programs, and change nothing; it has no network, no home and an environment of its own. Loosen what the
    /// command needs, field by field.
    pub fn locked(
        workspace: impl Into<PathBuf>,
        argv: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        let workspace = workspace.into();
        Self {
            name: format!("confined-{}", std::process::id()),
            argv: argv.into_iter().map(Into::into).collect(),
            env: vec![("PATH".into(), SEARCH_PATH.into())],
            workspace_mode: WorkspaceMode::ReadOnly,
            cwd: workspace.clone(),
            workspace,
            view: View {
                home: PathBuf::from("/nonexistent"),
                search_path: OsString::new(),
                toolchains: Vec::new(),
                secrets: Vec::new(),
                read: Vec::new(),
                write: Vec::new(),
                hide: Vec::new(),
            },
            network: NetworkAccess::None,
            seccomp: SeccompProfile::built_in(BaseProfile::Strict),
            confinement: Confinement::Namespaces,
            limits: Limits::default(),
            host_ids: HOST_IDS,
            stdin: StdinSource::Empty,
        }
    }
}

/// What a command printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// On standard output.
    pub stdout: CapturedOutput,
    /// On standard error.
    pub stderr: CapturedOutput,
}

impl Observer for Printed {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let output = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = OUTPUT_BYTES_MAX.saturating_sub(output.data.len());
        output.data.extend(bytes.iter().take(room));
        output.bytes = output
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    fn tick(&mut self, _: &CgroupPaths) -> Option<LimitKind> {
        None
    }
}

impl KernelLauncher {
    /// Runs `plan` to its end, and returns how it ended and what it printed. Nothing that it started is left then.
    ///
    /// # Errors
    ///
    /// Fails if the confinement cannot be built. A command that fails, and one that does not exist, are no errors:
    /// [`Ended::exit`] tells.
    pub fn run(&self, plan: LaunchPlan) -> Result<(Ended, Printed), LaunchError> {
        let mut printed = Printed::default();
        let mut running = self.launch(plan)?;
        let ended = running.wait(&mut printed, &Cancellation::new())?;
        running.release()?;
        Ok((ended, printed))
    }
}
