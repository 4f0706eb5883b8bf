//! The main job: run, look, undo, review, commit, discard, remember, destroy.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::lab::{Lab, tree};

/// Starts `kill`, the only way to send a signal without unsafe code.
fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Where in the report, and which fields are there.
const REPORT_FIELDS: &[(&str, &str)] = &[
    (
        "",
        "schema operation sandbox outcome exit_code signal started_at duration_ms verdict",
    ),
    (
        "",
        "usage limits changes violations enforcement stdout stderr",
    ),
    ("/operation", "id type argv cwd"),
    ("/verdict", "decision risk findings"),
    ("/verdict/risk", "level score"),
    (
        "/usage",
        "cpu_ms memory_peak_bytes io_read_bytes io_write_bytes processes_peak",
    ),
    ("/usage", "disk_written_bytes net_rx_bytes net_tx_bytes"),
    ("/limits", "exceeded"),
    (
        "/changes",
        "settlement created modified deleted bytes paths truncated",
    ),
    ("/changes/paths/0", "path change bytes"),
    (
        "/enforcement",
        "user_namespace mount pid network seccomp landlock cgroup missing",
    ),
    ("/stdout", "text truncated bytes"),
    ("/stderr", "text truncated bytes"),
];

#[test]
fn a_run_commits_and_says_so_and_undo_takes_it_back() {
    let lab = Lab::new().file("kept", "before\n").file("old/gone", "x\n");
    let before = lab.tree();
    let ended = lab.sandbox(&[
        "run",
        "--shell",
        "echo out; echo more >> kept; rm -r old; touch new",
    ]);
    ended
        .code(0)
        .says("made 'workspace'")
        .says("committed 1 created, 1 modified, 2 deleted")
        .says("sandbox undo");
    assert_eq!(ended.stdout, "out\n");
    assert_eq!(lab.read("kept").unwrap(), "before\nmore\n");
    assert!(lab.read("new").is_some() && lab.read("old/gone").is_none());

    lab.sandbox(&["undo", "--dry-run"]).code(0).prints("kept");
    assert_ne!(lab.tree(), before);
    lab.sandbox(&["undo"]).code(0).says("undid");
    assert_eq!(lab.tree(), before);
    lab.sandbox(&["undo"]).code(1).says("nothing to undo");
}

#[test]
fn the_report_has_exactly_the_documented_names() {
    let lab = Lab::new();
    let report = lab.run("echo hi > output.txt; echo out; echo err >&2");
    for (place, names) in REPORT_FIELDS {
        for name in names.split(' ') {
            let value = report.pointer(place).and_then(|it| it.get(name));
            assert!(value.is_some(), "no field '{place}/{name}' in {report:#}");
        }
    }
    assert_eq!(report["outcome"], "completed");
    assert_eq!(report["changes"]["settlement"], "committed");
    assert_eq!(report["changes"]["paths"][0]["path"], "output.txt");
    assert_eq!(report["changes"]["paths"][0]["change"], "created");
    assert_eq!(report["stdout"]["text"], "out\n");
    assert_eq!(report["stderr"]["text"], "err\n");
}

#[test]
fn the_report_can_be_shown_later() {
    let lab = Lab::new();
    let report = lab.run("echo hi > output.txt");
    let id = report["operation"]["id"].as_str().unwrap();
    let shown = lab.sandbox(&["show", id, "--json"]).code(0).json();
    assert_eq!(shown["operation"], report["operation"]);
    assert_eq!(shown["changes"], report["changes"]);
    // The end of an id is enough.
    lab.sandbox(&["show", &id[id.len() - 8..]])
        .code(0)
        .prints("output.txt");
    lab.sandbox(&["show", "no-such-operation"])
        .code(1)
        .says("sandbox log");
}

#[test]
fn exit_codes_and_signals_pass_through() {
    let lab = Lab::new();
    lab.sandbox(&["run", "--shell", "exit 7"]).code(7);
    lab.sandbox(&["run", "--shell", "kill -TERM $$"])
        .code(128 + 15)
        .says("signal 15");
    let report = lab.run("kill -KILL $$");
    assert_eq!(
        (report["outcome"].as_str(), report["signal"].as_i64()),
        (Some("killed"), Some(9))
    );
    lab.sandbox(&["run", "--timeout", "300ms", "--", "sleep", "60"])
        .code(124)
        .says("time limit of 300ms");
}

#[test]
fn a_reviewed_change_waits_and_is_committed_or_discarded() {
    let lab = Lab::new().file("text", "one\n");
    let before = lab.tree();
    let held = lab.run_with(&["--review"], "echo two >> text");
    assert_eq!(held["changes"]["settlement"], "pending");
    assert_eq!(lab.tree(), before);
    lab.sandbox(&["diff"]).code(0).prints("+two");
    let diff = lab.sandbox(&["diff", "--json"]).code(0).json();
    assert_eq!(diff["files"][0]["path"], "text");
    let status = lab.sandbox(&["status", "--json"]).code(0).json();
    assert_eq!(status["pending"][0], held["operation"]["id"]);
    lab.sandbox(&["destroy"])
        .code(1)
        .says("would be lost")
        .says("--force");
    lab.sandbox(&["discard"]).code(0);
    assert_eq!(lab.tree(), before);
    lab.sandbox(&["discard"]).code(1).says("waits for review");

    lab.sandbox(&["run", "--review", "--shell", "echo two >> text"])
        .code(0)
        .says("held 1 modified")
        .says("sandbox commit");
    lab.sandbox(&["commit"])
        .code(0)
        .says("committed 1 modified");
    assert_eq!(lab.read("text").unwrap(), "one\ntwo\n");
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before);
}

#[test]
fn a_write_outside_of_the_declared_files_is_not_committed() {
    let lab = Lab::new();
    let text = "echo a > output.txt; echo b > other.txt";
    let report = lab.run_with(&["--files", "output.txt"], text);
    assert_eq!(report["changes"]["settlement"], "discarded");
    assert_eq!(report["violations"][0]["kind"], "declared-files");
    assert_eq!(lab.read("output.txt"), None);
    lab.sandbox(&["run", "--files", "output.txt", "--shell", text])
        .code(126)
        .says("other.txt");
    lab.sandbox(&["run", "--files", "o*.txt", "--shell", text])
        .code(0);
    assert_eq!(lab.read("other.txt").unwrap(), "b\n");
}

#[test]
fn an_operation_document_runs_from_a_file_and_from_standard_input() {
    let lab = Lab::new();
    let document = r#"{"type": "file_operation", "id": "demo_op",
        "command": "echo \"Hello, $NAME\"; cat > input.txt", "env": {"NAME": "Sandbox"}, "stdin": "typed", "files": ["*.txt"]}"#;
    let ended = lab.sandbox_with_input(&["run", "--json", "--operation", "-"], document);
    let report = ended.code(0).json();
    assert_eq!(report["operation"]["id"], "demo_op");
    assert_eq!(report["operation"]["type"], "file_operation");
    assert_eq!(report["stdout"]["text"], "Hello, Sandbox\n");
    assert_eq!(lab.read("input.txt").unwrap(), "typed");
    lab.sandbox(&["show", "demo_op"]).code(0);
    fs::write(
        lab.root().join("op.yaml"),
        "type: command\nargs: [printf, '%s', 'a b']\n",
    )
    .unwrap();
    let ended = lab.sandbox(&["run", "--operation", "../op.yaml"]);
    assert_eq!(ended.code(0).stdout, "a b");
}

#[test]
fn what_happens_to_the_changes_of_a_failing_command_can_be_chosen() {
    let lab = Lab::new();
    let settled = |mode: &str| {
        lab.run_with(&["--on-failure", mode], &format!("touch {mode}; exit 3"))["changes"]["settlement"].clone()
    };
    assert_eq!(settled("keep"), "committed");
    assert_eq!(settled("discard"), "discarded");
    assert_eq!(settled("review"), "pending");
    assert!(
        lab.read("keep").is_some() && lab.read("discard").is_none() && lab.read("review").is_none()
    );
    lab.sandbox(&[
        "run",
        "--on-failure",
        "discard",
        "--shell",
        "touch x; exit 3",
    ])
    .code(3)
    .says("discarded 1 created");
}

#[test]
fn input_is_forwarded_and_output_is_passed_on() {
    let lab = Lab::new();
    let ended = lab.sandbox_with_input(&["run", "--quiet", "--", "tr", "a-z", "A-Z"], "shout\n");
    assert_eq!(ended.code(0).stdout, "SHOUT\n");
    assert_eq!(ended.stderr, "");
    let ended = lab.sandbox(&["run", "-q", "--shell", "echo e >&2; cat"]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", "e\n"));
}

#[test]
fn the_guest_stands_where_the_user_stands() {
    let lab = Lab::new().file("sub/dir/file", "x");
    lab.sandbox(&["create", "mine"]).code(0);
    let ended = lab
        .command(&["run", "-q", "--", "ls"])
        .current_dir(lab.workspace().join("sub/dir"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "file\n");
    let ended = lab
        .command(&["run", "-q", "-w", "../workspace/sub", "--", "ls"])
        .current_dir(lab.home())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "dir\n");
    let ended = lab
        .command(&["run", "-q", "-s", "mine", "--", "ls"])
        .current_dir(lab.home())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "sub\n");
}

#[test]
fn environment_and_paths_are_granted_one_by_one() {
    let lab = Lab::new().env("MINE", "mine").env("SECRET_TOKEN", "secret");
    let outside = lab.root().join("outside");
    fs::write(outside.join("file"), "granted\n").unwrap();
    let outside = outside.to_str().unwrap();
    let ended = lab.sandbox(&[
        "run",
        "-q",
        "--env",
        "MINE",
        "--env",
        "K=V",
        "--shell",
        "echo $MINE $K $SECRET_TOKEN",
    ]);
    assert_eq!(ended.code(0).stdout, "mine V\n");
    let text = format!("cat {outside}/file");
    let without = lab.sandbox(&["run", "-q", "--shell", &text]);
    assert!(
        !without.status.success() && !without.stdout.contains("granted"),
        "{without}"
    );
    let with = lab.sandbox(&["run", "-q", "--read", outside, "--shell", &text]);
    assert_eq!(with.code(0).stdout, "granted\n");
    let with = lab.sandbox(&[
        "run",
        "-q",
        "--write",
        outside,
        "--shell",
        &format!("echo x > {outside}/new"),
    ]);
    with.code(0);
    assert!(fs::exists(format!("{outside}/new")).unwrap());
}

#[test]
fn what_the_judge_asks_about_needs_a_yes() {
    let lab = Lab::new();
    // It must be something that neither confinement nor undo takes back.
    let args = ["run", "--net", "host", "--shell", "git push --force"];
    let ended = lab.sandbox(&args);
    ended.code(126).says("--yes");
    let report = lab
        .sandbox(&[
            "run",
            "--json",
            "--net",
            "host",
            "--shell",
            "git push --force",
        ])
        .code(126)
        .json();
    assert_eq!(report["outcome"], "approval_required");
    let report = lab
        .sandbox(&["run", "--json", "--shell", "rm -rf /"])
        .code(126)
        .json();
    assert_eq!(report["outcome"], "denied");
    lab.sandbox(&["run", "--yes", "--shell", "rm -rf /"])
        .code(126)
        .says("deny");
}

#[test]
fn a_conflict_refuses_the_undo_unless_forced() {
    let lab = Lab::new().file("text", "one\n");
    lab.run("echo two > text");
    fs::write(lab.workspace().join("text"), "edited\n").unwrap();
    lab.sandbox(&["undo"])
        .code(1)
        .says("changed since: text")
        .says("--force");
    assert_eq!(lab.read("text").unwrap(), "edited\n");
    lab.sandbox(&["undo", "--force"]).code(0);
    assert_eq!(lab.read("text").unwrap(), "one\n");
}

#[test]
fn a_signal_ends_the_command_and_the_operation_is_settled() {
    let lab = Lab::new();
    let mut child = lab
        .command(&["run", "--shell", "touch begun; echo ready; sleep 60"])
        .spawn()
        .unwrap();
    // It has begun when it says so.
    let mut ready = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    signal("INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
    let log = lab.sandbox(&["log", "--json"]).code(0).json();
    assert_eq!(log[0]["report"]["outcome"], "cancelled");
    assert_eq!(log[0]["report"]["changes"]["settlement"], "committed");
    assert!(lab.read("begun").is_some());
}

#[test]
fn a_signal_that_was_ignored_before_is_ignored() {
    let lab = Lab::new();
    let program = env!("CARGO_BIN_EXE_sandbox");
    // As nohup(1) starts a program. The command ends by itself once it has read a line.
    let text = format!("trap '' HUP; exec '{program}' run -q --shell 'echo ready; read line'");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &text])
        .current_dir(lab.workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env("SANDBOX_HOME", lab.data());
    let mut child = command.spawn().unwrap();
    let mut ready = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    signal("HUP", child.id());
    child.stdin.take().unwrap().write_all(b"line\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_leaves_ends_the_command() {
    let lab = Lab::new();
    let mut child = lab.command(&["run", "--", "yes"]).spawn().unwrap();
    let mut some = [0; 4];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut some).unwrap();
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
}

#[test]
fn the_report_is_written_to_a_file_too() {
    let lab = Lab::new();
    lab.sandbox(&["run", "-q", "--report", "../report.json", "--", "true"])
        .code(0);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(lab.root().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["outcome"], "completed");
}

#[test]
fn what_fails_after_the_commit_is_no_success() {
    for (text, code) in [("rm -r d", 126), ("rm -r d; exit 3", 3)] {
        let lab = Lab::new().file("d/x", "x");
        lab.sandbox(&["run", "--report", "d/report.json", "--shell", text])
            .code(code)
            .says("its changes were committed")
            .says("cannot write the report");
        assert_eq!(lab.read("d/x"), None);
    }
    let lab = Lab::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut run = lab.command(&["run", "--json", "--", "touch", "x"]);
    let ended = run.stdout(full).spawn().unwrap();
    let ended = ended.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(126), "{stderr}");
    assert!(stderr.contains("its changes were committed"), "{stderr}");
    assert!(lab.read("x").is_some());
    lab.sandbox(&["run", "--report", "/dev/full", "--", "true"])
        .code(125)
        .says("nothing was committed");
}

#[test]
fn a_success_whose_changes_are_held_by_a_conflict_is_refused() {
    let lab = Lab::new().file("text", "one\n");
    let mut run = lab.command(&[
        "run",
        "--shell",
        "echo guest > text; echo ready; read -r line",
    ]);
    let mut run = run.stdin(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 5];
    let stdout = run.stdout.as_mut().unwrap();
    stdout.read_exact(&mut ready).unwrap();
    fs::write(lab.workspace().join("text"), "theirs\n").unwrap();
    run.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    let ended = run.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(126), "{stderr}");
    assert!(stderr.contains("not in the workspace"), "{stderr}");
    assert!(stderr.contains("changed in the workspace"), "{stderr}");
    assert_eq!(lab.read("text").unwrap(), "theirs\n");
    lab.sandbox(&["discard"]).code(0);
}

#[test]
fn what_happened_since_is_shown() {
    let lab = Lab::new();
    let report = lab.run_with(&["--review"], "touch x");
    let id = report["operation"]["id"].as_str().unwrap();
    lab.sandbox(&["commit", id]).code(0);
    lab.sandbox(&["undo", id]).code(0);
    let shown = lab.sandbox(&["show", id, "--json"]).code(0).json();
    assert_eq!(shown["schema"], 1);
    assert_eq!(shown["changes"]["settlement"], "committed");
    assert_eq!(shown["since"], "undone");
}

#[test]
fn everything_removed_by_mistake_comes_back() {
    let lab = Lab::new()
        .file("a/b/c", "x")
        .file(".git/HEAD", "ref\n")
        .file("top", "y");
    let before = tree(&lab.workspace());
    lab.sandbox(&["run", "--shell", "rm -rf ./* .git"]).code(0);
    assert_eq!(lab.tree().len(), 1);
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before);
}
