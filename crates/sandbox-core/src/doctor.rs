//! What this kernel and user can enforce, what is missing, and the one command that provides it.
//!
//! Files tell what is configured; a command that was really confined tells what works. Both are
//! needed: the caller runs one and hands its [`Enforcement`] in.

use std::fs;

use sandbox_isolation::{KernelFacts, landlock_abi, probe_kernel};
use sandbox_types::{CgroupKind, Enforcement, Level};
use serde::Serialize;

/// The first version of Landlock that also confines signals and abstract sockets (Linux 6.12).
const LANDLOCK_ABI_WITH_SCOPES: u32 = 6;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The kernel's release.
    pub kernel: String,
    /// The version of its Landlock interface.
    pub landlock_abi: Option<u32>,
    /// Every protection, the most basic first.
    pub protections: Vec<Protection>,
}

/// One protection.
#[derive(Clone, Debug, Serialize)]
pub struct Protection {
    /// What is protected, in words.
    pub name: &'static str,
    /// By which mechanism.
    pub by: String,
    /// How fully.
    pub level: Level,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The one command that provides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Diagnosis {
    /// Returns whether a command can be confined here, with or without limits of resources.
    pub fn can_confine(&self) -> bool {
        let basic = self.protections.iter().take(BASIC_PROTECTIONS);
        basic.clone().count() == BASIC_PROTECTIONS
            && basic.clone().all(|it| it.level == Level::Full)
    }
}

/// The first protections of [`diagnose`]: without one of them there is no sandbox.
const BASIC_PROTECTIONS: usize = 5;

/// Returns what is enforced here. `trial` is the enforcement of a command that was really run;
/// `None` if none could be run.
pub fn diagnose(trial: Option<&Enforcement>) -> Diagnosis {
    let kernel = probe_kernel();
    let abi = landlock_abi();
    let held = |level: fn(&Enforcement) -> Level| trial.map_or(Level::Absent, level);
    let mut protections = vec![
        user_namespace(&kernel, held(|it| it.user_namespace)),
        Protection {
            name: "files outside of the workspace",
            by: "mount namespace with an allow-list view".to_owned(),
            level: held(|it| it.mount),
            missing: (!kernel.overlay)
                .then(|| "the kernel has no overlayfs: no transactions, no undo".to_owned()),
            remedy: (!kernel.overlay).then(|| "modprobe overlay".to_owned()),
        },
        simple("other processes", "pid namespace", held(|it| it.pid)),
        simple("network", "network namespace", held(|it| it.network)),
        Protection {
            name: "system calls",
            by: "seccomp filter".to_owned(),
            level: held(|it| it.seccomp),
            missing: (!kernel.seccomp).then(|| "the kernel has no seccomp filters".to_owned()),
            remedy: (!kernel.seccomp).then(|| "use a kernel with CONFIG_SECCOMP_FILTER".to_owned()),
        },
        landlock(abi, held(|it| it.landlock)),
    ];
    protections.extend(limits(&kernel, trial));
    Diagnosis {
        kernel: kernel.release,
        landlock_abi: abi,
        protections,
    }
}

fn simple(name: &'static str, by: &str, level: Level) -> Protection {
    Protection {
        name,
        by: by.to_owned(),
        level,
        missing: None,
        remedy: None,
    }
}

fn user_namespace(kernel: &KernelFacts, level: Level) -> Protection {
    let obstacle = kernel.user_namespaces.as_ref().err();
    Protection {
        missing: obstacle.map(|it| it.reason.clone()),
        remedy: obstacle.map(|it| it.remedy.clone()),
        ..simple("ids and capabilities", "user namespace", level)
    }
}

fn landlock(abi: Option<u32>, level: Level) -> Protection {
    let missing = match abi {
        None => Some("the kernel has no Landlock, or it is switched off at boot".to_owned()),
        Some(abi) if abi < LANDLOCK_ABI_WITH_SCOPES => Some(format!(
            "version {abi} does not confine signals and abstract sockets"
        )),
        Some(_) => None,
    };
    let remedy = missing.as_ref().map(|_| match abi {
        None => "add landlock to the kernel's boot option lsm=".to_owned(),
        Some(_) => "use Linux 6.12 or later".to_owned(),
    });
    let by = abi.map_or_else(
        || "Landlock".to_owned(),
        |abi| format!("Landlock, version {abi}"),
    );
    Protection {
        name: "files, the second wall",
        by,
        level,
        missing,
        remedy,
    }
}

/// One protection for each controller, after what is really in place.
fn limits(kernel: &KernelFacts, trial: Option<&Enforcement>) -> Vec<Protection> {
    let kind = trial.map_or(CgroupKind::Absent, |it| it.cgroup);
    let hierarchy = match kind {
        CgroupKind::V2 => "cgroup v2",
        CgroupKind::V1 => "cgroup v1",
        CgroupKind::Hybrid => "cgroup v1 and v2",
        CgroupKind::Absent => "cgroup",
    };
    let protection = |controller: &str, level, missing, remedy| Protection {
        name: match controller {
            "memory" => "memory limit",
            "cpu" => "CPU limit",
            "pids" => "process limit",
            _ => "other limit",
        },
        by: format!("{hierarchy}, controller {controller}"),
        level,
        missing,
        remedy,
    };
    let unified = fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false);
    let usable = kernel.cgroup.usable.iter().map(|controller| {
        let level = if kind == CgroupKind::Absent {
            Level::Absent
        } else {
            Level::Full
        };
        protection(controller, level, None, None)
    });
    let unusable = kernel.cgroup.unusable.iter().map(|(controller, reason)| {
        // systemd hands controllers of version 2 to users; those of version 1 belong to root.
        let remedy = if unified {
            "systemd-run --user --scope -p Delegate=yes sandbox run …"
        } else {
            "sudo sandbox run …"
        };
        let remedy = remedy.to_owned();
        protection(
            controller,
            Level::Absent,
            Some(reason.clone()),
            Some(remedy),
        )
    });
    usable.chain(unusable).collect()
}
