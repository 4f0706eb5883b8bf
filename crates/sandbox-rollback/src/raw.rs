//! Bytes as JSON strings: paths and attribute values need not be UTF-8.
//!
//! Printable ASCII stands for itself; `%` and every other byte are written `%XX`.

use serde::{Deserializer, Serializer};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Returns `bytes` as text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'%' || byte == b' ' {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    text
}

/// Returns `bytes` as two hexadecimal digits each.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).map(char::from).collect()
}

/// Returns the bytes that hexadecimal digits stand for, or `None` if there are others.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.remainder().is_empty().then_some(())?;
    pairs.map(byte).collect()
}

/// Returns the bytes that `text` stands for, or `None` if it is not of this form.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let (pair, tail) = rest.split_at_checked(2)?;
            let digit = |hex: u8| HEX.iter().position(|known| *known == hex);
            let value = digit(pair[0])? * 16 + digit(pair[1])?;
            bytes.push(u8::try_from(value).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
        }
    }
    Some(bytes)
}

/// Serde form of a path.
pub(crate) mod path {
    use std::{
        ffi::OsString,
        os::unix::ffi::{OsStrExt as _, OsStringExt as _},
        path::{Path, PathBuf},
    };

    use serde::Deserialize as _;

    use super::{Deserializer, Serializer, decode, encode, invalid};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode(path.as_os_str().as_bytes()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        let bytes = decode(&String::deserialize(from)?).ok_or_else(invalid::<D::Error>)?;
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }
}

/// Serde form of extended attributes.
pub(crate) mod xattrs {
    use serde::{Deserialize as _, Serialize as _};

    use super::{Deserializer, Serializer, decode, encode, invalid};
    use crate::xattr::Xattrs;

    pub(crate) fn serialize<S: Serializer>(xattrs: &Xattrs, to: S) -> Result<S::Ok, S::Error> {
        let pairs = xattrs.iter().map(|(n, v)| (encode(n), encode(v)));
        pairs.collect::<Vec<_>>().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Xattrs, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(from)?;
        let decoded = pairs
            .iter()
            .map(|(n, v)| Some((decode(n)?, decode(v)?)))
            .collect::<Option<Xattrs>>();
        decoded.ok_or_else(invalid::<D::Error>)
    }
}

fn invalid<E: serde::de::Error>() -> E {
    E::custom("not an encoded byte string")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode};

    proptest! {
        #[test]
        fn every_byte_string_returns(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
