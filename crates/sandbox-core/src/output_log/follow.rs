//! Follows a log until nobody writes it any more.

use std::time::Duration;

use tokio::time::sleep;

use super::{OutputError, OutputLog, OutputPiece};

/// How often to look for more.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What an operation prints, as it comes.
#[derive(Debug)]
pub struct FollowedOutput {
    log: OutputLog,
    /// Whether nobody wrote when it was last looked: what is read from then on is the rest.
    is_rest: bool,
}

impl FollowedOutput {
    pub(super) fn new(log: OutputLog) -> Self {
        Self {
            log,
            is_rest: false,
        }
    }

    /// Waits for what is printed next; `None` once the operation has ended. Nothing is lost when the future is
    /// dropped.
    ///
    /// # Errors
    ///
    /// As [`OutputLog::next_piece`].
    pub async fn next(&mut self) -> Result<Option<OutputPiece>, OutputError> {
        loop {
            if let Some(piece) = self.log.next_piece()? {
                return Ok(Some(piece));
            }
            if self.is_rest {
                return Ok(None);
            }
            if self.log.is_live() {
                sleep(LOOK_AGAIN).await;
            } else {
                self.is_rest = true;
            }
        }
    }
}
