//! Environment, configuration, names, records: what the program believes.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    suite::Case,
    trial::{Trial, is_root, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "56 C3", layer: "environment", what: "tokens and variables that make programs load something", run: environment },
    Case { numbers: "58 C1 C2", layer: "configuration", what: "a configuration in the workspace that grants", run: configuration },
    Case { numbers: "62", layer: "probes", what: "a kernel without user namespaces, or without /proc", run: missing_layers },
    Case { numbers: "63", layer: "probes", what: "a caller that is confined itself", run: confined_caller },
    Case { numbers: "C4", layer: "names", what: "sandbox and operation names with ../", run: names },
    Case { numbers: "C6", layer: "journal", what: "a flood of records", run: flood },
    Case { numbers: "C7", layer: "monotonic clock", what: "times that jump", run: clock },
    Case { numbers: "C8", layer: "plan", what: "another command than the one that was judged", run: judged },
];

fn environment(trial: &mut Trial) {
    let tokens = [
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "SSH_AUTH_SOCK",
        "DBUS_SESSION_BUS_ADDRESS",
        "KUBECONFIG",
        "VAULT_TOKEN",
        "NPM_TOKEN",
        "XDG_RUNTIME_DIR",
        "GPG_AGENT_INFO",
    ];
    let loaders = [
        "LD_AUDIT",
        "BASH_ENV",
        "ENV",
        "GIT_SSH_COMMAND",
        "GIT_CONFIG_COUNT",
        "NODE_OPTIONS",
        "PYTHONSTARTUP",
        "PERL5OPT",
        "RUBYOPT",
        "BASH_FUNC_ls%%",
        "PROMPT_COMMAND",
        "GCONV_PATH",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "IFS",
    ];
    let mut command = trial.lab.command(&["run", "-q", "--yes", "--", "env"]);
    let mut control = std::process::Command::new("env");
    for name in tokens.iter().chain(&loaders) {
        let value = format!("canary-{name}");
        control.env(name, &value);
        command.env(name, value);
    }
    let text = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let (outside, inside) = (
        text(control.output().unwrap()),
        text(command.output().unwrap()),
    );
    assert!(inside.contains("PATH="), "{inside}");
    for name in tokens.iter().chain(&loaders) {
        let canary = format!("canary-{name}");
        trial.effect(*name, outside.contains(&canary), inside.contains(&canary));
    }
    // What decides about the program itself does not reach what it starts, whatever file is named.
    let preload = text_of(&trial.lab.workspace().join("evil.sh"));
    fs::write(&preload, "echo canary-loaded\n").unwrap();
    let mut command = trial
        .lab
        .command(&["run", "-q", "--yes", "--", "bash", "-c", "true"]);
    let inside = text(command.env("BASH_ENV", &preload).output().unwrap());
    let outside = text(
        std::process::Command::new("bash")
            .args(["-c", "true"])
            .env("BASH_ENV", &preload)
            .output()
            .unwrap(),
    );
    trial.effect(
        "a script by BASH_ENV",
        outside.contains("canary-loaded"),
        inside.contains("canary-loaded"),
    );
    // A very large environment is no way around.
    let mut command = trial.lab.command(&["run", "-q", "--yes", "--", "env"]);
    for index in 0..20 {
        command.env(format!("LARGE_{index}"), "x".repeat(100_000));
    }
    let inside = text(command.output().unwrap());
    trial.never("2 MB of environment", inside.contains("LARGE_"));
}

fn configuration(trial: &mut Trial) {
    let secret = trial.canary("secret");
    fs::write(&secret, "canary-granted").unwrap();
    trial.guard();
    let directory = text_of(&trial.canary(""));
    let grants = format!(
        "isolation:\n  read: [\"{directory}\"]\nsafety_constraints:\n  network: {{allow_external: true}}\n"
    );
    let workspace = trial.lab.workspace();
    for name in [
        "sandbox.yaml",
        ".sandbox.yaml",
        ".sandbox/config.yaml",
        ".config/sandbox/config.yaml",
        "config.yaml",
        "sandbox/config.yaml",
    ] {
        let file = workspace.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, &grants).unwrap();
    }
    let read = [
        "run",
        "--json",
        "--yes",
        "--",
        "cat",
        secret.to_str().unwrap(),
    ];
    // Control: the same text is a grant where the caller names it.
    let granted = {
        let mut arguments = vec!["run", "--json", "--yes", "-c", "sandbox.yaml"];
        arguments.extend(&read[3..]);
        trial
            .lab
            .sandbox(&arguments)
            .stdout
            .contains("canary-granted")
    };
    let is_granted = |text: String| text.contains("canary-granted");
    trial.effect(
        "by its name",
        granted,
        is_granted(trial.lab.sandbox(&read).stdout),
    );
    for (variable, value) in [
        ("HOME", text_of(&workspace)),
        ("XDG_CONFIG_HOME", text_of(&workspace)),
        ("XDG_CONFIG_HOME", text_of(&workspace.join(".config"))),
    ] {
        let output = trial
            .lab
            .command(&read)
            .env(variable, value)
            .output()
            .unwrap();
        trial.effect(
            format!("by {variable}"),
            granted,
            is_granted(String::from_utf8_lossy(&output.stdout).into_owned()),
        );
    }
    // A link from the user's own place into the workspace: whoever writes there would grant.
    let place = trial.lab.home().join(".config/sandbox");
    fs::create_dir_all(&place).unwrap();
    symlink(workspace.join("sandbox.yaml"), place.join("config.yaml")).unwrap();
    let ended = trial.lab.sandbox(&read);
    trial.effect(
        "by a link from the user's file",
        granted,
        is_granted(ended.stdout),
    );
    fs::remove_file(place.join("config.yaml")).unwrap();
    symlink(&workspace, trial.lab.home().join("linked")).unwrap();
    let output = trial
        .lab
        .command(&read)
        .env("XDG_CONFIG_HOME", trial.lab.home().join("linked"))
        .output()
        .unwrap();
    trial.effect(
        "by a link to the workspace",
        granted,
        is_granted(String::from_utf8_lossy(&output.stdout).into_owned()),
    );
}

fn missing_layers(trial: &mut Trial) {
    fs::write(trial.canary("secret"), "canary-layer").unwrap();
    let sandbox = crate::lab::program();
    let secret = text_of(&trial.canary("secret"));
    trial.guard();
    // In a user namespace of its own, the number of further ones can be set to none: what a hardened host does.
    let without = |trial: &Trial, limit: &str| {
        let text = format!(
            "{limit} && exec '{}' run --json --yes -- sh -c 'cat \"{secret}\"; echo x > \"{secret}\"'",
            sandbox.display()
        );
        let mut command = std::process::Command::new("unshare");
        trial.as_caller(command.args(["-Urm", "sh", "-c", &text]));
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let control = trial
        .shell_outside(&format!("unshare -Ur sh -c 'cat \"{secret}\"'"))
        .stdout
        .contains("canary-layer");
    if !control {
        trial.cannot_show(
            "user namespaces are forbidden here as it is: all other cases show that tier",
        );
        return;
    }
    for (what, limit) in [
        (
            "no user namespaces",
            "echo 0 > /proc/sys/user/max_user_namespaces",
        ),
        (
            "no mount namespaces",
            "echo 0 > /proc/sys/user/max_mnt_namespaces",
        ),
        (
            "no pid namespaces",
            "echo 0 > /proc/sys/user/max_pid_namespaces",
        ),
        (
            "no network namespaces",
            "echo 0 > /proc/sys/user/max_net_namespaces",
        ),
        ("a masked /proc", "mount -t tmpfs x /proc/sys"),
    ] {
        let (code, stdout, stderr) = without(trial, limit);
        let is_through = stdout.contains("canary-layer");
        trial.effect(format!("with {what}"), control, is_through);
        let report: Value = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        let is_declared = report["enforcement"]["missing"]
            .as_array()
            .is_some_and(|it| !it.is_empty());
        let is_full = report["enforcement"]["user_namespace"] == "full"
            && report["enforcement"]["mount"] == "full";
        assert!(
            code == Some(125) || is_declared || is_full,
            "{what}: neither refused nor declared: {stdout}{stderr}"
        );
    }
    trial
        .cannot_show("kernels without Landlock, seccomp or cgroups: `cargo xtask vm` boots others");
}

fn confined_caller(trial: &mut Trial) {
    fs::write(trial.canary("secret"), "canary-confined").unwrap();
    trial.guard();
    let secret = text_of(&trial.canary("secret"));
    let sandbox = text_of(&crate::lab::program());
    let inner = format!("exec '{sandbox}' run --json --yes -- cat '{secret}'");
    for wrapper in [
        vec!["unshare", "-Urmpf", "--mount-proc"],
        vec!["setpriv", "--no-new-privs"],
        vec!["unshare", "-Urn"],
    ] {
        let mut command = std::process::Command::new(wrapper[0]);
        trial.as_caller(command.args(&wrapper[1..]).args(["sh", "-c", &inner]));
        let output = command.output().unwrap();
        let mut control = std::process::Command::new(wrapper[0]);
        trial.as_caller(control.args(&wrapper[1..]).args(["cat", &secret]));
        let control =
            String::from_utf8_lossy(&control.output().unwrap().stdout).contains("canary-confined");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        trial.effect(
            format!("in {}", wrapper.join(" ")),
            control,
            text.contains("canary-confined"),
        );
    }
    if is_root() {
        // As root without the capabilities that make root.
        let mut command = std::process::Command::new("setpriv");
        trial.as_caller(command.args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            "sh",
            "-c",
            &inner,
        ]));
        let text = command.output().unwrap();
        trial.never(
            "as root without capabilities",
            String::from_utf8_lossy(&text.stdout).contains("canary-confined"),
        );
    }
}

fn names(trial: &mut Trial) {
    trial.lab.run("true");
    fs::create_dir_all(trial.lab.data().join("sandboxes")).unwrap();
    fs::create_dir(trial.canary("victim")).unwrap();
    fs::write(trial.canary("victim/file"), "mine").unwrap();
    trial.guard();
    let outside = trial
        .shell_outside("cd ../data/sandboxes/../../outside/victim && ls")
        .stdout
        .contains("file");
    for name in [
        "../../outside/victim",
        "..",
        ".",
        "a/../../../outside/victim",
        "/etc",
        "",
        "a\0b",
        "-rf",
        "x\ny",
    ] {
        if name.contains('\0') {
            continue;
        }
        for arguments in [
            vec!["create", name, "-w", "."],
            vec!["destroy", "--force", name],
            vec!["status", "-s", name],
            vec!["show", name],
            vec!["undo", name],
            vec!["snapshot", "restore", name],
            vec!["approvals", "approve", name],
            vec!["commit", name],
        ] {
            let ended = trial.lab.sandbox(&arguments);
            assert!(!ended.status.success() || name.is_empty(), "{ended}");
        }
        let harm = trial.harm().is_some();
        trial.effect(format!("{name:?} as a name"), outside, harm);
    }
    let list = trial.lab.sandbox(&["list", "--json"]).stdout;
    assert!(list.contains("workspace"), "{list}");
}

fn flood(trial: &mut Trial) {
    // An operation's report is bounded, whatever it prints, changes and runs into.
    let text = "i=0; while [ $i -lt 1100 ]; do : > \"file-$i\"; i=$((i+1)); done; head -c 8000000 /dev/zero | tr '\\0' y; for i in 1 2 3 4 5 6 7 8 9; do (exec 3<>/dev/tcp/10.0.0.$i/80); done";
    let script = trial.lab.root().join("flood.sh");
    fs::write(&script, text).unwrap();
    let directory = text_of(trial.lab.root());
    let outside = trial.outside("bash", &[&text_of(&script)]).stdout.len();
    trial.shell_outside("rm -f file-*");
    let report = trial.command_inside(
        &["--yes", "--read", &directory],
        &["bash", &text_of(&script)],
    );
    let records = trial
        .lab
        .sandbox(&["audit", "show", "--json", "-n", "1000"])
        .stdout
        .len();
    trial.effect(
        "8 MB in the journal",
        outside >= 8_000_000,
        records > 4_000_000,
    );
    assert_eq!(report["stdout"]["truncated"], true);
    trial.lab.sandbox(&["audit", "verify"]).code(0);
}

fn clock(trial: &mut Trial) {
    // Files may claim any time; what the program believes about time is the monotonic clock's.
    let text = "touch -d 2099-01-01 future; touch -d 1970-01-02 past; touch -d 2099-01-01 .";
    let start = Instant::now();
    let report = trial.inside(text);
    assert_eq!(report["changes"]["settlement"], "committed", "{report:#}");
    let millis = report["duration_ms"].as_f64().unwrap();
    let outside = trial
        .shell_outside("touch -d 2099-01-01 f && stat -c %Y f")
        .stdout
        .trim()
        .parse::<i64>()
        .unwrap()
        > 4_000_000_000;
    trial.effect(
        "a duration from files' times",
        outside,
        millis < 0.0 || millis > start.elapsed().as_secs_f64() * 1000.0 + 1.0,
    );
    trial.lab.sandbox(&["snapshot", "create"]).code(0);
    fs::write(trial.lab.workspace().join("future"), "changed").unwrap();
    trial.lab.sandbox(&["undo", "--dry-run"]);
    assert!(start.elapsed() < Duration::from_secs(60));
    trial.cannot_show("a jump of the host's clock: it would harm others");
}

fn judged(trial: &mut Trial) {
    // Everything that could be exchanged after the judgement is: what is recorded is what was executed.
    fs::write(
        trial.lab.workspace().join("document.json"),
        "{\"type\": \"command\", \"args\": [\"cat\", \"/proc/self/cmdline\"]}",
    )
    .unwrap();
    let document = fs::read_to_string(trial.lab.workspace().join("document.json")).unwrap();
    let ended = trial
        .lab
        .sandbox_with_input(&["run", "--json", "--yes", "--operation", "-"], &document);
    let report = ended.json();
    assert_eq!(
        report["operation"]["argv"],
        serde_json::json!(["cat", "/proc/self/cmdline"])
    );
    let recorded: Vec<String> = report["operation"]["argv"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap().to_owned())
        .collect();
    let executed = report["stdout"]["text"]
        .as_str()
        .unwrap()
        .replace('\0', "\n");
    let differs = executed.trim_end() != recorded.join("\n");
    // Control: a script that is exchanged after it was looked at does something else.
    let script = trial.control().join("script");
    fs::write(&script, "echo innocent").unwrap();
    let looked = fs::read_to_string(&script).unwrap();
    fs::write(&script, "echo evil").unwrap();
    let exchanged =
        looked.contains("innocent") && trial.outside("sh", &[&text_of(&script)]).stdout == "evil\n";
    trial.effect(
        "another argument vector than the recorded one",
        exchanged,
        differs,
    );
    // A stored request is what is run, whatever became of the file that it came from.
    fs::write(trial.lab.workspace().join("a.sh"), "echo first").unwrap();
    let asked = trial.lab.sandbox(&[
        "run",
        "--json",
        "--net",
        "host",
        "--shell",
        "git push --force origin main; echo asked",
    ]);
    if asked.status.code() == Some(126) {
        let list = trial.lab.sandbox(&["approvals", "list", "--json"]);
        trial.never(
            "a request with another text",
            !list
                .stdout
                .contains("git push --force origin main; echo asked"),
        );
    }
    assert!(!said(&report).is_empty());
}
