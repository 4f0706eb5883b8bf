//! What the guest may not do.

use std::{fs, os::unix::fs::MetadataExt as _};

use sandbox_isolation::{KernelLauncher, Launcher as _};
use sandbox_types::{Level, ViolationKind};

use crate::lab::{Lab, is_root, needs, outside};

#[test]
fn system_files_cannot_be_written() {
    let script = "for f in /usr/iso-x /etc/iso-x /iso-x /proc/sys/kernel/core_pattern; do \
                  (echo x > $f) 2>/dev/null && echo wrote $f; done; true";
    assert_eq!(Lab::new().sh(script).output(), "");
    if needs(is_root(), "root") {
        // Control: root can, outside. (The same content, so nothing changes.)
        let same =
            "p=$(cat /proc/sys/kernel/core_pattern); echo \"$p\" > /proc/sys/kernel/core_pattern";
        assert!(outside(same, "/".as_ref()).0);
    }
}

#[test]
fn no_privilege_is_left_and_none_can_be_had() {
    let status = Lab::new().sh("cat /proc/self/status").stdout;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(':'))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    assert_eq!(field("Threads"), "1");
}

#[test]
fn only_three_descriptors_are_open() {
    let secret = fs::File::open("/proc/self/environ").unwrap();
    rustix_leak(&secret);
    // Without a pipe or a directory listing, which have descriptors of their own.
    let script =
        "i=0; while [ $i -lt 200 ]; do [ -e /proc/$$/fd/$i ] && echo $i; i=$((i+1)); done; true";
    assert_eq!(Lab::new().sh(script).output(), "0\n1\n2");
}

/// Makes a descriptor that every child inherits.
fn rustix_leak(file: &fs::File) {
    let copy = rustix::io::dup(file).unwrap();
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
    // Closed when the test process ends; until then it is the leak.
    assert!(std::os::fd::IntoRawFd::into_raw_fd(copy) > 2);
}

#[test]
fn nothing_outside_is_reachable() {
    let script = "python3 - <<'E'\n\
                  import socket\n\
                  for a in ['1.1.1.1', '169.254.169.254', '10.0.0.1']:\n\
                  \x20 try:\n\
                  \x20  socket.create_connection((a, 80), 3); print('reached', a)\n\
                  \x20 except OSError as e: print(e.errno)\n\
                  s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n\
                  socket.create_connection(s.getsockname()); print('loopback')\n\
                  E";
    let outcome = Lab::new().sh(script);
    assert_eq!(outcome.output(), "101\n101\n101\nloopback");
    let violation = outcome
        .ended
        .violations
        .first()
        .expect("the attempts are reported");
    assert_eq!(violation.kind, ViolationKind::Network);
    assert!(
        violation.detail.starts_with("3 attempts"),
        "{}",
        violation.detail
    );
    assert!(Lab::new().run(&["true"]).ended.violations.is_empty());
}

#[test]
fn namespaces_mounts_and_tracing_are_refused() {
    let script = "for c in 'unshare -U true' 'unshare -m true' 'mount -t tmpfs x .' 'umount .' \
                  'nsenter -t 1 -m true' 'mknod n b 8 0' 'chroot / true'; do \
                  $c 2>/dev/null && echo \"worked: $c\"; done; true";
    assert_eq!(Lab::new().sh(script).output(), "");
    assert!(outside("unshare -U true", "/".as_ref()).0, "control");
}

#[test]
fn other_processes_cannot_be_signalled() {
    let outcome = Lab::new().sh("kill -9 1 2>/dev/null; kill -TERM 1 2>/dev/null; echo alive");
    assert_eq!(outcome.output(), "alive");
}

#[test]
fn the_first_process_can_be_neither_limited_nor_slowed() {
    let script = "python3 - <<'E'\n\
                  import os, resource as r\n\
                  def attempt(f, *a):\n\
                  \x20 try: print('worked', f.__name__, *a[:2], f(*a))\n\
                  \x20 except PermissionError: pass\n\
                  attempt(os.setpriority, os.PRIO_PROCESS, 1, 19)\n\
                  attempt(os.setpriority, os.PRIO_USER, 0, 19)\n\
                  attempt(os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))\n\
                  attempt(r.prlimit, 1, r.RLIMIT_NOFILE, (0, 0))\n\
                  attempt(r.prlimit, 1, r.RLIMIT_CPU, (0, 0))\n\
                  r.prlimit(0, r.RLIMIT_NOFILE, (64, 64)); os.nice(1)\n\
                  import socket\n\
                  try: socket.create_connection(('10.0.0.1', 80), 3)\n\
                  except OSError: pass\n\
                  E\n\
                  i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let outcome = Lab::new().sh(script);
    assert_eq!(outcome.output(), "");
    let seen = outcome.ended.violations.first().map(|seen| seen.kind);
    assert_eq!(seen, Some(ViolationKind::Network), "pid 1 is not blind");
}

#[test]
fn the_first_process_holds_nothing_of_the_host() {
    if !needs(is_root(), "root") {
        return;
    }
    let mut lab = Lab::new();
    let mut plan = lab.plan.take().unwrap();
    plan.argv = ["sleep", "1000"].map(Into::into).to_vec();
    let running = KernelLauncher::new().launch(plan).unwrap();
    let root = fs::metadata("/").unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", running.root_pid())).unwrap();
    for descriptor in descriptors.flatten() {
        // It may be closing them just now.
        let Ok(held) = fs::metadata(descriptor.path()) else {
            continue;
        };
        let same = (held.dev(), held.ino()) == (root.dev(), root.ino());
        assert!(!same, "{descriptor:?} is the host's root");
    }
}

#[test]
fn set_id_files_do_not_reach_the_host() {
    let script = "cp /bin/true a; chmod u+s a || echo refused; chmod 2755 a || echo refused; chmod 755 a; \
                  python3 -c \"import os; os.open('b', os.O_CREAT | os.O_WRONLY, 0o4755)\" || echo refused";
    let mut lab = Lab::new();
    let outcome = lab.sh(script);
    assert_eq!(outcome.output(), "refused\nrefused\nrefused");
    let mode = fs::metadata(lab.workspace().join("a")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert!(!fs::exists(lab.workspace().join("b")).unwrap());
    // In a transaction they are taken at its end.
    let outcome = Lab::new().overlay().sh("cp /bin/true a; chmod u+s a");
    assert_eq!(outcome.output(), "");
    // A granted directory is the host's, too.
    let lab = Lab::new().overlay().file("granted/a", "");
    let granted = lab.base().join("granted");
    let outcome = lab
        .with(|plan| plan.view.write = vec![granted])
        .sh("chmod u+s ../granted/a || echo refused");
    assert_eq!(outcome.output(), "refused");
}

#[test]
fn every_layer_is_reported() {
    let enforcement = Lab::new().run(&["true"]).ended.enforcement;
    for level in [
        enforcement.user_namespace,
        enforcement.mount,
        enforcement.pid,
        enforcement.network,
        enforcement.seccomp,
    ] {
        assert_eq!(level, Level::Full, "{enforcement:?}");
    }
    let landlock = sandbox_isolation::landlock_abi();
    if needs(landlock.is_some_and(|abi| abi >= 6), "Landlock 6") {
        assert_eq!(enforcement.landlock, Level::Full);
    }
}

#[test]
fn a_root_callers_guest_is_no_user_of_the_host() {
    if !needs(is_root(), "root") {
        return;
    }
    let mut lab = Lab::new();
    let outcome =
        lab.sh("touch made; id -u; while read a b c; do echo $a $b $c; done < /proc/self/uid_map");
    assert_eq!(outcome.output(), "0\n0 2000000 65536");
    let made = fs::metadata(lab.workspace().join("made")).unwrap();
    assert_eq!(
        (made.uid(), made.gid()),
        (0, 0),
        "on disk it is the workspace's owner"
    );
}
