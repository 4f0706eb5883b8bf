//! `run --detach`: a process of our own carries the operation out, in a session of its own, and tells us when it runs.
//!
//! ```text
//! sandbox run --detach ──spawns──> sandbox supervise ──> the pipeline of `run`
//!                    └──socket (its standard output)──┘  one request down, one answer up
//! ```

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    net::Shutdown,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sandbox_core::{
    Answer, Caller, Cancellation, Event, KeepsOutput, Overrides, SandboxCore, Who,
    keep_descriptors_from_programs,
};
use sandbox_types::{Operation, OperationId, OperationReport, SandboxName, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Ended, ended,
    report_file::ReportFile,
    terminal::{Approval, who},
};
use crate::{
    commands::describe,
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Ui},
};

/// What the supervisor is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) sandbox: SandboxName,
    pub(super) config: Option<PathBuf>,
    pub(super) report: Option<PathBuf>,
    pub(super) operation: Operation,
    pub(super) approval: Approval,
}

/// What goes down the socket.
#[derive(Serialize, Deserialize)]
struct Sent {
    request: Request,
    who: Who,
}

/// What comes up.
#[derive(Serialize, Deserialize)]
enum Told {
    /// The command runs.
    Runs { pid: u32 },
    /// It does not: it was refused, or could not be executed.
    Ended {
        report: Box<OperationReport>,
        failure: Option<Failure>,
    },
    /// The supervisor could not begin.
    Failed(Failure),
}

/// What became of a detached operation.
pub(super) enum Detached {
    Runs,
    Ended(Box<Ended>),
}

/// Starts the supervisor, and waits until the command runs or will not.
pub(super) fn start(ui: Ui, request: Request) -> Result<Detached, Failure> {
    if !io::stdin().is_terminal() && may_have_input() && request.operation.stdin.is_none() {
        ui.note("sandbox: a detached command reads nothing; \"stdin\" in an operation document gives it text");
    }
    let (id, sandbox) = (request.operation.id.clone(), request.sandbox.clone());
    let sent = Sent {
        request,
        who: who(),
    };
    let failed = |error: &dyn std::error::Error| {
        Failure::of(Kind::Sandbox, error).while_doing("cannot start the operation's supervisor")
    };
    let text = serde_json::to_vec(&sent).map_err(|error| failed(&error))?;
    let answer = spawn()
        .and_then(|mut socket| {
            socket.write_all(&text)?;
            socket.shutdown(Shutdown::Write)?;
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer)?;
            Ok(answer)
        })
        .map_err(|error| failed(&error))?;
    match serde_json::from_slice(&answer) {
        Ok(Told::Runs { pid }) => {
            let printed = if ui.is_json() {
                ui::print_json(&json!({ "operation": id, "sandbox": sandbox, "pid": pid }))
            } else {
                ui::print(&format!("{id}\n"))
            };
            printed.map_err(|failure| untold(failure, &id))?;
            if !ui.is_json() {
                let short = describe::short(&id);
                ui.note(&format!(
                    "sandbox: runs on   output: sandbox logs -f {short}   end: sandbox wait {short}   stop: sandbox kill {short}"
                ));
            }
            Ok(Detached::Runs)
        }
        Ok(Told::Ended { report, failure }) => Ok(Detached::Ended(Box::new(Ended {
            report: *report,
            by: None,
            failure,
            mute: false,
        }))),
        Ok(Told::Failed(failure)) => Err(failure),
        Err(_) => Err(Failure::new(
            Kind::Sandbox,
            "the operation's supervisor was killed before the command ran",
        )),
    }
}

/// Says on the other stream what runs on: it is no failure of the operation, and no success of ours.
fn untold(mut failure: Failure, id: &OperationId) -> Failure {
    failure.kind = Kind::Refused;
    failure
        .while_doing(format!(
            "the operation {id} runs on, and its id could not be printed"
        ))
        .hint(format!(
            "`sandbox kill {id}` ends it, `sandbox wait {id}` waits for its end"
        ))
}

/// Whether somebody may have meant our standard input for the command.
fn may_have_input() -> bool {
    let stdin = io::stdin();
    rustix::fs::fstat(stdin.as_fd()).is_ok_and(|status| {
        let kind = rustix::fs::FileType::from_raw_mode(status.st_mode);
        kind.is_fifo() || (kind.is_file() && status.st_size > 0)
    })
}

/// Starts this program once more, with nothing of ours but the environment and one end of a socket.
fn spawn() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    // What we were given (a lock, a pipe of the shell) would stay open as long as the operation runs.
    keep_descriptors_from_programs()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "not a guest: this program, which starts the guest as `run` does"
    )]
    Command::new("/proc/self/exe")
        .arg0("sandbox")
        .arg("supervise")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::null())
        .spawn()?;
    Ok(ours)
}

/// `sandbox supervise`: carries one operation out, for a `sandbox run --detach` that may be gone soon.
pub(crate) fn supervise(settings: &Settings) -> Result<u8, Failure> {
    let mut socket = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
        .map_err(|error| Failure::of(Kind::Internal, &error))?;
    let Some(sent) = receive(&mut socket) else {
        return Err(Failure::new(
            Kind::Usage,
            "`sandbox supervise` is started by `sandbox run --detach`",
        )
        .hint("type `sandbox run --detach -- CMD`"));
    };
    // No terminal reaches it from now on: neither a Ctrl-C nor the end of the session.
    let _fails_only_for_a_leader = rustix::process::setsid();
    let told =
        carry_out(settings, sent, &socket).unwrap_or_else(|failure| Some(Told::Failed(failure)));
    if let Some(told) = told {
        tell(&socket, &told);
    }
    Ok(exit_codes::DONE)
}

fn receive(socket: &mut UnixStream) -> Option<Sent> {
    // Anything but a socket answers with an error.
    socket.peer_addr().ok()?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Returns what is still to be told.
fn carry_out(
    settings: &Settings,
    Sent { request, who }: Sent,
    socket: &UnixStream,
) -> Result<Option<Told>, Failure> {
    let home = settings.home()?;
    let record = home.find(&request.sandbox)?;
    let overrides = Overrides {
        file: request.config,
        ..Overrides::default()
    };
    let core: SandboxCore = settings.open_record(&home, record, &overrides)?;
    if !request.operation.secrets.is_empty() {
        sandbox_core::without_core_dumps();
    }
    let cancel = super::cancellation()?;
    let keeper = core.keep_output(&request.operation.id)?;
    let runs = Arc::new(AtomicBool::new(false));
    let socket = socket
        .try_clone()
        .map_err(|error| Failure::of(Kind::Sandbox, &error))?;
    let caller = Supervisor {
        approval: request.approval,
        who,
        socket: Some(socket),
        started: false,
        runs: Arc::clone(&runs),
        cancel: cancel.clone(),
    };
    let mut caller = KeepsOutput::new(caller, keeper);
    let ran = core.execute_here(&request.operation, &mut caller, &cancel);
    drop(caller);
    let Ended {
        report, failure, ..
    } = ended(&request.operation, ran, None);
    if !runs.load(Ordering::Relaxed) {
        return Ok(Some(Told::Ended {
            report: Box::new(report),
            failure,
        }));
    }
    if let Some(path) = request.report {
        // Nobody can be told if it fails; `sandbox show` has the report.
        let _written = ReportFile::open(&home, &path).and_then(|file| file.write(&report));
    }
    Ok(None)
}

/// Tells the CLI, and closes the socket. Returns whether somebody was there.
fn tell(socket: &UnixStream, told: &Told) -> bool {
    let Ok(text) = serde_json::to_vec(told) else {
        return false;
    };
    let mut writer = socket;
    let written = writer.write_all(&text);
    let closed = socket.shutdown(Shutdown::Both);
    written.is_ok() && closed.is_ok()
}

/// The caller of a detached operation.
struct Supervisor {
    approval: Approval,
    who: Who,
    /// Until it is known whether the command runs.
    socket: Option<UnixStream>,
    started: bool,
    runs: Arc<AtomicBool>,
    cancel: Cancellation,
}

impl Caller for Supervisor {
    fn approve(&mut self, _: &Verdict) -> Answer {
        self.approval.answer()
    }

    fn who(&self) -> Who {
        self.who.clone()
    }

    fn takes_output(&mut self) -> bool {
        // Asked as soon as the program runs, and not of one that cannot be executed.
        if let (true, Some(socket)) = (self.started, self.socket.take()) {
            self.runs.store(true, Ordering::Relaxed);
            let pid = std::process::id();
            if !tell(&socket, &Told::Runs { pid }) {
                // Ended by Ctrl-C before it could say the id: so nobody wants the command.
                self.cancel.cancel();
            }
        }
        true
    }

    fn hear(&mut self, event: Event<'_>) {
        self.started |= matches!(event, Event::Started(_));
    }
}
