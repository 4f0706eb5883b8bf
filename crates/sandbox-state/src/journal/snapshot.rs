//! The settled part of the file: frames by their place, from either end, and what follows the last.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::PathBuf, sync::Arc};

use rustix::fs::OFlags;

use super::{
    FILE_NAME, Journal,
    frame::{
        self, END_MARK, FRAME_BYTES_MAX, FRAME_BYTES_MIN, Fault, Frame, START_MARK, TRAILER_BYTES,
    },
    records::ReadError,
};
use crate::files::{Directory, Lock};

/// Most records are smaller: one read fetches them whole.
const FIRST_READ_BYTES: u64 = 4096;

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

/// The file, and how long it was when it was opened: what is before that does not change.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) path: PathBuf,
    /// `None` when there is no journal yet.
    file: Option<Arc<File>>,
    pub(super) end: u64,
}

impl Snapshot {
    pub(super) fn open(journal: &Journal) -> Result<Self, ReadError> {
        let path = journal.path();
        let directory = Directory::open(&journal.directory);
        let file = directory
            .and_then(|directory| {
                directory.map_or(Ok(None), |directory| {
                    directory.file(FILE_NAME, OFlags::RDONLY)
                })
            })
            .map_err(|source| ReadError::Open {
                path: path.clone(),
                source,
            })?;
        let Some(file) = file else {
            return Ok(Self {
                path,
                file: None,
                end: 0,
            });
        };
        // Under the lock nobody is in the middle of an append.
        let length = Lock::shared(&file).and_then(|_lock| Ok(file.metadata()?.len()));
        match length {
            Ok(end) => Ok(Self::of(path, Arc::new(file), end)),
            Err(source) => Err(ReadError::Read {
                path,
                offset: 0,
                source,
            }),
        }
    }

    pub(super) fn of(path: PathBuf, file: Arc<File>, end: u64) -> Self {
        let file = Some(file);
        Self { path, file, end }
    }

    fn read(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let Some(file) = &self.file else {
            return Ok(Vec::new());
        };
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Returns the frame that begins at `offset`.
    pub(super) fn frame_at(&self, offset: u64) -> Result<Frame, Trouble> {
        let available = self.end - offset;
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
        let path = self.path.clone();
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
