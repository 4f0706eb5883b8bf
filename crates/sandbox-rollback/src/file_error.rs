//! One failed act on one file, as the source of this crate's errors.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A system call on a file failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} '{}'", shown(path))]
pub struct FileError {
    /// What was attempted, as a verb.
    pub act: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// The most characters of a path that a message shows.
const PATH_SHOWN_MAX: usize = 300;

/// Returns `path` for a message: hostile paths may be thousands of levels deep.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().count() <= PATH_SHOWN_MAX {
        return text;
    }
    let start: String = text.chars().take(PATH_SHOWN_MAX).collect();
    format!("{start}…")
}

/// Returns a function that adds `act` and `path` to an error.
pub(crate) fn cannot<E: Into<io::Error>>(
    act: &'static str,
    path: impl AsRef<Path>,
) -> impl FnOnce(E) -> FileError {
    move |source| FileError {
        act,
        path: path.as_ref().to_owned(),
        source: source.into(),
    }
}
