//! Reads a log, also one that is being written.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use sandbox_types::{OperationId, Stream};

use super::{
    LOCK_FILE, MAGIC, OutputError, PIECE_BYTES_MAX, PIECE_HEAD_BYTES, SEGMENT_HEAD_BYTES, is_live,
    segment_file,
};

/// How often to look again for a segment that was removed between two looks.
const LOOKS_MAX: usize = 100;

/// Something that an operation has printed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutputPiece {
    /// Where.
    pub stream: Stream,
    /// What. It may be cut anywhere, also inside of a character.
    pub bytes: Vec<u8>,
    /// How many bytes were printed before it that the log does not have any more.
    pub skipped: u64,
}

/// What an operation has printed, oldest first.
#[derive(Debug)]
pub struct OutputLog {
    id: OperationId,
    directory: PathBuf,
    segment: Option<Segment>,
    /// How many bytes were read, and skipped.
    passed: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    /// Where the next piece begins.
    at: u64,
    printed_before: u64,
}

impl OutputLog {
    pub(super) fn open(directory: &Path, id: OperationId) -> Result<Self, OutputError> {
        if !directory.join(LOCK_FILE).is_file() {
            return Err(OutputError::NotKept { id });
        }
        Ok(Self {
            id,
            directory: directory.to_owned(),
            segment: None,
            passed: 0,
        })
    }

    /// Returns the operation.
    pub fn id(&self) -> &OperationId {
        &self.id
    }

    /// Returns whether more may come: what prints is still there.
    pub fn is_live(&self) -> bool {
        is_live(&self.directory)
    }

    /// Returns what was printed next; `None` if there is no more yet.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be read, or is damaged.
    pub fn next_piece(&mut self) -> Result<Option<OutputPiece>, OutputError> {
        loop {
            let Some(segment) = &mut self.segment else {
                if self.open_segment(0)? {
                    continue;
                }
                return Ok(None);
            };
            let number = segment.number;
            let read = segment.read();
            let path = segment_file(&self.directory, number);
            if let Some((stream, bytes)) = read.map_err(|error| of_read(error, &path))? {
                let before = self.before(number);
                let skipped = before.saturating_sub(self.passed);
                self.passed += skipped + bytes.len() as u64;
                if let Some(segment) = &mut self.segment {
                    segment.printed_before += bytes.len() as u64;
                }
                return Ok(Some(OutputPiece {
                    stream,
                    bytes,
                    skipped,
                }));
            }
            if !self.open_segment(number + 1)? {
                return Ok(None);
            }
        }
    }

    fn before(&self, number: u64) -> u64 {
        let segment = self.segment.as_ref().filter(|it| it.number == number);
        segment.map_or(self.passed, |it| it.printed_before)
    }

    /// Goes to the first segment from `least` on; returns whether there is one.
    fn open_segment(&mut self, least: u64) -> Result<bool, OutputError> {
        for _ in 0..LOOKS_MAX {
            let Some(number) = self.first_from(least)? else {
                return Ok(false);
            };
            let path = segment_file(&self.directory, number);
            match Segment::open(&path, number) {
                Ok(Some(segment)) => {
                    // What was being written at the last look is whole, now that there is a later segment.
                    let last = self.segment.as_mut().map(Segment::has_more);
                    if last.transpose().map_err(|error| of_read(error, &path))? == Some(true) {
                        return Ok(true);
                    }
                    self.segment = Some(segment);
                    return Ok(true);
                }
                Ok(None) => return Ok(false),
                // Removed since: a later one is there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(of_read(error, &path)),
            }
        }
        Ok(false)
    }

    fn first_from(&self, least: u64) -> Result<Option<u64>, OutputError> {
        let list = fs::read_dir(&self.directory);
        let entries = list.map_err(OutputError::file("read", &self.directory))?;
        let numbers = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".log")?.parse::<u64>().ok()
        });
        Ok(numbers.filter(|number| *number >= least).min())
    }
}

impl Segment {
    /// Opens a segment; `None` if its head is not written yet.
    fn open(path: &Path, number: u64) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let mut head = [0; SEGMENT_HEAD_BYTES];
        if read_as_far(&mut file, &mut head)? < head.len() {
            return Ok(None);
        }
        let (magic, before) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut printed = [0; 8];
        printed.copy_from_slice(before);
        Ok(Some(Self {
            number,
            file,
            at: SEGMENT_HEAD_BYTES as u64,
            printed_before: u64::from_le_bytes(printed),
        }))
    }

    /// Whether there is a piece that was not read.
    fn has_more(&mut self) -> io::Result<bool> {
        Ok(
            self.file.metadata()?.len() >= self.at + PIECE_HEAD_BYTES as u64
                && self.peek()?.is_some(),
        )
    }

    fn peek(&mut self) -> io::Result<Option<(Stream, Vec<u8>)>> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut head = [0; PIECE_HEAD_BYTES];
        if read_as_far(&mut self.file, &mut head)? < head.len() {
            return Ok(None);
        }
        let [stream, length @ ..] = head;
        let stream = match stream {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > PIECE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        let whole = read_as_far(&mut self.file, &mut bytes)? == length;
        Ok(whole.then_some((stream, bytes)))
    }

    /// Reads the next piece; `None` if it is not there, or not all of it.
    fn read(&mut self) -> io::Result<Option<(Stream, Vec<u8>)>> {
        let piece = self.peek()?;
        if let Some((_, bytes)) = &piece {
            self.at += (PIECE_HEAD_BYTES + bytes.len()) as u64;
        }
        Ok(piece)
    }
}

/// Fills the buffer as far as the file reaches.
fn read_as_far(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn of_read(error: io::Error, path: &Path) -> OutputError {
    if error.kind() == io::ErrorKind::InvalidData {
        return OutputError::Damaged {
            path: path.to_owned(),
        };
    }
    OutputError::file("read", path)(error)
}
