//! Locks that the kernel releases when their holder dies: flock(2).

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};

/// How long a commit, undo or recovery waits for another one.
pub(crate) const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);

/// The pause between two attempts: short at first, for most holders have little to do.
const LOCK_PAUSE: Duration = Duration::from_micros(100);
const LOCK_PAUSE_LONGEST: Duration = Duration::from_millis(5);

/// Opens a lock file, creating it if it is absent.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Takes the lock alone if nobody holds it; returns whether it did.
pub(crate) fn try_exclusive(file: &OwnedFd) -> io::Result<bool> {
    attempt(file, FlockOperation::NonBlockingLockExclusive)
}

/// Takes the lock, waiting at most [`LOCK_WAIT_MAX`]; returns whether it did.
pub(crate) fn wait_exclusive(file: &OwnedFd) -> io::Result<bool> {
    wait_exclusive_for(file, LOCK_WAIT_MAX)
}

/// Takes the lock together with others, waiting at most [`LOCK_WAIT_MAX`]; returns whether it did.
pub(crate) fn wait_shared(file: &OwnedFd) -> io::Result<bool> {
    wait_shared_for(file, LOCK_WAIT_MAX)
}

/// As [`wait_exclusive`], with a wait of its own.
pub(crate) fn wait_exclusive_for(file: &OwnedFd, wait_max: Duration) -> io::Result<bool> {
    wait(file, FlockOperation::NonBlockingLockExclusive, wait_max)
}

/// As [`wait_shared`], with a wait of its own.
pub(crate) fn wait_shared_for(file: &OwnedFd, wait_max: Duration) -> io::Result<bool> {
    wait(file, FlockOperation::NonBlockingLockShared, wait_max)
}

fn wait(file: &OwnedFd, operation: FlockOperation, wait_max: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    let mut pause = LOCK_PAUSE;
    while !attempt(file, operation)? {
        if begun.elapsed() > wait_max {
            return Ok(false);
        }
        // flock has no timeout, and the holder may be another process: ask again.
        thread::park_timeout(pause);
        pause = (pause * 2).min(LOCK_PAUSE_LONGEST);
    }
    Ok(true)
}

fn attempt(file: &OwnedFd, operation: FlockOperation) -> io::Result<bool> {
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
