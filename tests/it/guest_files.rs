//! Files that a command left in its workspace choose nothing outside of it: no file that a report is written to, and
//! nothing of the configuration of any sandbox.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use crate::lab::Lab;

/// Makes a pipe with a name.
fn fifo(path: &std::path::Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn a_report_is_written_through_no_link_of_a_command() {
    let lab = Lab::new();
    let outside = lab.root().join("outside");
    fs::write(outside.join("theirs"), "theirs").unwrap();
    fifo(&outside.join("pipe"));
    lab.run("mkdir -p d; ln -s ../outside reports; ln -s ../reports d/more; mkfifo waits");
    for (name, target) in [("link", "theirs"), ("new", "new"), ("pipe", "pipe")] {
        symlink(outside.join(target), lab.workspace().join(name)).unwrap();
    }
    let refused = |report: &str, why: &str| {
        lab.sandbox(&["run", "--report", report, "--", "touch", "ran"])
            .code(2)
            .says("cannot write the report to")
            .says(why);
        assert_eq!(lab.read("ran"), None, "{report}");
    };
    for report in ["link", "new", "pipe"] {
        refused(report, "it is a link");
    }
    // A pipe without a reader is not waited for.
    refused("waits", "it is not a regular file");
    refused(
        "reports/r.json",
        "reports is a symbolic link in a workspace",
    );
    refused("d/more/r.json", "more is a symbolic link in a workspace");
    refused("d", "it is not a regular file");
    assert_eq!(
        fs::read_to_string(outside.join("theirs")).unwrap(),
        "theirs"
    );
    assert!(!outside.join("new").exists() && !outside.join("r.json").exists());

    // The control: the user's own link, outside of every workspace, is followed.
    symlink("outside", lab.root().join("own")).unwrap();
    lab.sandbox(&["run", "-q", "--report", "../own/r.json", "--", "true"])
        .code(0);
    assert!(outside.join("r.json").exists());
}

#[test]
fn what_is_no_link_of_a_command_gets_the_report_as_before() {
    let lab = Lab::new();
    lab.sandbox(&["run", "-q", "--report", "r.json", "--", "true"])
        .code(0);
    lab.sandbox(&["run", "-q", "--report", "r.json", "--", "true"])
        .code(0);
    assert!(lab.read("r.json").unwrap().starts_with('{'));
    for stream in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let ended = lab.sandbox(&["run", "-q", "--report", stream, "--", "true"]);
        ended.code(0);
        assert_eq!(ended.json()["outcome"], "completed", "{stream}");
    }
    let mut bash = Command::new("bash");
    let text = "exec \"$0\" run -q --report >(cat) -- true";
    let environment = lab.command(&["run"]);
    bash.args(["-c", text]).arg(crate::lab::program());
    for (name, value) in environment.get_envs() {
        if let Some(value) = value {
            bash.env(name, value);
        }
    }
    let bash = bash.current_dir(lab.workspace()).stdin(Stdio::null());
    let ended = bash.output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(text.contains("\"outcome\": \"completed\""), "{text}");
}

#[test]
fn other_files_are_made_through_no_link_of_a_command_either() {
    let lab = Lab::new();
    let outside = lab.root().join("outside");
    lab.run("ln -s ../outside away; touch x");
    lab.sandbox(&["snapshot", "create"]).code(0);
    for args in [
        &["config", "init", "away/config.yaml"][..],
        &["audit", "export", "away/audit.jsonl"],
        &["snapshot", "export", "latest", "away/snapshot"],
    ] {
        let ended = lab.sandbox(args);
        ended.says("away is a symbolic link in a workspace");
        assert_ne!(ended.status.code(), Some(0));
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    lab.sandbox(&["config", "init", "../outside/config.yaml"])
        .code(0);
}

const GRANT: &str = "safety_constraints:\n  network:\n    allow_external: true\n";

/// Whether the network of commands in `directory` is open, as the configuration says.
fn is_open(lab: &Lab, directory: &str) -> bool {
    let mut show = lab.command(&["config", "show", "--json"]);
    let shown = show
        .current_dir(lab.root().join(directory))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let lines: String = text.split_whitespace().collect();
    lines.contains("allow_external") && lines.contains("config.yaml")
}

#[test]
fn configuration_that_a_command_wrote_grants_nothing_to_other_sandboxes() {
    let lab = Lab::new();
    let config = lab.home().join(".config");
    fs::create_dir_all(config.join("sandbox")).unwrap();
    fs::write(config.join("sandbox/config.yaml"), GRANT).unwrap();
    lab.sandbox(&["run", "--", "true"]).code(0);
    // The control: the user's own file counts.
    assert!(is_open(&lab, "workspace"));

    // A directory that it lies in becomes a workspace.
    let mut create = lab.command(&["run", "-q", "--", "true"]);
    assert!(create.current_dir(&config).status().unwrap().success());
    assert!(!is_open(&lab, "workspace"));
    lab.sandbox(&["run", "--", "true"])
        .code(0)
        .says("config.yaml is ignored");
    // Also where the index lacks it, as after a killed creation, and where a record cannot be read.
    let index = lab.data().join("index");
    fs::remove_dir_all(&index).unwrap();
    fs::create_dir(&index).unwrap();
    assert!(!is_open(&lab, "workspace"));
    let other = lab.data().join("sandboxes/config/sandbox.json");
    let other = if other.exists() {
        other
    } else {
        lab.data().join("sandboxes/.config/sandbox.json")
    };
    fs::write(other, "{}").unwrap();
    assert!(!is_open(&lab, "workspace"));
}

#[test]
fn a_link_of_the_configuration_into_a_workspace_grants_nothing() {
    for link in ["sandbox", "sandbox/config.yaml"] {
        let lab = Lab::new().file("dots/config.yaml", GRANT);
        let config = lab.home().join(".config");
        fs::create_dir_all(config.join(link).parent().unwrap()).unwrap();
        let file = link.strip_prefix("sandbox").unwrap();
        let target = format!("{}/dots{file}", lab.workspace().display());
        symlink(target, config.join(link)).unwrap();
        assert!(is_open(&lab, "outside"), "no sandbox yet");
        lab.sandbox(&["run", "-q", "--", "true"]).code(0);
        assert!(!is_open(&lab, "outside"), "{link}");
    }
}

/// What the gate commits and notices is told at once, each in a line.
#[test]
fn links_that_lead_out_and_files_that_run_are_told() {
    let lab = Lab::new();
    let text = "ln -s /etc/cron.d cron; mkdir .hg; echo '[hooks]' > .hg/hgrc";
    lab.sandbox(&["run", "--shell", text])
        .code(0)
        .says("notice: the link 'cron' leads out of the workspace, to '/etc/cron.d'")
        .says("notice: '.hg/hgrc' changed: version control configuration that runs programs");
    let plain = lab.sandbox(&["run", "--shell", "ln -s .hg/hgrc near; echo x > plain"]);
    assert!(!plain.code(0).stderr.contains("notice"), "{plain}");
}

#[test]
fn changes_of_the_sandboxs_own_configuration_are_held() {
    let held = |directory: &str, text: &str| {
        let lab = Lab::new();
        let place = lab.home().join(directory);
        fs::create_dir_all(&place).unwrap();
        let mut run = lab.command(&["run", "--json", "--shell", text]);
        let ended = run.current_dir(&place).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        report["changes"]["settlement"] == "pending"
    };
    let config = "printf x > config.yaml";
    assert!(held(".config/sandbox", config));
    assert!(held(
        ".config",
        &format!("mkdir sandbox; cd sandbox; {config}")
    ));
    assert!(held(".config", "ln -s /tmp/elsewhere sandbox"));
    // The control: elsewhere it is a file as others.
    assert!(!held("elsewhere", config));
    assert!(!held(
        ".config",
        "mkdir other; printf x > other/config.yaml"
    ));
}
