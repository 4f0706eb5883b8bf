//! Each row on a host that is made for it, and none on one where all is well.

use super::*;

/// A modern host on which nothing stands in the way.
const WELL: &[(&str, &str)] = &[
    ("proc/self/ns/user", ""),
    (
        "proc/self/cgroup",
        "0::/user.slice/user@7.service/own.scope\n",
    ),
    (
        "proc/self/mountinfo",
        "20 1 0:5 / /proc rw - proc proc rw\n21 20 0:6 / /proc/sys/fs/binfmt_misc rw - autofs x rw\n",
    ),
    ("proc/sys/kernel/osrelease", "6.12.1-amd64\n"),
    ("proc/sys/user/max_user_namespaces", "63432\n"),
    ("proc/sys/kernel/unprivileged_userns_clone", "1\n"),
    (
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "0\n",
    ),
    (
        "proc/sys/kernel/seccomp/actions_avail",
        "kill_process errno allow\n",
    ),
    ("proc/filesystems", "nodev\tproc\nnodev\toverlay\n\text4\n"),
    ("sys/kernel/security/lsm", "capability,landlock,apparmor\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n"),
    (
        "sys/fs/cgroup/user.slice/user@7.service/own.scope/cgroup.controllers",
        "memory pids\n",
    ),
    ("run/systemd/system/x", ""),
];

/// Returns the remedies on that host with other files; [`None`] removes one.
fn remedies(changes: &[(&str, Option<&str>)], is_root: bool) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (path, text) in WELL {
        put(path, text);
    }
    for (path, text) in changes {
        let full = directory.path().join(path);
        match text {
            Some(text) => put(path, text),
            None if full.is_dir() => fs::remove_dir_all(full).unwrap(),
            None => fs::remove_file(full).unwrap(),
        }
    }
    let found = advice(directory.path(), is_root).into_iter();
    found.map(|advice| advice.obstacle.remedy).collect()
}

#[test]
fn nothing_stands_in_the_way_of_a_modern_host() {
    assert_eq!(remedies(&[], false), [""; 0]);
    assert_eq!(remedies(&[], true), [""; 0]);
}

/// Files that are different, and what is advised to a user and to root.
type Case = (
    &'static [(&'static str, Option<&'static str>)],
    &'static [&'static str],
    &'static [&'static str],
);

const RELEASE: &str = "proc/sys/kernel/osrelease";
const DEBIAN: &str = "proc/sys/kernel/unprivileged_userns_clone";
const UBUNTU: &str = "proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const OWN: &str = "sys/fs/cgroup/user.slice/user@7.service/own.scope/cgroup.controllers";
const MASKED: &str =
    "20 1 0:5 / /proc rw - proc proc rw\n21 20 0:7 / /proc/kcore rw - tmpfs x rw\n";

const CASES: &[Case] = &[
    (
        &[("proc/sys/user/max_user_namespaces", Some("0\n"))],
        &["sysctl -w user.max_user_namespaces=65536"],
        &["sysctl -w user.max_user_namespaces=65536"],
    ),
    (
        &[(DEBIAN, Some("0\n"))],
        &["sysctl -w kernel.unprivileged_userns_clone=1"],
        &[],
    ),
    (
        &[(UBUNTU, Some("1\n"))],
        &["sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"],
        &[],
    ),
    (
        &[("proc/self/ns", None)],
        &["use a kernel with CONFIG_USER_NS"],
        &["use a kernel with CONFIG_USER_NS"],
    ),
    (
        &[("proc/self/mountinfo", Some(MASKED))],
        &["docker run --security-opt systempaths=unconfined …"],
        &["docker run --security-opt systempaths=unconfined …"],
    ),
    (
        &[(RELEASE, Some("5.10.0-8\n"))],
        &["use Linux 5.11 or later", "use Linux 6.12 or later"],
        &[
            "use Linux 5.12 or later, or run it as a user without privileges",
            "use Linux 6.12 or later",
        ],
    ),
    (
        &[("proc/filesystems", Some("nodev\toverlayfs\n"))],
        &["modprobe overlay"],
        &["modprobe overlay"],
    ),
    (
        &[("sys/kernel/security/lsm", Some("capability,yama\n"))],
        &["add landlock to the kernel's boot option lsm="],
        &["add landlock to the kernel's boot option lsm="],
    ),
    (
        &[(
            "proc/sys/kernel/seccomp/actions_avail",
            Some("kill errno\n"),
        )],
        &["use a kernel with CONFIG_SECCOMP_FILTER, Linux 4.14 or later"],
        &["use a kernel with CONFIG_SECCOMP_FILTER, Linux 4.14 or later"],
    ),
    (
        &[("proc/self/cgroup", Some("0::/user.slice/session-1.scope\n"))],
        &["systemd-run --user --scope -p Delegate=yes sandbox run …"],
        &[],
    ),
    (
        &[(OWN, Some("pids\n"))],
        &["systemd-run --user --scope -p Delegate=yes sandbox run …"],
        &[],
    ),
    (
        &[
            ("sys/fs/cgroup/cgroup.controllers", None),
            ("sys/fs/cgroup/memory/tasks", Some("")),
        ],
        &["boot with systemd.unified_cgroup_hierarchy=1"],
        &[],
    ),
    (
        &[("sys/fs/cgroup", None)],
        &["mount -t cgroup2 none /sys/fs/cgroup"],
        &["mount -t cgroup2 none /sys/fs/cgroup"],
    ),
];

#[test]
fn each_obstacle_has_its_remedy() {
    for (changes, user, root) in CASES {
        assert_eq!(remedies(changes, false), *user, "{changes:?}");
        assert_eq!(remedies(changes, true), *root, "{changes:?}");
    }
}

#[test]
fn without_proc_that_is_the_first_advice() {
    let found = remedies(&[("proc", None)], false);
    assert_eq!(found[0], "mount -t proc proc /proc");
}
