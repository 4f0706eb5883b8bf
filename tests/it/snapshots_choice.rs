//! What of the workspace is in a snapshot, which snapshots stay, and snapshots in pipes.

use std::{fs, process::Stdio};

use crate::lab::Lab;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab
}

#[test]
fn what_matches_or_is_too_large_is_left_out() {
    let lab = lab()
        .file("a", "one")
        .file("build/x", "object")
        .file("big", &"x".repeat(3000));
    let create = ["snapshot", "create", "--exclude", "build/"];
    let create = [&create[..], &["--exclude-larger-than", "2k", "--json"]].concat();
    let taken = lab.sandbox(&create).json();
    assert_eq!(
        (&taken["files"], &taken["excluded"]),
        (&1.into(), &2.into())
    );
    let id = taken["id"].as_str().unwrap().to_owned();
    lab.sandbox(&["snapshot", "show", &id])
        .code(0)
        .prints("excludes  build/")
        .prints("files larger than 2K");
    let lab = lab
        .file("a", "edited")
        .file("build/x", "newer")
        .file("big", "small");
    lab.sandbox(&["snapshot", "restore", &id]).code(0);
    let read = |path| fs::read_to_string(lab.workspace().join(path)).unwrap();
    assert_eq!(
        [read("a"), read("build/x"), read("big")],
        ["one", "newer", "small"]
    );
    lab.sandbox(&["snapshot", "create", "--exclude", "[z-a]"])
        .code(2)
        .says("cannot leave out '[z-a]'");
    lab.sandbox(&["snapshot", "create", "--exclude-larger-than", "much"])
        .code(2);
}

#[test]
fn the_configuration_leaves_out_too() {
    let lab = Lab::new()
        .file("kept", "")
        .file("a.o", "object")
        .file("keep.o", "object");
    let config = lab.root().join("config.yaml");
    let text = "safety_constraints: {snapshot_exclude: ['*.o']}\n";
    fs::write(&config, text).unwrap();
    lab.sandbox(&["create", "--config", config.to_str().unwrap()])
        .code(0);
    let taken = lab.sandbox(&["snapshot", "create", "--json", "--exclude", "!keep.o"]);
    let taken = taken.code(0).json();
    assert_eq!(
        (&taken["files"], &taken["excluded"]),
        (&2.into(), &1.into())
    );
}

#[test]
fn limits_and_tags_decide_which_stay() {
    let lab = lab();
    for (number, tag) in [(1, "release"), (2, "old"), (3, "")] {
        fs::write(lab.workspace().join("a"), number.to_string()).unwrap();
        let mut create = vec!["snapshot", "create", "--quiet"];
        if !tag.is_empty() {
            create.extend(["--tag", tag]);
        }
        lab.sandbox(&create).code(0);
    }
    let prune = ["snapshot", "prune", "--dry-run"];
    let with = |more: &[&str]| lab.sandbox(&[&prune[..], more].concat());
    let all = with(&["--max-age", "1d"]);
    all.code(0).prints("keep: tag, within limits");
    all.prints("keep: newest, within limits");
    with(&["--keep-tag", "release", "--max-bytes", "1"])
        .code(0)
        .prints("keep: tag")
        .prints("delete: beyond max-bytes");
    with(&["--keep-within", "2h"]).code(0).prints("since");
    with(&["--max-age", "soon"]).code(2).says("d, h, m or s");
    lab.sandbox(&[
        "snapshot",
        "prune",
        "--keep-tag",
        "release",
        "--max-bytes",
        "1",
    ])
    .code(0)
    .says("deleted 1");
    let list = lab.sandbox(&["snapshot", "list"]);
    list.code(0).prints("[release]");
    assert!(!list.stdout.contains("[old]"));
}

#[test]
fn a_snapshot_goes_through_a_pipe() {
    let from = lab().file("a", "one");
    let taken = from.sandbox(&["snapshot", "create", "--json"]).json();
    let id = taken["id"].as_str().unwrap().to_owned();
    from.sandbox(&["--json", "snapshot", "export", &id, "-"])
        .code(2)
        .prints("--json");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("piped");
    let export = from
        .command(&["snapshot", "export", &id, "-"])
        .stdout(fs::File::create(&file).unwrap())
        .status()
        .unwrap();
    assert!(export.success());
    let to = lab();
    let import = to
        .command(&["snapshot", "import", "-"])
        .stdin(fs::File::open(&file).unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(import.success());
    to.sandbox(&["snapshot", "list", "--json"])
        .code(0)
        .prints("\"files\": 1");
}
