//! What no list names: traps that one operation leaves for the next one.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use crate::{
    lab::Lab,
    suite::Case,
    trial::{Trial, end, eventually, processes_with, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "X1", layer: "view", what: "a link in the place of a directory of the search path, or of a toolchain in a home", run: toolchains },
    Case { numbers: "X2", layer: "supervisor", what: "pipes in the workspace that block whoever opens them", run: pipes },
    Case { numbers: "X3", layer: "approvals", what: "approve one's own request", run: approvals },
    Case { numbers: "X4", layer: "view", what: "another sandbox's transaction, beside a workspace whose parent is granted", run: layers },
    Case { numbers: "X5", layer: "paths by descriptor", what: "a link or pipe in the place of the file that the caller's report goes to", run: report_file },
];

fn toolchains(trial: &mut Trial) {
    let secret = trial.canary("documents");
    fs::create_dir_all(secret.join("lib")).unwrap();
    fs::write(secret.join("letter"), "canary-letter").unwrap();
    trial.guard();
    let letter = text_of(&secret.join("letter"));
    let workspace = trial.lab.workspace();
    let read = |trial: &Trial, workspace: &Path, search_path: &str, home: &Path| {
        let place = text_of(workspace);
        let arguments = ["run", "--json", "--yes", "-w", &place, "--", "cat", &letter];
        let output = trial
            .lab
            .command(&arguments)
            .env("PATH", search_path)
            .env("HOME", home)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).contains("canary-letter")
    };
    let search_path = format!("{}/venv/bin:/usr/bin:/bin", workspace.display());
    // Control: the same directory is visible where the caller's own search path leads there.
    let direct = format!("{}:/usr/bin:/bin", secret.display());
    let control = read(trial, &workspace, &direct, &trial.lab.home());
    // One operation plants the link, the next one would profit.
    let plant = format!("mkdir -p venv; ln -s '{}' venv/bin", secret.display());
    assert_eq!(trial.inside(&plant)["changes"]["settlement"], "committed");
    let inside = read(trial, &workspace, &search_path, &trial.lab.home());
    trial.effect("a directory of the search path", control, inside);
    trial.inside(&format!(
        "rm -rf venv; ln -s '{}' venv; true",
        secret.display()
    ));
    let inside = read(
        trial,
        &workspace,
        &format!("{}/venv/lib:/usr/bin:/bin", workspace.display()),
        &trial.lab.home(),
    );
    trial.effect("a directory above it", control, inside);
    // A home that is the workspace.
    let home = trial.lab.home();
    for name in [".cargo", ".rustup", ".nvm", ".pyenv", "go", ".local"] {
        symlink(&secret, home.join(name)).unwrap();
    }
    let inside = read(trial, &home, "/usr/bin:/bin", &home);
    trial.effect(
        "toolchains of a home that is the workspace",
        control,
        inside,
    );
}

fn pipes(trial: &mut Trial) {
    let text = "mkfifo pipe Makefile .npmrc AGENTS.md; mkdir -p .git/hooks; mkfifo .git/config .git/hooks/pre-commit";
    let outside = trial.shell_outside(&format!("{text}; timeout 0.3 cat pipe; [ $? = 124 ] && echo blocks; rm -rf pipe Makefile .npmrc AGENTS.md .git"));
    let blocks = outside.stdout.contains("blocks");
    let hangs = |arguments: &[&str]| {
        let sandbox = text_of(&crate::lab::program());
        let mut command = Command::new("timeout");
        trial.as_caller(command.arg("60").arg(sandbox).args(arguments));
        command.output().unwrap().status.code() == Some(124)
    };
    let mut found = Vec::new();
    for arguments in [
        vec!["run", "-q", "--yes", "--shell", text],
        vec!["snapshot", "create"],
        vec!["scan", "."],
        vec![
            "run",
            "-q",
            "--yes",
            "--review",
            "--shell",
            "rm pipe; mkfifo other",
        ],
        vec!["diff"],
        vec!["commit"],
        vec!["health"],
        vec!["undo", "--force"],
    ] {
        found.push((arguments.join(" "), hangs(&arguments)));
    }
    for (what, hangs) in found {
        trial.effect(what, blocks, hangs);
    }
}

fn approvals(trial: &mut Trial) {
    let asked = trial.lab.sandbox(&[
        "run",
        "--json",
        "--net",
        "host",
        "--shell",
        "git push --force origin main",
    ]);
    asked.code(126);
    let list = |trial: &Trial| trial.lab.sandbox(&["approvals", "list", "--json"]).stdout;
    let before = list(trial);
    assert!(before.contains("git push"), "{before}");
    // The files of the requests, by every name that the guest could know.
    let data = trial.lab.data();
    let text = format!(
        "ls -R '{0}' 2>/dev/null | grep -c json; for d in '{0}' /proc/1/root'{0}' \"$HOME\"/../data ../data; do mkdir -p \"$d/sandboxes/workspace/approvals\" && echo '{{}}' > \"$d/sandboxes/workspace/approvals/forged.json\"; \
         rm -f \"$d\"/sandboxes/workspace/approvals/*; done 2>/dev/null; true",
        data.display()
    );
    let shown = trial.shell_outside(&format!("ls -R '{}' | grep -c json", data.display()));
    let report = trial.inside(&text);
    trial.effect(
        "see the requests",
        shown.stdout.trim() != "0",
        said(&report).trim() != "0",
    );
    trial.never("another list of requests", list(trial) != before);
    assert!(report["outcome"] == "completed", "{report:#}");
}

fn layers(trial: &mut Trial) {
    let home = format!("/dev/shm/escape-home-{}", std::process::id());
    let home = Path::new(&home);
    let device = |path: &Path| {
        fs::metadata(path)
            .ok()
            .map(|it| std::os::unix::fs::MetadataExt::dev(&it))
    };
    if device(Path::new("/dev/shm")) == device(trial.lab.root()) {
        trial.cannot_show("this host has one file system only");
        return;
    }
    // With the data on another file system, transactions lie beside the workspaces.
    trial.lab = std::mem::replace(&mut trial.lab, Lab::new()).env("SANDBOX_HOME", text_of(home));
    let other = text_of(&trial.canary("other"));
    fs::create_dir(&other).unwrap();
    let marker = format!("71.{}", std::process::id());
    let text = format!("echo mine > file; sleep {marker}");
    let mut running = trial
        .lab
        .command(&["run", "-q", "--yes", "-w", &other, "--shell", &text])
        .spawn()
        .unwrap();
    eventually("the neighbour runs", || !processes_with(&marker).is_empty());
    let root = text_of(trial.lab.root());
    let plant = format!(
        "for d in '{root}'/outside/.sandbox-layers-*/*/tx/*/upper '{root}'/.sandbox-layers-*/*/tx/*/upper; do echo planted > \"$d/$1\"; done 2> /dev/null; true"
    );
    let script = trial.lab.root().join("plant.sh");
    fs::write(&script, plant).unwrap();
    let script = text_of(&script);
    let report = trial.command_inside(&["--yes", "--write", &root], &["sh", &script, "inside"]);
    assert_eq!(report["outcome"], "completed", "{report:#}");
    trial.outside("sh", &[&script, "outside"]);
    for pid in processes_with(&marker) {
        end(pid);
    }
    running.wait().unwrap();
    // The sleep was killed: its operation has failed, and keeps its changes.
    let planted = |name: &str| Path::new(&other).join(name).exists();
    trial.effect(
        "a file in the transaction of another",
        planted("outside"),
        planted("inside"),
    );
    for name in ["workspace", "other"] {
        trial.lab.sandbox(&["destroy", "--force", name]);
    }
    fs::remove_dir_all(home).unwrap();
}

fn report_file(trial: &mut Trial) {
    let mine = trial.canary("bashrc");
    fs::write(&mine, "mine").unwrap();
    trial.guard();
    let workspace = trial.lab.workspace();
    let file = text_of(&workspace.join("report.json"));
    // Control: who opens a name that was exchanged meanwhile writes where the link leads.
    let control = trial.control();
    fs::write(control.join("mine"), "mine").unwrap();
    symlink(control.join("mine"), control.join("report.json")).unwrap();
    fs::write(control.join("report.json"), "{}").unwrap();
    let followed = fs::read_to_string(control.join("mine")).unwrap() == "{}";
    let run = |trial: &Trial, text: &str| {
        let sandbox = text_of(&crate::lab::program());
        let mut command = Command::new("timeout");
        let arguments = [
            "60", &sandbox, "run", "-q", "--yes", "--report", &file, "--shell", text,
        ];
        trial.as_caller(command.args(arguments));
        command.output().unwrap().status.code()
    };
    let link = format!("rm -f report.json; ln -s '{}' report.json", mine.display());
    for (what, text) in [
        ("a link that the command made", link.as_str()),
        ("a link that was there before", "true"),
    ] {
        assert_ne!(run(trial, text), Some(124), "{what}");
        let harm = trial.harm().is_some();
        trial.effect(what, followed, harm);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(run(trial, "true"), Some(0));
    let report = fs::read_to_string(&file).unwrap();
    assert!(
        report.contains("\"schema\": 1"),
        "an ordinary file is written: {report}"
    );
    trial.effect(
        "a pipe that nobody reads",
        trial
            .shell_outside(
                "mkfifo p; timeout 0.3 sh -c 'echo x > p'; [ $? = 124 ] && echo blocks; rm p",
            )
            .stdout
            .contains("blocks"),
        run(trial, "rm -f report.json; mkfifo report.json") == Some(124),
    );
}
