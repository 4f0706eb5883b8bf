//! A launcher whose processes do what a test says.

use std::{
    cell::Cell,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sandbox_isolation::{
    Cancellation, Ended, LaunchError, LaunchPlan, Launcher, Observer, Prepared, Running,
    WorkspaceMode,
};
use sandbox_types::{CgroupPaths, Enforcement, ExitReason, ProcessUsage};

pub(super) type Guest = Box<dyn Fn(&Path) + Send + Sync>;

thread_local! {
    /// How many confinements of this test are built and not launched.
    pub(super) static BUILT: Cell<usize> = const { Cell::new(0) };
}

/// A launcher whose processes do what the test says, and end as it says. `None` cannot launch.
pub(super) struct Scripted {
    pub(super) guest: Arc<Guest>,
    pub(super) exit: Option<ExitReason>,
    pub(super) launched: Arc<AtomicUsize>,
}

/// What a [`Scripted`] launcher has built: nothing happens before its launch.
struct ScriptedPlan {
    guest: Arc<Guest>,
    exit: ExitReason,
    launched: Arc<AtomicUsize>,
    plan: LaunchPlan,
}

impl std::fmt::Debug for ScriptedPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedPlan")
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

#[derive(Debug)]
struct ScriptedProcess(ExitReason);

impl Launcher for Scripted {
    fn prepare(&self, plan: LaunchPlan) -> Result<Box<dyn Prepared>, LaunchError> {
        let Some(exit) = self.exit else {
            self.launched.fetch_add(1, Ordering::SeqCst);
            return Err(LaunchError::new(
                "enter the user namespace",
                std::io::Error::from_raw_os_error(1),
            ));
        };
        BUILT.set(BUILT.get() + 1);
        Ok(Box::new(ScriptedPlan {
            guest: Arc::clone(&self.guest),
            exit,
            launched: Arc::clone(&self.launched),
            plan,
        }))
    }
}

impl Drop for ScriptedPlan {
    fn drop(&mut self) {
        BUILT.set(BUILT.get() - 1);
    }
}

impl Prepared for ScriptedPlan {
    fn launch(self: Box<Self>) -> Result<Box<dyn Running>, LaunchError> {
        self.launched.fetch_add(1, Ordering::SeqCst);
        let WorkspaceMode::Overlay { upper, .. } = &self.plan.workspace_mode else {
            panic!("the tests run in transactions");
        };
        (self.guest)(upper);
        Ok(Box::new(ScriptedProcess(self.exit)))
    }
}

impl Running for ScriptedProcess {
    fn root_pid(&self) -> u32 {
        0
    }

    fn cgroups(&self) -> CgroupPaths {
        CgroupPaths::default()
    }

    fn wait(&mut self, _: &mut dyn Observer, _: &Cancellation) -> Result<Ended, LaunchError> {
        Ok(Ended {
            exit: self.0,
            usage: ProcessUsage::default(),
            network: None,
            limits_reached: Vec::new(),
            violations: Vec::new(),
            enforcement: Enforcement::default(),
        })
    }
}
