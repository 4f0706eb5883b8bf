//! How a value becomes the bytes that are stored, and back: compressed when large, sealed when secret.

use std::ops::Deref;

use zeroize::Zeroizing;

use super::{
    VALUE_BYTES_MAX,
    envelope::{Encoding, Facts, Form, Head, Place},
    error::{Corruption, Trouble},
};
use crate::{
    KeyError,
    keys::{self, SEALED_EXTRA_BYTES, SecretKey},
};

/// Larger values are compressed, unless they are secret: the length would tell of the content.
const COMPRESSED_ABOVE_BYTES: usize = 4096;
const COMPRESSION_LEVEL: i32 = 3;

/// Larger payloads do not lie in the row of their version but in a table of their own, so that
/// listing keys and reading a history does not read them.
const APART_ABOVE_BYTES: usize = 1024;

const SEALED_DOMAIN: &[u8] = b"sandbox-state sealed 1\0";

/// The bytes of a value. They are overwritten in memory when it is dropped, and are not printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Returns the bytes. Who takes them looks after them.
    pub fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({} bytes)", self.len())
    }
}

/// A value as it is stored.
pub(super) struct Packed {
    pub(super) form: Form,
    pub(super) bytes: Vec<u8>,
}

/// Returns how a value that is not secret is stored.
pub(super) fn pack(value: &[u8]) -> Packed {
    let compressed = (value.len() > COMPRESSED_ABOVE_BYTES)
        .then(|| zstd::bulk::compress(value, COMPRESSION_LEVEL).ok())
        .flatten()
        .filter(|compressed| compressed.len() < value.len());
    let form = |encoding, bytes: &[u8]| Form {
        encoding,
        apart: bytes.len() > APART_ABOVE_BYTES,
    };
    match compressed {
        Some(bytes) => Packed {
            form: form(Encoding::Compressed, &bytes),
            bytes,
        },
        None => Packed {
            form: form(Encoding::None, value),
            bytes: value.to_vec(),
        },
    }
}

/// Returns the form that a secret of this length is stored in.
pub(super) fn sealed_form(value_bytes: usize) -> Form {
    Form {
        encoding: Encoding::Sealed,
        apart: value_bytes + SEALED_EXTRA_BYTES > APART_ABOVE_BYTES,
    }
}

/// What a sealed value is bound to: its place, and all facts of its version.
pub(super) fn bound_to(place: Place<'_>, facts: Facts) -> Vec<u8> {
    let mut bytes = SEALED_DOMAIN.to_vec();
    bytes.extend_from_slice(&place.bytes());
    bytes.extend_from_slice(&facts.to_bytes());
    bytes
}

/// Returns the value of a row. `key` is asked for when the value is sealed.
pub(super) fn unpack(
    place: Place<'_>,
    row: &Head,
    payload: Zeroizing<Vec<u8>>,
    key: impl FnOnce(Option<u64>) -> Result<SecretKey, KeyError>,
) -> Result<Value, Trouble> {
    let size = usize::try_from(row.facts.size).ok();
    let size = size.filter(|size| *size <= VALUE_BYTES_MAX);
    let size = size.ok_or_else(|| place.changed())?;
    let value = match row.facts.form.encoding {
        Encoding::None => payload,
        Encoding::Compressed => {
            // The digest was checked, so the length is what the writer said, within the limit.
            let value = zstd::bulk::decompress(&payload, size);
            Zeroizing::new(value.map_err(|_not_zstd| place.changed())?)
        }
        Encoding::Sealed => {
            let wanted = keys::sealed_with(&payload);
            let opened = key(wanted)?.open(&bound_to(place, row.facts), &payload)?;
            opened.ok_or_else(|| {
                Trouble::Damaged(Corruption::Sealed {
                    namespace: place.namespace.to_owned(),
                    key: place.key.to_owned(),
                    sequence: place.sequence,
                })
            })?
        }
    };
    if value.len() == size {
        Ok(Value(value))
    } else {
        Err(place.changed())
    }
}
