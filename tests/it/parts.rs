//! Held changes that are settled in parts: refusals, and what the log says of the rest.

use std::fs;

use crate::lab::Lab;

#[test]
fn a_part_that_is_refused_stays_with_the_others() {
    let lab = Lab::new().file("a", "a0").file("b", "b0");
    let text = "echo new > a; echo new > b; echo new > c";
    lab.sandbox(&["run", "--review", "--shell", text]).code(0);
    fs::write(lab.workspace().join("b"), "mine").unwrap();
    let records = || {
        lab.sandbox(&["audit", "show", "--json"])
            .code(0)
            .stdout
            .clone()
    };
    let held = || lab.sandbox(&["diff", "--json"]).code(0).stdout.clone();
    let (journal, changes) = (records(), held());
    for (path, code, said) in [
        ("b", 1, "b"),
        ("nowhere", 1, "nothing that waits matches nowhere"),
        ("[", 2, "cannot read '[' as a path pattern"),
    ] {
        lab.sandbox(&["commit", "--path", path])
            .code(code)
            .says(said);
        assert_eq!((records(), held()), (journal.clone(), changes.clone()));
    }
    lab.sandbox(&["discard", "--path", "["]).code(2);
    lab.sandbox(&["discard", "--path", "nowhere"]).code(1);
    assert_eq!((records(), held()), (journal, changes));
    assert_eq!(lab.read("b").as_deref(), Some("mine"));

    // What does not conflict can be taken out, and what conflicts be dropped.
    lab.sandbox(&["commit", "--path", "a"]).code(0);
    lab.sandbox(&["discard", "--path", "b"]).code(0);
    lab.sandbox(&["commit"]).code(0);
    assert_eq!(lab.read("a").as_deref(), Some("new\n"));
    assert_eq!(lab.read("c").as_deref(), Some("new\n"));
    assert_eq!(lab.read("b").as_deref(), Some("mine"));
}

#[test]
fn a_path_that_selects_everything_makes_no_second_operation() {
    let lab = Lab::new();
    lab.sandbox(&["run", "--review", "--shell", "echo x > a; echo x > b"])
        .code(0);
    lab.sandbox(&["commit", "--path", "**"]).code(0);
    let log = lab.sandbox(&["log", "--json"]).code(0).json();
    assert_eq!(log.as_array().map(Vec::len), Some(1), "{log:#}");
    assert_eq!(log[0]["report"]["changes"]["settlement"], "committed");
}

#[test]
fn a_part_of_an_operation_is_undone_and_redone() {
    let lab = Lab::new().file("a", "a0").file("b", "b0").file("c", "c0");
    lab.sandbox(&["run", "--shell", "for f in a b c; do echo new > $f; done"])
        .code(0);
    let now = || ["a", "b", "c"].map(|path| lab.read(path).unwrap_or_default());
    let records = || {
        lab.sandbox(&["audit", "show", "--json"])
            .code(0)
            .stdout
            .clone()
    };
    // What is only asked, or refused, leaves no trace.
    let before = records();
    let plan = lab.sandbox(&["undo", "--path", "b", "--dry-run", "--json"]);
    let plan = plan.code(0).json();
    assert_eq!(plan["paths"].as_array().map(Vec::len), Some(1), "{plan:#}");
    assert_eq!(plan["paths"][0]["path"], "b");
    for (path, code, said) in [("nowhere", 1, "nowhere"), ("[", 2, "path pattern")] {
        lab.sandbox(&["undo", "--path", path]).code(code).says(said);
    }
    assert_eq!(records(), before);
    assert_eq!(now(), ["new\n"; 3]);

    // An edit elsewhere is in nobody's way; one of the selected path is.
    fs::write(lab.workspace().join("a"), "mine").unwrap();
    lab.sandbox(&["undo", "--path", "a"]).code(1).says("a");
    lab.sandbox(&["undo", "--path", "b"])
        .code(0)
        .says("a part of");
    assert_eq!(now(), ["mine", "b0", "new\n"]);
    lab.sandbox(&["redo"]).code(0);
    assert_eq!(now(), ["mine", "new\n", "new\n"]);
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(now(), ["mine", "b0", "new\n"]);
    lab.sandbox(&["undo", "--force"]).code(0);
    assert_eq!(now(), ["a0", "b0", "c0"]);

    // Of the two that went back together, one comes forth.
    lab.sandbox(&["redo", "--path", "c"]).code(0);
    assert_eq!(now(), ["a0", "b0", "new\n"]);
    lab.sandbox(&["audit", "verify"]).code(0);
}

/// What is no text is summed up; what is all in a new directory is the directory.
#[test]
fn a_binary_file_is_shown_by_its_sizes() {
    let lab = Lab::new().file("text", "old\n").file("bin", "a\0b");
    let change = "printf '\\0\\0' > bin; echo new > text; mkdir -p new; printf '\\377\\0' > new/in; chmod 600 new/in";
    lab.sandbox(&["run", "--review", "--shell", change]).code(0);
    let shown = lab.sandbox(&["diff"]);
    shown
        .code(0)
        .prints("binary or large: bin: 3B before, 2B after")
        .prints("binary or large: new/in: new, 2B")
        .prints("+new");
    let files = lab.sandbox(&["diff", "--json"]).json();
    let files = files["files"].as_array().unwrap();
    let of = |path: &str| files.iter().find(|it| it["path"] == path).unwrap();
    assert_eq!(of("bin")["binary"]["bytes_before"], 3);
    assert_eq!(of("bin")["binary"]["bytes_after"], 2);
    assert!(of("text").get("binary").is_none() && of("text")["unified"].is_string());
    lab.sandbox(&["commit", "--path", "new/**"]).code(0);
    assert!(lab.workspace().join("new/in").exists());
    assert_eq!(lab.read("text").as_deref(), Some("old\n"));
    lab.sandbox(&["discard"]).code(0);
}

#[test]
fn what_is_told_as_one_rename_is_undone_as_one() {
    let lab = Lab::new().file("b", "content\n").file("other", "");
    let change = "mv b c; chmod 600 c; echo x > other";
    let report = lab.run(change);
    assert_eq!(report["changes"]["renamed"], 1, "{report:#}");
    for end in ["b", "c"] {
        lab.sandbox(&["undo", "--path", end])
            .code(1)
            .says("only one of 'b' and 'c'");
        assert_eq!(lab.read("b"), None);
    }
    lab.sandbox(&["undo", "--path", "b", "--path", "c"]).code(0);
    assert_eq!(lab.read("b").as_deref(), Some("content\n"));
    assert_eq!(lab.read("c"), None);
    assert_eq!(lab.read("other").as_deref(), Some("x\n"));
    // What is told as two is two.
    lab.run("rm b; echo another > d");
    lab.sandbox(&["undo", "--path", "b"]).code(0);
    assert_eq!(lab.read("d").as_deref(), Some("another\n"));
}
