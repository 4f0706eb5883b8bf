//! What a command must not reach, tried by real commands. Each has a control: the same attempt
//! outside succeeds, so that the test cannot pass because of a typing error.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use crate::lab::Lab;

/// Runs shell text outside of any sandbox: the control.
fn outside(text: &str) -> bool {
    Command::new("/bin/sh")
        .args(["-c", text])
        .output()
        .unwrap()
        .status
        .success()
}

/// Runs shell text inside, and expects that it fails without printing `secret`. The text lies in a
/// script, where the judge does not see it: only the kernel can say no.
#[track_caller]
fn refused(lab: &Lab, text: &str, secret: &str) {
    fs::write(lab.workspace().join("attempt.sh"), text).unwrap();
    let report = lab.run("bash attempt.sh");
    assert_eq!(report["outcome"], "failed", "{text}: {report:#}");
    let printed = format!("{}{}", report["stdout"]["text"], report["stderr"]["text"]);
    assert!(!printed.contains(secret), "{text} printed the secret");
    let walls = &report["enforcement"];
    for wall in ["user_namespace", "mount", "pid", "network", "seccomp"] {
        assert_eq!(walls[wall], "full", "{walls:#}");
    }
}

#[test]
fn the_callers_keys_cannot_be_read() {
    let lab = Lab::new();
    let key = lab.home().join(".ssh/id_ed25519");
    fs::create_dir(key.parent().unwrap()).unwrap();
    fs::write(&key, "canary-key\n").unwrap();
    let text = format!("cat '{}'", key.display());
    assert!(outside(&text));
    refused(&lab, &text, "canary-key");
    refused(&lab, "cat ~/.ssh/id_ed25519", "canary-key");
}

#[test]
fn a_file_beside_the_workspace_cannot_be_read() {
    let lab = Lab::new();
    fs::write(lab.root().join("outside/secret"), "canary-beside\n").unwrap();
    let text = format!("cat '{}'", lab.root().join("outside/secret").display());
    assert!(outside(&text));
    refused(&lab, &text, "canary-beside");
    refused(&lab, "cat ../outside/secret", "canary-beside");
}

#[test]
fn a_link_in_the_workspace_leads_nowhere() {
    let lab = Lab::new();
    fs::write(lab.root().join("outside/secret"), "canary-link\n").unwrap();
    std::os::unix::fs::symlink(
        lab.root().join("outside/secret"),
        lab.workspace().join("link"),
    )
    .unwrap();
    assert!(fs::read_to_string(lab.workspace().join("link")).is_ok());
    refused(&lab, "cat link", "canary-link");
}

#[test]
fn the_shadow_file_cannot_be_read() {
    let lab = Lab::new();
    assert!(
        Path::new("/etc/shadow").exists(),
        "this host has no /etc/shadow: the test proves nothing"
    );
    refused(&lab, "cat /etc/shadow", "root:");
}

#[test]
fn the_home_of_root_cannot_be_listed() {
    // Without a search path into it: a toolchain that lies there would be shown, nothing else.
    let lab = Lab::new().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    assert!(
        Path::new("/root").exists(),
        "this host has no /root: the test proves nothing"
    );
    refused(&lab, "ls /root/.[a-z]*", ".bashrc");
}

#[test]
fn a_guest_cannot_choose_what_the_kernel_runs() {
    let lab = Lab::new();
    let path = "/proc/sys/kernel/core_pattern";
    let before = fs::read(path).unwrap();
    refused(&lab, &format!("echo '|/bin/false' > {path}"), "canary");
    assert_eq!(fs::read(path).unwrap(), before);
}

#[test]
fn a_guest_cannot_connect_out() {
    let lab = Lab::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    drop(listener.accept().unwrap());
    listener.set_nonblocking(true).unwrap();
    refused(
        &lab,
        &format!("exec 3<>/dev/tcp/127.0.0.1/{port}"),
        "canary",
    );
    assert!(listener.accept().is_err(), "the guest has connected");
    // The control inside: with the host's network, the same attempt succeeds.
    let report = lab.run_with(&["--net", "host", "--yes"], "bash attempt.sh");
    assert_eq!(report["outcome"], "completed", "{report:#}");
}

#[test]
fn a_guest_cannot_write_beside_its_workspace() {
    let lab = Lab::new();
    let target = lab.root().join("outside/written");
    let text = format!("echo x > '{}'", target.display());
    assert!(outside(&text));
    fs::remove_file(&target).unwrap();
    lab.run(&text);
    assert!(!target.exists(), "the guest has written to the host");
}

#[test]
fn a_guest_sees_no_process_of_the_host_and_leaves_none() {
    let lab = Lab::new();
    let own = std::process::id();
    assert!(outside(&format!("kill -0 {own}")));
    let report = lab.run("ls /proc | grep -c '^[0-9]'");
    let seen: u32 = report["stdout"]["text"]
        .as_str()
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(seen < 10, "{seen} processes are visible");

    let marker = format!("60.{own}");
    lab.run(&format!(
        "sleep {marker} & disown 2>/dev/null; (setsid sleep {marker} &); true"
    ));
    let left = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|it| fs::read(it.path().join("cmdline")).ok());
    let left = left
        .filter(|it| String::from_utf8_lossy(it).contains(&marker) && it.starts_with(b"sleep"))
        .count();
    assert_eq!(left, 0, "processes were left");
}

#[test]
fn a_guest_has_no_capability_and_gets_none() {
    let lab = Lab::new();
    let report = lab.run("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status");
    let status = report["stdout"]["text"].as_str().unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(
            status.contains(&format!("{set}:\t0000000000000000")),
            "{status}"
        );
    }
    assert!(
        status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"),
        "{status}"
    );
}

#[test]
fn the_sandboxs_own_data_is_hidden_from_its_guests() {
    let lab = Lab::new();
    lab.run("true");
    assert!(lab.data().join("sandboxes").is_dir());
    refused(
        &lab,
        &format!("ls '{}'/sandboxes", lab.data().display()),
        "workspace\n",
    );
}
