//! How long what was replaced or deleted is kept: by number, by age, and by size.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sandbox_types::OperationId;

use crate::{
    RollbackManager, UpkeepError,
    file_error::{FileError, cannot},
    layout::{REDOING, UNDOING},
    manager::in_order,
    portion::PARTING,
    size,
    stat::Time,
    trash,
};

/// The name of the file with the size of a set, which only an undo or redo changes.
const SIZE: &str = "size";

/// What may be kept for undoing, and as much again for redoing. Whatever the age and the bytes say,
/// the newest operation stays undoable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UndoLimits {
    /// The most operations.
    pub count: usize,
    /// The longest time since the commit.
    pub age: Option<Duration>,
    /// The most allocated bytes of the replaced and deleted files together.
    pub bytes: Option<u64>,
}

impl UndoLimits {
    /// Returns limits that keep the newest `count` operations, of any age and size.
    pub const fn newest(count: usize) -> Self {
        Self {
            count,
            age: None,
            bytes: None,
        }
    }
}

impl RollbackManager {
    /// Drops the oldest undo sets beyond the limits, and what undone operations left beyond as
    /// many; returns the operations that can no longer be undone.
    ///
    /// # Errors
    ///
    /// Fails when the lock is held for more than ten seconds or a set cannot be read or moved away.
    pub fn retain(
        &self,
        limits: &UndoLimits,
        now: SystemTime,
    ) -> Result<Vec<OperationId>, UpkeepError> {
        let layout = self.layout();
        if is_empty(&layout.layers.join("undo")) && is_empty(&layout.layers.join("undone")) {
            // Nobody need wait for that.
            return Ok(Vec::new());
        }
        let _lock = layout.exclusive()?.ok_or(UpkeepError::Busy)?;
        let mut dropped = Vec::new();
        if layout.together().exists() {
            // Recovery first completes what is half-way.
            return Ok(dropped);
        }
        for part in ["undo", "undone"] {
            let directory = layout.layers.join(part);
            let sets = self.sealed_sets(part)?;
            for id in excess(&directory, sets, limits, now)? {
                let set = directory.join(id.as_str());
                // What is half-way is completed by recovery first.
                let half_way = set.join(REDOING).exists() || set.join(PARTING).exists();
                if half_way || part == "undo" && set.join(UNDOING).exists() {
                    continue;
                }
                trash::throw(&set, &layout.trash()).map_err(cannot("discard", &set))?;
                if part == "undo" {
                    dropped.push(id);
                }
            }
        }
        Ok(dropped)
    }
}

/// Returns whether there is nothing in a directory; `false` if that cannot be told.
fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Returns which of the sets are beyond the limits, oldest first. With the first that is too much,
/// all older ones go: an older operation cannot be put back below a newer one that is gone.
fn excess(
    directory: &Path,
    sets: Vec<(Time, OperationId)>,
    limits: &UndoLimits,
    now: SystemTime,
) -> Result<Vec<OperationId>, FileError> {
    let times = sets.iter().map(|(time, id)| (id.clone(), *time)).collect();
    let times: std::collections::BTreeMap<OperationId, Time> = times;
    let mut ids = in_order(sets);
    let mut kept = 0;
    let mut bytes: u64 = 0;
    for id in ids.iter().rev() {
        let too_old = limits
            .age
            .is_some_and(|age| kept > 0 && is_older(times[id], age, now));
        if let Some(limit) = limits.bytes {
            bytes = bytes.saturating_add(size_of(&directory.join(id.as_str()))?);
            if kept > 0 && bytes > limit {
                break;
            }
        }
        if kept == limits.count || too_old {
            break;
        }
        kept += 1;
    }
    ids.truncate(ids.len() - kept);
    Ok(ids)
}

fn is_older(Time(seconds, _): Time, age: Duration, now: SystemTime) -> bool {
    // A clock before 1970 makes nothing old.
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    now.saturating_sub(then) > age
}

/// Returns how much a set holds; looks at its files the first time only.
fn size_of(set: &Path) -> Result<u64, FileError> {
    let path = set.join(SIZE);
    if let Some(bytes) = known_size(&path)? {
        return Ok(bytes);
    }
    let bytes = measured(set)?;
    fs::write(&path, format!("{bytes}\n")).map_err(cannot("write", &path))?;
    Ok(bytes)
}

/// Like [`size_of`], and writes nothing.
pub(crate) fn look_at_size_of(set: &Path) -> Result<u64, FileError> {
    match known_size(&set.join(SIZE))? {
        Some(bytes) => Ok(bytes),
        None => measured(set),
    }
}

fn known_size(path: &Path) -> Result<Option<u64>, FileError> {
    match fs::read_to_string(path) {
        // One that a crash has torn is measured again.
        Ok(text) => Ok(text.strip_suffix('\n').and_then(|it| it.parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", path)(error)),
    }
}

fn measured(set: &Path) -> Result<u64, FileError> {
    let mut bytes: u64 = 0;
    for part in ["upper", "kept"] {
        let part = set.join(part);
        if part.exists() {
            bytes = bytes.saturating_add(size::measure(&part, u64::MAX, u64::MAX)?.bytes);
        }
    }
    Ok(bytes)
}

/// Has the set measured again: an undo or redo has exchanged its files.
pub(crate) fn forget_size(set: &Path) -> Result<(), FileError> {
    let path = set.join(SIZE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(cannot("remove", &path)(error))
        }
        _ => Ok(()),
    }
}
