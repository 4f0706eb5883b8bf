//! What happens between the grant of a confinement and the first instruction of its operation.

use rustix::{io::Errno, process::kill_process};
use sandbox_types::{Bytes, Limit};

use super::*;

/// Longer than what was found on the host counts.
const TOO_LONG: Duration = Duration::from_millis(1200);

fn wait(time: Duration) {
    let start = Instant::now();
    eventually("time passes", || start.elapsed() > time);
}

/// Begins the transaction of the newest plan with the layers that are mounted already.
fn begin(session: &Session, prepared: &mut dyn Prepared) {
    let lock = prepared.layers_lock().expect("layers that are ready");
    let lock = fs::read_link(format!("/proc/self/fd/{}", lock.as_raw_fd())).unwrap();
    let set = session.upper().parent().unwrap().to_owned();
    fs::remove_dir_all(&set).unwrap();
    fs::rename(lock.parent().unwrap(), set).unwrap();
}

/// A secret in a granted directory, which is there when the operation starts and was not when its view was laid out.
fn secret_that_comes_late(session: &mut Session, joins: bool) {
    let granted = session.lab.base().join("granted");
    fs::create_dir_all(&granted).unwrap();
    let with = |mut plan: LaunchPlan| {
        plan.view.read = vec![granted.clone()];
        plan
    };
    let script = format!("cd {}; ls -A; cat .netrc plain", granted.display());
    let plan = with(session.plan(&script));
    let mut prepared = if joins {
        let first = with(session.plan("true"));
        finish(&mut *session.launch(first).unwrap());
        session.launcher.keep_ready();
        session.await_ready();
        let plan = with(session.plan(&script));
        session.launcher.prepare(plan).unwrap()
    } else {
        KernelLauncher::new().prepare(plan).unwrap()
    };
    if joins {
        begin(session, &mut *prepared);
    }
    // It waits for its turn.
    wait(TOO_LONG);
    fs::write(granted.join(".netrc"), "canary").unwrap();
    // The control: what is no secret is visible.
    fs::write(granted.join("plain"), "plain").unwrap();
    let mut running = prepared.launch().unwrap();
    running.started().unwrap();
    assert_eq!(finish(&mut *running).1, ".netrc\nplain\nplain");
    fs::remove_dir_all(granted).unwrap();
}

#[test]
fn a_secret_that_came_while_an_operation_waited_is_hidden() {
    let mut session = Session::new();
    secret_that_comes_late(&mut session, false);
    secret_that_comes_late(&mut session, true);
}

/// The processes that a keeper has started: the init of what waits.
fn inits_of(keeper: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{keeper}/task")).unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")));
    let children: Vec<String> = children.map(Result::unwrap).collect();
    let pids = children.iter().flat_map(|pids| pids.split_whitespace());
    pids.map(|pid| pid.parse().unwrap()).collect()
}

fn signal(pids: &[u32], signal: Signal) {
    for pid in pids {
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        // A builder ends by itself.
        assert!(matches!(
            kill_process(pid, signal),
            Ok(()) | Err(Errno::SRCH)
        ));
    }
}

#[test]
fn an_operation_whose_confinement_is_lost_starts_without_session_and_once() {
    // Limits that were asked for are set on what is lost; without a cgroup for them there is only the other case.
    for (is_sent, is_limited) in [(false, false), (false, true), (true, false)] {
        let mut session = Session::new().ready();
        let mut plan = session.plan("echo x >> made; cat made kept");
        plan.limits.memory = is_limited.then_some(Limit::requested(Bytes::mib(256)));
        plan.limits.best_effort = true;
        fs::write(session.lab.workspace().join("kept"), "kept").unwrap();
        // One of them is what the operation gets.
        let inits = inits_of(session.keeper());
        assert!(!inits.is_empty());
        let mut prepared = session.launcher.prepare(plan).unwrap();
        begin(&session, &mut *prepared);
        let mut running = if is_sent {
            // The order arrives, and nobody reads it.
            signal(&inits, Signal::STOP);
            let running = prepared.launch().unwrap();
            signal(&inits, Signal::KILL);
            running
        } else {
            signal(&inits, Signal::KILL);
            eventually("they are dead", || {
                !inits.iter().any(|init| is_there(*init))
            });
            prepared.launch().unwrap()
        };
        running.started().unwrap();
        assert!(!session.is_joined(&*running), "sent: {is_sent}");
        assert_eq!(finish(&mut *running).1, "x\nkept", "sent: {is_sent}");
        let made = fs::read_to_string(session.upper().join("made")).unwrap();
        assert_eq!(made, "x\n");
    }
}

/// The control: what has begun is never run again.
#[test]
fn an_operation_that_has_begun_is_not_started_again() {
    let mut session = Session::new().ready();
    let plan = session.plan("echo x >> made; exec sleep 1000");
    let made = session.upper().join("made");
    let mut running = session.launch(plan).unwrap();
    assert!(session.is_joined(&*running));
    let written = || fs::read_to_string(&made).is_ok_and(|text| text == "x\n");
    eventually("the guest runs", written);
    kill(running.root_pid());
    let ended = running.wait(&mut Collect::default(), &Cancellation::new());
    assert!(ended.is_err(), "{ended:?}");
    running.release().unwrap();
    assert_eq!(fs::read_to_string(made).unwrap(), "x\n");
}

#[test]
fn a_session_ends_when_another_directory_takes_the_place_of_its_workspace() {
    use rustix::fs::{CWD, RenameFlags};
    let session = Session::new().ready();
    let keeper = session.keeper();
    let other = session.lab.base().join("other");
    fs::create_dir(&other).unwrap();
    let workspace = session.lab.workspace();
    rustix::fs::renameat_with(CWD, &workspace, CWD, &other, RenameFlags::EXCHANGE).unwrap();
    assert!(workspace.exists());
    eventually("the keeper has ended", || !is_there(keeper));
}

#[test]
fn a_list_of_allowed_hosts_is_served_in_a_session_too() {
    let mut session = Session::new();
    let port = crate::egress::echo_server();
    let program = std::env::current_exe().unwrap();
    let allow = |mut plan: LaunchPlan| {
        let hosts = [format!("127.0.0.1:{port}")];
        plan.network = NetworkAccess::Allow(AllowList::parse(hosts).unwrap());
        plan.view.read.push(program.clone());
        let script = format!("get 127.0.0.1:{port}\nget 8.8.8.8:8123\nudp 9.9.9.9:123 00");
        plan.env
            .push((crate::egress::client::SCRIPT.into(), script.into()));
        plan
    };
    let first = allow(session.plan("true"));
    finish(&mut *session.launch(first).unwrap());
    session.launcher.keep_ready();
    for _ in 0..2 {
        let client = format!(
            "{} --exact egress::client::as_client --nocapture --test-threads=1",
            program.display()
        );
        let plan = allow(session.plan(&client));
        let (ended, told) = session.run_joined(plan);
        assert!(told.contains("> echo hello"), "{told}");
        let network = ended.network.expect("a report").report;
        assert_eq!(network.connections[0].port, port);
        assert_eq!(
            (
                network.connections[0].bytes_in,
                network.connections[0].bytes_out
            ),
            (10, 5)
        );
        let denied: Vec<_> = ended
            .violations
            .iter()
            .map(|it| it.detail.as_str())
            .collect();
        assert_eq!(
            denied,
            [
                "connection to 8.8.8.8:8123: the address is not in the list of allowed hosts",
                "datagram to 9.9.9.9:123: only connections leave",
            ]
        );
    }
    // Another list is another kind: what waits is not used for it.
    let mut plan = session.plan("true");
    plan.view.read.push(program);
    plan.network = NetworkAccess::Allow(AllowList::nothing());
    session.await_ready();
    let mut running = session.launch(plan).unwrap();
    assert!(!session.is_joined(&*running));
    finish(&mut *running);
}

#[test]
fn refused_calls_are_reported_in_a_session_too() {
    let mut session = Session::new().ready();
    let (ended, told) = session.joined("unshare -m true 2> /dev/null || echo refused");
    assert_eq!(told, "refused");
    let violations: Vec<_> = ended
        .violations
        .iter()
        .map(|it| it.detail.as_str())
        .collect();
    assert_eq!(violations, ["unshare: refused once"]);
}
