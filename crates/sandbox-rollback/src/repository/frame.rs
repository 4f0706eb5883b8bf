//! A frame: a header that says all about itself, and one block of chunks, compressed or stored.

use std::{cell::RefCell, io};

use sha2::{Digest as _, Sha256};
use zstd::bulk::{Compressor, Decompressor};

use super::{
    node::Hash,
    wire::{In, Out},
};

pub(super) const MAGIC: [u8; 4] = *b"SBF1";

/// The bytes before the table of members.
pub(super) const PREFIX_BYTES: usize = 36;
/// The bytes of one member in the table.
pub(super) const MEMBER_BYTES: usize = 36;
/// The bytes of a check: the first half of a SHA-256.
pub(super) const CHECK_BYTES: usize = 16;

/// The most chunks in one block.
pub(super) const MEMBERS_MAX: usize = 4096;
/// The largest block before compression: one chunk of the largest size.
pub(super) const BLOCK_BYTES_MAX: usize = 4 << 20;

/// The size up to which small chunks are put into one block. zstd makes of 256 KiB of source code four
/// hundredths less than of twice 128 KiB, and of 512 KiB nothing less than that.
const BUNDLE_BYTES: usize = 256 << 10;

/// zstd's fastest level of the usual ones: the knee between time and size.
const LEVEL: i32 = 1;
/// What shrinks by less than 1/25 is stored as it is.
const SHRINK_MIN: usize = 25;
/// How much of a large block is tried first.
const TRIAL_BYTES: usize = 64 << 10;

/// What the chunks of a block are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Data = 1,
    Tree = 2,
    Snapshot = 3,
    Deletion = 4,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        [Self::Data, Self::Tree, Self::Snapshot, Self::Deletion]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// Whether blocks are compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// With zstd, unless that gains nothing.
    Zstd,
    /// As they are.
    None,
}

/// Chunks that are kept together.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
    pub(super) members: Vec<(Hash, u32)>,
}

impl Block {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            bytes: Vec::with_capacity(BUNDLE_BYTES),
            members: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, hash: Hash, chunk: &[u8]) {
        let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(chunk);
        self.members.push((hash, length));
    }

    /// Returns whether a chunk of `bytes` belongs into another block.
    pub(super) fn is_full_for(&self, bytes: usize) -> bool {
        let full = self.bytes.len() + bytes > BUNDLE_BYTES || self.members.len() >= MEMBERS_MAX;
        !self.members.is_empty() && full
    }
}

/// What stands before a payload.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    compressed: bool,
    block_bytes: usize,
    pub(super) payload_bytes: usize,
    payload_check: [u8; CHECK_BYTES],
    pub(super) members: Vec<(Hash, u32)>,
    pub(super) check: [u8; CHECK_BYTES],
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Header,
    Payload,
    Content,
}

impl Fault {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Header => "its header is damaged",
            Self::Payload => "its bytes are damaged",
            Self::Content => "it does not hold what its header says",
        }
    }
}

/// Returns the first half of the SHA-256 of `parts`.
pub(super) fn check_of(parts: &[&[u8]]) -> [u8; CHECK_BYTES] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    first_half(&digest.finalize().into())
}

fn first_half(hash: &[u8; 32]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash[..CHECK_BYTES]);
    check
}

/// Returns the bytes of a frame and its header's check.
pub(super) fn encode(block: &Block, compression: Compression) -> (Vec<u8>, [u8; CHECK_BYTES]) {
    let compressed = match compression {
        Compression::Zstd => compress(&block.bytes),
        Compression::None => None,
    };
    let payload = compressed.as_deref().unwrap_or(&block.bytes);
    let mut out = Out(Vec::with_capacity(
        PREFIX_BYTES + block.members.len() * MEMBER_BYTES + CHECK_BYTES + payload.len(),
    ));
    out.bytes(&MAGIC);
    out.u8(block.kind as u8);
    out.u8(u8::from(compressed.is_some()));
    out.u16(0);
    out.count(block.members.len());
    out.count(block.bytes.len());
    out.count(payload.len());
    out.bytes(&match (&compressed, block.members.as_slice()) {
        // The payload is the chunk, whose SHA-256 is known: there may be gigabytes of them.
        (None, [(Hash(hash), _)]) => first_half(hash),
        _ => check_of(&[payload]),
    });
    for (hash, length) in &block.members {
        out.bytes(&hash.0);
        out.u32(*length);
    }
    let check = check_of(&[&out.0]);
    out.bytes(&check);
    out.bytes(payload);
    (out.0, check)
}

thread_local! {
    /// zstd's tables: to make and clear them for each block would cost as much as a small block.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

pub(super) fn zstd_compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(compressor) => compressor.compress(bytes),
        None => kept.insert(Compressor::new(LEVEL)?).compress(bytes),
    })
}

/// Unpacks into `out`, which then has at most as many bytes as it has room for, or `bytes_max`.
pub(super) fn zstd_decompress(bytes: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> io::Result<()> {
    out.clear();
    out.reserve_exact(bytes_max);
    DECOMPRESSOR.with_borrow_mut(|kept| {
        match kept {
            Some(decompressor) => decompressor.decompress_to_buffer(bytes, out),
            None => kept
                .insert(Decompressor::new()?)
                .decompress_to_buffer(bytes, out),
        }
        .map(drop)
    })
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let worth = |bytes: &[u8]| {
        let compressed = zstd_compress(bytes).ok()?;
        let limit = bytes.len() - bytes.len() / SHRINK_MIN;
        (compressed.len() < limit).then_some(compressed)
    };
    if bytes.len() > 2 * TRIAL_BYTES {
        worth(&bytes[..TRIAL_BYTES])?;
    }
    worth(bytes)
}

/// Returns how long the header is that begins with `prefix`.
pub(super) fn header_bytes(prefix: &[u8]) -> Result<usize, Fault> {
    let mut input = In(prefix.get(8..).unwrap_or_default());
    let members = input.u32().and_then(|count| usize::try_from(count).ok());
    let members = members.filter(|count| (1..=MEMBERS_MAX).contains(count));
    let known = prefix.starts_with(&MAGIC);
    match members {
        Some(members) if known => Ok(PREFIX_BYTES + members * MEMBER_BYTES + CHECK_BYTES),
        _ => Err(Fault::Header),
    }
}

impl Header {
    /// Reads a whole header and checks all of it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if header_bytes(bytes)? != bytes.len() {
            return Err(Fault::Header);
        }
        let (body, check) = bytes.split_at(bytes.len() - CHECK_BYTES);
        let expected = check_of(&[body]);
        if check != expected {
            return Err(Fault::Header);
        }
        Self::read(body, expected).ok_or(Fault::Header)
    }

    fn read(body: &[u8], check: [u8; CHECK_BYTES]) -> Option<Self> {
        let mut input = In(body);
        input.take(MAGIC.len())?;
        let kind = Kind::of(input.u8()?)?;
        let compressed = match input.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        if input.u16()? != 0 {
            return None;
        }
        let count = input.u32()?;
        let block_bytes = usize::try_from(input.u32()?).ok()?;
        let payload_bytes = usize::try_from(input.u32()?).ok()?;
        let payload_check = input.array()?;
        let mut members = Vec::new();
        let mut total = 0_usize;
        for _ in 0..count {
            let hash = Hash(input.array()?);
            let length = input.u32()?;
            total = total.checked_add(usize::try_from(length).ok()?)?;
            members.push((hash, length));
        }
        // A payload is never larger than its block: what does not shrink is stored.
        let sound = total == block_bytes
            && block_bytes <= BLOCK_BYTES_MAX
            && payload_bytes <= block_bytes
            && (compressed || payload_bytes == block_bytes);
        sound.then_some(Self {
            kind,
            compressed,
            block_bytes,
            payload_bytes,
            payload_check,
            members,
            check,
        })
    }

    /// Puts the block's bytes into `block`, checked against the payload's check. Never makes it larger
    /// than [`BLOCK_BYTES_MAX`]. What is in `payload` afterwards is of no use.
    pub(super) fn unpack(&self, payload: &mut Vec<u8>, block: &mut Vec<u8>) -> Result<(), Fault> {
        if check_of(&[payload]) != self.payload_check {
            return Err(Fault::Payload);
        }
        if !self.compressed {
            std::mem::swap(payload, block);
            return Ok(());
        }
        match zstd_decompress(payload, self.block_bytes, block) {
            Ok(()) if block.len() == self.block_bytes => Ok(()),
            Ok(()) | Err(_) => Err(Fault::Content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: &[u8]) -> Block {
        let mut block = Block::new(Kind::Data);
        block.add(Hash::of(bytes), bytes);
        block
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for compression in [Compression::Zstd, Compression::None] {
            let content = b"abcdefgh".repeat(40);
            let (frame, _) = encode(&block(&content), compression);
            for bit in 0..frame.len() * 8 {
                let mut bad = frame.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(unpacked(&bad).is_err(), "bit {bit}");
            }
            assert_eq!(unpacked(&frame).unwrap(), content);
        }
    }

    fn unpacked(frame: &[u8]) -> Result<Vec<u8>, Fault> {
        let length = header_bytes(frame)?;
        let header = Header::parse(frame.get(..length).ok_or(Fault::Header)?)?;
        let mut block = Vec::new();
        header.unpack(&mut frame[length..].to_vec(), &mut block)?;
        Ok(block)
    }

    #[test]
    fn one_chunk_as_it_is_has_the_check_of_its_payload() {
        let content = b"abcdefgh".repeat(40);
        let (frame, _) = encode(&block(&content), Compression::None);
        assert_eq!(frame[20..36], check_of(&[&content]));
        let mut two = block(&content);
        two.add(Hash::of(b"x"), b"x");
        let (frame, _) = encode(&two, Compression::None);
        assert_eq!(frame[20..36], check_of(&[&content, b"x"]));
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        // One that claims a small block and holds a large one, with right checks.
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        let claimed = vec![0; bomb.len() + 1];
        let (frame, _) = encode(&block(&claimed), Compression::None);
        let length = header_bytes(&frame).unwrap();
        let mut header = Header::parse(&frame[..length]).unwrap();
        header.compressed = true;
        header.payload_check = check_of(&[&bomb]);
        let mut block = Vec::new();
        assert_eq!(
            header.unpack(&mut bomb.clone(), &mut block),
            Err(Fault::Content)
        );
        assert!(block.capacity() <= BLOCK_BYTES_MAX);
    }
}
