//! The settled part of the file: frames by their place, from either end, and what follows the last.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rustix::fs::OFlags;

use super::{
    FILE_NAME, Journal,
    frame::{
        self, END_MARK, FRAME_BYTES_MAX, FRAME_BYTES_MIN, Fault, Frame, START_MARK, TRAILER_BYTES,
    },
    records::ReadError,
    segments::{self, Sealed},
};
use crate::files::{Directory, Lock};

/// Most records are smaller: one read fetches them whole.
const FIRST_READ_BYTES: u64 = 4096;

/// How much is read at once by who reads everything.
const AHEAD_BYTES: u64 = 256 * 1024;

/// How much is searched at once for the last whole record.
const SEARCH_BYTES: u64 = 64 * 1024;

const _: () = assert!(FRAME_BYTES_MIN < 4096, "the first read holds a header");

/// Why no record was read.
#[derive(Debug)]
pub(super) enum Trouble {
    System(io::Error),
    Fault(Fault),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What follows the last whole record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rest {
    Nothing,
    /// An append was cut off.
    Torn,
    /// Whole records were changed, or something else was written there.
    Damaged,
}

/// The files, and how long they were when they were opened: what is before that does not change.
///
/// Offsets count from the beginning of the oldest file.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) path: PathBuf,
    directory: Option<Arc<Directory>>,
    /// Oldest first; none when there is no journal yet.
    parts: Vec<Part>,
    pub(super) end: u64,
}

/// One file of a journal.
#[derive(Debug)]
struct Part {
    name: String,
    /// Where it begins.
    start: u64,
    /// Opened when something is read from it.
    file: OnceLock<Arc<File>>,
    /// It must be there, and is not. It has no bytes then.
    is_missing: bool,
}

/// A part of a journal that was read ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    start: u64,
    bytes: Vec<u8>,
}

impl Ahead {
    /// Returns the whole frame that begins at `offset`; `None` if it is not there.
    fn frame(&self, offset: u64) -> Option<&[u8]> {
        let skipped = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let rest = self.bytes.get(skipped..)?;
        rest.get(..frame::frame_length(rest).ok()?)
    }

    fn has_frame(&self, offset: u64) -> bool {
        self.frame(offset).is_some()
    }
}

impl Snapshot {
    pub(super) fn open(journal: &Journal) -> Result<Self, ReadError> {
        let path = journal.path();
        let opened = Directory::open(&journal.directory).and_then(|directory| {
            let Some(directory) = directory else {
                return Ok(None);
            };
            let file = directory.file(FILE_NAME, OFlags::RDONLY)?;
            Ok(Some((Arc::new(directory), file.map(Arc::new))))
        });
        match opened {
            Ok(Some((directory, Some(file)))) => Self::of_all(path, directory, file),
            Ok(Some((directory, None))) => {
                Self::without_newest(path.clone(), directory).map_err(|source| ReadError::Read {
                    path,
                    offset: 0,
                    source,
                })
            }
            Ok(None) => Ok(Self::none(path)),
            Err(source) => Err(ReadError::Open { path, source }),
        }
    }

    /// There is no journal yet.
    fn none(path: PathBuf) -> Self {
        Self {
            path,
            directory: None,
            parts: Vec::new(),
            end: 0,
        }
    }

    /// The journal whose newest file is not there: none, or one that somebody has damaged.
    fn without_newest(path: PathBuf, directory: Arc<Directory>) -> io::Result<Self> {
        let mut parts = Vec::new();
        let end = add(&mut parts, segments::sealed(&directory, None)?);
        if parts.is_empty() {
            return Ok(Self::none(path));
        }
        parts.push(Part {
            name: FILE_NAME.to_owned(),
            start: end,
            file: OnceLock::new(),
            is_missing: true,
        });
        Ok(Self {
            path,
            directory: Some(directory),
            parts,
            end,
        })
    }

    /// The journal that ends with this file.
    pub(super) fn of_all(
        path: PathBuf,
        directory: Arc<Directory>,
        file: Arc<File>,
    ) -> Result<Self, ReadError> {
        // Under the lock nobody is in the middle of an append, and the file is not sealed meanwhile.
        let found = Lock::shared(&file)
            .and_then(|_lock| Self::locked(path.clone(), directory, Arc::clone(&file)));
        found.map_err(|source| ReadError::Read {
            path,
            offset: 0,
            source,
        })
    }

    /// The journal that ends with this file, which is locked.
    pub(super) fn locked(
        path: PathBuf,
        directory: Arc<Directory>,
        file: Arc<File>,
    ) -> io::Result<Self> {
        let mut parts = Vec::new();
        let start = add(&mut parts, segments::sealed(&directory, Some(&file))?);
        let live = Self::of(path, Arc::clone(&file), file.metadata()?.len());
        parts.extend(live.parts.into_iter().map(|part| Part { start, ..part }));
        Ok(Self {
            path: live.path,
            directory: Some(directory),
            parts,
            end: start + live.end,
        })
    }

    /// The newest file alone.
    pub(super) fn of(path: PathBuf, file: Arc<File>, end: u64) -> Self {
        let live = Part {
            name: FILE_NAME.to_owned(),
            start: 0,
            file: OnceLock::from(file),
            is_missing: false,
        };
        Self {
            path,
            directory: None,
            parts: vec![live],
            end,
        }
    }

    /// Returns where the newest file begins.
    pub(super) fn newest_start(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.start)
    }

    /// Returns the first file that is not there.
    pub(super) fn missing(&self) -> Option<&str> {
        let part = self.parts.iter().find(|part| part.is_missing);
        part.map(|part| part.name.as_str())
    }

    /// Whether the records that belong at `offset` are in a file that is not there.
    pub(super) fn is_missing_at(&self, offset: u64) -> bool {
        self.missing_at(offset).is_some()
    }

    fn missing_at(&self, offset: u64) -> Option<&Part> {
        let mut missing = self.parts.iter().filter(|part| part.is_missing);
        missing.find(|part| part.start == offset)
    }

    /// Returns the file that has the byte at `offset`, and the place of that byte in it.
    pub(super) fn place_of(&self, offset: u64) -> (PathBuf, u64) {
        let there = || self.parts.iter().rev().find(|part| part.start <= offset);
        let part = self.missing_at(offset).or_else(there);
        part.map_or((self.path.clone(), offset), |part| {
            (self.path.with_file_name(&part.name), offset - part.start)
        })
    }

    fn file_of(&self, part: &Part) -> io::Result<Arc<File>> {
        if let Some(file) = part.file.get() {
            return Ok(Arc::clone(file));
        }
        let directory = self.directory.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let file = directory
            .file(&part.name, OFlags::RDONLY)
            .map_err(io::Error::other)?;
        let file = Arc::new(file.ok_or(io::ErrorKind::NotFound)?);
        Ok(Arc::clone(part.file.get_or_init(|| file)))
    }

    fn read(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let ends = self.parts.iter().skip(1).map(|part| part.start);
        for (part, end) in self.parts.iter().zip(ends.chain([self.end])) {
            let (from, to) = (offset.max(part.start), (offset + length).min(end));
            if from >= to {
                continue;
            }
            // Both are within `bytes`, whose length is a `usize`.
            let within = |at: u64| usize::try_from(at - offset).map_err(io::Error::other);
            let wanted = &mut bytes[within(from)?..within(to)?];
            self.file_of(part)?
                .read_exact_at(wanted, from - part.start)?;
        }
        Ok(bytes)
    }

    /// Returns the frame that begins at `offset`.
    pub(super) fn frame_at(&self, offset: u64) -> Result<Frame, Trouble> {
        let available = self.end.checked_sub(offset).ok_or(Fault::Length)?;
        let mut bytes = self.read(offset, available.min(FIRST_READ_BYTES))?;
        let length = frame::frame_length(&bytes)?;
        if length as u64 > available {
            return Err(Fault::Length.into());
        }
        if length > bytes.len() {
            bytes = self.read(offset, length as u64)?;
        }
        bytes.truncate(length);
        Ok(frame::decode(bytes)?)
    }

    /// Returns the frame that begins at `offset`, for who reads one after the other.
    pub(super) fn frame_ahead(&self, offset: u64, ahead: &mut Ahead) -> Result<Frame, Trouble> {
        let available = self.end.checked_sub(offset).ok_or(Fault::Length)?;
        if !ahead.has_frame(offset)
            && let Ok(bytes) = self.read(offset, available.min(AHEAD_BYTES))
        {
            *ahead = Ahead {
                start: offset,
                bytes,
            };
        }
        match ahead.frame(offset) {
            Some(bytes) if bytes.len() as u64 <= available => Ok(frame::decode(bytes.to_vec())?),
            // A large one, or one that is damaged.
            Some(_) | None => self.frame_at(offset),
        }
    }

    /// Returns the frame that ends before `end`.
    pub(super) fn frame_before(&self, end: u64) -> Result<Frame, Trouble> {
        let mut bytes = self.read(
            end.saturating_sub(FIRST_READ_BYTES),
            end.min(FIRST_READ_BYTES),
        )?;
        let trailer = bytes.len().saturating_sub(TRAILER_BYTES);
        let length = frame::frame_length_from_trailer(&bytes[trailer..])?;
        if length as u64 > end {
            return Err(Fault::Length.into());
        }
        if length > bytes.len() {
            bytes = self.read(end - length as u64, length as u64)?;
        }
        bytes.drain(..bytes.len() - length);
        Ok(frame::decode(bytes)?)
    }

    /// Returns the last whole frame and where it ends; `None` if there is none.
    pub(super) fn last_whole(&self) -> io::Result<Option<(Frame, u64)>> {
        let mark_bytes = END_MARK.len() as u64;
        let mut high = self.end;
        while high > 0 {
            let low = high.saturating_sub(SEARCH_BYTES);
            // A mark may begin in this part and end in the one after it.
            let part = self.read(low, (high + mark_bytes - 1).min(self.end) - low)?;
            for (at, _) in part
                .windows(END_MARK.len())
                .enumerate()
                .rev()
                .filter(|(_, window)| *window == END_MARK)
            {
                let end = low + at as u64 + mark_bytes;
                match self.frame_before(end) {
                    Ok(frame) => return Ok(Some((frame, end))),
                    Err(Trouble::System(error)) => return Err(error),
                    Err(Trouble::Fault(_)) => {}
                }
            }
            high = low;
        }
        Ok(None)
    }

    /// Says what follows `offset`, where the last whole record ends.
    ///
    /// Torn is what one append leaves that was cut off: the beginning of one frame; or zeros, which
    /// is what file systems show for bytes that a power cut kept from storage.
    pub(super) fn rest_after(&self, offset: u64) -> io::Result<Rest> {
        let length = self.end - offset;
        if length == 0 {
            return Ok(Rest::Nothing);
        }
        if length > FRAME_BYTES_MAX as u64 {
            return Ok(Rest::Damaged);
        }
        let rest = self.read(offset, length)?;
        Ok(if is_torn(&rest) {
            Rest::Torn
        } else {
            Rest::Damaged
        })
    }

    /// Returns the error that says what was wrong, and where.
    pub(super) fn error(&self, offset: u64, trouble: Trouble) -> ReadError {
        let (path, offset) = self.place_of(offset);
        match trouble {
            Trouble::System(source) => ReadError::Read {
                path,
                offset,
                source,
            },
            Trouble::Fault(source) => ReadError::Damaged {
                path,
                offset,
                source,
            },
        }
    }
}

/// Adds full files to the parts of a journal, and returns where the next one begins.
fn add(parts: &mut Vec<Part>, sealed: Vec<Sealed>) -> u64 {
    let mut start = 0;
    for sealed in sealed {
        parts.push(Part {
            name: sealed.name,
            start,
            file: OnceLock::new(),
            is_missing: sealed.is_missing,
        });
        start += sealed.bytes;
    }
    start
}

fn is_torn(rest: &[u8]) -> bool {
    let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if zeros(rest) {
        return true;
    }
    if rest
        .windows(END_MARK.len())
        .any(|window| window == END_MARK)
    {
        return false;
    }
    if rest.len() < 8 {
        let known = rest.len().min(START_MARK.len());
        return rest[..known] == START_MARK[..known];
    }
    match frame::frame_length(rest) {
        Ok(declared) if declared == rest.len() => zeros(&rest[rest.len() - TRAILER_BYTES..]),
        Ok(declared) => declared > rest.len(),
        Err(_) => false,
    }
}
