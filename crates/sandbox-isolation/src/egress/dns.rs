//! DNS messages (RFC 1035): one question in, one answer out. Everything that a guest sends is bounded and may be wrong.
//!
//! ```text
//! query   id(2) flags(2) questions(2) answers(2) authorities(2) additions(2)  name type(2) class(2) …
//! answer  the same header, the question as it was asked, then 0 or 1 record that points to its name
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

/// A query has one name of at most 255 bytes, and a few options. More is not looked at.
pub(super) const QUERY_BYTES_MAX: usize = 4096;
const HEADER_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: u8 = 63;
const CLASS_INTERNET: u16 = 1;
/// Short, because programs keep answers longer than an operation lives anyway.
const LIFETIME_SECONDS: u32 = 60;

const FLAG_ANSWER: u8 = 0x80;
const OPCODE: u8 = 0x78;
const FLAG_RECURSION_WANTED: u8 = 0x01;
const FLAG_RECURSION_AVAILABLE: u8 = 0x80;
/// The first name behind the header, where the answer's name is.
const POINTER_TO_QUESTION: [u8; 2] = [0xc0, 0x0c];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ipv4,
    Ipv6,
    /// The name of an address.
    Pointer,
    /// Anything else.
    Other,
}

/// A question, as it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The name as text; `None` if it holds a byte that no host name has.
    pub(super) name: Option<String>,
    pub(super) kind: Kind,
    head: Head,
    /// Name, type and class, as they were sent.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    id: [u8; 2],
    recursion_wanted: bool,
}

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// A question of the internet class.
    Question(Question),
    /// Something that gets this answer.
    Refused(Vec<u8>),
    /// Nothing that could be answered.
    Noise,
}

/// What a question is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    /// A host name.
    Name(String),
    /// The name is there, and has nothing of this kind.
    Nothing,
    NoSuchName,
    /// Not now.
    Failure,
}

#[derive(Clone, Copy)]
enum Code {
    Success = 0,
    Malformed = 1,
    Failure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// Reads a packet.
pub(super) fn read(packet: &[u8]) -> Packet {
    let [id_high, id_low, flags, _, questions_high, questions_low, ..] = *packet else {
        return Packet::Noise;
    };
    if packet.len() < HEADER_BYTES || flags & FLAG_ANSWER != 0 {
        return Packet::Noise;
    }
    let head = Head {
        id: [id_high, id_low],
        recursion_wanted: flags & FLAG_RECURSION_WANTED != 0,
    };
    let refused = |code| Packet::Refused(head.message(code, &[], None));
    if flags & OPCODE != 0 {
        return refused(Code::NotImplemented);
    }
    if [questions_high, questions_low] != [0, 1] || packet.len() > QUERY_BYTES_MAX {
        return refused(Code::Malformed);
    }
    let Some((name, end)) = read_name(packet, HEADER_BYTES) else {
        return refused(Code::Malformed);
    };
    let (Some(bytes), Some(&[type_high, type_low, class_high, class_low])) =
        (packet.get(HEADER_BYTES..end + 4), packet.get(end..end + 4))
    else {
        return refused(Code::Malformed);
    };
    if u16::from_be_bytes([class_high, class_low]) != CLASS_INTERNET {
        return refused(Code::Refused);
    }
    Packet::Question(Question {
        name,
        kind: match u16::from_be_bytes([type_high, type_low]) {
            1 => Kind::Ipv4,
            28 => Kind::Ipv6,
            12 => Kind::Pointer,
            _ => Kind::Other,
        },
        head,
        bytes: bytes.to_vec(),
    })
}

/// Reads the name at `start`; returns it and where it ends. Pointers have no place in the only question.
fn read_name(packet: &[u8], start: usize) -> Option<(Option<String>, usize)> {
    let mut at = start;
    let mut text = String::new();
    let mut is_text = true;
    loop {
        let length = *packet.get(at)?;
        at += 1;
        if length == 0 {
            break;
        }
        let label = packet.get(at..at + usize::from(length))?;
        at += usize::from(length);
        if length > LABEL_BYTES_MAX || at - start >= NAME_BYTES_MAX {
            return None;
        }
        // A dot inside of a label would read as two labels.
        is_text &= label.iter().all(|it| it.is_ascii_graphic() && *it != b'.');
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|byte| char::from(*byte)));
    }
    Some((is_text.then_some(text), at))
}

impl Question {
    /// Returns the answer's packet.
    pub(super) fn answer(&self, answer: &Answer) -> Vec<u8> {
        let (code, record) = match answer {
            Answer::Ipv4(address) => (Code::Success, Some((1, address.octets().to_vec()))),
            Answer::Ipv6(address) => (Code::Success, Some((28, address.octets().to_vec()))),
            Answer::Name(name) => (Code::Success, Some((12, wire_name(name)))),
            Answer::Nothing => (Code::Success, None),
            Answer::NoSuchName => (Code::NoSuchName, None),
            Answer::Failure => (Code::Failure, None),
        };
        self.head.message(code, &self.bytes, record)
    }
}

impl Head {
    fn message(self, code: Code, question: &[u8], record: Option<(u16, Vec<u8>)>) -> Vec<u8> {
        let questions = u8::from(!question.is_empty());
        let answers = u8::from(record.is_some());
        let recursion = u8::from(self.recursion_wanted) * FLAG_RECURSION_WANTED;
        let flags = [
            FLAG_ANSWER | recursion,
            FLAG_RECURSION_AVAILABLE | code as u8,
        ];
        let mut message = Vec::with_capacity(HEADER_BYTES + question.len() + 32);
        message.extend(self.id);
        message.extend(flags);
        message.extend([0, questions, 0, answers, 0, 0, 0, 0]);
        message.extend(question);
        if let Some((kind, data)) = record {
            message.extend(POINTER_TO_QUESTION);
            message.extend(kind.to_be_bytes());
            message.extend(CLASS_INTERNET.to_be_bytes());
            message.extend(LIFETIME_SECONDS.to_be_bytes());
            message.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
            message.extend(data);
        }
        message
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap_or(0));
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

#[cfg(test)]
mod tests;
