//! `sandbox state` when something has happened to its files or its key, several keys at once, and the journal kept
//! elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::lab::Lab;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab
}

fn store(lab: &Lab) -> PathBuf {
    lab.data().join("sandboxes/workspace/state.redb")
}

#[test]
fn a_lost_store_is_noticed_and_no_new_one_is_begun() {
    let lab = lab();
    lab.sandbox(&["state", "get", "a"])
        .code(1)
        .says("there is no key 'a'");
    lab.sandbox(&["state", "set", "a", "1"]).code(0);
    // The control: nothing is said of a store that is there.
    let status = lab.sandbox(&["status", "--json"]).code(0).json();
    assert!(status["state_lost"].is_null(), "{status:#}");
    fs::remove_file(store(&lab)).unwrap();
    let status = lab.sandbox(&["status", "--json"]).code(0).json();
    assert_eq!(status["state_lost"], 1, "{status:#}");
    lab.sandbox(&["status"])
        .code(0)
        .prints("lost: the journal has changes of the state up to 1")
        .prints("sandbox state recover");
    for args in [
        &["state", "set", "a", "2"][..],
        &["state", "get", "a"],
        &["state", "list"],
    ] {
        lab.sandbox(args)
            .code(1)
            .says("cannot find the store of the state")
            .says("state recover");
        assert!(!store(&lab).exists());
    }
    let recovered = lab.sandbox(&["state", "recover", "--json"]).code(0).json();
    assert_eq!(
        (&recovered["recorded"], &recovered["sequence"]),
        (&1.into(), &0.into())
    );
    let status = lab.sandbox(&["status", "--json"]).code(0).json();
    assert!(status["state_lost"].is_null(), "{status:#}");
    lab.sandbox(&["state", "set", "a", "2"]).code(0);
    lab.sandbox(&["state", "recover"])
        .code(0)
        .says("nothing is wrong");
    lab.sandbox(&["state", "get", "a"]).code(0).prints("2");
    lab.sandbox(&["audit", "show"]).prints("state.recovered");
}

#[test]
fn an_older_copy_and_a_damaged_store_are_noticed() {
    let lab = lab();
    lab.sandbox(&["state", "set", "a", "1"]).code(0);
    let old = fs::read(store(&lab)).unwrap();
    lab.sandbox(&["state", "set", "a", "2"]).code(0);
    fs::write(store(&lab), &old).unwrap();
    for args in [&["state", "set", "a", "3"][..], &["state", "get", "a"]] {
        lab.sandbox(args)
            .code(1)
            .says("an older copy is in its place");
    }
    lab.sandbox(&["state", "recover"])
        .code(0)
        .says("goes on after change 1; the journal had 2");
    lab.sandbox(&["state", "set", "a", "3"]).code(0);
    fs::write(store(&lab), [7; 5000]).unwrap();
    lab.sandbox(&["state", "get", "a"])
        .code(1)
        .says("it is damaged");
    lab.sandbox(&["state", "recover"])
        .code(0)
        .says("the damaged store is");
    lab.sandbox(&["state", "set", "a", "4"]).code(0);
}

#[test]
fn a_key_is_replaced_by_another_and_by_a_passphrase() {
    let mut lab = lab();
    lab.sandbox(&["state", "set", "token", "--secret", "long secret"])
        .code(0);
    let key = lab.data().join("keys/state.key");
    let old = fs::read(&key).unwrap();
    let rekeyed = lab.sandbox(&["state", "rekey", "--json"]).code(0).json();
    assert_eq!(rekeyed[0]["versions"], 1);
    assert_ne!(fs::read(&key).unwrap(), old);
    lab.sandbox(&["state", "get", "token"])
        .code(0)
        .prints("long secret");
    lab = lab.env("SANDBOX_STATE_PASSPHRASE_NEW", "four random words");
    lab.sandbox(&["state", "rekey"])
        .code(0)
        .says("1 secret version is sealed anew");
    lab.sandbox(&["state", "get", "token"])
        .code(1)
        .says("sealed with the key");
    lab = lab.env("SANDBOX_STATE_PASSPHRASE", "four random words");
    lab.sandbox(&["state", "get", "token"])
        .code(0)
        .prints("long secret");
    lab = lab.without_env("SANDBOX_STATE_PASSPHRASE_NEW");
    lab.sandbox(&["state", "rekey"])
        .code(2)
        .says("SANDBOX_STATE_PASSPHRASE_NEW");
    lab = lab.env("SANDBOX_STATE_PASSPHRASE", "four other words");
    lab.sandbox(&["state", "get", "token"])
        .code(1)
        .says("sealed with the key");
    lab.sandbox(&["state", "set", "other", "--secret", "x"])
        .code(1)
        .says("sealed with the key");
    lab = lab.env("SANDBOX_STATE_PASSPHRASE", "short");
    lab.sandbox(&["state", "get", "token"])
        .code(1)
        .says("less than 8");
}

/// The key of what is missing would be gone, and whoever puts it back could not read it.
#[test]
fn the_key_stays_while_a_store_is_not_the_newest() {
    let lab = lab();
    let other = lab.root().join("other");
    fs::create_dir(&other).unwrap();
    lab.sandbox(&["create", "-w", other.to_str().unwrap()])
        .code(0);
    let set = |sandbox: &str, value: &str| {
        lab.sandbox(&["-s", sandbox, "state", "set", "s", "--secret", value])
            .code(0);
    };
    set("other", "fine");
    set("workspace", "first");
    let old = fs::read(store(&lab)).unwrap();
    set("workspace", "second");
    let newest = fs::read(store(&lab)).unwrap();
    let keys = lab.data().join("keys");
    let key = fs::read(keys.join("state.key")).unwrap();
    let refused = |why: &str| {
        lab.sandbox(&["-s", "other", "state", "rekey"])
            .code(1)
            .says("without the state of workspace")
            .says(why)
            .says("sandbox -s workspace state recover");
        assert_eq!(fs::read(keys.join("state.key")).unwrap(), key);
        assert!(!keys.join("state.key.next").exists());
    };
    fs::write(store(&lab), &old).unwrap();
    refused("an older copy is in its place");
    fs::remove_file(store(&lab)).unwrap();
    refused("cannot find the store of the state");
    let get = |sandbox: &str| lab.sandbox(&["-s", sandbox, "state", "get", "s"]);
    get("other").code(0).prints("fine");

    fs::write(store(&lab), &newest).unwrap();
    lab.sandbox(&["state", "rekey"]).code(0);
    assert_ne!(fs::read(keys.join("state.key")).unwrap(), key);
    get("workspace").code(0).prints("second");
    get("other").code(0).prints("fine");

    // Who gives the newest up can go on.
    let last = fs::read(store(&lab)).unwrap();
    set("workspace", "third");
    fs::write(store(&lab), &last).unwrap();
    lab.sandbox(&["state", "rekey"]).code(1);
    lab.sandbox(&["-s", "workspace", "state", "recover"])
        .code(0);
    lab.sandbox(&["state", "rekey"]).code(0);
    get("workspace").code(0).prints("second");
}

#[test]
fn several_keys_change_at_once_and_differences_are_told() {
    let lab = lab();
    lab.sandbox(&["state", "set", "a", "1"]).code(0);
    lab.sandbox(&["state", "set", "b", "1"]).code(0);
    let apply = |text: &str| lab.sandbox_with_input(&["state", "apply", "-"], text);
    apply(r#"[{"set": "a", "text": "2", "if_version": 1}, {"delete": "b"}, {"set": "c", "base64": "AAE="}]"#)
        .code(0)
        .says("changed 3 keys in one commit");
    apply(r#"[{"set": "a", "text": "3"}, {"delete": "c", "if_version": 7}]"#).code(1);
    apply(r#"[{"set": "a", "text": "3"}, {"set": "a", "text": "4"}]"#)
        .code(2)
        .says("twice");
    apply(r#"[{"set": "a"}]"#)
        .code(2)
        .says("neither `text` nor `base64`");
    apply("{}").code(2).says("write a JSON list");
    lab.sandbox(&["state", "get", "a"]).code(0).prints("2");
    lab.sandbox(&["state", "set", "token", "--secret", "1"])
        .code(0);
    let taken = lab.sandbox(&["snapshot", "create", "--json"]).json();
    let taken = taken["id"].as_str().unwrap();
    lab.sandbox(&["state", "diff", taken])
        .code(0)
        .says("no key differs");
    lab.sandbox(&["state", "diff", taken, "--json"])
        .code(0)
        .prints("[]");
    let times = lab.sandbox(&["state", "history", "b", "--json"]).json();
    let before = times[0]["at"].as_str().unwrap();
    lab.sandbox(&["state", "get", "a", "--time", before])
        .code(0)
        .prints("1");
    lab.sandbox(&["state", "diff", before])
        .code(0)
        .prints("~ a  version 1 -> 2")
        .prints("- b  version 1")
        .prints("+ c  version 1");
}

#[test]
fn changes_are_seen_as_they_happen() {
    use std::io::{BufRead as _, BufReader};
    let lab = lab();
    lab.sandbox(&["state", "set", "app/a", "1"]).code(0);
    let mut child = lab
        .command(&["state", "watch", "app/", "--since", "0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    lab.sandbox(&["state", "set", "other", "1"]).code(0);
    lab.sandbox(&["state", "delete", "app/a"]).code(0);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let kinds: Vec<String> = lines
        .take(2)
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(event["data"]["key"], "app/a");
            event["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["state.set", "state.deleted"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_head_that_was_kept_shows_what_was_cut_off() {
    let lab = lab();
    let journal = lab.data().join("sandboxes/workspace/journal.log");
    let before = fs::read(&journal).unwrap();
    lab.sandbox(&["state", "set", "a", "1"]).code(0);
    let head = lab.sandbox(&["audit", "verify", "--json"]).json();
    let head = head["head"].as_str().unwrap().to_owned();
    lab.sandbox(&["state", "set", "a", "2"]).code(0);
    lab.sandbox(&["audit", "verify", "--head", &head]).code(0);
    let exported = lab.sandbox(&["audit", "export"]).code(0).stdout.clone();
    let to_stdout = lab
        .sandbox(&["audit", "export", "-"])
        .code(0)
        .stdout
        .clone();
    assert_eq!(to_stdout, exported);
    assert_eq!(exported.lines().count(), 3);
    assert!(exported.contains(&head));
    let file = lab.root().join("exported");
    lab.sandbox(&["audit", "export", file.to_str().unwrap()])
        .code(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), exported);
    // What is no head is a mistake of who typed it, and says nothing about the journal.
    let longer = format!("{head}0");
    for typed in ["", "xyz", &head[..12], &longer] {
        lab.sandbox(&["audit", "verify", "--head", typed])
            .code(2)
            .says("a head is 64 hexadecimal digits");
    }
    lab.sandbox(&["audit", "verify", "--head", &head.to_uppercase()])
        .code(0);
    fs::write(&journal, before).unwrap();
    lab.sandbox(&["audit", "verify"]).code(0);
    lab.sandbox(&["audit", "verify", "--head", &head])
        .code(1)
        .prints("no record has the hash");
}

/// Half an export looks like a whole one of a shorter journal.
#[test]
fn an_export_is_whole_or_not_there() {
    let lab = lab();
    lab.sandbox(&["state", "set", "a", "1"]).code(0);
    lab.sandbox(&["state", "set", "b", "1"]).code(0);
    let journal = lab.data().join("sandboxes/workspace/journal.log");
    let whole = fs::read(&journal).unwrap();
    let mut damaged = whole.clone();
    let at = damaged.len() - 20;
    damaged[at] ^= 4;
    let place = lab.root().join("outside");
    let file = place.join("exported");
    let export = || lab.sandbox(&["audit", "export", file.to_str().unwrap()]);
    fs::write(&journal, &damaged).unwrap();
    let printed = lab.sandbox(&["audit", "export"]);
    assert!(!printed.stdout.is_empty(), "the first records are right");
    assert_ne!(printed.status.code(), Some(0));
    assert_ne!(export().status.code(), Some(0));
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    fs::write(&journal, &whole).unwrap();
    export().code(0).says("3 records");
    export().code(1).says("give a file that is not there yet");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
}

/// What a newer program wrote is no damage: the message says what to do, and nothing is changed or run.
#[test]
fn formats_of_a_newer_program_are_refused_with_the_way_on() {
    let lab = lab();
    lab.sandbox(&["run", "--", "true"]).code(0);
    let own = lab.data().join("sandboxes/workspace");
    let newer = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../sandbox-state/tests/fixtures/journal-3/journal.log");
    let journal = own.join("journal.log");
    let before = fs::read(&journal).unwrap();
    fs::copy(newer, &journal).unwrap();
    let copied = fs::read(&journal).unwrap();
    let way = "use the newer version of sandbox";
    for args in [&["log"][..], &["show"], &["status"], &["events"]] {
        lab.sandbox(args).code(1).says(way);
    }
    lab.sandbox(&["run", "--", "touch", "made"])
        .code(125)
        .says(way);
    lab.sandbox(&["audit", "verify"])
        .code(1)
        .prints("a newer version of sandbox wrote it");
    assert_eq!(fs::read(&journal).unwrap(), copied);
    assert!(!lab.workspace().join("made").exists());
    fs::write(&journal, before).unwrap();
    // The control: what this program wrote is read.
    lab.sandbox(&["log"]).code(0);
    let record = own.join("sandbox.json");
    let text = fs::read_to_string(&record).unwrap();
    assert!(text.contains("\"format\": 1"), "{text}");
    fs::write(&record, text.replace("\"format\": 1", "\"format\": 99")).unwrap();
    for (args, code) in [
        (&["status"][..], 1),
        (&["run", "--", "true"], 125),
        (&["destroy"], 1),
    ] {
        lab.sandbox(args).code(code).says(way);
    }
    fs::write(&record, text).unwrap();
    lab.sandbox(&["status"]).code(0);
}
