//! A snapshot leaves its sandbox as a file and comes into another one; a policy says which stay.

use std::fs;

use crate::lab::{Lab, tree};

fn lab() -> Lab {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab
}

#[test]
fn a_snapshot_travels_in_a_file() {
    let from = lab().file("a", "one\n").file("dir/b", "two\n");
    let taken = from.sandbox(&["snapshot", "create", "--json", "-m", "travels"]);
    let id = taken.json()["id"].as_str().unwrap().to_owned();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("export");
    let name = file.to_str().unwrap();
    let export = ["snapshot", "export", &id[..8], name];
    from.sandbox(&export).code(0).says("is in").says("chunks");
    from.sandbox(&export)
        .code(1)
        .says("is there already")
        .says("name a file that is not there yet");
    from.sandbox(&["snapshot", "export", "ffffffff", "elsewhere"])
        .code(1)
        .says("no snapshot");

    let to = lab();
    let imported = to.sandbox(&["snapshot", "import", name, "--json"]);
    imported.code(0);
    let imported = imported.json();
    assert_eq!(imported["exported_as"], id);
    let id = imported["id"].as_str().unwrap();
    to.sandbox(&["snapshot", "list"]).code(0).prints("travels");
    let out = place.path().join("out");
    to.sandbox(&["snapshot", "restore", id, "--to", out.to_str().unwrap()])
        .code(0);
    assert_eq!(tree(&out), from.tree());
    to.sandbox(&["audit", "verify"]).code(0);
    to.sandbox(&["log", "--json"]).code(0);

    // A byte of it changed, or a part of it: nothing comes in.
    let whole = fs::read(&file).unwrap();
    let mut bad = whole.clone();
    bad[whole.len() / 2] ^= 4;
    for bytes in [&bad[..], &whole[..whole.len() - 1], b"", b"something else"] {
        fs::write(&file, bytes).unwrap();
        let third = lab();
        third
            .sandbox(&["snapshot", "import", name])
            .code(1)
            .says("cannot import")
            .says("nothing was taken in");
        third
            .sandbox(&["snapshot", "list", "--json"])
            .code(0)
            .prints("[]");
    }
    let missing = place.path().join("missing");
    lab()
        .sandbox(&["snapshot", "import", missing.to_str().unwrap()])
        .code(1)
        .says("missing");
    // Nobody writes to this pipe, and nobody waits for that.
    let pipe = place.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    lab()
        .sandbox(&["snapshot", "import", pipe.to_str().unwrap()])
        .code(1)
        .says("it is no regular file");
}

#[test]
fn a_policy_says_what_stays_and_why() {
    let lab = lab().file("a", "one\n");
    let take = |options: &[&str]| {
        let mut args = vec!["snapshot", "create", "--json"];
        args.extend(options);
        let taken = lab.sandbox(&args);
        taken.code(0);
        taken.json()["id"].as_str().unwrap()[..12].to_owned()
    };
    let tagged = take(&["--tag", "release"]);
    let middle = take(&[]);
    let newest = take(&[]);
    let policy = ["snapshot", "prune", "--keep-last", "1"];
    let dry = [&policy[..], &["--dry-run"]].concat();
    for _ in 0..2 {
        lab.sandbox(&dry)
            .code(0)
            .prints("keep: tag")
            .prints("keep: newest, last")
            .prints("delete")
            .says("1 would be deleted")
            .says("nothing was done");
    }
    let done = lab.sandbox(&[&policy[..], &["--json"]].concat());
    done.code(0);
    let done = done.json();
    let decided = done["snapshots"].as_array().unwrap();
    let empty = |one: &serde_json::Value| one["reasons"].as_array().unwrap().is_empty();
    assert_eq!(decided.len(), 3);
    assert!(empty(&decided[1]) && !empty(&decided[0]) && !empty(&decided[2]));
    lab.sandbox(&["snapshot", "show", &middle]).code(1);
    lab.sandbox(&["snapshot", "show", &tagged]).code(0);
    lab.sandbox(&["snapshot", "show", &newest]).code(0);
    lab.sandbox(&["snapshot", "verify", "--read-data"]).code(0);
    // Without a policy nothing is deleted.
    lab.sandbox(&["snapshot", "prune"]).code(0).says("freed");
    lab.sandbox(&["snapshot", "show", &tagged]).code(0);
    lab.sandbox(&["snapshot", "prune", "--keep-last", "many"])
        .code(2);
}
