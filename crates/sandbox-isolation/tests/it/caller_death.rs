//! The caller is killed: nothing of what it runs survives, at whatever moment it dies.

use std::{path::PathBuf, process::Command};

use sandbox_isolation::{Cancellation, KernelLauncher, Launcher as _};

use crate::lab::{Collect, Lab, eventually, is_alive};

const LAB: &str = "SANDBOX_TEST_CALLER_LAB";

/// The caller: does nothing unless it is started by the test below.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent test says what to do by an environment variable"
)]
fn as_caller() {
    let Ok(marker) = std::env::var(LAB) else {
        return;
    };
    let (marker, base) = marker.split_once(' ').unwrap();
    let mut lab = Lab::at(PathBuf::from(base));
    let mut plan = lab.plan.take().unwrap();
    let script = format!("(setsid sleep {marker} &); echo x > ready; exec sleep {marker}");
    plan.argv = ["sh", "-c", &script].map(Into::into).to_vec();
    let mut running = KernelLauncher::new().launch(plan).unwrap();
    drop(running.wait(&mut Collect::default(), &Cancellation::new()));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "starts this test program as the caller that is killed"
)]
fn nothing_survives_the_caller() {
    let lab = Lab::new();
    let marker = format!("9{}", std::process::id());
    let mut caller = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "caller_death::as_caller", "--nocapture"])
        .env(LAB, format!("{marker} {}", lab.base().display()))
        .spawn()
        .unwrap();
    eventually("the guest runs", || {
        lab.workspace().join("ready").exists() && is_alive(&marker)
    });
    caller.kill().unwrap();
    caller.wait().unwrap();
    eventually("the guest is dead", || !is_alive(&marker));
    eventually("its cgroups are removed", || {
        sandbox_isolation::remove_stale_cgroups().is_empty()
    });
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "starts this test program as the caller that is killed"
)]
fn nothing_survives_a_caller_that_dies_while_it_launches() {
    for turn in 0..10_u32 {
        let lab = Lab::new();
        let marker = format!("6{turn}{}", std::process::id());
        let mut caller = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "caller_death::as_caller", "--nocapture"])
            .env(LAB, format!("{marker} {}", lab.base().display()))
            .spawn()
            .unwrap();
        // Somewhere between its first instruction and the guest's.
        std::thread::park_timeout(std::time::Duration::from_millis(u64::from(turn) * 2));
        caller.kill().unwrap();
        caller.wait().unwrap();
        eventually("the guest is dead", || !is_alive(&marker));
    }
    eventually("the cgroups are removed", || {
        sandbox_isolation::remove_stale_cgroups().is_empty()
    });
}
