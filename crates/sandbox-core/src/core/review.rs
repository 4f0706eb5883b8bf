//! Settling held changes, and the way back and forth.

use std::sync::Arc;

use sandbox_rollback::Direction;
use sandbox_types::OperationId;

use crate::{
    core::{SandboxCore, in_background},
    home::now,
    review::{HeldSelection, ReviewError, ReviewOutcome, UndoOptions, UndoOutcome},
};

impl SandboxCore {
    /// Puts the changes of a held operation into the workspace; `None` is the newest one.
    ///
    /// # Errors
    ///
    /// Fails when nothing is held under that name, the workspace was changed on the same paths, or
    /// the changes cannot be moved.
    pub async fn commit(&self, id: Option<&str>) -> Result<ReviewOutcome, ReviewError> {
        let id = id.map(str::to_owned);
        let paths = Vec::new();
        self.commit_part(HeldSelection { id, paths }).await
    }

    /// Puts selected changes of a held operation into the workspace; the others wait on.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::commit`], and when nothing is selected, or only a part of what moves as a
    /// whole.
    pub async fn commit_part(
        &self,
        selection: HeldSelection,
    ) -> Result<ReviewOutcome, ReviewError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.commit(&selection, now())).await
    }

    /// Drops the changes of a held operation; `None` is the newest one.
    ///
    /// # Errors
    ///
    /// Fails when nothing is held under that name or the changes cannot be removed.
    pub async fn discard(&self, id: Option<&str>) -> Result<ReviewOutcome, ReviewError> {
        let id = id.map(str::to_owned);
        let paths = Vec::new();
        self.discard_part(HeldSelection { id, paths }).await
    }

    /// Drops selected changes of a held operation; the others wait on.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::discard`], and when nothing is selected, or only a part of what moves as a
    /// whole.
    pub async fn discard_part(
        &self,
        selection: HeldSelection,
    ) -> Result<ReviewOutcome, ReviewError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.discard(&selection, now())).await
    }

    /// Puts back what an operation changed.
    ///
    /// # Errors
    ///
    /// Fails when there is nothing to undo under that name, or a path was edited meanwhile.
    pub async fn undo(&self, id: &OperationId) -> Result<UndoOutcome, ReviewError> {
        let options = UndoOptions {
            id: Some(id.to_string()),
            ..UndoOptions::default()
        };
        self.undo_with(options).await
    }

    /// Puts back what an operation changed, or what is selected of it, as the options say.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::undo`].
    pub async fn undo_with(&self, options: UndoOptions) -> Result<UndoOutcome, ReviewError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.go(Direction::Undo, &options, now())).await
    }

    /// Takes the undo of an operation back, as the options say; without a name, the last undo.
    ///
    /// # Errors
    ///
    /// Fails when there is no undo to take back under that name, or a path was edited since.
    pub async fn redo_with(&self, options: UndoOptions) -> Result<UndoOutcome, ReviewError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.go(Direction::Redo, &options, now())).await
    }
}
