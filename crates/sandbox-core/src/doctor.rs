//! What this kernel and user can enforce, what is missing, and the one command that provides it.
//!
//! Files tell what is configured; a command that was really confined, and attacked the walls from inside, tells what
//! works. Both are needed: the caller runs one and hands its [`Enforcement`] and what it achieved in.

mod attack;
mod remedies;

pub use attack::{Attack, Attacked, NoTargets, Targets, attack};

use sandbox_isolation::{KernelFacts, WeakenedWall, landlock_abi, probe_kernel};
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
    /// The attacks on it. Each failed inside of the sandbox and succeeds outside, or the level is `absent`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<Attacked>,
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
/// `None` if none could be run. `attacks` is what it attempted.
pub fn diagnose(trial: Option<&Enforcement>, attacks: &[Attacked]) -> Diagnosis {
    let kernel = probe_kernel();
    let abi = landlock_abi();
    let held = |level: fn(&Enforcement) -> Level| trial.map_or(Level::Absent, level);
    let mut protections = vec![
        user_namespace(&kernel, held(|it| it.user_namespace)),
        Protection {
            name: "files outside of the workspace",
            by: "mount namespace with an allow-list view".to_owned(),
            level: held(|it| it.mount),
            attacks: Vec::new(),
            missing: None,
            remedy: None,
        },
        simple("other processes", "pid namespace", held(|it| it.pid)),
        simple("network", "network namespace", held(|it| it.network)),
        Protection {
            name: "system calls",
            by: "seccomp filter".to_owned(),
            level: held(|it| it.seccomp),
            attacks: Vec::new(),
            missing: None,
            remedy: None,
        },
        landlock(abi, held(|it| it.landlock)),
        simple(
            "changes until they are kept",
            "overlay file system",
            trial.map_or(Level::Absent, |it| it.mount),
        ),
    ];
    protections.extend(limits(&kernel, trial));
    for protection in &mut protections {
        protection.take(attacks);
    }
    remedies::add(&mut protections);
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
        attacks: Vec::new(),
        missing: None,
        remedy: None,
    }
}

impl Protection {
    /// Takes what is an attack on it. One that succeeded, and one that nobody made, prove no wall.
    fn take(&mut self, attacks: &[Attacked]) {
        let own = attacks
            .iter()
            .filter(|it| target_of(it.attack) == self.name);
        self.attacks.extend(own.copied());
        if self.attacks.iter().any(|it| it.inside) {
            self.level = Level::Absent;
            self.missing = Some("an attack on it succeeded".to_owned());
        }
    }
}

/// Returns the protection that an attack is on.
fn target_of(attack: Attack) -> &'static str {
    match attack {
        Attack::ReadOutside | Attack::WriteOutside => "files outside of the workspace",
        Attack::SignalOther => "other processes",
        Attack::Connect => "network",
        Attack::ForbiddenCall => "system calls",
        Attack::ChangeWorkspace => "changes until they are kept",
        Attack::ReadPastLandlock => "files, the second wall",
    }
}

/// Returns the protection that an obstacle weakens.
fn weakened(wall: WeakenedWall) -> &'static str {
    match wall {
        WeakenedWall::Namespaces => "ids and capabilities",
        WeakenedWall::Proc => "other processes",
        WeakenedWall::Overlay => "changes until they are kept",
        WeakenedWall::Landlock => "files, the second wall",
        WeakenedWall::Seccomp => "system calls",
        WeakenedWall::Limits => "memory limit",
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
        attacks: Vec::new(),
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
        attacks: Vec::new(),
        missing,
        remedy,
    };
    let usable = kernel.cgroup.usable.iter().map(|controller| {
        let level = if kind == CgroupKind::Absent {
            Level::Absent
        } else {
            Level::Full
        };
        protection(controller, level, None, None)
    });
    // Who may not use them at a user's level may at root's.
    let unusable = kernel.cgroup.unusable.iter().map(|(controller, reason)| {
        let remedy = "sudo sandbox run …".to_owned();
        protection(
            controller,
            Level::Absent,
            Some(reason.clone()),
            Some(remedy),
        )
    });
    usable.chain(unusable).collect()
}
