//! One record as bytes: `docs/reference/journal-format.md` is the specification.

use serde::Serialize;

use crate::hash::{Hash, sha256};

/// The newest version of the frame, the last byte of its start mark.
pub const FORMAT_VERSION: u8 = 2;

/// The version of frames in the first file of a journal; those in later files have 2, so that a program which knows of
/// one file only does not take a part for the whole.
pub(super) const FIRST_FILE_VERSION: u8 = 1;

/// The largest body of a record in bytes: a report with both output streams at their limits fits.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

// 0xFF occurs in no JSON text (it is never part of UTF-8), so a body cannot contain a mark.
pub(super) const START_MARK: [u8; 3] = [0xFF, b'S', b'J'];
pub(super) const END_MARK: [u8; 4] = [0x00, b'J', b'S', 0xFF];

pub(super) const HEADER_BYTES: usize = 48;
pub(super) const TRAILER_BYTES: usize = 8;
/// Bytes of a frame that are not its body.
pub(super) const FRAME_BYTES_MIN: usize = HEADER_BYTES + 32 + TRAILER_BYTES;
pub(super) const FRAME_BYTES_MAX: usize = FRAME_BYTES_MIN + BODY_BYTES_MAX;

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The bytes where a record must begin are not a start mark.
    #[error("no record begins here")]
    StartMark,
    /// A length is impossible, or the two lengths of the record differ.
    #[error("its length is wrong")]
    Length,
    /// The bytes where the record must end are not an end mark.
    #[error("it does not end where it should")]
    EndMark,
    /// The hash is not that of the content.
    #[error("its content was changed: the hash differs")]
    Hash,
    /// The record was written by a newer program.
    #[error("it has a format version that is not known")]
    Version,
    /// The sequence number does not follow the one before.
    #[error("its sequence number does not follow: records are missing, added or moved")]
    Sequence,
    /// The record does not continue the one before.
    #[error("it does not continue the record before it")]
    Chain,
    /// The body is not the JSON document that a body is.
    #[error("its body is not a record")]
    Body,
    /// The file that the record lies in is not there.
    #[error("the file is missing")]
    Missing,
    /// A damaged last record was found and moved aside before this one was appended.
    #[error("damaged records before it were moved aside")]
    MovedAside,
}

/// A frame whose length, marks and hash are right.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) version: u8,
    pub(super) sequence: u64,
    pub(super) previous: Hash,
    pub(super) hash: Hash,
    bytes: Vec<u8>,
}

impl Frame {
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.bytes.len() - 32 - TRAILER_BYTES]
    }

    /// Returns the length of the whole frame in bytes.
    pub(super) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Reads a whole frame.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Frame, Fault> {
    if frame_length(&bytes)? != bytes.len() {
        return Err(Fault::Length);
    }
    let (hashed, rest) = bytes.split_at(bytes.len() - 32 - TRAILER_BYTES);
    let (hash, trailer) = rest.split_at(32);
    if trailer[4..] != END_MARK {
        return Err(Fault::EndMark);
    }
    if trailer[..4] != bytes[4..8] {
        return Err(Fault::Length);
    }
    if hash != sha256(&[hashed]) {
        return Err(Fault::Hash);
    }
    // Only now: a flipped bit in the version is a changed record, not a newer program.
    let version = hashed[3];
    if !(FIRST_FILE_VERSION..=FORMAT_VERSION).contains(&version) {
        return Err(Fault::Version);
    }
    Ok(Frame {
        version,
        sequence: u64::from_le_bytes(array(&hashed[8..16])),
        previous: array(&hashed[16..48]),
        hash: array(hash),
        bytes,
    })
}

/// Returns the length that a frame declares in its first 8 bytes.
pub(super) fn frame_length(start: &[u8]) -> Result<usize, Fault> {
    if start.len() < 8 || start[..3] != START_MARK {
        return Err(Fault::StartMark);
    }
    length_of_body(&start[4..8])
}

/// Returns the length that a frame declares in its last 8 bytes.
pub(super) fn frame_length_from_trailer(trailer: &[u8]) -> Result<usize, Fault> {
    if trailer.len() != TRAILER_BYTES || trailer[4..] != END_MARK {
        return Err(Fault::EndMark);
    }
    length_of_body(&trailer[..4])
}

fn length_of_body(field: &[u8]) -> Result<usize, Fault> {
    match usize::try_from(u32::from_le_bytes(array(field))) {
        Ok(length @ 1..=BODY_BYTES_MAX) => Ok(FRAME_BYTES_MIN + length),
        _ => Err(Fault::Length),
    }
}

/// Copies a slice whose length the caller has checked.
fn array<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(slice);
    bytes
}

/// A frame being made: the body first, without a lock; the place in the chain at the end.
#[derive(Debug)]
pub(super) struct Draft {
    bytes: Vec<u8>,
}

/// Why a payload cannot be a body.
#[derive(Debug)]
pub(super) enum DraftError {
    Serialize(serde_json::Error),
    TooLarge(usize),
    TooDeep,
}

/// The deepest nesting of a body; `serde_json` reads no more than 128.
pub(super) const DEPTH_MAX: usize = 120;

impl Draft {
    /// Writes `body` as JSON.
    pub(super) fn new(body: &impl Serialize) -> Result<Self, DraftError> {
        // Enough for the report of a usual operation, with the hash and the end of its frame.
        let mut bytes = Vec::with_capacity(2048);
        bytes.resize(HEADER_BYTES, 0);
        serde_json::to_writer(&mut bytes, body).map_err(DraftError::Serialize)?;
        let length = bytes.len() - HEADER_BYTES;
        if length > BODY_BYTES_MAX {
            return Err(DraftError::TooLarge(length));
        }
        let json = &bytes[HEADER_BYTES..];
        // Few brackets are not nested deeply, wherever they are; counting them takes a tenth of the time.
        if opening(json) > DEPTH_MAX && depth(json) > DEPTH_MAX {
            return Err(DraftError::TooDeep);
        }
        Ok(Self { bytes })
    }

    /// Returns the frame as the record `sequence` after the one with hash `previous`, and its hash.
    pub(super) fn finish(&self, version: u8, sequence: u64, previous: &Hash) -> (Vec<u8>, Hash) {
        let mut bytes = Vec::with_capacity(self.frame_bytes());
        let hash = self.finish_into(&mut bytes, version, sequence, previous);
        (bytes, hash)
    }

    /// Appends that frame to `bytes`, and returns its hash.
    pub(super) fn finish_into(
        &self,
        bytes: &mut Vec<u8>,
        version: u8,
        sequence: u64,
        previous: &Hash,
    ) -> Hash {
        let start = bytes.len();
        bytes.extend_from_slice(&self.bytes);
        let frame = &mut bytes[start..];
        let length = u32::try_from(frame.len() - HEADER_BYTES)
            .expect("a body of at most BODY_BYTES_MAX bytes")
            .to_le_bytes();
        frame[..3].copy_from_slice(&START_MARK);
        frame[3] = version;
        frame[4..8].copy_from_slice(&length);
        frame[8..16].copy_from_slice(&sequence.to_le_bytes());
        frame[16..48].copy_from_slice(previous);
        let hash = sha256(&[frame]);
        bytes.extend_from_slice(&hash);
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&END_MARK);
        hash
    }

    /// Returns the length of the whole frame in bytes.
    pub(super) fn frame_bytes(&self) -> usize {
        self.bytes.len() + 32 + TRAILER_BYTES
    }
}

/// Returns how many brackets open in a JSON text, those in strings included.
pub(super) fn opening(json: &[u8]) -> usize {
    // The two differ in one bit; sums that fit into a byte are made of many bytes at once.
    let opens = |byte: &u8| u8::from(byte | 0x20 == b'{');
    let counts = json.chunks(usize::from(u8::MAX));
    counts
        .map(|part| usize::from(part.iter().map(opens).sum::<u8>()))
        .sum()
}

/// Returns how deep arrays and objects are nested in a JSON text.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    deepest
}
