//! The library as programs use it: real commands, really confined, from async code.
//!
//! The tests pass as root and as an unprivileged user. They count what the process holds, so they
//! run one after the other.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use sandbox_core::{
    EventKind, Host, Progress, SandboxCore,
    types::{Operation, OperationReport, Outcome, SandboxConfig, Settlement, Stream},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A home for sandboxes, and a runtime with both drivers.
struct Lab {
    root: TempDir,
    runtime: Runtime,
    alone: MutexGuard<'static, ()>,
}

pub(crate) fn take_turn() -> MutexGuard<'static, ()> {
    // A test that failed has left nothing that the next one needs.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lab {
    fn new() -> Self {
        Self::alone(take_turn())
    }

    fn alone(alone: MutexGuard<'static, ()>) -> Self {
        Self {
            root: tempfile::Builder::new()
                .prefix("sandbox-core-it-")
                .tempdir()
                .unwrap(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            alone,
        }
    }

    async fn open(&self, name: &str) -> SandboxCore {
        let path = |name: &str| self.root.path().join(name).display().to_string();
        let host = Host::from_variables(vec![
            ("SANDBOX_HOME".into(), path("data").into()),
            ("HOME".into(), path("home").into()),
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
        ]);
        let config = SandboxConfig::builder(name)
            .workspace(self.root.path().join(name))
            .build()
            .unwrap();
        SandboxCore::open_on(host, config).await.unwrap()
    }
}

/// Waits for the end of the newest operation, as the journal tells it.
async fn finished(core: &SandboxCore) -> OperationReport {
    let mut events = core.events(Some(0)).unwrap();
    loop {
        let event = timeout(PATIENCE, events.next()).await.expect("in time");
        if let EventKind::OperationFinished(report) = event.unwrap().unwrap().kind {
            return *report;
        }
    }
}

/// Returns the processes whose command line contains `text`, but for this one.
fn processes_with(text: &str) -> usize {
    let this = std::process::id().to_string();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| *entry.file_name() != *this)
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(text))
        .count()
}

#[track_caller]
fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let (_never, timer) = mpsc::channel::<()>();
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        let _passed = timer.recv_timeout(Duration::from_millis(5));
    }
}

/// Makes the guest wait for ever, findable from outside, after it has written a file: it has when `sleep` runs, whose
/// words are kept apart by NUL.
fn endless(mark: &str) -> Operation {
    let mut operation = Operation::shell(format!("echo x > made; exec sleep 1000.{mark}"));
    operation.on_failure = sandbox_core::types::OnFailure::Discard;
    operation
}

/// Settled, recorded, and nothing of the guest is alive.
fn check_ended(lab: &Lab, core: &SandboxCore, mark: &str) {
    let report = lab.runtime.block_on(finished(core));
    assert_eq!(report.outcome, Outcome::Cancelled, "{report:?}");
    assert_eq!(report.changes.settlement, Settlement::Discarded);
    assert_eq!(processes_with(mark), 0);
    assert!(!core.workspace().join("made").exists());
    assert!(core.pending().unwrap().is_empty());
}

#[test]
fn a_program_runs_undoes_and_cleans_up() {
    let lab = Lab::new();
    lab.runtime.block_on(async {
        let core = lab.open("box").await;
        let operation = Operation::shell("echo hello > output.txt").files(["output.txt"]);
        let report = core.execute(operation).await.unwrap();
        assert_eq!(report.outcome, Outcome::Completed);
        let file = core.workspace().join("output.txt");
        assert_eq!(fs::read_to_string(&file).unwrap(), "hello\n");
        core.undo(report.id()).await.unwrap();
        assert!(!file.exists());
        core.cleanup().await.unwrap();
        assert!(!lab.root.path().join("data/sandboxes/box").exists());
    });
}

#[test]
fn output_and_progress_come_as_they_happen() {
    let lab = Lab::new();
    lab.runtime.block_on(async {
        let core = lab.open("box").await;
        let mut running = core.start(Operation::shell("echo one; echo two >&2; echo three > f"));
        let (mut told, mut out, mut err) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(progress) = timeout(PATIENCE, running.next()).await.unwrap() {
            match progress {
                Progress::Judged(_) => told.push("judged"),
                Progress::Started => told.push("started"),
                Progress::Output { stream, bytes } => match stream {
                    Stream::Stdout => out.extend(bytes),
                    Stream::Stderr => err.extend(bytes),
                },
                Progress::Settled(settlement) => {
                    assert_eq!(settlement, Settlement::Committed);
                    told.push("settled");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, ["judged", "started", "settled"]);
        assert_eq!((&out[..], &err[..]), (&b"one\n"[..], &b"two\n"[..]));
        let report = running.report().await.unwrap();
        assert_eq!(report.stdout.data, out);
    });
}

#[test]
fn a_large_output_comes_whole_and_a_slow_reader_holds_it_up() {
    const BYTES: usize = 32 * 1024 * 1024;
    let print = || Operation::shell(format!("head -c {BYTES} /dev/zero"));
    let lab = Lab::new();
    lab.runtime.block_on(async {
        let core = lab.open("box").await;
        let mut running = core.start(print());
        let mut count = 0;
        while let Some(progress) = timeout(PATIENCE, running.next()).await.unwrap() {
            if let Progress::Output { bytes, .. } = progress {
                count += bytes.len();
            }
        }
        assert_eq!(count, BYTES);
        assert_eq!(running.report().await.unwrap().outcome, Outcome::Completed);

        // Nobody reads: the guest waits, its end can still be asked for, and little is kept.
        let mut running = core.start(print());
        while !matches!(running.next().await.unwrap(), Progress::Output { .. }) {}
        let cancel = running.cancellation();
        cancel.cancel();
        let mut kept = 0;
        while let Some(progress) = timeout(PATIENCE, running.next()).await.unwrap() {
            kept += usize::from(matches!(progress, Progress::Output { .. }));
        }
        assert!(kept <= 200, "{kept} pieces");
        let report = timeout(PATIENCE, running.report()).await.unwrap().unwrap();
        assert_eq!(report.outcome, Outcome::Cancelled);

        // Whoever wants the report alone does not wait for itself to read.
        let report = timeout(PATIENCE, core.start(print()).report())
            .await
            .unwrap();
        assert_eq!(report.unwrap().stdout.bytes, u64::try_from(BYTES).unwrap());
    });
}

#[test]
fn a_time_limit_ends_a_guest_that_nobody_reads() {
    let lab = Lab::new();
    lab.runtime.block_on(async {
        let core = lab.open("box").await;
        let operation = Operation::shell("yes").timeout(Duration::from_millis(500));
        let mut running = core.start(operation);
        let report = finished(&core).await;
        assert_eq!(report.outcome, Outcome::TimedOut);
        // What was kept is there still.
        assert!(matches!(running.next().await, Some(Progress::Judged(_))));
    });
}

#[test]
fn a_token_ends_an_operation() {
    let lab = Lab::new();
    let core = lab.runtime.block_on(lab.open("box"));
    let _runtime = lab.runtime.enter();
    let running = core.start(endless("10001"));
    wait_until("it runs", || processes_with("sleep\u{0}1000.10001") > 0);
    running.cancel();
    let report = lab
        .runtime
        .block_on(async { timeout(PATIENCE, running.report()).await });
    assert_eq!(report.unwrap().unwrap().outcome, Outcome::Cancelled);
    check_ended(&lab, &core, "1000.10001");
}

#[test]
fn a_dropped_operation_ends() {
    let lab = Lab::new();
    let core = lab.runtime.block_on(lab.open("box"));
    let _runtime = lab.runtime.enter();
    let running = core.start(endless("10002"));
    wait_until("it runs", || processes_with("sleep\u{0}1000.10002") > 0);
    drop(running);
    check_ended(&lab, &core, "1000.10002");
}

#[test]
fn a_future_that_timed_out_ends_its_operation() {
    let lab = Lab::new();
    let core = lab.runtime.block_on(lab.open("box"));
    let gave_up = lab.runtime.block_on(async {
        let executing = core.execute(endless("10003"));
        timeout(Duration::from_millis(500), executing).await
    });
    gave_up.unwrap_err();
    // It is being settled at this moment, and that is waited for.
    let journal = lab.root.path().join("data/journal.log");
    let again = core.clone();
    lab.runtime.block_on(again.cleanup()).unwrap();
    assert_eq!(processes_with("1000.10003"), 0);
    assert!(!core.workspace().join("made").exists());
    assert!(journal.exists());
}

#[test]
fn a_runtime_that_is_shut_down_ends_its_operations() {
    let mut lab = Lab::new();
    let core = lab.runtime.block_on(lab.open("box"));
    let other = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let running = {
        let _runtime = other.enter();
        core.start(endless("10004"))
    };
    wait_until("it runs", || processes_with("sleep\u{0}1000.10004") > 0);
    // Waits until the operation is settled.
    drop(other);
    assert_eq!(processes_with("1000.10004"), 0);
    drop(running);
    check_ended(&lab, &core, "1000.10004");
    lab.runtime = Runtime::new().unwrap();
}

/// What a process can leak.
#[derive(Debug, PartialEq)]
struct Held {
    descriptors: usize,
    threads: usize,
    children: usize,
    mounts: usize,
    cgroups: usize,
}

impl Held {
    fn now() -> Self {
        let count = |path: &str| fs::read_dir(path).unwrap().count();
        let children: usize = fs::read_dir("/proc/self/task")
            .unwrap()
            .map(|task| fs::read_to_string(task.unwrap().path().join("children")))
            .map(|text| text.unwrap_or_default().split_whitespace().count())
            .sum();
        // The others are the test harness's.
        let threads = fs::read_dir("/proc/self/task")
            .unwrap()
            .map(|task| fs::read_to_string(task.unwrap().path().join("comm")))
            .filter(|name| {
                let name = name.as_deref().unwrap_or_default();
                name.starts_with("sandbox-") || name.starts_with("tokio-")
            })
            .count();
        let mine = format!("sandbox-{}-", std::process::id());
        let (mut waiting, mut cgroups) = (vec![PathBuf::from("/sys/fs/cgroup")], 0);
        while let Some(directory) = waiting.pop() {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            for entry in entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())) {
                cgroups += usize::from(entry.file_name().to_string_lossy().starts_with(&mine));
                waiting.push(entry.path());
            }
        }
        Self {
            descriptors: count("/proc/self/fd"),
            threads,
            children,
            // Others mount and unmount, too: of ours, all lie in temporary directories.
            mounts: fs::read_to_string("/proc/self/mountinfo")
                .unwrap()
                .lines()
                .filter(|line| line.contains(&*std::env::temp_dir().to_string_lossy()))
                .count(),
            cgroups,
        }
    }
}

#[test]
fn sixty_four_at_once_in_eight_sandboxes_leave_nothing() {
    // What is opened once and kept (by the allocator, the runtime, the test harness) is not counted.
    drop(Lab::new());
    let alone = take_turn();
    let before = Held::now();
    let lab = Lab::alone(alone);
    lab.runtime.block_on(async {
        let mut cores = Vec::new();
        for number in 0..8 {
            cores.push(lab.open(&format!("box-{number}")).await);
        }
        let mut streams: Vec<_> = cores
            .iter()
            .map(|core| core.events(Some(0)).unwrap())
            .collect();
        let running: Vec<_> = (0..64)
            .map(|number| {
                let text = format!("echo {number}; echo {number} > file-{number}");
                cores[number % 8].start(Operation::shell(text))
            })
            .collect();
        for (number, running) in running.into_iter().enumerate() {
            let report = timeout(PATIENCE, running.report()).await.unwrap().unwrap();
            assert_eq!(report.outcome, Outcome::Completed, "{report:?}");
            assert_eq!(report.stdout.data, format!("{number}\n").as_bytes());
            let file = cores[number % 8].workspace().join(format!("file-{number}"));
            assert_eq!(fs::read_to_string(file).unwrap(), format!("{number}\n"));
        }
        // Each sandbox was told of its making, and of eight starts and ends, in order.
        for stream in &mut streams {
            for sequence in 1..=17 {
                let event = timeout(PATIENCE, stream.next()).await.unwrap();
                assert_eq!(event.unwrap().unwrap().sequence, sequence);
            }
        }
        drop(streams);
        for core in cores {
            assert!(core.audit().unwrap().damage.is_none());
            core.cleanup().await.unwrap();
        }
    });
    let Lab {
        root,
        runtime,
        alone,
    } = lab;
    drop((runtime, root));
    let start = Instant::now();
    while Held::now() != before && start.elapsed() < PATIENCE {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(Held::now(), before, "not everything is given back");
    drop(alone);
}
