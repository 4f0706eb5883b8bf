//! Brings the workspace, or another directory, back to a snapshot.
//!
//! In the workspace: look at it, compare, write and check all that is needed beside it, then commit
//! that as a transaction. Elsewhere: write it into a directory of its own, then move it in.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sandbox_types::{Change, OperationId};

mod keep;
mod planned;
mod present;
mod stage;
mod wanted;

use planned::Planner;
use stage::Stage;

use super::{
    Repository,
    difference::look,
    error::RepositoryError,
    node::Node,
    reader::Reader,
    record::{Snapshot, SnapshotId},
    session::Session,
};
use crate::{
    attributes, commit,
    commit::{CommitError, counted},
    file_error::{FileError, cannot},
    manager::RollbackManager,
    stat::Stat,
    step::{self, step},
    survey::Survey,
    transaction::Transaction,
    trash,
    tree::Tree,
    xattr,
};

/// How to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The operation that the restore is, for an undo.
    pub operation: OperationId,
    /// Globs relative to the workspace; none means everything. A `*` does not match `/`; a glob also
    /// covers what is below a directory that it matches.
    pub paths: Vec<String>,
    /// Where to.
    pub to: Destination,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// Where a snapshot is restored to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// The workspace itself: what is extra goes, what differs is brought back.
    Workspace,
    /// A directory that is empty, or not there yet.
    Directory(PathBuf),
}

/// A restore that is complete and durable, or a plan of one.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What changed, or would change, in the destination.
    pub changes: Vec<Change>,
    /// Whether there is something to undo.
    pub undoable: bool,
    /// Paths that are not as in the snapshot, and why.
    pub notes: Notes,
}

/// Paths that are not as in the snapshot, and why.
pub(super) type Notes = Vec<(PathBuf, &'static str)>;

/// Nothing is restored; the workspace is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The snapshot cannot be found or read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A path is not a glob.
    #[error("cannot read '{glob}' as a path pattern")]
    Glob {
        /// The pattern.
        glob: String,
        /// What is wrong.
        #[source]
        source: globset::Error,
    },
    /// A path is empty, or leads out of the workspace.
    #[error("cannot restore '{glob}': it names no path in the workspace")]
    NoPath {
        /// The pattern.
        glob: String,
    },
    /// No path is meant.
    #[error("cannot restore '{globs}': nothing in the snapshot or the workspace has that name")]
    NothingSelected {
        /// The patterns.
        globs: String,
    },
    /// Something that is needed is damaged.
    #[error("cannot restore {}: its content is damaged", counted(paths))]
    Damaged {
        /// The paths, relative to the workspace.
        paths: Vec<PathBuf>,
        /// What was found first.
        #[source]
        source: Box<RepositoryError>,
    },
    /// The directory to restore to has something in it.
    #[error("cannot restore to '{}': it is not an empty directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file that would change is protected by the kernel.
    #[error("cannot change '{}': it is immutable or append-only", path.display())]
    Pinned {
        /// The path, relative to the workspace.
        path: PathBuf,
    },
    /// What is to be restored cannot be written.
    #[error("cannot prepare the restore")]
    Prepare {
        /// Why.
        #[source]
        source: FileError,
    },
    /// No transaction could be begun.
    #[error("cannot begin the restore")]
    Begin(#[source] crate::BeginError),
    /// What was prepared did not enter the workspace.
    #[error("cannot restore into the workspace")]
    Commit(#[source] CommitError),
}

impl From<FileError> for RestoreError {
    fn from(source: FileError) -> Self {
        Self::Prepare { source }
    }
}

/// Which paths are restored.
#[derive(Debug)]
pub(super) struct Selection {
    globs: Option<GlobSet>,
    text: String,
}

impl Selection {
    fn new(globs: &[String]) -> Result<Self, RestoreError> {
        if globs.is_empty() {
            return Ok(Self {
                globs: None,
                text: String::new(),
            });
        }
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            let bad = |source| RestoreError::Glob {
                glob: glob.clone(),
                source,
            };
            let plain = glob.strip_prefix("./").unwrap_or(glob);
            let plain = plain.trim_end_matches('/');
            let leads_out = Path::new(plain)
                .components()
                .any(|part| !matches!(part, std::path::Component::Normal(_)));
            if plain.is_empty() || leads_out {
                return Err(RestoreError::NoPath { glob: glob.clone() });
            }
            let built = GlobBuilder::new(plain).literal_separator(true).build();
            set.add(built.map_err(bad)?);
        }
        let text = globs.join(", ");
        match set.build() {
            Ok(globs) => Ok(Self {
                globs: Some(globs),
                text,
            }),
            Err(source) => Err(RestoreError::Glob { glob: text, source }),
        }
    }

    /// Returns whether `path` is restored with all that is below it.
    pub(super) fn covers(&self, path: &Path) -> bool {
        match &self.globs {
            None => true,
            Some(globs) => path
                .ancestors()
                .any(|path| !path.as_os_str().is_empty() && globs.is_match(path)),
        }
    }

    pub(super) fn is_all(&self) -> bool {
        self.globs.is_none()
    }

    /// Refuses if nothing differs because nothing is meant: a slip of the pen.
    fn check_met(
        &self,
        reader: &Reader,
        root: &Node,
        found: &[Change],
    ) -> Result<(), RestoreError> {
        let is_met = self.is_all()
            || !found.is_empty()
            || stage::leads_to_selected(reader, self, Path::new(""), root)?;
        if is_met {
            return Ok(());
        }
        Err(RestoreError::NothingSelected {
            globs: self.text.clone(),
        })
    }
}

pub(super) fn restore(
    repository: &Repository,
    id: &SnapshotId,
    options: &RestoreOptions,
) -> Result<Restored, RestoreError> {
    let selection = Selection::new(&options.paths)?;
    let session = Session::read(repository)?;
    let snapshot = session.find(&id.to_string())?;
    match &options.to {
        Destination::Workspace => in_place(&session, &snapshot, &selection, options),
        Destination::Directory(path) => elsewhere(&session, &snapshot, &selection, (path, options)),
    }
}

fn in_place(
    session: &Session<'_>,
    snapshot: &Snapshot,
    selection: &Selection,
    options: &RestoreOptions,
) -> Result<Restored, RestoreError> {
    let layout = &session.repository.layout;
    super::take::start(layout)?;
    let transaction = RollbackManager::with_layout(layout)
        .begin(&options.operation)
        .map_err(RestoreError::Begin)?;
    let prepared = prepare(
        session,
        snapshot,
        selection,
        (&transaction, options.dry_run),
    );
    let (survey, notes) = match prepared {
        Ok(prepared) if !options.dry_run => prepared,
        ended => {
            // If it cannot be moved away now, recovery does so.
            drop(transaction.discard());
            let (survey, notes) = ended?;
            return Ok(Restored {
                snapshot: snapshot.id,
                changes: survey.changes,
                undoable: false,
                notes,
            });
        }
    };
    let committed = commit::commit_or_drop(transaction, survey).map_err(RestoreError::Commit)?;
    Ok(Restored {
        snapshot: snapshot.id,
        changes: committed.changes,
        undoable: committed.undoable,
        notes,
    })
}

/// Plans, and writes everything that will enter the workspace unless it is only a plan.
fn prepare(
    session: &Session<'_>,
    snapshot: &Snapshot,
    selection: &Selection,
    (transaction, dry_run): (&Transaction, bool),
) -> Result<(Survey, Notes), RestoreError> {
    let layout = &session.repository.layout;
    let mut reader = session.reader()?;
    let (now, _) = look(
        session,
        &mut reader,
        (transaction.started, &snapshot.excludes),
    )?;
    let mut planner = Planner::new(&reader, selection, (&now, &snapshot.root));
    planner.compare()?;
    let mut wanted = planner.finish();
    wanted.note_restricted();
    let upper = transaction.upper();
    make_plain(upper).map_err(cannot("prepare", upper))?;
    let workspace = layout.open_workspace()?;
    let mut stage = Stage::new(&reader, selection, Tree::open(upper)?);
    stage.present = Some((&workspace, &wanted.present));
    if !dry_run {
        for (path, node) in wanted.staged() {
            stage.write(path, node)?;
        }
        stage.finish()?;
    }
    let mut survey = wanted.survey(&workspace, transaction, dry_run)?;
    selection.check_met(&reader, &snapshot.root, &survey.changes)?;
    survey.changes.sort_unstable();
    survey.plan.sort();
    let mut notes = wanted.notes;
    notes.extend(stage.notes);
    notes.sort_unstable();
    notes.dedup();
    Ok((survey, notes))
}

/// Takes from the upper layer's root what it has of the workspace's root: what is made in it must
/// not inherit a group or an access control list.
fn make_plain(upper: &Path) -> io::Result<()> {
    let root = fs::File::open(upper)?.into();
    attributes::chmod(&root, std::ffi::OsStr::new(""), 0o700)?;
    xattr::remove(upper.as_os_str(), b"system.posix_acl_default")
}

fn elsewhere(
    session: &Session<'_>,
    snapshot: &Snapshot,
    selection: &Selection,
    (path, options): (&Path, &RestoreOptions),
) -> Result<Restored, RestoreError> {
    let reader = session.reader()?;
    let is_new = match fs::read_dir(path) {
        Ok(entries) => {
            if entries.count() > 0 {
                return Err(not_empty(path));
            }
            false
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(not_empty(path)),
        Err(error) => return Err(cannot("read", path)(error).into()),
    };
    let mut planner = Planner::new(&reader, selection, (&snapshot.root, &snapshot.root));
    let changes = planner.everything()?;
    selection.check_met(&reader, &snapshot.root, &changes)?;
    let mut notes = planner.finish().notes;
    if !options.dry_run {
        if is_new {
            fs::create_dir_all(path).map_err(cannot("create", path))?;
        }
        let staging = path.join(format!(".restoring-{}", options.operation));
        let written = write_to(&staging, &reader, (snapshot, selection), path);
        match written {
            Ok(more) => notes.extend(more),
            Err(error) => {
                // What is left of it is in one directory, and the error says why.
                drop(trash::empty(&staging, u64::MAX));
                drop(fs::remove_dir(&staging));
                if is_new {
                    drop(fs::remove_dir(path));
                }
                return Err(error);
            }
        }
    }
    notes.sort_unstable();
    notes.dedup();
    Ok(Restored {
        snapshot: snapshot.id,
        changes,
        undoable: false,
        notes,
    })
}

fn not_empty(path: &Path) -> RestoreError {
    RestoreError::NotEmpty {
        path: path.to_owned(),
    }
}

/// Writes everything below `staging`, and moves it to where it belongs.
fn write_to(
    staging: &Path,
    reader: &Reader,
    (snapshot, selection): (&Snapshot, &Selection),
    path: &Path,
) -> Result<Notes, RestoreError> {
    crate::layout::make_private(staging).map_err(cannot("create", staging))?;
    let mut stage = Stage::new(reader, selection, Tree::open(staging)?);
    for node in reader.entries(&snapshot.root)? {
        stage.write(Path::new(&node.name), &node)?;
    }
    stage.finish()?;
    let enter = || -> io::Result<()> {
        for entry in fs::read_dir(staging)? {
            let name = entry?.file_name();
            step()?;
            move_in(staging, path, &name)?;
        }
        fs::remove_dir(staging)?;
        let root = fs::File::open(path)?;
        if selection.is_all() {
            let attributes = &snapshot.root.attributes;
            attributes.apply_permitted(&root.into(), std::ffi::OsStr::new(""))?;
        }
        step::sync_file_system(fs::File::open(path)?)
    };
    enter().map_err(cannot("fill", path))?;
    Ok(stage.notes)
}

/// Moves one entry; who is not root may move a directory only while it is writable.
fn move_in(from: &Path, to: &Path, name: &std::ffi::OsStr) -> io::Result<()> {
    let from = std::os::fd::OwnedFd::from(fs::File::open(from)?);
    let to = std::os::fd::OwnedFd::from(fs::File::open(to)?);
    let stat = Stat::at(&from, name)?;
    let closed = stat.is_dir() && stat.permissions() & 0o200 == 0;
    if closed {
        attributes::chmod(&from, name, stat.permissions() | 0o700)?;
    }
    rustix::fs::renameat(&from, name, &to, name)?;
    if closed {
        attributes::chmod(&to, name, stat.permissions())?;
    }
    Ok(())
}
