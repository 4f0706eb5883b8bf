//! Messages of honest clients, of hostile ones, and of nobody.

use proptest::prelude::*;

use super::*;

fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(wire_name(name));
    packet.extend(kind.to_be_bytes());
    packet.extend([0, 1]);
    packet
}

fn question(packet: &[u8]) -> Question {
    match read(packet) {
        Packet::Question(question) => question,
        other @ (Packet::Refused(_) | Packet::Noise) => panic!("{other:?}"),
    }
}

fn code(packet: &[u8]) -> Option<u8> {
    match read(packet) {
        Packet::Refused(reply) => Some(reply[3] & 0xf),
        Packet::Question(_) | Packet::Noise => None,
    }
}

#[test]
fn a_question_is_answered_as_it_was_asked() {
    let asked = question(&query("WwW.Example.com", 1));
    assert_eq!(asked.name.as_deref(), Some("WwW.Example.com"));
    assert_eq!(asked.kind, Kind::Ipv4);
    let reply = asked.answer(&Answer::Ipv4(Ipv4Addr::new(198, 18, 1, 0)));
    assert_eq!(
        &reply[..12],
        [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]
    );
    assert_eq!(&reply[12..33], &query("WwW.Example.com", 1)[12..33]);
    assert_eq!(
        &reply[33..],
        [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 18, 1, 0]
    );
    let reply = asked.answer(&Answer::NoSuchName);
    assert_eq!((reply[3] & 0xf, reply.len()), (3, 33));
    let reply = question(&query("a.b", 12)).answer(&Answer::Name("x.yz".to_owned()));
    assert!(reply.ends_with(&[0, 6, 1, b'x', 2, b'y', b'z', 0]));
    assert_eq!(question(&query("a", 65)).kind, Kind::Other);
}

#[test]
fn hostile_packets_are_refused() {
    // A name that points to itself.
    let mut pointer = query("a", 1);
    pointer.splice(12..15, [0xc0, 12]);
    assert_eq!(code(&pointer), Some(1));
    // A label that is longer than the packet.
    let mut long = query("abc", 1);
    long[12] = 60;
    assert_eq!(code(&long), Some(1));
    // Names that are too long, packets that are too long, two questions, another operation, another class.
    let endless = vec!["a".repeat(63); 5].join(".");
    assert_eq!(code(&query(&endless, 1)), Some(1));
    let mut padded = query("a", 1);
    padded.resize(QUERY_BYTES_MAX + 1, 0);
    assert_eq!(code(&padded), Some(1));
    let mut two = query("a", 1);
    two[5] = 2;
    assert_eq!(code(&two), Some(1));
    let mut update = query("a", 1);
    update[2] = 5 << 3;
    assert_eq!(code(&update), Some(4));
    let mut chaos = query("a", 1);
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(code(&chaos), Some(5));
    // An answer is never answered: two servers could go on for ever.
    let mut answer = query("a", 1);
    answer[2] |= FLAG_ANSWER;
    assert_eq!(read(&answer), Packet::Noise);
    assert_eq!(read(&[]), Packet::Noise);
    assert_eq!(read(&[0; 11]), Packet::Noise);
    // Bytes that no host name has, a dot within a label among them.
    let mut dotted = query("evil-com", 1);
    dotted[17] = b'.';
    assert_eq!(question(&dotted).name, None);
    dotted[17] = 0;
    assert_eq!(question(&dotted).name, None);
}

proptest! {
    #[test]
    fn reading_is_total_and_answers_are_bounded(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
        match read(&packet) {
            Packet::Question(question) => {
                let reply = question.answer(&Answer::Ipv6(Ipv6Addr::LOCALHOST));
                prop_assert!(reply.len() <= packet.len() + 28);
            }
            Packet::Refused(reply) => prop_assert_eq!(reply.len(), HEADER_BYTES),
            Packet::Noise => {}
        }
    }

    #[test]
    fn every_name_is_read_back(labels in proptest::collection::vec("[a-z0-9-]{1,30}", 1..5), kind: u16) {
        let name = labels.join(".");
        let packet = query(&name, kind);
        prop_assert_eq!(question(&packet).name, Some(name));
        for cut in 0..packet.len() {
            prop_assert!(!matches!(read(&packet[..cut]), Packet::Question(_)));
        }
    }
}
