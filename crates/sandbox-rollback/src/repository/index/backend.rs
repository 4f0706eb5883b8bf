//! The file under the index: redb's own, without the syncs that nothing here needs.
//!
//! redb waits for storage once when it opens a file, to say in its header that it is in use, and four
//! times when it closes it, for one more commit that only makes it shorter. Here
//! - that mark is not written alone: the first commit has it in the same sector, so a session that
//!   changes nothing leaves the file as it was, and its seal holds,
//! - each commit has two phases and keeps the allocator's state, so there is nothing to add at the
//!   end: the mark is taken away, and what redb would write then is refused. If a power cut brings
//!   the mark back, redb goes by the last commit, as after a kill.
//!
//! A file that was still marked, or is checked as a whole, is repaired and closed by redb alone.

use std::{
    fs::File,
    io,
    ops::Bound,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use redb::{BackendError, DatabaseError, StorageBackend};

use crate::step::{self, DatabaseFile};

/// Where the header has its marks, and the one that says that the file is in use (redb, `header.rs`).
const MARKS_AT: u64 = 9;
const IN_USE: u8 = 2;

/// What happens to what redb does.
#[repr(u8)]
#[derive(Clone, Copy)]
enum Phase {
    /// It opens a file that was closed: neither its syncs nor its mark are done.
    Opening,
    /// Its syncs are not done.
    Unsynced,
    /// Its syncs are done.
    Synced,
    /// It does not write any more.
    Ended,
}

type Now = Arc<AtomicU8>;

/// The file as redb sees it.
#[derive(Debug)]
pub(super) struct Backend {
    file: DatabaseFile,
    phase: Now,
}

/// What the index keeps of it.
pub(super) struct Handle {
    marks: File,
    phase: Now,
    /// Whether redb closes the file.
    by_redb: bool,
}

fn begins(phase: Phase) -> Now {
    Arc::new(AtomicU8::new(phase as u8))
}

impl Backend {
    /// Opens a database that is there; `repairs` if redb checks all of it.
    pub(super) fn open(path: &Path, repairs: bool) -> Result<(Self, Handle), DatabaseError> {
        let marks = File::options().read(true).write(true).open(path)?;
        let by_redb = repairs || is_in_use(&marks)?;
        let phase = begins(if by_redb {
            Phase::Synced
        } else {
            Phase::Opening
        });
        let file = step::database_file(path)?;
        let backend = Self {
            file,
            phase: Arc::clone(&phase),
        };
        let handle = Handle {
            marks,
            phase,
            by_redb,
        };
        Ok((backend, handle))
    }

    /// Opens an empty file that is made durable by somebody else, and is ended as one that was closed
    /// before: redb would only make it shorter, and the next change longer again.
    pub(super) fn begin(path: &Path) -> Result<(Self, Handle), DatabaseError> {
        let backend = Self::unsynced(path)?;
        let handle = Handle {
            marks: File::options().read(true).write(true).open(path)?,
            phase: Arc::clone(&backend.phase),
            by_redb: false,
        };
        Ok((backend, handle))
    }

    /// Opens a file whose owner makes it durable when it is complete.
    pub(super) fn unsynced(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self {
            file: step::database_file(path)?,
            phase: begins(Phase::Unsynced),
        })
    }

    /// Whether these bytes only say that the file is in use.
    fn is_only_mark(&self, offset: u64, data: &[u8]) -> bool {
        let mut now = vec![0; data.len()];
        if offset > MARKS_AT || self.file.read(offset, &mut now).is_err() {
            return false;
        }
        let marks = usize::try_from(MARKS_AT - offset).ok();
        let Some(marks) = marks.and_then(|at| now.get_mut(at)) else {
            return false;
        };
        *marks |= IN_USE;
        now == data
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) == phase as u8
    }

    fn check(&self) -> io::Result<()> {
        if self.is(Phase::Ended) {
            return Err(io::Error::other("it was closed"));
        }
        Ok(())
    }
}

fn is_in_use(file: &File) -> io::Result<bool> {
    let mut marks = [0];
    match file.read_exact_at(&mut marks, MARKS_AT) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
        read => read.map(|()| marks[0] & IN_USE != 0),
    }
}

impl Handle {
    /// The file is open: from here on syncs are done.
    pub(super) fn opened(&self) {
        self.phase.store(Phase::Synced as u8, Ordering::SeqCst);
    }

    /// All that counts is durable: takes the mark away, and lets redb write nothing more.
    pub(super) fn end(&self) {
        if self.by_redb {
            return;
        }
        self.phase.store(Phase::Ended as u8, Ordering::SeqCst);
        let clear = || -> io::Result<()> {
            let mut marks = [0];
            self.marks.read_exact_at(&mut marks, MARKS_AT)?;
            if marks[0] & IN_USE == 0 {
                return Ok(());
            }
            step::step()?;
            self.marks.write_all_at(&[marks[0] & !IN_USE], MARKS_AT)
        };
        // If it stays, the next one to open the file looks at it.
        drop(clear());
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        if self.is(Phase::Unsynced) || self.is(Phase::Opening) {
            return Ok(());
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        if self.is(Phase::Opening) && self.is_only_mark(offset, data) {
            return Ok(());
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
}
