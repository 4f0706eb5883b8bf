//! What is said to somebody who mistypes, guesses or comes from another tool.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path, process::Stdio};

use crate::lab::{Ended, Lab};

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
