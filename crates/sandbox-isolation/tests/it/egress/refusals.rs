//! What nobody listens for inside is refused by the guest's own kernel, and it is in the report all the same.

use super::*;

#[test]
fn ports_that_no_pattern_names_and_datagrams_are_reported() {
    let server = Server::echo();
    let port = server.port();
    let script = format!(
        "get 127.0.0.1:{port}\nget 8.8.8.8:8123\nget [2001:4860::8888]:22\nget a.example:8124\n\
         udp 9.9.9.9:123 00\nudp [2001:4860::8888]:443 00\nudp 9.9.9.9:123 00\nget 198.18.0.1:22\n\
         get 127.0.0.1:9"
    );
    let hosts = [format!("127.0.0.1:{port}"), "a.example".to_owned()];
    let (answers, outcome) = client(&hosts, &script);
    assert_eq!(answers[0], "echo hello", "{outcome:#?}");
    assert_eq!(answers[1..], ["ConnectionRefused"; 8], "{outcome:#?}");
    // The guest's own loopback, where its own servers are, is no violation; neither is what was reached.
    assert_eq!(
        denied(&outcome),
        [
            "connection to 8.8.8.8:8123: the address is not in the list of allowed hosts",
            "connection to [2001:4860::8888]:22: the address is not in the list of allowed hosts",
            "connection to a.example:8124: the name is allowed on other ports only",
            "datagram to 9.9.9.9:123: only connections leave",
            "datagram to [2001:4860::8888]:443: only connections leave",
            "connection to 198.18.0.1:22: no name was looked up that has this address",
        ]
    );
    let reported = connections(&outcome);
    assert_eq!(reported[0].decision, NetworkDecision::Allowed);
    let rest = reported[1..].iter();
    let mut rest: Vec<_> = rest.map(|it| (it.via, it.port, it.decision)).collect();
    // A name is tried by both its addresses.
    rest.dedup();
    let is_denied = |via, port| (via, port, NetworkDecision::Denied);
    assert_eq!(
        rest,
        [
            is_denied(NetworkRoute::Direct, 8123),
            is_denied(NetworkRoute::Direct, 22),
            is_denied(NetworkRoute::Direct, 8124),
            is_denied(NetworkRoute::Datagram, 123),
            is_denied(NetworkRoute::Datagram, 443),
            is_denied(NetworkRoute::Direct, 22),
        ]
    );
    // Control: what the list names is reached on the same port, and nothing is reported as refused.
    let (answers, outcome) = client(&hosts, &format!("get 127.0.0.1:{port}"));
    assert_eq!(answers, ["echo hello"]);
    assert_eq!(denied(&outcome), [""; 0]);
}

/// A guest that knocks at very many doors is told of in bounds, and others are still served.
#[test]
fn a_flood_of_refusals_is_bounded() {
    let server = Server::echo();
    let port = server.port();
    let script = format!("knock 8.8.8.8 20001 3000\nget 127.0.0.1:{port}");
    let (answers, outcome) = client(&[format!("127.0.0.1:{port}")], &script);
    assert_eq!(answers[1], "echo hello", "{outcome:#?}");
    let violations = denied(&outcome);
    assert_eq!(violations.len(), 101, "{violations:#?}");
    assert!(violations[100].ends_with(" more refused attempts"));
    assert!(connections(&outcome).len() <= 1000);
}
