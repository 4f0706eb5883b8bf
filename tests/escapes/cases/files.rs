//! Files of the host: to read, to write, to reach by other names.

use std::{fs, os::unix::fs::symlink};

use crate::{
    suite::Case,
    trial::{Trial, is_root, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "28", layer: "view, Landlock", what: "write to the system, the home, a neighbour and the parent", run: writes },
    Case { numbers: "29 F1 F2 F4 F7 F8", layer: "view, Landlock", what: "read keys and tokens: by path, link, /proc and handle", run: secrets },
    Case { numbers: "37", layer: "read-only mounts, Landlock", what: "change the attributes of what may only be read", run: attributes },
];

fn writes(trial: &mut Trial) {
    let home = trial.lab.home();
    fs::write(home.join(".bashrc"), "# mine\n").unwrap();
    fs::write(trial.canary("repository"), "mine").unwrap();
    trial.guard();
    let before = crate::lab::tree(&home);
    let opens = [
        "w:/etc/passwd".to_owned(),
        "w:/etc/ld.so.cache".to_owned(),
        "w:/usr/bin/env".to_owned(),
        "w:/bin/sh".to_owned(),
        format!("w:{}", text_of(&home.join(".bashrc"))),
        format!("w:{}", text_of(&trial.canary("repository"))),
        "w:../outside/repository".to_owned(),
    ];
    let mut arguments = vec!["open"];
    arguments.extend(opens.iter().map(String::as_str));
    trial.probe(&arguments);
    let name = format!("escape-{}", std::process::id());
    let places = [
        text_of(trial.lab.root()),
        text_of(&home),
        text_of(&trial.control()),
        "/tmp".to_owned(),
        "/dev/shm".to_owned(),
    ];
    for place in places {
        let file = std::path::Path::new(&place).join(&name);
        let text = format!("echo x > '{}' || true", file.display());
        trial.inside(&text);
        let inside = file.exists();
        trial.shell_outside(&text);
        let outside = fs::remove_file(&file).is_ok();
        trial.effect(format!("a new file in {place}"), outside, inside);
    }
    assert!(crate::lab::tree(&home).len() == before.len());
}

fn secrets(trial: &mut Trial) {
    let home = trial.lab.home();
    let names = [
        ".ssh/id_ed25519",
        ".aws/credentials",
        ".netrc",
        ".docker/config.json",
        ".gnupg/secring.gpg",
        ".config/gcloud/credentials.db",
        ".config/gh/hosts.yml",
        ".kube/config",
        ".npmrc",
        ".pypirc",
        ".cargo/credentials.toml",
        ".git-credentials",
        ".mozilla/firefox/x.default/logins.json",
        ".config/google-chrome/Default/Login Data",
        ".claude/.credentials.json",
        ".codex/auth.json",
        ".bash_history",
        ".local/share/keyrings/login.keyring",
        ".password-store/x.gpg",
        ".terraform.d/credentials.tfrc.json",
        ".vault-token",
    ];
    for name in names {
        let file = home.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("canary {name}\n")).unwrap();
    }
    fs::write(trial.canary("secret"), "canary secret\n").unwrap();
    let secret = trial.canary("secret");
    symlink(&secret, trial.lab.workspace().join("link")).unwrap();
    trial.guard();
    let paths = |prefix: &str| -> String {
        let command = |name: &&str| format!("cat '{prefix}{}/{name}'; ", home.display());
        names.iter().map(command).collect::<Vec<_>>().concat()
    };
    // Each name for itself: one that is readable is not hidden by the others.
    let outside = trial.shell_outside(&paths("")).stdout;
    for (way, prefix) in [
        ("path", ""),
        ("/proc/self/root", "/proc/self/root"),
        ("/proc/1/root", "/proc/1/root"),
        (
            "/proc/thread-self/cwd",
            "/proc/thread-self/cwd/../../../../../../../..",
        ),
    ] {
        let inside = said(&trial.inside(&paths(prefix)));
        for name in names {
            let canary = format!("canary {name}\n");
            trial.effect(
                format!("{name} by {way}"),
                outside.contains(&canary),
                inside.contains(&canary),
            );
        }
    }
    trial.leak(
        "a file beside the workspace",
        &format!("cat '{}' ../outside/secret", secret.display()),
        "canary secret",
    );
    trial.leak(
        "through a link in the workspace",
        "cat link",
        "canary secret",
    );
    trial.leak(
        "by a hard link",
        &format!("ln '{}' hard && cat hard", secret.display()),
        "canary secret",
    );
    fs::remove_file(trial.lab.workspace().join("hard")).ok();
    trial.leak(
        "by /dev/fd and the directory's parent",
        &format!(
            "exec 9< .; cat /dev/fd/9/../outside/secret /proc/self/cwd/../outside/secret '{}'",
            secret.display()
        ),
        "canary secret",
    );
    if is_root() {
        trial.leak("/etc/shadow", "cat /etc/shadow", "root:");
        trial.leak("the home of root", "ls -a /root", ".bashrc");
    } else {
        trial.cannot_show("/etc/shadow: this user may not read it outside either");
    }
    trial.probe(&["handle", &text_of(&secret), "."]);
}

fn attributes(trial: &mut Trial) {
    let directory = trial.canary("readable");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("file"), "mine").unwrap();
    trial.guard();
    let control = trial.control().join("file");
    let file = text_of(&directory.join("file"));
    fs::write(&control, "mine").unwrap();
    let granted = text_of(&directory);
    let report = trial.attack_with(&["--read", &granted], &["change", &file]);
    let outside = trial.attack_outside(&["change", &text_of(&control)]);
    let inside = crate::trial::answers(&said(&report));
    let outside = crate::trial::answers(&outside);
    assert_eq!(inside.len(), outside.len(), "{report:#}");
    for ((what, inside), (_, outside)) in inside.into_iter().zip(outside) {
        let what = what
            .split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" ");
        trial.attempt(what, outside, inside);
    }
}
