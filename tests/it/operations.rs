//! Operations that are no commands: work on files, and scripts.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::lab::{Ended, Lab};

impl Lab {
    /// Runs an operation document given on standard input.
    fn operation(&self, options: &[&str], document: &Value) -> Ended {
        let mut args = vec!["run"];
        args.extend(options);
        args.extend(["--operation", "-"]);
        self.sandbox_with_input(&args, &document.to_string())
    }

    /// Runs an operation document from a file, with something on standard input.
    fn operation_with_input(&self, options: &[&str], document: &Value, input: &str) -> Ended {
        let file = self.root().join("operation.json");
        fs::write(&file, document.to_string()).unwrap();
        let mut args = vec!["run"];
        args.extend(options);
        args.extend(["--operation", file.to_str().unwrap()]);
        self.sandbox_with_input(&args, input)
    }

    fn mode(&self, path: &str) -> u32 {
        let metadata = fs::metadata(self.workspace().join(path)).unwrap();
        metadata.permissions().mode() & 0o7777
    }
}

#[test]
fn a_file_is_written_with_its_parents_and_mode() {
    let lab = Lab::new().file("kept.sh", "old\n");
    let document = json!({"type": "file_write", "path": "a/b/c.txt", "content": "hi\n"});
    let report = lab.operation(&["--json"], &document).code(0).json();
    assert_eq!(report["operation"]["type"], "file_write");
    assert_eq!(
        report["operation"]["argv"],
        json!(["file_write", "a/b/c.txt"])
    );
    assert_eq!(report["changes"]["settlement"], "committed");
    assert_eq!(report["verdict"]["commands"][0]["argv"][0], "file_write");
    assert_eq!(lab.read("a/b/c.txt").unwrap(), "hi\n");
    assert_eq!((lab.mode("a/b/c.txt"), lab.mode("a")), (0o644, 0o755));

    let document =
        json!({"type": "file_write", "path": "kept.sh", "content": "new\n", "mode": "0750"});
    lab.operation(&[], &document).code(0);
    assert_eq!(lab.read("kept.sh").unwrap(), "new\n");
    assert_eq!(lab.mode("kept.sh"), 0o750);
    let document = json!({"type": "file_write", "path": "kept.sh", "content": ""});
    lab.operation(&[], &document).code(0);
    assert_eq!(
        (lab.read("kept.sh").unwrap().len(), lab.mode("kept.sh")),
        (0, 0o750)
    );

    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.read("kept.sh").unwrap(), "new\n");
}

#[test]
fn names_and_content_are_any_that_a_document_can_have() {
    let lab = Lab::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let encoded = {
        // Three bytes are four characters; the alphabet is that of RFC 4648.
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let groups = bytes.chunks(3).flat_map(|it| {
            let number = it
                .iter()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| char::from(alphabet[number >> shift & 63]))
        });
        groups.collect::<String>()
    };
    for name in ["-rf", "a b\n'\"$(touch x)`y`*", "é", "!", "-e", "./d/e"] {
        let document = json!({"type": "file_write", "path": name, "content_base64": encoded});
        lab.operation(&[], &document).code(0);
        assert_eq!(
            fs::read(lab.workspace().join(name)).unwrap(),
            bytes,
            "{name:?}"
        );
        let moved = format!("moved/{}", name.replace('/', "_"));
        lab.operation(
            &[],
            &json!({"type": "file_move", "from": name, "to": moved}),
        )
        .code(0);
        lab.operation(&[], &json!({"type": "file_delete", "path": moved}))
            .code(0);
    }
    lab.operation(
        &[],
        &json!({"type": "file_delete", "path": "moved", "recursive": true}),
    )
    .code(0);
    lab.operation(
        &[],
        &json!({"type": "file_delete", "path": "d", "recursive": true}),
    )
    .code(0);
    assert_eq!(fs::read_dir(lab.workspace()).unwrap().count(), 0);
}

#[test]
fn what_fails_says_so_and_changes_nothing() {
    let lab = Lab::new().file("directory/file", "x").file("file", "y");
    let before = lab.tree();
    for (document, says) in [
        (
            json!({"type": "file_delete", "path": "nope"}),
            "cannot delete nope",
        ),
        (
            json!({"type": "file_delete", "path": "directory"}),
            "directory",
        ),
        (
            json!({"type": "file_move", "from": "nope", "to": "new/name"}),
            "nope",
        ),
        (
            json!({"type": "file_move", "from": "file", "to": "directory"}),
            "is a directory",
        ),
        (
            json!({"type": "file_write", "path": "file/below", "content": ""}),
            "file",
        ),
        (
            json!({"type": "file_write", "path": "directory", "content": ""}),
            "directory",
        ),
    ] {
        lab.operation(&[], &document).code(1).says(says);
        assert_eq!(lab.tree(), before, "{document}");
    }
}

#[test]
fn nothing_outside_of_the_workspace_is_touched() {
    let lab = Lab::new();
    let outside = lab.root().join("outside/file");
    fs::write(&outside, "theirs").unwrap();
    std::os::unix::fs::symlink(lab.root().join("outside"), lab.workspace().join("link")).unwrap();
    for path in [
        outside.to_str().unwrap(),
        "../outside/file",
        "/etc/passwd",
        "a/../../b",
    ] {
        let document = json!({"type": "file_write", "path": path, "content": "ours"});
        lab.operation(&[], &document).code(2);
        lab.operation(&[], &json!({"type": "file_delete", "path": path}))
            .code(2);
        let document = json!({"type": "file_move", "from": "a", "to": path});
        lab.operation(&[], &document).code(2);
    }
    // What a link leads to is not there, inside.
    for path in ["link/file", "link/new"] {
        let document = json!({"type": "file_write", "path": path, "content": "ours"});
        lab.operation(&[], &document).code(1);
        lab.operation(&[], &json!({"type": "file_delete", "path": path}))
            .code(1);
    }
    // What would be written there is not lost without a word.
    std::os::unix::fs::symlink("/tmp", lab.workspace().join("private")).unwrap();
    fs::write(lab.workspace().join("kept"), "kept").unwrap();
    for document in [
        json!({"type": "file_write", "path": "private/file", "content": "ours"}),
        json!({"type": "file_write", "path": "private/sub/file", "content": "ours"}),
        json!({"type": "file_move", "from": "kept", "to": "private/kept"}),
    ] {
        lab.operation(&[], &document)
            .code(1)
            .says("a link leads out of the workspace");
    }
    assert_eq!(lab.read("kept").unwrap(), "kept");
    assert_eq!(fs::read_to_string(outside).unwrap(), "theirs");
    assert_eq!(fs::read_dir(lab.root().join("outside")).unwrap().count(), 1);
    let inside = lab.workspace().join("absolute");
    let document = json!({"type": "file_write", "path": inside, "content": "x"});
    lab.operation(&[], &document).code(0);
    assert_eq!(lab.read("absolute").unwrap(), "x");
}

#[test]
fn paths_are_relative_to_the_workspace_wherever_one_stands() {
    let lab = Lab::new().file("sub/dir/file", "");
    lab.sandbox(&["create"]).code(0);
    let document = json!({"type": "file_write", "path": "here", "content": "x"});
    let file = lab.root().join("operation.json");
    fs::write(&file, document.to_string()).unwrap();
    let mut command = lab.command(&["run", "--operation", file.to_str().unwrap()]);
    let status = command
        .current_dir(lab.workspace().join("sub/dir"))
        .status();
    assert!(status.unwrap().success());
    assert_eq!(lab.read("here").unwrap(), "x");
}

#[test]
fn work_on_files_is_judged_by_its_paths() {
    let lab = Lab::new();
    for (document, rule) in [
        (
            json!({"type": "file_write", "path": "/etc/passwd", "content": "x"}),
            "fs.overwrite-system",
        ),
        (
            json!({"type": "file_write", "path": ".git/hooks/pre-commit", "content": "x"}),
            "persist.git-hooks",
        ),
        (
            json!({"type": "file_delete", "path": "/usr", "recursive": true}),
            "fs.delete-root",
        ),
        (
            json!({"type": "script", "interpreter": "bash", "source": "echo\nrm -rf /\n"}),
            "fs.delete-root",
        ),
        (
            json!({"type": "script", "interpreter": "python3",
                   "source": "import os\nos.system('rm -rf /')"}),
            "fs.delete-root",
        ),
    ] {
        let args = ["check", "--json", "--operation", "-"];
        let verdict = lab.sandbox_with_input(&args, &document.to_string()).json();
        let found = verdict["findings"].as_array().unwrap();
        assert!(
            found.iter().any(|it| it["rule"] == rule),
            "{document}: {verdict:#}"
        );
    }
    let document = json!({"type": "script", "interpreter": "sh", "source": "rm -rf /"});
    lab.operation(&[], &document).code(126).says("denies it");
}

#[test]
fn a_script_has_arguments_input_and_a_code_of_its_own() {
    let lab = Lab::new();
    let document = json!({"type": "script", "interpreter": "sh",
        "source": "read line\necho \"got $line from $0\"\ncat\nexit 3\n"});
    lab.operation_with_input(&[], &document, "first\nrest\n")
        .code(3)
        .prints("got first from /run/script\nrest\n");
    let report = lab
        .operation_with_input(&["--json"], &document, "")
        .code(3)
        .json();
    assert_eq!(report["operation"]["argv"], json!(["sh", "/run/script"]));
    assert_eq!(report["outcome"], "failed");

    let document = json!({"type": "script", "interpreter": ["sh", "-eu"], "stdin": "inline",
        "source": "cat; echo \"$missing\"; echo never"});
    let ended = lab.operation(&[], &document);
    ended.prints("inline");
    assert_ne!(ended.status.code(), Some(0));
    assert!(!ended.stdout.contains("never"), "{ended}");

    let document = json!({"type": "script", "interpreter": "no-such", "source": "x"});
    lab.operation(&[], &document).code(127).says("no-such");
}

#[test]
fn a_script_of_five_megabytes_runs_and_still_reads_its_input() {
    let lab = Lab::new();
    let line = "echo this line is one of very many >/dev/null\n";
    let source = line.repeat(5 * 1024 * 1024 / line.len() / 20);
    let padding = format!("# {}\n", "x".repeat(1000)).repeat(5 * 1024);
    let source = format!("{padding}{source}read line\necho \"end $line\"\n");
    assert!(source.len() > 5 * 1024 * 1024);
    let document = json!({"type": "script", "interpreter": "sh", "source": source});
    lab.operation_with_input(&[], &document, "")
        .code(126)
        .says("too-large");
    lab.operation_with_input(&["--yes"], &document, "of input\n")
        .code(0)
        .prints("end of input");
}

#[test]
fn a_wrong_document_is_refused_with_its_field() {
    let lab = Lab::new();
    for (document, says) in [
        (
            json!({"type": "file_wirte", "path": "a"}),
            "did you mean `file_write`?",
        ),
        (json!({"type": "file_write", "content": "a"}), "`path`"),
        (
            json!({"type": "file_write", "path": "a", "content": "b", "mode": 644}),
            "`mode`",
        ),
        (
            json!({"type": "file_write", "path": "a", "content": "b", "mode": "4755"}),
            "set-user-id",
        ),
        (
            json!({"type": "file_delete", "path": "a", "content": "b"}),
            "`content`",
        ),
        (
            json!({"type": "script", "interpreter": "sh", "source": ""}),
            "nothing to run",
        ),
    ] {
        lab.operation(&[], &document).code(2).says(says);
    }
    assert_eq!(fs::read_dir(lab.workspace()).unwrap().count(), 0);
}
