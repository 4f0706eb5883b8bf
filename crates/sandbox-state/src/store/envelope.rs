//! A value as it lies in the database: versioned, bound to its place, compressed when large.
//!
//! ```text
//!  0  1  envelope version, 1
//!  1  1  kind: 0 plain, 1 zstd, 2 deletion
//!  2  8  number of the key's version before this one, 0 if it is the first (little endian)
//! 10  8  length of the value
//! 18 32  tag: SHA-256 of the domain, the place and all other bytes of the envelope
//! 50  …  the value, as the kind says
//! ```

use super::error::{Corruption, Trouble};
use crate::{Hash, hash::sha256};

/// The largest value in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Larger values are compressed.
const COMPRESSED_ABOVE_BYTES: usize = 4096;
const COMPRESSION_LEVEL: i32 = 3;

const ENVELOPE_VERSION: u8 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const DELETION: u8 = 2;

const HEAD_BYTES: usize = 18;
const TAG_BYTES: usize = 32;
const DOMAIN: &[u8] = b"sandbox-state value 1\0";

/// Where a value belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) namespace: &'a str,
    pub(super) key: &'a str,
    pub(super) sequence: u64,
}

impl Place<'_> {
    pub(super) fn changed(&self) -> Trouble {
        Trouble::Damaged(Corruption::Value {
            namespace: self.namespace.to_owned(),
            key: self.key.to_owned(),
            sequence: self.sequence,
        })
    }

    pub(super) fn missing(&self) -> Trouble {
        Trouble::Damaged(Corruption::Missing {
            namespace: self.namespace.to_owned(),
            key: self.key.to_owned(),
        })
    }

    fn tag(&self, head: &[u8], stored: &[u8]) -> Hash {
        // Lengths first: no two places give the same bytes.
        sha256(&[
            DOMAIN,
            &(self.namespace.len() as u64).to_le_bytes(),
            self.namespace.as_bytes(),
            &(self.key.len() as u64).to_le_bytes(),
            self.key.as_bytes(),
            &self.sequence.to_le_bytes(),
            head,
            stored,
        ])
    }
}

/// An envelope whose tag is right.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    /// The number of the key's version before this one.
    pub(super) previous: u64,
    pub(super) tag: Hash,
    kind: u8,
    value_bytes: usize,
    stored: &'a [u8],
}

/// Returns the envelope of a value (of a deletion, if there is none) and its tag.
pub(super) fn seal(place: Place<'_>, previous: u64, value: Option<&[u8]>) -> (Vec<u8>, Hash) {
    let plain = value.unwrap_or_default();
    let compressed = (plain.len() > COMPRESSED_ABOVE_BYTES)
        .then(|| zstd::bulk::compress(plain, COMPRESSION_LEVEL).ok())
        .flatten()
        .filter(|compressed| compressed.len() < plain.len());
    let (kind, stored) = match (value, &compressed) {
        (None, _) => (DELETION, plain),
        (Some(_), None) => (PLAIN, plain),
        (Some(_), Some(compressed)) => (ZSTD, compressed.as_slice()),
    };
    let mut bytes = Vec::with_capacity(HEAD_BYTES + TAG_BYTES + stored.len());
    bytes.extend_from_slice(&[ENVELOPE_VERSION, kind]);
    bytes.extend_from_slice(&previous.to_le_bytes());
    bytes.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    let tag = place.tag(&bytes, stored);
    bytes.extend_from_slice(&tag);
    bytes.extend_from_slice(stored);
    (bytes, tag)
}

/// Checks an envelope against the place where it was found.
pub(super) fn open<'a>(place: Place<'_>, bytes: &'a [u8]) -> Result<Envelope<'a>, Trouble> {
    let opened = || {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (tag, stored) = rest.split_first_chunk::<TAG_BYTES>()?;
        if *tag != place.tag(head, stored) {
            return None;
        }
        let (version, head) = head.split_first()?;
        let (kind, head) = head.split_first()?;
        let (previous, head) = head.split_first_chunk()?;
        let (value_bytes, _) = head.split_first_chunk()?;
        let value_bytes = usize::try_from(u64::from_le_bytes(*value_bytes)).ok()?;
        (*version == ENVELOPE_VERSION && value_bytes <= VALUE_BYTES_MAX).then_some(Envelope {
            previous: u64::from_le_bytes(*previous),
            tag: *tag,
            kind: *kind,
            value_bytes,
            stored,
        })
    };
    opened().ok_or_else(|| place.changed())
}

impl Envelope<'_> {
    pub(super) fn is_deletion(&self) -> bool {
        self.kind == DELETION
    }

    /// Returns the value; `None` for a deletion.
    pub(super) fn value(&self, place: Place<'_>) -> Result<Option<Vec<u8>>, Trouble> {
        let value = match self.kind {
            DELETION => return Ok(None),
            PLAIN => Some(self.stored.to_vec()),
            // The tag was checked, so the length is what the writer said, within the limit.
            ZSTD => zstd::bulk::decompress(self.stored, self.value_bytes).ok(),
            _ => None,
        };
        value
            .filter(|value| value.len() == self.value_bytes)
            .map(Some)
            .ok_or_else(|| place.changed())
    }
}
