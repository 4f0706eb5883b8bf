//! Sessions that are used by many operations at the same time.

use std::{fs, sync::Arc, thread};

use rustix::process::Pid;
use sandbox_isolation::{LaunchPlan, StdinSource, end_session};
use sandbox_types::{ExitReason, NetworkAccess};

use crate::{
    lab::eventually,
    session::{Session, children_of, finish, is_there, launch, parent_of},
};

/// How many confinements a keeper holds at most.
const SPARES_MAX: usize = 8;

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Starts all plans at the same time; returns how many of them a keeper had built.
fn carry_out(session: &Session, plans: Vec<LaunchPlan>) -> usize {
    thread::scope(|scope| {
        let started: Vec<_> = plans
            .into_iter()
            .map(|mut plan| {
                scope.spawn(move || {
                    // It waits until it was looked at.
                    let (input, go_on) = rustix::pipe::pipe().unwrap();
                    plan.stdin = StdinSource::Forward(Arc::new(input));
                    let mut running = launch(&session.launcher, plan).unwrap();
                    let joined = session.is_joined(&*running);
                    drop(go_on);
                    let (ended, told) = finish(&mut *running);
                    assert_eq!((ended.exit, told.as_str()), (ExitReason::Exited(0), "x"));
                    usize::from(joined)
                })
            })
            .collect();
        started.into_iter().map(|it| it.join().unwrap()).sum()
    })
}

#[test]
fn operations_at_the_same_time_wait_for_the_keeper_and_leave_nothing() {
    let mut session = Session::new().ready();
    let keeper = session.keeper();
    let mut round = |count| {
        let plans = (0..count).map(|_| session.plan("cat; echo x")).collect();
        carry_out(&session, plans)
    };
    // More than it ever holds ready: who finds none waits for the next one. Who waits too long on a busy machine does not.
    for _ in 0..2 {
        let joined = round(24);
        assert!(joined > SPARES_MAX, "{joined} of 24");
    }
    eventually("only what waits is left", || {
        children_of(keeper) <= SPARES_MAX && open_files(keeper) <= 16 + 5 * SPARES_MAX
    });
    eventually("what nobody uses any more is taken down", || {
        children_of(keeper) == 1
    });
    assert!(end_session(&session.directory()).unwrap());
    eventually("the keeper has ended", || !is_there(keeper));
}

/// Who waits for a keeper that takes another kind meanwhile gets none of that kind.
#[test]
fn what_others_ask_for_is_nobody_elses() {
    let mut session = Session::new().ready();
    let outside = fs::read_link("/proc/self/ns/net").unwrap();
    let plans: Vec<_> = (0..32)
        .map(|number| {
            let mut plan = session.plan("readlink /proc/self/ns/net");
            if number % 2 == 0 {
                plan.network = NetworkAccess::Host;
            }
            plan
        })
        .collect();
    thread::scope(|scope| {
        for plan in plans {
            let (session, outside) = (&session, &outside);
            scope.spawn(move || {
                let is_host = plan.network == NetworkAccess::Host;
                let mut running = launch(&session.launcher, plan).unwrap();
                let (ended, told) = finish(&mut *running);
                assert_eq!(ended.exit, ExitReason::Exited(0));
                assert_eq!(told.trim() == outside.to_str().unwrap(), is_host, "{told}");
            });
        }
    });
}

#[test]
fn a_keeper_is_not_left_to_the_program_that_started_it() {
    let session = Session::new().ready();
    let keeper = session.keeper();
    assert_ne!(parent_of(keeper), Some(std::process::id()));
    assert!(end_session(&session.directory()).unwrap());
    eventually("the keeper has ended", || !is_there(keeper));
    let pid = Pid::from_raw(keeper.cast_signed()).unwrap();
    let waited = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
    assert_eq!(
        waited.err(),
        Some(rustix::io::Errno::CHILD),
        "not our child"
    );
}
