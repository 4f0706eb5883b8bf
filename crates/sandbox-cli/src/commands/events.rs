//! `sandbox events`: what happened in the sandbox, and what happens.

use std::thread;

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};
use sandbox_core::{ApprovalEvent, EventKind, ReadError, SandboxCore, SandboxEvent};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    args::EventsArgs,
    commands::{describe, waiting},
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Reader, Tone, Ui, inline, one_line},
};

/// The widest text of an event that is shown to a person.
const TEXT_WIDTH: usize = 120;

pub(crate) fn run(settings: &Settings, args: &EventsArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    if args.follow {
        return follow(settings.ui, &core, args);
    }
    for event in core.past_events(args.since.unwrap_or(0))? {
        if show(settings.ui, args, &event?)? == Reader::Gone {
            break;
        }
    }
    Ok(exit_codes::DONE)
}

fn follow(ui: Ui, core: &SandboxCore, args: &EventsArgs) -> Result<u8, Failure> {
    let mut events = core.events(args.since)?;
    follow_with(async || events.next().await, |event| show(ui, args, event))
}

/// Shows events as they come, until Ctrl-C, or until nobody reads.
pub(crate) fn follow_with(
    mut next: impl AsyncFnMut() -> Option<Result<SandboxEvent, ReadError>>,
    mut show: impl FnMut(&SandboxEvent) -> Result<Reader, Failure>,
) -> Result<u8, Failure> {
    waiting::runtime_with_signals()?.block_on(async {
        let mut ended = std::pin::pin!(interrupted()?);
        let mut reader_gone = std::pin::pin!(reader_gone());
        loop {
            tokio::select! {
                biased;
                () = &mut ended => return Ok(exit_codes::DONE),
                () = &mut reader_gone => return Ok(exit_codes::DONE),
                event = next() => match event {
                    None => return Ok(exit_codes::DONE),
                    Some(event) => {
                        if show(&event?)? == Reader::Gone {
                            return Ok(exit_codes::DONE);
                        }
                    }
                }
            }
        }
    })
}

/// Tells when somebody ends what only looks on, by Ctrl-C or SIGTERM: that is how it ends.
pub(crate) fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Failure::of(Kind::Sandbox, &error).while_doing("cannot listen for signals")
        })
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Tells when nobody reads our standard output any more, also while there is nothing to write.
pub(crate) async fn reader_gone() {
    let (sender, gone) = oneshot::channel();
    // It lives as long as the program, and sleeps.
    let _without_it_the_next_event_tells = thread::Builder::new().spawn(move || {
        let stdout = std::io::stdout();
        // Asked for nothing, the kernel still tells of errors: the other end was closed.
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        if retry_on_intr(|| poll(&mut fds, None)).is_ok() {
            let _program_ends = sender.send(());
        }
    });
    if gone.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Prints an event on a line of JSON.
pub(crate) fn print_as_json(event: &SandboxEvent) -> Result<Reader, Failure> {
    ui::print_json_line(event)
}

fn show(ui: Ui, args: &EventsArgs, event: &SandboxEvent) -> Result<Reader, Failure> {
    let kind = event.kind.name();
    if !args.kind.is_empty() && !args.kind.iter().any(|glob| glob.is_match(kind)) {
        return Ok(Reader::There);
    }
    if ui.is_json() {
        return print_as_json(event);
    }
    ui::print(&format!(
        "{:>5}  {}  {}  {}\n",
        event.sequence,
        ui.tone(Tone::Faint, &describe::time(&event.at)),
        ui.tone(Tone::Strong, &format!("{:<20}", one_line(kind, 40))),
        one_line(&text(&event.kind), TEXT_WIDTH),
    ))
}

/// Returns what a person wants to know of an event; of kinds without words of their own, all.
fn text(kind: &EventKind) -> String {
    match kind {
        EventKind::OperationStarted(it) => {
            let id = describe::short(&it.operation.id);
            format!("{id}  {}", it.operation.argv.join(" "))
        }
        EventKind::OperationFinished(it) => {
            let changes = describe::counts(&it.changes).unwrap_or_default();
            let id = describe::short(it.id());
            format!("{id}  {}  {changes}", describe::outcome(it))
        }
        EventKind::OperationUndone(it)
        | EventKind::OperationRedone(it)
        | EventKind::OperationDropped(it)
        | EventKind::OperationCompleted(it)
        | EventKind::ReviewCommitted(it)
        | EventKind::ReviewDiscarded(it) => {
            let note = it.note.as_deref().unwrap_or_default();
            format!("{}  {note}", describe::short(&it.operation))
        }
        EventKind::OperationKillRequested(it) => {
            let id = describe::short(&it.operation);
            let (signal, by) = (it.signal.name(), &it.by);
            format!("{id}  {signal}  by {} ({})", by.uid, by.via)
        }
        EventKind::SandboxCreated(it) | EventKind::SandboxDestroyed(it) => {
            format!("{}  {}", it.sandbox, it.workspace.display())
        }
        EventKind::SandboxSuspended(it) => {
            let frozen = describe::counted(it.operations.len() as u64, "operation");
            format!("{frozen} frozen")
        }
        EventKind::SandboxResumed(it) => format!(
            "{} resumed, {} ended, {} lost",
            describe::counted(it.operations.len() as u64, "operation"),
            it.ended.len(),
            it.lost.len()
        ),
        EventKind::ApprovalRequested(it)
        | EventKind::ApprovalGranted(it)
        | EventKind::ApprovalDenied(it)
        | EventKind::ApprovalExpired(it)
        | EventKind::ApprovalRemembered(it)
        | EventKind::ApprovalForgotten(it) => approval(it),
        EventKind::StateSet(it) | EventKind::StateDeleted(it) | EventKind::StateRolledBack(it) => {
            let secret = if it.secret { "  secret" } else { "" };
            format!("{}  version {}{secret}", it.key, it.version)
        }
        EventKind::AlertRaised(it) | EventKind::AlertResolved(it) => {
            format!(
                "{}  {}",
                describe::short(&it.operation),
                describe::alert(&it.alert)
            )
        }
        EventKind::Other { .. } | _ => kind.data().unwrap_or_default().to_string(),
    }
}

/// Says what an approval is about, and whose it is.
fn approval(event: &ApprovalEvent) -> String {
    let request = event.request.as_ref().map(describe::short_approval);
    let rule = event.rule.as_ref().map(describe::short_approval);
    let operation = event.operation_id.as_ref().map(describe::short);
    let parts = [
        ("request", request),
        ("rule", rule),
        ("operation", operation),
    ];
    let mut words: Vec<String> = parts
        .into_iter()
        .filter_map(|(what, id)| Some(format!("{what} {}", id?)))
        .collect();
    if let Some(by) = &event.by {
        let tty = by
            .tty
            .as_deref()
            .map_or_else(String::new, |it| format!(" {it}"));
        words.push(format!("by {} ({}{tty})", by.uid, by.via));
        words.extend(
            by.reason
                .as_deref()
                .map(|it| format!("because: {}", inline(it))),
        );
    }
    words.join("  ")
}
