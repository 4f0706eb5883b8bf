//! What a transaction would change: the upper layer compared with the workspace.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use sandbox_types::Change;

pub(crate) mod compare;
mod walk;

use crate::{
    file_error::FileError, plan::Plan, renames, root::RootGap, stat::Time, tree::compare_paths,
};

/// The most bytes that the paths of one transaction may have together.
pub const PATH_BYTES_MAX: usize = 128 << 20;

/// How many changes are remembered to find the renames among them, when they are told one by one: they
/// take some 50 MiB.
#[cfg(not(test))]
const REMEMBERED_MAX: usize = 100_000;
#[cfg(test)]
const REMEMBERED_MAX: usize = 1_000;

/// What a transaction would change, and the plan to do it.
///
/// It proves nothing about the workspace later on: `commit` looks again at each path.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The changes, by path.
    pub changes: Vec<Change>,
    /// Paths that somebody else changed in the workspace since the transaction began.
    pub conflicts: Vec<PathBuf>,
    /// What a commit leaves out.
    pub strips: Vec<Strip>,
    /// New symlinks and their targets.
    pub symlinks: Vec<(PathBuf, PathBuf)>,
    /// Directories that are listed only because their modification time moved.
    pub(crate) touched: BTreeSet<PathBuf>,
    pub(crate) plan: Plan,
    /// How many files the plan sets aside.
    pub(crate) kept: u64,
    /// What was deleted and came back elsewhere as an exact copy.
    pub(crate) twins: Vec<renames::Twin>,
}

/// Something that never reaches the workspace.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Strip {
    /// Relative to the workspace.
    pub path: PathBuf,
    /// What is left out.
    pub what: Stripped,
}

/// What a commit leaves out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Stripped {
    /// The mode bits that give a program its owner's identity.
    SetId,
    /// File capabilities, capabilities(7).
    Capabilities,
    /// A device node.
    Device,
    /// Extended attributes `user.overlay.*`, which an overlay on the workspace would take for its own.
    OverlayMarks,
}

/// The changes cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangesError {
    /// A file could not be read or compared.
    #[error("cannot compare the changes with the workspace")]
    Compare {
        /// Which one.
        #[source]
        source: FileError,
    },
    /// The transaction changes a path that the kernel will not rename.
    #[error("cannot change '{}': it is immutable or append-only", .path.display())]
    Pinned {
        /// Relative to the workspace.
        path: PathBuf,
    },
    /// There are more changes than are reasonable.
    #[error("cannot list the changes: their paths exceed {PATH_BYTES_MAX} bytes")]
    TooLarge,
}

impl From<FileError> for ChangesError {
    fn from(source: FileError) -> Self {
        Self::Compare { source }
    }
}

/// Where a transaction's files are, for [`take`].
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) workspace: &'a Path,
    /// The set's directory, which holds `upper`.
    pub(crate) set: &'a Path,
    /// The file system's time at begin.
    pub(crate) started: Time,
    /// What the root of the upper layer could not get at begin.
    pub(crate) root: Option<&'a RootGap>,
}

/// Compares the upper layer with the workspace; costs nothing for what is in neither.
pub(crate) fn take(subject: &Subject<'_>) -> Result<Survey, ChangesError> {
    let survey = take_up_to(subject, usize::MAX)?;
    survey.ok_or(ChangesError::TooLarge)
}

/// As [`take`]; `None` if there are more than `changes_max` changes.
fn take_up_to(subject: &Subject<'_>, changes_max: usize) -> Result<Option<Survey>, ChangesError> {
    let modes = Modes::load(subject.set)?;
    let mut walk = walk::Walk::open(subject, modes, None)?;
    if !walk.run(changes_max)? {
        return Ok(None);
    }
    let mut survey = walk.survey;
    renames::find(&mut survey, walk.ends, (&walk.upper, &walk.lower));
    survey.plan.sort();
    let by_path = |one: &Change, other: &Change| {
        compare_paths(&one.path, &other.path).then_with(|| one.cmp(other))
    };
    survey.changes.sort_unstable_by(by_path);
    survey
        .conflicts
        .sort_unstable_by(|one, other| compare_paths(one, other));
    survey.conflicts.dedup();
    Ok(Some(survey))
}

/// Tells `each` of every change. Up to [`REMEMBERED_MAX`] of them come by path and with the renames
/// among them; more come in the order of the walk, and none is remembered.
pub(crate) fn stream(
    subject: &Subject<'_>,
    each: &mut dyn FnMut(Change),
) -> Result<(), ChangesError> {
    match take_up_to(subject, REMEMBERED_MAX) {
        Ok(Some(survey)) => {
            survey.changes.into_iter().for_each(each);
            return Ok(());
        }
        Ok(None) | Err(ChangesError::TooLarge) => {}
        Err(error) => return Err(error),
    }
    let modes = Modes::load(subject.set)?;
    walk::Walk::open(subject, modes, Some(each))?.run(usize::MAX)?;
    Ok(())
}

/// The modes of directories in the upper layer that an unprivileged owner had to open up to read.
#[derive(Debug)]
pub(crate) struct Modes {
    file: PathBuf,
    known: BTreeMap<PathBuf, u32>,
}

impl Modes {
    fn load(set: &Path) -> Result<Self, FileError> {
        let file = set.join("modes");
        let mut known = BTreeMap::new();
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(crate::file_error::cannot("read", &file)(error)),
        };
        for line in text.lines() {
            // A torn last line belongs to a directory that was not opened yet.
            if let Ok((path, mode)) = serde_json::from_str::<(String, u32)>(line)
                && let Some(bytes) = crate::raw::decode(&path)
            {
                use std::os::unix::ffi::OsStringExt as _;
                let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
                known.entry(path).or_insert(mode);
            }
        }
        Ok(Self { file, known })
    }

    /// Returns the mode that the guest left on `path`, if it was changed here.
    pub(crate) fn original(&self, path: &Path) -> Option<u32> {
        self.known.get(path).copied()
    }

    /// Remembers the mode of `path` before it is opened up.
    pub(crate) fn remember(&mut self, path: &Path, mode: u32) -> std::io::Result<()> {
        use std::{io::Write as _, os::unix::ffi::OsStrExt as _};
        let entry = (crate::raw::encode(path.as_os_str().as_bytes()), mode);
        let line = format!("{}\n", serde_json::to_string(&entry)?);
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.file)?;
        file.write_all(line.as_bytes())?;
        self.known.insert(path.to_owned(), mode);
        Ok(())
    }
}
