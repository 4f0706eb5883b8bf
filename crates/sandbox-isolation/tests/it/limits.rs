//! Limits that hold.

use std::{fs, path::Path, time::Duration};

use sandbox_types::{Bytes, CgroupKind, ExitReason, Limit, LimitKind};

use crate::lab::{Collect, Lab, is_root, needs};

const EAT_MEMORY: &str = "python3 -c 'b = bytearray(300 * 1024 * 1024); print(len(b))'";

#[test]
fn memory_is_limited() {
    let requested = |plan: &mut sandbox_isolation::LaunchPlan| {
        plan.limits.memory = Some(Limit::requested(Bytes::mib(64)));
    };
    let run = [
        "python3",
        "-c",
        "b = bytearray(300 * 1024 * 1024); print(len(b))",
    ];
    if is_root() {
        let outcome = Lab::new().with(requested).run(&run);
        assert_eq!(
            outcome.exit(),
            ExitReason::LimitExceeded(LimitKind::Memory),
            "{outcome:?}"
        );
        assert_ne!(outcome.ended.enforcement.cgroup, CgroupKind::Absent);
    } else {
        let outcome = Lab::new().with(requested).try_run(&run, Collect::default());
        if let Err(error) = outcome {
            assert!(error.to_string().contains("memory limit"), "{error}");
            assert!(error.hint.unwrap().contains("best_effort"));
        }
        let outcome = Lab::new()
            .with(requested)
            .with(|plan| plan.limits.best_effort = true)
            .run(&["true"]);
        assert_eq!(outcome.exit(), ExitReason::Exited(0));
    }
    // Control: without the limit it fits.
    assert_eq!(
        Lab::new().sh(EAT_MEMORY).output(),
        (300 * 1024 * 1024).to_string()
    );
}

#[test]
fn a_built_in_memory_limit_arrives_late_or_is_reported() {
    let outcome = Lab::new().run(&["true"]);
    let enforcement = &outcome.ended.enforcement;
    let says = enforcement
        .missing
        .iter()
        .any(|text| text.contains("memory limit"));
    assert!(
        says || enforcement.cgroup != CgroupKind::Absent,
        "{enforcement:?}"
    );
    if needs(is_root(), "root") {
        let small = |plan: &mut sandbox_isolation::LaunchPlan| {
            plan.limits.memory = Some(Limit::built_in(Bytes::mib(64)));
        };
        let outcome = Lab::new()
            .with(small)
            .sh(&format!("sleep 1; exec {EAT_MEMORY}"));
        assert_eq!(
            outcome.exit(),
            ExitReason::LimitExceeded(LimitKind::Memory),
            "{outcome:?}"
        );
    }
}

#[test]
fn who_forks_and_ends_does_not_escape_unseen() {
    if !needs(is_root(), "root") {
        return;
    }
    let small = |plan: &mut sandbox_isolation::LaunchPlan| {
        plan.limits.memory = Some(Limit::built_in(Bytes::mib(64)));
    };
    let script = "import os, time\n\
                  end = time.monotonic() + 1\n\
                  while time.monotonic() < end:\n\
                  \x20 if os.fork(): os._exit(0)\n\
                  b = bytearray(100 * 1024 * 1024)\n\
                  open('escaped', 'w').write(str(len(b)))";
    let mut lab = Lab::new().with(small);
    let outcome = lab.sh(&format!(
        "for i in 1 2 3 4 5 6 7 8; do python3 -c \"{script}\" & done; sleep 2.5"
    ));
    // Whether all of them together are caught above the limit is up to the scheduler.
    let memory = ExitReason::LimitExceeded(LimitKind::Memory);
    let exit = outcome.exit();
    assert!([ExitReason::Exited(0), memory].contains(&exit), "{exit:?}");
    let missing = &outcome.ended.enforcement.missing;
    let is_reported = missing.iter().any(|text| text.contains("escaped"));
    let has_escaped = fs::exists(lab.workspace().join("escaped")).unwrap();
    assert!(is_reported || !has_escaped, "{outcome:?}");
}

#[test]
fn a_fork_bomb_hits_the_process_limit() {
    let limit = |plan: &mut sandbox_isolation::LaunchPlan| {
        plan.limits.processes = Some(Limit::requested(20));
        plan.limits.wall_time = Some(Limit::requested(Duration::from_secs(120)));
    };
    let script = "import os\n\
                  n = 0\n\
                  try:\n\
                  \x20 while True:\n\
                  \x20  if os.fork() == 0: os.pause() if hasattr(os, 'pause') else __import__('signal').pause()\n\
                  \x20  n += 1\n\
                  except BlockingIOError: print(n)";
    let outcome = Lab::new().with(limit).run(&["python3", "-c", script]);
    // One more may fit once our own helper is gone.
    assert!(["19", "20"].contains(&outcome.output()), "{outcome:?}");
}

#[test]
fn a_shell_fork_bomb_ends_with_its_limit() {
    let limit = |plan: &mut sandbox_isolation::LaunchPlan| {
        plan.limits.processes = Some(Limit::requested(64));
        plan.limits.wall_time = Some(Limit::requested(Duration::from_millis(500)));
    };
    // The leader waits: else its own end would end the bomb.
    let outcome = Lab::new()
        .with(limit)
        .sh("bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 60");
    assert!(
        matches!(outcome.exit(), ExitReason::TimedOut | ExitReason::Exited(_)),
        "{outcome:?}"
    );
}

#[test]
fn files_and_temporary_space_are_limited() {
    let small = |plan: &mut sandbox_isolation::LaunchPlan| {
        plan.limits.file_size = Some(Limit::requested(Bytes::mib(1)));
        plan.limits.tmp_size = Some(Limit::requested(Bytes::mib(2)));
    };
    let outcome =
        Lab::new()
            .with(small)
            .run(&["dd", "if=/dev/zero", "of=big", "bs=64K", "count=32"]);
    assert_eq!(
        outcome.exit(),
        ExitReason::LimitExceeded(LimitKind::FileSize),
        "{outcome:?}"
    );
    let outcome = Lab::new().with(small).sh(
        "for i in 1 2 3 4; do head -c 1000000 /dev/zero > /tmp/$i || echo full; done 2>/dev/null",
    );
    assert!(outcome.stdout.contains("full"), "{outcome:?}");
}

#[test]
fn nothing_is_left_behind() {
    let name = {
        let lab = Lab::new().with(|plan| {
            plan.limits.memory = Some(Limit::requested(Bytes::mib(256)));
            plan.limits.best_effort = true;
        });
        let mut lab = lab.overlay();
        let name = lab.plan.as_ref().unwrap().name.clone();
        lab.sh("echo x > made; sleep 0.1");
        name
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&name), "{mounts}");
    assert_eq!(find(Path::new("/sys/fs/cgroup"), &name, 0), None);
}

fn find(directory: &Path, name: &str, depth: u32) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().contains(name) {
            return Some(entry.path());
        }
        if depth < 6 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let found = find(&entry.path(), name, depth + 1);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

#[test]
fn a_launch_that_fails_leaves_no_cgroup() {
    let lab = Lab::new().with(|plan| {
        plan.limits.memory = Some(Limit::requested(Bytes::mib(256)));
        plan.limits.best_effort = true;
        plan.cwd = "/no/such/directory".into();
    });
    let mut lab = lab;
    let name = lab.plan.as_ref().unwrap().name.clone();
    let error = lab.try_run(&["true"], Collect::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot change to the working directory");
    assert_eq!(find(Path::new("/sys/fs/cgroup"), &name, 0), None);
}
