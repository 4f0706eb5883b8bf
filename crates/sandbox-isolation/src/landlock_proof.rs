//! Landlock alone, on a thread of its own: what `sandbox doctor` shows it with.

use std::{fs::File, os::fd::AsFd as _, path::Path, thread};

use crate::{
    launch::ruleset,
    sys::landlock::{self, RulesetAttributes},
};

/// Returns whether `path` can still be read by a thread to which Landlock grants nothing; [`None`] without Landlock.
pub fn read_past_landlock(path: &Path) -> Option<bool> {
    let (handled, _) = ruleset::handled(landlock::abi()?);
    let attributes = RulesetAttributes {
        handled_access_fs: handled,
        handled_access_net: 0,
        scoped: 0,
    };
    // The first field alone, which every version knows.
    let ruleset = landlock::create_ruleset(&attributes, size_of::<u64>()).ok()?;
    let confined = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            rustix::thread::set_no_new_privs(true).ok()?;
            landlock::restrict_self(ruleset.as_fd()).ok()?;
            Some(File::open(path).is_ok())
        });
        reader.join().ok()
    });
    confined.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landlock_keeps_a_file_from_a_thread_and_from_no_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = read_past_landlock(file.path());
        assert_eq!(read, landlock::abi().map(|_| false));
        assert!(File::open(file.path()).is_ok());
    }
}
