//! Processes that want to outlive their operation.

use std::{
    fs,
    io::Read as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sandbox_isolation::{
    Cancellation, KernelLauncher, LaunchPlan, Launcher as _, Observer, WorkspaceMode,
};
use sandbox_types::{CgroupPaths, ExitReason, LimitKind, Stream};

use crate::{
    attacker::FLAG,
    suite::Case,
    trial::{Trial, end, eventually, holds_soon, processes_with, program, said},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "10", layer: "supervisor, pid namespace", what: "stop oneself, ignore signals, and outstay the time limit", run: outstaying },
    Case { numbers: "11 61", layer: "lifeline, journal", what: "survive the caller that is killed at any moment", run: killed_caller },
    Case { numbers: "12", layer: "lifeline", what: "die with a thread of the caller, or live on without the caller", run: thread_end },
    Case { numbers: "13 P11", layer: "pid namespace", what: "become a daemon", run: daemons },
    Case { numbers: "14", layer: "supervisor", what: "keep standard output open", run: open_output },
    Case { numbers: "17", layer: "pid namespace", what: "fork faster than one can kill", run: dodging },
    Case { numbers: "18", layer: "pid namespace", what: "come to the host's pid 1 by the death of one's own", run: orphans },
    Case { numbers: "P10", layer: "no_new_privs, user namespace", what: "take dropped rights back", run: weakening },
];

fn marker(number: u32) -> String {
    format!("{number}.{}", std::process::id())
}

/// Kills what a control left.
fn end_all(marker: &str) {
    for pid in processes_with(marker) {
        end(pid);
    }
    eventually("the control's processes are gone", || {
        processes_with(marker).is_empty()
    });
}

fn outstaying(trial: &mut Trial) {
    let marker = marker(100);
    let text = format!(
        "trap '' TERM INT HUP QUIT; (trap '' TERM; exec sleep {marker}) & kill -STOP $$ $!; sleep {marker}"
    );
    // Control: a limit that asks politely, as timeout(1) does.
    let outside = trial.shell_outside(&format!("timeout 0.2 sh -c \"trap '' TERM; exec sleep 0.9\" & wait; setsid sh -c \"trap '' TERM; exec sleep {marker}\" > /dev/null 2>&1 & true"));
    assert!(outside.status.success(), "{outside}");
    let survives = holds_soon(Duration::from_secs(5), || {
        !processes_with(&marker).is_empty()
    });
    end_all(&marker);
    let start = Instant::now();
    let report = trial.inside_with(&["--timeout", "500ms"], &text);
    assert_eq!(report["outcome"], "timed_out", "{report:#}");
    let is_late = start.elapsed() > Duration::from_secs(20) || !processes_with(&marker).is_empty();
    trial.effect("a process after the time limit", survives, is_late);
}

fn killed_caller(trial: &mut Trial) {
    let marker = marker(101);
    let text = format!("(setsid sleep {marker} &) ; sleep {marker}");
    let mut outside = Command::new("/bin/sh")
        .args(["-c", &text])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the control runs", || processes_with(&marker).len() >= 2);
    outside.kill().unwrap();
    outside.wait().unwrap();
    let survives = !processes_with(&marker).is_empty();
    end_all(&marker);
    let turns = if trial.variant.is_long { 1_000 } else { 12 };
    for turn in 0..turns {
        let mut caller = trial
            .lab
            .command(&[
                "run",
                "-q",
                "--yes",
                "--shell",
                &format!("echo {turn} > f; {text}"),
            ])
            .spawn()
            .unwrap();
        if turn == 0 {
            eventually("the guest runs", || processes_with(&marker).len() >= 2);
        } else {
            thread::park_timeout(Duration::from_millis(turn % 40 * 4));
        }
        caller.kill().unwrap();
        caller.wait().unwrap();
        let is_gone = holds_soon(Duration::from_secs(5), || {
            processes_with(&marker).is_empty()
        });
        if !is_gone || turn == 0 {
            trial.effect(
                format!("a process after kill -9 of the caller, moment {turn}"),
                survives,
                !is_gone,
            );
        }
        assert_eq!(
            trial.lab.read("f"),
            None,
            "moment {turn}: half a transaction is committed"
        );
    }
    trial.lab.sandbox(&["status"]).code(0);
    trial.lab.sandbox(&["audit", "verify"]).code(0);
    let log = trial.lab.sandbox(&["log", "--json"]).stdout;
    assert!(
        log.contains("interrupted") || log.contains("error") || log.contains("killed"),
        "{log}"
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    trial.never(
        "a mount of a killed caller",
        mounts.contains(&*trial.lab.root().to_string_lossy()),
    );
}

fn thread_end(trial: &mut Trial) {
    // Control: what is bound to its parent by PR_SET_PDEATHSIG dies with the thread that started it.
    let (program, marker) = (program(), marker(102));
    let started = thread::spawn({
        let (program, marker) = (program.clone(), marker.clone());
        move || {
            let child = Command::new(program)
                .args([FLAG, "bound", "sleep", &marker])
                .spawn()
                .unwrap();
            let name = format!("/proc/{}/comm", child.id());
            eventually("it is bound", || {
                fs::read_to_string(&name).is_ok_and(|it| it == "sleep\n")
            });
            child
        }
    });
    let mut bound = started.join().unwrap();
    let dies = holds_soon(Duration::from_secs(10), || {
        bound.try_wait().unwrap().is_some()
    });
    end(bound.id());
    bound.wait().unwrap();
    // The library starts an operation on a thread that ends.
    let plan = plan(trial, &["sh", "-c", "sleep 0.3; echo lived"]);
    let mut running = thread::spawn(|| KernelLauncher::new().launch(plan).unwrap())
        .join()
        .unwrap();
    let mut heard = Heard::default();
    let ended = running.wait(&mut heard, &Cancellation::new()).unwrap();
    let lived = ended.exit == ExitReason::Exited(0) && heard.0 == b"lived\n";
    trial.effect(
        "the death of an operation by the end of a thread",
        dies,
        !lived,
    );
    trial.cannot_show("a caller that dies before its child is bound to it: no moment can be chosen from outside; case 11 kills at many");
}

#[derive(Default)]
struct Heard(Vec<u8>);

impl Observer for Heard {
    fn output(&mut self, _: Stream, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn tick(&mut self, _: &CgroupPaths) -> Option<LimitKind> {
        None
    }
}

/// A plan of the library's, without the rest of the program.
fn plan(trial: &Trial, argv: &[&str]) -> LaunchPlan {
    let workspace = trial.lab.workspace();
    let mut plan = LaunchPlan::locked(workspace, argv);
    plan.workspace_mode = WorkspaceMode::Direct;
    plan.host_ids = 2_000_000;
    plan
}

fn daemons(trial: &mut Trial) {
    let marker = marker(103);
    let text = format!(
        "(setsid sh -c 'sleep {marker} & sleep {marker} &' > /dev/null 2>&1 &); nohup sleep {marker} > /dev/null 2>&1 & (sh -c '(trap \"\" TERM; exec sleep {marker}) > /dev/null 2>&1 &'); sleep 0.2"
    );
    assert!(trial.shell_outside(&text).status.success());
    let survives = processes_with(&marker).len() >= 3;
    end_all(&marker);
    let report = trial.inside(&text);
    assert_eq!(report["outcome"], "completed", "{report:#}");
    trial.effect(
        "a daemon after its operation",
        survives,
        !processes_with(&marker).is_empty(),
    );
}

fn open_output(trial: &mut Trial) {
    let marker = marker(104);
    let text = format!("echo first; (setsid sleep {marker} &); exit 3");
    // Control: who reads until the end of the file waits for the daemon.
    let mut control = Command::new("/bin/sh")
        .args(["-c", &text])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = control.stdout.take().unwrap();
    let reader = thread::spawn(move || output.read_to_end(&mut Vec::new()).unwrap());
    control.wait().unwrap();
    let hangs = !holds_soon(Duration::from_millis(300), || reader.is_finished());
    end_all(&marker);
    reader.join().unwrap();
    let start = Instant::now();
    let report = trial.inside_with(&["--timeout", "30s"], &text);
    let waited = report["exit_code"] != 3 || start.elapsed() > Duration::from_secs(25);
    assert_eq!(report["stdout"]["text"], "first\n");
    trial.effect("a caller that waits for the daemon", hangs, waited);
}

fn dodging(trial: &mut Trial) {
    let program = program();
    let marker = marker(105);
    let mut control = Command::new(&program)
        .args([FLAG, "dodge", &marker, "3"])
        .spawn()
        .unwrap();
    control.wait().unwrap();
    let survives = holds_soon(Duration::from_secs(2), || {
        !processes_with(&marker).is_empty()
    });
    let report = trial.attack_with(&["--timeout", "1s"], &["dodge", &marker, "20"]);
    assert!(
        report["outcome"] == "completed" || report["outcome"] == "timed_out",
        "{report:#}"
    );
    // The control is over by itself; what is left then came from inside.
    thread::park_timeout(Duration::from_millis(1));
    let left = !holds_soon(Duration::from_secs(8), || {
        processes_with(&marker).is_empty()
    });
    trial.effect("a chain of short-lived processes", survives, left);
}

fn orphans(trial: &mut Trial) {
    let marker = marker(106);
    let mut control = Command::new("/bin/sh")
        .args(["-c", &format!("sleep {marker} & wait")])
        .spawn()
        .unwrap();
    eventually("the control runs", || !processes_with(&marker).is_empty());
    control.kill().unwrap();
    control.wait().unwrap();
    let survives = !processes_with(&marker).is_empty();
    end_all(&marker);
    // From inside: no signal reaches it.
    let report = trial.inside("kill -9 1; kill -TERM 1; kill -SEGV 1; echo alive");
    assert!(said(&report).contains("alive"), "{report:#}");
    // From outside, as a chance would have it.
    let child = trial
        .lab
        .command(&["run", "--json", "--yes", "--", "sleep", &marker])
        .spawn()
        .unwrap();
    // What prepares the guest has the program's arguments too, for a moment.
    let is_sleep = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    };
    let guest = || processes_with(&marker).into_iter().find(is_sleep);
    eventually("the guest runs", || guest().is_some());
    let init = parent_of(guest().expect("it sleeps"));
    end(init);
    let output = child.wait_with_output().unwrap();
    let left = !holds_soon(Duration::from_secs(5), || {
        processes_with(&marker).is_empty()
    });
    trial.effect("an orphan of a killed pid 1", survives, left);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
}

fn parent_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

fn weakening(trial: &mut Trial) {
    trial.probe(&["weaken"]);
    let text = "cat /proc/self/status";
    let report = trial.inside(text);
    let (outside, inside) = (trial.shell_outside(text).stdout, said(&report));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let has = |status: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(set));
            !line.unwrap().trim_matches([':', '\t', '0']).is_empty()
        };
        // An unprivileged caller has a bounding set at least.
        let outside = has(&outside);
        assert!(!has(&inside), "{set} is not empty: {inside}");
        if outside {
            trial.effect(format!("any capability in {set}"), outside, has(&inside));
        }
    }
    assert!(
        inside.contains("NoNewPrivs:\t1") && inside.contains("Seccomp:\t2"),
        "{inside}"
    );
    for wall in ["user_namespace", "mount", "pid", "network", "seccomp"] {
        assert_eq!(report["enforcement"][wall], "full", "{report:#}");
    }
}
