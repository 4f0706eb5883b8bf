//! Confines one command: `confine <workspace> <command> [argument…]`. It may change the workspace, and nothing else.

use std::{env, error::Error, io::Write as _, path::Path};

use sandbox_isolation::{KernelLauncher, LaunchPlan, WorkspaceMode};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let workspace = Path::new(&arguments.next().ok_or("no workspace")?).canonicalize()?;
    let mut plan = LaunchPlan::locked(workspace, arguments);
    plan.workspace_mode = WorkspaceMode::Direct;
    let (ended, printed) = KernelLauncher::new().run(plan)?;
    std::io::stdout().write_all(&printed.stdout.data)?;
    std::io::stderr().write_all(&printed.stderr.data)?;
    writeln!(
        std::io::stderr(),
        "{:?}, {:#?}",
        ended.exit,
        ended.enforcement
    )?;
    Ok(())
}
