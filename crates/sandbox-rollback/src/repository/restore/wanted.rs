//! The steps of a restore, and the plan that they become for the engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use sandbox_types::Change;

use super::{RestoreError, present::Present};
use crate::{
    apply::is_privileged,
    attributes::Attributes,
    file_error::FileError,
    plan::{Directory, Identity, Move, Place},
    repository::node::Node,
    stat::{Stat, Time},
    survey::Survey,
    transaction::Transaction,
    tree::Tree,
};

const NOT_ALL: &str = "its owner or some attributes may only be set by root";

/// What happens to one path.
#[derive(Debug)]
pub(super) enum Step {
    /// It goes.
    Remove,
    /// It comes, or takes the place of what is there.
    Bring(Node),
    /// It stays and gets other attributes.
    Adjust(Attributes),
}

/// What a restore will do, by path. No path lies below another one that moves.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) steps: BTreeMap<PathBuf, Step>,
    /// Directories whose names change, and their time afterwards; `None` is the time of the restore.
    pub(super) touched: BTreeMap<PathBuf, Option<Time>>,
    pub(super) changes: Vec<Change>,
    pub(super) notes: Vec<(PathBuf, &'static str)>,
    /// What there is already of files that are brought.
    pub(super) present: Present,
}

impl Wanted {
    /// Returns what must be written beside the workspace.
    pub(super) fn staged(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.steps.iter().filter_map(|(path, step)| match step {
            Step::Bring(node) => Some((path.as_path(), node)),
            Step::Remove | Step::Adjust(_) => None,
        })
    }

    /// Returns the plan, with what is in the workspace at each path. What changed since `transaction`
    /// began is a conflict.
    pub(super) fn survey(
        &self,
        workspace: &Tree,
        transaction: &Transaction,
        dry_run: bool,
    ) -> Result<Survey, RestoreError> {
        let mut survey = Survey {
            changes: self.changes.clone(),
            ..Survey::default()
        };
        let upper = Tree::open(transaction.upper())?;
        for (path, step) in &self.steps {
            let present = workspace
                .find(path)
                .map_err(workspace.cannot("read", path))?;
            if let Some(stat) = present {
                if stat.ctime >= transaction.started {
                    survey.conflicts.push(path.clone());
                }
                if stat.pinned {
                    return Err(RestoreError::Pinned { path: path.clone() });
                }
            }
            match step {
                Step::Remove => {
                    if let Some(stat) = present {
                        survey.kept += 1;
                        survey.plan.moves.push(Move::Detach {
                            path: path.clone(),
                            to: Place::Kept(survey.kept),
                            leaving: Identity::to_move(&stat),
                        });
                    }
                }
                Step::Bring(_) if dry_run => {}
                Step::Bring(_) => {
                    // A device that may not be made is not there: its path is left alone.
                    let made = upper.find(path).map_err(upper.cannot("read", path))?;
                    survey
                        .plan
                        .moves
                        .extend(made.map(|made| bring(path, &made, present)));
                }
                Step::Adjust(_) => {}
            }
        }
        if !dry_run {
            self.attributes(workspace, transaction.started, &mut survey)?;
        }
        Ok(survey)
    }

    /// Adds what stays and gets other attributes: what is to be adjusted, and each directory whose
    /// time a change of a name moves.
    fn attributes(
        &self,
        workspace: &Tree,
        started: Time,
        survey: &mut Survey,
    ) -> Result<(), FileError> {
        let moved: BTreeSet<_> = survey
            .plan
            .moves
            .iter()
            .filter_map(|change| change.path().parent())
            .map(Path::to_owned)
            .collect();
        let adjusted = self.steps.iter().filter_map(|(path, step)| match step {
            Step::Adjust(_) => Some(path),
            Step::Remove | Step::Bring(_) => None,
        });
        let paths: BTreeSet<&PathBuf> = adjusted.chain(&moved).collect();
        for path in paths {
            let read = || -> io::Result<Option<(Stat, Attributes)>> {
                let spot = workspace.spot(path)?;
                let name: &OsStr = &spot.name;
                let Some(stat) = Stat::find(&spot.dir, name)? else {
                    return Ok(None);
                };
                Ok(Some((stat, Attributes::read(&spot.dir, name)?)))
            };
            let Some((stat, before)) = read().map_err(workspace.cannot("read", path))? else {
                continue;
            };
            let mut after = match self.steps.get(path) {
                Some(Step::Adjust(after)) => after.clone(),
                _ => before.clone(),
            };
            if let Some(time) = self.touched.get(path) {
                after.mtime = time.unwrap_or(started);
            }
            if !is_privileged() {
                keep_what_is_roots(&before, &mut after);
            }
            survey.plan.directories.push(Directory {
                path: path.clone(),
                ino: stat.ino,
                ctime: stat.ctime,
                before,
                after,
            });
        }
        Ok(())
    }

    /// Notes the paths whose attributes this user cannot set.
    pub(super) fn note_restricted(&mut self) {
        if is_privileged() {
            return;
        }
        let user = rustix::process::geteuid().as_raw();
        for (path, step) in &self.steps {
            if let Step::Adjust(attributes) = step
                && attributes.uid != user
            {
                self.notes.push((path.clone(), NOT_ALL));
            }
        }
    }
}

fn bring(path: &Path, made: &Stat, present: Option<Stat>) -> Move {
    let path = path.to_owned();
    let entering = Identity::to_move(made);
    match present {
        Some(stat) => Move::Exchange {
            path,
            leaving: Identity::to_move(&stat),
            entering,
        },
        None => Move::Attach {
            path,
            from: Place::Upper,
            entering,
        },
    }
}

/// Owners and most attributes may only be set by root: what is there stays.
fn keep_what_is_roots(before: &Attributes, after: &mut Attributes) {
    (after.uid, after.gid) = (before.uid, before.gid);
    let own = |name: &[u8]| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl");
    after.xattrs.retain(|name, _| own(name));
    let kept = before.xattrs.iter().filter(|(name, _)| !own(name));
    after
        .xattrs
        .extend(kept.map(|(name, value)| (name.clone(), value.clone())));
}
