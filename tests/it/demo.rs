//! `sandbox demo`: the whole story holds, and nothing of it is left, however it ends.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::lab::Lab;

/// What the story is about, in its order.
const CHAPTERS: [&str; 17] = [
    "Judge", "Confine", "Limit", "Run", "Review", "Declare", "Approve", "Scan", "Shape", "Survive",
    "Snapshot", "Keep", "Watch", "Suspend", "Tell", "Remember", "Leave",
];

/// A lab in which the demo finds its place in a directory that is empty.
fn lab() -> Lab {
    let lab = Lab::new();
    let temporary = lab.root().join("outside");
    lab.env("TMPDIR", temporary.to_str().unwrap())
}

#[track_caller]
fn nothing_is_left(lab: &Lab) {
    let temporary = lab.root().join("outside");
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let root = temporary.to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(root), "{mounts}");
    // Ended processes leave the table a moment after their parent is told.
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(process) = process_of(root) {
        assert!(Instant::now() < deadline, "{process} is left");
        std::thread::yield_now();
    }
}

/// Returns a process that works for a demo below `root`.
fn process_of(root: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let found = processes.map(|it| it.path()).find(|process| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let works = fs::read_link(process.join("cwd")).unwrap_or_default();
        let home = format!("SANDBOX_HOME={root}");
        String::from_utf8_lossy(&environment).contains(&home) || works.starts_with(root)
    });
    found.map(|it| it.display().to_string())
}

#[test]
fn every_chapter_is_told_and_every_step_holds() {
    let lab = lab();
    let ended = lab
        .command(&["demo"])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("✓") && !stdout.contains("✗"), "{stdout}");
    let mut said = stdout.lines();
    for (at, chapter) in CHAPTERS.into_iter().enumerate() {
        let title = format!("{}. {chapter}: ", at + 1);
        assert!(said.any(|it| it.starts_with(&title)), "{title}{stdout}");
        let step = said.clone().take_while(|it| !it.is_empty());
        assert!(step.filter(|it| it.contains("✓")).count() > 0, "{title}");
    }
    nothing_is_left(&lab);
}

#[test]
fn its_json_has_every_step() {
    // Also for a user without a home.
    let lab = lab().without_env("HOME").without_env("SANDBOX_HOME");
    let told = lab.sandbox(&["demo", "--json"]).code(0).json();
    let keys: Vec<_> = told.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["duration_ms", "ok", "steps"]);
    assert_eq!(told["ok"], true);
    assert!(told["duration_ms"].as_f64().unwrap() > 0.0);
    let steps = told["steps"].as_array().unwrap();
    assert!(steps.len() > 3 * CHAPTERS.len(), "{told:#}");
    for step in steps {
        assert_eq!(step["held"], true, "{step}");
        assert!(step["claim"].is_string() && step["detail"].is_string());
    }
    nothing_is_left(&lab);
}

#[test]
fn interrupted_it_cleans_up() {
    let lab = lab();
    // While something runs, while another `sandbox run` is about to be killed, while all is frozen.
    for told in ["time limit", "is healthy", "frozen", "freeze"] {
        let mut demo = lab
            .command(&["demo"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        let mut lines = lines.map(|line| line.unwrap());
        if !lines.any(|line| line.contains(told)) {
            // Hosts differ in whether they can freeze: one of the two was told.
            assert!(told.starts_with("fr"), "{told} is not told");
            assert!(demo.wait().unwrap().success());
            continue;
        }
        let pid = demo.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
        // It may write on: who does not read holds it up.
        lines.for_each(drop);
        let ended = demo.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{told}: {stderr}");
        assert!(stderr.contains("interrupted"), "{told}: {stderr}");
        nothing_is_left(&lab);
    }
}
