//! What discovery makes of hosts as they are found, each rebuilt as files below a temporary directory.

use std::fs;

use tempfile::TempDir;

use super::super::{
    Controller, create,
    discover::{Hierarchies, Seat, from_text},
};
use super::NOTHING;

/// A fake `/sys/fs/cgroup`.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Adds a version 1 cgroup.
    fn separate(self, path: &str) -> Self {
        fs::create_dir_all(self.0.path().join(path)).unwrap();
        self
    }

    /// Adds a version 2 cgroup below the root, with the controllers that it has and gives.
    fn unified(self, path: &str, has: &str, gives: &str, members: &str) -> Self {
        let directory = self.0.path().join(path);
        fs::create_dir_all(&directory).unwrap();
        for (file, text) in [
            ("cgroup.controllers", has),
            ("cgroup.subtree_control", gives),
            ("cgroup.procs", members),
            ("cgroup.events", "populated 1\n"),
        ] {
            fs::write(directory.join(file), text).unwrap();
        }
        self
    }

    /// Makes the version 2 cgroup at `path` the root of the host.
    fn root(self, path: &str) -> Self {
        fs::remove_file(self.0.path().join(path).join("cgroup.events")).unwrap();
        self
    }

    /// Runs discovery; `@` in `mounts` stands for the fake tree.
    fn discover(&self, memberships: &str, mounts: &str) -> Hierarchies {
        let root = self.0.path().to_str().unwrap();
        from_text(memberships, &mounts.replace('@', root))
    }

    /// Returns the place of each limiting controller in one line.
    fn places(&self, hierarchies: &Hierarchies) -> String {
        let root = format!("{}/", self.0.path().display());
        let place = |controller: Controller| match hierarchies.seat(controller) {
            Seat::Separate(path) => format!("v1:{}", path.display()),
            Seat::Unified(base) => format!("v2:{}", base.path.display()),
            Seat::Absent(reason) => format!("none ({reason})"),
        };
        let places: Vec<String> = Controller::LIMITING
            .into_iter()
            .map(|controller| format!("{} {}", controller.name(), place(controller)))
            .collect();
        places.join(", ").replace(&root, "")
    }

    fn check(&self, memberships: &str, mounts: &str, expected: &str) {
        let hierarchies = self.discover(memberships, mounts);
        assert_eq!(self.places(&hierarchies), expected);
    }
}

const ABSENT: &str =
    "neither a version 1 hierarchy nor the part of the unified one we may use has the controller";

#[test]
fn separate_hierarchies_and_an_empty_unified_one() {
    let host = Host::new()
        .separate("memory/process_api/b25e")
        .separate("cpu")
        .separate("pids")
        .unified("unified", "", "", "1\n")
        .root("unified");
    host.check(
        "8:pids:/\n4:memory:/process_api/b25e\n1:cpu:/\n9:name=systemd:/\n0::/\n",
        "31 23 0:28 / @ rw,relatime - tmpfs tmpfs rw,mode=755\n\
         32 31 0:29 / @/cpu rw,relatime - cgroup cgroup rw,cpu\n\
         35 31 0:32 / @/memory rw,relatime - cgroup cgroup rw,memory\n\
         39 31 0:36 / @/pids rw,relatime - cgroup cgroup rw,pids\n\
         40 31 0:37 / @/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
         41 31 0:38 / @/unified rw,relatime - cgroup2 cgroup2 rw\n",
        "memory v1:memory/process_api/b25e, cpu v1:cpu, pids v1:pids",
    );
}

#[test]
fn systemd_with_two_controllers_in_one_hierarchy() {
    let host = Host::new()
        .separate("cpu,cpuacct/user.slice")
        .separate("memory/user.slice/user-0.slice")
        .unified("unified/user.slice", "pids", "", "1\n");
    host.check(
        "5:cpu,cpuacct:/user.slice\n4:memory:/user.slice/user-0.slice\n0::/user.slice\n",
        "1 0 0:1 / @/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
         2 0 0:2 / @/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
         3 0 0:3 / @/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
        &format!(
            "memory v1:memory/user.slice/user-0.slice, cpu v1:cpu,cpuacct/user.slice, pids none ({ABSENT})"
        ),
    );
}

#[test]
fn controllers_split_between_the_versions() {
    let host = Host::new()
        .separate("cpu")
        .unified("unified", "memory pids io", "", "1\n")
        .root("unified");
    host.check(
        "1:cpu:/\n0::/\n",
        "1 0 0:1 / @/cpu rw - cgroup cgroup rw,cpu\n\
         2 0 0:2 / @/unified rw - cgroup2 cgroup2 rw\n",
        "memory v2:unified, cpu v1:cpu, pids v2:unified",
    );
}

#[test]
fn a_systemd_user_scope_puts_operations_beside_itself() {
    let app = "user.slice/user-1000.slice/user@1000.service/app.slice";
    let host = Host::new()
        .unified(app, "cpu memory pids", "memory pids", "")
        .unified(
            &format!("{app}/run-u7.scope"),
            "memory pids",
            "",
            "500\n501\n",
        );
    host.check(
        &format!("0::/{app}/run-u7.scope\n"),
        "25 1 0:23 / @ rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        &format!("memory v2:{app}, cpu v2:{app}, pids v2:{app}"),
    );
}

#[test]
fn alone_in_a_container_of_its_own_it_uses_a_leaf() {
    let me = format!("{}\n", std::process::id());
    let mounts = "9 1 0:2 / @ rw,nosuid - cgroup2 cgroup rw,nsdelegate\n";
    // Below what is mounted there is no parent to use.
    let alone = Host::new().unified("", "cpu memory pids", "", &me);
    let found = alone.discover("0::/\n", mounts);
    assert!(matches!(found.seat(Controller::Memory), Seat::Unified(_)));

    let shared = Host::new().unified("", "cpu memory pids", "", "1\n7\n");
    let found = shared.discover("0::/\n", mounts);
    assert!(matches!(
        found.seat(Controller::Memory),
        Seat::Absent(ABSENT)
    ));
    // It still kills and counts.
    let mut cgroup = create(&found, "unlimited", &NOTHING).unwrap();
    assert!(cgroup.paths().cpu.is_some());
    assert_eq!(cgroup.kind(), sandbox_types::CgroupKind::Absent);
    cgroup.remove().unwrap();
}

#[test]
fn docker_shows_its_part_of_the_hierarchy_read_only() {
    let host = Host::new()
        .separate("memory")
        .unified("v2", "memory", "", "1\n");
    let hierarchies = host.discover(
        "4:memory:/docker/0f3a\n2:pids:/elsewhere\n0::/\n",
        "1 0 0:1 /docker/0f3a @/memory ro,nosuid master:18 - cgroup cgroup rw,memory\n\
         2 0 0:2 /docker/0f3a @/pids rw,nosuid master:18 - cgroup cgroup rw,pids\n\
         3 0 0:3 / @/v2 ro,nosuid - cgroup2 cgroup rw\n",
    );
    let reason = |controller| hierarchies.version_of(controller).unwrap_err();
    assert!(reason(Controller::Memory).ends_with("memory is mounted read-only"));
    assert_eq!(
        reason(Controller::Pids),
        "the pids hierarchy is not mounted where we are in it"
    );
    assert!(reason(Controller::Cpu).ends_with("v2 is mounted read-only"));
}

#[test]
fn a_writable_mount_is_preferred_and_escapes_are_undone() {
    let host = Host::new().separate("a b/docker/0f3a");
    host.check(
        "4:memory:/docker/0f3a\n",
        "1 0 0:1 / @/x ro - cgroup cgroup rw,memory\n\
         2 0 0:1 / @/a\\040b rw - cgroup cgroup rw,memory\n\
         3 0 0:1 / @/y ro - cgroup cgroup rw,memory\n",
        "memory v1:a b/docker/0f3a, cpu none (no cgroup2 file system is mounted), \
         pids none (no cgroup2 file system is mounted)",
    );
}

#[test]
fn no_cgroups_and_garbage_mean_absent() {
    for (memberships, mounts) in [
        ("", ""),
        (
            "\n:\n::\n0::\n",
            " - cgroup\n - cgroup2 x\n1 2 3 - cgroup a b\n",
        ),
        (
            "4:memory:/../..\n0::/../..\n",
            "1 0 0:1 / /nowhere rw - cgroup2 c rw\n",
        ),
    ] {
        let hierarchies = from_text(memberships, mounts);
        for controller in Controller::LIMITING {
            assert!(hierarchies.version_of(controller).is_err(), "{mounts}");
        }
    }
}
