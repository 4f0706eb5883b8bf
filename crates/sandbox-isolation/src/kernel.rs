//! What this kernel and its settings offer, from files alone: what `sandbox doctor` starts with.
//!
//! Files tell what is configured, not what works; only an attempt proves that.

use std::fs;

use sandbox_types::CgroupKind;

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

/// One setting that may forbid user namespaces.
struct Setting {
    file: &'static str,
    forbids: fn(u64) -> bool,
    /// Whether processes with capabilities are exempt.
    spares_root: bool,
    reason: &'static str,
    remedy: &'static str,
}

const SETTINGS: [Setting; 3] = [
    Setting {
        file: "/proc/sys/user/max_user_namespaces",
        forbids: |value| value == 0,
        spares_root: false,
        reason: "user.max_user_namespaces is 0",
        remedy: "sysctl -w user.max_user_namespaces=65536",
    },
    // Debian's own switch, gone from later kernels.
    Setting {
        file: "/proc/sys/kernel/unprivileged_userns_clone",
        forbids: |value| value == 0,
        spares_root: true,
        reason: "kernel.unprivileged_userns_clone is 0",
        remedy: "sysctl -w kernel.unprivileged_userns_clone=1",
    },
    // Ubuntu 23.10 and later: allowed only for programs with an AppArmor profile that says so.
    Setting {
        file: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        forbids: |value| value != 0,
        spares_root: true,
        reason: "kernel.apparmor_restrict_unprivileged_userns is 1",
        remedy: "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    },
];

/// Reads what this kernel offers to this process.
pub fn probe_kernel() -> KernelFacts {
    let read = |path: &str| fs::read_to_string(path).ok();
    let has_namespaces = fs::exists("/proc/self/ns/user").unwrap_or(false);
    let is_root = rustix::process::geteuid().is_root();
    KernelFacts {
        release: read("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        user_namespaces: if has_namespaces {
            user_namespaces(is_root, read)
        } else {
            Err(Obstacle {
                reason: "the kernel has no user namespaces, or /proc is not mounted".to_owned(),
                remedy: "use a kernel with CONFIG_USER_NS".to_owned(),
            })
        },
        overlay: has_overlay(&read("/proc/filesystems").unwrap_or_default()),
        cgroup: cgroup_facts(&cgroup::discover()),
        seccomp: has_seccomp(&read("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default()),
    }
}

/// Applies [`SETTINGS`]; a setting whose file is not there forbids nothing.
fn user_namespaces(is_root: bool, read: impl Fn(&str) -> Option<String>) -> Result<(), Obstacle> {
    let forbidding = SETTINGS.iter().find(|setting| {
        let value = read(setting.file).and_then(|text| text.trim().parse().ok());
        !(is_root && setting.spares_root) && value.is_some_and(setting.forbids)
    });
    forbidding.map_or(Ok(()), |setting| {
        Err(Obstacle {
            reason: setting.reason.to_owned(),
            remedy: setting.remedy.to_owned(),
        })
    })
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

    fn with<'a>(files: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |path| {
            let found = files.iter().find(|(file, _)| path.ends_with(file));
            found.map(|(_, text)| (*text).to_owned())
        }
    }

    #[test]
    fn each_setting_that_forbids_user_namespaces_names_its_remedy() {
        assert_eq!(user_namespaces(false, with(&[])), Ok(()));
        let debian = [("max_user_namespaces", "63432\n"), ("userns_clone", "0\n")];
        assert_eq!(user_namespaces(true, with(&debian)), Ok(()));
        let obstacle = user_namespaces(false, with(&debian)).unwrap_err();
        assert_eq!(
            obstacle.remedy,
            "sysctl -w kernel.unprivileged_userns_clone=1"
        );
        let ubuntu = [("apparmor_restrict_unprivileged_userns", "1\n")];
        let obstacle = user_namespaces(false, with(&ubuntu)).unwrap_err();
        assert_eq!(
            obstacle.remedy,
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        );
        let none = [("max_user_namespaces", "0\n")];
        assert!(user_namespaces(true, with(&none)).is_err());
    }

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
