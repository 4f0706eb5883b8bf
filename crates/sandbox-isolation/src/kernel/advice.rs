//! What commonly stands in the way of a wall, how to recognize it, and the one command that removes it.
//!
//! Each row looks at files below a root, so that it can be tried on a made-up host.

use std::{fs, path::Path};

use super::Obstacle;

/// Which wall an obstacle weakens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WeakenedWall {
    /// Namespaces: nothing can be confined, or only by the lower tier.
    Namespaces,
    /// The guest has no `/proc`.
    Proc,
    /// Transactions.
    Overlay,
    /// Landlock.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// Limits of memory, CPU and processes.
    Limits,
}

/// Something that stands in the way of a wall here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Which wall it weakens.
    pub wall: WeakenedWall,
    /// What it is, and what removes it.
    pub obstacle: Obstacle,
}

/// The host, as its files show it.
struct Host<'a> {
    root: &'a Path,
    is_root: bool,
}

/// One thing that may stand in the way.
struct Row {
    wall: WeakenedWall,
    stands: fn(&Host<'_>) -> bool,
    reason: &'static str,
    remedy: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        wall: WeakenedWall::Namespaces,
        stands: |host| host.number("proc/sys/user/max_user_namespaces") == Some(0),
        reason: "user.max_user_namespaces is 0",
        remedy: "sysctl -w user.max_user_namespaces=65536",
    },
    Row {
        // Debian's own switch, gone from later kernels.
        wall: WeakenedWall::Namespaces,
        stands: |host| {
            !host.is_root && host.number("proc/sys/kernel/unprivileged_userns_clone") == Some(0)
        },
        reason: "kernel.unprivileged_userns_clone is 0",
        remedy: "sysctl -w kernel.unprivileged_userns_clone=1",
    },
    Row {
        // Ubuntu 23.10 and later: allowed only for programs with an AppArmor profile that says so.
        wall: WeakenedWall::Namespaces,
        stands: |host| {
            let file = "proc/sys/kernel/apparmor_restrict_unprivileged_userns";
            !host.is_root && host.number(file).is_some_and(|value| value != 0)
        },
        reason: "kernel.apparmor_restrict_unprivileged_userns is 1",
        remedy: "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    },
    Row {
        wall: WeakenedWall::Namespaces,
        stands: |host| host.exists("proc/self") && !host.exists("proc/self/ns/user"),
        reason: "the kernel has no user namespaces",
        remedy: "use a kernel with CONFIG_USER_NS",
    },
    Row {
        wall: WeakenedWall::Namespaces,
        stands: |host| !host.exists("proc/self"),
        reason: "/proc is not mounted",
        remedy: "mount -t proc proc /proc",
    },
    Row {
        // A fresh /proc may not show what this one hides (mount_too_revealing in fs/namespace.c).
        wall: WeakenedWall::Proc,
        stands: |host| host.has_mounts_in_proc(),
        reason: "the container that this runs in masks parts of /proc, so a command gets none of its own",
        remedy: "docker run --security-opt systempaths=unconfined …",
    },
    Row {
        wall: WeakenedWall::Overlay,
        stands: |host| host.release().is_some_and(|release| release < (5, 11)) && !host.is_root,
        reason: "overlays cannot be mounted by users before Linux 5.11: no transactions, no undo",
        remedy: "use Linux 5.11 or later",
    },
    Row {
        wall: WeakenedWall::Overlay,
        stands: |host| host.release().is_some_and(|release| release < (5, 12)) && host.is_root,
        reason: "there are no idmapped mounts before Linux 5.12, and a command of root's needs them",
        remedy: "use Linux 5.12 or later, or run it as a user without privileges",
    },
    Row {
        wall: WeakenedWall::Overlay,
        stands: |host| host.lacks_line("proc/filesystems", "overlay"),
        reason: "the kernel has no overlayfs, or the module is not loaded: no transactions, no undo",
        remedy: "modprobe overlay",
    },
    Row {
        wall: WeakenedWall::Landlock,
        stands: |host| host.release().is_some_and(|release| release < (5, 13)),
        reason: "there is no Landlock before Linux 5.13",
        remedy: "use Linux 6.12 or later",
    },
    Row {
        wall: WeakenedWall::Landlock,
        stands: |host| {
            host.release().is_some_and(|release| release >= (5, 13))
                && host
                    .text("sys/kernel/security/lsm")
                    .is_some_and(|list| !list.trim().split(',').any(|name| name == "landlock"))
        },
        reason: "Landlock is switched off at boot",
        remedy: "add landlock to the kernel's boot option lsm=",
    },
    Row {
        wall: WeakenedWall::Seccomp,
        stands: |host| host.lacks_word("proc/sys/kernel/seccomp/actions_avail", "kill_process"),
        reason: "the kernel has no system call filters that kill processes",
        remedy: "use a kernel with CONFIG_SECCOMP_FILTER, Linux 4.14 or later",
    },
    Row {
        // systemd hands controllers of version 2 to its users' sessions, but not all of them by itself.
        wall: WeakenedWall::Limits,
        stands: |host| {
            !host.is_root
                && host.exists("sys/fs/cgroup/cgroup.controllers")
                && host.exists("run/systemd/system")
                && !host.is_delegated()
        },
        reason: "systemd has delegated no cgroup to this login; where the user has a manager, it makes one for a limit that is asked for",
        remedy: "systemd-run --user --scope -p Delegate=yes sandbox run …",
    },
    Row {
        wall: WeakenedWall::Limits,
        stands: |host| {
            !host.is_root
                && !host.exists("sys/fs/cgroup/cgroup.controllers")
                && host.exists("sys/fs/cgroup/memory")
        },
        reason: "cgroups of version 1 belong to root",
        remedy: "boot with systemd.unified_cgroup_hierarchy=1",
    },
    Row {
        wall: WeakenedWall::Limits,
        stands: |host| !host.exists("sys/fs/cgroup"),
        reason: "no cgroups are mounted",
        remedy: "mount -t cgroup2 none /sys/fs/cgroup",
    },
];

/// Returns what stands in the way on the host whose `/proc`, `/sys` and `/run` lie below `root`, for root or for a
/// user without privileges.
pub fn advice(root: &Path, is_root: bool) -> Vec<Advice> {
    let host = Host { root, is_root };
    let standing = ROWS.iter().filter(|row| (row.stands)(&host));
    standing
        .map(|row| Advice {
            wall: row.wall,
            obstacle: Obstacle {
                reason: row.reason.to_owned(),
                remedy: row.remedy.to_owned(),
            },
        })
        .collect()
}

impl Host<'_> {
    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    fn exists(&self, path: &str) -> bool {
        fs::exists(self.root.join(path)).unwrap_or(false)
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// Whether the file is there, and no line of it ends with `word`.
    fn lacks_line(&self, path: &str, word: &str) -> bool {
        self.text(path).is_some_and(|text| {
            let mut lines = text.lines();
            !lines.any(|line| line.split_whitespace().last() == Some(word))
        })
    }

    fn lacks_word(&self, path: &str, word: &str) -> bool {
        let text = self.text(path).unwrap_or_default();
        !text.split_whitespace().any(|it| it == word)
    }

    fn release(&self) -> Option<(u32, u32)> {
        let text = self.text("proc/sys/kernel/osrelease")?;
        let mut numbers = text
            .trim()
            .split(|c: char| !c.is_ascii_digit())
            .map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    fn has_mounts_in_proc(&self) -> bool {
        let mounts = self.text("proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        // Automounts such as binfmt_misc are there on every host, and hide nothing.
        let mut points = points.filter(|at| *at != "/proc/sys/fs/binfmt_misc");
        points.any(|at| at.starts_with("/proc/"))
    }

    /// Whether this process is where systemd's manager of its user is, and has controllers there.
    fn is_delegated(&self) -> bool {
        let own = self.text("proc/self/cgroup").unwrap_or_default();
        let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
            return false;
        };
        let directory = Path::new("sys/fs/cgroup").join(path.trim());
        let file = directory.join("cgroup.controllers");
        // A login over ssh has controllers, too, in a cgroup of root's.
        let is_managers = path.contains("/user@");
        let controllers = file
            .to_str()
            .filter(|_| is_managers)
            .and_then(|file| self.text(file));
        controllers.is_some_and(|list| list.split_whitespace().any(|name| name == "memory"))
    }
}

#[cfg(test)]
mod tests;
