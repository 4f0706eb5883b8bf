//! What the guest sees, and what it does not.

use std::{fs, os::unix::fs::symlink};

use sandbox_types::NetworkAccess;

use crate::lab::{Lab, is_root, needs, outside};

#[test]
fn tools_work_and_the_rest_is_not_there() {
    let outcome = Lab::new().sh("ls /; test -e /etc/shadow || echo no-shadow; ls /home /root 2>&1");
    let seen = outcome.stdout;
    assert!(seen.contains("usr") && seen.contains("no-shadow"), "{seen}");
    assert!(!seen.contains("boot") && !seen.contains("srv"), "{seen}");
}

#[test]
fn the_callers_secrets_are_invisible() {
    let secret = "home/.ssh/id_ed25519";
    let mut lab = Lab::new().file(secret, "canary");
    let path = lab.base().join(secret);
    let script = format!("cat {}", path.display());
    assert_eq!(
        outside(&script, &lab.workspace()),
        (true, "canary".to_owned()),
        "control"
    );
    let outcome = lab.sh(&script);
    assert!(!outcome.stdout.contains("canary"));
    assert!(outcome.stderr.contains("No such file"), "{outcome:?}");
    if needs(is_root(), "root") {
        assert!(outside("cat /etc/shadow", &lab.workspace()).0, "control");
        assert!(
            Lab::new()
                .sh("cat /etc/shadow")
                .stderr
                .contains("No such file")
        );
    }
}

#[test]
fn a_home_as_workspace_hides_its_secrets() {
    let mut lab = Lab::new()
        .file("workspace/.ssh/id", "canary")
        .file("workspace/.npmrc", "canary");
    let workspace = lab.workspace();
    lab = lab.with(|plan| plan.view.home = workspace);
    let outcome = lab.sh("cat .npmrc; ls .ssh; cat .ssh/id || echo hidden");
    assert_eq!(outcome.output(), "hidden");
}

#[test]
fn a_hidden_path_is_hidden_through_links_too() {
    let mut lab = Lab::new().file("workspace/real", "canary");
    symlink("real", lab.workspace().join("link")).unwrap();
    let hidden = lab.workspace().join("link");
    lab = lab.with(|plan| plan.view.hide = vec![hidden]);
    assert_eq!(lab.sh("cat real link").output(), "");
}

#[test]
fn a_copied_file_can_be_hidden_too() {
    let show = "head -c 4 /etc/passwd";
    assert_eq!(Lab::new().sh(show).output(), "root", "control");
    let mut lab = Lab::new().with(|plan| plan.view.hide = vec!["/etc/passwd".into()]);
    assert_eq!(lab.sh(show).output(), "");
}

#[test]
fn copies_cannot_be_changed() {
    let script = "echo x >> /etc/passwd || rm -f /etc/passwd || chmod 666 /etc/passwd || echo kept";
    assert_eq!(Lab::new().sh(script).output(), "kept");
}

#[test]
fn granted_paths_are_visible_as_granted() {
    let mut lab = Lab::new().file("read/a", "readable").file("write/a", "old");
    let base = lab.base();
    lab = lab.with(|plan| {
        plan.view.read = vec![base.join("read")];
        plan.view.write = vec![base.join("write")];
    });
    let outcome =
        lab.sh("cat ../read/a; echo x > ../read/a || echo refused; echo new > ../write/a");
    assert_eq!(outcome.output(), "readablerefused");
    assert_eq!(fs::read_to_string(base.join("write/a")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(base.join("read/a")).unwrap(), "readable");
}

#[test]
fn toolchains_are_visible_without_their_credentials() {
    let lab = Lab::new()
        .file("home/.cargo/bin/tool", "#!/bin/sh\necho tool\n")
        .file("home/.cargo/credentials.toml", "canary")
        .file("home/other", "canary");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(lab.home().join(".cargo/bin/tool"), mode).unwrap();
    let mut lab = lab;
    let outcome = lab.sh(
        "~/.cargo/bin/tool; cat ~/.cargo/credentials.toml; ls ~; touch ~/.cargo/x || echo refused",
    );
    assert_eq!(outcome.output(), "tool\nrefused");
}

#[test]
fn secrets_are_hidden_behind_linked_toolchains() {
    let lab = Lab::new()
        .file("store/cargo/bin/tool", "tool")
        .file("store/cargo/credentials.toml", "canary");
    symlink(lab.base().join("store/cargo"), lab.home().join(".cargo")).unwrap();
    let mut lab = lab;
    let real = lab.base().join("store/cargo/credentials.toml");
    let outcome = lab.sh(&format!(
        "cat ~/.cargo/bin/tool; cat ~/.cargo/credentials.toml {}",
        real.display()
    ));
    assert_eq!(outcome.output(), "tool");
}

#[test]
fn secrets_of_a_linked_home_are_hidden() {
    for read_real in [false, true] {
        let lab = Lab::new()
            .file("home/.cargo/bin/tool", "tool")
            .file("home/.cargo/credentials.toml", "canary")
            .file("home/.ssh/id", "canary")
            .file("home/.config/gh/hosts", "canary")
            .file("home/plain", "plain");
        let (link, home) = (lab.base().join("link"), lab.home());
        symlink(&home, &link).unwrap();
        let mut lab = lab.with(|plan| {
            plan.view.home.clone_from(&link);
            if read_real {
                plan.view.read.push(home);
            }
        });
        let outcome = lab.sh(
            "cat ../link/.cargo/bin/tool; cat ../home/plain; for home in ../link ../home; do \
             cat $home/.cargo/credentials.toml $home/.ssh/id $home/.config/gh/hosts; done; true",
        );
        let expected = if read_real { "toolplain" } else { "tool" };
        assert_eq!(outcome.output(), expected);
    }
}

#[test]
fn a_path_hidden_by_a_links_name_is_hidden_by_its_own_too() {
    let lab = Lab::new()
        .file("real/state/secret", "canary")
        .file("real/other", "other");
    let base = lab.base();
    symlink(base.join("real"), base.join("link")).unwrap();
    let mut lab = lab.with(|plan| {
        plan.view.hide = vec![base.join("link/state")];
        plan.view.write = vec![base.join("real")];
    });
    let outcome = lab.sh("cat ../real/other ../real/state/secret; ls ../real/state; \
                          echo x > ../real/state/secret || echo refused");
    assert_eq!(outcome.output(), "otherrefused");
    let kept = fs::read_to_string(base.join("real/state/secret")).unwrap();
    assert_eq!(kept, "canary");
}

#[test]
fn private_directories_are_writable_and_vanish() {
    let outcome = Lab::new()
        .sh("for d in /tmp /run /dev/shm /var/tmp ~; do echo x > $d/iso-private || exit 1; done");
    assert_eq!(outcome.output(), "");
    assert!(!fs::exists("/tmp/iso-private").unwrap());
    assert!(!fs::exists("/dev/shm/iso-private").unwrap());
}

#[test]
fn system_directories_are_no_workspaces() {
    for bad in ["/", "/etc", "/usr", "/proc/self"] {
        let mut lab = Lab::new().with(|plan| plan.workspace = bad.into());
        let error = lab
            .try_run(&["true"], crate::lab::Collect::default())
            .unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("cannot use {bad}")),
            "{error}"
        );
    }
}

#[test]
fn the_first_process_tells_nothing_of_the_caller() {
    let outcome = Lab::new().sh(
        "tr -d '\\0' < /proc/1/cmdline; cat /proc/1/environ 2>/dev/null; ls /proc/1/fd /proc/1/root 2>/dev/null; true",
    );
    assert_eq!(outcome.output(), "");
    // Control: the same of a process of its own.
    let own = Lab::new().sh("tr -d '\\0' < /proc/$$/cmdline; ls /proc/$$/fd");
    assert!(own.output().contains("cmdline"));
}

#[test]
fn the_hosts_mounts_and_processes_are_gone() {
    let outcome = Lab::new()
        .sh("sleep 0.1; grep -c /proc/host /proc/self/mountinfo; ls -d /proc/[0-9]* | wc -l");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.first(), Some(&"0"), "{outcome:?}");
    assert!(lines[1].parse::<u32>().unwrap() < 8, "{outcome:?}");
}

#[test]
fn the_hosts_network_is_there_if_asked_for() {
    let lab = Lab::new().with(|plan| plan.network = NetworkAccess::Host);
    let mut lab = lab;
    let inside = lab.sh("readlink /proc/self/ns/net").output().to_owned();
    let here = outside("readlink /proc/self/ns/net", &lab.workspace());
    assert_eq!(here, (true, inside));
}
