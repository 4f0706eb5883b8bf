//! Opening the database file: created whole or not at all, checked, waited for with a bound.

use std::{
    fs::File,
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
    error::{Corruption, StoreError, Trouble},
    tables,
};
use crate::{OpenError, files::Directory};

/// The format of the tables.
pub const STORE_FORMAT: u64 = 1;

const FILE_NAME: &str = "state.redb";
const NEW_FILE_NAME: &str = "state.redb.new";

/// How long another process may keep the store before we give up.
const BUSY_WAIT: Duration = Duration::from_secs(2);
const BUSY_PAUSE_FIRST: Duration = Duration::from_millis(1);
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Pages kept in memory; the store is small and open briefly.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A file up to this size is checked whole each time it is opened, a larger one after an unclean end.
const CHECKED_ALWAYS_BYTES: u64 = 16 * 1024 * 1024;

/// Opens the store in `directory`, and creates it if it is not there.
pub(super) fn open_or_create(directory: &Path) -> Result<(Database, PathBuf), StoreError> {
    let path = directory.join(FILE_NAME);
    let not_opened = |source| StoreError::Open {
        path: path.clone(),
        source,
    };
    let directory = Directory::open_or_make(directory).map_err(not_opened)?;
    let start = Instant::now();
    let mut pause = BUSY_PAUSE_FIRST;
    loop {
        let Some(file) = directory
            .file(FILE_NAME, OFlags::RDWR)
            .map_err(not_opened)?
        else {
            create(&directory, &path)?;
            continue;
        };
        let inode = file
            .metadata()
            .map_err(|error| not_opened(OpenError::System(error)))?;
        match contain(|| open(file, inode.len())) {
            Ok(Opened::Open(database)) => return Ok((database, path)),
            Ok(Opened::Newer(format)) => {
                return Err(StoreError::Newer {
                    path,
                    format,
                    known: STORE_FORMAT,
                });
            }
            Ok(Opened::Busy) if start.elapsed() < BUSY_WAIT => {
                // There is no event for another process's lock that also has a bound.
                thread::park_timeout(pause);
                pause = (pause * 2).min(BUSY_PAUSE_MAX);
            }
            Ok(Opened::Busy) => {
                let holder = holder_of(inode.ino());
                return Err(StoreError::Busy { path, holder });
            }
            Err(trouble) => return Err(StoreError::of(&path, trouble)),
        }
    }
}

enum Opened {
    Open(Database),
    Busy,
    Newer(u64),
}

fn open(file: File, bytes: u64) -> Result<Opened, Trouble> {
    if bytes == 0 {
        // redb would make a new database of it; ours is never empty.
        return Err(Trouble::Damaged(Corruption::NotADatabase));
    }
    let check = bytes <= CHECKED_ALWAYS_BYTES || ended_uncleanly(&file);
    let database = match builder()
        .set_check_integrity_on_open(check)
        .create_with_backend(FileBackend::new(file)?)
    {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Ok(Opened::Busy),
        Err(error) => return Err(error.into()),
    };
    let format = {
        let meta = database.begin_read()?.open_table(tables::META)?;
        let format = redb::ReadableTable::get(&meta, tables::META_FORMAT)?;
        format.map(|format| format.value())
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
/// inside of redb's `create` leaves a file that redb refuses for ever.
fn create(directory: &Directory, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Create {
        path: path.to_owned(),
        source,
    };
    // One at a time; what is left under the other name is of a process that died.
    let _lock = directory.lock().map_err(failed)?;
    let there = directory
        .file(FILE_NAME, OFlags::RDONLY)
        .map_err(|error| failed(io::Error::other(error)))?;
    if there.is_some() {
        return Ok(());
    }
    directory.remove(NEW_FILE_NAME).map_err(failed)?;
    let file = directory
        .file(NEW_FILE_NAME, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
        .map_err(|error| failed(io::Error::other(error)))?
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let synced = file.try_clone().map_err(failed)?;
    contain(|| {
        let database = builder().create_with_backend(FileBackend::new(file)?)?;
        let transaction = begin_durable_write(&database)?;
        tables::create(&transaction, STORE_FORMAT)?;
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
        let pid = words.nth(2)?.parse().ok()?;
        words.next()?.ends_with(&suffix).then_some(pid)
    })
}
