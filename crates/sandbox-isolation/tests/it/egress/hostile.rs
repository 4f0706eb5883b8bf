//! Guests that play with the proxy, the report and the supervisor's resources.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::*;

fn connect(to: &str, then: &str) -> String {
    hex_of(format!("CONNECT {to} HTTP/1.1\r\nHost: x\r\n\r\n{then}").as_bytes())
}

fn text(hex: &str) -> String {
    String::from_utf8_lossy(&bytes_of(hex)).into_owned()
}

/// Sends each to the proxy; returns what it answers.
fn proxied(hosts: &[String], requests: &[String]) -> (Vec<String>, Outcome) {
    let lines = requests
        .iter()
        .map(|hex| format!("send 198.18.0.1:1080 {hex}"));
    let script: Vec<String> = lines.collect();
    let (answers, outcome) = client(hosts, &script.join("\n"));
    (answers.iter().map(|it| text(it)).collect(), outcome)
}

#[test]
fn a_second_request_is_only_data() {
    let server = Server::echo();
    let port = server.port();
    let hosts = [format!("127.0.0.1:{port}")];
    let second = "CONNECT evil.example:443 HTTP/1.1\r\n\r\n";
    let good = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nhi");
    let (answers, outcome) = proxied(
        &hosts,
        &[
            connect(&format!("127.0.0.1:{port}"), second),
            connect("evil.example:443", &good),
        ],
    );
    // What follows an allowed request goes to that host, as it is.
    let connected = "HTTP/1.1 200 Connection established\r\n\r\n";
    assert_eq!(answers[0], format!("{connected}echo {second}"));
    // What follows a refused one goes nowhere.
    assert!(answers[1].starts_with("HTTP/1.1 403 "), "{}", answers[1]);
    assert_eq!(answers[1].matches("HTTP/1.1").count(), 1);
    let decisions = connections(&outcome).iter().map(|it| it.decision);
    assert_eq!(
        decisions.collect::<Vec<_>>(),
        [NetworkDecision::Allowed, NetworkDecision::Denied]
    );
}

#[test]
fn names_are_decided_in_one_form() {
    let server = Server::echo();
    let port = server.port();
    let hosts = [format!("localhost:{port}"), "*.a.example:443".to_owned()];
    let same = [
        "localhost",
        "LOCALHOST",
        "LocalHost.",
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
    ];
    let other = [
        "localhost.evil.example",
        "evil-localhost",
        "localhost%00.evil.example",
        "localhost@evil.example",
        "loc\u{e4}lhost",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::ffff:127.0.0.2%25lo]",
        "a.example",
    ];
    let requests: Vec<String> = same
        .iter()
        .chain(&other)
        .map(|name| connect(&format!("{name}:{port}"), "hi"))
        .collect();
    let (answers, outcome) = proxied(&hosts, &requests);
    for (name, answer) in same.iter().zip(&answers) {
        assert!(answer.ends_with("echo hi"), "{name}: {answer}");
    }
    for (name, answer) in other.iter().zip(&answers[same.len()..]) {
        assert!(answer.starts_with("HTTP/1.1 40"), "{name}: {answer}");
    }
    let allowed = |it: &&NetworkConnection| it.decision == NetworkDecision::Allowed;
    assert_eq!(
        connections(&outcome).iter().filter(allowed).count(),
        same.len()
    );
}

#[test]
fn what_is_no_proxy_request_is_refused() {
    let requests = [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "CONNECT a.example:443\r\n\r\n",
        "CONNECT http://a.example:443 HTTP/1.1\r\n\r\n",
        "CONNECT a.example:443 HTTP/1.1 \r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ];
    let requests: Vec<String> = requests.iter().map(|it| hex_of(it.as_bytes())).collect();
    let (answers, outcome) = proxied(&["a.example".to_owned()], &requests);
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
    }
    assert_eq!(connections(&outcome), []);
}

/// Each connection takes two descriptors of the supervisor's process, and here one of the server's.
fn has_descriptors() -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let is_high = limit.current.is_none_or(|it| it >= 4000);
    needs(is_high, "4000 open files (`ulimit -n 4000`)")
}

#[test]
fn clients_that_say_nothing_stop_nobody() {
    if !has_descriptors() {
        return;
    }
    let server = Server::echo();
    let port = server.port();
    let script =
        format!("hold 800 198.18.0.1:1080 43\nhold 100 9.9.9.9:53 00\nget 127.0.0.1:{port}");
    let (answers, _) = client(&[format!("127.0.0.1:{port}")], &script);
    assert_eq!(answers, ["800", "100", "echo hello"]);
}

#[test]
fn a_thousand_connections_at_once_are_relayed() {
    if !has_descriptors() {
        return;
    }
    let server = Server::echo();
    let port = server.port();
    let (answers, outcome) = client(
        &[format!("127.0.0.1:{port}")],
        &format!("many 1000 127.0.0.1:{port}"),
    );
    assert_eq!(answers, ["1000"]);
    assert_eq!(connections(&outcome).len(), 1000);
}

#[test]
fn a_flood_of_refusals_is_counted_not_kept() {
    let script = "flood 1000 1.1.1.1:443\nflood 100 [2606:4700::1111]:80\nlook other.example\nnames 120 evil.example";
    let (answers, outcome) = client(&["a.example".to_owned()], script);
    assert_eq!(answers, ["1000", "100", "unknown", "120"]);
    let report = &outcome.ended.network.as_ref().unwrap().report;
    assert!(report.truncated);
    assert_eq!(report.connections.len(), 1000);
    let denied = denied(&outcome);
    // One for each kind of refusal, and a hundred names; the rest is a number.
    assert_eq!(denied.len(), 101, "{denied:#?}");
    assert!(denied[0].starts_with("connection to 1.1.1.1:443: "));
    assert!(
        denied[100].ends_with(" more refused attempts"),
        "{}",
        denied[100]
    );
}

/// Closes so that the other side sees a reset.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_reset_is_a_reset_on_the_other_side() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let server = Server::new("127.0.0.1", |mut stream| {
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).unwrap();
        reset(&stream);
    });
    let patient = Server::new("127.0.0.1", |mut stream| {
        let mut heard = Vec::new();
        if let Err(error) = stream.read_to_end(&mut heard) {
            let is_reset = error.kind() == std::io::ErrorKind::ConnectionReset;
            SEEN.store(if is_reset { 1 } else { 2 }, Ordering::Release);
        }
    });
    let hosts = ["127.0.0.1:*".to_owned()];
    let script = format!("get {}\nbreak {}", server.0, patient.0);
    let (answers, _) = client(&hosts, &script);
    assert_eq!(answers[0], "ConnectionReset");
    crate::lab::eventually("the server sees the guest's reset", || {
        SEEN.load(Ordering::Acquire) == 1
    });
}
