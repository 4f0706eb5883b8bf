//! A pack: a file of frames with a head and a foot, written once.
//!
//! ```text
//! head (16)   "SBPACK", version, number of the pack
//! frames      one after the other
//! foot (32)   "SBE1", number of frames, length of the file, check over all of it
//! ```

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    frame::{self, CHECK_BYTES, Fault, Header, PREFIX_BYTES},
    wire::Out,
};
use crate::step::{self, step};

const HEAD_MAGIC: &[u8; 6] = b"SBPACK";
const VERSION: u16 = 1;
const FOOT_MAGIC: &[u8; 4] = b"SBE1";
const HEAD_BYTES: u64 = 16;
const FOOT_BYTES: u64 = 32;

/// The size at which a pack is closed and another one begun.
const PACK_BYTES: u64 = 64 << 20;

/// How much is searched at a time for the frame after a damaged one.
const SEARCH_BYTES: usize = 1 << 20;

/// Returns where the pack of that number lies.
pub(super) fn path(packs: &Path, number: u32) -> PathBuf {
    packs.join(format!("{number:08}.pack"))
}

/// Returns the number in a pack's file name.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".pack")?;
    let number: u32 = digits.parse().ok()?;
    (format!("{number:08}") == digits).then_some(number)
}

/// A pack that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    file: BufWriter<File>,
    pub(super) number: u32,
    bytes: u64,
    frames: u32,
    checks: Sha256,
}

/// A pack that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    pub(super) number: u32,
    pub(super) bytes: u64,
}

impl Draft {
    pub(super) fn create(packs: &Path, number: u32) -> io::Result<Self> {
        step()?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path(packs, number))?;
        Self::over(file, number)
    }

    /// Begins a pack in `file`, which is empty or takes what is written one after the other.
    pub(super) fn over(file: File, number: u32) -> io::Result<Self> {
        let head = head(number);
        let mut file = BufWriter::with_capacity(256 << 10, file);
        file.write_all(&head)?;
        Ok(Self {
            file,
            number,
            bytes: HEAD_BYTES,
            frames: 0,
            checks: Sha256::new_with_prefix(&head),
        })
    }

    /// Appends a frame and returns where it begins.
    pub(super) fn append(&mut self, frame: &[u8], check: [u8; CHECK_BYTES]) -> io::Result<u64> {
        let offset = self.bytes;
        self.file.write_all(frame)?;
        self.bytes += frame.len() as u64;
        self.frames += 1;
        self.checks.update(check);
        Ok(offset)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= PACK_BYTES
    }

    /// Writes the foot, and makes the content durable; the name is not yet.
    pub(super) fn finish(mut self) -> io::Result<Packed> {
        let bytes = self.bytes + FOOT_BYTES;
        let foot = foot(self.frames, bytes, self.checks);
        self.file.write_all(&foot)?;
        self.file.flush()?;
        step()?;
        match step::sync_data(self.file.get_ref()) {
            // A pipe or a terminal.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            synced => synced?,
        }
        Ok(Packed {
            number: self.number,
            bytes,
        })
    }
}

fn head(number: u32) -> Vec<u8> {
    let mut out = Out::default();
    out.bytes(HEAD_MAGIC);
    out.u16(VERSION);
    out.u64(u64::from(number));
    out.0
}

fn foot(frames: u32, bytes: u64, mut checks: Sha256) -> Vec<u8> {
    let mut out = Out::default();
    out.bytes(FOOT_MAGIC);
    out.u32(frames);
    out.u64(bytes);
    checks.update(&out.0);
    out.bytes(&checks.finalize()[..CHECK_BYTES]);
    out.0
}

/// A frame as it was found in a pack.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) offset: u64,
    /// Header and payload.
    pub(super) bytes: u64,
    pub(super) header: Header,
    /// The block, if it was asked for.
    pub(super) block: Option<Result<Vec<u8>, Fault>>,
}

/// Whether the payloads are read too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Depth {
    Headers,
    Payloads,
}

/// What is wrong with a pack as a whole, or at one place of it.
#[derive(Debug)]
pub(super) struct PackFault {
    pub(super) offset: u64,
    pub(super) what: &'static str,
}

/// Looks at every frame of a pack, and returns what is wrong with it and how many bytes were read.
/// After damage it goes on with the next frame that is whole.
pub(super) fn examine(
    file: &File,
    number: u32,
    depth: Depth,
    mut visit: impl FnMut(Found) -> io::Result<()>,
) -> io::Result<(Vec<PackFault>, u64)> {
    let mut faults = Vec::new();
    let mut fault = |offset, what| faults.push(PackFault { offset, what });
    let length = file.metadata()?.len();
    let mut read = 0;
    let head = head(number);
    let mut start = vec![0; head.len()];
    if length < HEAD_BYTES || file.read_exact_at(&mut start, 0).is_err() || start != head {
        fault(0, "its head is damaged");
    }
    let end = length.saturating_sub(FOOT_BYTES);
    let mut checks = Sha256::new_with_prefix(&head);
    let (mut offset, mut frames) = (HEAD_BYTES, 0_u32);
    while offset < end {
        match frame_at(file, offset, end) {
            Ok((header, header_bytes)) => {
                let payload = offset + header_bytes;
                let bytes = header_bytes + header.payload_bytes as u64;
                let block = (depth == Depth::Payloads)
                    .then(|| unpack(file, payload, &header))
                    .transpose()?;
                read += if depth == Depth::Payloads {
                    bytes
                } else {
                    header_bytes
                };
                checks.update(header.check);
                frames += 1;
                visit(Found {
                    offset,
                    bytes,
                    header,
                    block,
                })?;
                offset += bytes;
            }
            Err(_damaged) => {
                fault(offset, Fault::Header.as_str());
                offset = next_frame(file, offset + 1, end)?;
            }
        }
    }
    let expected = foot(frames, length, checks);
    let mut found = vec![0; expected.len()];
    if length < HEAD_BYTES + FOOT_BYTES
        || file.read_exact_at(&mut found, end).is_err()
        || found != expected
    {
        fault(end, "its foot is damaged, or it was cut");
    }
    Ok((faults, read))
}

fn unpack(file: &File, offset: u64, header: &Header) -> io::Result<Result<Vec<u8>, Fault>> {
    let mut payload = vec![0; header.payload_bytes];
    file.read_exact_at(&mut payload, offset)?;
    Ok(header.unpack(payload))
}

/// Reads the header at `offset`; the frame must end before `end`.
fn frame_at(file: &File, offset: u64, end: u64) -> Result<(Header, u64), Fault> {
    let mut bytes = vec![0; PREFIX_BYTES];
    let read = |bytes: &mut [u8], offset| {
        file.read_exact_at(bytes, offset)
            .map_err(|_cut_off| Fault::Header)
    };
    read(&mut bytes, offset)?;
    let length = frame::header_bytes(&bytes)?;
    bytes.resize(length, 0);
    read(&mut bytes[PREFIX_BYTES..], offset + PREFIX_BYTES as u64)?;
    let header = Header::parse(&bytes)?;
    let length = length as u64;
    if offset + length + header.payload_bytes as u64 > end {
        return Err(Fault::Header);
    }
    Ok((header, length))
}

/// Returns where the next whole header is, or `end`.
fn next_frame(file: &File, mut from: u64, end: u64) -> io::Result<u64> {
    let magic = b"SBF1";
    let mut window = vec![0; SEARCH_BYTES];
    while from < end {
        let wanted =
            usize::try_from(end - from).map_or(SEARCH_BYTES, |left| left.min(SEARCH_BYTES));
        file.read_exact_at(&mut window[..wanted], from)?;
        for at in 0..wanted {
            let offset = from + at as u64;
            if window[at..wanted].starts_with(magic) && frame_at(file, offset, end).is_ok() {
                return Ok(offset);
            }
        }
        if wanted < SEARCH_BYTES {
            break;
        }
        // A magic number may lie across two windows.
        from += (wanted - magic.len()) as u64;
    }
    Ok(end)
}

/// Reads one frame whose place is known, and returns its header and its block.
pub(super) fn read(
    file: &File,
    offset: u64,
    bytes: u32,
) -> io::Result<Result<(Header, Vec<u8>), Fault>> {
    let end = offset.saturating_add(u64::from(bytes));
    let (header, length) = match frame_at(file, offset, end) {
        Ok(found) => found,
        Err(fault) => return Ok(Err(fault)),
    };
    let block = unpack(file, offset + length, &header)?;
    Ok(block.map(|block| (header, block)))
}
