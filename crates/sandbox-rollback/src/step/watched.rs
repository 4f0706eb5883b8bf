//! In tests each change can fail, and somebody can watch.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::AsFd,
    path::Path,
    rc::Rc,
};

use redb::{StorageBackend, backends::FileBackend};

use crate::stat::{Stat, Time};

/// What a watcher is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// A change on disk comes next.
    Change,
    /// The file with this inode becomes durable.
    Sync(u64),
    /// Everything becomes durable.
    SyncAll,
    /// A call returned: what it promised holds from here on.
    Returned,
}

type Watcher = Rc<dyn Fn(Event)>;

/// A file that stands for another one: of a picture of the disk that was taken elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandsFor {
    pub(crate) ino: u64,
    pub(crate) ctime: Time,
    /// Its own time: while it has it, the file is as it was in the picture.
    pub(crate) own_ctime: Time,
}

/// Which files, by their real inodes, stand for which.
#[derive(Debug)]
pub(crate) struct Doubles {
    pub(crate) by_ino: BTreeMap<u64, StandsFor>,
    /// What is added to the inodes of all others, so that they are no double's.
    pub(crate) others_plus: u64,
}

thread_local! {
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    static PLAIN: Cell<bool> = const { Cell::new(false) };
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    static DOUBLES: RefCell<Option<Doubles>> = const { RefCell::new(None) };
}

/// Announces one change on disk; fails once the countdown of this thread has run out.
pub(crate) fn step() -> io::Result<()> {
    tell(Event::Change);
    LEFT.with(|left| match left.get() {
        None => Ok(()),
        Some(0) => Err(io::Error::other("the test stops the engine here")),
        Some(steps) => {
            left.set(Some(steps - 1));
            Ok(())
        }
    })
}

/// Runs `work` with `steps` changes allowed; returns its result and whether it ran out.
pub(crate) fn with_steps<T>(steps: u64, work: impl FnOnce() -> T) -> (T, bool) {
    LEFT.with(|left| left.set(Some(steps)));
    let result = work();
    let ran_out = LEFT.with(|left| left.replace(None)) == Some(0);
    (result, ran_out)
}

/// Returns whether renameat2(2) may be tried with flags.
pub(crate) fn knows_flags() -> bool {
    !PLAIN.get()
}

/// Runs `work` as on a file system that refuses the flags of renameat2(2).
pub(crate) fn without_flags<T>(work: impl FnOnce() -> T) -> T {
    PLAIN.set(true);
    let result = work();
    PLAIN.set(false);
    result
}

/// Runs `work` and tells `watcher` of its changes.
pub(crate) fn watched<T>(watcher: Watcher, work: impl FnOnce() -> T) -> T {
    WATCHER.set(Some(watcher));
    let result = work();
    WATCHER.set(None);
    result
}

/// Says that a call returned.
pub(crate) fn returned() {
    tell(Event::Returned);
}

fn tell(event: Event) {
    // A watcher that looks at the disk is not watched itself.
    let watcher = WATCHER.with_borrow_mut(Option::take);
    if let Some(watcher) = watcher {
        watcher(event);
        WATCHER.set(Some(watcher));
    }
}

/// From now on these files are seen as those that they stand for.
pub(crate) fn set_doubles(doubles: Option<Doubles>) {
    DOUBLES.set(doubles);
}

/// Returns what a file is seen as.
pub(crate) fn as_seen(stat: Stat) -> Stat {
    DOUBLES.with_borrow(|doubles| {
        let Some(doubles) = doubles else { return stat };
        let Some(double) = doubles.by_ino.get(&stat.ino) else {
            let ino = stat.ino + doubles.others_plus;
            return Stat { ino, ..stat };
        };
        let ctime = if stat.ctime == double.own_ctime {
            double.ctime
        } else {
            stat.ctime
        };
        Stat {
            ino: double.ino,
            ctime,
            ..stat
        }
    })
}

fn sync(of: impl AsFd, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    tell(Event::Change);
    sync()?;
    tell(Event::Sync(Stat::of_fd(of)?.ino));
    Ok(())
}

pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    sync(file, || file.sync_data())
}

pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    sync(file, || file.sync_all())
}

pub(crate) fn sync_file_system(of: impl AsFd) -> io::Result<()> {
    tell(Event::Change);
    rustix::fs::syncfs(of)?;
    tell(Event::SyncAll);
    Ok(())
}

/// A database's file, watched: between two syncs its writes have no order.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    file: FileBackend,
    ino: u64,
}

impl StorageBackend for DatabaseFile {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        tell(Event::Change);
        self.file.sync_data()?;
        tell(Event::Sync(self.ino));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }

    fn try_lock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
}

pub(crate) fn database_file(path: &Path) -> Result<DatabaseFile, redb::DatabaseError> {
    let file = File::options().read(true).write(true).open(path)?;
    let ino = Stat::of_fd(&file)?.ino;
    let file = FileBackend::new(file)?;
    Ok(DatabaseFile { file, ino })
}
