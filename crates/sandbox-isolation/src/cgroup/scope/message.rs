//! Messages of D-Bus as bytes, as far as two calls need them: D-Bus Specification, "Marshaling (Wire Format)" and
//! "Message Format".

use std::io::{self, Read};

/// What is written in the order of this machine; the order of the answer is read from it.
const LITTLE_ENDIAN: u8 = b'l';
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const VERSION: u8 = 1;
/// Byte order to serial, and the length of the fields behind.
const START_BYTES: usize = 16;
/// More than a bus ever says to us.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Numbers of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Values, one behind the other, each where its type may stand.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(super) fn number(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(length(text.len()));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, types: &str) {
        self.bytes.push(u8::try_from(types.len()).unwrap_or(0));
        self.bytes.extend(types.as_bytes());
        self.bytes.push(0);
    }

    /// Writes an array whose elements stand at multiples of `alignment`.
    pub(super) fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let at = self.bytes.len();
        self.align(alignment);
        let start = self.bytes.len();
        fill(self);
        // The filling before the first element does not count.
        let bytes = length(self.bytes.len() - start).to_le_bytes();
        self.bytes[at - bytes.len()..at].copy_from_slice(&bytes);
    }

    /// Writes an element of `a(sv)`.
    pub(super) fn property(&mut self, name: &str, types: &str, value: impl FnOnce(&mut Self)) {
        self.align(8);
        self.text(name);
        self.signature(types);
        value(self);
    }

    fn field(&mut self, number: u8, types: &str, value: &str) {
        self.align(8);
        self.bytes.push(number);
        self.signature(types);
        if types == "g" {
            self.signature(value);
        } else {
            self.text(value);
        }
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("nothing that is sent has 4 GiB")
}

/// Whom to call.
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

impl Call<'_> {
    /// Returns the call with `body`, which has values of `types`.
    pub(super) fn encode(&self, serial: u32, types: &str, body: &Message) -> Vec<u8> {
        let mut message = Message {
            bytes: vec![LITTLE_ENDIAN, METHOD_CALL, 0, VERSION],
        };
        message.number(length(body.bytes.len()));
        message.number(serial);
        message.array(8, |fields| {
            fields.field(PATH, "o", self.path);
            fields.field(DESTINATION, "s", self.destination);
            fields.field(INTERFACE, "s", self.interface);
            fields.field(MEMBER, "s", self.member);
            if !types.is_empty() {
                fields.field(SIGNATURE, "g", types);
            }
        });
        message.align(8);
        message.bytes.extend(&body.bytes);
        message.bytes
    }
}

/// What a message is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Return,
    Error,
    Other,
}

/// A message of the bus.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) kind: Kind,
    /// The number of the call that it answers.
    pub(super) answers: Option<u32>,
    /// What an error says.
    pub(super) says: String,
}

/// Reads the next message.
pub(super) fn read(stream: &mut impl Read) -> io::Result<Heard> {
    let mut start = [0; START_BYTES];
    stream.read_exact(&mut start)?;
    let number = |at: usize| {
        let bytes = start.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes)) as usize
    };
    let (body_bytes, field_bytes) = (number(4), number(12));
    let (all, is_ours) = (
        field_bytes.saturating_add(body_bytes),
        start[0] == LITTLE_ENDIAN && start[3] == VERSION,
    );
    if !is_ours || all > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "this is no message of D-Bus",
        ));
    }
    let mut fields = vec![0; field_bytes.next_multiple_of(8)];
    stream.read_exact(&mut fields)?;
    let mut body = vec![0; body_bytes];
    stream.read_exact(&mut body)?;
    let kind = match start[1] {
        METHOD_RETURN => Kind::Return,
        ERROR => Kind::Error,
        _ => Kind::Other,
    };
    Ok(Heard {
        kind,
        answers: Fields(&fields, 0).answers(),
        says: Fields(&body, 0).text().unwrap_or_default(),
    })
}

/// The values of a header or body, read from the place behind.
struct Fields<'a>(&'a [u8], usize);

impl Fields<'_> {
    /// Finds the number of the call that is answered.
    fn answers(&mut self) -> Option<u32> {
        while self.1 < self.0.len() {
            self.1 = self.1.next_multiple_of(8);
            let field = self.byte()?;
            let types = self.signature()?;
            match (field, types.as_str()) {
                (REPLY_SERIAL, "u") => return self.number(),
                (_, "u") => drop(self.number()?),
                (_, "s" | "o") => drop(self.text()?),
                (_, "g") => drop(self.signature()?),
                _ => return None,
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.0.get(self.1)?;
        self.1 += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.1 = self.1.next_multiple_of(4);
        let bytes = self.0.get(self.1..)?.first_chunk()?;
        self.1 += bytes.len();
        Some(u32::from_le_bytes(*bytes))
    }

    fn text(&mut self) -> Option<String> {
        let bytes = self.number()?;
        self.take(usize::try_from(bytes).ok()?)
    }

    fn signature(&mut self) -> Option<String> {
        let bytes = self.byte()?;
        self.take(usize::from(bytes))
    }

    /// Takes so many bytes, and the zero behind them.
    fn take(&mut self, bytes: usize) -> Option<String> {
        let end = self.1.checked_add(bytes)?;
        let text = self.0.get(self.1..end)?;
        self.1 = end + 1;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let mut body = Message::default();
        body.text("a");
        body.array(8, |list| {
            list.property("P", "au", |value| value.array(4, |all| all.number(7)));
        });
        body.array(8, |_nothing| {});
        let expected = [
            &[1, 0, 0, 0, b'a', 0, 0, 0][..],
            // The array of structures: 20 bytes from offset 16.
            &[20, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, b'P', 0, 2, b'a', b'u', 0, 0, 0],
            &[4, 0, 0, 0, 7, 0, 0, 0],
            // An empty one ends where its first element would stand.
            &[0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(body.bytes, expected);
        let call = Call {
            destination: "d.d",
            path: "/p",
            interface: "i.i",
            member: "M",
        };
        let bytes = call.encode(9, "s", &body);
        assert_eq!(&bytes[..4], [b'l', 1, 0, 1]);
        assert_eq!(bytes[4], u8::try_from(body.bytes.len()).unwrap());
        assert_eq!(bytes[8], 9);
        assert_eq!((bytes.len() - body.bytes.len()) % 8, 0);
    }

    #[test]
    fn answers_are_told_from_signals_and_nonsense_is_refused() {
        let answer = |kind: u8, text: &str| {
            let mut message = Message {
                bytes: vec![b'l', kind, 0, 1],
            };
            let mut body = Message::default();
            body.text(text);
            message.number(length(body.bytes.len()));
            message.number(5);
            message.array(8, |fields| {
                fields.field(6, "s", ":1.7");
                fields.align(8);
                fields.bytes.push(REPLY_SERIAL);
                fields.signature("u");
                fields.number(2);
            });
            message.align(8);
            message.bytes.extend(&body.bytes);
            message.bytes
        };
        let refused = answer(ERROR, "Unit exists");
        let heard = read(&mut refused.as_slice()).unwrap();
        assert_eq!((heard.kind, heard.answers), (Kind::Error, Some(2)));
        assert_eq!(heard.says, "Unit exists");
        let heard = read(&mut answer(4, "x").as_slice()).unwrap();
        assert_eq!(heard.kind, Kind::Other);
        // Cut short anywhere, or with bytes that are not what they should be: an error or a message, never a panic.
        for cut in 0..refused.len() {
            assert!(read(&mut &refused[..cut]).is_err(), "{cut}");
        }
        for at in 0..refused.len() {
            let mut wrong = refused.clone();
            wrong[at] ^= 0xff;
            let _either = read(&mut wrong.as_slice());
        }
    }
}
