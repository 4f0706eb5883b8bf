//! What operations print that nobody waits for: kept in files of bounded size, and followed from there.
//!
//! ```text
//! <sandbox>/output/<operation>/log.json      locked by who writes, so a log is live as long as the lock is held
//! <sandbox>/output/<operation>/000000.log    the beginning
//! <sandbox>/output/<operation>/000017.log    the end: what lies between is removed as the log grows
//! ```
//! A segment is 8 bytes of magic, how many bytes were printed before it (u64, little-endian), and then pieces:
//! one byte for the stream (1, 2), the length (u32, little-endian), and what was printed, as it was printed.

mod follow;
mod read;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::{FlockOperation, flock};
use sandbox_types::{OperationId, Stream, Verdict};

pub use follow::FollowedOutput;
pub use read::{OutputLog, OutputPiece};

use crate::{
    approvals::Who,
    caller::{Answer, Caller, Event},
    core::SandboxCore,
    history::HistoryError,
    private,
    sandbox::Sandbox,
};

/// How many logs a sandbox keeps. A new one takes the place of the oldest that nobody writes.
pub const LOGS_KEPT_MAX: usize = 32;
/// Below the sandbox's directory.
const DIRECTORY: &str = "output";
const LOCK_FILE: &str = "log.json";
/// What that file says: the version of this form.
const FORMAT: &str = "{\"format\": 1}\n";
const MAGIC: &[u8; 8] = b"SBXOUT1\n";
const SEGMENT_HEAD_BYTES: usize = 16;
const PIECE_HEAD_BYTES: usize = 5;
/// The longest piece. Longer ones are written as several.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// The first segment stays, and as many of the newest.
const NEWEST_KEPT: u64 = 3;
/// Into how many segments of equal size a full log is divided.
const SEGMENTS: u64 = NEWEST_KEPT + 1;
const SEGMENT_BYTES_MIN: u64 = 4 * 1024;

/// The output of an operation cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// There is no such operation, or the journal cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Its output is not kept in a file: it was not detached, or it is too long ago.
    #[error("there is no log of the output of {id}")]
    NotKept {
        /// The operation.
        id: OperationId,
    },
    /// A file cannot be used.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was attempted.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The log is not what was written.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl OutputError {
    fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { verb, path, source }
    }
}

impl SandboxCore {
    /// Begins a log of what the operation prints, which other processes can follow. It takes twice the limit of
    /// captured output at most: the beginning and the end.
    ///
    /// # Errors
    ///
    /// Fails when the files cannot be made, or there is a log of that operation already.
    pub fn keep_output(&self, id: &OperationId) -> Result<OutputKeeper, OutputError> {
        let sandbox = self.shared();
        let all = sandbox.output_directory();
        private::make(&all).map_err(OutputError::file("make", &all))?;
        prune(&all);
        let bytes_max = sandbox.limits.output.get().saturating_mul(2);
        OutputKeeper::begin(&all.join(id.as_str()), bytes_max)
    }

    /// Opens what the operation has printed so far, oldest first. `id` is its name, or a unique beginning or end
    /// of it.
    ///
    /// # Errors
    ///
    /// Fails when there is no such operation, or its output is not kept.
    pub fn output(&self, id: &str) -> Result<OutputLog, OutputError> {
        let id = self.shared().resolve(id)?;
        OutputLog::open(&self.shared().output_directory().join(id.as_str()), id)
    }

    /// Follows what the operation prints, from the beginning until it ends. Must be called in a runtime of tokio
    /// with a clock.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::output`].
    pub fn follow_output(&self, id: &str) -> Result<FollowedOutput, OutputError> {
        self.output(id).map(FollowedOutput::new)
    }
}

impl Sandbox {
    fn output_directory(&self) -> PathBuf {
        self.directory().join(DIRECTORY)
    }

    /// Returns whether the operation's output is kept.
    pub(crate) fn keeps_output(&self, id: &OperationId) -> bool {
        self.output_directory().join(id.as_str()).is_dir()
    }
}

/// Removes the oldest logs that nobody writes, so that there is room for one more.
fn prune(all: &Path) {
    let age = |path: &PathBuf| {
        let metadata = fs::metadata(path.join(LOCK_FILE));
        metadata
            .and_then(|it| it.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    logs.sort_by_cached_key(age);
    let surplus = (logs.len() + 1).saturating_sub(LOGS_KEPT_MAX);
    for log in logs.iter().filter(|log| !is_live(log)).take(surplus) {
        // What cannot be removed now is surplus the next time too.
        let _left = fs::remove_dir_all(log);
    }
}

/// Returns whether somebody writes the log.
fn is_live(log: &Path) -> bool {
    // Unlocked when the file is closed.
    File::open(log.join(LOCK_FILE))
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

fn segment_file(log: &Path, number: u64) -> PathBuf {
    log.join(format!("{number:06}.log"))
}

/// Keeps what an operation prints. Dropping it ends the log.
#[derive(Debug)]
pub struct OutputKeeper {
    directory: PathBuf,
    segment_bytes: u64,
    segment: Option<File>,
    number: u64,
    /// In this segment.
    written: u64,
    /// In all segments.
    printed: u64,
    /// Why nothing is kept any more.
    failure: Option<io::Error>,
    _lock: File,
}

impl OutputKeeper {
    fn begin(directory: &Path, bytes_max: u64) -> Result<Self, OutputError> {
        let mut make = fs::DirBuilder::new();
        make.mode(0o700)
            .create(directory)
            .map_err(OutputError::file("make", directory))?;
        let path = directory.join(LOCK_FILE);
        let lock = || -> io::Result<File> {
            let mut file = new_file(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            file.write_all(FORMAT.as_bytes())?;
            Ok(file)
        };
        let lock = lock().map_err(OutputError::file("write", &path))?;
        let mut keeper = Self {
            directory: directory.to_owned(),
            segment_bytes: (bytes_max / SEGMENTS).max(SEGMENT_BYTES_MIN),
            segment: None,
            number: 0,
            written: 0,
            printed: 0,
            failure: None,
            _lock: lock,
        };
        let first = segment_file(directory, 0);
        keeper
            .start_segment()
            .map_err(OutputError::file("write", &first))?;
        Ok(keeper)
    }

    /// Adds what was printed. What cannot be written, as on a full disk, ends the log; see
    /// [`OutputKeeper::failure`].
    pub fn append(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            if self.failure.is_some() {
                return;
            }
            self.failure = self.write(stream, piece).err();
        }
    }

    /// Returns why nothing is kept any more, if so.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Removes the log: the operation has not run.
    pub fn discard(self) {
        let _left = fs::remove_dir_all(&self.directory);
    }

    fn write(&mut self, stream: Stream, piece: &[u8]) -> io::Result<()> {
        if self.written >= self.segment_bytes {
            self.number += 1;
            self.start_segment()?;
            if let Some(old) = self.number.checked_sub(NEWEST_KEPT).filter(|old| *old > 0) {
                fs::remove_file(segment_file(&self.directory, old))?;
            }
        }
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        let mut record = Vec::with_capacity(PIECE_HEAD_BYTES + piece.len());
        record.push(number_of(stream));
        record.extend(length.to_le_bytes());
        record.extend(piece);
        if let Some(segment) = &mut self.segment {
            segment.write_all(&record)?;
        }
        self.written += record.len() as u64;
        self.printed += u64::from(length);
        Ok(())
    }

    fn start_segment(&mut self) -> io::Result<()> {
        let mut segment = new_file(&segment_file(&self.directory, self.number))?;
        let mut head = MAGIC.to_vec();
        head.extend(self.printed.to_le_bytes());
        segment.write_all(&head)?;
        self.segment = Some(segment);
        self.written = 0;
        Ok(())
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

const fn number_of(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

/// A caller whose operation's output is kept too. Of an operation that never starts, no log is left.
#[derive(Debug)]
pub struct KeepsOutput<C> {
    caller: C,
    keeper: Option<OutputKeeper>,
    started: bool,
}

impl<C> KeepsOutput<C> {
    /// Returns `caller`, with a log.
    pub fn new(caller: C, keeper: OutputKeeper) -> Self {
        Self {
            caller,
            keeper: Some(keeper),
            started: false,
        }
    }
}

impl<C> Drop for KeepsOutput<C> {
    fn drop(&mut self) {
        if let (false, Some(keeper)) = (self.started, self.keeper.take()) {
            keeper.discard();
        }
    }
}

impl<C: Caller> Caller for KeepsOutput<C> {
    fn approve(&mut self, verdict: &Verdict) -> Answer {
        self.caller.approve(verdict)
    }

    fn who(&self) -> Who {
        self.caller.who()
    }

    fn takes_output(&mut self) -> bool {
        self.caller.takes_output()
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(keeper) = &mut self.keeper {
            keeper.append(stream, bytes);
        }
        self.caller.output(stream, bytes);
    }

    fn stdin(&mut self) -> Option<OwnedFd> {
        self.caller.stdin()
    }

    fn terminal(&mut self) -> Option<OwnedFd> {
        self.caller.terminal()
    }

    fn hear(&mut self, event: Event<'_>) {
        self.started |= matches!(event, Event::Started(_));
        self.caller.hear(event);
    }
}
