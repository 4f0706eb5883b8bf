//! The caller's terminal, descriptors, directory and arguments.

use std::{
    fs::{self, File},
    io::Read as _,
    os::{fd::AsRawFd as _, unix::ffi::OsStringExt as _},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use crate::{
    attacker::FLAG,
    raw::call,
    suite::Case,
    trial::{Reach, Trial, answers, end, eventually, program, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "1 2 P3", layer: "session, seccomp", what: "type into the caller's terminal, also by high bits and int 0x80", run: typing },
    Case { numbers: "3", layer: "session, seccomp", what: "take the caller's terminal, change its settings, ask its console", run: taking },
    Case { numbers: "4 C5", layer: "report", what: "escape sequences in output, names and arguments", run: sequences },
    Case { numbers: "5 P2", layer: "pid namespace, Landlock", what: "signal the caller, its parent and another sandbox", run: signals },
    Case { numbers: "6 F15", layer: "not dumpable, mounts", what: "overwrite the launcher through /proc/PID/exe", run: launcher },
    Case { numbers: "7 F14", layer: "close_range", what: "descriptors that the caller holds", run: descriptors },
    Case { numbers: "8", layer: "plan", what: "a working directory outside, by descriptor or deleted", run: directories },
    Case { numbers: "9", layer: "arguments", what: "commands that look like options, 1 MB and newlines", run: arguments },
];

/// A terminal of our own, as a terminal program makes it.
struct Terminal {
    master: File,
    slave: PathBuf,
}

impl Terminal {
    fn new() -> Self {
        let master = File::options()
            .read(true)
            .write(true)
            .open("/dev/ptmx")
            .unwrap();
        let fd = master.as_raw_fd().unsigned_abs() as usize;
        let (unlocked, mut number) = (0_i32, 0_u32);
        call(
            libc::SYS_ioctl,
            &[fd, 0x4004_5431, (&raw const unlocked).addr()],
        )
        .unwrap();
        call(
            libc::SYS_ioctl,
            &[fd, 0x8004_5430, (&raw mut number).addr()],
        )
        .unwrap();
        let slave = PathBuf::from(format!("/dev/pts/{number}"));
        Self { master, slave }
    }

    fn open(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .open(&self.slave)
            .unwrap()
    }

    /// Runs `command` with this as its controlling terminal. Returns what it printed, how many bytes were typed
    /// meanwhile, and whether the settings are as before.
    fn run(&self, command: &mut Command) -> (String, usize, bool) {
        let slave = self.open();
        let settings = settings_of(&slave);
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let mut child = command
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let mut master = self.master.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
            // The last line is ours: see below.
            while !heard.ends_with(b"\x04\r\n") {
                match master.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(length) => heard.extend_from_slice(&piece[..length]),
                }
            }
            String::from_utf8_lossy(&heard).into_owned()
        });
        child.wait().unwrap();
        let is_same = settings == settings_of(&slave);
        // What was typed waits in the line discipline: without line mode it can be counted.
        let mut raw = settings;
        raw[3] &= !0o2;
        set(&slave, &raw);
        let mut waiting = 0_i32;
        let fd = slave.as_raw_fd().unsigned_abs() as usize;
        call(libc::SYS_ioctl, &[fd, 0x541B, (&raw mut waiting).addr()]).unwrap();
        set(&slave, &settings);
        std::io::Write::write_all(&mut &slave, b"\x04\n").unwrap();
        let heard = reader.join().unwrap();
        (heard, usize::try_from(waiting).unwrap(), is_same)
    }
}

fn settings_of(terminal: &File) -> [u32; 16] {
    let mut settings = [0; 16];
    let fd = terminal.as_raw_fd().unsigned_abs() as usize;
    call(libc::SYS_ioctl, &[fd, 0x5401, settings.as_mut_ptr().addr()]).unwrap();
    settings
}

fn set(terminal: &File, settings: &[u32; 16]) {
    let fd = terminal.as_raw_fd().unsigned_abs() as usize;
    call(libc::SYS_ioctl, &[fd, 0x5402, settings.as_ptr().addr()]).unwrap();
}

/// The attacker in a terminal, outside and inside.
fn in_terminals(trial: &Trial) -> [(String, usize, bool); 2] {
    let program = program();
    let mut outside = Command::new(&program);
    outside.args([FLAG, "in-terminal", &program, FLAG, "tty"]);
    let outside = Terminal::new().run(&mut outside);
    let sandbox = text_of(&crate::lab::program());
    let mut inside = Command::new(&program);
    let run = [
        "run", "--yes", "-q", "--read", &program, "--", &program, FLAG, "tty",
    ];
    inside.args([FLAG, "in-terminal", &sandbox]).args(run);
    trial.as_caller(&mut inside);
    [outside, Terminal::new().run(&mut inside)]
}

fn typing(trial: &mut Trial) {
    let [(outside, typed_outside, _), (inside, typed, _)] = in_terminals(trial);
    assert!(
        inside.contains("TIOCSTI"),
        "the attacker did not run: {inside}"
    );
    compare(trial, &outside, &inside, "TIOCSTI");
    trial.effect(
        "anything typed on the caller's terminal",
        typed_outside > 0,
        typed > 0,
    );
}

/// Writes down the attempts with `word` in their names.
fn compare(trial: &mut Trial, outside: &str, inside: &str, word: &str) {
    let inside = answers(inside);
    for (what, outside) in answers(outside)
        .into_iter()
        .filter(|(what, _)| what.contains(word))
    {
        let answer = inside.iter().find(|(it, _)| *it == what);
        let inside = answer.map_or_else(
            || Reach::Stopped("no such terminal".to_owned()),
            |(_, it)| it.clone(),
        );
        trial.attempt(what, outside, inside);
    }
}

fn taking(trial: &mut Trial) {
    let [(outside, _, same_outside), (inside, _, same_inside)] = in_terminals(trial);
    for word in ["open /dev/tty", "TIOCSCTTY", "tcsetpgrp"] {
        compare(trial, &outside, &inside, word);
    }
    trial.effect(
        "changed settings of the caller's terminal",
        !same_outside,
        !same_inside,
    );
    let console = File::options().read(true).write(true).open("/dev/tty1");
    let Ok(console) = console else {
        trial.cannot_show("TIOCLINUX: this user may not open /dev/tty1");
        return;
    };
    let program = program();
    let run = |command: &mut Command| {
        let output = command
            .stdin(console.try_clone().unwrap())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let outside = run(Command::new(&program).args([FLAG, "console"]));
    let inside = [
        "run", "--yes", "-q", "--read", &program, "--", &program, FLAG, "console",
    ];
    let inside = run(&mut trial.lab.command(&inside));
    assert!(
        inside.contains("TIOCLINUX"),
        "the attacker did not run: {inside}"
    );
    compare(trial, &outside, &inside, "TIOCLINUX");
}

/// Returns what a command prints on a terminal.
fn on_terminal(trial: &Trial, arguments: &[&str]) -> String {
    let mut command = Command::new(program());
    let sandbox = text_of(&crate::lab::program());
    command
        .args([FLAG, "in-terminal", &sandbox])
        .args(arguments);
    let (heard, _, _) = Terminal::new().run(trial.as_caller(&mut command).env("NO_COLOR", "1"));
    // The end of a line on a terminal, and the mark of the end of ours.
    heard
        .replace("\r\n", "\n")
        .trim_end_matches("\x04\n")
        .to_owned()
}

fn sequences(trial: &mut Trial) {
    // A title, the clipboard, a question that the terminal answers by typing, and a line that is no line.
    let text =
        "\x1b]0;owned\x07\x1b]52;c;aWQK\x07\x1bP$qm\x1b\\\r\x08\u{9b}31m\n{\"kind\":\"forged\"}";
    let script = format!("printf '%s' '{text}'; printf x > \"$(printf 'name\\033]0;owned\\007')\"");
    let outside = trial.shell_outside(&script).stdout;
    let bytes = |arguments: &[&str]| {
        let ended = trial.lab.sandbox(arguments);
        format!("{}{}", ended.stdout, ended.stderr)
    };
    let report = trial
        .lab
        .sandbox(&["run", "--yes", "--json", "--shell", &script]);
    assert_eq!(
        report.json()["stdout"]["text"],
        text,
        "the text is lossless"
    );
    let id = report.json()["operation"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    trial
        .lab
        .sandbox(&["state", "set", "sequence", text])
        .code(0);
    let is_control = |text: &str| text.chars().any(|it| it.is_control() && it != '\n');
    let found = [
        ("the JSON report", report.stdout.clone()),
        ("log", bytes(&["log"])),
        ("log --json", bytes(&["log", "--json"])),
        ("show on a terminal", on_terminal(trial, &["show", &id])),
        (
            "state get on a terminal",
            on_terminal(trial, &["state", "get", "sequence"]),
        ),
        ("events --json", bytes(&["events", "--json"])),
        ("events", bytes(&["events"])),
        ("audit show", bytes(&["audit", "show"])),
        ("undo --dry-run", bytes(&["undo", "--dry-run"])),
        (
            "snapshot create",
            bytes(&["snapshot", "create", "-m", "\x1b]0;owned\x07"]),
        ),
        ("snapshot list", bytes(&["snapshot", "list"])),
        ("check", bytes(&["check", "--shell", &script])),
        ("stats", bytes(&["stats"])),
        ("scan", bytes(&["scan", "."])),
        ("status", bytes(&["status"])),
        ("a wrong argument", bytes(&["show", "\x1b]0;owned\x07"])),
        (
            "a wrong sandbox",
            bytes(&["status", "-s", "\x1b]0;owned\x07"]),
        ),
        (
            "a wrong file",
            bytes(&["config", "validate", "\x1b]0;owned\x07.yaml"]),
        ),
    ];
    for (place, text) in found {
        trial.effect(
            format!("control characters by {place}"),
            is_control(&outside),
            is_control(&text),
        );
    }
    let journal = trial.lab.sandbox(&["audit", "show", "--json"]).stdout;
    trial.effect(
        "a forged line of the journal",
        outside.lines().any(|it| it == "{\"kind\":\"forged\"}"),
        journal.lines().any(|it| it == "{\"kind\":\"forged\"}"),
    );
    trial.lab.sandbox(&["audit", "verify"]).code(0);
}

fn signals(trial: &mut Trial) {
    let marker = format!("31.{}", std::process::id());
    let mut other = trial
        .lab
        .command(&["run", "-q", "--yes", "--", "sleep", &marker])
        .spawn()
        .unwrap();
    let alive = || crate::trial::processes_with(&marker).len();
    // The program itself has the marker among its arguments; the guest is one more.
    eventually("another operation", || alive() >= 2);
    let victims: Vec<String> = [std::process::id(), other.id()]
        .into_iter()
        .chain(crate::trial::processes_with(&marker))
        .map(|it| it.to_string())
        .collect();
    let mut arguments = vec!["signal", "0"];
    arguments.extend(victims.iter().map(String::as_str));
    trial.probe(&arguments);
    let before = alive();
    let report = trial.attack_with(&[], &["signal", "9", "-1"]);
    assert!(
        said(&report).contains("through") || report["signal"] == 9,
        "{report:#}"
    );
    trial.never(
        "kill(-1, 9) beyond the own operation",
        alive() < before || other.try_wait().unwrap().is_some(),
    );
    other.kill().unwrap();
    other.wait().unwrap();
    for pid in crate::trial::processes_with(&marker) {
        end(pid);
    }
}

fn launcher(trial: &mut Trial) {
    let sandbox = crate::lab::program();
    let before = fs::read(&sandbox).unwrap();
    // Whoever executes /proc/self/exe again runs the launcher: then its file can be opened for writing.
    let script = "for exe in /proc/self/exe /proc/1/exe; do (exec 3<$exe; : >> /proc/self/fd/3) 2>&1 && echo \"> $exe\"; done; \
                  printf '#!/proc/self/exe\\n' > again; chmod +x again; ./again --version; : >> /proc/1/exe && echo '> launcher'";
    let report = trial.inside(script);
    let inside = said(&report);
    // Control: a program of one's own can be opened for writing through its process, once that is gone.
    let control = trial.control().join("sleep");
    fs::copy("/bin/sleep", &control).unwrap();
    let outside = trial.shell_outside(&format!(
        "exec 3<'{}'; : >> /proc/self/fd/3 && echo written",
        control.display()
    ));
    trial.effect(
        "the launcher's file",
        outside.stdout.contains("written"),
        fs::read(&sandbox).unwrap() != before,
    );
    trial.effect(
        "a writable way to a running program",
        outside.stdout.contains("written"),
        inside.contains("\n> ") || inside.starts_with("> "),
    );
}

fn descriptors(trial: &mut Trial) {
    let secret = trial.canary("descriptor");
    fs::write(&secret, "canary-descriptor").unwrap();
    trial.guard();
    let sandbox = crate::lab::program();
    let opened = format!(
        "exec 7<'{}' 8<'{}' 100<'{0}' 1000<'{0}'; ",
        secret.display(),
        trial.canary("").display()
    );
    let opened = opened.replace("1000<", "200<");
    let look = "cat <&7; cat /proc/self/fd/8/descriptor; for n in 7 8 100 200; do [ -e /proc/self/fd/$n ] && echo open $n; done; true";
    let run = |text: String| {
        let mut shell = Command::new("/bin/bash");
        trial.as_caller(shell.arg("-c").arg(text));
        let output = shell.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let outside = run(format!("{opened} {look}"));
    fs::write(trial.lab.workspace().join("look.sh"), look).unwrap();
    let inside = run(format!(
        "{opened} exec '{}' run -q --yes -- bash look.sh",
        sandbox.display()
    ));
    trial.effect(
        "a file that the caller holds open",
        outside.contains("canary-descriptor"),
        inside.contains("canary-descriptor"),
    );
    trial.effect(
        "any inherited descriptor",
        outside.contains("open 7"),
        inside.contains("open"),
    );
}

fn directories(trial: &mut Trial) {
    fs::write(trial.canary("secret"), "canary-directory").unwrap();
    trial.guard();
    let outside = trial.shell_outside(&format!(
        "exec 7<'{}'; cd /proc/self/fd/7 && cat secret",
        trial.canary("").display()
    ));
    for cwd in [
        "/proc/self/fd/7".to_owned(),
        "/proc/1/root".to_owned(),
        text_of(&trial.canary("")),
        "../outside".to_owned(),
        "/".to_owned(),
    ] {
        let document =
            serde_json::json!({"type": "command", "args": ["cat", "secret"], "cwd": cwd})
                .to_string();
        let ended = trial
            .lab
            .sandbox_with_input(&["run", "--json", "--yes", "--operation", "-"], &document);
        let is_through = ended.stdout.contains("canary-directory") || ended.status.success();
        trial.effect(
            format!("cwd {cwd}"),
            outside.stdout.contains("canary"),
            is_through,
        );
    }
    // A directory that is gone while the program starts in it.
    let gone = trial.lab.root().join("gone");
    let script = format!(
        "mkdir '{0}'; cd '{0}'; rmdir '{0}'; exec '{1}' run --yes -- true",
        gone.display(),
        crate::lab::program().display()
    );
    let ended = trial.shell_outside(&script);
    assert!(!ended.status.success(), "{ended}");
}

fn arguments(trial: &mut Trial) {
    let strange = ["--bind", "-c", "--help", "new\nline", "--yes"];
    for name in strange {
        let path = trial.lab.workspace().join(name);
        fs::write(&path, "#!/bin/sh\necho ran \"$0\" \"$#\"\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
    }
    for name in strange {
        // As a word to look up: there is no such program, and it is no option of ours or of the shell's.
        let report = trial.command_inside(&["--yes"], &[name, "--net", "host"]);
        let read_as_option = report["exit_code"] != 127 && report["outcome"] != "failed";
        trial.effect(
            format!("{name:?} as an option"),
            trial.lab.sandbox(&["run", "--help"]).status.success(),
            read_as_option,
        );
        let report = trial.command_inside(&["--yes"], &[&format!("./{name}"), "--net", "-c"]);
        assert_eq!(
            report["stdout"]["text"],
            format!("ran ./{name} 2\n"),
            "{report:#}"
        );
    }
    let long = "x".repeat(1 << 20);
    let document = serde_json::json!({"type": "command", "args": ["echo", long]}).to_string();
    trial
        .lab
        .sandbox_with_input(&["run", "--yes", "--operation", "-"], &document)
        .code(2);
    trial.lab.sandbox(&["run", "--yes", "--", ""]).code(2);
    let bytes = std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
    let output = trial
        .lab
        .command(&["run", "--yes", "--json", "--"])
        .arg("printf")
        .arg(bytes)
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 2)), "{output:?}");
}
