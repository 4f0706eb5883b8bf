//! What reaches the workspace when an operation ends.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::{
    lab::{Lab, tree},
    suite::Case,
    trial::{Trial, end, eventually, holds_soon, is_root, processes_with, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "30", layer: "paths by descriptor", what: "a link that snapshot, commit, restore, undo or destroy would follow", run: links },
    Case { numbers: "33 F18 F19", layer: "commit gate", what: "files that make other programs run something", run: protected },
    Case { numbers: "34 F10 F17 F20", layer: "commit gate, no capabilities", what: "set-id bits, capabilities, devices, pipes, sockets, attributes", run: attributes },
    Case { numbers: "36", layer: "pid namespace before commit", what: "write while the changes are committed", run: torn },
    Case { numbers: "43 F13", layer: "survey of the upper layer", what: "forged whiteouts, opaque marks, moved directories, hard links", run: forged },
    Case { numbers: "44", layer: "report", what: "names of any bytes in results", run: names },
];

/// Something that the program does, by name.
type Step<'a> = (&'a str, Box<dyn Fn(&Trial) + 'a>);

fn links(trial: &mut Trial) {
    let outside = trial.canary("dir");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    fs::set_permissions(outside.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    trial.lab = std::mem::replace(&mut trial.lab, Lab::new())
        .file("dir/file", "old")
        .file("plain", "old");
    trial.guard();
    // Control: who follows names writes there.
    let control = trial.control();
    fs::create_dir(control.join("real")).unwrap();
    symlink(control.join("real"), control.join("link")).unwrap();
    fs::write(control.join("link/planted"), "x").unwrap();
    let followed = control.join("real/planted").exists();
    let target = outside.display();
    let steps: [Step<'_>; 7] = [
        (
            "commit of a link in the place of a directory",
            Box::new(|it| {
                it.inside(&format!("rm -rf dir; ln -s '{target}' dir"));
            }),
        ),
        (
            "commit through it",
            Box::new(|it| {
                it.inside(
                    "echo x > dir/file; echo x > dir/planted; chmod 777 dir/file; rm -f dir/file",
                );
            }),
        ),
        (
            "snapshot",
            Box::new(|it| {
                it.lab.sandbox(&["snapshot", "create", "--json"]).code(0);
            }),
        ),
        (
            "scan",
            Box::new(|it| {
                it.lab.sandbox(&["scan", "."]);
            }),
        ),
        (
            "undo",
            Box::new(|it| {
                it.lab.sandbox(&["undo", "--force"]);
                it.lab.sandbox(&["undo", "--force"]);
            }),
        ),
        ("restore", Box::new(|it| restore_over(it, &outside))),
        (
            "destroy",
            Box::new(|it| {
                it.lab
                    .sandbox(&["destroy", "--force", "--delete-workspace", "workspace"]);
            }),
        ),
    ];
    for (what, step) in steps {
        step(trial);
        let harm = trial.harm().is_some();
        trial.effect(what, followed, harm);
    }
}

/// Puts a link where the snapshot has a directory, and restores.
fn restore_over(trial: &Trial, outside: &Path) {
    let directory = trial.lab.workspace().join("dir");
    if fs::symlink_metadata(&directory).is_ok_and(|it| it.is_symlink()) {
        fs::remove_file(&directory).unwrap();
    } else {
        fs::remove_dir_all(&directory).unwrap();
    }
    symlink(outside, &directory).unwrap();
    let list = trial.lab.sandbox(&["snapshot", "list", "--json"]).stdout;
    let document: Value = serde_json::from_str(&list).unwrap();
    let list = document
        .as_array()
        .or_else(|| document["snapshots"].as_array())
        .unwrap();
    trial
        .lab
        .sandbox(&["snapshot", "restore", list[0]["id"].as_str().unwrap()]);
}

fn protected(trial: &mut Trial) {
    let names = [
        ".git/hooks/pre-commit",
        ".git/config",
        ".gitattributes",
        ".gitmodules",
        ".mcp.json",
        ".claude/settings.json",
        ".codex/config.toml",
        ".cursor/rules",
        "AGENTS.md",
        ".vscode/tasks.json",
        ".idea/workspace.xml",
        ".envrc",
        ".npmrc",
        ".cargo/config.toml",
        ".github/workflows/ci.yml",
        "conftest.py",
        "sitecustomize.py",
        ".bashrc",
        ".profile",
        ".husky/pre-push",
    ];
    let workspace = trial.lab.workspace();
    assert!(
        trial
            .shell_outside("git init -q . && git config user.name x")
            .status
            .success(),
        "this case needs git"
    );
    let content =
        "[core]\n\tfsmonitor = /tmp/evil\n\thooksPath = /tmp/evil\n[alias]\n\tx = !evil\n";
    let write =
        |name: &&str| format!("mkdir -p \"$(dirname {name})\"; printf '{content}' >> {name}; ");
    let text = names.iter().map(write).collect::<Vec<_>>().concat();
    let placeholders = said(&trial.inside("git status --porcelain --ignored; ls -A"));
    assert_eq!(placeholders, ".git\n", "a placeholder is visible inside");
    let before = tree(&workspace);
    let report = trial.inside_with(&["--review"], &text);
    assert_eq!(report["changes"]["settlement"], "pending", "{report:#}");
    let held = tree(&workspace) == before;
    let status = trial.shell_outside("git status --porcelain").stdout;
    assert_eq!(status, "", "a placeholder is visible outside");
    trial.lab.sandbox(&["discard"]).code(0);
    // Without review they are committed, and each is named.
    let report = trial.inside(&text);
    let notices = report["changes"]["notices"].to_string();
    for name in names {
        let is_there = workspace.join(name).exists();
        trial.effect(
            format!("{name} before the gate let it through"),
            is_there,
            !held,
        );
        trial.effect(
            format!("{name} without a word"),
            is_there,
            !notices.contains(name),
        );
    }
    trial.cannot_show("build.rs and Makefile: ordinary files of a project, which the gate does not name; `--review` holds them like all");
    // The declared files are the only ones.
    trial.lab.sandbox(&["undo", "--force"]).code(0);
    let report = trial.inside_with(
        &["--files", "src/**"],
        "mkdir src; echo x > src/a; echo x > .git/hooks/post-commit",
    );
    trial.never(
        "a hook beside the declared files",
        workspace.join(".git/hooks/post-commit").exists(),
    );
    assert_eq!(
        report["violations"][0]["kind"], "declared-files",
        "{report:#}"
    );
}

fn attributes(trial: &mut Trial) {
    let workspace = trial.lab.workspace();
    let control = trial.control();
    let text = "cp /bin/true setuid; chmod 4755 setuid; cp /bin/true setgid; chmod 2755 setgid; mkfifo pipe; \
                cp /bin/true capable; setcap cap_net_raw+ep capable 2>/dev/null; perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => \"socket\", Listen => 1)' 2>/dev/null; true";
    let outside = trial.shell_outside(&format!("cd '{}' && {text}", control.display()));
    assert!(outside.status.success(), "{outside}");
    let report = trial.inside(text);
    let mode =
        |root: &Path, name: &str| fs::symlink_metadata(root.join(name)).map_or(0, |it| it.mode());
    for (name, bits) in [("setuid", 0o4000), ("setgid", 0o2000)] {
        trial.effect(
            format!("the bits of {name}"),
            mode(&control, name) & bits != 0,
            mode(&workspace, name) & bits != 0,
        );
    }
    assert!(
        report["violations"].to_string().contains("setuid"),
        "reported: {report:#}"
    );
    let kind = |root: &Path, name: &str| {
        fs::symlink_metadata(root.join(name))
            .ok()
            .map(|it| it.file_type())
    };
    let is_pipe = |root: &Path| kind(root, "pipe").is_some_and(|it| it.is_fifo());
    assert!(
        is_pipe(&control) && is_pipe(&workspace),
        "a pipe is an ordinary file of a workspace, and is kept"
    );
    let is_socket = |root: &Path| kind(root, "socket").is_some_and(|it| it.is_socket());
    if is_socket(&workspace) {
        // The name stays, who listened is dead.
        trial.never(
            "a socket that answers",
            std::os::unix::net::UnixStream::connect(workspace.join("socket")).is_ok(),
        );
    }
    // Nodes by number: 1,1 is the memory, 8,0 a disk; 0,0 is the mark of a deleted file.
    let nodes = [
        "make", "memory", "8628", "257", "disk", "25008", "2048", "null", "8630", "259",
    ];
    trial.probe(&nodes);
    for name in ["memory", "disk", "null"] {
        let _control = fs::remove_file(workspace.join(name));
    }
    let report = trial.attack_with(&[], &nodes);
    for name in ["memory", "disk", "null"] {
        let is_device =
            kind(&workspace, name).is_some_and(|it| it.is_block_device() || it.is_char_device());
        trial.never(format!("a device named {name} in the workspace"), is_device);
    }
    drop(report);
    // Attributes: of the kernel's, of other trusted programs, and of overlays.
    fs::write(workspace.join("file"), "x").unwrap();
    fs::write(control.join("file"), "x").unwrap();
    let capability = "0100000200200000000000000000000000000000";
    let file = |root: &Path| text_of(&root.join("file"));
    let inside_file = "file".to_owned();
    let list = |file: &str| {
        [
            "security.capability",
            "trusted.escape",
            "user.overlay.opaque",
            "user.overlay.metacopy",
            "system.posix_acl_access",
            "security.ima",
        ]
        .into_iter()
        .flat_map(|name| {
            [
                file.to_owned(),
                name.to_owned(),
                if name == "security.capability" {
                    capability.to_owned()
                } else {
                    "79".to_owned()
                },
            ]
        })
        .collect::<Vec<_>>()
    };
    let run = |words: Vec<String>| {
        ["attribute".to_owned()]
            .into_iter()
            .chain(words)
            .collect::<Vec<_>>()
    };
    let words = |list: &[String]| list.iter().map(String::clone).collect::<Vec<_>>();
    let inside_words = words(&run(list(&inside_file)));
    let inside_words: Vec<&str> = inside_words.iter().map(String::as_str).collect();
    trial.attack_with(&[], &inside_words);
    let outside_words = run(list(&file(&control)));
    let outside_words: Vec<&str> = outside_words.iter().map(String::as_str).collect();
    trial.attack_outside(&outside_words);
    let has = |root: &Path, name: &str| {
        let mut value = [0_u8; 64];
        rustix::fs::lgetxattr(root.join("file"), name, &mut value[..]).is_ok()
    };
    for name in [
        "security.capability",
        "trusted.escape",
        "user.overlay.opaque",
        "user.overlay.metacopy",
        "security.ima",
    ] {
        let inside = has(&workspace, name);
        if name.starts_with("user.") {
            // A plain attribute of the guest's own is kept as it saw it: it means nothing outside of a layer.
            continue;
        }
        trial.effect(format!("the attribute {name}"), has(&control, name), inside);
    }
    if !is_root() {
        trial.cannot_show(
            "devices and trusted attributes: this user may not make them outside either",
        );
    }
    trial.lab.sandbox(&["snapshot", "create"]).code(0);
}

fn torn(trial: &mut Trial) {
    let marker = format!("61.{}", std::process::id());
    let text = format!(
        "(setsid sh -c 'i=0; while :; do echo $i > counter; i=$((i+1)); done' sh {marker} > /dev/null 2>&1 &); while ! [ -s counter ]; do :; done; sleep 0.05"
    );
    let outside = trial.shell_outside(&text);
    assert!(outside.status.success(), "{outside}");
    let file = trial.lab.workspace().join("counter");
    let number = || fs::read_to_string(&file).unwrap_or_default();
    let first = number();
    let grows = holds_soon(Duration::from_secs(5), || number() != first);
    for pid in processes_with(&marker) {
        end(pid);
    }
    eventually("the control ends", || processes_with(&marker).is_empty());
    fs::remove_file(&file).unwrap();
    let report = trial.inside(&text);
    assert_eq!(report["changes"]["settlement"], "committed", "{report:#}");
    let committed = number();
    let writes_on = !processes_with(&marker).is_empty()
        || holds_soon(Duration::from_millis(300), || number() != committed);
    trial.effect("a writer after the commit", grows, writes_on);
    assert_eq!(
        report["changes"]["paths"][0]["bytes"],
        committed.len(),
        "{report:#}"
    );
}

fn forged(trial: &mut Trial) {
    let fill = |root: &Path| {
        for directory in ["lower/deep", "moved", "emptied", "opaque"] {
            fs::create_dir_all(root.join(directory)).unwrap();
            fs::write(root.join(directory).join("kept"), directory).unwrap();
            fs::write(root.join(directory).join("gone"), directory).unwrap();
        }
        fs::write(root.join("hidden"), "lower").unwrap();
        fs::hard_link(root.join("hidden"), root.join("twin")).unwrap();
    };
    let control = trial.control();
    fill(&control);
    fill(&trial.lab.workspace());
    let text = "rm -rf emptied; mkdir emptied; echo new > emptied/new; mv moved elsewhere 2>/dev/null || { cp -a moved elsewhere; rm -rf moved; }; ln hidden third; echo more >> twin; \
                echo x > .wh.hidden; mkdir .wh..wh..opq; rm lower/deep/gone; ln -s ../../outside lower/deep/gone; mv lower/deep/kept lower/kept2; rm -rf opaque; ln -s lower opaque; echo content > lower/kept; chmod 700 lower";
    let shown = "find . -mindepth 1 ! -name . -printf '%P %y %s %m %l\\n' | sed 's/^\\(.*\\) d [0-9]*/\\1 d/' | sort; cat twin hidden third elsewhere/kept lower/kept";
    let outside = trial.shell_outside(&format!("cd '{}'; {text}; {shown}", control.display()));
    let report = trial.inside(&format!("{text}; {shown}"));
    assert_eq!(report["changes"]["settlement"], "committed", "{report:#}");
    let seen = said(&report);
    let committed = trial.shell_outside(shown).stdout;
    assert_eq!(seen, committed, "the commit is what was seen");
    // Hard links break when one name is written: that is the overlay's, and seen inside, too.
    let names = |text: &str| {
        text.lines()
            .filter_map(|it| it.split(' ').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&outside.stdout).first(), names(&committed).first());
    // The kernel's own marks, by hand: a device 0,0 and the attribute of an opaque directory.
    let before = tree(&trial.lab.workspace());
    let report = trial.attack_with(
        &[],
        &["make", "hidden2", "8192", "0", "lower/kept2x", "8192", "0"],
    );
    let whiteouts = said(&report);
    let report = trial.attack_with(
        &[],
        &[
            "attribute",
            "lower",
            "user.overlay.opaque",
            "79",
            "lower",
            "user.overlay.redirect",
            "2f6574632f",
            "lower",
            "user.overlay.whiteouts",
            "79",
            "lower/kept",
            "user.overlay.metacopy",
            "00",
            "lower/kept",
            "user.overlay.redirect",
            "2f6574632f736861646f77",
        ],
    );
    let marks = said(&report);
    let now = tree(&trial.lab.workspace());
    let lost: Vec<_> = before
        .keys()
        .filter(|path| !now.contains_key(*path))
        .collect();
    assert!(
        lost.is_empty(),
        "lost by forged marks: {lost:?} ({whiteouts}{marks})"
    );
    let changed: Vec<_> = before
        .iter()
        .filter(|(path, facts)| now.get(*path).is_some_and(|it| it.5 != facts.5))
        .map(|(path, _)| path)
        .collect();
    assert!(changed.is_empty(), "changed by forged marks: {changed:?}");
    // Control: in the upper layer of an overlay of one's own, the same mark hides what is below. The kernel closes the
    // work directory to its owner, who could not remove it afterwards.
    let layers = "mkdir -p u w m l; echo x > l/kept; setfattr -n user.overlay.opaque -v y u && unshare -Urm sh -c 'mkdir l/d u/d; echo x > l/d/kept; setfattr -n user.overlay.opaque -v y u/d; mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w,userxattr m && ls m/d'; ended=$?; chmod 700 w/work; exit $ended";
    let overlay = trial.outside(
        "/bin/sh",
        &[
            "-c",
            &format!("cd '{}' && mkdir o && cd o && {layers}", control.display()),
        ],
    );
    if overlay.status.success() {
        trial.effect(
            "a forged opaque mark hides what is below it",
            !overlay.stdout.contains("kept"),
            !trial.lab.workspace().join("lower/kept").exists(),
        );
    } else {
        // Without setfattr: the shape of the tree is the control.
        trial.effect(
            "a tree that is not what was seen",
            control.join("elsewhere/kept").exists(),
            seen != committed,
        );
    }
    trial.lab.sandbox(&["undo"]);
}

fn names(trial: &mut Trial) {
    let text = "printf x > \"$(printf 'a\\377\\376')\"; printf x > \"$(printf 'new\\nline')\"; printf x > \"$(printf 'esc\\033[31m')\"; printf x > \"$(printf '%0255d' 1)\"; printf x > '\"quoted\\\\'; printf x > -rf; \
                printf x > \"$(printf 'right\\342\\200\\256left')\"; printf x > ' '";
    let ended = trial
        .lab
        .sandbox(&["run", "--json", "--yes", "--shell", text]);
    let report = ended.json();
    let paths = report["changes"]["paths"].as_array().unwrap();
    assert_eq!(paths.len(), 8, "{report:#}");
    for entry in fs::read_dir(trial.lab.workspace()).unwrap() {
        let name = entry.unwrap().file_name();
        let is_told = paths.iter().any(|it| match name.to_str() {
            Some(name) => it["path"] == name,
            None => it["path_base64"] == "Yf/+",
        });
        assert!(is_told, "{:?} is not told losslessly", name.as_bytes());
    }
    let outside = trial.shell_outside("ls -1 --show-control-chars").stdout;
    let is_control = |text: &str| text.chars().any(|it| it == '\x1b');
    trial.effect(
        "control characters of a name in JSON",
        is_control(&outside),
        is_control(&ended.stdout),
    );
    for arguments in [
        vec!["show", report["operation"]["id"].as_str().unwrap()],
        vec!["undo", "--dry-run"],
        vec!["snapshot", "create"],
        vec!["undo"],
    ] {
        let ended = trial.lab.sandbox(&arguments);
        assert!(ended.status.success(), "{ended}");
        trial.effect(
            format!("control characters of a name by {}", arguments[0]),
            is_control(&outside),
            is_control(&(ended.stdout + &ended.stderr)),
        );
    }
    assert_eq!(
        fs::read_dir(trial.lab.workspace()).unwrap().count(),
        0,
        "all of them are undone"
    );
}
