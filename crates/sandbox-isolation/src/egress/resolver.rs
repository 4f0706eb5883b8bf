//! The guest's name server: knows allowed names only, and gives them addresses of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sandbox_types::{AllowList, HostName};

use super::{
    dns::{self, Answer, Kind, Packet, Question},
    names::{Meaning, Names},
    policy::Denial,
};

const LOCALHOST: &str = "localhost";
/// Behind the numbers of an address, its first one last.
const REVERSE_IPV4: &str = ".in-addr.arpa";
const REVERSE_IPV6: &str = ".ip6.arpa";

/// What becomes of a packet.
#[derive(Debug)]
pub(super) struct Answered {
    /// What is sent back, if anything.
    pub(super) reply: Option<Vec<u8>>,
    /// A name that was not resolved, and why.
    pub(super) denied: Option<(String, Denial)>,
}

/// Answers the packet of a guest. Nothing is sent anywhere: whether a name exists is seen when it is dialled.
pub(super) fn answer(packet: &[u8], list: &AllowList, names: &mut Names) -> Answered {
    let question = match dns::read(packet) {
        Packet::Question(question) => question,
        Packet::Refused(reply) => return Answered::reply(Some(reply)),
        Packet::Noise => return Answered::reply(None),
    };
    let name = question.name.as_deref().unwrap_or_default();
    if question.kind == Kind::Pointer {
        let answer = pointer(name, names);
        return Answered::reply(Some(question.answer(&answer)));
    }
    let denial = match name.parse::<HostName>() {
        Ok(name) if name.as_str() == LOCALHOST => {
            return Answered::addresses(&question, Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        }
        Ok(name) if list.knows(&name) => match names.addresses(&name) {
            Some((ipv4, ipv6)) => return Answered::addresses(&question, ipv4, ipv6),
            None => Denial::TooManyNames,
        },
        Ok(_) | Err(_) => Denial::Name,
    };
    let answer = if denial == Denial::TooManyNames {
        Answer::Failure
    } else {
        Answer::NoSuchName
    };
    Answered {
        reply: Some(question.answer(&answer)),
        denied: Some((shown(&question), denial)),
    }
}

impl Answered {
    fn reply(reply: Option<Vec<u8>>) -> Self {
        Self {
            reply,
            denied: None,
        }
    }

    fn addresses(question: &Question, ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> Self {
        let answer = match question.kind {
            Kind::Ipv4 => Answer::Ipv4(ipv4),
            Kind::Ipv6 => Answer::Ipv6(ipv6),
            Kind::Pointer | Kind::Other => Answer::Nothing,
        };
        Self::reply(Some(question.answer(&answer)))
    }
}

/// The name as a report shows it.
fn shown(question: &Question) -> String {
    match &question.name {
        Some(name) => name.escape_debug().to_string(),
        None => "(not a host name)".to_owned(),
    }
}

fn pointer(name: &str, names: &Names) -> Answer {
    let meaning = reversed(&name.to_ascii_lowercase()).map(|address| names.meaning(address));
    match meaning {
        Some(Meaning::Name(name)) => Answer::Name(name.to_string()),
        Some(Meaning::Gateway | Meaning::Unused | Meaning::Address(_)) | None => Answer::NoSuchName,
    }
}

fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(numbers) = name.strip_suffix(REVERSE_IPV4) {
        let parts: Vec<&str> = numbers.rsplit('.').collect();
        return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let digits: Vec<&str> = name.strip_suffix(REVERSE_IPV6)?.rsplit('.').collect();
    if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
        return None;
    }
    let bits = u128::from_str_radix(&digits.concat(), 16).ok()?;
    Some(Ipv6Addr::from_bits(bits).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(names: &mut Names, name: &str, kind: u16) -> (u8, Vec<u8>, Option<Denial>) {
        let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            packet.push(u8::try_from(label.len()).unwrap());
            packet.extend(label.as_bytes());
        }
        packet.push(0);
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1]);
        let list = AllowList::parse(["*.example.com", "b.example:8080", "10.0.0.0/8"]).unwrap();
        let answered = answer(&packet, &list, names);
        let reply = answered.reply.unwrap();
        let data = reply.get(packet.len() + 12..).unwrap_or_default().to_vec();
        (reply[3] & 0xf, data, answered.denied.map(|(_, why)| why))
    }

    #[test]
    fn only_allowed_names_have_addresses() {
        let mut names = Names::default();
        assert_eq!(
            ask(&mut names, "A.example.COM", 1),
            (0, vec![198, 18, 1, 0], None)
        );
        assert_eq!(
            ask(&mut names, "b.example", 1),
            (0, vec![198, 18, 1, 1], None)
        );
        let (code, data, _) = ask(&mut names, "a.example.com", 28);
        assert_eq!((code, data.len(), data[15], data[14]), (0, 16, 0, 1));
        for kind in [5, 15, 16, 33, 64, 65] {
            assert_eq!(
                ask(&mut names, "a.example.com", kind),
                (0, vec![], None),
                "{kind}"
            );
        }
        for denied in [
            "example.com",
            "secret.evil.example",
            "10.0.0.1",
            "a_b.example.com",
        ] {
            assert_eq!(
                ask(&mut names, denied, 1),
                (3, vec![], Some(Denial::Name)),
                "{denied}"
            );
        }
        assert_eq!(
            ask(&mut names, "localhost", 1),
            (0, vec![127, 0, 0, 1], None)
        );
    }

    #[test]
    fn our_addresses_have_names() {
        let mut names = Names::default();
        ask(&mut names, "b.example", 1);
        let named = [1, b'b', 7, b'e', b'x', b'a', b'm', b'p', b'l', b'e', 0];
        assert_eq!(ask(&mut names, "0.1.18.198.in-addr.arpa", 12).1, named);
        let ipv6 = "0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.1.0.0.2.ip6.arpa";
        assert_eq!(ask(&mut names, ipv6, 12).1, named);
        for other in [
            "8.8.8.8.in-addr.arpa",
            "1.1.18.198.in-addr.arpa",
            "x.ip6.arpa",
            "in-addr.arpa",
        ] {
            assert_eq!(ask(&mut names, other, 12), (3, vec![], None), "{other}");
        }
    }
}
