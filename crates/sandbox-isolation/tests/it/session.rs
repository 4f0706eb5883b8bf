//! Operations that start in a confinement which was built before them, by a keeper that outlives its callers.

mod ending;
mod waiting;

use std::{
    fs,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use sandbox_isolation::{
    Cancellation, Ended, KeeperProgram, KernelLauncher, LaunchError, LaunchPlan, Launcher as _,
    Prepared, ReadyLayers, Running, SessionLauncher, SessionStatus, StdinSource, WorkspaceMode,
    end_session, session_status,
};
use sandbox_types::{AllowList, ExitReason, NetworkAccess};

use crate::lab::{Collect, Lab, PATIENCE, eventually, is_alive};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A workspace with a session, which ends with it.
pub(crate) struct Session {
    lab: Lab,
    pub(crate) launcher: SessionLauncher,
    turn: u32,
    _alone: MutexGuard<'static, ()>,
}

/// What is built behind one test takes its time from the next: they come one after the other.
static ALONE: Mutex<()> = Mutex::new(());

impl Session {
    pub(crate) fn new() -> Self {
        Self::lasting(LONG)
    }

    fn lasting(idle_timeout: Duration) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = Lab::new();
        fs::create_dir(lab.base().join("session")).unwrap();
        Self {
            _alone: alone,
            launcher: launcher(&lab.base(), idle_timeout),
            lab,
            turn: 0,
        }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.lab.base().join("session")
    }

    /// Plans a shell script in a transaction of its own.
    pub(crate) fn plan(&mut self, script: &str) -> LaunchPlan {
        self.turn += 1;
        plan(&self.lab.base(), &format!("turn{}", self.turn), script)
    }

    /// Where the changes of the newest plan go.
    fn upper(&self) -> PathBuf {
        let turn = format!("layers/turn{}/upper", self.turn);
        self.lab.base().join(turn)
    }

    fn status(&self) -> Option<SessionStatus> {
        session_status(&self.directory()).unwrap()
    }

    pub(crate) fn keeper(&self) -> u32 {
        self.status().map_or(0, |status| status.pid)
    }

    /// Starts the keeper, by running something without it, and waits until it has built something.
    pub(crate) fn ready(mut self) -> Self {
        let first = self.plan("true");
        finish(&mut *self.launch(first).unwrap());
        self.launcher.keep_ready();
        self.await_ready();
        self
    }

    fn await_ready(&self) {
        eventually("a confinement is ready", || {
            self.status().is_some_and(|status| status.is_ready)
        });
    }

    /// Runs a script in the confinement that is ready.
    fn joined(&mut self, script: &str) -> (Ended, String) {
        let plan = self.plan(script);
        self.run_joined(plan)
    }

    fn run_joined(&self, mut plan: LaunchPlan) -> (Ended, String) {
        self.await_ready();
        // It waits until it was looked at.
        let (input, go_on) = rustix::pipe::pipe().unwrap();
        plan.stdin = StdinSource::Forward(Arc::new(input));
        let script = plan.argv.pop().unwrap();
        plan.argv.push("cat; eval \"$1\"".into());
        plan.argv.extend(["sh".into(), script]);
        let mut running = self.launch(plan).unwrap();
        assert!(self.is_joined(&*running), "it was started without session");
        drop(go_on);
        finish(&mut *running)
    }

    fn launch(&self, plan: LaunchPlan) -> Result<Box<dyn Running>, LaunchError> {
        launch(&self.launcher, plan)
    }

    pub(crate) fn is_joined(&self, running: &dyn Running) -> bool {
        parent_of(running.root_pid()) == Some(self.keeper())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(end_session(&self.directory()));
    }
}

fn launcher(base: &Path, idle_timeout: Duration) -> SessionLauncher {
    let arguments = ["--exact", "session::as_keeper", "--ignored", "--nocapture"];
    let program = KeeperProgram {
        arguments: arguments.map(Into::into).to_vec(),
    };
    let launcher = SessionLauncher::new(base.join("session"), idle_timeout, program);
    // However busy the machine is.
    launcher.with_patience(PATIENCE)
}

fn plan(base: &Path, set: &str, script: &str) -> LaunchPlan {
    let layers = base.join("layers").join(set);
    for layer in ["upper", "work"] {
        fs::create_dir_all(layers.join(layer)).unwrap();
    }
    let mut plan = Lab::at(base.to_owned()).plan.take().unwrap();
    plan.name = format!("{}-{set}", plan.name);
    plan.argv = ["sh", "-c", script].map(Into::into).to_vec();
    plan.workspace_mode = WorkspaceMode::Overlay {
        upper: layers.join("upper"),
        work: layers.join("work"),
    };
    plan
}

/// Starts a plan whose transaction begins in between, with the layers that are mounted already if there are any.
pub(crate) fn launch(
    launcher: &SessionLauncher,
    plan: LaunchPlan,
) -> Result<Box<dyn Running>, LaunchError> {
    let WorkspaceMode::Overlay { upper, .. } = &plan.workspace_mode else {
        panic!("these tests have transactions");
    };
    let set = upper.parent().unwrap().to_owned();
    let mut prepared = launcher.prepare(plan)?;
    if let Some(lock) = prepared.layers_lock() {
        let lock = fs::read_link(format!("/proc/self/fd/{}", lock.as_raw_fd())).unwrap();
        fs::remove_dir_all(&set).unwrap();
        fs::rename(lock.parent().unwrap(), &set).unwrap();
    }
    let mut running = prepared.launch()?;
    running.started()?;
    Ok(running)
}

/// Makes the layers of a transaction that has no name yet.
fn make_layers(_workspace: &Path, layers: &Path) -> io::Result<ReadyLayers> {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let set = layers.join(format!("ready-{}-{turn}", std::process::id()));
    let [upper, work] = ["upper", "work"].map(|name| set.join(name));
    fs::create_dir_all(&upper)?;
    fs::create_dir(&work)?;
    let lock = fs::File::create(set.join("lock"))?.into();
    Ok(ReadyLayers { upper, work, lock })
}

pub(crate) fn finish(running: &mut dyn Running) -> (Ended, String) {
    let mut collect = Collect::default();
    let ended = running.wait(&mut collect, &Cancellation::new()).unwrap();
    running.release().unwrap();
    let text = String::from_utf8_lossy(&collect.stdout)
        .trim_end()
        .to_owned();
    let errors = String::from_utf8_lossy(&collect.stderr);
    assert_eq!(errors, "", "standard error");
    (ended, text)
}

pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

pub(crate) fn children_of(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let children = tasks.flatten().map(|task| {
        let children = fs::read_to_string(task.path().join("children"));
        children.unwrap_or_default().split_whitespace().count()
    });
    children.sum()
}

pub(crate) fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A dead one that nobody has waited for is gone, for what it held.
    !stat.is_empty() && !stat.contains(") Z ")
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

/// The keeper: not a test, but what this program is started for by a [`SessionLauncher`].
#[test]
#[ignore = "started by the tests of this file"]
fn as_keeper() {
    drop(sandbox_isolation::keep_session(
        io::stdin(),
        &mut make_layers,
    ));
}

#[test]
fn a_joined_operation_is_confined_as_any_other() {
    let mut session = Session::new().ready();
    let script = "id -u; id -g; hostname; pwd; cat /proc/1/comm; set -- /proc/[0-9]*; echo $#; \
                  grep -c . /proc/self/mountinfo; cut -d' ' -f5 /proc/self/mountinfo | sort; \
                  grep -E 'Cap|Seccomp|NoNewPrivs|Groups' /proc/self/status; ls -l /proc/self/fd | wc -l; \
                  cat /proc/net/dev | wc -l; ulimit -a; umask; env | sort; ls -a / /dev";
    let (joined, told) = session.joined(script);
    let plan = session.plan(script);
    let (alone, told_alone) = finish(&mut *KernelLauncher::new().launch(plan).unwrap());
    assert_eq!(told, told_alone);
    assert_eq!(joined.exit, ExitReason::Exited(0));
    let walls = |mut ended: Ended| {
        // Built-in limits arrive late, where they do, or after the end.
        ended
            .enforcement
            .missing
            .retain(|missing| !missing.contains("limit"));
        ended.enforcement.cgroup = sandbox_types::CgroupKind::Absent;
        ended.enforcement
    };
    assert_eq!(joined.violations, alone.violations);
    assert_eq!(walls(joined), walls(alone));
}

#[test]
fn each_joined_operation_has_namespaces_of_its_own() {
    let mut session = Session::new().ready();
    let script = "for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; \
                  echo x > /tmp/left; ls /tmp /dev/shm /run";
    // Both at once: the kernel gives the number of a namespace that is gone to the next one.
    let (input, go_on) = rustix::pipe::pipe().unwrap();
    let mut plan = session.plan(&format!("{script}; cat"));
    plan.stdin = StdinSource::Forward(Arc::new(input));
    let mut running = session.launch(plan).unwrap();
    assert!(session.is_joined(&*running));
    let second = session.joined(script).1;
    drop(go_on);
    let first = finish(&mut *running).1;
    for (first, second) in first.lines().zip(second.lines()).take(7) {
        assert_ne!(first, second);
    }
    assert_eq!(first.lines().count(), second.lines().count());
}

#[test]
fn changes_go_to_the_operations_own_transaction() {
    let mut session = Session::new().ready();
    let workspace = session.lab.workspace();
    // Edited while the confinement waits.
    fs::write(workspace.join("kept"), "new").unwrap();
    let (_, told) = session.joined("cat kept; echo more > kept; echo x > made");
    assert_eq!(told, "new");
    assert_eq!(fs::read_to_string(workspace.join("kept")).unwrap(), "new");
    let made = fs::read_to_string(session.upper().join("made")).unwrap();
    assert_eq!(made, "x\n");
    let (_, told) = session.joined("cat kept; ls");
    assert_eq!(told, "newkept");
}

#[test]
fn nothing_of_the_layers_is_left_inside() {
    let mut session = Session::new().ready();
    // Where the layers waited is covered from the start, and detached beside the guest.
    let script = "left() { grep -e stage -e layers /proc/self/mountinfo | grep -v '^[0-9]* [0-9]* [0-9:]* / '; }; \
                  i=0; while [ -n \"$(left)\" ] && [ $i -lt 500 ]; do sleep 0.01; i=$((i+1)); done; left; \
                  ls -d /proc/stage /proc/host /proc/stage/etc /proc/1/cwd/etc/turn1 2>/dev/null; \
                  ls /proc/1/root/ /proc/1/fd 2>/dev/null; umount /proc 2>/dev/null && echo worked; true";
    assert_eq!(session.joined(script).1, "");
    // The control: the same files are found from where they are.
    assert!(session.lab.base().join("layers/turn1/upper").exists());
}

#[test]
fn what_changes_on_the_host_is_seen() {
    let mut session = Session::new();
    let granted = session.lab.base().join("granted");
    let directory = session.lab.base().join("tools");
    let secret = session.lab.workspace().join(".env");
    fs::write(&granted, "old").unwrap();
    fs::create_dir(&directory).unwrap();
    let with = |mut plan: LaunchPlan| {
        plan.view.read = vec![granted.clone(), directory.clone()];
        plan.view.hide = vec![secret.clone()];
        plan
    };
    let script = format!("cat {} .env; ls {}", granted.display(), directory.display());
    let first = with(session.plan("true"));
    finish(&mut *session.launch(first).unwrap());
    session.launcher.keep_ready();
    session.await_ready();
    // By renames, so that what was mounted is another file now; and a secret that was not there.
    fs::write(session.lab.base().join("next"), "new").unwrap();
    fs::rename(session.lab.base().join("next"), &granted).unwrap();
    fs::rename(&directory, session.lab.base().join("old-tools")).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("tool"), "").unwrap();
    fs::write(&secret, "canary").unwrap();
    let plan = with(session.plan(&script));
    let (_, told) = finish(&mut *session.launch(plan).unwrap());
    assert_eq!(told, "newtool");
}

#[test]
fn a_confinement_is_used_with_its_own_layers_alone() {
    let mut session = Session::new().ready();
    let other = session.plan("echo x > made; ls");
    let upper = session.upper();
    // Its transaction has begun elsewhere: nothing may go to the layers that are mounted.
    let mut prepared = session.launcher.prepare(other).unwrap();
    let lock = prepared.layers_lock().expect("layers that are ready");
    let ready = fs::read_link(format!("/proc/self/fd/{}", lock.as_raw_fd())).unwrap();
    let mut running = prepared.launch().unwrap();
    running.started().unwrap();
    assert!(!session.is_joined(&*running));
    assert_eq!(finish(&mut *running).1, "made");
    assert!(upper.join("made").exists());
    let ready = ready.with_file_name("upper");
    assert_eq!(fs::read_dir(ready).unwrap().count(), 0);
}

#[test]
fn operations_in_parallel_do_not_wait_for_each_other() {
    let mut session = Session::new().ready();
    let plans: Vec<LaunchPlan> = (0..4).map(|_| session.plan("echo ready; cat")).collect();
    let mut running: Vec<Box<dyn Running>> = plans
        .into_iter()
        .map(|plan| session.launch(plan).unwrap())
        .collect();
    for running in &mut running {
        let (ended, told) = finish(&mut **running);
        assert_eq!(
            (ended.exit, told.as_str()),
            (ExitReason::Exited(0), "ready")
        );
    }
}

#[test]
fn an_operation_of_another_kind_does_without_and_is_prepared_for() {
    let mut session = Session::new().ready();
    let other = |mut plan: LaunchPlan| {
        plan.network = NetworkAccess::Host;
        plan
    };
    let plan = other(session.plan("true"));
    let mut running = session.launch(plan).unwrap();
    assert!(!session.is_joined(&*running));
    finish(&mut *running);
    let plan = other(session.plan("cat /proc/net/dev | wc -l"));
    let (ended, _) = session.run_joined(plan);
    assert_eq!(ended.exit, ExitReason::Exited(0));
}
