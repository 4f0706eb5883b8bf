//! What the workspace loses: each path of it is listed, and checked for other changes.

use std::{ffi::OsString, io, os::fd::OwnedFd, path::Path};

use sandbox_types::ChangeKind;

use super::Walk;
use crate::{renames::Moved, stat::Stat, survey::ChangesError, tree::names};

impl Walk<'_> {
    /// Lists what a replaced directory had and its replacement has not.
    pub(super) fn replaced(
        &mut self,
        path: &Path,
        lower: &OwnedFd,
        present: &[OsString],
    ) -> Result<(), ChangesError> {
        for name in names(lower).map_err(self.lower.cannot("list", path))? {
            if present.binary_search(&name).is_err() {
                self.gone(&path.join(name))?;
            }
        }
        Ok(())
    }

    /// Lists `path` of the workspace and all below it as deleted.
    pub(super) fn gone(&mut self, path: &Path) -> Result<(), ChangesError> {
        let Some(stat) = self
            .lower
            .find(path)
            .map_err(self.lower.cannot("read", path))?
        else {
            return Ok(());
        };
        self.report(path, Some(ChangeKind::Deleted), stat.file_bytes())?;
        self.note_moved(Moved::Went, &stat);
        self.note_conflict(path, Some(stat));
        if stat.is_dir() {
            self.gone_inside(path)?;
        }
        Ok(())
    }

    pub(super) fn gone_inside(&mut self, path: &Path) -> Result<(), ChangesError> {
        let mut stack = vec![path.to_owned()];
        while let Some(path) = stack.pop() {
            let names = match self.lower.names(&path) {
                Ok(names) => names,
                // It moves as a whole: what cannot be listed is kept all the same.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(self.lower.cannot("list", &path)(error).into()),
            };
            let dir = self
                .lower
                .directory(&path)
                .map_err(self.lower.cannot("open", &path))?;
            for name in names {
                let inner = path.join(&name);
                let stat = Stat::at(&dir, &name).map_err(self.lower.cannot("read", &inner))?;
                self.report(&inner, Some(ChangeKind::Deleted), stat.file_bytes())?;
                self.note_moved(Moved::Went, &stat);
                self.note_conflict(&inner, Some(stat));
                if stat.is_dir() {
                    stack.push(inner);
                }
            }
        }
        Ok(())
    }
}
