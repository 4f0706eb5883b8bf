//! The packs, each compared with what the index says of it. Threads share them out.

use std::{
    fs::File,
    io,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{Blocks, Known, VerifyDepth, depth_of, frames::frame};
use crate::{
    file_error::{FileError, cannot},
    progress::Progress,
    repository::{
        cipher::Cipher,
        pack::{self, Form},
    },
};

/// The most threads: more would only wait for storage.
const THREADS_MAX: usize = 8;

/// What packs are compared with, and how much of them.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub(super) directory: &'a Path,
    pub(super) cipher: Option<&'a Cipher>,
    pub(super) depth: VerifyDepth,
    pub(super) blocks: &'a Blocks,
    /// Chunks that are what the index says are marked good.
    pub(super) chunks: &'a Known,
    pub(super) progress: &'a Progress,
}

/// What one pack is like.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) problems: Vec<String>,
    pub(super) bytes_read: u64,
}

/// Compares packs, given with their lengths; returns what they are like in the same order.
pub(super) fn compare(
    with: Comparison<'_>,
    packs: &[(u32, u64)],
) -> Result<Vec<Compared>, FileError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(pack) = packs.get(at) else {
                return done;
            };
            done.push((at, with.pack(*pack)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(THREADS_MAX).min(packs.len());
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, compared)| compared).collect()
}

impl Comparison<'_> {
    fn pack(&self, (number, bytes): (u32, u64)) -> Result<Compared, FileError> {
        let path = pack::path(self.directory, number);
        let name = pack::shown(&path);
        let mut compared = Compared::default();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                compared.problems.push(format!("{name} is missing"));
                return Ok(compared);
            }
            Err(error) => return Err(cannot("open", &path)(error)),
        };
        let length = file.metadata().map_err(cannot("read", &path))?.len();
        if length != bytes {
            let what = format!("{name} has {length} bytes instead of {bytes}");
            compared.problems.push(what);
        }
        let mut strange = Vec::new();
        let form = Form::new(number, self.cipher);
        let examined = pack::examine(&file, form, depth_of(self.depth), |found| {
            if self.depth == VerifyDepth::Data {
                self.progress.add(found.bytes);
            }
            strange.extend(frame(found, number, self.blocks, self.chunks));
            Ok(())
        });
        let (faults, read) = examined.map_err(cannot("read", &path))?;
        compared.bytes_read = read;
        let faults = faults.into_iter().map(|fault| (fault.offset, fault.what));
        for (offset, what) in faults.chain(strange) {
            compared
                .problems
                .push(format!("{name} at {offset}: {what}"));
        }
        Ok(compared)
    }
}
