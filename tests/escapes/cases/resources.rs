//! More than one command may have.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    attacker::FLAG,
    suite::Case,
    trial::{Reach, Trial, is_root, peak_of, program, said},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "15 R1", layer: "pids limit", what: "a fork bomb", run: fork_bomb },
    Case { numbers: "16", layer: "pids limit", what: "threads and zombies without end", run: threads },
    Case { numbers: "19 R2", layer: "memory cgroup", what: "memory without end", run: memory },
    Case { numbers: "20 R3", layer: "tmpfs size, memory cgroup", what: "fill /tmp, /dev/shm and files without a name", run: temporary },
    Case { numbers: "21 R5 R9", layer: "commit, snapshot", what: "very many, very deep, very long and very sparse files", run: many_files },
    Case { numbers: "22 23 R8", layer: "supervisor", what: "output without end on both streams", run: output },
    Case { numbers: "24 R7", layer: "cpu cgroup, supervisor", what: "use all processors", run: processor },
    Case { numbers: "25 R6", layer: "rlimits, ipc namespace", what: "use up descriptors, leave shared memory", run: shared },
    Case { numbers: "26", layer: "io cgroup", what: "a storm of input and output", run: storm },
    Case { numbers: "27", layer: "rlimits", what: "a core dump", run: core_dump },
    Case { numbers: "R4", layer: "disk limit", what: "fill the workspace's disk", run: disk },
    Case { numbers: "R10", layer: "snapshot", what: "a compressed bomb in a snapshot", run: bomb },
];

/// Returns the number after `made`.
fn made(text: &str) -> usize {
    let line = text.lines().find_map(|line| line.strip_prefix("made "));
    line.and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn is_limited(report: &Value, most: usize) -> bool {
    made(&said(report)) <= most && made(&said(report)) > 0
}

fn fork_bomb(trial: &mut Trial) {
    let marker = format!("51.{}", std::process::id());
    let outside = made(&trial.attack_outside(&["fork", "200", &marker, "bound"]));
    for pid in crate::trial::processes_with(&marker) {
        crate::trial::end(pid);
    }
    let report = trial.attack_with(&["--pids", "40"], &["fork", "200", &marker]);
    trial.effect(
        "200 processes where 40 are allowed",
        outside == 200,
        !is_limited(&report, 40),
    );
    let left = crate::trial::processes_with(&marker).len();
    trial.never("a process of the bomb afterwards", left > 0);
    let report = trial.inside_with(
        &["--pids", "40", "--timeout", "2s"],
        "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 60",
    );
    assert_ne!(report["outcome"], "completed", "{report:#}");
    let start = Instant::now();
    assert_eq!(
        trial.inside("echo responsive")["stdout"]["text"],
        "responsive\n"
    );
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "the host is not responsive"
    );
}

fn threads(trial: &mut Trial) {
    for kind in ["threads", "zombies"] {
        let outside = made(&trial.attack_outside(&[kind, "200"]));
        let report = trial.attack_with(&["--pids", "40"], &[kind, "200"]);
        trial.effect(
            format!("200 {kind} where 40 are allowed"),
            outside == 200,
            !is_limited(&report, 40),
        );
    }
}

fn memory(trial: &mut Trial) {
    let outside = made(&trial.attack_outside(&["eat", "200"]));
    let program = program();
    let run = [
        "run", "--json", "--yes", "--read", &program, "--memory", "64M", "--", &program, FLAG,
        "eat", "200",
    ];
    let ended = trial.lab.sandbox(&run);
    if ended.status.code() == Some(125) {
        assert!(
            ended
                .stdout
                .contains("cannot hold the requested memory limit"),
            "{ended}"
        );
        trial.cannot_show(
            "memory: this user has no cgroup here, and a requested limit refuses the run",
        );
        return;
    }
    let report = ended.json();
    assert_eq!(report["limits"]["exceeded"], "memory", "{report:#}");
    trial.effect(
        "200 MiB where 64 are allowed",
        outside == 200,
        said(&report).contains("made 200"),
    );
}

fn temporary(trial: &mut Trial) {
    let text = "for d in /tmp /dev/shm ~; do head -c 6000000 /dev/zero > $d/escape-fill && echo filled; rm -f $d/escape-fill; done";
    let free = trial.inside(text);
    trial
        .lab
        .sandbox(&["destroy", "--force", "workspace"])
        .code(0);
    let config = trial.lab.root().join("small.yaml");
    fs::write(&config, "resource_limits: {tmp_mb: 2}\n").unwrap();
    trial
        .lab
        .sandbox(&["create", "-c", config.to_str().unwrap()])
        .code(0);
    let report = trial.inside(text);
    trial.effect(
        "6 MB where 2 MiB are allowed",
        said(&free).matches("filled").count() == 3,
        said(&report).contains("filled"),
    );
    let outside = made(&trial.attack_outside(&["anonymous", "150"]));
    let program = program();
    let ended = trial.lab.sandbox(&[
        "run",
        "--json",
        "--yes",
        "--read",
        &program,
        "--memory",
        "64M",
        "--",
        &program,
        FLAG,
        "anonymous",
        "150",
    ]);
    if is_root() {
        trial.effect(
            "150 MiB in a file without a name where 64 MiB are allowed",
            outside == 150,
            ended.stdout.contains("made 150"),
        );
    } else if ended.status.code() == Some(125) {
        trial.cannot_show("memory of unnamed files: this user has no cgroup here, and a requested limit refuses the run");
    }
}

fn many_files(trial: &mut Trial) {
    let count = if trial.variant.is_long {
        "1000000"
    } else {
        "3000"
    };
    let report = trial.attack_with(&[], &["many", count]);
    assert_eq!(report["changes"]["settlement"], "committed", "{report:#}");
    assert_eq!(report["changes"]["truncated"], true);
    trial.lab.sandbox(&["undo"]).code(0);
    assert_eq!(fs::read_dir(trial.lab.workspace()).unwrap().count(), 0);
    // Deeper than any path can be written: 60 times 200 bytes.
    let depth = if trial.variant.is_long { "5000" } else { "60" };
    let report = trial.attack_with(&[], &["deep", depth]);
    assert_eq!(report["changes"]["settlement"], "committed", "{report:#}");
    let outside = trial.shell_outside(
        "p=$(printf 'd%.0s' $(seq 200)); cat \"$(yes $p | head -30 | tr '\\n' /)x\"",
    );
    trial.lab.sandbox(&["snapshot", "create"]).code(0);
    trial.lab.sandbox(&["undo"]).code(0);
    trial.effect(
        "a tree that is too deep for paths stays",
        !outside.status.success(),
        fs::read_dir(trial.lab.workspace()).unwrap().count() > 0,
    );
    // Holes: the size of a file says nothing of what it holds.
    let report = trial.inside("truncate -s 4T sparse && stat -c %s sparse");
    assert_eq!(report["exit_code"], 0, "{report:#}");
    let start = Instant::now();
    let ended = trial.lab.sandbox(&["snapshot", "create", "--json"]);
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "a hole of 4 TiB was read"
    );
    assert!(ended.status.success(), "{ended}");
}

fn output(trial: &mut Trial) {
    let mib = if trial.variant.is_long { 50 * 1024 } else { 48 };
    let program = program();
    for (stream, name, piece) in [("1", "stdout", "65536"), ("2", "stderr", "4096")] {
        let size = mib.to_string();
        let mut command = trial.lab.command(&[
            "run", "--json", "--yes", "--read", &program, "--", &program, FLAG, "print", stream,
            &size, piece,
        ]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        let mut peak = 0;
        let mut text = String::new();
        let reader = child.stdout.take().unwrap();
        let collected = std::thread::spawn(move || std::io::read_to_string(reader).unwrap());
        while child.try_wait().unwrap().is_none() {
            peak = peak.max(peak_of(pid));
            std::thread::park_timeout(Duration::from_millis(2));
        }
        text.push_str(&collected.join().unwrap());
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report[name]["bytes"], mib << 20, "counted");
        assert_eq!(report[name]["truncated"], true);
        let kept = report[name]["text"].as_str().unwrap().len();
        let control = trial.attack_outside(&["print", stream, "48", piece]).len();
        trial.effect(
            format!("{mib} MiB of {name} kept"),
            control >= 48 << 20,
            kept > 2 << 20 || text.len() > 4 << 20,
        );
        trial.never("its memory was not seen", peak == 0);
        trial.never(
            format!("{mib} MiB of {name} in memory of {peak} KiB"),
            peak > 40 << 10,
        );
    }
    let journal = size_of(&trial.lab.data());
    trial.never("the same on the host's disk", journal > 16 << 20);
}

fn size_of(directory: &std::path::Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_of(&entry.path()),
        _ => entry.metadata().map_or(0, |it| it.len()),
    };
    entries.map(size).sum()
}

fn processor(trial: &mut Trial) {
    let program = program();
    let run = [
        "run",
        "--json",
        "--yes",
        "--cpu",
        "5%",
        "--timeout",
        "20s",
        "--read",
        &program,
        "--",
        &program,
        FLAG,
        "spin",
        "3",
    ];
    let ended = trial.lab.sandbox(&run);
    if ended.status.code() == Some(125) {
        trial.cannot_show(
            "processor share: this user has no cgroup here, and a requested limit refuses the run",
        );
    } else {
        let report = ended.json();
        let limited = report["usage"]["cpu_ms"].as_f64().unwrap();
        let free = trial.attack_with(&[], &["spin", "3"])["usage"]["cpu_ms"]
            .as_f64()
            .unwrap();
        trial.effect(
            format!(
                "three seconds of a processor where a twentieth is allowed: {limited} ms used, {}",
                report["enforcement"]
            ),
            free > 400.0,
            limited > free / 3.0,
        );
    }
    let start = Instant::now();
    let report = trial.attack_with(&["--timeout", "400ms"], &["spin", "30"]);
    trial.never(
        "30 seconds where 0.4 are allowed",
        report["outcome"] != "timed_out" || start.elapsed() > Duration::from_secs(20),
    );
    trial.cannot_show("a clock that is set back while the limit runs: setting this host's clock would harm others");
}

fn shared(trial: &mut Trial) {
    let outside = made(&trial.attack_outside(&["descriptors"]));
    let report = trial.attack_with(&[], &["descriptors"]);
    let inside = made(&said(&report));
    trial.effect(
        "more than 4,096 descriptors",
        outside > 4096,
        inside > 4096 || inside == 0,
    );
    let key = 0x5AB0_0000 + std::process::id();
    let arguments = ["shared", &key.to_string()];
    let of_host = || {
        let tables = ["shm", "sem", "msg"]
            .map(|it| fs::read_to_string(format!("/proc/sysvipc/{it}")).unwrap_or_default());
        tables.iter().any(|table| table.contains(&key.to_string()))
    };
    let report = trial.attack_with(&[], &arguments);
    assert!(said(&report).contains("through"), "{report:#}");
    let is_left_inside = of_host();
    trial.attack_outside(&arguments);
    let is_left_outside = of_host();
    for flag in ["-M", "-S", "-Q"] {
        // The control's own, by their key.
        let _removed = Command::new("ipcrm")
            .args([flag, &format!("{key:#x}")])
            .output();
    }
    trial.effect(
        "shared memory, semaphores or queues afterwards",
        is_left_outside,
        is_left_inside,
    );
}

fn storm(trial: &mut Trial) {
    let report =
        trial.inside("dd if=/dev/zero of=storm bs=1M count=16 conv=fsync 2>/dev/null; rm storm");
    let io = report["enforcement"].to_string();
    if trial
        .lab
        .sandbox(&["run", "--help"])
        .stdout
        .contains("--io")
        || io.contains("io limit")
    {
        assert_eq!(report["outcome"], "completed");
    }
    trial.cannot_show(
        "input and output: no limit of them is built in or asked for, so there is none to break",
    );
}

fn core_dump(trial: &mut Trial) {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with(['|', '/']) {
        trial.cannot_show(format!("core dumps: this host's go to {}", pattern.trim()));
        return;
    }
    let text = "ulimit -c unlimited 2>/dev/null; sh -c 'kill -SEGV $$'; ls | grep -c '^core'; rm -f core*; true";
    let outside = trial.shell_outside(text);
    let report = trial.inside(text);
    let count = |text: &str| {
        text.lines()
            .filter_map(|it| it.parse::<u32>().ok())
            .sum::<u32>()
    };
    trial.effect(
        "a core file",
        count(&outside.stdout) > 0,
        count(&said(&report)) > 0,
    );
}

fn disk(trial: &mut Trial) {
    let text = "dd if=/dev/zero of=big bs=1M count=40 2>/dev/null; stat -c 'made %s' big";
    let free = trial.inside_with(&[], text);
    trial.lab.sandbox(&["undo"]).code(0);
    let report = trial.inside_with(&["--disk", "8M"], text);
    let is_there = trial.lab.workspace().join("big").exists();
    trial.effect(
        "40 MiB in the workspace where 8 are allowed",
        free["changes"]["settlement"] == "committed",
        is_there,
    );
    assert_ne!(report["changes"]["settlement"], "committed", "{report:#}");
}

fn bomb(trial: &mut Trial) {
    // 256 MiB of zeros are a few KiB in the repository; going through them takes bounded memory.
    let size = 256_u64 << 20;
    fs::File::create(trial.lab.workspace().join("zeros")).unwrap();
    let report = trial.inside("head -c 268435456 /dev/zero > zeros; stat -c 'made %s' zeros");
    assert_eq!(made(&said(&report)) as u64, size, "{report:#}");
    trial.lab.sandbox(&["snapshot", "create"]).code(0);
    fs::remove_file(trial.lab.workspace().join("zeros")).unwrap();
    let list = trial.lab.sandbox(&["snapshot", "list", "--json"]).stdout;
    let document: Value = serde_json::from_str(&list).unwrap_or(Value::Null);
    let id = document
        .as_array()
        .or_else(|| document["snapshots"].as_array())
        .and_then(|it| it.first())
        .map(|it| it["id"].as_str().unwrap().to_owned());
    let id = id.unwrap_or_else(|| panic!("{list}"));
    let mut child = trial
        .lab
        .command(&["snapshot", "restore", &id])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_of(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    };
    assert!(status.success(), "{status}");
    trial.attempt(
        format!("256 MiB restored in {peak} KiB of memory"),
        Reach::Through,
        Reach::through_if(peak > 160 << 10),
    );
}
