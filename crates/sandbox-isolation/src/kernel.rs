//! What this kernel and its settings offer, from files alone: what `sandbox doctor` starts with.
//!
//! Files tell what is configured, not what works; only an attempt proves that.

mod advice;

use std::{fs, path::Path};

use sandbox_types::CgroupKind;

pub use advice::{Advice, WeakenedWall, advice};

use crate::cgroup::{self, Controller, Hierarchies, Version};

/// What the kernel offers to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// As `uname -r` prints it.
    pub release: String,
    /// Whether this process may make user namespaces.
    pub user_namespaces: Result<(), Obstacle>,
    /// Whether overlay file systems are there (they may still be a module that is not loaded).
    pub overlay: bool,
    /// Where limits of memory, CPU and processes can be enforced.
    pub cgroup: CgroupFacts,
    /// Whether system call filters can kill and fail calls.
    pub seccomp: bool,
}

/// Why something is not to be had, and what changes that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What stands in the way.
    pub reason: String,
    /// A command, or what to do.
    pub remedy: String,
}

/// Which limits can be enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupFacts {
    /// Where the usable controllers are.
    pub kind: CgroupKind,
    /// The usable controllers' names.
    pub usable: Vec<&'static str>,
    /// The others, and why they are not usable.
    pub unusable: Vec<(&'static str, String)>,
}

/// Says why this process may make no namespaces, and what changes that.
pub(crate) fn advice_on_namespaces() -> String {
    match probe_kernel().user_namespaces {
        Err(Obstacle { reason, remedy }) => format!("{reason}; `{remedy}` (as root) allows namespaces"),
        // No file of the kernel says so.
        Ok(()) => "something else than the kernel's settings forbids namespaces: the container that this runs in, \
                   or a system call filter; in Docker, `--security-opt seccomp=unconfined --security-opt \
                   apparmor=unconfined --security-opt systempaths=unconfined` allows them"
            .to_owned(),
    }
}

/// Reads what this kernel offers to this process.
pub fn probe_kernel() -> KernelFacts {
    let read = |path: &str| fs::read_to_string(path).ok();
    let is_root = rustix::process::geteuid().is_root();
    KernelFacts {
        release: read("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        user_namespaces: obstacle_to_namespaces(advice(Path::new("/"), is_root)),
        overlay: has_overlay(&read("/proc/filesystems").unwrap_or_default()),
        cgroup: cgroup_facts(&cgroup::discover()),
        seccomp: has_seccomp(&read("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default()),
    }
}

fn obstacle_to_namespaces(advice: Vec<Advice>) -> Result<(), Obstacle> {
    let mut first = advice.into_iter();
    match first.find(|advice| advice.wall == WeakenedWall::Namespaces) {
        Some(advice) => Err(advice.obstacle),
        None => Ok(()),
    }
}

fn has_overlay(filesystems: &str) -> bool {
    filesystems
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"))
}

fn has_seccomp(actions: &str) -> bool {
    let actions: Vec<&str> = actions.split_whitespace().collect();
    ["kill_process", "errno", "allow"]
        .iter()
        .all(|needed| actions.contains(needed))
}

fn cgroup_facts(hierarchies: &Hierarchies) -> CgroupFacts {
    let mut facts = CgroupFacts {
        kind: CgroupKind::Absent,
        usable: Vec::new(),
        unusable: Vec::new(),
    };
    for controller in Controller::LIMITING {
        let name = controller.name();
        match hierarchies.version_of(controller) {
            Ok(version) => {
                facts.usable.push(name);
                facts.kind = match (facts.kind, version) {
                    (CgroupKind::Absent | CgroupKind::V1, Version::One) => CgroupKind::V1,
                    (CgroupKind::Absent | CgroupKind::V2, Version::Two) => CgroupKind::V2,
                    (CgroupKind::V1 | CgroupKind::V2 | CgroupKind::Hybrid, _) => CgroupKind::Hybrid,
                };
            }
            Err(reason) => facts.unusable.push((name, reason)),
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_features_are_found_by_their_whole_name() {
        assert!(has_overlay("nodev\tproc\nnodev\toverlay\n\text4\n"));
        assert!(!has_overlay("nodev\toverlayfs\n"));
        assert!(has_seccomp(
            "kill_process kill_thread trap errno user_notif allow\n"
        ));
        assert!(!has_seccomp("kill trap errno allow"));
    }

    #[test]
    fn this_kernel_has_a_release() {
        let facts = probe_kernel();
        assert!(
            facts
                .release
                .starts_with(|first: char| first.is_ascii_digit())
        );
        assert_eq!(facts.cgroup.usable.len() + facts.cgroup.unusable.len(), 3);
    }
}
