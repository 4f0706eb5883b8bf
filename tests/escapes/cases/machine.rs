//! The machine: its devices and settings, its control groups, and programs that are more than they seem.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use crate::{
    suite::Case,
    trial::{Trial, is_root, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "35", layer: "no_new_privs, nosuid", what: "programs with set-user-id bits", run: set_ids },
    Case { numbers: "39 F9", layer: "view", what: "device nodes of the machine", run: devices },
    Case { numbers: "40 P12", layer: "read-only /proc, view", what: "what the kernel reads from /proc and /sys", run: settings },
    Case { numbers: "41", layer: "view, seccomp", what: "control groups: see, change, leave or mount them", run: cgroups },
    Case { numbers: "42", layer: "view", what: "a program without a name, by the loader, by a descriptor, under another name", run: nameless },
];

fn set_ids(trial: &mut Trial) {
    if !is_root() {
        trial.cannot_show(
            "a set-user-id program: only root can make one; system ones are tried as root",
        );
        return;
    }
    // The control is an unprivileged user who starts it.
    let control = trial.control();
    fs::set_permissions(trial.lab.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let tool = control.join("id");
    fs::copy("/usr/bin/id", &tool).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o4755)).unwrap();
    let run = |command: &mut Command| {
        let output = std::os::unix::process::CommandExt::uid(command, 65_534)
            .arg("-u")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let outside = run(&mut Command::new(&tool)) == "0";
    // Inside, as a file of root's in a workspace of another user: the guest's own id is that user's.
    let workspace = trial.lab.workspace();
    std::os::unix::fs::chown(&workspace, Some(65_534), Some(65_534)).unwrap();
    fs::copy("/usr/bin/id", workspace.join("id")).unwrap();
    fs::set_permissions(workspace.join("id"), fs::Permissions::from_mode(0o4755)).unwrap();
    let granted = text_of(&control);
    for (place, options, command) in [
        ("the workspace", vec![], vec!["./id", "-u"]),
        (
            "a granted directory",
            vec!["--write", granted.as_str()],
            vec![tool.to_str().unwrap(), "-u"],
        ),
        (
            "the workspace, directly",
            vec!["--direct"],
            vec!["./id", "-u"],
        ),
    ] {
        let mut options: Vec<&str> = options;
        options.push("--yes");
        let report = trial.command_inside(&options, &command);
        assert_eq!(report["outcome"], "completed", "{report:#}");
        trial.effect(
            format!("set-user-id in {place}"),
            outside,
            said(&report).trim() == "0",
        );
    }
    trial.leak("su", "su -s /bin/sh -c 'echo switched' nobody", "switched");
}

fn devices(trial: &mut Trial) {
    trial.probe(&[
        "open",
        "r:/dev/mem",
        "r:/dev/kmsg",
        "r:/dev/kvm",
        "r:/dev/fuse",
        "r:/dev/net/tun",
        "r:/dev/loop-control",
        "r:/dev/loop0",
        "r:/dev/vda",
        "r:/dev/sda",
        "r:/dev/nvme0n1",
        "r:/dev/dri",
        "r:/dev/vsock",
        "r:/dev/userfaultfd",
        "r:/dev/btrfs-control",
        "r:/dev/autofs",
        "r:/dev/tty1",
        "r:/dev/hwrng",
        "r:/dev/port",
        "r:/dev/snd",
        "r:/dev/input",
        "r:/dev/vhost-net",
    ]);
    let report = trial.inside("for d in null zero full random urandom; do head -c 1 /dev/$d > /dev/null || exit 1; done; echo x > /dev/null; echo x > /dev/full || echo works");
    assert_eq!(report["stdout"]["text"], "works\n", "{report:#}");
}

fn settings(trial: &mut Trial) {
    trial.probe(&[
        "open",
        "w:/proc/sys/kernel/core_pattern",
        "w:/proc/sys/kernel/modprobe",
        "w:/proc/sys/kernel/hotplug",
        "w:/proc/sysrq-trigger",
        "w:/proc/sys/fs/binfmt_misc/register",
        "w:/sys/kernel/uevent_helper",
        "w:/sys/power/state",
        "w:/sys/kernel/mm/transparent_hugepage/enabled",
        "w:/proc/irq/default_smp_affinity",
        "w:/proc/sys/vm/drop_caches",
        "w:/proc/sys/kernel/randomize_va_space",
        "w:/proc/sys/net/ipv4/ip_forward",
        "w:/proc/self/oom_score_adj",
        "r:/sys/fs/cgroup",
        "r:/sys/kernel/debug",
        "r:/sys/firmware",
        "r:/sys/module",
        "w:/proc/1/oom_score_adj",
        "w:/proc/sys/kernel/ns_last_pid",
    ]);
    for (what, text) in [
        ("addresses of the kernel", "head -c 200 /proc/kallsyms"),
        ("timers", "head -c 200 /proc/timer_list"),
        ("keys", "cat /proc/keys /proc/key-users"),
        ("the kernel's memory", "head -c 4 /proc/kcore"),
    ] {
        let outside = trial.shell_outside(text).stdout;
        let inside = trial.inside(text);
        trial.effect(
            what,
            !outside.is_empty(),
            !inside["stdout"]["text"].as_str().unwrap().is_empty(),
        );
    }
}

fn cgroups(trial: &mut Trial) {
    trial.leak("the tree of control groups", "ls /sys/fs/cgroup", "unified");
    trial.leak(
        "any control group file",
        "ls /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs 2>/dev/null",
        "cgroup.procs",
    );
    trial.leak("a mount of one's own", "mkdir -p g; mount -t cgroup2 x g && echo mounted; unshare -Urm mount -t tmpfs x g && echo mounted; while umount g 2>/dev/null; do :; done; rmdir g", "mounted");
    trial.leak("the host's path of the group", "cat /proc/self/cgroup | grep -c '/$' > /dev/null; cat /proc/1/cgroup /proc/self/mountinfo | grep -m1 'cgroup' && echo named", "named");
}

fn nameless(trial: &mut Trial) {
    fs::write(trial.canary("secret"), "canary-nameless\n").unwrap();
    trial.guard();
    let secret = text_of(&trial.canary("secret"));
    let outside = trial.attack_outside(&["memfd", "/bin/cat", &secret]);
    let report = trial.attack_with(&[], &["memfd", "/bin/cat", &secret]);
    assert!(
        said(&report).contains("> run from memory\tthrough"),
        "it runs, inside the same walls: {report:#}"
    );
    trial.effect(
        "from memory",
        outside.contains("canary-nameless"),
        said(&report).contains("canary-nameless"),
    );
    let loader = "$(ls /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.* 2>/dev/null | head -1)";
    trial.leak(
        "by the loader",
        &format!("{loader} /bin/cat '{secret}'"),
        "canary-nameless",
    );
    trial.leak(
        "under another name",
        &format!("cp /bin/cat innocent; ./innocent '{secret}'; rm innocent"),
        "canary-nameless",
    );
    trial.leak("by a descriptor", &format!("printf '#!/bin/sh\\ncat \"%s\"\\n' '{secret}' > s; chmod +x s; exec 3<s; sh /proc/self/fd/3"), "canary-nameless");
}
