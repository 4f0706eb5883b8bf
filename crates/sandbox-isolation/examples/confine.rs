//! Confines one command: `confine <workspace> <command> [argument…]`.
#![expect(
    clippy::disallowed_methods,
    reason = "an example takes its own environment"
)]

use std::{env, error::Error, io::Write as _, path::Path};

use sandbox_isolation::{
    Cancellation, KernelLauncher, LaunchPlan, Launcher as _, Observer, StdinSource, View,
    WorkspaceMode,
};
use sandbox_types::{CgroupPaths, LimitKind, Limits, NetworkAccess, Stream};

struct Print;

impl Observer for Print {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let written = match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
        drop(written);
    }

    fn tick(&mut self, _: &CgroupPaths) -> Option<LimitKind> {
        None
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let workspace = Path::new(&arguments.next().ok_or("no workspace")?).canonicalize()?;
    let plan = LaunchPlan {
        name: format!("example-{}", std::process::id()),
        argv: arguments.collect(),
        env: env::vars_os()
            .filter(|(key, _)| key == "PATH" || key == "HOME")
            .collect(),
        workspace: workspace.clone(),
        workspace_mode: WorkspaceMode::Direct,
        cwd: workspace,
        view: View {
            home: env::home_dir().unwrap_or_default(),
            search_path: env::vars_os()
                .find(|(key, _)| key == "PATH")
                .unwrap_or_default()
                .1,
            toolchains: Vec::new(),
            secrets: Vec::new(),
            read: Vec::new(),
            write: Vec::new(),
            hide: Vec::new(),
        },
        network: NetworkAccess::None,
        limits: Limits::default(),
        host_ids: 1_000_000,
        stdin: StdinSource::Empty,
    };
    let ended = KernelLauncher::new()
        .launch(plan)?
        .wait(&mut Print, &Cancellation::new())?;
    writeln!(std::io::stderr(), "{ended:#?}")?;
    Ok(())
}
