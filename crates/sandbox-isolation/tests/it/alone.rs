//! The lower tier: without namespaces, Landlock and the system call filter hold alone.
//!
//! So these tests show what the second wall is worth by itself. They need a user without privileges; for root the
//! tier is refused.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use sandbox_isolation::{
    Cancellation, Confinement, KernelLauncher, Launcher as _, WorkspaceMode, landlock_abi,
};
use sandbox_types::{ExitReason, Level, Limit, NetworkAccess};

use crate::lab::{Collect, Lab, Outcome, eventually, is_alive, is_root, needs, outside};

const LAB: &str = "SANDBOX_TEST_ALONE_LAB";

/// Whether the tier can be tried here. As root it is refused, which is tested too.
fn can_try() -> bool {
    if !needs(landlock_abi().is_some_and(|abi| abi >= 6), "Landlock 6") {
        return false;
    }
    if is_root() {
        let refused = alone().try_run(&["true"], Collect::default()).unwrap_err();
        assert!(refused.source.to_string().contains("root"), "{refused:?}");
    }
    !is_root()
}

fn alone() -> Lab {
    Lab::new().with(|plan| plan.confinement = Confinement::LandlockAlone)
}

/// Runs `script` in Python, in the workspace.
fn python(lab: Lab, script: &str) -> Outcome {
    lab.file("workspace/attempt.py", script)
        .run(&["python3", "attempt.py"])
}

#[test]
fn what_lies_outside_is_neither_read_nor_written() {
    if !can_try() {
        return;
    }
    let script = "for c in 'cat ../secret' 'echo x > ../made' 'echo x >> ../secret' \
                  'mv ../secret .' 'rm ../secret' 'mv a ..' 'ln ../secret b' 'mkdir ../d' 'ls ..' 'ls /tmp' \
                  'mkfifo ../f' 'ln -s x ../l' 'truncate -s 0 ../secret'; do \
                  (eval \"$c\") > /dev/null 2>&1 && echo \"worked: $c\"; done; true";
    let lab = || alone().file("secret", "s").file("workspace/a", "a");
    let mut confined = lab();
    assert_eq!(confined.sh(script).output(), "");
    assert_eq!(fs::read(confined.base().join("secret")).unwrap(), b"s");
    // Control: each of them works outside (some undo what the next one needs).
    let control = lab();
    let (_, worked) = outside(script, &control.workspace());
    for attempt in [
        "cat ../secret",
        "echo x > ../made",
        "mv ../secret .",
        "ls /tmp",
    ] {
        assert!(worked.contains(&format!("worked: {attempt}")), "{worked}");
    }
}

#[test]
fn work_in_the_workspace_goes_on() {
    if !can_try() {
        return;
    }
    let script = "set -e; mkdir d; echo 1 > d/a; cp d/a d/b; mv d/b .; touch b; cat b; rm -r d; \
                  echo x > \"$TMPDIR/t\"; cat \"$TMPDIR/t\"; [ -r /proc/self/status ]; cat <(echo y)";
    let mut lab = alone().with(|plan| plan.env.push(("TMPDIR".into(), "/tmp".into())));
    let outcome = lab.run(&["bash", "-c", script]);
    assert_eq!(outcome.output(), "1\nx\ny");
    let ours = format!("sandbox-alone-{}-", std::process::id());
    let mut left = fs::read_dir("/tmp").unwrap().flatten();
    let name = lab.base().file_name().unwrap().to_owned();
    let is_left = left.any(|it| {
        let entry = it.file_name().to_string_lossy().into_owned();
        entry.starts_with(&ours) && entry.ends_with(&*name.to_string_lossy())
    });
    assert!(!is_left, "the temporary directory is removed");
}

#[test]
fn what_landlock_does_not_see_the_filter_refuses() {
    if !can_try() {
        return;
    }
    let script = "
import os, socket
def attempt(name, action):
    try: action(); print('worked:', name)
    except OSError: pass
attempt('chmod', lambda: os.chmod('../secret', 0o777))
attempt('utime', lambda: os.utime('../secret', (1, 1)))
attempt('xattr', lambda: os.setxattr('../secret', 'user.x', b'x'))
attempt('chown', lambda: os.chown('../secret', -1, os.getgid()))
attempt('unix', lambda: socket.socket(socket.AF_UNIX))
attempt('inet', lambda: socket.socket(socket.AF_INET))
attempt('affinity', lambda: os.sched_setaffinity(os.getppid(), [0]))
attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19))
socket.socketpair(); open('a', 'w').close(); os.utime(os.open('a', os.O_RDWR))
";
    let lab = alone().file("secret", "s");
    assert_eq!(python(lab, script).output(), "");
    let control = Lab::new()
        .file("secret", "s")
        .file("workspace/attempt.py", script);
    let (ran, worked) = outside("python3 attempt.py", &control.workspace());
    assert!(ran);
    assert_eq!(worked.lines().count(), 8, "{worked}");
}

#[test]
fn other_processes_are_out_of_reach() {
    if !can_try() {
        return;
    }
    let script = format!(
        "
import ctypes, os
def attempt(name, action):
    try: action(); print('worked:', name)
    except OSError: pass
target = {}
attempt('signal', lambda: os.kill(target, 0))
attempt('keeper', lambda: os.kill(os.getppid(), 0))
attempt('environ', lambda: open(f'/proc/{{target}}/environ').read())
attempt('descriptors', lambda: os.readlink(f'/proc/{{target}}/fd/0'))
attempt('root', lambda: os.listdir(f'/proc/{{target}}/root/'))
attempt('memory', lambda: open(f'/proc/{{target}}/mem', 'rb').read(1))
os.kill(os.getpid(), 0)
child = os.fork() or os._exit(0)
os.kill(child, 0)
",
        std::process::id()
    );
    assert_eq!(python(alone(), &script).output(), "");
    let control = Lab::new().file("workspace/attempt.py", &script);
    let (ran, worked) = outside("python3 attempt.py", &control.workspace());
    assert!(ran && worked.contains("worked: signal"), "{worked}");
    assert!(worked.contains("worked: descriptors"), "{worked}");
}

#[test]
fn a_daemon_ends_with_its_operation() {
    if !can_try() {
        return;
    }
    let marker = format!("7{}", std::process::id());
    let script = format!(
        "(setsid sh -c 'setsid sleep {marker} & exec sleep {marker}' &) > /dev/null 2>&1; \
         (trap '' TERM HUP; sleep {marker} &); echo started"
    );
    assert_eq!(alone().sh(&script).output(), "started");
    assert!(!is_alive(&marker));
    // A limit ends them too, and so does whoever does not wait.
    let script = format!("(setsid sleep {marker} &); sleep {marker}");
    let limit = Some(Limit::requested(Duration::from_millis(300)));
    let outcome = alone()
        .with(|plan| plan.limits.wall_time = limit)
        .sh(&script);
    assert_eq!(outcome.exit(), ExitReason::TimedOut);
    assert!(!is_alive(&marker));
    let mut lab = alone();
    let mut plan = lab.plan.take().unwrap();
    plan.argv = ["sh", "-c", &script].map(Into::into).to_vec();
    drop(KernelLauncher::new().launch(plan).unwrap());
    assert!(!is_alive(&marker));
}

/// The caller: does nothing unless it is started by the test below.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent test says what to do by an environment variable"
)]
fn as_caller() {
    let Ok(told) = std::env::var(LAB) else {
        return;
    };
    let (marker, base) = told.split_once(' ').unwrap();
    let mut lab = Lab::at(base.into()).with(|plan| plan.confinement = Confinement::LandlockAlone);
    let mut plan = lab.plan.take().unwrap();
    let script = format!("(setsid sleep {marker} &); echo x > ready; exec sleep {marker}");
    plan.argv = ["sh", "-c", &script].map(Into::into).to_vec();
    let mut running = KernelLauncher::new().launch(plan).unwrap();
    drop(running.wait(&mut Collect::default(), &Cancellation::new()));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "starts this test program as the caller that is killed"
)]
fn nothing_survives_a_caller_that_is_killed() {
    if !can_try() {
        return;
    }
    let lab = Lab::new();
    let marker = format!("8{}", std::process::id());
    let mut caller = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "alone::as_caller", "--nocapture"])
        .env(LAB, format!("{marker} {}", lab.base().display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the guest runs", || {
        lab.workspace().join("ready").exists() && is_alive(&marker)
    });
    let temporary = format!("sandbox-alone-{}-", caller.id());
    caller.kill().unwrap();
    caller.wait().unwrap();
    eventually("the guest is dead", || !is_alive(&marker));
    // The next launch removes what was left.
    alone().sh("true").output();
    let mut names = fs::read_dir("/tmp").unwrap().flatten();
    assert!(!names.any(|it| it.file_name().to_string_lossy().starts_with(&temporary)));
}

#[test]
fn what_it_cannot_keep_is_refused() {
    if !can_try() {
        return;
    }
    let refusal = |lab: Lab| {
        let mut lab = lab;
        let error = lab.try_run(&["true"], Collect::default()).unwrap_err();
        format!("{error}: {}", error.source)
    };
    assert!(refusal(alone().overlay()).contains("a transaction needs a mount namespace"));
    let hidden = alone().file("workspace/hidden", "");
    let path = hidden.workspace().join("hidden");
    assert!(refusal(hidden.with(|plan| plan.view.hide.push(path))).contains("mount namespace"));
    let list = sandbox_types::AllowList::parse(&["example.com".to_owned()]).unwrap();
    let listed = alone().with(|plan| plan.network = NetworkAccess::Allow(list));
    assert!(refusal(listed).contains("a list of allowed hosts needs a network namespace"));
}

#[test]
fn a_granted_directory_is_granted_without_what_is_hidden_in_it() {
    if !can_try() {
        return;
    }
    let lab = alone()
        .file("granted/seen", "1")
        .file("granted/deep/seen", "2")
        .file("granted/deep/hidden", "3");
    let (granted, hidden) = (
        lab.base().join("granted"),
        lab.base().join("granted/deep/hidden"),
    );
    let script = "cat ../granted/seen ../granted/deep/seen; cat ../granted/deep/hidden || echo no; \
                  echo x > ../granted/seen || echo read-only";
    let outcome = lab
        .with(|plan| {
            plan.view.read.push(granted);
            plan.view.hide.push(hidden);
        })
        .sh(script);
    assert_eq!(outcome.output(), "12no\nread-only");
}

#[test]
fn a_read_only_workspace_is_not_written() {
    if !can_try() {
        return;
    }
    let lab = alone().file("workspace/a", "1");
    let mut lab = lab.with(|plan| plan.workspace_mode = WorkspaceMode::ReadOnly);
    let outcome = lab.sh("cat a; echo x > b || echo no");
    assert_eq!(outcome.output(), "1no");
}

#[test]
fn the_report_says_what_is_missing() {
    if !can_try() {
        return;
    }
    let enforcement = alone().run(&["true"]).ended.enforcement;
    for level in [
        enforcement.user_namespace,
        enforcement.mount,
        enforcement.pid,
    ] {
        assert_eq!(level, Level::Absent);
    }
    assert_eq!(enforcement.network, Level::Partial);
    assert_eq!(
        (enforcement.seccomp, enforcement.landlock),
        (Level::Full, Level::Full)
    );
    let missing = enforcement.missing.join("\n");
    for word in ["namespaces:", "processes:", "files:"] {
        assert!(missing.contains(word), "{missing}");
    }
}
