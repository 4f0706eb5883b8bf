//! The short way in, as the front page of the crate shows it.

use std::fs;

use sandbox_isolation::{KernelLauncher, LaunchPlan, WorkspaceMode};
use sandbox_types::ExitReason;

use crate::lab::Lab;

/// As `examples/confine.rs`.
#[test]
fn one_command_is_confined_in_a_few_lines() {
    let lab = Lab::new().file("secret", "s").file("workspace/a", "1");
    let script = "cat a; echo 2 > b; cat ../secret";
    let mut plan = LaunchPlan::locked(lab.workspace(), ["sh", "-c", script]);
    plan.workspace_mode = WorkspaceMode::Direct;
    let (ended, printed) = KernelLauncher::new().run(plan).unwrap();
    assert_eq!(ended.exit, ExitReason::Exited(1), "{ended:#?}");
    assert_eq!(printed.stdout.data, b"1");
    assert!(!printed.stderr.data.is_empty(), "the secret is not there");
    assert_eq!(fs::read(lab.workspace().join("b")).unwrap(), b"2\n");
}

#[test]
fn a_locked_plan_changes_nothing_and_sees_no_home() {
    let lab = Lab::new().file("workspace/a", "1");
    let script = "echo x > a || echo refused; env | grep -c HOME; head -c 3000000 /dev/zero";
    let plan = LaunchPlan::locked(lab.workspace(), ["sh", "-c", script]);
    let (ended, printed) = KernelLauncher::new().run(plan).unwrap();
    assert_eq!(ended.exit, ExitReason::Exited(0), "{ended:#?}");
    assert!(printed.stdout.data.starts_with(b"refused\n0\n"));
    assert_eq!(printed.stdout.bytes, 3_000_010);
    assert!(printed.stdout.truncated());
    assert_eq!(fs::read(lab.workspace().join("a")).unwrap(), b"1");
}
