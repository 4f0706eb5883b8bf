//! Opening the database file: created whole or not at all, checked, waited for with a bound.

use std::{
    fs::{File, Metadata, TryLockError},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, backends::FileBackend};
use rustix::fs::OFlags;

use super::{
    begin_durable_write, contain,
    copy::Copy,
    error::{Corruption, StoreError, Trouble},
    tables,
};
use crate::{OpenError, files::Directory, keys};

/// The format of the tables.
pub const STORE_FORMAT: u64 = 1;

pub(crate) const FILE_NAME: &str = "state.redb";
const NEW_FILE_NAME: &str = "state.redb.new";

/// Between two looks at a lock: there is no event for another process's lock that also has a bound.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// The most pages kept in memory; a store of usual size never needs so many.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A file up to this size is checked whole each time it is opened, a larger one after an unclean end.
const CHECKED_ALWAYS_BYTES: u64 = 16 * 1024 * 1024;

/// What to do when there is no store yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Missing {
    Create,
    Leave,
    /// The same, for who only reads: any number at once, and the file is not changed.
    LeaveAndRead,
}

/// Opens the store in `directory`; `None` if there is none and it is not to be created.
///
/// Who waits for the store holds the lock of the directory, the *door*, and everybody else waits for
/// that one. So a process that opens the store again and again cannot keep the others out: it finds
/// the door locked by the one who is next.
pub(super) fn open(
    directory: &Path,
    missing: Missing,
    busy_wait: Duration,
) -> Result<Option<(Database, PathBuf)>, StoreError> {
    let path = directory.join(FILE_NAME);
    let not_opened = |source| StoreError::Open {
        path: path.clone(),
        source,
    };
    let directory = match missing {
        Missing::Create => Directory::open_or_make(directory).map(Some),
        Missing::Leave | Missing::LeaveAndRead => Directory::open(directory),
    };
    let flags = match missing {
        Missing::Create | Missing::Leave => OFlags::RDWR,
        Missing::LeaveAndRead => OFlags::RDONLY,
    };
    let Some(directory) = directory.map_err(not_opened)? else {
        return Ok(None);
    };
    let waiting = Waiting {
        until: Instant::now() + busy_wait,
    };
    let system = |error| not_opened(OpenError::System(error));
    let door = loop {
        match directory.try_lock().map_err(system)? {
            Some(door) => break door,
            None if waiting.goes_on() => {}
            None => {
                let found = open_file(&directory, flags).map_err(not_opened)?;
                return Err(busy(path, found.map(|(_, inode)| inode.ino())));
            }
        }
    };
    loop {
        let Some((file, inode)) = open_file(&directory, flags).map_err(not_opened)? else {
            match missing {
                Missing::Create => create(&directory, &path)?,
                Missing::Leave | Missing::LeaveAndRead => return Ok(None),
            }
            continue;
        };
        match contain(|| open_database(file, inode.len(), missing)) {
            Ok(Opened::Open(database)) => {
                drop(door);
                return Ok(Some((database, path)));
            }
            Ok(Opened::Newer(format)) => {
                return Err(StoreError::Newer {
                    path,
                    format,
                    known: STORE_FORMAT,
                });
            }
            Ok(Opened::Busy) if waiting.goes_on() => {}
            Ok(Opened::Busy) => return Err(busy(path, Some(inode.ino()))),
            Err(trouble) => return Err(StoreError::of(&path, trouble)),
        }
    }
}

fn open_file(directory: &Directory, flags: OFlags) -> Result<Option<(File, Metadata)>, OpenError> {
    let Some(file) = directory.file(FILE_NAME, flags)? else {
        return Ok(None);
    };
    let inode = file.metadata().map_err(OpenError::System)?;
    Ok(Some((file, inode)))
}

/// A wait with an end.
struct Waiting {
    until: Instant,
}

impl Waiting {
    /// Waits for a moment, and returns whether there is time left.
    fn goes_on(&self) -> bool {
        thread::park_timeout(BUSY_PAUSE);
        Instant::now() < self.until
    }
}

fn busy(path: PathBuf, inode: Option<u64>) -> StoreError {
    let holder = inode.and_then(holder_of);
    StoreError::Busy { path, holder }
}

enum Opened {
    Open(Database),
    Busy,
    Newer(u64),
}

fn open_database(file: File, bytes: u64, missing: Missing) -> Result<Opened, Trouble> {
    if bytes == 0 {
        // redb would make a new database of it; ours is never empty.
        return Err(Trouble::Damaged(Corruption::NotADatabase));
    }
    let check = bytes <= CHECKED_ALWAYS_BYTES || ended_uncleanly(&file);
    let mut builder = builder();
    builder.set_check_integrity_on_open(check);
    let opened = match missing {
        Missing::Create | Missing::Leave => builder.create_with_backend(FileBackend::new(file)?),
        // The lock that redb's writers take.
        Missing::LeaveAndRead => match file.try_lock_shared() {
            Ok(()) => builder.create_with_backend(Copy::of(file)?),
            Err(TryLockError::WouldBlock) => return Ok(Opened::Busy),
            Err(TryLockError::Error(error)) => return Err(redb::Error::Io(error).into()),
        },
    };
    let database = match opened {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Ok(Opened::Busy),
        Err(error) => return Err(error.into()),
    };
    let format = {
        let meta = database.begin_read()?.open_table(tables::META)?;
        let format = redb::ReadableTable::get(&meta, tables::META_FORMAT)?;
        format.and_then(|format| u64::try_from(format.value()).ok())
    };
    match format {
        Some(STORE_FORMAT) => Ok(Opened::Open(database)),
        Some(format) if format > STORE_FORMAT => Ok(Opened::Newer(format)),
        Some(_) | None => Err(Trouble::Damaged(Corruption::NotADatabase)),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Says whether the last writer did not close the file: the `recovery_required` bit of the byte
/// after redb's magic number (redb, `docs/design.md`).
fn ended_uncleanly(file: &File) -> bool {
    let mut flags = [0];
    file.read_exact_at(&mut flags, 9)
        .map_or(true, |()| flags[0] & 2 != 0)
}

/// Makes an empty store under another name and gives it its own when it is on storage: a power cut
/// inside of redb's `create` leaves a file that redb refuses for ever. The door is locked, so what is
/// left under the other name is of a process that died.
fn create(directory: &Directory, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Create {
        path: path.to_owned(),
        source,
    };
    directory.remove(NEW_FILE_NAME).map_err(failed)?;
    let file = directory
        .file(NEW_FILE_NAME, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
        .map_err(|error| failed(io::Error::other(error)))?
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let synced = file.try_clone().map_err(failed)?;
    contain(|| {
        let database = builder().create_with_backend(FileBackend::new(file)?)?;
        let transaction = begin_durable_write(&database)?;
        let mut id = [0; 16];
        keys::random(&mut id)?;
        tables::create(&transaction, STORE_FORMAT, u128::from_le_bytes(id))?;
        transaction.commit()?;
        database.close()?;
        Ok(())
    })
    .map_err(|trouble| StoreError::of(&directory.path_of(NEW_FILE_NAME), trouble))?;
    synced
        .sync_all()
        .and_then(|()| directory.rename(NEW_FILE_NAME, FILE_NAME))
        .and_then(|()| directory.sync())
        .map_err(failed)
}

/// Returns the process that holds a lock on the file, as far as `/proc/locks` shows it.
fn holder_of(inode: u64) -> Option<u32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let suffix = format!(":{inode}");
    locks.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 4711 08:01:131105 0 EOF
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some("FLOCK")).then_some(())?;
        // 0: a process of another pid namespace.
        let pid = words.nth(2)?.parse().ok().filter(|pid| *pid > 0)?;
        words.next()?.ends_with(&suffix).then_some(pid)
    })
}
