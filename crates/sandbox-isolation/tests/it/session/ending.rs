//! How sessions and their operations end, and that nothing is left of them.

use super::*;

#[test]
fn operations_go_on_without_their_keeper() {
    let mut session = Session::new().ready();
    let (input, go_on) = rustix::pipe::pipe().unwrap();
    let mut plan = session.plan("echo x > ready; cat; echo done");
    plan.stdin = StdinSource::Forward(Arc::new(input));
    let ready = session.upper().join("ready");
    let mut running = session.launch(plan).unwrap();
    eventually("the guest runs", || ready.exists());
    let keeper = session.keeper();
    eventually("the next one is built", || {
        session.status().is_some_and(|it| it.is_ready)
    });
    let waiting = children_of(keeper);
    assert!(waiting >= 2, "the operation's init and the next one's");
    kill(keeper);
    drop(go_on);
    let (ended, told) = finish(&mut *running);
    assert_eq!((ended.exit, told.as_str()), (ExitReason::Exited(0), "done"));
    // The next one finds the socket of a dead keeper.
    let plan = session.plan("echo again");
    assert_eq!(finish(&mut *session.launch(plan).unwrap()).1, "again");
    session.launcher.keep_ready();
    assert_eq!(session.joined("echo more").1, "more");
    assert_ne!(session.keeper(), keeper);
}

#[test]
fn what_a_killed_operation_used_is_told() {
    let mut session = Session::new().ready();
    let mut plan = session.plan("while :; do :; done");
    plan.limits.wall_time = Some(sandbox_types::Limit::requested(Duration::from_millis(200)));
    let (ended, _) = session.run_joined(plan);
    assert_eq!(ended.exit, ExitReason::TimedOut);
    assert!(ended.usage.cpu > Duration::ZERO);
}

#[test]
fn a_keeper_that_stands_still_holds_nobody_up() {
    let mut session = Session::new().ready();
    let mut plan = session.plan("while :; do :; done");
    plan.limits.wall_time = Some(sandbox_types::Limit::requested(Duration::from_millis(200)));
    let mut running = session.launch(plan).unwrap();
    assert!(session.is_joined(&*running));
    let keeper = Pid::from_raw(session.keeper().cast_signed()).unwrap();
    rustix::process::kill_process(keeper, Signal::STOP).unwrap();
    let start = Instant::now();
    let (ended, _) = finish(&mut *running);
    let took = start.elapsed();
    rustix::process::kill_process(keeper, Signal::CONT).unwrap();
    assert_eq!(ended.exit, ExitReason::TimedOut);
    assert!(took < PATIENCE, "{took:?}");
}

#[test]
fn a_session_ends_when_nobody_uses_it() {
    // An emulated processor needs more than half a second to build a confinement and be asked about it.
    let session = Session::lasting(Duration::from_secs(3)).ready();
    let keeper = session.keeper();
    assert!(is_there(keeper));
    let start = Instant::now();
    eventually("the keeper has ended", || !is_there(keeper));
    assert!(start.elapsed() < PATIENCE);
    assert!(!session.directory().join("session.sock").exists());
    assert_eq!(session.status(), None);
}

#[test]
fn nothing_is_left_of_a_session() {
    let mut session = Session::new().ready();
    for _ in 0..10 {
        assert_eq!(session.joined("echo x").1, "x");
    }
    session.await_ready();
    let keeper = session.keeper();
    eventually("no dead init is there, and one that waits", || {
        children_of(keeper) == 1
    });
    let inits = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"));
    assert!(end_session(&session.directory()).unwrap());
    assert!(!is_there(keeper));
    for init in inits.unwrap_or_default().split_whitespace() {
        assert!(!is_there(init.parse().unwrap()));
    }
    assert!(!end_session(&session.directory()).unwrap(), "it has ended");
    let left: Vec<_> = fs::read_dir(session.directory())
        .unwrap()
        .flatten()
        .collect();
    let names: Vec<_> = left.iter().map(fs::DirEntry::file_name).collect();
    assert_eq!(names, ["session.lock"]);
    let stale = sandbox_isolation::remove_stale_cgroups();
    let ours = session
        .lab
        .base()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    assert!(
        !stale
            .iter()
            .any(|path| path.to_string_lossy().contains(&ours))
    );
}

#[test]
fn a_session_ends_with_its_directory_and_its_workspace() {
    for place in ["session", "workspace"] {
        let session = Session::new().ready();
        let keeper = session.keeper();
        fs::rename(
            session.lab.base().join(place),
            session.lab.base().join("moved"),
        )
        .unwrap();
        eventually("the keeper has ended", || !is_there(keeper));
    }
}

#[test]
fn who_says_nonsense_is_not_served_and_harms_nobody() {
    let mut session = Session::new().ready();
    // Another kind of socket is not even let in.
    assert!(UnixStream::connect(session.directory().join("session.sock")).is_err());
    for nonsense in [&b""[..], &[0], &[1], &[1, 1, 2, 3], &[2], &[9; 4000]] {
        let socket = seqpacket(&session.directory());
        (&socket).write_all(nonsense).unwrap();
    }
    let silent: Vec<_> = (0..8).map(|_| seqpacket(&session.directory())).collect();
    assert_eq!(session.joined("echo served").1, "served");
    drop(silent);
}

fn seqpacket(directory: &Path) -> fs::File {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let kind = SocketType::SEQPACKET;
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
    let address = SocketAddrUnix::new(directory.join("session.sock")).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    fs::File::from(socket)
}

const LAB: &str = "SANDBOX_TEST_SESSION_LAB";

/// The caller: does nothing unless it is started by the test below.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent test says what to do by an environment variable"
)]
fn as_caller() {
    let Ok(order) = std::env::var(LAB) else {
        return;
    };
    let (marker, base) = order.split_once(' ').unwrap();
    let script = format!("(setsid sleep {marker} &); echo x > ready; exec sleep {marker}");
    let plan = plan(Path::new(base), &format!("caller{marker}"), &script);
    let mut running = launch(&launcher(Path::new(base), LONG), plan).unwrap();
    drop(running.wait(&mut Collect::default(), &Cancellation::new()));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "starts this test program as the caller that is killed"
)]
fn nothing_survives_a_caller_that_has_joined() {
    let session = Session::new().ready();
    for turn in 0..8_u64 {
        session.await_ready();
        let marker = format!("7{turn}{}", std::process::id());
        let mut caller = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "session::ending::as_caller", "--nocapture"])
            .env(LAB, format!("{marker} {}", session.lab.base().display()))
            .spawn()
            .unwrap();
        if turn == 0 {
            eventually("the guest runs", || is_alive(&marker));
        } else {
            // Somewhere between its first instruction and the guest's.
            std::thread::park_timeout(Duration::from_millis(turn * 4));
        }
        caller.kill().unwrap();
        caller.wait().unwrap();
        eventually("the guest is dead", || !is_alive(&marker));
        eventually("its init is waited for", || {
            session.status().is_some_and(|it| it.operations == 0)
        });
    }
    // Whoever opens a sandbox next does this; here nobody does.
    eventually("the cgroups of the callers are gone", || {
        sandbox_isolation::remove_stale_cgroups().is_empty()
    });
}
