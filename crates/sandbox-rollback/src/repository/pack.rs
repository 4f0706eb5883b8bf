//! A pack: a file of frames with a head and a foot, written once.
//!
//! ```text
//! head (16)   "SBPACK", version, number of the pack
//! frames      one after the other
//! foot (32)   "SBE1", number of frames, length of the file, check over all of it
//! ```
//!
//! In an encrypted repository each part is sealed, and bound to its place: see `sealed.rs`.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

mod form;
mod sealed;

pub(super) use form::{Form, slot_of, write_slot};

use super::{
    cipher::Sealing,
    frame::{self, CHECK_BYTES, Fault, Header},
};
use crate::step::{self, step};
use form::Located;

/// The size at which a pack is closed and another one begun.
const PACK_BYTES: u64 = 64 << 20;

/// How much is searched at a time for the frame after a damaged one.
const SEARCH_BYTES: usize = 1 << 20;

/// Returns where the pack of that number lies.
pub(super) fn path(packs: &Path, number: u32) -> PathBuf {
    packs.join(format!("{number:08}.pack"))
}

/// Returns a pack's directory and name, for messages.
pub(super) fn shown(path: &Path) -> String {
    let mut names = path.iter().rev().take(2).map(|name| name.to_string_lossy());
    let name = names.next().unwrap_or_default();
    format!("{}/{name}", names.next().unwrap_or_default())
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
    sealing: Sealing,
}

/// A pack that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    pub(super) number: u32,
    pub(super) bytes: u64,
}

impl Draft {
    pub(super) fn create(packs: &Path, number: u32, sealing: Sealing) -> io::Result<Self> {
        step()?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path(packs, number))?;
        Self::over(file, number, sealing)
    }

    /// Begins a pack in `file`, which is empty or takes what is written one after the other.
    pub(super) fn over(file: File, number: u32, sealing: Sealing) -> io::Result<Self> {
        let form = Form::new(number, sealing.as_deref());
        let mut file = BufWriter::with_capacity(256 << 10, file);
        file.write_all(&form.head())?;
        Ok(Self {
            file,
            number,
            bytes: form.head_bytes(),
            frames: 0,
            checks: form.checks(),
            sealing,
        })
    }

    fn form(&self) -> Form<'_> {
        Form::new(self.number, self.sealing.as_deref())
    }

    /// Appends a frame; returns where it begins and how long it is there.
    pub(super) fn append(
        &mut self,
        frame: &[u8],
        check: [u8; CHECK_BYTES],
    ) -> io::Result<(u64, u64)> {
        let offset = self.bytes;
        let written = match &self.sealing {
            None => {
                self.file.write_all(frame)?;
                frame.len()
            }
            Some(cipher) => {
                let sealed = sealed::frame(cipher, (self.number, offset), frame)?;
                self.file.write_all(&sealed)?;
                sealed.len()
            }
        } as u64;
        self.bytes += written;
        self.frames += 1;
        self.checks.update(check);
        Ok((offset, written))
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= PACK_BYTES
    }

    /// Writes the foot, and makes the content durable; the name is not yet.
    pub(super) fn finish_durably(self) -> io::Result<Packed> {
        let file = self.file.get_ref().try_clone()?;
        let packed = self.finish()?;
        match step::sync_data(&file) {
            // A pipe or a terminal.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            synced => synced?,
        }
        Ok(packed)
    }

    /// Writes the foot; nothing is durable yet.
    pub(super) fn finish(mut self) -> io::Result<Packed> {
        let bytes = self.bytes + self.form().foot_bytes();
        let foot = self
            .form()
            .foot((self.frames, bytes), self.checks.clone())?;
        self.file.write_all(&foot)?;
        self.file.flush()?;
        step()?;
        Ok(Packed {
            number: self.number,
            bytes,
        })
    }
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

/// Memory that is used again for each frame.
#[derive(Debug, Default)]
struct Buffers {
    payload: Vec<u8>,
    block: Vec<u8>,
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
    form: Form<'_>,
    depth: Depth,
    mut visit: impl FnMut(&Found) -> io::Result<()>,
) -> io::Result<(Vec<PackFault>, u64)> {
    let mut faults = Vec::new();
    let mut fault = |offset, what| faults.push(PackFault { offset, what });
    let length = file.metadata()?.len();
    let mut read = 0;
    let head = form.head();
    let mut start = vec![0; head.len()];
    if length < form.head_bytes() || file.read_exact_at(&mut start, 0).is_err() || start != head {
        fault(0, "its head is damaged");
    }
    let end = length.saturating_sub(form.foot_bytes());
    let mut checks = form.checks();
    let (mut offset, mut frames) = (form.head_bytes(), 0_u32);
    let mut buffers = Buffers::default();
    while offset < end {
        match form.frame_at(file, offset, end) {
            Ok(located) => {
                let block = (depth == Depth::Payloads)
                    .then(|| unpack(file, form, &located, &mut buffers))
                    .transpose()?;
                let Located { header, bytes, .. } = located;
                read += if depth == Depth::Payloads {
                    bytes
                } else {
                    located.payload_at - offset
                };
                checks.update(header.check);
                frames += 1;
                let found = Found {
                    offset,
                    bytes,
                    header,
                    block,
                };
                visit(&found)?;
                if let Some(Ok(block)) = found.block {
                    buffers.block = block;
                }
                offset += bytes;
            }
            Err(_damaged) => {
                fault(offset, Fault::Header.as_str());
                offset = next_frame(file, form, (offset + 1, end))?;
            }
        }
    }
    if !form.has_foot(file, (frames, length), checks) {
        fault(end, "its foot is damaged, or it was cut");
    }
    Ok((faults, read))
}

/// Returns the block of a frame, in the memory of `buffers`.
fn unpack(
    file: &File,
    form: Form<'_>,
    located: &Located,
    buffers: &mut Buffers,
) -> io::Result<Result<Vec<u8>, Fault>> {
    let Buffers { payload, block } = buffers;
    let unpacked = form
        .payload(file, located, payload)?
        .and_then(|()| located.header.unpack(payload, block));
    Ok(unpacked.map(|()| std::mem::take(block)))
}

/// Returns where the next whole header is, or `end`.
fn next_frame(file: &File, form: Form<'_>, (mut from, end): (u64, u64)) -> io::Result<u64> {
    let mut window = vec![0; SEARCH_BYTES];
    while from < end {
        let wanted =
            usize::try_from(end - from).map_or(SEARCH_BYTES, |left| left.min(SEARCH_BYTES));
        file.read_exact_at(&mut window[..wanted], from)?;
        for at in 0..wanted {
            let offset = from + at as u64;
            if form.may_begin(&window[at..wanted]) && form.frame_at(file, offset, end).is_ok() {
                return Ok(offset);
            }
        }
        if wanted < SEARCH_BYTES {
            break;
        }
        // A magic number may lie across two windows.
        from += (wanted - frame::MAGIC.len()) as u64;
    }
    Ok(end)
}

/// Reads one frame whose place is known, and returns its header and its block.
pub(super) fn read(
    file: &File,
    form: Form<'_>,
    (offset, bytes): (u64, u32),
) -> io::Result<Result<(Header, Vec<u8>), Fault>> {
    let end = offset.saturating_add(u64::from(bytes));
    let located = match form.frame_at(file, offset, end) {
        Ok(located) => located,
        Err(fault) => return Ok(Err(fault)),
    };
    let block = unpack(file, form, &located, &mut Buffers::default())?;
    Ok(block.map(|block| (located.header, block)))
}
