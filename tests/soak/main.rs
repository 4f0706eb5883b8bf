//! Many operations of all kinds, and the host as it was before: processes, namespaces, mounts, control groups, sockets,
//! files and descriptors.
//!
//! A program of its own, because all orphans of the program under test fall to it (`PR_SET_CHILD_SUBREAPER`): what
//! descends from it is what was left, whatever else the machine does. `cargo xtask soak` runs 200 operations, the usual
//! test run a few of each kind.
#![expect(
    clippy::disallowed_methods,
    reason = "the suite starts the program as its users do, and is told by its environment how much to do"
)]

#[cfg(test)]
mod host;
#[cfg(test)]
#[path = "../it/lab.rs"]
#[expect(dead_code, reason = "shared with the other tests of the program")]
mod lab;
#[cfg(test)]
mod operations;

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        os::unix::net::UnixListener,
        process::Command,
        time::{Duration, Instant},
    };

    use crate::{
        host::{Traces, reap},
        lab::Lab,
        operations::{KINDS, Soak},
    };

    /// Says how many operations there are.
    const COUNT: &str = "SANDBOX_SOAK_OPERATIONS";
    const COUNT_DEFAULT: usize = 2 * KINDS.len();
    /// How long what was ended may take to be gone: a busy machine's.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn the_host_is_the_same_before_and_after() {
        let count = std::env::var(COUNT).map_or(COUNT_DEFAULT, |it| it.parse().unwrap());
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        what_is_left_is_found();

        let lab = Lab::new().env("SANDBOX_SESSION__IDLE_TIMEOUT", "10m");
        let temporary = lab.root().join("tmp");
        fs::create_dir(&temporary).unwrap();
        let lab = lab.env("TMPDIR", temporary.to_str().unwrap());
        let kept = [
            temporary,
            lab.data().join("sandboxes"),
            lab.data().join("layers"),
        ];
        let before = Traces::of(lab.root(), &kept, &BTreeSet::new());
        assert_eq!(before.processes, BTreeSet::new());

        let mut soak = Soak::new(lab);
        for number in 0..count {
            soak.operate(number);
        }
        println!("{}", soak.summary());
        let lab = &soak.lab;
        lab.sandbox(&["audit", "verify"]).code(0);
        lab.sandbox(&["destroy", "--force"]).code(0);
        let callers = soak.callers();
        let deadline = Instant::now() + PATIENCE;
        loop {
            reap();
            let after = Traces::of(lab.root(), &kept, &callers);
            if after == before {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "before: {before:#?}\nafter: {after:#?}"
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The control: one thing of each kind that is left is seen.
    fn what_is_left_is_found() {
        let lab = Lab::new();
        let kept = [lab.root().join("outside")];
        let look = || Traces::of(lab.root(), &kept, &BTreeSet::new());
        let before = look();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(look().processes.len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        // An orphan.
        let text = "sleep 600 > /dev/null 2>&1 & echo $!";
        let said = Command::new("sh")
            .args(["-c", text])
            .output()
            .unwrap()
            .stdout;
        let orphan = String::from_utf8(said).unwrap().trim().parse().unwrap();
        assert_eq!(look().processes.len(), 1);
        let orphan = crate::host::pid(orphan);
        rustix::process::kill_process(orphan, rustix::process::Signal::KILL).unwrap();
        rustix::process::waitpid(Some(orphan), rustix::process::WaitOptions::empty()).unwrap();
        let socket = UnixListener::bind(lab.root().join("outside/socket")).unwrap();
        let now = look();
        assert_eq!((now.sockets.len(), now.files.len()), (1, 1));
        assert_eq!(now.descriptors, before.descriptors + 1);
        drop(socket);
        fs::remove_file(lab.root().join("outside/socket")).unwrap();
        assert_eq!(look(), before);
    }
}
