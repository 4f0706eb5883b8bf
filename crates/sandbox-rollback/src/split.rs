//! A held transaction becomes two: the selected changes, and the rest.
//!
//! The files move by renames from one upper layer to the other. Both transactions are held before
//! the first of them moves, so that a kill in between loses nothing: each change waits in one of
//! the two, and the workspace is not touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::Mode;
use sandbox_types::OperationId;

use crate::{
    BeginError, ChangesError, GateError, HoldError, RollbackManager,
    apply::rename,
    attributes::Attributes,
    file_error::{FileError, cannot},
    layout::Begun,
    overlay,
    picked::{Picked, parted_rename},
    plan::Move,
    stat::Stat,
    step::step,
    survey::Survey,
    transaction::Transaction,
    tree::Tree,
};

/// The transaction is not split; all changes wait as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A path is not a glob.
    #[error("cannot select changes")]
    Glob(#[source] GateError),
    /// No change is selected.
    #[error("cannot select changes: nothing that waits matches {globs}")]
    Nothing {
        /// The globs.
        globs: String,
    },
    /// A directory moves as a whole, and only something in it is selected.
    #[error("cannot select only a part of '{}': the directory is new or replaced as a whole", .path.display())]
    Whole {
        /// The directory.
        path: PathBuf,
    },
    /// Two names of one file would be parted.
    #[error("cannot select '{}' without the other names of the same file", .path.display())]
    HardLink {
        /// One of its names.
        path: PathBuf,
    },
    /// A file or directory went from one path to the other, and only one of them is selected.
    #[error("cannot select only one of '{}' and '{}': one was renamed to the other", .from.display(), .to.display())]
    Renamed {
        /// The old path.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// A directory is closed to its owner.
    #[error("cannot select changes: the operation has closed a directory to its owner")]
    Closed,
    /// The changes cannot be listed.
    #[error("cannot list the changes")]
    Changes(#[source] ChangesError),
    /// The second transaction cannot begin.
    #[error("cannot begin a transaction for the selected changes")]
    Begin(#[source] BeginError),
    /// The second transaction cannot be held.
    #[error("cannot hold the selected changes")]
    Hold(#[source] HoldError),
    /// A file did not move. Every change waits in one of the two transactions.
    #[error("cannot move the selected changes to operation '{id}'")]
    Move {
        /// The second transaction.
        id: OperationId,
        /// Which file.
        #[source]
        source: FileError,
    },
}

/// What globs select of the changes that wait.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selected {
    /// Whether that is all of them.
    pub all: bool,
    /// The selected paths that were changed in the workspace meanwhile.
    pub conflicts: Vec<PathBuf>,
}

impl Transaction {
    /// Returns what [`Transaction::split`] would take out. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Transaction::split`].
    pub fn select(&self, globs: &[String]) -> Result<Selected, SplitError> {
        let survey = self.survey().map_err(SplitError::Changes)?;
        let chosen = self.choose(&survey, globs)?;
        let is_chosen = |path: &Path| {
            chosen.as_ref().is_none_or(|it| {
                it.directories.contains(path) || it.moves.iter().any(|top| path.starts_with(top))
            })
        };
        let conflicts = survey.conflicts.iter().filter(|it| is_chosen(it));
        Ok(Selected {
            all: chosen.is_none(),
            conflicts: conflicts.cloned().collect(),
        })
    }

    /// Moves the changes that one of the globs covers to a new held transaction `id`, and returns it;
    /// or returns this one if they are all of its changes. Globs are read as those of a declared
    /// write set.
    ///
    /// # Errors
    ///
    /// Fails when a glob covers nothing, or cuts through what moves as a whole.
    pub fn split(self, globs: &[String], id: &OperationId) -> Result<Self, SplitError> {
        let survey = self.survey().map_err(SplitError::Changes)?;
        let Some(chosen) = self.choose(&survey, globs)? else {
            return Ok(self);
        };
        let mut part = RollbackManager::with_layout(&self.layout)
            .begin(id)
            .map_err(SplitError::Begin)?;
        let moved = |source| SplitError::Move {
            id: id.clone(),
            source,
        };
        part.started = self.started;
        write_record(&part).map_err(moved)?;
        let hold = |part: &Self| {
            part.mark_held().map_err(|source| {
                SplitError::Hold(HoldError {
                    id: id.clone(),
                    source,
                })
            })
        };
        hold(&part)?;
        chosen.transfer(&self, &part).map_err(moved)?;
        hold(&part)?;
        Ok(part)
    }

    /// Returns the changes that can be taken out; `None` if they are all.
    fn choose<'a>(
        &self,
        survey: &'a Survey,
        globs: &[String],
    ) -> Result<Option<Chosen<'a>>, SplitError> {
        let Some(chosen) = Chosen::of(survey, globs)? else {
            return Ok(None);
        };
        if self.set.join("modes").exists() {
            return Err(SplitError::Closed);
        }
        chosen.check_links(self)?;
        Ok(Some(chosen))
    }
}

/// The selected part of a plan.
struct Chosen<'a> {
    survey: &'a Survey,
    /// What moves, relative to the workspace.
    moves: Vec<&'a Path>,
    /// Directories that stay, and get other attributes.
    directories: BTreeSet<&'a Path>,
}

impl<'a> Chosen<'a> {
    /// Returns what the globs select; `None` if that is everything.
    fn of(survey: &'a Survey, globs: &[String]) -> Result<Option<Self>, SplitError> {
        let plan = &survey.plan;
        let tops: Vec<&Path> = plan.moves.iter().map(Move::path).collect();
        let picked = Picked::of(globs, &survey.changes, &tops).map_err(SplitError::Glob)?;
        let selected = |path: &Path| picked.covers(path);
        let all = plan.moves.iter().map(Move::path);
        let moves: Vec<&Path> = all.filter(|path| selected(path)).collect();
        let is_change = |path: &Path| {
            let shown = survey
                .changes
                .binary_search_by(|it| it.path.as_path().cmp(path));
            shown.is_ok() && !survey.touched.contains(path)
        };
        let paths = plan.directories.iter().map(|it| it.path.as_path());
        let directories: BTreeSet<&Path> = paths
            .filter(|path| selected(path) && is_change(path))
            .collect();
        let inside = |path: &Path| {
            let is_moved = |it: &&Path| path.starts_with(it);
            plan.moves.iter().map(Move::path).find(is_moved)
        };
        let mut met = survey.changes.iter().filter(|it| selected(&it.path));
        if let Some(whole) = met.find_map(|it| inside(&it.path).filter(|top| !selected(top))) {
            return Err(SplitError::Whole {
                path: whole.to_owned(),
            });
        }
        if moves.is_empty() && directories.is_empty() {
            return Err(SplitError::Nothing {
                globs: globs.join(", "),
            });
        }
        if survey.changes.iter().all(|it| selected(&it.path)) {
            return Ok(None);
        }
        let tops: BTreeSet<&Path> = moves.iter().copied().collect();
        let is_picked = |path: &Path| path.ancestors().any(|it| tops.contains(it));
        if let Some((from, to)) = parted_rename(&survey.changes, is_picked) {
            return Err(SplitError::Renamed { from, to });
        }
        Ok(Some(Self {
            survey,
            moves,
            directories,
        }))
    }

    /// Refuses to part the names of one file: a write through one would change the other.
    fn check_links(&self, from: &Transaction) -> Result<(), SplitError> {
        let failed = |source| SplitError::Changes(ChangesError::Compare { source });
        let tree = Tree::open(&from.upper).map_err(failed)?;
        let mut names: BTreeMap<u64, (u32, u32, PathBuf)> = BTreeMap::new();
        let mut stack: Vec<PathBuf> = self.moves.iter().map(|it| (*it).to_owned()).collect();
        while let Some(path) = stack.pop() {
            let mut look = || -> io::Result<Vec<PathBuf>> {
                let Some(stat) = tree.find(&path)? else {
                    return Ok(Vec::new());
                };
                if stat.is_dir() {
                    let inner = tree.names(&path)?;
                    return Ok(inner.into_iter().map(|name| path.join(name)).collect());
                }
                if stat.nlink > 1 && !overlay::is_whiteout(&stat) {
                    let seen = names.entry(stat.ino);
                    seen.or_insert((0, stat.nlink, path.clone())).0 += 1;
                }
                Ok(Vec::new())
            };
            stack.extend(look().map_err(tree.cannot("read", &path)).map_err(failed)?);
        }
        match names.into_values().find(|(found, all, _)| found < all) {
            Some((_, _, path)) => Err(SplitError::HardLink { path }),
            None => Ok(()),
        }
    }

    fn transfer(&self, from: &Transaction, to: &Transaction) -> Result<(), FileError> {
        let old = Tree::open(&from.upper)?;
        let new = Tree::open(&to.upper)?;
        let workspace = from.layout.open_workspace()?;
        let mut made = BTreeSet::from([PathBuf::new()]);
        for path in &self.moves {
            let parent = path.parent().unwrap_or(Path::new(""));
            make_directories(&new, parent, &mut made).map_err(new.cannot("create", parent))?;
            let transfer = || {
                let (source, target) = (old.spot(path)?, new.spot(path)?);
                step()?;
                rename(&source, &target)
            };
            transfer().map_err(old.cannot::<io::Error>("move", path))?;
        }
        for path in &self.directories {
            make_directories(&new, path, &mut made).map_err(new.cannot("create", path))?;
        }
        // Deepest first: what is made in a directory moves its time.
        for path in made.iter().rev() {
            let give = || {
                let attributes = self.attributes(path, &workspace)?;
                let spot = new.spot(path)?;
                step()?;
                attributes.apply_permitted(&spot.dir, &spot.name)
            };
            give().map_err(new.cannot::<io::Error>("set attributes of", path))?;
        }
        Ok(())
    }

    /// Returns what a directory gets in the new upper layer: what the guest left on a selected one,
    /// else what it has in the workspace.
    fn attributes(&self, path: &Path, workspace: &Tree) -> io::Result<Attributes> {
        let mut planned = self.survey.plan.directories.iter();
        if let Some(directory) = planned.find(|it| it.path == path) {
            if self.directories.contains(path) {
                return Ok(directory.after.clone());
            }
            let holds_a_move = self.moves.iter().any(|it| it.parent() == Some(path));
            let time = if holds_a_move {
                &directory.after
            } else {
                &directory.before
            };
            return Ok(Attributes {
                mtime: time.mtime,
                ..directory.before.clone()
            });
        }
        let spot = workspace.spot(path)?;
        Attributes::read(&spot.dir, &spot.name)
    }
}

/// Makes `path` and what is above it.
pub(crate) fn make_directories(
    tree: &Tree,
    path: &Path,
    made: &mut BTreeSet<PathBuf>,
) -> io::Result<()> {
    let mut missing: Vec<&Path> = path.ancestors().collect();
    missing.retain(|it| !made.contains(*it));
    for path in missing.into_iter().rev() {
        let spot = tree.spot(path)?;
        if Stat::find(&spot.dir, &spot.name)?.is_none() {
            step()?;
            rustix::fs::mkdirat(&spot.dir, &spot.name, Mode::RWXU)?;
        }
        made.insert(path.to_owned());
    }
    Ok(())
}

/// Writes begin's record again: the part counts from when the whole began.
fn write_record(part: &Transaction) -> Result<(), FileError> {
    let path = part.set.join("lock");
    let write = || {
        let record = serde_json::to_vec(&Begun {
            workspace: part.workspace_ino,
            started: part.started,
            root: part.root.clone(),
        })?;
        let file = fs::File::options().write(true).open(&path)?;
        file.set_len(0)?;
        file.write_all_at(&record, 0)
    };
    write().map_err(cannot::<io::Error>("write", &path))
}
