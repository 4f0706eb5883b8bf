//! `sandbox state`: values and secrets that survive kills, seen by several processes at once.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::Lab;

/// A lab whose sandbox is there.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab
}

fn files(lab: &Lab) -> (PathBuf, PathBuf) {
    let store = lab.data().join("sandboxes/workspace/state.redb");
    (store, lab.data().join("keys/state.key"))
}

fn numbers(value: &Value, name: &str) -> Vec<u64> {
    let items = value.as_array().unwrap().iter();
    items.map(|it| it[name].as_u64().unwrap()).collect()
}

#[test]
fn a_key_has_versions_that_come_back() {
    let lab = lab();
    lab.sandbox(&["state", "set", "a", "one"])
        .code(0)
        .says("set 'a' (version 1)");
    lab.sandbox_with_input(&["state", "set", "a", "-"], "two\n")
        .code(0);
    lab.sandbox(&["state", "set", "b", "-x"]).code(0);
    let get = |args: &[&str]| {
        let ended = lab.sandbox(&[&["state", "get"], args].concat());
        ended.code(0);
        ended.stdout
    };
    assert_eq!(get(&["a"]), "two\n");
    assert_eq!(get(&["a", "--version", "1"]), "one");
    assert_eq!(get(&["b"]), "-x");
    let back = lab.sandbox(&["state", "rollback", "a", "--version", "1", "--json"]);
    let back = back.code(0).json();
    assert_eq!(
        (&back["version"], &back["restores"]),
        (&3.into(), &1.into())
    );
    assert_eq!(get(&["a"]), "one");
    lab.sandbox(&["state", "delete", "a"]).code(0);
    lab.sandbox(&["state", "get", "a"])
        .code(1)
        .says("there is no key 'a'");
    lab.sandbox(&["state", "delete", "a"]).code(1);
    lab.sandbox(&["state", "get", "a", "--version", "4"])
        .code(1)
        .says("it deleted the key");
    let history = lab.sandbox(&["state", "history", "a", "--json"]).json();
    assert_eq!(numbers(&history, "version"), [1, 2, 3, 4]);
    assert_eq!(numbers(&history, "sequence"), [1, 2, 4, 5]);
    assert_eq!(history[3]["deleted"], true);
    let listed = lab.sandbox(&["state", "list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["key"], "b");
    lab.sandbox(&["state", "list", "x"])
        .code(0)
        .says("no keys like that");
    lab.sandbox(&["state", "history", "a"])
        .code(0)
        .prints("rolled back to version 1");
    let kinds = lab.sandbox(&["audit", "show", "--json"]).stdout;
    for kind in ["state.set", "state.rolled_back", "state.deleted"] {
        assert!(kinds.contains(kind), "{kind}");
    }
}

#[test]
fn values_are_bytes() {
    let lab = lab();
    let mut bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let file = lab.root().join("bytes");
    for (size, name) in [(200_000, "base64"), (0, "text")] {
        bytes.truncate(size);
        fs::write(&file, &bytes).unwrap();
        lab.sandbox(&["state", "set", "k", "--file", file.to_str().unwrap()])
            .code(0);
        let output = lab.command(&["state", "get", "k"]).output().unwrap();
        assert!(output.stdout == bytes);
        let document = lab.sandbox(&["state", "get", "k", "--json"]).json();
        assert!(document[name].is_string());
        assert_eq!(document["bytes"], size);
    }
}

#[test]
fn a_secret_is_sealed_and_only_get_shows_it() {
    let lab = lab();
    let (store, key) = files(&lab);
    lab.sandbox_with_input(&["state", "set", "token", "--secret", "-"], "hush-hush")
        .code(0);
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for args in [
        &["state", "list"][..],
        &["state", "history", "token"],
        &["state", "list", "--json"],
        &["state", "history", "token", "--json"],
        &["audit", "show", "--json"],
    ] {
        let shown = lab.sandbox(args).code(0).stdout.clone();
        assert!(
            shown.contains("secret") && !shown.contains("hush"),
            "{shown}"
        );
    }
    let got = lab.sandbox(&["state", "get", "token", "--json"]).json();
    assert_eq!(
        (&got["text"], &got["secret"]),
        (&"hush-hush".into(), &true.into())
    );
    lab.sandbox(&["state", "set", "token", "open"])
        .code(1)
        .says("it is a secret")
        .says("--secret");
    let everything = std::process::Command::new("grep")
        .args(["-r", "-l", "-a", "hush-hush"])
        .arg(lab.data())
        .output()
        .unwrap();
    assert!(everything.stdout.is_empty(), "{everything:?}");
    assert!(store.exists());
}

#[test]
fn a_key_that_is_gone_wrong_or_readable_is_named_with_the_way_out() {
    let lab = lab();
    let (_, key) = files(&lab);
    lab.sandbox(&["state", "set", "token", "--secret", "hush"])
        .code(0);
    let get = ["state", "get", "token"];
    let path = key.to_str().unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    lab.sandbox(&get).code(1).says(path).says("chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let digits = fs::read_to_string(&key).unwrap();
    let aside = lab.root().join("aside");
    fs::rename(&key, &aside).unwrap();
    lab.sandbox(&get)
        .code(1)
        .says(path)
        .says("SANDBOX_STATE_KEY");
    lab.sandbox(&["state", "set", "other", "--secret", "x"])
        .code(1)
        .says(path);

    let with = |digits: &str, args: &[&str]| {
        let mut command = lab.command(args);
        command.env("SANDBOX_STATE_KEY", digits);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, out, _) = with(&digits, &get);
    assert_eq!((code, out.as_str()), (Some(0), "hush"));
    let wrong = "ab".repeat(32);
    for digits in [wrong.as_str(), "no key", ""] {
        let (code, out, err) = with(digits, &get);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(
            err.contains("SANDBOX_STATE_KEY") && err.contains("hint:"),
            "{err}"
        );
        assert!(!err.contains(&wrong), "{err}");
    }
    // The operation does not get the key.
    let (code, out, _) = with(&digits, &["run", "-q", "--", "env"]);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("PATH=") && !out.contains("SANDBOX_STATE_KEY"),
        "{out}"
    );

    // The way out, when the key is lost for good.
    lab.sandbox(&["state", "delete", "token"]).code(0);
    lab.sandbox(&["state", "set", "token", "--secret", "new"])
        .code(0);
    lab.sandbox(&get).code(0).prints("new");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let lab = Lab::new();
    lab.sandbox(&["state", "list"])
        .code(1)
        .says("sandbox create");
    lab.sandbox(&["create"]).code(0);
    let long = "k".repeat(2000);
    for args in [
        &["state"][..],
        &["state", "set", "k"],
        &["state", "set", "k", "v", "--file", "f"],
        &["state", "set", "", "v"],
        &["state", "set", &long, "v"],
        &["state", "set", "k", "--file", "/nonexistent"],
        &["state", "get"],
        &["state", "get", "k", "--version", "x"],
        &["state", "rollback", "k"],
        &["state", "lst"],
    ] {
        lab.sandbox(args).code(2);
    }
    lab.sandbox(&["state", "set", "k", "v"]).code(0);
    for args in [
        &["state", "get", "k", "--version", "9"][..],
        &["state", "get", "k", "--version", "0"],
        &["state", "get", "k", "--at", "nothing"],
        &["state", "rollback", "k", "--version", "9"],
        &["state", "history", "nothing"],
        &["state", "set", "k", "v", "--if-version", "7"],
    ] {
        lab.sandbox(args).code(1).says("hint:");
    }
    let failure = lab.sandbox(&["state", "get", "x", "--json"]);
    assert!(failure.code(1).json()["hints"][0].is_string());
}

#[test]
fn a_run_does_not_touch_the_store() {
    let lab = lab();
    let (store, _) = files(&lab);
    lab.run("echo hi > f");
    lab.sandbox(&["undo"]).code(0);
    lab.sandbox(&["log"]).code(0);
    lab.sandbox(&["state", "list"]).code(0);
    assert!(!store.exists());
    fs::write(&store, "not a store").unwrap();
    lab.sandbox(&["run", "-q", "--", "true"]).code(0);
    lab.sandbox(&["state", "list"])
        .code(1)
        .says("it is damaged")
        .says(store.to_str().unwrap());
    assert_eq!(fs::read(&store).unwrap(), b"not a store");
}

/// Several shells count up one key, each only from the version that it saw.
#[test]
fn no_update_of_several_processes_is_lost() {
    const PROCESSES: u64 = 4;
    const EACH: u64 = 4;
    let lab = lab();
    lab.sandbox(&["state", "set", "count", "0"]).code(0);
    let count_up = || {
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut done = 0;
        while done < EACH {
            assert!(Instant::now() < deadline, "too slow");
            let seen = lab.sandbox(&["state", "get", "count", "--json"]).json();
            let next = seen["text"].as_str().unwrap().parse::<u64>().unwrap() + 1;
            let (next, version) = (next.to_string(), seen["version"].to_string());
            let set = ["state", "set", "count", &next, "--if-version", &version];
            match lab.sandbox(&set).status.code() {
                Some(0) => done += 1,
                Some(1) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(count_up);
        }
    });
    let total = PROCESSES * EACH;
    lab.sandbox(&["state", "get", "count"])
        .code(0)
        .prints(&total.to_string());
    let history = lab.sandbox(&["state", "history", "count", "--json"]).json();
    let all: Vec<u64> = (1..=total + 1).collect();
    assert_eq!(numbers(&history, "version"), all);
    assert_eq!(numbers(&history, "sequence"), all);
    let records = lab
        .sandbox(&["audit", "show", "-n", "1000", "--json"])
        .stdout;
    let recorded = records.matches("state.set").count() as u64;
    assert_eq!(recorded, total + 1, "each change is recorded once");
}

/// What `set` acknowledged by its exit is there after a kill at any moment of a later one.
#[test]
fn a_killed_set_is_before_or_after() {
    let lab = lab();
    let start = Instant::now();
    lab.sandbox(&["state", "set", "k", "0"]).code(0);
    let whole = start.elapsed();
    for moment in 1..=20_u32 {
        let mut child = lab
            .command(&["state", "set", "k", &moment.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let kill_at = Instant::now() + whole * moment / 16;
        while Instant::now() < kill_at && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _already_ended = child.kill();
        let acknowledged = child.wait().unwrap().success();
        let found = lab.sandbox(&["state", "get", "k"]);
        let found: u32 = found.code(0).stdout.parse().unwrap();
        if acknowledged {
            assert_eq!(found, moment);
        }
        assert!(found <= moment);
    }
    lab.sandbox(&["state", "set", "k", "last"]).code(0);
    let history = lab.sandbox(&["state", "history", "k", "--json"]).json();
    let versions = numbers(&history, "version");
    let records = lab
        .sandbox(&["audit", "show", "-n", "1000", "--json"])
        .stdout;
    assert_eq!(
        records.matches("state.set").count(),
        versions.len(),
        "what a killed process did not record, a later one did"
    );
}
