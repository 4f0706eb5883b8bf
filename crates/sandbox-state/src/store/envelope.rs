//! A row of the table of versions: what it says, bound to its place.
//!
//! The layout is specified in `docs/reference/state-format.md`.

use std::{borrow::Borrow, ops::Deref};

use super::error::{Corruption, Trouble};
use crate::{Hash, hash::sha256};

const LAYOUT: u8 = 1;
const FACTS_BYTES: usize = 43;
const HEAD_BYTES: usize = FACTS_BYTES + 32;
const TAG_BYTES: usize = 32;
const DOMAIN: &[u8] = b"sandbox-state version 1\0";

/// The bit of the form that says that the value is apart.
const APART: u8 = 0x80;

/// The number of a store, made when it was created: a row of another store does not fit into it.
pub(super) type StoreId = u128;

/// Where a row belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) store: StoreId,
    pub(super) namespace: &'a str,
    pub(super) key: &'a str,
    pub(super) sequence: u64,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A value.
    Value,
    /// The key was deleted.
    Deletion,
    /// Versions that retention removed, one after the other.
    Gap,
}

/// What was done with a value before it was stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Encoding {
    #[default]
    None,
    Compressed,
    Sealed,
}

/// How a value lies in the database.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Form {
    pub(super) encoding: Encoding,
    /// Not in the row but in the table of values.
    pub(super) apart: bool,
}

impl Form {
    pub(super) fn is_sealed(self) -> bool {
        self.encoding == Encoding::Sealed
    }
}

/// The facts of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) form: Form,
    /// The number of the version among those of its key; of a gap, that of its last version.
    pub(super) number: u64,
    /// The sequence of the row before it of the same key; 0 if there is none.
    pub(super) previous: u64,
    /// Microseconds since 1970; 0 for a gap.
    pub(super) at: i64,
    /// The number of the version that this one restores, or 0; of a gap, the sequence of its first
    /// version.
    pub(super) origin: u64,
    /// The length of the value; of a gap, how many versions are gone.
    pub(super) size: u64,
}

/// What a row says, whose tag is right: all but the payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) sequence: u64,
    pub(super) facts: Facts,
    pub(super) tag: Hash,
    /// The SHA-256 of the payload.
    pub(super) digest: Hash,
}

/// A whole row: tag and payload are right.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) head: Head,
    /// The payload, if it is not apart.
    pub(super) inline: Vec<u8>,
}

impl Deref for Row {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

impl Borrow<Head> for Row {
    fn borrow(&self) -> &Head {
        &self.head
    }
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

    /// Returns bytes that no other place gives: the lengths come first.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.store.to_le_bytes().to_vec();
        for name in [self.namespace, self.key] {
            bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes
    }
}

impl Facts {
    pub(super) fn to_bytes(self) -> [u8; FACTS_BYTES] {
        let mut bytes = [0; FACTS_BYTES];
        bytes[0] = LAYOUT;
        bytes[1] = match self.kind {
            Kind::Value => 0,
            Kind::Deletion => 1,
            Kind::Gap => 2,
        };
        bytes[2] = match self.form.encoding {
            Encoding::None => 0,
            Encoding::Compressed => 1,
            Encoding::Sealed => 2,
        };
        bytes[2] |= if self.form.apart { APART } else { 0 };
        bytes[3..11].copy_from_slice(&self.number.to_le_bytes());
        bytes[11..19].copy_from_slice(&self.previous.to_le_bytes());
        bytes[19..27].copy_from_slice(&self.at.to_le_bytes());
        bytes[27..35].copy_from_slice(&self.origin.to_le_bytes());
        bytes[35..43].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; FACTS_BYTES]) -> Option<Self> {
        let number = |at: usize| {
            let (number, _) = bytes.get(at..)?.split_first_chunk()?;
            Some(u64::from_le_bytes(*number))
        };
        let kind = match bytes[1] {
            0 => Kind::Value,
            1 => Kind::Deletion,
            2 => Kind::Gap,
            _ => return None,
        };
        let encoding = match bytes[2] & !APART {
            0 => Encoding::None,
            1 => Encoding::Compressed,
            2 => Encoding::Sealed,
            _ => return None,
        };
        let form = Form {
            encoding,
            apart: bytes[2] & APART != 0,
        };
        (bytes[0] == LAYOUT).then_some(Self {
            kind,
            form,
            number: number(3)?,
            previous: number(11)?,
            at: number(19)?.cast_signed(),
            origin: number(27)?,
            size: number(35)?,
        })
    }
}

/// Returns the row of these facts and this payload, and its tag.
pub(super) fn write(place: Place<'_>, facts: Facts, payload: &[u8]) -> (Vec<u8>, Hash) {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + TAG_BYTES + payload.len());
    bytes.extend_from_slice(&facts.to_bytes());
    bytes.extend_from_slice(&sha256(&[payload]));
    let tag = tag(place, &bytes);
    bytes.extend_from_slice(&tag);
    if !facts.form.apart {
        bytes.extend_from_slice(payload);
    }
    (bytes, tag)
}

/// Reads the row that was found at a place, and checks that it belongs there.
pub(super) fn read(place: Place<'_>, bytes: &[u8]) -> Result<Row, Trouble> {
    let head = read_head(place, bytes)?;
    let inline = &bytes[HEAD_BYTES + TAG_BYTES..];
    let whole = if head.facts.form.apart {
        inline.is_empty()
    } else {
        head.digest == sha256(&[inline])
    };
    if !whole {
        return Err(place.changed());
    }
    let inline = inline.to_vec();
    Ok(Row { head, inline })
}

/// Reads what a row says, and checks that it belongs to its place; not its payload.
pub(super) fn read_head(place: Place<'_>, bytes: &[u8]) -> Result<Head, Trouble> {
    let opened = || {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (tag_found, _) = rest.split_first_chunk::<TAG_BYTES>()?;
        if *tag_found != tag(place, head) {
            return None;
        }
        let (facts, digest) = head.split_first_chunk()?;
        Some(Head {
            sequence: place.sequence,
            facts: Facts::from_bytes(facts)?,
            tag: *tag_found,
            digest: *digest.first_chunk()?,
        })
    };
    opened().ok_or_else(|| place.changed())
}

fn tag(place: Place<'_>, head: &[u8]) -> Hash {
    let (store, sequence) = (place.store.to_le_bytes(), place.sequence.to_le_bytes());
    let lengths = [place.namespace, place.key].map(|name| (name.len() as u64).to_le_bytes());
    // The same as `place.bytes()`, without a copy: each read does this.
    sha256(&[
        DOMAIN,
        &store,
        &lengths[0],
        place.namespace.as_bytes(),
        &lengths[1],
        place.key.as_bytes(),
        &sequence,
        head,
    ])
}

impl Head {
    /// Returns the sequence from which on this row says what the key was.
    pub(super) fn begins(&self) -> u64 {
        match self.facts.kind {
            Kind::Value | Kind::Deletion => self.sequence,
            Kind::Gap => self.facts.origin,
        }
    }
}
