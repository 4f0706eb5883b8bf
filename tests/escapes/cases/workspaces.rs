//! The workspace itself: what it may be, and what stands in its place a moment later.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    suite::Case,
    trial::{Trial, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "31 F6", layer: "paths by descriptor", what: "swap a directory for a link while runs start, commit and undo", run: races },
    Case { numbers: "32", layer: "plan", what: "a workspace that is a link, the root, the home or a system directory", run: workspaces },
];

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
    let patience = if trial.variant.is_long {
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
