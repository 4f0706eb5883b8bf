//! Bad input: each is a clear error with the documented exit code, and a next step.

use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, process::Stdio};

use crate::lab::Lab;

/// An argument longer than the kernel takes, as an operation document.
const HUGE_BYTES: usize = 10 * 1024 * 1024;

/// What is typed, and what is said about it.
const UNUSABLE: &[(&[&str], &str)] = &[
    (&[], "Usage"),
    (&["staus"], "similar"),
    (&["run"], "required"),
    (&["run", "--"], "required"),
    (&["run", "--", ""], "the command is empty"),
    (&["run", "--shell", "  "], "the command is empty"),
    (
        &["run", "--timeout", "-5", "--", "true"],
        "'-5' is not a duration",
    ),
    (
        &["run", "--timeout", "0", "--", "true"],
        "longer than nothing",
    ),
    (&["run", "--memory", "0", "--", "true"], "at least 4 MiB"),
    (&["run", "--memory", "lots", "--", "true"], "is not a size"),
    (&["run", "--cpu", "0%", "--", "true"], "at least 1"),
    (
        &["run", "--pids", "x", "--", "true"],
        "is not a whole number",
    ),
    (&["run", "--net", "allow", "--", "true"], "add --allow-host"),
    (
        &[
            "run",
            "--net",
            "host",
            "--allow-host",
            "a.example",
            "--",
            "true",
        ],
        "leave --net out",
    ),
    (
        &["run", "--allow-host", "http://a.example/", "--", "true"],
        "only its host and port",
    ),
    (
        &["run", "--allow-host", "127.1", "--", "true"],
        "read as an address",
    ),
    (&["run", "--detached", "--", "true"], "unexpected argument"),
    (
        &["run", "--shell", "true", "--", "true"],
        "cannot be used with",
    ),
    (
        &["run", "--review", "--direct", "--", "true"],
        "cannot be used with",
    ),
    (
        &["run", "--direct", "--files", "x", "--", "true"],
        "cannot be kept by a direct run",
    ),
    (
        &["run", "--direct", "--on-failure", "discard", "--", "true"],
        "cannot be kept by a direct run",
    ),
    (
        &["run", "--direct", "--disk", "1G", "--", "true"],
        "cannot be kept by a direct run",
    ),
    (
        &["run", "--files", "a[", "--", "true"],
        "cannot use the declared writes",
    ),
    (
        &["run", "--report", "/no/such/dir/report.json", "--", "true"],
        "cannot write the report",
    ),
    (&["run", "--env", "=x", "--", "true"], "the name is empty"),
    (
        &["run", "--read", "/no/such/path", "--", "true"],
        "cannot grant /no/such/path",
    ),
    (
        &["run", "-w", "/no/such/dir", "--", "true"],
        "does not exist",
    ),
    (
        &["run", "-c", "/no/such.yaml", "--", "true"],
        "cannot read the configuration file",
    ),
    (
        &["run", "--operation", "/no/such.json"],
        "cannot read /no/such.json",
    ),
    (&["check"], "required"),
    (&["check", "--", ""], "the command is empty"),
    (&["-s", "bad name", "status"], "not a valid sandbox name"),
    (&["log", "-n", "many"], "invalid value"),
];

#[test]
fn what_cannot_be_typed_exits_with_2() {
    let lab = Lab::new();
    for (args, expected) in UNUSABLE {
        let ended = lab.sandbox(args);
        ended.code(2).says(expected);
        assert!(ended.stdout.is_empty(), "{ended}");
    }
    assert!(
        !lab.data().exists(),
        "nothing may be made for a request that is wrong"
    );
}

#[test]
fn a_workspace_that_is_a_file_is_refused() {
    let lab = Lab::new().file("file", "x");
    lab.sandbox(&["run", "-w", "file", "--", "true"])
        .code(2)
        .says("is not a directory")
        .says("hint:");
    lab.sandbox(&["create", "-w", "file"])
        .code(2)
        .says("is not a directory");
    lab.sandbox(&["create", "-w", "no/such/parent"])
        .code(2)
        .says("does not exist");
    lab.sandbox(&["create", "-w", "/usr"])
        .code(2)
        .says("belongs to the system");
}

#[test]
fn a_wrong_configuration_names_file_line_key_and_the_nearest_known_key() {
    let cases = [
        ("resource_limits:\n  memroy_mb: 5\n", "memory_mb", "2:3"),
        ("resource_limits:\n  memory_mb: lots\n", "memory_mb", "2:"),
        ("resource_limits:\n  memory_mb: 0\n", "at least 4", "2:"),
        ("resource_limits:\n  memory_mb: -1\n", "at least 4", "2:"),
        ("resource_limits: [\n", "cannot read", ":"),
        ("colour: red\n", "unknown key", "1:1"),
    ];
    for (text, expected, place) in cases {
        let lab = Lab::new();
        let path = lab.root().join("wrong.yaml");
        fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        for args in [
            &["config", "validate", file][..],
            &["run", "-c", file, "--", "true"],
            &["create", "-c", file],
            &["check", "-c", file, "--", "true"],
        ] {
            lab.sandbox(args)
                .code(2)
                .says(expected)
                .says(&format!("{file}:{place}").replace("::", ":"));
        }
        assert!(
            !lab.data().join("sandboxes").exists(),
            "a wrong configuration made a sandbox: {text}"
        );
    }
}

#[test]
fn an_invalid_operation_document_is_refused() {
    let cases = [
        (r#"{"type": "command", "comand": "true"}"#, "command"),
        (r#"{"type": "command"}"#, "neither"),
        (r#"{"type": "script", "command": "true"}"#, "script"),
        (r#"{"type": "command", "command": ""}"#, "nothing to run"),
        (
            r#"{"type": "command", "command": "true", "timeout": "-5s"}"#,
            "timeout",
        ),
        (
            r#"{"type": "command", "command": "true", "limits": {"memory_mb": 0}}"#,
            "memory_mb",
        ),
        (r#"{"type": "command", "command": 5}"#, "expected text"),
        ("{", "cannot read"),
        ("[]", "expected an object"),
    ];
    for (document, expected) in cases {
        let lab = Lab::new();
        lab.sandbox_with_input(&["run", "--operation", "-"], document)
            .code(2)
            .says(expected);
        lab.sandbox_with_input(&["check", "--operation", "-"], document)
            .code(2)
            .says(expected);
    }
}

#[test]
fn an_argument_of_10_mb_is_refused_by_run_and_judged_by_check() {
    let lab = Lab::new();
    let path = lab.root().join("huge.json");
    let document = format!(
        r#"{{"type": "command", "command": "echo {}"}}"#,
        "x".repeat(HUGE_BYTES)
    );
    fs::write(&path, document).unwrap();
    let file = path.to_str().unwrap();
    lab.sandbox(&["run", "--yes", "--operation", file])
        .code(2)
        .says("the kernel takes");
    let code = lab.sandbox(&["check", "--operation", file]).status.code();
    assert!(matches!(code, Some(0 | 10 | 20)), "{code:?}");
}

#[test]
fn an_unknown_sandbox_is_not_found_and_the_nearest_is_named() {
    let lab = Lab::new();
    lab.sandbox(&["create", "blue-whale"]).code(0);
    lab.sandbox(&["-s", "blue-whael", "status"])
        .code(1)
        .says("did you mean 'blue-whale'?");
    lab.sandbox(&["destroy", "nothing-like-it"])
        .code(1)
        .says("sandbox list");
    lab.sandbox(&["run", "-s", "blue-whael", "--", "true"])
        .code(2)
        .says("blue-whale");
    let elsewhere = Lab::new();
    for command in [
        "log", "status", "undo", "diff", "commit", "discard", "destroy",
    ] {
        elsewhere
            .sandbox(&[command])
            .code(1)
            .says("no sandbox belongs to")
            .says("hint:");
    }
    assert!(!elsewhere.data().exists(), "looking must not make anything");
}

#[test]
fn a_directory_that_is_named_is_the_one_that_is_used() {
    let lab = Lab::new();
    let other = lab.root().join("outside");
    fs::create_dir(lab.workspace().join("sub")).unwrap();
    lab.sandbox(&["create", "named"]).code(0);
    let other = other.to_str().unwrap();
    lab.sandbox(&["run", "-s", "named", "-w", other, "--", "touch", "x"])
        .code(2)
        .says("does not lie in the workspace of 'named'");
    assert_eq!(lab.read("x"), None);
    lab.sandbox(&["run", "-s", "named", "-w", "no/such", "--", "true"])
        .code(2)
        .says("cannot use the directory");
    lab.sandbox(&["run", "-s", "named", "-w", "sub", "--", "true"])
        .code(0);

    // What is typed is stronger than the environment.
    let lab = lab.env("SANDBOX_NAME", "named");
    lab.sandbox(&["run", "-w", other, "--", "touch", "x"])
        .code(0)
        .says("made 'outside'");
    assert_eq!(lab.read("x"), None);
    assert!(lab.root().join("outside/x").exists());
    lab.sandbox(&["run", "--", "touch", "y"]).code(0);
    assert!(lab.read("y").is_some());
}

#[test]
fn first_runs_at_the_same_time_share_one_sandbox() {
    for _ in 0..5 {
        let lab = Lab::new();
        let runs: Vec<_> = (0..4)
            .map(|n| {
                let file = format!("file{n}");
                let mut command = lab.command(&["run", "--", "touch", &file]);
                command.spawn().unwrap()
            })
            .collect();
        for run in runs {
            let ended = run.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert_eq!(ended.status.code(), Some(0), "{stderr}");
        }
        assert!((0..4).all(|n| lab.read(&format!("file{n}")).is_some()));
        let list = lab.sandbox(&["list", "--json"]).code(0).json();
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    }
}

#[test]
fn a_run_that_fails_prints_its_report_with_json() {
    let lab = Lab::new();
    let document = r#"{"type": "command", "command": "true", "cwd": "not/there"}"#;
    let args = ["run", "--json", "--report", "../r.json", "--operation", "-"];
    let report = lab.sandbox_with_input(&args, document).code(2).json();
    assert_eq!(report["schema"], 1, "{report}");
    assert_eq!(report["outcome"], "error");
    assert!(report["error"][0].is_string(), "{report}");
    let written = fs::read_to_string(lab.root().join("r.json")).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written, report);
}

#[test]
fn failures_are_one_json_document_with_json() {
    let lab = Lab::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--json", "status"], 1, "not_found"),
        (&["run", "--json", "--", ""], 2, "usage"),
        (
            &["run", "--json", "--memory", "0", "--", "true"],
            2,
            "usage",
        ),
        (
            &["config", "validate", "/no/such.yaml", "--json"],
            2,
            "config",
        ),
        (&["--json", "nonsense"], 2, "usage"),
    ];
    for (args, code, kind) in cases {
        let failure = lab.sandbox(args).code(*code).json();
        assert_eq!(failure["kind"], *kind, "{failure}");
        assert!(failure["causes"][0].is_string(), "{failure}");
        assert!(failure["hints"].is_array(), "{failure}");
    }
}

#[test]
fn a_command_that_is_not_there_exits_with_127_and_a_text_file_with_126() {
    let lab = Lab::new().file("text", "no program\n");
    lab.sandbox(&["run", "--", "no-such-program"])
        .code(127)
        .says("not found");
    lab.sandbox(&["run", "--", "./text"]).code(126);
}

#[test]
fn an_unwritable_home_is_a_failure_of_the_sandbox() {
    let lab = Lab::new();
    fs::write(lab.root().join("file"), "").unwrap();
    let file = lab.root().join("file/below").to_string_lossy().into_owned();
    let lab = lab.env("SANDBOX_HOME", file);
    lab.sandbox(&["run", "--", "true"]).code(125).says("cannot");
    lab.sandbox(&["create"]).code(1).says("cannot");

    // Permissions stop everybody but root.
    let lab = Lab::new();
    let closed = lab.root().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(closed.join("probe"), "").is_err() {
        let lab = lab.env("SANDBOX_HOME", closed.join("data").to_string_lossy());
        lab.sandbox(&["run", "--", "true"]).code(125).says("hint:");
    }
}

#[test]
fn the_place_for_data_may_be_given_without_a_home() {
    let lab = Lab::new().without_env("HOME");
    lab.sandbox(&["run", "--", "true"]).code(0);
}

#[test]
fn a_closed_standard_output_is_no_failure() {
    let lab = Lab::new();
    lab.sandbox(&["run", "--", "true"]).code(0);
    for args in [
        &["log"][..],
        &["list"],
        &["status"],
        &["config", "schema"],
        &["--help"],
    ] {
        let mut child = lab.command(args).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}: {stderr}");
        assert_eq!(stderr, "");
    }
}

#[test]
fn a_full_standard_output_is_a_failure() {
    let lab = Lab::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = lab
        .command(&["config", "schema"])
        .stdout(Stdio::from(full))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn help_and_version_go_to_standard_output() {
    let lab = Lab::new();
    lab.sandbox(&["--version"]).code(0).prints("sandbox ");
    lab.sandbox(&["--help"]).code(0).prints("Exit codes");
    lab.sandbox(&["run", "--help"])
        .code(0)
        .prints("124")
        .prints("--on-failure");
}

#[test]
fn check_answers_by_exit_code() {
    let lab = Lab::new();
    lab.sandbox(&["check", "--", "ls", "-la"])
        .code(0)
        .prints("allow");
    lab.sandbox(&["check", "--shell", "rm -rf /"])
        .code(20)
        .prints("deny");
    let verdict = lab
        .sandbox(&["check", "--json", "--shell", "sudo rm -rf /"])
        .code(20)
        .json();
    assert_eq!(verdict["decision"], "deny");
    assert_eq!(verdict["risk"]["level"], "critical");
    assert!(verdict["findings"][0]["rule"].is_string(), "{verdict}");
    assert!(verdict["commands"][0]["argv"].is_array(), "{verdict}");
    // Inside, what undo takes back is allowed.
    lab.sandbox(&["check", "--in-sandbox", "--", "rm", "-rf", "build"])
        .code(0);
    assert!(!lab.data().exists(), "a check makes nothing");
}

#[test]
fn check_answers_one_line_a_command() {
    let lab = Lab::new();
    let ended = lab.sandbox_with_input(&["check", "--json", "--stdin"], "ls\nrm -rf /\n");
    ended.code(20);
    let decisions: Vec<String> = ended
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["decision"].to_string()
        })
        .collect();
    assert_eq!(decisions, [r#""allow""#, r#""deny""#]);
}

#[test]
fn the_written_configuration_is_valid_and_the_shown_one_has_origins() {
    let lab = Lab::new();
    lab.sandbox(&["config", "init", "new.yaml"]).code(0);
    lab.sandbox(&["config", "init", "new.yaml"])
        .code(1)
        .says("hint:");
    lab.sandbox(&["config", "validate", "new.yaml"]).code(0);
    let schema = lab.sandbox(&["config", "schema"]).code(0).json();
    assert!(schema["properties"]["resource_limits"].is_object());
    fs::write(
        lab.workspace().join("mine.yaml"),
        "resource_limits:\n  memory_mb: 77\n",
    )
    .unwrap();
    lab.sandbox(&["config", "show", "-c", "mine.yaml"])
        .code(0)
        .prints("mine.yaml:2:")
        .prints("77");
}
