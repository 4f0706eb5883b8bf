//! What outlives an operation: the log, the journal, and the sandboxes themselves.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::{Ended, Lab};

#[test]
fn what_ran_is_listed_and_the_journal_is_whole() {
    let lab = Lab::new();
    lab.run("touch a");
    lab.run("exit 4");
    let log = lab.sandbox(&["log", "--json"]).code(0).json();
    assert_eq!(log.as_array().unwrap().len(), 2);
    assert_eq!(log[0]["report"]["exit_code"], 4);
    lab.sandbox(&["log"])
        .code(0)
        .prints("failed (4)")
        .prints("touch a")
        .prints("1 created");
    assert_eq!(
        lab.sandbox(&["log", "-n", "1", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let audit = lab.sandbox(&["audit", "verify", "--json"]).code(0).json();
    assert_eq!(audit["ok"], true);
    lab.sandbox(&["audit", "show"])
        .code(0)
        .prints("operation.finished");

    let journal = lab.data().join("sandboxes/workspace/journal.log");
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&journal, bytes).unwrap();
    lab.sandbox(&["audit", "verify"]).code(1).prints("damaged");
}

#[test]
fn sandboxes_are_made_listed_and_destroyed_without_a_trace() {
    let lab = Lab::new().file("kept", "x");
    lab.sandbox(&["create", "--dry-run"])
        .code(0)
        .prints("would make");
    assert!(!lab.data().join("sandboxes").exists());
    lab.sandbox(&["create", "first"])
        .code(0)
        .prints("made 'first'");
    lab.sandbox(&["create", "second"])
        .code(1)
        .says("already belongs to the sandbox 'first'");
    lab.sandbox(&["create", "other", "-w", "../new"]).code(0);
    let list = lab.sandbox(&["list", "--json"]).code(0).json();
    assert_eq!(
        (&list[0]["sandbox"], &list[1]["sandbox"]),
        (&"first".into(), &"other".into())
    );
    lab.run("touch made");
    lab.sandbox(&["status"]).code(0).prints("ready");

    lab.sandbox(&["destroy"]).code(0);
    assert!(lab.read("kept").is_some() && lab.read("made").is_some());
    lab.sandbox(&["destroy", "other", "--delete-workspace"])
        .code(0);
    assert!(!lab.root().join("new").exists());
    assert_eq!(
        lab.sandbox(&["list", "--json"]).json(),
        Value::Array(Vec::new())
    );
    assert_eq!(
        fs::read_dir(lab.data().join("sandboxes")).unwrap().count(),
        0
    );
    assert_eq!(
        fs::read_dir(lab.data().join("layers")).map_or(0, Iterator::count),
        0
    );
}

#[test]
fn destroying_again_is_done_and_reaches_no_other() {
    let lab = Lab::new().file("inner/kept", "x");
    let inner = lab.workspace().join("inner");
    lab.sandbox(&["create", "outer"]).code(0);
    lab.sandbox(&["create", "inner", "-w", inner.to_str().unwrap()])
        .code(0);
    let in_inner = |args: &[&str]| {
        let output = lab.command(args).current_dir(&inner).output();
        Ended::of(output.unwrap(), args)
    };
    in_inner(&["destroy"]).code(0).says("destroyed 'inner'");
    // Not that of the directory above, which is the nearest one now.
    in_inner(&["destroy"]).code(0).says("destroyed at");
    lab.sandbox(&["status", "-s", "outer"]).code(0);
    let again = lab.sandbox(&["destroy", "inner", "--json"]).code(0).json();
    assert_eq!(
        (&again["already"], &again["sandbox"]),
        (&true.into(), &"inner".into())
    );
    // What nobody owns any more is not deleted, and one that never was is not found.
    lab.sandbox(&["destroy", "inner", "--delete-workspace"])
        .code(1)
        .says("belongs to no sandbox any more");
    assert!(lab.read("inner/kept").is_some());
    lab.sandbox(&["destroy", "inne"])
        .code(1)
        .says("there is no sandbox");
    // One of the same name is another one.
    lab.sandbox(&["create", "inner", "-w", inner.to_str().unwrap()])
        .code(0);
    in_inner(&["destroy"]).code(0).says("destroyed 'inner'");
    // What a process left that was killed while it destroyed.
    let left = lab.data().join("sandboxes/inner");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("journal.log"), "").unwrap();
    lab.sandbox(&["destroy", "inner"]).code(0).says("already");
    assert!(!left.exists());
    // Each destruction once.
    let path = lab.data().join("journal.log");
    let mut journal = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&journal);
    assert_eq!(text.matches("sandbox.destroyed").count(), 2);
    // A damaged journal of all sandboxes says nothing, and keeps nobody from destroying.
    journal[60] ^= 1;
    fs::write(&path, journal).unwrap();
    lab.sandbox(&["destroy", "inner"]).code(1).says("journal");
    // Nor does what said that the sandbox here is destroyed let the one above be taken for it.
    in_inner(&["destroy", "--delete-workspace"])
        .code(1)
        .says("journal");
    lab.sandbox(&["status", "-s", "outer"]).code(0);
    lab.sandbox(&["destroy"]).code(0).says("destroyed 'outer'");
}

#[test]
fn doctor_proves_that_a_command_can_be_confined() {
    let lab = Lab::new();
    let found = lab.sandbox(&["doctor", "--json"]).code(0).json();
    assert_eq!(found["ok"], true, "{found:#}");
    assert_eq!(found["trial"]["enforcement"]["user_namespace"], "full");
    let protections = found["protections"].as_array().unwrap();
    let attacks: Vec<_> = protections
        .iter()
        .flat_map(|it| it["attacks"].as_array().into_iter().flatten())
        .collect();
    assert!(attacks.len() >= 6, "{found:#}");
    for attacked in attacks {
        assert_eq!(attacked["inside"], false, "{found:#}");
        assert_eq!(attacked["outside"], true, "the control: {found:#}");
    }
    lab.sandbox(&["doctor"]).code(0).prints("seccomp");
}

#[test]
fn destroy_refuses_what_would_lose_something() {
    let lab = Lab::new();
    lab.run_with(&["--review"], "touch waiting");
    let moved = lab.root().join("moved");
    fs::rename(lab.workspace(), &moved).unwrap();
    fs::create_dir(lab.workspace()).unwrap();
    fs::write(lab.workspace().join("precious"), "").unwrap();
    lab.sandbox(&["destroy", "workspace", "--delete-workspace", "--force"])
        .code(1)
        .says("is not the directory");
    lab.sandbox(&["destroy", "workspace"])
        .code(1)
        .says("would be lost");
    lab.sandbox(&["status"]).code(1).prints("broken");
    lab.sandbox(&["log"]).code(0).prints("touch waiting");
    lab.sandbox(&["destroy", "workspace", "--force"]).code(0);
    assert!(lab.read("precious").is_some());
}

/// With fewer descriptors than levels, and a directory that is closed to its owner.
#[test]
fn a_workspace_of_many_levels_is_deleted() {
    use std::os::unix::fs::PermissionsExt as _;
    const LEVELS: usize = 3_000;
    let lab = Lab::new();
    lab.run("touch a");
    let mut level = fs::File::open(lab.workspace()).unwrap();
    for _ in 0..LEVELS {
        use rustix::fs::{Mode, OFlags, mkdirat, openat};
        mkdirat(&level, "d", Mode::RWXU).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        level = openat(&level, "d", flags, Mode::empty()).unwrap().into();
    }
    let closed = fs::Permissions::from_mode(0o000);
    level.set_permissions(closed).unwrap();
    drop(level);
    let args = ["destroy", "workspace", "--delete-workspace"];
    let meant = lab.command(&args);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 256; exec \"$@\"", "sh"])
        .arg(meant.get_program())
        .args(meant.get_args())
        .current_dir(lab.workspace());
    for (name, value) in meant.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    Ended::of(limited.output().unwrap(), &args).code(0);
    assert!(!lab.workspace().exists());
}

#[test]
fn a_sandbox_is_not_destroyed_under_a_direct_run() {
    let lab = Lab::new();
    let mut run = lab
        .command(&[
            "run",
            "--direct",
            "--shell",
            "touch started; while [ ! -e stop ]; do :; done",
        ])
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while lab.read("started").is_none() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
    let refused = lab.sandbox(&["destroy", "workspace", "--force"]);
    fs::write(lab.workspace().join("stop"), "").unwrap();
    assert!(run.wait().unwrap().success());
    refused.code(1).says("an operation is running");
    lab.sandbox(&["destroy", "workspace"]).code(0);
    assert!(!lab.data().join("sandboxes/workspace").exists());
}

#[test]
fn reading_needs_no_workspace() {
    let lab = Lab::new();
    lab.run("touch a");
    fs::remove_dir_all(lab.workspace()).unwrap();
    fs::create_dir(lab.workspace()).unwrap();
    fs::rename(lab.workspace(), lab.root().join("elsewhere")).unwrap();
    let read = |args: &[&str]| {
        let mut command = lab.command(args);
        command.current_dir(lab.root()).output().unwrap()
    };
    for args in [
        ["-s", "workspace", "log"].as_slice(),
        &["-s", "workspace", "audit", "verify"],
        &["-s", "workspace", "audit", "show"],
    ] {
        let ended = read(args);
        assert!(ended.status.success(), "{args:?}: {ended:?}");
    }
    let status = read(&["-s", "workspace", "status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        text.contains("broken") && text.contains("removed"),
        "{text}"
    );
    fs::create_dir(lab.workspace()).unwrap();
}

#[test]
fn a_create_that_was_killed_leaves_the_name_free() {
    let lab = Lab::new();
    lab.sandbox(&["create", "one"]).code(0);
    lab.sandbox(&["destroy", "one"]).code(0);
    for leftover in ["one", ".new-4000000"] {
        let directory = lab.data().join("sandboxes").join(leftover);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("config.yaml"), "{}").unwrap();
    }
    lab.sandbox(&["create", "one"]).code(0);
    assert_eq!(
        fs::read_dir(lab.data().join("sandboxes")).unwrap().count(),
        1
    );
    // Killed before the entry of the index.
    fs::remove_dir_all(lab.data().join("index")).unwrap();
    fs::DirBuilder::new()
        .mode(0o700)
        .create(lab.data().join("index"))
        .unwrap();
    lab.sandbox(&["status"]).code(0).prints("one");
    assert_eq!(fs::read_dir(lab.data().join("index")).unwrap().count(), 1);
}

#[test]
fn a_new_workspace_without_unicode_name_is_refused() {
    let lab = Lab::new();
    let ended = lab
        .command(&["create", "-w"])
        .arg(OsStr::from_bytes(b"bad\xff"))
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(!lab.data().join("sandboxes/bad").exists());
}
