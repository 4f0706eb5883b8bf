//! A network with a list of allowed hosts: what is reached, what is refused, and what is reported.
//!
//! The client is this test program itself, started inside; the servers are threads of this process, on loopback. Names
//! that lead there are `localhost` and the machine's own name, where that is in `/etc/hosts`.

pub(crate) mod client;
mod hostile;
mod ports;
mod refusals;

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use sandbox_types::{
    AllowList, ExitReason, Level, NetworkAccess, NetworkConnection, NetworkDecision, NetworkRoute,
    ViolationKind,
};

use crate::lab::{Lab, Outcome, needs};
use client::{SCRIPT, bytes_of, hex_of, look};

/// A server on loopback; ends with the test process.
struct Server(SocketAddr);

impl Server {
    fn new(address: &str, serve: fn(TcpStream)) -> Self {
        let listener = TcpListener::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
        // Connections of a test come faster than threads start; the kernel resets what the usual queue of 128 cannot hold.
        rustix::net::listen(&listener, 4096).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        Self(address)
    }

    /// Says what it hears until the end.
    fn echo() -> Self {
        Self::new("127.0.0.1", |mut stream| {
            let mut heard = String::new();
            stream.read_to_string(&mut heard).ok();
            stream.write_all(format!("echo {heard}").as_bytes()).ok();
        })
    }

    fn port(&self) -> u16 {
        self.0.port()
    }
}

/// Starts a server that says what it hears; returns its port.
pub(crate) fn echo_server() -> u16 {
    Server::echo().port()
}

/// Runs the client inside with a list of allowed hosts.
fn client(hosts: &[String], script: &str) -> (Vec<String>, Outcome) {
    let outcome = start(Lab::new(), hosts, script);
    assert_eq!(outcome.exit(), ExitReason::Exited(0), "{outcome:#?}");
    let answers = outcome
        .stdout
        .lines()
        .filter_map(|line| line.split_once("> "));
    (
        answers.map(|(_, answer)| answer.to_owned()).collect(),
        outcome,
    )
}

fn start(lab: Lab, hosts: &[String], script: &str) -> Outcome {
    let program = std::env::current_exe().unwrap();
    let mut lab = lab.with(|plan| {
        plan.network = NetworkAccess::Allow(AllowList::parse(hosts).unwrap());
        plan.view.read.push(program.clone());
        plan.env.push((SCRIPT.into(), script.into()));
    });
    let program = program.to_str().unwrap();
    lab.run(&[
        program,
        "--exact",
        "egress::client::as_client",
        "--nocapture",
        "--test-threads=1",
    ])
}

fn connections(outcome: &Outcome) -> &[NetworkConnection] {
    &outcome
        .ended
        .network
        .as_ref()
        .expect("a report")
        .report
        .connections
}

fn denied(outcome: &Outcome) -> Vec<String> {
    let violations = outcome.ended.violations.iter();
    violations
        .filter(|it| it.kind == ViolationKind::Network)
        .map(|it| it.detail.clone())
        .collect()
}

/// The machine's own name, if it leads to loopback.
fn own_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = name.trim().to_owned();
    let found = look(&name);
    needs(
        found == Ipv4Addr::LOCALHOST.to_string(),
        "a host name that /etc/hosts has for 127.0.0.1",
    )
    .then_some(name)
}

#[test]
fn an_allowed_address_is_reached_and_reported() {
    let server = Server::echo();
    let port = server.port();
    let (answers, outcome) = client(
        &[format!("127.0.0.1:{port}")],
        &format!("get 127.0.0.1:{port}"),
    );
    assert_eq!(answers, ["echo hello"]);
    let [connection] = connections(&outcome) else {
        panic!("{outcome:#?}");
    };
    assert_eq!(connection.decision, NetworkDecision::Allowed);
    assert_eq!((connection.bytes_in, connection.bytes_out), (10, 5));
    assert_eq!(
        (connection.port, connection.via),
        (port, NetworkRoute::Direct)
    );
    assert_eq!(connection.address.as_deref(), Some("127.0.0.1"));
    assert_eq!(outcome.ended.enforcement.network, Level::Full);
    assert_eq!(denied(&outcome), [""; 0]);
    // Control: without the list, the same address is the guest's own.
    let outcome = start(Lab::new(), &[], &format!("get 127.0.0.1:{port}"));
    assert!(
        outcome.stdout.contains("> ConnectionRefused"),
        "{outcome:#?}"
    );
}

#[test]
fn an_allowed_name_is_reached_by_an_address_of_ours() {
    let Some(name) = own_name() else {
        return;
    };
    let server = Server::echo();
    let port = server.port();
    let hosts = [format!("{name}:{port}"), format!("127.0.0.1:{port}")];
    let script = format!("look {name}\nget {name}:{port}\nlook other.example\nget {name}:443");
    let (answers, outcome) = client(&hosts, &script);
    assert_eq!(answers[0], "198.18.1.0 2001:2::100");
    assert_eq!(answers[1], "echo hello");
    assert_eq!(answers[2], "unknown");
    assert_eq!(answers[3], "ConnectionReset");
    let reached = &connections(&outcome)[0];
    assert_eq!(reached.name.as_deref(), Some(name.as_str()));
    assert_eq!(reached.address.as_deref(), Some("127.0.0.1"));
    assert_eq!(
        denied(&outcome),
        [
            "look-up of other.example: the name is not in the list of allowed hosts".to_owned(),
            format!("connection to {name}:443: the name is allowed on other ports only"),
        ]
    );
}

#[test]
fn a_name_that_leads_inside_is_refused() {
    let Some(name) = own_name() else {
        return;
    };
    let server = Server::echo();
    let port = server.port();
    for hosts in [
        vec![format!("{name}:{port}")],
        vec![
            format!("*:{port}"),
            format!("0.0.0.0/0:{port}"),
            format!("[::]/0:{port}").replace("[::]/0", "[::/0]"),
        ],
    ] {
        let (answers, outcome) = client(&hosts, &format!("get {name}:{port}"));
        assert_eq!(answers, ["ConnectionReset"], "{hosts:?}");
        let [violation] = denied(&outcome).try_into().unwrap();
        assert!(
            violation.contains("127.0.0.1, a loopback address"),
            "{violation}"
        );
    }
}

#[test]
fn localhost_is_the_hosts_where_the_list_says_so() {
    let server = Server::echo();
    let port = server.port();
    let (answers, outcome) = client(
        &[format!("localhost:{port}")],
        &format!("get localhost:{port}\nget 127.0.0.1:{port}"),
    );
    assert_eq!(answers, ["echo hello", "echo hello"]);
    assert_eq!(connections(&outcome).len(), 2);
    // A star does not mean it.
    let (answers, _) = client(&[format!("*:{port}")], &format!("get 127.0.0.1:{port}"));
    assert_eq!(answers, ["ConnectionReset"]);
}

#[test]
fn addresses_written_into_a_program_are_refused() {
    let script = "get 1.1.1.1:443\nget 169.254.169.254:80\nget [2606:4700::1111]:443\nget [fd00:ec2::254]:80\n\
                  get 8.8.8.8:22\nget 198.18.7.7:80\nget 198.18.0.1:80\nget 0.0.0.0:80";
    let (answers, outcome) = client(&["example.com".to_owned(), "*:443".to_owned()], script);
    let reset = "ConnectionReset";
    assert_eq!(
        answers,
        [
            reset,
            reset,
            reset,
            reset,
            "ConnectionRefused",
            reset,
            reset,
            reset
        ]
    );
    let violations = denied(&outcome);
    assert!(
        violations[0].starts_with("connection to 1.1.1.1:443: "),
        "{violations:?}"
    );
    assert!(
        violations[3].starts_with("connection to [fd00:ec2::254]:80: "),
        "{violations:?}"
    );
    assert!(
        connections(&outcome)
            .iter()
            .all(|it| it.decision == NetworkDecision::Denied)
    );
    assert_eq!(connections(&outcome).len(), 8, "{outcome:#?}");
}

#[test]
fn any_name_server_answers_and_no_other_datagram_arrives() {
    let query = |name: &str| {
        let labels = name
            .split('.')
            .map(|it| format!("{:02x}{}", it.len(), hex_of(it.as_bytes())));
        format!(
            "0007010000010000000000 00{}0000010001",
            labels.collect::<String>()
        )
        .replace(' ', "")
    };
    let (known, unknown) = (query("a.example"), query("secret-data.evil.example"));
    let stream = format!("{:04x}{known}", known.len() / 2);
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    outside.set_nonblocking(true).unwrap();
    let closed = outside.local_addr().unwrap();
    let script = format!(
        "udp 8.8.8.8:53 {known}\nudp [2001:4860:4860::8888]:53 {known}\nudp 1.2.3.4:53 {unknown}\n\
         udp 1.2.3.4:53 0007\nsend 9.9.9.9:53 {stream}{stream}\nudp 8.8.8.8:123 00\nudp {closed} 00"
    );
    let (answers, outcome) = client(&["a.example".to_owned()], &script);
    let found = format!(
        "{}c00c000100010000003c0004c6120100",
        known.replacen("0100000100000000", "8180000100010000", 1)
    );
    assert_eq!(answers[0], found);
    assert_eq!(answers[1], found);
    assert_eq!(&answers[2][4..8], "8183", "no such name");
    assert_eq!(answers[3], "WouldBlock");
    let framed = format!("{:04x}{found}", found.len() / 2);
    assert_eq!(answers[4], format!("{framed}{framed}"));
    assert_eq!(answers[5..], ["ConnectionRefused", "ConnectionRefused"]);
    assert!(
        outside.recv(&mut [0; 9]).is_err(),
        "nothing arrived outside"
    );
    assert_eq!(denied(&outcome).len(), 2, "{outcome:#?}");
    assert!(denied(&outcome)[0].contains("secret-data.evil.example"));
    assert_eq!(
        denied(&outcome)[1],
        "datagram to 8.8.8.8:123: only connections leave"
    );
}

#[test]
fn the_proxy_speaks_both_protocols() {
    let server = Server::echo();
    let port = server.port();
    let hosts = [format!("localhost:{port}"), "a.example".to_owned()];
    let connect =
        |to: &str| hex_of(format!("CONNECT {to} HTTP/1.1\r\nHost: x\r\n\r\nhi").as_bytes());
    let socks = |name: &str, port: u16| {
        format!(
            "0501000501000 3{:02x}{}{port:04x}6869",
            name.len(),
            hex_of(name.as_bytes())
        )
        .replace(' ', "")
    };
    let get = hex_of(format!("GET http://localhost:{port}/ HTTP/1.1\r\n\r\n").as_bytes());
    let lines = [
        connect(&format!("localhost:{port}")),
        connect(&format!("127.0.0.1:{port}")),
        connect("evil.example:443"),
        connect("a.example:25"),
        connect("a.example@evil.example:443"),
        socks("localhost", port),
        socks("evil.example", 443),
        socks("evil.example\0.a.example", 443),
        get,
    ];
    let script: Vec<String> = lines
        .iter()
        .map(|hex| format!("send 198.18.0.1:1080 {hex}"))
        .collect();
    let (answers, outcome) = client(&hosts, &script.join("\n"));
    let text = |hex: &String| String::from_utf8_lossy(&bytes_of(hex)).into_owned();
    for reached in &answers[..2] {
        assert_eq!(
            text(reached),
            "HTTP/1.1 200 Connection established\r\n\r\necho hi"
        );
    }
    for refused in &answers[2..5] {
        assert!(
            text(refused).starts_with("HTTP/1.1 403 "),
            "{}",
            text(refused)
        );
    }
    assert_eq!(
        answers[5],
        format!("0500{}{}", "05000001000000000000", hex_of(b"echo hi"))
    );
    assert_eq!(answers[6], "050005020001000000000000");
    assert_eq!(answers[7], "050005020001000000000000");
    assert!(text(&answers[8]).starts_with("HTTP/1.1 405 "));
    let via = |it: &&NetworkConnection| it.via == NetworkRoute::Socks5;
    assert_eq!(connections(&outcome).iter().filter(via).count(), 3);
    assert_eq!(
        denied(&outcome).len(),
        3,
        "each once: {:#?}",
        denied(&outcome)
    );
}

#[test]
fn two_hundred_connections_at_once_are_relayed() {
    let server = Server::echo();
    let port = server.port();
    let (answers, outcome) = client(
        &[format!("127.0.0.1:{port}")],
        &format!("many 200 127.0.0.1:{port}"),
    );
    assert_eq!(answers, ["200"]);
    assert_eq!(connections(&outcome).len(), 200);
}

#[test]
fn a_slow_reader_slows_the_writer_and_loses_nothing() {
    let server = Server::new("127.0.0.1", |mut stream| {
        let mut heard = 0;
        let mut piece = [0; 3000];
        loop {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(count) => heard += count,
            }
            thread::yield_now();
        }
        stream.write_all(heard.to_string().as_bytes()).ok();
    });
    let port = server.port();
    let (answers, outcome) = client(
        &[format!("127.0.0.1:{port}")],
        &format!("upload 20000000 127.0.0.1:{port}"),
    );
    assert_eq!(
        answers,
        ["20000000"],
        "half closed: the answer came after the end"
    );
    let activity = outcome.ended.network.unwrap();
    assert_eq!(
        (activity.received_bytes, activity.sent_bytes),
        (8, 20_000_000)
    );
}

#[test]
fn last_words_are_delivered_after_the_guest() {
    static HEARD: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let server = Server::new("127.0.0.1", |mut stream| {
        let mut heard = String::new();
        stream.read_to_string(&mut heard).ok();
        HEARD.set(heard).ok();
    });
    let port = server.port();
    client(
        &[format!("127.0.0.1:{port}")],
        &format!("leave 127.0.0.1:{port}"),
    );
    crate::lab::eventually("the last words arrive", || {
        HEARD.get().is_some_and(|it| it == "last words")
    });
}

#[test]
fn a_server_that_is_not_there_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (answers, outcome) = client(
        &[address.to_string(), "nowhere.invalid".to_owned()],
        &format!("get {address}\nget nowhere.invalid:80"),
    );
    assert_eq!(answers, ["ConnectionReset", "ConnectionReset"]);
    let [refused, unknown] = connections(&outcome) else {
        panic!("{outcome:#?}");
    };
    assert_eq!(refused.decision, NetworkDecision::Failed);
    assert!(
        refused.reason.as_ref().unwrap().contains("refused"),
        "{refused:?}"
    );
    assert!(
        unknown.reason.as_ref().unwrap().contains("looked up"),
        "{unknown:?}"
    );
    assert_eq!(denied(&outcome), [""; 0]);
}

#[test]
fn two_guests_have_lists_of_their_own() {
    let (one, two) = (Server::echo(), Server::echo());
    let (a, b) = (one.port(), two.port());
    let script = format!("get 127.0.0.1:{a}\nget 127.0.0.1:{b}");
    let other = thread::spawn({
        let script = script.clone();
        move || client(&[format!("127.0.0.1:{b}")], &script).0
    });
    let (answers, _) = client(&[format!("127.0.0.1:{a}")], &script);
    assert_eq!(answers, ["echo hello", "ConnectionRefused"]);
    assert_eq!(other.join().unwrap(), ["ConnectionRefused", "echo hello"]);
}

#[test]
fn an_empty_list_allows_nothing() {
    let (answers, outcome) = client(&[], "look example.com\nget 1.1.1.1:80\nlook localhost");
    assert_eq!(answers[..2], ["unknown", "ConnectionReset"]);
    assert!(answers[2].starts_with("127.0.0.1"), "{answers:?}");
    assert_eq!(denied(&outcome).len(), 2);
}
