//! An operation that runs: its output and its progress as they come, its report at the end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use sandbox_isolation::Cancellation;
use sandbox_types::{
    Operation, OperationId, OperationReport, Settlement, Stream as Output, Verdict,
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel, error::TrySendError},
    task::{JoinHandle, spawn},
};

use crate::{
    caller::{Caller, Event},
    core::{CancelOnDrop, SandboxCore, resume},
    run::RunError,
};

/// Pieces of output that wait for who reads them, each of at most 64 KiB. With so many waiting, the
/// guest's pipes are read no further, and the guest waits when they are full.
const WAITING_MAX: usize = 64;
/// Room for what is taken from the pipes before that is looked at again, and for what else is told.
const ROOM: usize = 64;

/// What a running operation tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// The judge has spoken.
    Judged(Box<Verdict>),
    /// The guest was started.
    Started,
    /// The guest has printed something.
    Output {
        /// Where.
        stream: Output,
        /// What. It may be cut anywhere, also inside of a character.
        bytes: Vec<u8>,
    },
    /// The changes were settled.
    Settled(Settlement),
}

/// An operation that was started with [`SandboxCore::start`].
///
/// It is a stream of what the operation tells. Its end is settled and recorded whatever becomes of
/// this value: dropping it ends the operation.
#[derive(Debug)]
pub struct RunningOperation {
    id: OperationId,
    progress: Receiver<Progress>,
    ended: JoinHandle<Result<OperationReport, RunError>>,
    cancel: CancelOnDrop,
}

impl SandboxCore {
    /// Starts an operation, and returns while it runs. Must be called in a runtime of tokio.
    pub fn start(&self, operation: Operation) -> RunningOperation {
        let (sender, progress) = channel(WAITING_MAX + ROOM);
        let (id, core, cancel) = (operation.id.clone(), self.clone(), Cancellation::new());
        let token = cancel.clone();
        let ended = spawn(async move {
            // The runtime may be shut down in the middle.
            let _guard = CancelOnDrop(token.clone());
            core.execute_until(operation, Teller(sender), token).await
        });
        RunningOperation {
            id,
            progress,
            ended,
            cancel: CancelOnDrop(cancel),
        }
    }
}

impl RunningOperation {
    /// Returns its name.
    pub fn id(&self) -> &OperationId {
        &self.id
    }

    /// Returns what ends it: clones may be given to others.
    pub fn cancellation(&self) -> Cancellation {
        self.cancel.0.clone()
    }

    /// Ends it. It is settled and recorded as cancelled; wait for that with
    /// [`RunningOperation::report`].
    pub fn cancel(&self) {
        self.cancel.0.cancel();
    }

    /// Returns what it tells next; `None` once it has ended. Nothing is lost when the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Progress> {
        self.progress.recv().await
    }

    /// Waits for the end. What was not read of the output is not waited for: the beginning of it is
    /// in the report. Dropping the future ends the operation.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::execute`].
    pub async fn report(self) -> Result<OperationReport, RunError> {
        // Before the wait: what nobody reads must not hold the guest up.
        drop(self.progress);
        self.ended.await.unwrap_or_else(resume)
    }
}

impl Stream for RunningOperation {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Progress>> {
        self.progress.poll_recv(context)
    }
}

/// The caller that tells everything to a [`RunningOperation`].
struct Teller(Sender<Progress>);

impl Teller {
    fn tell(&self, progress: Progress) {
        match self.0.try_send(progress) {
            // Nobody listens any more.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            // Only where one round of the pump brings more than there is room for: then it waits.
            Err(TrySendError::Full(progress)) => {
                let _nobody_listens = self.0.blocking_send(progress);
            }
        }
    }
}

impl Caller for Teller {
    fn output(&mut self, stream: Output, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.tell(Progress::Output { stream, bytes });
    }

    fn takes_output(&mut self) -> bool {
        self.0.capacity() > ROOM || self.0.is_closed()
    }

    fn hear(&mut self, event: Event<'_>) {
        self.tell(match event {
            Event::Judged(verdict) => Progress::Judged(Box::new(verdict.clone())),
            Event::Started(_) => Progress::Started,
            Event::Settled(settlement) => Progress::Settled(settlement),
        });
    }
}
