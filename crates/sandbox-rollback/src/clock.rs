//! The file system's own clock: it differs from the system's, and only it can order changes.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};

use crate::stat::{Stat, Time};

/// The longest wait for the clock to move; a tick is 1 to 10 ms on kernels before 6.13.
const TICK_WAIT_MAX: Duration = Duration::from_secs(1);

/// Returns a time that is later than every change made on the file system before the call, and not
/// later than any change made after it.
///
/// With multigrain timestamps (Linux 6.13) touching a file whose ctime was just read gives a fresh
/// fine-grained time, and no later change can get an earlier one. Before, this waits for the next
/// tick of the coarse clock.
pub(crate) fn stamp(file: &OwnedFd) -> io::Result<Time> {
    let before = Stat::of_fd(file)?.ctime;
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let both = Timestamps {
        last_access: now,
        last_modification: now,
    };
    let begun = Instant::now();
    loop {
        rustix::fs::futimens(file, &both)?;
        let time = Stat::of_fd(file)?.ctime;
        if time > before {
            return Ok(time);
        }
        if begun.elapsed() > TICK_WAIT_MAX {
            return Err(io::Error::other("the file system's clock stands still"));
        }
    }
}
