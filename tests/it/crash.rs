//! `kill -9` of `sandbox run` at any moment: the workspace is before or after, and nothing is left.

use std::{
    fs,
    process::Child,
    time::{Duration, Instant},
};

use crate::lab::{Lab, Tree};

/// How many moments are tried.
const MOMENTS: u32 = 50;
/// How many of them lie in the run; those that follow let it end.
const IN_THE_RUN: u32 = MOMENTS - 8;
/// Changes a hundred files, in loops, so that a kill can come between any two.
const WRITES: &str = "for i in $(seq 0 49); do echo new > f$i; echo x > n$i; done; rm -f f49";

/// Content by path: times differ between two runs of the same command.
fn contents(tree: &Tree) -> Vec<(String, Vec<u8>)> {
    tree.iter()
        .map(|(path, facts)| (path.display().to_string(), facts.5.clone()))
        .collect()
}

/// Kills `child` once `delay` has passed, or lets it be if it ends before.
fn kill_after(child: &mut Child, delay: Duration) {
    let start = Instant::now();
    while start.elapsed() < delay {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn lab() -> Lab {
    (0..50).fold(Lab::new(), |lab, i| lab.file(&format!("f{i}"), "old\n"))
}

#[test]
fn a_killed_run_is_before_or_after_and_leaves_nothing() {
    let lab = lab();
    let before = lab.tree();
    let start = Instant::now();
    lab.sandbox(&["run", "-q", "--shell", WRITES]).code(0);
    let mut whole = start.elapsed();
    let after = contents(&lab.tree());
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before, "undo is exact");
    assert_ne!(
        contents(&before),
        after,
        "the control: the command changes files"
    );

    let (mut unchanged, mut changed) = (0, 0);
    for moment in 0..MOMENTS {
        let mut child = lab
            .command(&["run", "-q", "--shell", WRITES])
            .spawn()
            .unwrap();
        // Spread over a bit more than the whole run, in an order that jumps about.
        let delay = whole * (moment * 17 % MOMENTS) / IN_THE_RUN;
        kill_after(&mut child, delay);
        lab.sandbox(&["status"]).code(0);
        let now = contents(&lab.tree());
        if now == after {
            changed += 1;
            lab.sandbox(&["undo"]).code(0);
        } else {
            unchanged += 1;
            if delay >= whole {
                // The machine has more to do than when this was timed.
                whole *= 2;
            }
        }
        assert_eq!(
            lab.tree(),
            before,
            "moment {moment}: neither before nor after"
        );
    }
    assert!(
        unchanged > 0 && changed > 0,
        "{unchanged} before, {changed} after"
    );

    nothing_left(&lab);
    lab.sandbox(&["audit", "verify"]).code(0);
}

/// Looks for processes, mounts, cgroups and half transactions of this lab.
fn nothing_left(lab: &Lab) {
    let root = lab.root().display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&root), "a mount is left");
    for directory in ["tx", "trash"] {
        let layers = lab.data().join("layers/workspace").join(directory);
        assert_eq!(
            fs::read_dir(&layers).unwrap().count(),
            0,
            "{}",
            layers.display()
        );
    }
    // Ended processes leave the table a moment after their parent is told.
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(process) = process_of(&root) {
        assert!(Instant::now() < deadline, "a process is left: {process}");
        std::thread::yield_now();
    }
}

/// Returns the command line of a process that works for this lab.
fn process_of(root: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .bytes()
                .all(|b| b.is_ascii_digit())
        })
        .filter(|entry| entry.file_name().to_string_lossy() != std::process::id().to_string())
        .find_map(|entry| {
            let read = |file: &str| {
                let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let working = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let ours = working.starts_with(root) || read("cmdline").contains(root);
            ours.then(|| format!("{:?} {}", entry.file_name(), read("cmdline")))
        })
}
