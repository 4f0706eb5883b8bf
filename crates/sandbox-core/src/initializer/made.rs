//! What the steps of making a sandbox have made, to be taken back if a later one fails.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{CreateError, step};
use crate::{layout::IGNORE_FILE, private};

/// What was made so far.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Directories that are empty.
    pub(super) directories: Vec<PathBuf>,
    /// What keeps transactions in the workspace out of git.
    ignore: Option<PathBuf>,
    /// The directory of the sandbox.
    pub(super) sandbox: Option<PathBuf>,
}

impl Made {
    /// Makes the directory for transactions.
    pub(super) fn layers(&mut self, layers: &Path, within: bool) -> Result<(), CreateError> {
        for path in layers.parent().into_iter().chain([layers]) {
            if private::make(path).map_err(|source| step("use", path, source))? {
                self.directories.push(path.to_owned());
            }
        }
        let mut entries = fs::read_dir(layers).map_err(|source| step("list", layers, source))?;
        if entries.next().is_some() {
            let reason = "it holds transactions of another sandbox of that name, which was not destroyed; remove it to drop them";
            let source = io::Error::new(io::ErrorKind::DirectoryNotEmpty, reason);
            return Err(step("use", layers, source));
        }
        if let Some(parent) = layers.parent().filter(|_| within) {
            // For who keeps the workspace in git.
            let ignore = parent.join(IGNORE_FILE);
            private::replace(&ignore, "*\n").map_err(|source| step("write", &ignore, source))?;
            self.ignore = Some(ignore);
        }
        Ok(())
    }

    /// Removes it. What cannot be removed is private and empty; the error that led here says more.
    pub(super) fn take_back(self) {
        if let Some(sandbox) = self.sandbox {
            let _removed = fs::remove_dir_all(sandbox);
        }
        // Who shares its directory has none of its own to remove.
        if let Some(ignore) = self.ignore.filter(|_| self.directories.len() > 1) {
            let _removed = fs::remove_file(ignore);
        }
        for path in self.directories.iter().rev() {
            let _removed = fs::remove_dir(path);
        }
    }
}
