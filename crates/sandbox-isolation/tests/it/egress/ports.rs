//! Patterns for all ports: a port is opened when the guest is about to connect to it, and only if it may.

use super::*;

#[test]
fn every_port_of_an_allowed_host_is_reached() {
    let servers = [Server::echo(), Server::echo(), Server::echo()];
    let script: Vec<String> = servers
        .iter()
        .map(|it| format!("get 127.0.0.1:{}", it.port()))
        .collect();
    let script = script.join("\n");
    let hosts = ["127.0.0.1:*".to_owned()];
    let (answers, outcome) = client(&hosts, &script);
    assert_eq!(answers, ["echo hello"; 3], "{outcome:#?}");
    let ports: Vec<u16> = connections(&outcome).iter().map(|it| it.port).collect();
    assert_eq!(ports, servers.each_ref().map(Server::port));
    assert_eq!(denied(&outcome), [""; 0]);
    // Control: a list without that pattern opens no such port.
    let (answers, outcome) = client(&["127.0.0.1".to_owned()], &script);
    assert_eq!(answers, ["ConnectionRefused"; 3], "{outcome:#?}");
}

#[test]
fn names_have_every_port_too_and_nobody_else_has() {
    let Some(name) = own_name() else {
        return;
    };
    let server = Server::echo();
    let port = server.port();
    let hosts = [format!("{name}:*"), format!("127.0.0.1:{port}")];
    // Another name does not exist; another address is refused on every port, also on one that is open by now.
    let script = format!(
        "get {name}:{port}\nget other.example:{port}\nget 1.1.1.1:{port}\nget [2606:4700::1111]:22\nget {name}:1\n\
         udp 8.8.8.8:{port} 00"
    );
    let (answers, outcome) = client(&hosts, &script);
    assert_eq!(answers[0], "echo hello", "{outcome:#?}");
    assert_eq!(
        answers[2..],
        [
            "ConnectionReset",
            "ConnectionRefused",
            "ConnectionReset",
            "ConnectionRefused"
        ]
    );
    let leads_inside = format!("connection to {name}:1: the name leads to 127.0.0.1");
    assert!(
        denied(&outcome)
            .iter()
            .any(|it| it.starts_with(&leads_inside)),
        "{outcome:#?}"
    );
}

#[test]
fn ports_that_are_opened_are_bounded() {
    let script = "knock 127.0.0.1 20001 300\nget 127.0.0.1:20001\nlook localhost";
    let (answers, outcome) = client(&["127.0.0.1:*".to_owned()], script);
    assert_eq!(answers[0], "128", "{outcome:#?}");
    assert_ne!(answers[1], "ConnectionRefused", "open ports stay open");
    assert!(
        denied(&outcome)
            .iter()
            .any(|it| it.contains("too many different ports")),
        "{outcome:#?}"
    );
}
