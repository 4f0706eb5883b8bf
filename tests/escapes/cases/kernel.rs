//! Parts of the kernel that no command needs.

use crate::{suite::Case, trial::Trial};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "38 F11 F12", layer: "seccomp, no capabilities", what: "mounts: by the old calls and the new ones", run: mounts },
    Case { numbers: "45 P4 P5", layer: "seccomp", what: "new namespaces, and those of others", run: namespaces },
    Case { numbers: "46", layer: "seccomp", what: "modules, quotas, swap, accounting, time, ports and other calls for administrators", run: administration },
    Case { numbers: "P6 48", layer: "seccomp, own session keyring", what: "the keys of the user", run: keys },
    Case { numbers: "P7", layer: "seccomp", what: "personalities, and the tables of other machines", run: tables },
    Case { numbers: "P8 P9", layer: "seccomp", what: "io_uring, userfaultfd, bpf and performance counters", run: young },
    Case { numbers: "47 N1", layer: "seccomp", what: "sockets of families that nobody needs, raw ones too", run: families },
    Case { numbers: "49", layer: "seccomp, rlimits", what: "real-time scheduling, priorities and locked memory", run: scheduling },
];

fn mounts(trial: &mut Trial) {
    trial.probe(&[
        "calls",
        "mount",
        "umount",
        "pivot_root",
        "chroot",
        "open_tree",
        "move_mount",
        "fs",
    ]);
    let text = "mkdir -p m; mount -t tmpfs x m && echo mounted; mount --bind /usr m && echo mounted; unshare -Urm mount -t tmpfs x m && echo mounted; while umount m 2>/dev/null; do :; done; rmdir m";
    trial.leak(
        "mount(8), also in a namespace of one's own",
        text,
        "mounted",
    );
}

fn namespaces(trial: &mut Trial) {
    trial.probe(&["namespaces"]);
    trial.probe(&["calls", "unshare", "setns", "clone3"]);
    trial.leak("unshare(1)", "unshare -Ur id -u && echo entered", "entered");
}

fn administration(trial: &mut Trial) {
    trial.probe(&[
        "calls",
        "kexec",
        "init_module",
        "finit_module",
        "delete_module",
        "quotactl",
        "swap",
        "acct",
        "lookup_dcookie",
        "vmsplice",
        "modify_ldt",
        "uselib",
        "iopl",
        "ioperm",
        "reboot",
        "syslog",
        "vhangup",
        "settimeofday",
        "clock_settime",
        "sethostname",
        "setdomainname",
        "kcmp",
        "fanotify",
    ]);
}

fn keys(trial: &mut Trial) {
    trial.probe(&["calls", "keyctl", "add_key", "request_key"]);
    trial.leak("the list of keys", "cat /proc/keys", "keyring");
}

fn tables(trial: &mut Trial) {
    trial.probe(&["calls", "personality", "int80", "x32"]);
}

fn young(trial: &mut Trial) {
    trial.probe(&[
        "calls",
        "io_uring_setup",
        "userfaultfd",
        "bpf",
        "perf_event_open",
    ]);
}

fn families(trial: &mut Trial) {
    trial.probe(&["families"]);
}

fn scheduling(trial: &mut Trial) {
    trial.probe(&["schedule"]);
    trial.cannot_show("processors beyond a cpuset: there is none here; a guest may choose among the processors that its caller has");
}
