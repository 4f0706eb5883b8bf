//! What the system call profiles refuse and let through, with real programs.

use sandbox_isolation::{BaseProfile, RefusedWith, SeccompProfile, SyscallEffect, SyscallRule};
use sandbox_types::{ExitReason, ViolationKind};

use crate::lab::{Lab, needs, outside};

/// Makes each call with harmless arguments, and prints its name if the filter lets it through: the kernel's own
/// answer to nonsense is another error than the filter's.
const ATTEMPTS: &str = r"
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) >= 0 or ctypes.get_errno() not in (1, 38):
        print(name)
if os.uname().machine == 'x86_64':
    call('ptrace', 101, -1, 0, 0, 0)
    call('kcmp', 312, os.getpid(), os.getpid(), 99, 0, 0)
    call('process_vm_readv', 310, os.getpid(), 0, 0, 0, 0, 0)
    call('personality', 135, 0x0040000)
    call('memfd_create', 319, b'x', 0)
    call('shmget', 29, 0, 4096, 0o1600)
    call('splice', 275, -1, 0, -1, 0, 1, 0)
for name, family in [('inet', socket.AF_INET), ('unix', socket.AF_UNIX)]:
    try: socket.socket(family).close(); print(name)
    except OSError: pass
";

fn attempts(lab: Lab) -> String {
    lab.file("workspace/attempts.py", ATTEMPTS)
        .run(&["python3", "attempts.py"])
        .output()
        .to_owned()
}

fn with(profile: SeccompProfile) -> Lab {
    Lab::new().with(|plan| plan.seccomp = profile)
}

fn built_in(base: BaseProfile) -> Lab {
    with(SeccompProfile::built_in(base))
}

fn there(program: &str) -> bool {
    let found = outside(&format!("command -v {program}"), "/".as_ref()).0;
    needs(found, program)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn each_profile_refuses_what_it_says() {
    if !there("python3") {
        return;
    }
    let control = Lab::new().file("attempts.py", ATTEMPTS);
    let (ran, all) = outside("python3 attempts.py", &control.base());
    let everything =
        "ptrace\nkcmp\nprocess_vm_readv\npersonality\nmemfd_create\nshmget\nsplice\ninet\nunix";
    assert!(ran);
    assert_eq!(all, everything, "control");
    assert_eq!(attempts(built_in(BaseProfile::Permissive)), everything);
    let default = "memfd_create\nshmget\nsplice\ninet\nunix";
    assert_eq!(attempts(built_in(BaseProfile::Default)), default);
    assert_eq!(attempts(built_in(BaseProfile::Strict)), "unix");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_custom_profile_is_enforced() {
    if !there("python3") {
        return;
    }
    let rule = |call: &str, effect| SyscallRule {
        call: call.to_owned(),
        effect,
    };
    let rules = [
        rule("kcmp", SyscallEffect::Allow),
        rule(
            "splice",
            SyscallEffect::Refuse(RefusedWith::NoSuchCall, None),
        ),
    ];
    let profile = SeccompProfile::refine("custom", BaseProfile::Default, &rules).unwrap();
    assert_eq!(
        attempts(with(profile)),
        "kcmp\nmemfd_create\nshmget\ninet\nunix"
    );
}

#[test]
fn walls_stand_under_every_profile() {
    let script = "for c in 'unshare -U true' 'mount -t tmpfs none mnt' 'chroot . true'; do \
                  $c 2>/dev/null && echo \"worked: $c\"; done; true";
    for (_, base) in BaseProfile::NAMED {
        let mut lab = built_in(base).file("workspace/mnt/a", "");
        assert_eq!(lab.sh(script).output(), "", "{base:?}");
    }
    assert!(outside("unshare -U true", "/".as_ref()).0, "control");
}

#[test]
fn strict_runs_shells_tools_and_interpreters() {
    let script = "set -e; mkdir -p a/b; seq 1000 | sort -rn | head -3 > a/b/c; cp -r a d; mv d e; \
                  find . -name c | wc -l; tar cf x.tar a; tar xf x.tar -C e; cat a/b/c | tr -d '\\n'; \
                  ls -l > /dev/null; date > /dev/null; df . > /dev/null; (sleep 0.01 & wait); rm -r a e";
    let outcome = built_in(BaseProfile::Strict).sh(script);
    assert_eq!(outcome.output(), "2\n1000999998");
    if !there("python3") {
        return;
    }
    let script = "python3 - <<'E'\n\
                  import json, sqlite3, subprocess, tempfile, threading\n\
                  found = []\n\
                  threads = [threading.Thread(target=found.append, args=(i,)) for i in range(8)]\n\
                  [t.start() for t in threads]; [t.join() for t in threads]\n\
                  db = sqlite3.connect('x.db'); db.execute('create table t (a)'); db.commit()\n\
                  with tempfile.NamedTemporaryFile() as f: f.write(b'x')\n\
                  print(len(found), subprocess.check_output(['echo', 'child']).decode().strip())\n\
                  E";
    let outcome = built_in(BaseProfile::Strict).sh(script);
    assert_eq!(outcome.output(), "8 child");
}

#[test]
fn default_runs_what_builds_need() {
    if there("cc") {
        let script = "echo 'int main(void) { return 7; }' > a.c && cc -o a a.c && ./a";
        let outcome = built_in(BaseProfile::Default).sh(script);
        assert_eq!(outcome.exit(), ExitReason::Exited(7), "{outcome:#?}");
    }
    if there("git") {
        let script = "set -e; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a \
                      GIT_COMMITTER_EMAIL=a; git init -q; echo 1 > f; git add f; git commit -qm 1; \
                      git checkout -qb side; echo 2 > f; git commit -qam 2; git gc -q; git fsck";
        built_in(BaseProfile::Default).overlay().sh(script).output();
    }
    if there("python3") {
        // A program may set the priority of the threads that it has started.
        let script = "python3 - <<'E'\n\
                      import multiprocessing, os, threading\n\
                      go = threading.Event()\n\
                      thread = threading.Thread(target=go.wait); thread.start()\n\
                      os.setpriority(os.PRIO_PROCESS, thread.native_id, 5)\n\
                      os.sched_setscheduler(thread.native_id, os.SCHED_BATCH, os.sched_param(0))\n\
                      print(os.getpriority(os.PRIO_PROCESS, thread.native_id)); go.set()\n\
                      with multiprocessing.Pool(2) as pool: print(sum(pool.map(abs, range(100))))\n\
                      E";
        let outcome = built_in(BaseProfile::Default).sh(script);
        assert_eq!(outcome.output(), "5\n4950");
    }
    for (program, script, expected) in [
        ("node", "node -e 'console.log(1 + 1)'", "2"),
        ("java", "java -version 2>&1 | grep -c version", "1"),
    ] {
        if outside(&format!("command -v {program}"), "/".as_ref()).0 {
            assert_eq!(built_in(BaseProfile::Default).sh(script).output(), expected);
        }
    }
}

/// A tracer of its own child: what strace and gdb do, without them.
const TRACER: &str = r"
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
pid = os.fork()
if pid == 0:
    os._exit(3 if libc.ptrace(0, 0, 0, 0) < 0 else os.kill(os.getpid(), signal.SIGSTOP) or 0)
_, status = os.waitpid(pid, 0)
if os.WIFSTOPPED(status):
    libc.ptrace(7, pid, 0, 0)
    _, status = os.waitpid(pid, 0)
    print('traced', os.waitstatus_to_exitcode(status))
else:
    print('refused')
print('init', libc.ptrace(16, 1, 0, 0), len(os.listdir('/proc/1')) > 0)
";

#[test]
fn permissive_traces_its_own_children_and_not_pid_1() {
    if !there("python3") {
        return;
    }
    for (base, expected) in [
        (BaseProfile::Permissive, "traced 0\ninit -1 True"),
        (BaseProfile::Default, "refused\ninit -1 True"),
    ] {
        let mut lab = built_in(base).file("workspace/tracer.py", TRACER);
        assert_eq!(
            lab.run(&["python3", "tracer.py"]).output(),
            expected,
            "{base:?}"
        );
    }
    // With the real ones, where they are installed.
    for (program, script) in [
        (
            "strace",
            "strace -f -o log sh -c true && grep -c execve log",
        ),
        (
            "gdb",
            "gdb -q -batch -ex run -ex 'info registers' /bin/true > log 2>&1; grep -c 'exited normally' log",
        ),
    ] {
        if outside(&format!("command -v {program}"), "/".as_ref()).0 {
            let traced = built_in(BaseProfile::Permissive).sh(script);
            assert_ne!(traced.output(), "0", "{traced:#?}");
        }
    }
}

#[test]
fn refused_calls_that_no_honest_program_makes_are_reported() {
    if !there("unshare") {
        return;
    }
    let told = |script: &str| {
        let outcome = Lab::new().sh(script);
        let violations = outcome.ended.violations.iter();
        let syscalls = violations.filter(|it| it.kind == ViolationKind::Syscall);
        let told: Vec<_> = syscalls.map(|it| it.detail.clone()).collect();
        (outcome.stdout, outcome.stderr, told)
    };
    let (_, errors, seen) = told("unshare -m true; unshare -n true");
    assert!(errors.contains("Operation not permitted"), "{errors}");
    assert_eq!(seen, ["unshare: refused 2 times"]);
    // The control, and what all programs try.
    let (_, _, seen) = told("true; ls / > /dev/null; python3 -c 'import threading' 2> /dev/null");
    assert_eq!(seen, [""; 0]);
    // Who makes them in a loop is refused on and on, and does not keep us busy.
    let (printed, _, seen) = told(
        "i=0; while [ $i -lt 260 ]; do unshare -m true 2> /dev/null && echo made; i=$((i+1)); done; echo end",
    );
    assert_eq!(printed, "end\n");
    let [only] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(
        only,
        "unshare: refused 256 times, and perhaps more that were not counted"
    );
}
