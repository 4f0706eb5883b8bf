//! Operations that wait for a person, in two terminals.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::lab::{Ended, Lab};

/// Asks under the strict profile, and does something.
const ASKS: &str = "rm -rf build; echo \"$WHO in $PWD\" >> out; cat >> out";

impl Lab {
    /// A sandbox that asks about everything that has a risk.
    fn strict() -> Self {
        let lab = Self::new().file("build/x", "").file("sub/file", "");
        let config = lab.root().join("strict.yaml");
        fs::write(&config, "safety_constraints: {profile: strict}\n").unwrap();
        lab.sandbox(&["create", "-c", config.to_str().unwrap()])
            .code(0);
        lab
    }

    /// Runs shell text that is asked about, and returns the name of the request.
    fn asks(&self, text: &str) -> String {
        let report = self.run(text);
        assert_eq!(report["outcome"], "approval_required", "{report:#}");
        let id = report["approval"]["request"].as_str();
        id.unwrap_or_else(|| panic!("no request in {report:#}"))
            .to_owned()
    }

    fn waiting(&self) -> Vec<Value> {
        let list = self.sandbox(&["approvals", "--json"]).code(0).json();
        list.as_array().unwrap().clone()
    }

    /// Types an answer at a terminal while the program runs.
    fn at_a_terminal(&self, typed: &str, args: &[&str]) -> Ended {
        let program = self.command(args);
        let words = [program.get_program()]
            .into_iter()
            .chain(program.get_args());
        let quoted = words.map(|it| format!("'{}'", it.to_str().unwrap().replace('\'', r"'\''")));
        // A shell that waits beside it would be ended by Ctrl-C, and script(1) would say so of the whole.
        let command = format!("exec {}", quoted.collect::<Vec<_>>().join(" "));
        let mut terminal = Command::new("script");
        terminal
            .args(["-qec", &command, "/dev/null"])
            .current_dir(self.workspace())
            .envs(
                program
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env_remove("SANDBOX_NAME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = terminal.spawn().expect("these tests need script(1)");
        // What is typed before the question may get lost: Ctrl-C ends whoever is there.
        let mut shown = Vec::new();
        let mut stdout = child.stdout.take().unwrap();
        let mut byte = [0];
        while !shown.ends_with(b"[N]o: ") && stdout.read(&mut byte).unwrap() == 1 {
            shown.extend(byte);
        }
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(typed.as_bytes()).unwrap();
        // Open until the end: script(1) ends the terminal with it.
        stdout.read_to_end(&mut shown).unwrap();
        let status = child.wait().unwrap();
        drop(stdin);
        let output = Output {
            status,
            stdout: shown,
            stderr: Vec::new(),
        };
        Ended::of(output, args)
    }
}

#[test]
fn what_was_judged_runs_once_with_its_surroundings() {
    let lab = Lab::strict();
    let mut command = lab.command(&["run", "--env", "WHO=me", "--shell", ASKS]);
    let ended = command
        .current_dir(lab.workspace().join("sub"))
        .output()
        .unwrap();
    let ended = Ended::of(ended, &["run"]);
    ended
        .code(126)
        .says("approvals approve")
        .says("fs.delete-tree");
    let id = lab.waiting()[0]["id"].as_str().unwrap().to_owned();
    lab.sandbox(&["approvals"]).code(0).prints("fs.delete-tree");

    // From another directory, with other variables and with input.
    let input = "not mine";
    let mut approve = lab.command(&["approvals", "approve", &id[28..]]);
    approve.env("WHO", "another").stdin(Stdio::piped());
    let mut child = approve.spawn().unwrap();
    // It may have closed it already.
    let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
    Ended::of(child.wait_with_output().unwrap(), &["approve"])
        .code(0)
        .says("committed");
    let expected = format!("me in {}/sub\n", lab.workspace().display());
    assert_eq!(lab.read("sub/out").unwrap(), expected);

    lab.sandbox(&["approvals", "approve", &id])
        .code(1)
        .says("granted already");
    lab.sandbox(&["approvals", "deny", &id])
        .code(1)
        .says("granted already");
    assert!(lab.waiting().is_empty());
    let all = lab
        .sandbox(&["approvals", "list", "--all", "--json"])
        .code(0)
        .json();
    assert_eq!(all[0]["state"], "granted");
    assert_eq!(all[0]["decision"]["by"]["via"], "command-line");
    lab.sandbox(&["undo"]).code(0);
    lab.sandbox(&["audit", "verify"]).code(0);
}

#[test]
fn of_two_terminals_one_runs_it() {
    let lab = Lab::strict();
    let id = lab.asks("rm -rf build; echo once >> out");
    let started: Vec<_> = (0..4)
        .map(|_| lab.command(&["approvals", "approve", &id]).spawn().unwrap())
        .collect();
    let codes = started
        .into_iter()
        .map(|it| it.wait_with_output().unwrap().status.code());
    let mut codes: Vec<_> = codes.collect();
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(1), Some(1), Some(1)]);
    assert_eq!(lab.read("out").unwrap(), "once\n");
}

#[test]
fn a_denied_request_never_runs() {
    let lab = Lab::strict();
    let id = lab.asks("rm -rf build");
    lab.sandbox(&["approvals", "deny", &id])
        .code(0)
        .says("denied");
    lab.sandbox(&["approvals", "approve", &id])
        .code(1)
        .says("denied already");
    assert!(lab.read("build/x").is_some());
    lab.sandbox(&["approvals", "deny", "nope"])
        .code(1)
        .says("approvals list");
    lab.sandbox(&["approvals", "deny"]).code(2);
}

#[test]
fn the_codes_of_an_approved_command_are_those_of_run() {
    let lab = Lab::strict();
    let id = lab.asks("rm -rf build; exit 7");
    lab.sandbox(&["approvals", "approve", &id]).code(7);
    let id = lab.asks("rm -rf sub; echo out");
    let report = lab
        .sandbox(&["approvals", "approve", &id, "--json"])
        .code(0)
        .json();
    assert_eq!(report["stdout"]["text"], "out\n");
    assert_eq!(report["approval"]["request"], id.as_str());
}

#[test]
fn a_remembered_approval_asks_no_more_until_it_is_forgotten() {
    let lab = Lab::strict();
    let id = lab.asks("rm -rf build");
    lab.sandbox(&["approvals", "approve", "--remember", &id])
        .code(0);
    let report = lab.run("rm -rf build");
    assert_eq!(report["outcome"], "completed");
    let rule = report["approval"]["rule"].as_str().unwrap();
    lab.asks("rm -rf build sub");
    let rules = lab
        .sandbox(&["approvals", "list", "--rules", "--json"])
        .code(0)
        .json();
    assert_eq!(rules[0]["id"], rule);
    lab.sandbox(&["approvals", "--rules"])
        .code(0)
        .prints("rm -rf build");
    lab.sandbox(&["approvals", "forget", rule]).code(0);
    lab.sandbox(&["approvals", "forget", rule])
        .code(1)
        .says("--rules");
    lab.asks("rm -rf build");
    // What is denied is never asked about, and so never remembered.
    lab.sandbox(&["run", "--yes", "--shell", "rm -rf /"])
        .code(126);
}

#[test]
fn an_expired_request_is_refused() {
    let lab = Lab::strict().env("SANDBOX_SAFETY_CONSTRAINTS__APPROVAL_EXPIRY", "1ms");
    let id = lab.asks("rm -rf build");
    lab.sandbox(&["approvals", "approve", &id])
        .code(1)
        .says("expired");
    assert!(lab.waiting().is_empty());
    let shown = lab.sandbox(&["audit", "show"]);
    assert_eq!(
        shown.stdout.matches("approval.expired").count(),
        1,
        "{shown}"
    );
    let wrong = lab.root().join("wrong.yaml");
    fs::write(&wrong, "safety_constraints: {approval_expiry: soon}\n").unwrap();
    lab.sandbox(&["config", "validate", wrong.to_str().unwrap()])
        .code(2)
        .says("approval_expiry");
}

#[test]
fn input_that_is_a_stream_cannot_wait() {
    let lab = Lab::strict();
    let args = ["run", "--shell", "rm -rf build; cat"];
    lab.sandbox_with_input(&args, "data")
        .code(126)
        .says("standard input is a pipe");
    assert!(lab.waiting().is_empty());
    let document = r#"{"type": "command", "command": "rm -rf build; cat", "stdin": "data"}"#;
    let file = lab.root().join("operation.json");
    fs::write(&file, document).unwrap();
    let args = ["run", "--json", "--operation", file.to_str().unwrap()];
    let report = lab.sandbox_with_input(&args, "ignored").code(126).json();
    let id = report["approval"]["request"].as_str().unwrap();
    lab.sandbox(&["approvals", "approve", id])
        .code(0)
        .prints("data");
}

#[test]
fn a_suspended_sandbox_keeps_what_waits() {
    let lab = Lab::strict();
    let id = lab.asks("rm -rf build");
    lab.sandbox(&["suspend"]).code(0);
    lab.sandbox(&["approvals", "approve", &id])
        .code(1)
        .says("sandbox resume");
    assert_eq!(lab.waiting().len(), 1);
    lab.sandbox(&["resume"]).code(0);
    lab.sandbox(&["approvals", "approve", &id]).code(0);
}

#[test]
fn a_person_at_a_terminal_sees_why_and_answers() {
    let lab = Lab::strict();
    let run = ["run", "--shell", "rm -rf build"];
    let ended = lab.at_a_terminal("n\n", &run);
    ended
        .code(126)
        .prints("rm -rf build")
        .prints("fs.delete-tree")
        .prints("inside the sandbox low")
        .prints("[a]lways")
        .prints("denied; nothing was run");
    assert!(lab.waiting().is_empty(), "a person was there");
    assert!(lab.read("build/x").is_some());
    // The end of the input, and Ctrl-C, are a no.
    lab.at_a_terminal("\u{4}", &run).code(126);
    lab.at_a_terminal("\u{3}", &run).code(126);
    assert!(lab.read("build/x").is_some());

    lab.at_a_terminal("y\n", &run).code(0);
    assert!(lab.read("build/x").is_none());
    lab.sandbox(&["undo"]).code(0);
    lab.at_a_terminal("a\n", &run).code(0);
    assert_eq!(lab.run("rm -rf build")["outcome"], "completed");
    let shown = lab.sandbox(&["audit", "show", "--json"]);
    for what in [
        "approval.denied",
        "approval.granted",
        "approval.remembered",
        "/dev/pts/",
    ] {
        shown.prints(what);
    }
}

#[test]
fn the_journal_has_who_decided_and_why() {
    let lab = Lab::strict();
    let denied = lab.asks("rm -rf build");
    lab.sandbox(&["approvals", "deny", &denied, "--reason", " "])
        .code(2)
        .says("it is empty");
    let long = "x".repeat(1001);
    lab.sandbox(&["approvals", "deny", &denied, "--reason", &long])
        .code(2)
        .says("1001 characters");
    lab.sandbox(&[
        "approvals",
        "deny",
        &denied,
        "--reason",
        "needed\nuntil \u{1b}[31mMay",
    ])
    .code(0);
    lab.sandbox(&["approvals", "--all"])
        .code(0)
        .prints("denied by")
        .prints("needed\\nuntil");
    let granted = lab.asks("rm -rf build");
    let args = [
        "approvals",
        "approve",
        &granted,
        "--remember",
        "--reason",
        "it is only a build",
    ];
    lab.sandbox(&args).code(0);
    let rules = lab
        .sandbox(&["approvals", "--rules", "--json"])
        .code(0)
        .json();
    let rule = rules[0]["id"].as_str().unwrap();
    lab.sandbox(&["approvals", "forget", rule, "--reason", "over"])
        .code(0);
    lab.sandbox(&["events", "--kind", "approval.denied"])
        .code(0)
        .prints("because: needed\\nuntil");
    let mut told: Vec<(String, String)> = Vec::new();
    let events = lab.sandbox(&["events", "--json", "--kind", "approval.*"]);
    for line in events.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if let Some(reason) = event["data"]["by"]["reason"].as_str() {
            told.push((
                event["kind"].as_str().unwrap().to_owned(),
                reason.to_owned(),
            ));
        }
    }
    let expected = [
        ("approval.denied", "needed\nuntil \u{1b}[31mMay"),
        ("approval.remembered", "it is only a build"),
        ("approval.granted", "it is only a build"),
        ("approval.forgotten", "over"),
    ];
    assert_eq!(
        told,
        expected.map(|(kind, why)| (kind.to_owned(), why.to_owned()))
    );
    assert!(
        !lab.sandbox(&["approvals", "--all"])
            .stdout
            .contains('\u{1b}')
    );
}

#[test]
fn a_changed_script_needs_a_new_approval() {
    let lab = Lab::strict();
    let script = lab.workspace().join("s.sh");
    fs::write(&script, "echo first >> out").unwrap();
    let text = "rm -rf build; sh s.sh";
    let first = lab.asks(text);
    fs::write(&script, "echo second >> out").unwrap();
    lab.sandbox(&["approvals", "approve", &first])
        .code(1)
        .says("a script that it runs was changed since");
    assert!(lab.read("out").is_none() && lab.read("build/x").is_some());
    // Not the same request any more.
    let second = lab.asks(text);
    assert_ne!(first, second);
    lab.sandbox(&["approvals", "approve", &second, "--remember"])
        .code(0);
    assert_eq!(lab.read("out").as_deref(), Some("second\n"));
    // The control: the rule holds as long as the script is what it was.
    lab.sandbox(&["approvals", "deny", &first]).code(0);
    assert_eq!(lab.run(text)["outcome"], "completed");
    fs::write(&script, "echo third >> out").unwrap();
    lab.asks(text);
    fs::remove_file(&script).unwrap();
    lab.asks(text);
    fs::write(&script, "echo second >> out").unwrap();
    assert_eq!(lab.run(text)["outcome"], "completed");
    assert_eq!(lab.read("out").as_deref(), Some("second\nsecond\nsecond\n"));
}

#[test]
fn a_script_behind_a_link_or_a_large_one_that_was_changed_needs_a_new_approval() {
    let lab = Lab::strict();
    let (target, text) = (lab.workspace().join("real.sh"), "rm -rf build; sh s.sh");
    fs::write(&target, "echo first >> out").unwrap();
    std::os::unix::fs::symlink("real.sh", lab.workspace().join("s.sh")).unwrap();
    let of = |content: &str| {
        let asked = lab.asks(text);
        fs::write(&target, content).unwrap();
        lab.sandbox(&["approvals", "approve", &asked])
            .code(1)
            .says("a script that it runs was changed since");
    };
    of("echo other >> out");
    // Of the same length, and too long to be read.
    let large = |last: char| format!("exit\n{}{last}", "#".repeat(17 * 1024 * 1024));
    of(&large('a'));
    of(&large('b'));
    // The control.
    let asked = lab.asks(text);
    lab.sandbox(&["approvals", "approve", &asked]).code(0);
}

#[test]
fn a_script_is_held_however_it_is_named() {
    let lab = Lab::strict();
    let workspace = lab.workspace();
    fs::create_dir_all(workspace.join("sub")).unwrap();
    let around = workspace.strip_prefix("/").unwrap().display();
    for (path, named) in [
        ("sub/y.sh", "cd sub && sh y.sh".to_owned()),
        ("x.sh", "bash -o errexit x.sh".to_owned()),
        ("x.sh", "sh /proc/self/cwd/x.sh".to_owned()),
        ("x.sh", format!("sh /tmp/../{around}/x.sh")),
        ("x.sh", "sh < x.sh".to_owned()),
        ("x.sh", "sh sub/../x.sh".to_owned()),
    ] {
        let script = workspace.join(path);
        fs::write(&script, "true first").unwrap();
        let text = format!("rm -rf build; {named}");
        let asked = lab.asks(&text);
        fs::write(&script, "true second").unwrap();
        lab.sandbox(&["approvals", "approve", &asked])
            .code(1)
            .says("a script that it runs was changed since");
        // The control.
        let asked = lab.asks(&text);
        lab.sandbox(&["approvals", "approve", &asked, "--remember"])
            .code(0);
        assert_eq!(lab.run(&text)["outcome"], "completed", "{named}");
    }
}

#[test]
fn what_cannot_be_held_is_not_remembered() {
    let lab = Lab::strict();
    fs::write(lab.workspace().join("x1.sh"), "true").unwrap();
    for (named, says) in [
        ("sh ./x*.sh", "does not say which script it runs"),
        (
            "s=$(cat name); sh $s.sh || true",
            "does not say which script it runs",
        ),
        ("sh none.sh || true", "is not there"),
    ] {
        let text = format!("rm -rf build; {named}");
        let asked = lab.asks(&text);
        lab.sandbox(&["approvals", "approve", &asked, "--remember"])
            .code(2)
            .says(says);
        // The control: once.
        lab.sandbox(&["approvals", "approve", &asked]).code(0);
        lab.asks(&text);
    }
}

/// Root would read it with rights that no command has.
#[test]
fn a_link_out_of_the_workspace_stands_for_itself() {
    let lab = Lab::strict();
    let script = lab.workspace().join("s.sh");
    let outside = lab.root().join("outside");
    let text = "rm -rf build; sh s.sh || true";
    let link_to = |name: &str| {
        let _old = fs::remove_file(&script);
        std::os::unix::fs::symlink(outside.join(name), &script).unwrap();
    };
    fs::write(outside.join("one"), "true").unwrap();
    fs::write(outside.join("other"), "true").unwrap();
    link_to("one");
    let asked = lab.asks(text);
    // What it leads to is none of the workspace's: it is not looked at.
    fs::write(outside.join("one"), "true changed").unwrap();
    lab.sandbox(&["approvals", "approve", &asked]).code(0);
    let asked = lab.asks(text);
    link_to("other");
    lab.sandbox(&["approvals", "approve", &asked])
        .code(1)
        .says("a script that it runs was changed since");
}

#[test]
fn a_script_in_a_grant_that_commands_may_write_is_held() {
    let lab = Lab::strict();
    let granted = lab.root().join("outside/granted");
    fs::create_dir(&granted).unwrap();
    let script = granted.join("s.sh");
    fs::write(&script, "true first").unwrap();
    let write = granted.display().to_string();
    let text = format!("rm -rf build; sh {}", script.display());
    for (option, code) in [("--write", 1), ("--read", 0)] {
        let args = ["--json", "run", option, &write, "--shell", &text];
        let report = lab.sandbox(&args).code(126).json();
        let asked = report["approval"]["request"].as_str().unwrap().to_owned();
        fs::write(&script, format!("true {option}")).unwrap();
        // The control: what is only read, no command can have changed.
        lab.sandbox(&["approvals", "approve", &asked]).code(code);
    }
}

#[test]
fn the_inherited_path_is_no_part_of_what_is_approved() {
    // A search path as this one is a finding where the command sets it.
    let path = format!("/tmp/tools:{}", std::env::var("PATH").unwrap());
    let lab = Lab::strict().env("PATH", &path);
    let set = format!("PATH={path} true");
    lab.sandbox(&["check", "--shell", &set])
        .prints("defence.preload");

    let id = lab.asks("rm -rf build; echo \"$PATH\" > out");
    let approve = ["--json", "approvals", "approve", &id];
    let report = lab.sandbox(&approve).code(0).json();
    // It ran with the whole environment, and was judged without.
    assert_eq!(lab.read("out").unwrap().trim_end(), path);
    let found = report["verdict"]["findings"].as_array().unwrap();
    let rules: Vec<_> = found
        .iter()
        .map(|it| it["rule"].as_str().unwrap())
        .collect();
    assert!(rules.contains(&"fs.delete-tree"), "{rules:?}");
    assert!(!rules.contains(&"defence.preload"), "{rules:?}");
}
