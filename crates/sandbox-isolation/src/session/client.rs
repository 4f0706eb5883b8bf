//! Those who use a session: they join it, start its keeper, ask how it is, end it.

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{io::Errno, process::PidfdFlags};

use super::{
    joined::{self, Grant, Order, Refusal},
    key::Key,
    place::Charge,
    sent::{self, Sent},
    turn::{InTurn, Turn, Turns},
    wire::{self, Answer, Connection, Request, SessionStatus},
};
use crate::{
    launch::{KernelLauncher, LaunchError, Launcher, Prepared, Running},
    plan::LaunchPlan,
};

/// How long a keeper may take to finish a confinement, counted from the moment when it is needed: longer than building
/// one takes on a busy machine, for who builds its own meanwhile makes that busier.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a keeper may take until it listens: another one is not started meanwhile.
const BEGIN_LIMIT: Duration = Duration::from_secs(1);
/// How long a keeper may take to say how it is, and to end when it is asked to.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How to start a keeper: this program, with arguments that make it call [`super::keep_session`].
#[derive(Clone, Debug)]
pub struct KeeperProgram {
    /// The arguments behind the program's name.
    pub arguments: Vec<OsString>,
}

/// Starts operations in the confinement that a session has ready, and as [`KernelLauncher`] where it has none.
pub struct SessionLauncher {
    directory: PathBuf,
    idle_timeout: Duration,
    program: KeeperProgram,
    patience: Duration,
    wanted: Arc<Want>,
    turns: Arc<Turns>,
    /// What the last keeper was started with, and when. It is a child of that and lives on.
    started: Mutex<Option<(Child, Instant)>>,
}

/// What the next keeper is to be for, if one is to be started.
#[derive(Default)]
struct Want(Mutex<Option<Wanted>>);

struct Wanted {
    key: Key,
    /// There is a keeper that is none for this process.
    replaces: bool,
}

impl fmt::Debug for SessionLauncher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLauncher")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl SessionLauncher {
    /// Returns a launcher for the session in `directory`, which is the caller's alone. A keeper ends when nobody
    /// has used it for `idle_timeout`.
    pub fn new(directory: PathBuf, idle_timeout: Duration, program: KeeperProgram) -> Self {
        Self {
            directory,
            idle_timeout,
            program,
            patience: PATIENCE,
            wanted: Arc::default(),
            turns: Arc::default(),
            started: Mutex::default(),
        }
    }

    /// Lets operations wait so long for a confinement that is not complete when they need it; then they start
    /// without one.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn join(&self, plan: &LaunchPlan) -> Option<Joining> {
        let key = Key::of(plan)?;
        let keeper = match Connection::to(&self.directory) {
            Ok(keeper) => keeper,
            // More wait for it than there is room for.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => {
                self.wanted.set(key, false);
                return None;
            }
        };
        let asked = Instant::now();
        if keeper.ask(Request::Join(&key.encode())).is_err() {
            // It has died just now.
            self.wanted.set(key, false);
            return None;
        }
        Some(Joining { key, keeper, asked })
    }
}

impl Want {
    fn set(&self, key: Key, replaces: bool) {
        if let Ok(mut wanted) = self.0.lock() {
            *wanted = Some(Wanted { key, replaces });
        }
    }

    fn take(&self) -> Option<Wanted> {
        self.0.lock().ok()?.take()
    }

    fn is_there(&self) -> bool {
        self.0.lock().is_ok_and(|wanted| wanted.is_some())
    }
}

/// A request that a keeper has not answered yet.
struct Joining {
    key: Key,
    keeper: Connection,
    asked: Instant,
}

impl Launcher for SessionLauncher {
    fn prepare(&self, plan: LaunchPlan) -> Result<Box<dyn Prepared>, LaunchError> {
        let turn = self.turns.take();
        match self.join(&plan) {
            None => Ok(Box::new(InTurn {
                prepared: KernelLauncher::new().prepare(plan)?,
                turn,
            })),
            Some(joining) => Ok(Box::new(Awaiting {
                _turn: turn,
                wanted: Arc::clone(&self.wanted),
                patience: self.patience,
                order: Order::of(&plan)?,
                plan,
                answer: Outcome::Awaited(joining),
            })),
        }
    }

    fn keep_ready(&self) {
        if let Some(wanted) = self.wanted.take() {
            // Without a session the next operation takes a little longer, that is all.
            self.start_keeper(&wanted).ok();
        }
    }

    fn wants_to_be_kept_ready(&self) -> bool {
        self.wanted.is_there()
    }
}

impl Drop for SessionLauncher {
    fn drop(&mut self) {
        self.wait_for_parent();
    }
}

/// An operation that waits for its clearance, and for what it runs in.
struct Awaiting {
    _turn: Turn,
    wanted: Arc<Want>,
    patience: Duration,
    plan: LaunchPlan,
    order: Order,
    answer: Outcome,
}

/// What became of a request.
enum Outcome {
    Awaited(Joining),
    Granted(Grant),
    Refused,
}

impl fmt::Debug for Awaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaiting").finish_non_exhaustive()
    }
}

impl Awaiting {
    /// Waits for the keeper's answer, if it is not there.
    fn hear(&mut self) {
        self.answer = match std::mem::replace(&mut self.answer, Outcome::Refused) {
            Outcome::Awaited(joining) => self.ask(joining),
            heard @ (Outcome::Granted(_) | Outcome::Refused) => heard,
        };
    }

    fn ask(&self, joining: Joining) -> Outcome {
        match joined::await_grant(joining.keeper, self.patience, joining.asked) {
            Ok(grant) => return Outcome::Granted(grant),
            Err(Refusal::Busy) => {}
            Err(refusal) => self.wanted.set(joining.key, refusal == Refusal::Foreign),
        }
        Outcome::Refused
    }
}

impl Prepared for Awaiting {
    fn layers_lock(&mut self) -> Option<OwnedFd> {
        self.hear();
        match &self.answer {
            Outcome::Granted(grant) => grant.layers_lock(),
            Outcome::Awaited(_) | Outcome::Refused => None,
        }
    }

    fn launch(mut self: Box<Self>) -> Result<Box<dyn Running>, LaunchError> {
        self.hear();
        let Self {
            plan,
            order,
            answer,
            ..
        } = *self;
        match answer {
            Outcome::Granted(grant) if grant.has_layers_of(&plan) => {
                if !grant.is_fresh() {
                    // It has the layers, and the order's cgroups the name that the next ones will have.
                    drop((grant, order));
                } else if let Some(sent) = order.send(&plan, grant)? {
                    return Ok(Box::new(Sent::new(plan, sent)));
                }
                return Ok(Box::new(sent::start_alone(plan)?));
            }
            Outcome::Granted(_) | Outcome::Awaited(_) | Outcome::Refused => drop(order),
        }
        KernelLauncher::new().prepare(plan)?.launch()
    }
}

impl SessionLauncher {
    fn start_keeper(&self, wanted: &Wanted) -> io::Result<()> {
        // One that listened and was killed has left its socket.
        let has_listened = self.directory.join(wire::SOCKET_FILE).exists();
        let is_on_its_way =
            |(_, at): &(Child, Instant)| !has_listened && at.elapsed() < BEGIN_LIMIT;
        let started = self.started.lock();
        let mut started = started.unwrap_or_else(PoisonError::into_inner);
        if !wanted.replaces && started.as_ref().is_some_and(is_on_its_way) {
            return Ok(());
        }
        let charge = Charge {
            directory: self.directory.clone(),
            idle_timeout: self.idle_timeout,
            replaces: wanted.replaces,
            key: wanted.key.clone(),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this very program, which keeps confinements"
        )]
        let mut command = std::process::Command::new("/proc/self/exe");
        command
            .arg0(KEEPER_NAME)
            .args(&self.program.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut keeper = command.spawn()?;
        let told = match keeper.stdin.take() {
            Some(mut stdin) => stdin.write_all(&charge.encode()),
            None => Ok(()),
        };
        if let Some((mut last, _)) = started.replace((keeper, Instant::now())) {
            last.wait()?;
        }
        told
    }

    /// Waits for what the last keeper was started with, which ends at once: in a program that lives long, nobody else
    /// does.
    fn wait_for_parent(&self) {
        let started = self.started.lock();
        let parent = started.unwrap_or_else(PoisonError::into_inner).take();
        if let Some((mut parent, _)) = parent {
            parent.wait().ok();
        }
    }
}

/// What `ps` shows.
const KEEPER_NAME: &str = "sandbox-keeper";

/// Returns how the session in `directory` is, `None` if there is none.
///
/// # Errors
///
/// Fails if there is a keeper and it does not answer.
pub fn session_status(directory: &Path) -> io::Result<Option<SessionStatus>> {
    let Some(keeper) = connect(directory)? else {
        return Ok(None);
    };
    if keeper.ask(Request::Status).is_err() {
        return Ok(None);
    }
    match keeper.await_answer(Some(Instant::now() + END_LIMIT)) {
        Some((Answer::Status(status), _)) => Ok(Some(status)),
        // It is ending.
        Some(_) | None => Ok(None),
    }
}

/// Ends the session in `directory` and waits until nothing is left of it; `false` if there is none. Operations that
/// run in it are not ended: its keeper stays until they have.
///
/// # Errors
///
/// Fails if the keeper does not end.
pub fn end_session(directory: &Path) -> io::Result<bool> {
    let Some(keeper) = connect(directory)? else {
        return Ok(false);
    };
    let gone = |result: Result<_, Errno>| match result {
        Err(Errno::SRCH) => Ok(None),
        other => other.map(Some),
    };
    let handle = rustix::process::pidfd_open(keeper.peer()?, PidfdFlags::empty());
    let Some(handle) = gone(handle)? else {
        return Ok(false);
    };
    if keeper.ask(Request::End).is_err() {
        // It is ending.
    }
    let deadline = Instant::now() + END_LIMIT;
    // It closes the conversation when no operation is in it any more, or says how many are.
    match keeper.await_answer(Some(deadline)) {
        Some((Answer::Status(status), _)) if status.operations > 0 => return Ok(true),
        Some(_) | None => {}
    }
    if wire::is_readable_until(std::os::fd::AsFd::as_fd(&handle), Some(deadline)) {
        return Ok(true);
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the session's keeper is still there after {END_LIMIT:?}"),
    ))
}

fn connect(directory: &Path) -> io::Result<Option<Connection>> {
    match Connection::to(directory) {
        Ok(keeper) => Ok(Some(keeper)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
