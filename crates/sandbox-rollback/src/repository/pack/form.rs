//! The form of a pack's parts: as they are, or sealed.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use sha2::{Digest as _, Sha256};

use super::{
    super::{
        cipher::{Cipher, NONCE_BYTES, Nonce},
        frame::{self, CHECK_BYTES, Fault, Header},
        key::{SLOT_BYTES, Slot},
        wire::{In, Out},
    },
    sealed,
};

const HEAD_MAGIC: &[u8; 6] = b"SBPACK";
/// The version of a pack, and that of a sealed one.
const VERSION: u16 = 1;
const SEALED_VERSION: u16 = 2;
const FOOT_MAGIC: &[u8; 4] = b"SBE1";
const HEAD_BYTES: usize = 16;
const FOOT_BYTES: usize = 32;
/// What is read of a frame at first: the header of one with fifty chunks.
const HEADER_BYTES_MOST: usize = 2048;

/// How the bytes of one pack are written.
#[derive(Clone, Copy, Debug)]
pub(in crate::repository) struct Form<'a> {
    number: u32,
    cipher: Option<&'a Cipher>,
}

/// A frame whose header was read.
pub(super) struct Located {
    pub(super) header: Header,
    pub(super) payload_at: u64,
    /// The whole frame.
    pub(super) bytes: u64,
    offset: u64,
    nonce: Nonce,
}

impl<'a> Form<'a> {
    pub(in crate::repository) fn new(number: u32, cipher: Option<&'a Cipher>) -> Self {
        Self { number, cipher }
    }

    /// Returns the first bytes of the pack: its number, and the wrapped key if it is sealed.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut out = self.numbered();
        if let Some(cipher) = self.cipher {
            out.extend_from_slice(&cipher.slot.0);
        }
        out
    }

    fn numbered(&self) -> Vec<u8> {
        let mut out = Out::default();
        out.bytes(HEAD_MAGIC);
        out.u16(match self.cipher {
            None => VERSION,
            Some(_) => SEALED_VERSION,
        });
        out.u64(u64::from(self.number));
        out.0
    }

    pub(super) fn head_bytes(&self) -> u64 {
        self.sized(HEAD_BYTES, HEAD_BYTES + SLOT_BYTES)
    }

    pub(super) fn foot_bytes(&self) -> u64 {
        self.sized(FOOT_BYTES, FOOT_BYTES + sealed::FOOT_EXTRA_BYTES)
    }

    fn sized(&self, plain: usize, sealed: usize) -> u64 {
        self.cipher.map_or(plain, |_| sealed) as u64
    }

    /// Begins the check over the pack. The wrapped key is not in it: another one may take its place.
    pub(super) fn checks(&self) -> Sha256 {
        Sha256::new_with_prefix(self.numbered())
    }

    pub(super) fn foot(&self, (frames, bytes): (u32, u64), checks: Sha256) -> io::Result<Vec<u8>> {
        let foot = plain_foot((frames, bytes), checks);
        match self.cipher {
            None => Ok(foot),
            Some(cipher) => sealed::foot(cipher, (self.number, bytes), &foot),
        }
    }

    /// Returns whether the pack ends as it must.
    pub(super) fn has_foot(
        &self,
        file: &File,
        (frames, bytes): (u32, u64),
        checks: Sha256,
    ) -> bool {
        let length = self.foot_bytes();
        let mut found = vec![0; usize::try_from(length).unwrap_or(0)];
        let start = bytes.checked_sub(length);
        let start = start.filter(|start| *start >= self.head_bytes());
        let read = start.is_some_and(|start| file.read_exact_at(&mut found, start).is_ok());
        let opened = match self.cipher {
            None => Some(found),
            Some(cipher) => sealed::open_foot(cipher, (self.number, bytes), &found),
        };
        read && opened.is_some_and(|foot| foot == plain_foot((frames, bytes), checks))
    }

    /// Returns whether a frame may begin with these bytes. Sealed ones look like any others.
    pub(super) fn may_begin(&self, bytes: &[u8]) -> bool {
        self.cipher.is_some() || bytes.starts_with(&frame::MAGIC)
    }

    /// Reads the header at `offset`; the frame must end before `end`.
    pub(super) fn frame_at(&self, file: &File, offset: u64, end: u64) -> Result<Located, Fault> {
        let located = match self.cipher {
            None => plain_frame(file, offset)?,
            Some(cipher) => self.sealed_frame(cipher, file, offset)?,
        };
        if offset + located.bytes > end {
            return Err(Fault::Header);
        }
        Ok(located)
    }

    fn sealed_frame(&self, cipher: &Cipher, file: &File, offset: u64) -> Result<Located, Fault> {
        let place = (self.number, offset);
        let begin = read(file, offset, sealed::PREFIX_BYTES)?;
        let (nonce, mut bytes) = sealed::open_prefix(cipher, place, &begin).ok_or(Fault::Header)?;
        let length = frame::header_bytes(&bytes)?;
        let rest_at = offset + sealed::PREFIX_BYTES as u64;
        let rest = read(file, rest_at, sealed::rest_bytes(length))?;
        let rest = sealed::open_rest(cipher, place, (&nonce, &rest)).ok_or(Fault::Header)?;
        bytes.extend(rest);
        let header = Header::parse(&bytes)?;
        let payload_at = rest_at + sealed::rest_bytes(length) as u64;
        let payload = sealed::payload_bytes(header.payload_bytes) as u64;
        Ok(Located {
            header,
            payload_at,
            bytes: payload_at + payload - offset,
            offset,
            nonce,
        })
    }

    /// Reads the payload of a frame into `payload`.
    pub(super) fn payload(
        &self,
        file: &File,
        located: &Located,
        payload: &mut Vec<u8>,
    ) -> io::Result<Result<(), Fault>> {
        let length = located.header.payload_bytes;
        let Some(cipher) = self.cipher else {
            payload.resize(length, 0);
            file.read_exact_at(payload, located.payload_at)?;
            return Ok(Ok(()));
        };
        payload.resize(sealed::payload_bytes(length), 0);
        file.read_exact_at(payload, located.payload_at)?;
        let place = (self.number, located.offset);
        let opened = sealed::open_payload(cipher, place, (&located.nonce, payload));
        Ok(opened.map(|opened| *payload = opened).ok_or(Fault::Payload))
    }
}

fn plain_foot((frames, bytes): (u32, u64), mut checks: Sha256) -> Vec<u8> {
    let mut out = Out::default();
    out.bytes(FOOT_MAGIC);
    out.u32(frames);
    out.u64(bytes);
    checks.update(&out.0);
    out.bytes(&checks.finalize()[..CHECK_BYTES]);
    out.0
}

/// Reads a header, most of them at once.
fn plain_frame(file: &File, offset: u64) -> Result<Located, Fault> {
    let mut begin = [0; HEADER_BYTES_MOST];
    let got = read_some(file, offset, &mut begin)?;
    let begin = &begin[..got];
    let length = frame::header_bytes(begin)?;
    let header = match begin.get(..length) {
        Some(header) => Header::parse(header)?,
        None => Header::parse(&read(file, offset, length)?)?,
    };
    let length = length as u64;
    Ok(Located {
        payload_at: offset + length,
        bytes: length + header.payload_bytes as u64,
        offset,
        header,
        nonce: [0; NONCE_BYTES],
    })
}

/// Reads until `bytes` is full or the file ends, and returns how much that is.
fn read_some(file: &File, offset: u64, bytes: &mut [u8]) -> Result<usize, Fault> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_unreadable) => return Err(Fault::Header),
        }
    }
    Ok(got)
}

fn read(file: &File, offset: u64, length: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; length];
    let read = file.read_exact_at(&mut bytes, offset);
    read.map_err(|_cut_off| Fault::Header)?;
    Ok(bytes)
}

/// Returns the wrapped key in a pack's head; `None` if the pack is not sealed, or damaged there.
pub(in crate::repository) fn slot_of(file: &File) -> Option<Slot> {
    let mut head = [0; HEAD_BYTES + SLOT_BYTES];
    file.read_exact_at(&mut head, 0).ok()?;
    let mut input = In(&head);
    let known = input.take(HEAD_MAGIC.len())? == HEAD_MAGIC && input.u16()? == SEALED_VERSION;
    let _number = input.u64()?;
    known.then_some(Slot(input.array()?))
}

/// Puts another wrapped key into a pack's head.
pub(in crate::repository) fn write_slot(file: &File, slot: &Slot) -> io::Result<()> {
    file.write_all_at(&slot.0, HEAD_BYTES as u64)
}
