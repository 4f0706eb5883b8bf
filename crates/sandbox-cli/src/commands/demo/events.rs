//! What happens is told: typed, numbered, to programs and to a file.

use std::{fs, sync::Arc};

use sandbox_core::{EventHandler, EventKind, EventStream, SandboxCore, SandboxEvent};
use sandbox_types::{Operation, OperationId, SandboxConfig};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    chapters::Story,
    means::{in_time, reason},
};
use crate::failure::Failure;

/// What one operation and its undo tell.
const TOLD: [&str; 3] = [
    "operation.started",
    "operation.finished",
    "operation.undone",
];
/// The file of events, beside the workspace.
const FILE: &str = "events.jsonl";

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Tell: who wants to know hears what happens")?;
    story.narrator.command("sandbox events --follow")?;
    let heard = listen(story).await;
    let held = match &heard {
        Ok(heard) => numbered(&heard.stream),
        Err(wrong) => Err(wrong.clone()),
    };
    story
        .narrator
        .step("a stream tells it in order, numbered without a gap", held)?;
    let held = match &heard {
        Ok(heard) => typed(heard),
        Err(wrong) => Err(wrong.clone()),
    };
    story
        .narrator
        .step("a handler in a program gets each with its type", held)?;
    let held = match &heard {
        Ok(heard) => in_the_file(story, &heard.stream),
        Err(wrong) => Err(wrong.clone()),
    };
    story
        .narrator
        .step("the file `events.file` has each as a line of JSON", held)
}

/// Hands on what it hears.
struct Teller(UnboundedSender<SandboxEvent>);

impl EventHandler for Teller {
    fn handle(&self, event: &SandboxEvent) {
        // Nobody listens any more once the story is told.
        let _told = self.0.send(event.clone());
    }
}

/// What was heard of one operation and its undo.
struct Heard {
    id: OperationId,
    stream: Vec<SandboxEvent>,
    handler: Vec<SandboxEvent>,
}

async fn listen(story: &Story<'_>) -> Result<Heard, String> {
    let mut settings = SandboxConfig::default();
    settings.events.file = Some(story.scratch.root().join(FILE));
    let core = story.open_with(settings)?;
    let mut stream = core.events(None).map_err(|error| reason(&error))?;
    let (teller, mut told) = unbounded_channel();
    core.add_event_handler(Arc::new(Teller(teller)));
    let id = run_and_undo(&core).await?;
    Ok(Heard {
        id,
        stream: in_time("the stream", streamed(&mut stream)).await??,
        handler: in_time("the handler", handled(&mut told)).await?,
    })
}

async fn run_and_undo(core: &SandboxCore) -> Result<OperationId, String> {
    let operation = Operation::shell("echo heard > heard.txt");
    let report = core.execute(operation).await;
    let id = report.map_err(|error| reason(&error))?.id().clone();
    core.undo(&id).await.map_err(|error| reason(&error))?;
    Ok(id)
}

async fn streamed(stream: &mut EventStream) -> Result<Vec<SandboxEvent>, String> {
    let mut events = Vec::new();
    while events.len() < TOLD.len() {
        let event = stream.next().await.ok_or("the stream has ended")?;
        events.push(event.map_err(|error| reason(&error))?);
    }
    Ok(events)
}

async fn handled(told: &mut UnboundedReceiver<SandboxEvent>) -> Vec<SandboxEvent> {
    let mut events = Vec::new();
    while events.len() < TOLD.len() {
        let Some(event) = told.recv().await else {
            break;
        };
        events.push(event);
    }
    events
}

fn lines(events: &[SandboxEvent]) -> Vec<String> {
    let line = |event: &SandboxEvent| format!("{} {}", event.sequence, event.kind.name());
    events.iter().map(line).collect()
}

fn numbered(events: &[SandboxEvent]) -> Result<String, String> {
    let told = lines(events).join(", ");
    let in_order = events.iter().map(|it| it.kind.name()).eq(TOLD);
    let no_gap = events
        .windows(2)
        .all(|it| it[0].sequence + 1 == it[1].sequence);
    if in_order && no_gap {
        Ok(told)
    } else {
        Err(told)
    }
}

fn typed(heard: &Heard) -> Result<String, String> {
    let [first, second, third] = heard.handler.as_slice() else {
        return Err(format!("it heard {}", lines(&heard.handler).join(", ")));
    };
    match (&first.kind, &second.kind, &third.kind) {
        (
            EventKind::OperationStarted(started),
            EventKind::OperationFinished(report),
            EventKind::OperationUndone(undone),
        ) if started.operation.id == heard.id
            && report.id() == &heard.id
            && undone.operation == heard.id =>
        {
            Ok(format!("{} created {}", heard.id, report.changes.created))
        }
        _ => Err(format!("it heard {}", lines(&heard.handler).join(", "))),
    }
}

fn in_the_file(story: &Story<'_>, events: &[SandboxEvent]) -> Result<String, String> {
    let path = story.scratch.root().join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let written: Result<Vec<SandboxEvent>, _> = text.lines().map(serde_json::from_str).collect();
    let written = written.map_err(|error| error.to_string())?;
    if lines(&written) == lines(events) {
        Ok(format!("{} lines", written.len()))
    } else {
        Err(format!("it has {}", lines(&written).join(", ")))
    }
}
