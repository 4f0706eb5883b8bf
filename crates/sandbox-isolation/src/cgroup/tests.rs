//! Layouts of real hosts as text over a fake tree; then this host's own cgroups, where they may be made.

mod layouts;

use std::{
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use super::{figures::Above, *};

const NOTHING: Wanted = Wanted {
    memory: None,
    cpu_percent: None,
    processes: None,
    io: None,
    meter: false,
};

/// Returns where to make cgroups, unless this host does not let us.
fn host() -> Option<Hierarchies> {
    let hierarchies = discover();
    let lacking: Vec<String> = Controller::LIMITING
        .into_iter()
        .filter_map(|controller| hierarchies.version_of(controller).err())
        .collect();
    if lacking.is_empty() {
        return Some(hierarchies);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "CI says here what must not be skipped"
    )]
    let required = std::env::var("SANDBOX_TEST_REQUIRE").is_ok_and(|what| what == "all");
    assert!(!required, "cgroups are required: {lacking:?}");
    eprintln!("skipped, no cgroups: {lacking:?}");
    None
}

/// A cgroup that goes even if its test fails.
struct Made(OperationCgroup);

impl Made {
    fn new(hierarchies: &Hierarchies, name: &str, wanted: &Wanted) -> Self {
        Self(create(hierarchies, name, wanted).unwrap())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.remove());
    }
}

#[test]
fn frozen_members_stand_still_and_init_goes_on() {
    let Some(hierarchies) = host() else { return };
    let made = Made::new(&hierarchies, "freeze-test", &NOTHING);
    // Init is known by being the first of its process namespace.
    let script = "exec unshare --user --pid --fork sh -c 'sleep 60 & wait'";
    let mut guest = Guest::in_cgroup(&made.0, script);
    guest.go();
    let caller = std::process::id();
    let is_init =
        |pid: &Pid| orphans::is_first_of_namespace(pid.as_raw_nonzero().get().unsigned_abs());
    let deadline = Instant::now() + Duration::from_secs(20);
    let init = loop {
        let members = made.0.members();
        if let (3.., Some(init)) = (members.len(), members.iter().copied().find(is_init)) {
            break init;
        }
        assert!(Instant::now() < deadline, "the shell has started nothing");
        std::thread::yield_now();
    };

    freeze(caller, "freeze-test").unwrap();
    assert!(made.0.is_frozen());
    assert!(
        !made.0.members().contains(&init),
        "it must see its caller end"
    );
    freeze(caller, "freeze-test").unwrap();
    thaw(caller, "freeze-test").unwrap();
    assert!(!made.0.is_frozen());
    assert!(made.0.members().contains(&init));
    thaw(caller, "freeze-test").unwrap();

    // What is frozen can be killed, and leaves nothing.
    freeze(caller, "freeze-test").unwrap();
    made.0.kill().unwrap();
    // Where the kernel kills a whole cgroup, it may be dead by now.
    rustix::process::kill_process(init, rustix::process::Signal::KILL).ok();
    guest.child.kill().ok();
    guest.child.wait().unwrap();
    let mut made = made;
    made.0.remove().unwrap();
    let error = freeze(caller, "freeze-test").unwrap_err();
    assert!(matches!(error, FreezeError::NoGuest), "{error}");
}

/// A shell that waits to be told before it runs its script.
struct Guest {
    child: Child,
    start: ChildStdin,
}

impl Guest {
    fn in_cgroup(cgroup: &OperationCgroup, script: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "no confinement is tested here")]
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("read -r _; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        cgroup.attach(Pid::from_child(&child)).unwrap();
        let start = child.stdin.take().unwrap();
        Self { child, start }
    }

    fn go(&mut self) {
        self.start.write_all(b"\n").unwrap();
    }
}

fn gone(paths: &CgroupPaths) -> bool {
    [&paths.memory, &paths.cpu, &paths.pids, &paths.io]
        .into_iter()
        .flatten()
        .all(|path| !path.exists())
}

#[test]
fn memory_over_the_limit_is_killed_and_told() {
    let Some(hierarchies) = host() else { return };
    let wanted = Wanted {
        memory: Some(Bytes::mib(32)),
        meter: true,
        ..NOTHING
    };
    let mut made = Made::new(&hierarchies, "test-memory", &wanted);
    let cgroup = &mut made.0;
    assert_eq!(cgroup.missing(), []);
    // One line of 256 MiB, which `tail` has to keep.
    let script = "head -c 268435456 /dev/zero | tail -n 1 > /dev/null";
    let mut guest = Guest::in_cgroup(cgroup, script);
    assert!(!cgroup.out_of_memory());
    guest.go();
    assert!(!guest.child.wait().unwrap().success());
    assert!(cgroup.out_of_memory());
    let paths = cgroup.paths();
    assert!(paths.memory.as_ref().is_some_and(|path| path.exists()));
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
    assert!(gone(&paths));
}

#[test]
fn forks_over_the_limit_are_refused_and_told() {
    let Some(hierarchies) = host() else { return };
    let wanted = Wanted {
        processes: Some(4),
        cpu_percent: Some(50),
        ..NOTHING
    };
    let mut made = Made::new(&hierarchies, "test-pids", &wanted);
    let cgroup = &mut made.0;
    assert_eq!(cgroup.missing(), []);
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; wait";
    let mut guest = Guest::in_cgroup(cgroup, script);
    assert!(!cgroup.pids_exceeded());
    guest.go();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !cgroup.pids_exceeded() {
        assert!(Instant::now() < deadline, "no fork was refused");
        std::thread::yield_now();
    }
    assert!(cgroup.members().len() <= 4);
    cgroup.kill().unwrap();
    guest.child.wait().unwrap();
    assert_eq!(cgroup.members(), []);
    cgroup.remove().unwrap();
    assert!(gone(&cgroup.paths()));
}

#[test]
fn killing_reaches_everybody_and_removing_leaves_nothing() {
    let Some(hierarchies) = host() else { return };
    let wanted = Wanted {
        memory: Some(Bytes::mib(256)),
        processes: Some(64),
        meter: true,
        ..NOTHING
    };
    let mut made = Made::new(&hierarchies, "test-kill", &wanted);
    let cgroup = &mut made.0;
    let directories: Vec<PathBuf> = cgroup.all_paths().iter().map(Into::into).collect();
    let again = create(&hierarchies, "test-kill", &wanted);
    assert!(
        matches!(again, Err(CgroupError::Create { .. })),
        "{again:?}"
    );
    assert!(directories.iter().all(|path| path.exists()));

    let script = "trap '' TERM HUP INT; (setsid sleep 600 &); sleep 600 & sleep 600 & wait";
    let mut guest = Guest::in_cgroup(cgroup, script);
    guest.go();
    let deadline = Instant::now() + Duration::from_secs(10);
    while cgroup.members().len() < 4 {
        assert!(Instant::now() < deadline, "{:?}", cgroup.members());
        std::thread::yield_now();
    }
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
    guest.child.wait().unwrap();
    let left: Vec<&PathBuf> = directories.iter().filter(|path| path.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    cgroup.remove().unwrap();
}

#[test]
fn what_a_killed_owner_left_is_removed_and_nothing_else() {
    let Some(hierarchies) = host() else { return };
    let mut own = create(&hierarchies, "test-stale", &NOTHING).unwrap();
    let bases: Vec<&Path> = hierarchies.bases();
    let this = stale::directory_name("test-stale").unwrap();
    let owner = stale::parse_owner(&this).unwrap();
    // A process of our number that started at another time; and one of another container.
    let dead = format!("sandbox-{}-1-{}-dead", owner.pid, owner.namespace);
    let foreign = format!("sandbox-{}-1-1-foreign", owner.pid);
    let dead: Vec<PathBuf> = bases.iter().map(|base| base.join(&dead)).collect();
    let foreign = bases[0].join(foreign);
    for path in dead.iter().chain([&foreign]) {
        fs::create_dir(path).unwrap();
    }
    let removed = remove_stale();
    assert!(
        dead.iter().all(|path| removed.contains(path)),
        "{removed:?}"
    );
    assert!(dead.iter().all(|path| !path.exists()));
    assert!(own.all_paths().iter().all(|path| path.exists()));
    assert!(foreign.exists());
    fs::remove_dir(foreign).unwrap();
    own.remove().unwrap();
}

#[test]
fn names_are_checked_and_owners_are_read_back() {
    for bad in ["", "a/b", "..\n", "ä", &"x".repeat(129)] {
        let error = stale::directory_name(bad);
        assert!(matches!(error, Err(CgroupError::Name { .. })), "{bad}");
    }
    assert_eq!(
        stale::parse_owner("sandbox-12-34-56-a-b").map(|owner| owner.start_time),
        Some(34)
    );
    for foreign in [
        "sandbox-12-34-56",
        "sandbox-x-1-1-a",
        "user.slice",
        "sandbox-",
    ] {
        assert_eq!(stale::parse_owner(foreign), None, "{foreign}");
    }
    let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 424242 0 0";
    assert_eq!(stale::parse_start_time(stat), Some(424_242));
    assert_eq!(stale::parse_start_time("garbage"), None);
}

#[test]
fn events_are_read_by_their_whole_name() {
    let events = "low 0\nmax 12\noom 3\noom_kill 1\noom_group_kill 0\n";
    assert_eq!(value_of(events, "oom_kill"), Some(1));
    assert_eq!(value_of(events, "oom"), Some(3));
    assert_eq!(value_of("max\n", "max"), None);
}

/// systemd may remove a scope before its counts were read.
#[test]
fn a_kill_is_seen_from_above_when_the_scope_is_gone() {
    let slice = tempfile::tempdir().unwrap();
    let scope = slice.path().join("sandbox-1.scope");
    let own = scope.join("sandbox-1");
    let count = |directory: &Path, kills: u32| {
        let events = format!("max 7\noom 9\noom_kill {kills}\n");
        fs::write(directory.join("memory.events"), events).unwrap();
    };
    fs::create_dir_all(&own).unwrap();
    count(slice.path(), 3);
    count(&own, 0);
    let cgroup = OperationCgroup {
        separate: BTreeMap::new(),
        unified: Some(Unified {
            path: own.clone(),
            controllers: vec![Controller::Memory],
        }),
        missing: Vec::new(),
        above: Above::of(&scope),
    };
    assert!(!cgroup.out_of_memory());
    count(slice.path(), 4);
    // What is there is believed: the other kill was somebody else's.
    assert!(!cgroup.out_of_memory());
    fs::remove_dir_all(&scope).unwrap();
    assert!(cgroup.out_of_memory());
    count(slice.path(), 3);
    assert!(!cgroup.out_of_memory());
}

/// Hosts without the unified hierarchy freeze through `freezer.state`: the same test, where it is not mounted.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "mounts are taken away in a process of its own"
)]
fn version_1_alone_freezes_too() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let unified = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let unified = unified.and_then(|line| line.split(' ').nth(4));
    let has_freezer = fs::read_to_string("/proc/self/cgroup")
        .unwrap()
        .contains(":freezer:");
    let (Some(unified), true, true) = (unified, has_freezer, rustix::process::geteuid().is_root())
    else {
        eprintln!("SKIPPED: this test needs root, and hierarchies of both versions");
        return;
    };
    let tests = std::env::current_exe().unwrap();
    let script = format!(
        "umount {unified} && exec '{}' --exact cgroup::tests::frozen_members_stand_still_and_init_goes_on",
        tests.display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{output:?}");
}
