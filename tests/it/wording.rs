//! What is said to somebody who mistypes, guesses or comes from another tool.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path, process::Stdio};

use crate::{
    lab::{Ended, Lab},
    terminal::Sitting,
};

/// Runs the program in another directory than the workspace.
fn within(lab: &Lab, directory: &Path, args: &[&str]) -> Ended {
    let output = lab.command(args).current_dir(directory).output();
    Ended::of(output.unwrap(), args)
}

/// Runs the program so many times at once.
fn at_once(lab: &Lab, args: &[&str], count: usize) -> Vec<Ended> {
    let started: Vec<_> = (0..count)
        .map(|_| lab.command(args).spawn().unwrap())
        .collect();
    let ended = |it: std::process::Child| Ended::of(it.wait_with_output().unwrap(), args);
    started.into_iter().map(ended).collect()
}

#[test]
fn what_is_to_be_hidden_must_be_there() {
    let lab = Lab::new().file(".env", "sec");
    for missing in [".evn", "*.env", "/nowhere/at/all"] {
        let ended = lab.sandbox(&["run", "--hide", missing, "--", "cat", ".env"]);
        ended.code(2).says(&format!("cannot hide {missing}"));
        assert!(!ended.stdout.contains("sec"), "{ended}");
    }
    let hidden = lab.sandbox(&["run", "--hide", ".env", "--", "cat", ".env"]);
    assert_eq!(hidden.code(0).stdout, "");
    // What a configuration names may come later.
    let config = lab.root().join("hide.yaml");
    fs::write(&config, "isolation: {hide: [/nowhere/at/all]}\n").unwrap();
    lab.sandbox(&["run", "-c", config.to_str().unwrap(), "--", "true"])
        .code(0);
}

#[test]
fn who_comes_second_is_told_that_another_process_did_it() {
    let said = ["another process has", "waits for review", "nothing to undo"];
    let told = |it: &Ended| {
        let is_told = said.iter().any(|words| it.stderr.contains(words));
        assert!(it.status.success() || is_told, "{it}");
        it.status.success()
    };
    for _ in 0..3 {
        let lab = Lab::new();
        lab.run_with(&["--review"], "echo 1 > a");
        let committed = at_once(&lab, &["commit"], 3);
        assert_eq!(committed.iter().filter(|it| told(it)).count(), 1);
        let undone = at_once(&lab, &["undo"], 4);
        assert_eq!(undone.iter().filter(|it| told(it)).count(), 1);
        assert_eq!(lab.read("a"), None);
    }
}

#[test]
fn a_workspace_that_was_moved_is_known_again() {
    let lab = Lab::new();
    let (old, new) = (lab.root().join("mv1"), lab.root().join("mv2"));
    fs::create_dir_all(old.join("sub")).unwrap();
    within(&lab, &old, &["run", "--shell", "echo 1 > a"]).code(0);
    fs::rename(&old, &new).unwrap();
    let said = "belonged to the sandbox 'mv1' when it was ";
    for directory in [&new, &new.join("sub")] {
        within(&lab, directory, &["undo"]).code(1).says(said);
    }
    within(&lab, &new, &["run", "--", "true"])
        .code(0)
        .says("made 'mv2'")
        .says(said);
    // Said when it is made, and not each time.
    let again = within(&lab, &new, &["run", "--", "true"]);
    assert!(!again.code(0).stderr.contains(said), "{again}");
    lab.sandbox(&["destroy", "mv1"])
        .code(0)
        .says("was gone before");
    within(&lab, &new, &["destroy"])
        .code(0)
        .says("kept as it is");
    let never_moved = lab.sandbox(&["run", "--", "true"]);
    assert!(!never_moved.stderr.contains("belonged"), "{never_moved}");
}

#[test]
fn an_argument_that_is_no_text_has_a_way_round() {
    let lab = Lab::new();
    let mut run = lab.command(&["run", "--", "rm"]);
    let output = run.arg(OsStr::from_bytes(b"bad\xff")).output().unwrap();
    Ended::of(output, &["run -- rm bad"])
        .code(2)
        .says("not Unicode")
        .says(r#"sandbox run --shell 'rm "$(printf "bad\\377")"'"#);
    // As it says.
    fs::write(lab.workspace().join(OsStr::from_bytes(b"bad\xff")), "").unwrap();
    let shell = ["run", "--shell", r#"rm "$(printf "bad\\377")""#];
    lab.sandbox(&shell).code(0).says("1 deleted");
}

#[test]
fn an_id_that_cannot_be_printed_is_in_the_error() {
    let lab = Lab::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let args = ["run", "--detach", "--", "sleep", "60"];
    let output = lab.command(&args).stdout(Stdio::from(full)).output();
    let ended = Ended::of(output.unwrap(), &args);
    ended
        .code(126)
        .says("runs on, and its id could not be printed");
    let id = ended.stderr.split("`sandbox kill ").nth(1).unwrap();
    let id = id.split('`').next().unwrap().to_owned();
    lab.sandbox(&["kill", &id]).code(0);
}

#[test]
fn who_is_used_to_other_tools_is_told_the_word() {
    let lab = Lab::new();
    for (typed, meant) in [
        (&["run", "-it", "--", "bash"][..], "--tty"),
        (&["run", "-d", "--", "true"], "--detach"),
        (&["run", "-e", "A=b", "--", "true"], "--env"),
        (&["run", "-v", "/x:/x", "--", "true"], "--write"),
        (&["run", "--rm", "--", "true"], "leave it out"),
        (&["undo", "-n"], "--dry-run"),
        (&["log", "-f"], "sandbox events -f"),
        (&["diff", "--stat"], "sandbox show"),
        (&["exec", "ls"], "sandbox run"),
        (&["rm", "x"], "sandbox destroy"),
        (&["stop"], "sandbox kill"),
        (&["version"], "sandbox --version"),
    ] {
        let ended = lab.sandbox(typed);
        ended.code(2).says(
            &format!("tip: `{meant}")
                .replace(
                    "`leave",
                    "nothing is left of a command but what it changed in the workspace: leave",
                )
                .replace("`--write", "`--read PATH` and `--write"),
        );
        assert!(!ended.stderr.contains("to pass '"), "{ended}");
    }
    // Other slips keep the parser's guess.
    lab.sandbox(&["snapshto"]).code(2).says("snapshot");
}

#[test]
fn what_cannot_be_meant_is_said_in_words_of_ours() {
    let lab = Lab::new();
    lab.sandbox(&["run", "-q", "--", "true"]).code(0);
    let files = lab.workspace().join("abs");
    for (typed, said) in [
        (&["log", "-n", "abc"][..], "expected a whole number"),
        (
            &["run", "--timeout", "5x", "--", "true"],
            "without a unit it is seconds",
        ),
        (
            &["run", "--files", "../x", "--", "true"],
            "can match nothing",
        ),
        (
            &["run", "--files", files.to_str().unwrap(), "--", "true"],
            "can match nothing",
        ),
        (&["run", "--read", ".", "--", "true"], "workspace read-only"),
    ] {
        let ended = lab.sandbox(typed);
        ended.code(2).says(said);
        assert!(!ended.stderr.contains("/."), "{ended}");
    }
    lab.sandbox(&["run", "--json", "--report", "-", "--", "true"])
        .code(2)
        .prints("would print it there again");
    lab.sandbox(&["show", "0"]).code(1).says("'0' is too short");
    let document = r#"{"type": "file_write", "path": "a", "content_base64": "!!"}"#;
    lab.sandbox_with_input(&["run", "--operation", "-"], document)
        .code(2)
        .says("must be base64");
    let script = r#"{"type": "script", "interpreter": ["nosuch"], "source": "x"}"#;
    lab.sandbox_with_input(&["run", "--operation", "-"], script)
        .code(127)
        .says("command not found inside the sandbox: nosuch");
    lab.sandbox(&["run", "--timeout", "1d", "--", "true"])
        .code(0);
    lab.sandbox(&["run", "--env", "NO_SUCH_VARIABLE", "--", "true"])
        .code(0)
        .says("you have no such variable");
    let recovered = lab.sandbox(&["state", "recover", "--json"]).code(0).json();
    assert_eq!(recovered, serde_json::json!({ "recovered": false }));
    let reported = lab.sandbox(&["run", "--report", "-", "--", "true"]);
    assert_eq!(reported.code(0).json()["outcome"], "completed");
    assert_eq!(lab.read("-"), None);
    let mut relative = lab.command(&["list"]);
    let relative = relative.env("SANDBOX_HOME", "data").output().unwrap();
    Ended::of(relative, &["list"])
        .code(2)
        .says("another place in each directory");
}

#[test]
fn what_is_mistyped_in_a_configuration_is_found_before_it_is_used() {
    let lab = Lab::new();
    let file = lab.root().join("c.yaml");
    let file = file.to_str().unwrap();
    for text in [
        "isolation: {seccomp: /nonexistent.yaml}",
        "isolation: {read: [/nonexistent]}",
    ] {
        fs::write(file, text).unwrap();
        let validated = lab.sandbox(&["config", "validate", file]);
        validated.code(2).says("/nonexistent");
    }
    fs::write(file, "isolation: {hide: [/nonexistent], seccomp: strict}").unwrap();
    lab.sandbox(&["config", "validate", file]).code(0);
    lab.sandbox(&["config", "init"])
        .code(0)
        .says("sandbox.yaml` takes it once");
    lab.sandbox(&["config", "init", "--user"]).code(0);
    let user = lab.home().join(".config/sandbox/config.yaml");
    assert!(fs::read_to_string(user).unwrap().contains("sandbox_id"));
}

#[test]
fn all_that_waits_is_dropped_in_one_go() {
    let lab = Lab::new();
    let held: Vec<String> = (0..3)
        .map(|at| {
            let report = lab.run_with(&["--review"], &format!("echo {at} > f{at}"));
            report["operation"]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    // By time.
    let status = lab.sandbox(&["status", "--json"]).code(0).json();
    assert_eq!(status["pending"], serde_json::json!(held));
    assert!(
        status["space"]["held_bytes"].as_u64() > Some(0),
        "{status:#}"
    );
    assert_eq!(status["space"]["undo_bytes"], 0);
    lab.sandbox(&["discard", "--all"])
        .code(0)
        .says("discarded 1 created");
    lab.sandbox(&["discard", "--all"])
        .code(0)
        .says("nothing waits");
    lab.run("head -c 100000 /dev/zero > big");
    lab.run("rm big");
    lab.sandbox(&["snapshot", "create"]).code(0);
    let status = lab.sandbox(&["status", "--json"]).json();
    assert!(
        status["space"]["undo_bytes"].as_u64() > Some(100_000),
        "{status:#}"
    );
    assert!(
        status["space"]["snapshot_bytes"].as_u64() > Some(0),
        "{status:#}"
    );
    lab.sandbox(&["status"]).prints("disk       undo 1");
    lab.sandbox(&["undo"]).code(0);
    let status = lab.sandbox(&["status", "--json"]).json();
    assert!(status["space"]["redo_bytes"].is_u64(), "{status:#}");
}

#[test]
fn all_requests_are_denied_in_one_go() {
    let lab = Lab::new();
    for remote in ["a", "b"] {
        lab.sandbox(&[
            "run", "--net", "host", "--", "git", "push", "--force", remote,
        ])
        .code(126);
    }
    let denied = lab.sandbox(&["approvals", "deny", "--all", "--json"]);
    assert_eq!(denied.code(0).json().as_array().unwrap().len(), 2);
    lab.sandbox(&["approvals", "deny", "--all"])
        .code(0)
        .says("nothing waits");
    lab.sandbox(&["approvals", "deny"]).code(2);
}

#[test]
fn the_operation_that_is_meant_need_not_be_named() {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab.sandbox(&["kill"]).code(1).says("nothing runs");
    lab.sandbox(&["logs"])
        .code(1)
        .says("no operation was detached");
    let detach = |text: &str| {
        let started = lab.sandbox(&["run", "--detach", "--shell", text]);
        started.code(0).stdout.trim().to_owned()
    };
    detach("echo first; exit 3");
    lab.sandbox(&["wait"]).code(3);
    assert_eq!(lab.sandbox(&["logs"]).code(0).stdout, "first\n");
    let one = detach("sleep 60");
    let two = detach("echo second; sleep 60");
    lab.sandbox(&["kill"])
        .code(1)
        .says("2 operations run")
        .says(&two[two.len() - 8..]);
    lab.sandbox(&["kill", &one]).code(0);
    lab.sandbox(&["kill"]).code(0).says(&two[two.len() - 8..]);
    lab.sandbox(&["wait"]).code(143);
    assert_eq!(lab.sandbox(&["logs"]).stdout, "second\n");
}

#[test]
fn a_directory_of_everybody_is_told_to_be_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    let shared = lab.root().join("outside");
    let said = "everybody may write to this directory";
    let own = lab.sandbox(&["run", "--", "true"]);
    assert!(!own.code(0).stderr.contains(said), "{own}");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    within(&lab, &shared, &["run", "--", "true"]).says(said);
}

#[test]
fn a_secret_that_cannot_be_given_has_a_hint_of_its_own() {
    let lab = Lab::new();
    lab.sandbox(&["state", "set", "--secret", "short", "abc"]);
    lab.sandbox(&["create"]);
    lab.sandbox(&["state", "set", "--secret", "short", "abc"])
        .code(0);
    let missing = lab.sandbox(&["run", "--secret", "none", "--", "true"]);
    missing.code(2).says("sandbox state list");
    let short = lab.sandbox(&["run", "--secret", "short", "--", "true"]);
    short.code(2).says("less than 4 bytes");
    assert!(!short.stderr.contains("state list"), "{short}");
}

#[test]
fn a_command_is_judged_also_in_a_directory_that_is_gone() {
    let lab = Lab::new();
    let gone = lab.root().join("gone");
    fs::create_dir(&gone).unwrap();
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "rmdir ../gone && exec \"$0\" check -- ls"])
        .arg(crate::lab::program())
        .current_dir(&gone)
        .env("SANDBOX_HOME", lab.data());
    Ended::of(shell.output().unwrap(), &["check"]).code(0);
}

#[test]
fn a_conflict_has_the_hints_of_its_command() {
    let lab = Lab::new().file("a", "1");
    lab.run("echo 2 > a");
    fs::write(lab.workspace().join("a"), "3").unwrap();
    let undo = lab.sandbox(&["undo"]);
    undo.code(1).says("--keep-both");
    assert!(!undo.stderr.contains("commit"), "{undo}");
    lab.run_with(&["--review"], "echo 4 > a");
    fs::write(lab.workspace().join("a"), "5").unwrap();
    let commit = lab.sandbox(&["commit"]);
    commit.code(1).says("sandbox discard");
    assert!(!commit.stderr.contains("put back"), "{commit}");
    lab.sandbox(&["discard"]).code(0);
}

#[test]
fn lists_fit_the_terminal() {
    let lab = Lab::new();
    lab.run("echo 1 > a; : a command that is much longer than one line of any terminal of those that are sat at");
    // It has 101 columns.
    let (_, shown) = Sitting::start(&lab, &["log"]).end();
    let line = shown.lines().find(|it| it.contains("completed")).unwrap();
    let plain = line.replace("\x1b[1m", "").replace("\x1b[0m", "");
    let width = plain.trim_end().chars().count();
    assert!((60..=101).contains(&width), "{width}: {plain}");
    assert!(plain.contains("1 created"), "{plain}");
}

#[test]
fn what_only_looks_on_ends_by_ctrl_c() {
    let lab = Lab::new();
    let started = lab.sandbox(&["run", "--detach", "--shell", "echo seen; sleep 60"]);
    let mut sitting = Sitting::start(&lab, &["logs", "-f"]);
    sitting.sees("seen").signal(rustix::process::Signal::INT);
    let (status, shown) = sitting.end();
    assert_eq!(status.code(), Some(0), "{shown}");
    lab.sandbox(&["kill", started.code(0).stdout.trim()])
        .code(0);
}

#[test]
fn quiet_is_quiet() {
    let lab = Lab::new();
    assert_eq!(lab.sandbox(&["create", "-q"]).code(0).stdout, "");
    lab.run("echo 1 > a");
    lab.sandbox(&["run", "--direct", "--", "true"]).code(0);
    let undone = lab.sandbox(&["undo", "-q"]);
    assert_eq!(undone.code(0).stderr, "");
}

#[test]
fn too_few_files_are_said_to_be_too_few() {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    let mut limited = std::process::Command::new("sh");
    let run = lab.command(&["run", "--no-session", "--", "true"]);
    limited
        .args(["-c", "ulimit -n 5; exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(lab.workspace())
        .env("SANDBOX_HOME", lab.data());
    let ended = Ended::of(limited.output().unwrap(), &["run"]);
    assert!(!ended.status.success(), "{ended}");
    ended.says("ulimit -n");
}
