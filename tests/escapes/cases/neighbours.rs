//! Others on the host: processes, other sandboxes, and what the sandbox itself keeps.

use std::{fs, process::Command};

use crate::{
    suite::Case,
    trial::{Trial, end, eventually, is_root, processes_with, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "F5 P1 57", layer: "pid namespace, seccomp", what: "look into the caller and other processes of the host", run: processes },
    Case { numbers: "F3 60", layer: "view, own host ids", what: "reach another sandbox's workspace and processes", run: neighbours },
    Case { numbers: "F16 59", layer: "view", what: "read or change the sandbox's own data, use the program from inside", run: own_data },
];

fn processes(trial: &mut Trial) {
    let marker = format!("4100.{}", std::process::id());
    let mut victim = Command::new("sleep")
        .arg(&marker)
        .env("ESCAPE_SECRET", "canary-environment")
        .spawn()
        .unwrap();
    eventually("the victim runs", || !processes_with(&marker).is_empty());
    let pid = victim.id().to_string();
    trial.probe(&["trace", &pid]);
    trial.leak(
        "another process's environment",
        "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
        "canary-environment",
    );
    // Looked up in the shell itself: what it runs would have the marker among its own arguments.
    let text = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done 2>/dev/null | grep '^sleep'";
    trial.leak("another process's arguments", text, &marker);
    victim.kill().unwrap();
    victim.wait().unwrap();
    // The supervisor and our own pid 1, from inside: they are there, or not, but closed.
    let report = trial.inside("for f in root cwd exe mem environ maps fd/0; do cat /proc/1/$f > /dev/null 2>&1 && echo open $f; readlink /proc/1/$f && echo read $f; done; ls /proc/1/fd; true");
    trial.never(
        "own pid 1",
        !report["stdout"]["text"].as_str().unwrap().is_empty(),
    );
    // Its arguments and its environment would be the caller's.
    let mut command = trial.lab.command(&[
        "run",
        "-q",
        "--yes",
        "--",
        "sh",
        "-c",
        "cat /proc/1/environ /proc/1/cmdline /proc/[0-9]*/environ; true",
    ]);
    let output = command
        .env("ESCAPE_SECRET", "canary-caller")
        .output()
        .unwrap();
    trial.never(
        "the caller's environment",
        String::from_utf8_lossy(&output.stdout).contains("canary-caller"),
    );
}

fn neighbours(trial: &mut Trial) {
    let other = Trial::new(trial.variant);
    fs::write(other.lab.workspace().join("secret"), "canary-neighbour").unwrap();
    let marker = format!("4200.{}", std::process::id());
    let mut running = other
        .lab
        .command(&[
            "run",
            "-q",
            "--yes",
            "--shell",
            &format!("echo canary-neighbour > upper; sleep {marker}"),
        ])
        .spawn()
        .unwrap();
    eventually("the neighbour runs", || !processes_with(&marker).is_empty());
    let before = crate::lab::tree(&other.lab.workspace());
    let place = other.lab.root().display().to_string();
    trial.leak(
        "another workspace",
        &format!("cat '{place}/workspace/secret'"),
        "canary-neighbour",
    );
    trial.leak(
        "another transaction",
        &format!("cat '{place}'/data/layers/*/tx/*/upper/upper"),
        "canary-neighbour",
    );
    let text = format!("echo x > '{place}/workspace/planted'");
    trial.inside(&text);
    trial.never(
        "a file planted there",
        crate::lab::tree(&other.lab.workspace()) != before,
    );
    let pids: Vec<String> = processes_with(&marker)
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut arguments = vec!["signal", "0"];
    arguments.extend(pids.iter().map(String::as_str));
    trial.probe(&arguments);
    if is_root() {
        let owner = |pid: &String| {
            fs::metadata(format!("/proc/{pid}"))
                .map(|it| std::os::unix::fs::MetadataExt::uid(&it))
                .ok()
        };
        let ids: Vec<_> = pids
            .iter()
            .filter_map(owner)
            .filter(|&it| it != 0)
            .collect();
        assert!(
            !ids.is_empty(),
            "the neighbour's guest runs as root of the host"
        );
    }
    running.kill().unwrap();
    running.wait().unwrap();
    for pid in processes_with(&marker) {
        end(pid);
    }
}

fn own_data(trial: &mut Trial) {
    trial.lab.run("echo one > file");
    trial
        .lab
        .sandbox(&["state", "set", "--secret", "key", "canary-state"])
        .code(0);
    let data = trial.lab.data();
    let snapshot = || crate::lab::tree(&data.join("keys"));
    let keys = snapshot();
    let place = data.display();
    trial.leak(
        "the list of sandboxes",
        &format!("ls '{place}/sandboxes'"),
        "workspace",
    );
    trial.leak(
        "the journal",
        &format!("cat '{place}/sandboxes/workspace/journal.log'"),
        "operation",
    );
    trial.leak(
        "the store and the keys",
        &format!("ls '{place}/keys' '{place}/sandboxes/workspace'"),
        "state",
    );
    let records = || {
        trial
            .lab
            .sandbox(&["audit", "show", "--json", "-n", "1000"])
            .stdout
            .lines()
            .count()
    };
    // The program itself, inside, with the host's data named to it.
    let sandbox = text_of(&crate::lab::program());
    let directory = text_of(crate::lab::program().parent().unwrap());
    let before = trial.lab.sandbox(&["list", "--json"]).stdout;
    let commands = [
        "list --json",
        "run --yes -- touch nested",
        "run --yes --net host -- touch nested",
        "undo",
        "approvals list",
        "state get key",
        "commit",
        "snapshot create",
        "destroy --force workspace",
    ];
    for command in commands {
        let text = format!(
            "SANDBOX_HOME='{place}' '{sandbox}' {command}; XDG_DATA_HOME=/tmp HOME=/tmp '{sandbox}' run --yes --net host -- cat '{}'",
            trial.lab.root().join("outside/secret").display()
        );
        let report = trial.inside_with(&["--read", &directory], &text);
        let words = said(&report);
        assert!(!words.contains("canary"), "{command}: {words}");
    }
    let _count = records();
    let ended = trial.lab.sandbox(&["audit", "verify"]);
    trial.never(
        "a sandbox less or more",
        trial.lab.sandbox(&["list", "--json"]).stdout.is_empty() || before.is_empty(),
    );
    trial.never(
        "a file written by nested use",
        trial.lab.read("nested").is_some(),
    );
    trial.never(
        "an operation undone from inside",
        trial.lab.read("file").as_deref() != Some("one\n"),
    );
    trial.never("a forged journal", !ended.status.success());
    trial.never("other keys", snapshot() != keys);
    // Granting what holds the data does not grant the data.
    let root = text_of(trial.lab.root());
    let report = trial.inside_with(&["--write", &root], &format!("ls '{place}' '{place}/sandboxes'; cat '{place}/sandboxes/workspace/journal.log' '{place}/keys/'*; rm -rf '{place}/sandboxes' '{place}'; mv '{root}/data' '{root}/moved'; true"));
    let words = said(&report);
    trial.never(
        "the data through a granted parent",
        words.contains("operation") || !data.join("sandboxes/workspace/journal.log").exists(),
    );
}
