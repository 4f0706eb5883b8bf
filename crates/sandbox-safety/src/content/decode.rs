//! Text in UTF-16 becomes UTF-8 while it streams in; everything else stays as it is.

/// How a file's bytes are to be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoding {
    /// UTF-8, or an encoding that has ASCII in the same place.
    Plain,
    Utf16Le,
    Utf16Be,
}

/// What of a character has come so far.
#[derive(Debug)]
pub(crate) struct Decoder {
    encoding: Encoding,
    byte: Option<u8>,
    surrogate: Option<u16>,
}

impl Decoder {
    pub(crate) const fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            byte: None,
            surrogate: None,
        }
    }

    /// Appends the text of `bytes`.
    pub(crate) fn decode(&mut self, bytes: &[u8], into: &mut Vec<u8>) {
        if self.encoding == Encoding::Plain {
            into.extend_from_slice(bytes);
            return;
        }
        for byte in bytes {
            let Some(first) = self.byte.take() else {
                self.byte = Some(*byte);
                continue;
            };
            let unit = match self.encoding {
                Encoding::Utf16Be => u16::from_be_bytes([first, *byte]),
                Encoding::Utf16Le | Encoding::Plain => u16::from_le_bytes([first, *byte]),
            };
            self.unit(unit, into);
        }
    }

    fn unit(&mut self, unit: u16, into: &mut Vec<u8>) {
        let pending = self.surrogate.take();
        if matches!(unit, 0xd800..=0xdbff) {
            self.surrogate = Some(unit);
        }
        let units: &[u16] = match (pending, self.surrogate) {
            (None, Some(_)) => return,
            (Some(high), Some(_)) => &[high],
            (Some(high), None) => &[high, unit],
            (None, None) => &[unit],
        };
        for decoded in char::decode_utf16(units.iter().copied()) {
            let c = decoded.unwrap_or(char::REPLACEMENT_CHARACTER);
            into.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_gives_the_same_text() {
        let text = "a\u{202e}b👩\n\u{fffd}";
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for split in 0..bytes.len() {
            let mut decoder = Decoder::new(Encoding::Utf16Le);
            let mut into = Vec::new();
            decoder.decode(&bytes[..split], &mut into);
            decoder.decode(&bytes[split..], &mut into);
            assert_eq!(String::from_utf8(into).unwrap(), text);
        }
        let mut into = Vec::new();
        Decoder::new(Encoding::Utf16Be).decode(&[0xd8, 0x00, 0xd8, 0x00, 0x00, b'x'], &mut into);
        assert_eq!(String::from_utf8(into).unwrap(), "\u{fffd}\u{fffd}x");
    }
}
