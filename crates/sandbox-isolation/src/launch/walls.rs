//! What holds a guest, as its report says.

use sandbox_types::{CgroupKind, Enforcement, Level};

use crate::sys::landlock;

/// Returns what holds whoever is started in namespaces; cgroups come later.
pub(super) fn told(own_network: bool) -> Enforcement {
    let mut missing = Vec::new();
    let abi = landlock::abi();
    let landlock = match abi {
        Some(6..) => Level::Full,
        Some(abi) => {
            missing.push(format!(
                "Landlock: this kernel has version {abi} of it, without scopes (6)"
            ));
            Level::Partial
        }
        None => {
            missing.push("Landlock: this kernel has none, or it is switched off".to_owned());
            Level::Absent
        }
    };
    Enforcement {
        user_namespace: Level::Full,
        mount: Level::Full,
        pid: Level::Full,
        network: if own_network {
            Level::Full
        } else {
            Level::Absent
        },
        seccomp: Level::Full,
        landlock,
        cgroup: CgroupKind::Absent,
        missing,
    }
}
