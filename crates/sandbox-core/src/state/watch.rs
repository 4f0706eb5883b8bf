//! The stream of changes of the state, whoever makes them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use sandbox_state::ReadError;

use super::NAMESPACE;
use crate::{
    event::{EventKind, SandboxEvent},
    events::EventStream,
};

/// The changes of the keys with one prefix, as they happen.
///
/// It is an [`EventStream`] of which the rest is left out: no change is lost, doubled or out of order. The events say
/// which key has which version; the value is read with [`crate::SandboxCore::state_get`].
#[derive(Debug)]
pub struct StateStream {
    events: EventStream,
    prefix: String,
}

impl StateStream {
    pub(crate) fn new(events: EventStream, prefix: &str) -> Self {
        Self {
            events,
            prefix: prefix.to_owned(),
        }
    }

    /// Returns the next change; waits for it. `None` once the sandbox was destroyed, and after an error. Nothing is
    /// lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<SandboxEvent, ReadError>> {
        loop {
            match self.events.next().await? {
                Ok(event) if !is_meant(&event, &self.prefix) => {}
                event => return Some(event),
            }
        }
    }
}

impl Stream for StateStream {
    type Item = Result<SandboxEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let polled = Pin::new(&mut self.events).poll_next(context);
            let is_other =
                matches!(&polled, Poll::Ready(Some(Ok(event))) if !is_meant(event, &self.prefix));
            if !is_other {
                return polled;
            }
        }
    }
}

fn is_meant(event: &SandboxEvent, prefix: &str) -> bool {
    let (EventKind::StateSet(it) | EventKind::StateDeleted(it) | EventKind::StateRolledBack(it)) =
        &event.kind
    else {
        // Then any key may have changed.
        return matches!(event.kind, EventKind::StateRecovered(_));
    };
    it.namespace == NAMESPACE && it.key.starts_with(prefix)
}
