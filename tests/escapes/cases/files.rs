//! Files of the host: to read, to write, to reach by other names.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    suite::Case,
    trial::{Trial, end, eventually, is_root, processes_with, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "28", layer: "view, Landlock", what: "write to the system, the home, a neighbour and the parent", run: writes },
    Case { numbers: "29 F1 F2 F4 F7 F8", layer: "view, Landlock", what: "read keys and tokens: by path, link, /proc and handle", run: secrets },
    Case { numbers: "F5 P1 57", layer: "pid namespace, seccomp", what: "look into the caller and other processes of the host", run: processes },
    Case { numbers: "F3 60", layer: "view, own host ids", what: "reach another sandbox's workspace and processes", run: neighbours },
    Case { numbers: "F16 59", layer: "view", what: "read or change the sandbox's own data, use the program from inside", run: own_data },
    Case { numbers: "31 F6", layer: "paths by descriptor", what: "swap a directory for a link while runs start, commit and undo", run: races },
    Case { numbers: "32", layer: "plan", what: "a workspace that is a link, the root, the home or a system directory", run: workspaces },
    Case { numbers: "35", layer: "no_new_privs, nosuid", what: "programs with set-user-id bits", run: set_ids },
    Case { numbers: "37", layer: "read-only mounts, Landlock", what: "change the attributes of what may only be read", run: attributes },
    Case { numbers: "39 F9", layer: "view", what: "device nodes of the machine", run: devices },
    Case { numbers: "40 P12", layer: "read-only /proc, view", what: "what the kernel reads from /proc and /sys", run: settings },
    Case { numbers: "41", layer: "view, seccomp", what: "control groups: see, change, leave or mount them", run: cgroups },
    Case { numbers: "42", layer: "view", what: "a program without a name, by the loader, by a descriptor, under another name", run: nameless },
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

fn processes(trial: &mut Trial) {
    let marker = format!("41.{}", std::process::id());
    let mut victim = Command::new("sleep")
        .arg(&marker)
        .env("ESCAPE_SECRET", "canary-environment")
        .spawn()
        .unwrap();
    eventually("the victim runs", || !processes_with(&marker).is_empty());
    let pid = victim.id().to_string();
    trial.probe(&["trace", &pid]);
    trial.leak(
        "another process's environment",
        "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
        "canary-environment",
    );
    // Looked up in the shell itself: what it runs would have the marker among its own arguments.
    let text = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done 2>/dev/null | grep '^sleep'";
    trial.leak("another process's arguments", text, &marker);
    victim.kill().unwrap();
    victim.wait().unwrap();
    // The supervisor and our own pid 1, from inside: they are there, or not, but closed.
    let report = trial.inside("for f in root cwd exe mem environ maps fd/0; do cat /proc/1/$f > /dev/null 2>&1 && echo open $f; readlink /proc/1/$f && echo read $f; done; ls /proc/1/fd; true");
    trial.never(
        "own pid 1",
        !report["stdout"]["text"].as_str().unwrap().is_empty(),
    );
    // Its arguments and its environment would be the caller's.
    let mut command = trial.lab.command(&[
        "run",
        "-q",
        "--yes",
        "--",
        "sh",
        "-c",
        "cat /proc/1/environ /proc/1/cmdline /proc/[0-9]*/environ; true",
    ]);
    let output = command
        .env("ESCAPE_SECRET", "canary-caller")
        .output()
        .unwrap();
    trial.never(
        "the caller's environment",
        String::from_utf8_lossy(&output.stdout).contains("canary-caller"),
    );
}

fn neighbours(trial: &mut Trial) {
    let other = Trial::new(false);
    fs::write(other.lab.workspace().join("secret"), "canary-neighbour").unwrap();
    let marker = format!("42.{}", std::process::id());
    let mut running = other
        .lab
        .command(&[
            "run",
            "-q",
            "--yes",
            "--shell",
            &format!("echo canary-neighbour > upper; sleep {marker}"),
        ])
        .spawn()
        .unwrap();
    eventually("the neighbour runs", || !processes_with(&marker).is_empty());
    let before = crate::lab::tree(&other.lab.workspace());
    let place = other.lab.root().display().to_string();
    trial.leak(
        "another workspace",
        &format!("cat '{place}/workspace/secret'"),
        "canary-neighbour",
    );
    trial.leak(
        "another transaction",
        &format!("cat '{place}'/data/layers/*/tx/*/upper/upper"),
        "canary-neighbour",
    );
    let text = format!("echo x > '{place}/workspace/planted'");
    trial.inside(&text);
    trial.never(
        "a file planted there",
        crate::lab::tree(&other.lab.workspace()) != before,
    );
    let pids: Vec<String> = processes_with(&marker)
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut arguments = vec!["signal", "0"];
    arguments.extend(pids.iter().map(String::as_str));
    trial.probe(&arguments);
    if is_root() {
        let owner = |pid: &String| {
            fs::metadata(format!("/proc/{pid}"))
                .map(|it| std::os::unix::fs::MetadataExt::uid(&it))
                .ok()
        };
        let ids: Vec<_> = pids
            .iter()
            .filter_map(owner)
            .filter(|&it| it != 0)
            .collect();
        assert!(
            !ids.is_empty(),
            "the neighbour's guest runs as root of the host"
        );
    }
    running.kill().unwrap();
    running.wait().unwrap();
    for pid in processes_with(&marker) {
        end(pid);
    }
}

fn own_data(trial: &mut Trial) {
    trial.lab.run("echo one > file");
    trial
        .lab
        .sandbox(&["state", "set", "--secret", "key", "canary-state"])
        .code(0);
    let data = trial.lab.data();
    let snapshot = || crate::lab::tree(&data.join("keys"));
    let keys = snapshot();
    let place = data.display();
    trial.leak(
        "the list of sandboxes",
        &format!("ls '{place}/sandboxes'"),
        "workspace",
    );
    trial.leak(
        "the journal",
        &format!("cat '{place}/sandboxes/workspace/journal.log'"),
        "operation",
    );
    trial.leak(
        "the store and the keys",
        &format!("ls '{place}/keys' '{place}/sandboxes/workspace'"),
        "state",
    );
    let records = || {
        trial
            .lab
            .sandbox(&["audit", "show", "--json", "-n", "1000"])
            .stdout
            .lines()
            .count()
    };
    // The program itself, inside, with the host's data named to it.
    let sandbox = text_of(&crate::lab::program());
    let directory = text_of(crate::lab::program().parent().unwrap());
    let before = trial.lab.sandbox(&["list", "--json"]).stdout;
    let commands = [
        "list --json",
        "run --yes -- touch nested",
        "run --yes --net host -- touch nested",
        "undo",
        "approvals list",
        "state get key",
        "commit",
        "snapshot create",
        "destroy --force workspace",
    ];
    for command in commands {
        let text = format!(
            "SANDBOX_HOME='{place}' '{sandbox}' {command}; XDG_DATA_HOME=/tmp HOME=/tmp '{sandbox}' run --yes --net host -- cat '{}'",
            trial.lab.root().join("outside/secret").display()
        );
        let report = trial.inside_with(&["--read", &directory], &text);
        let words = said(&report);
        assert!(!words.contains("canary"), "{command}: {words}");
    }
    let _count = records();
    let ended = trial.lab.sandbox(&["audit", "verify"]);
    trial.never(
        "a sandbox less or more",
        trial.lab.sandbox(&["list", "--json"]).stdout.is_empty() || before.is_empty(),
    );
    trial.never(
        "a file written by nested use",
        trial.lab.read("nested").is_some(),
    );
    trial.never(
        "an operation undone from inside",
        trial.lab.read("file").as_deref() != Some("one\n"),
    );
    trial.never("a forged journal", !ended.status.success());
    trial.never("other keys", snapshot() != keys);
    // Granting what holds the data does not grant the data.
    let root = text_of(trial.lab.root());
    let report = trial.inside_with(&["--write", &root], &format!("ls '{place}' '{place}/sandboxes'; cat '{place}/sandboxes/workspace/journal.log' '{place}/keys/'*; rm -rf '{place}/sandboxes' '{place}'; mv '{root}/data' '{root}/moved'; true"));
    let words = said(&report);
    trial.never(
        "the data through a granted parent",
        words.contains("operation") || !data.join("sandboxes/workspace/journal.log").exists(),
    );
}

fn races(trial: &mut Trial) {
    let workspace = trial.lab.workspace();
    fs::create_dir(workspace.join("dir")).unwrap();
    fs::write(workspace.join("dir/file"), "inside").unwrap();
    fs::write(trial.canary("file"), "canary-race").unwrap();
    symlink(trial.canary(""), workspace.join("swap")).unwrap();
    // What the attacker has changed in the workspace before is no finding: undo asks first.
    trial.guard();
    let stop = AtomicBool::new(false);
    let (mut followed, mut leaked, mut runs) = (false, false, 0);
    let patience = if trial.is_long {
        Duration::from_secs(1800)
    } else {
        Duration::from_secs(5)
    };
    let turns = thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut turns = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let swapped = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    workspace.join("dir"),
                    rustix::fs::CWD,
                    workspace.join("swap"),
                    flags,
                );
                turns += u64::from(swapped.is_ok());
                if turns.is_multiple_of(64) {
                    thread::park_timeout(Duration::from_micros(50));
                }
            }
            turns
        });
        // Control: who follows names reads the canary.
        followed |= crate::trial::holds_soon(Duration::from_secs(10), || {
            (0..500).any(|_| {
                fs::read_to_string(workspace.join("dir/file")).is_ok_and(|it| it == "canary-race")
            })
        });
        let start = Instant::now();
        while start.elapsed() < patience {
            for direct in [false, true] {
                let mut arguments = vec!["run", "--json", "--yes"];
                arguments.extend(direct.then_some("--direct"));
                arguments.extend(["--shell", "cat dir/file; echo changed > dir/file; echo new > dir/new; rm -rf dir/old; mkdir dir/old; chmod 700 dir"]);
                let ended = trial.lab.sandbox(&arguments);
                leaked |= ended.stdout.contains("canary-race");
                runs += 1;
            }
            let _refused = trial.lab.sandbox(&["undo", "--force"]);
            let _torn = trial.lab.sandbox(&["snapshot", "create"]);
            let dir = workspace.join("dir/file").display().to_string();
            leaked |= trial
                .lab
                .sandbox(&["run", "--yes", "--read", &dir, "--", "cat", &dir])
                .stdout
                .contains("canary-race");
        }
        stop.store(true, Ordering::Relaxed);
        swapping.join().unwrap()
    });
    assert!(turns > 1000 && runs > 0, "{turns} swaps and {runs} runs");
    let harm = trial.harm().is_some();
    trial.effect(
        format!(
            "the canary, written or read in {runs} runs by a swapped directory ({turns} swaps)"
        ),
        followed,
        harm,
    );
    // Reading by a path that the *caller* grants follows it, as any program does: counted apart.
    if leaked {
        trial.cannot_show("a race on a path that --read names: the caller names it, and it is what it is at that moment");
    }
}

fn workspaces(trial: &mut Trial) {
    for bad in [
        "/",
        "/etc",
        "/usr",
        "/proc",
        "/proc/self",
        "/dev",
        "/sys",
        "/proc/self/root",
    ] {
        let ended = trial
            .lab
            .sandbox(&["run", "--yes", "-w", bad, "--", "true"]);
        trial.effect(
            format!("{bad} as a workspace"),
            trial.shell_outside(&format!("cd {bad}")).status.success(),
            ended.status.success(),
        );
    }
    // By a link: the directory itself is the workspace, and nothing else is shown.
    let link = trial.lab.root().join("link");
    symlink(trial.lab.workspace(), &link).unwrap();
    fs::write(trial.canary("secret"), "canary-link").unwrap();
    trial.guard();
    let link = text_of(&link);
    let ended = trial.lab.sandbox(&[
        "run",
        "--json",
        "--yes",
        "-w",
        &link,
        "--shell",
        "echo x > by-link; cat ../outside/secret",
    ]);
    trial.never(
        "what lies beside a linked workspace",
        ended.stdout.contains("canary-link"),
    );
    // The home as a workspace: its secrets stay hidden.
    let home = trial.lab.home();
    fs::create_dir(home.join(".ssh")).unwrap();
    fs::write(home.join(".ssh/id"), "canary-home").unwrap();
    let text = text_of(&home);
    let control = trial
        .shell_outside("cat ~/.ssh/id")
        .stdout
        .contains("canary-home");
    let ended = trial.lab.sandbox(&[
        "run", "--json", "--yes", "-w", &text, "--", "cat", ".ssh/id",
    ]);
    trial.effect(
        "keys in a home that is the workspace",
        control,
        ended.stdout.contains("canary-home"),
    );
    // The data's own directory, and what holds it.
    let data = text_of(&trial.lab.data());
    let ended = trial.lab.sandbox(&[
        "run",
        "--json",
        "--yes",
        "-w",
        &data,
        "--shell",
        "ls sandboxes",
    ]);
    trial.never(
        "the sandboxes' own data as a workspace",
        ended.stdout.contains("workspace\\n"),
    );
}

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
        "r:/proc/kcore",
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
