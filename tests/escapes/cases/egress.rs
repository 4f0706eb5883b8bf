//! Ways past the list of allowed hosts.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{network::Listener, rebinding};
use crate::{
    attacker::FLAG,
    suite::Case,
    trial::{Reach, Trial, answers, end, peak_of, program, said},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "53 N7 N8 N9 N11", layer: "egress", what: "names and addresses that are spelled to deceive the list", run: spellings },
    Case { numbers: "54 N10 N14", layer: "egress", what: "allowed names that lead to private addresses", run: inward },
    Case { numbers: "55 N12 N13", layer: "egress", what: "the supervisor itself: slow, many and huge requests", run: supervisor },
];

fn digits_of(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|it| format!("{it:02x}")).collect();
    pairs.concat()
}

/// Sends requests to the proxy inside, and reports each that reaches the canary.
fn requests(
    trial: &mut Trial,
    hosts: &[&str],
    all: &[(&str, Vec<u8>)],
    listener: &Listener,
) -> Value {
    let mut options = Vec::new();
    for host in hosts {
        options.extend(["--allow-host", host]);
    }
    let digits: Vec<String> = all.iter().map(|(_, bytes)| digits_of(bytes)).collect();
    let mut arguments = vec!["exchange", "198.18.0.1:1080"];
    arguments.extend(digits.iter().map(String::as_str));
    let before = listener.count();
    let report = trial.attack_with(&options, &arguments);
    let heard = answers(&said(&report));
    assert_eq!(heard.len(), all.len(), "{report:#}");
    for ((what, _), (_, reach)) in all.iter().zip(heard) {
        let outside = without_list(what, listener);
        trial.attempt(*what, outside, reach);
    }
    trial.never("a connection to the listener", listener.count() > before);
    report
}

/// The control of a request: a client without a list goes where the system's resolver says. What is no name of a host is
/// a trick on the proxy alone; of these, the control is [`reaches_by_name`].
fn without_list(what: &str, listener: &Listener) -> Reach {
    use std::net::ToSocketAddrs as _;
    if what.contains(' ') && !what.starts_with(' ') {
        return Reach::Through;
    }
    let name = what
        .trim_matches(['[', ']'])
        .rsplit('@')
        .next()
        .unwrap_or(what);
    let found = (name, listener.address.port()).to_socket_addrs();
    let found = found
        .into_iter()
        .flatten()
        .any(|it| it.ip().to_canonical() == listener.address.ip());
    if found {
        Reach::Through
    } else {
        Reach::Stopped("the resolver has no such name, or it leads elsewhere".to_owned())
    }
}

fn connect_to(target: &str) -> Vec<u8> {
    format!("CONNECT {target} HTTP/1.1\r\nHost: allowed.example\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        .into_bytes()
}

fn socks_to(name: &[u8], length: u8, port: u16) -> Vec<u8> {
    let mut request = vec![5, 1, 0, 5, 1, 0, 3, length];
    request.extend(name);
    request.extend(port.to_be_bytes());
    request.extend(b"GET / HTTP/1.1\r\n\r\n");
    request
}

/// The control of all requests: the name that the list has is reached, so the proxy, the listener and the attacker work.
fn reaches_by_name(trial: &Trial, port: u16) {
    let digits = digits_of(&connect_to(&format!("localhost:{port}")));
    let report = trial.attack_with(
        &["--allow-host", &format!("localhost:{port}")],
        &["exchange", "198.18.0.1:1080", &digits],
    );
    assert!(
        said(&report).contains("> request 0\tthrough"),
        "the control: {report:#}"
    );
}

fn spellings(trial: &mut Trial) {
    let listener = Listener::new("127.0.0.1").unwrap();
    let port = listener.address.port();
    reaches_by_name(trial, port);
    let targets = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0",
        "localhost.",
        "LOCALHOST",
        "localhost%00.allowed.example",
        "allowed.example@localhost",
        "allowed.example%40localhost",
        "allowed.example#@localhost",
        "ｌｏｃａｌｈｏｓｔ",
        "xn--localhost-",
        "localhost\u{3002}",
        " localhost",
        "localhost\t",
        "allowed.example:80@localhost",
        "localhost\\.allowed.example",
        "localhost/.allowed.example",
        "..localhost",
        "*.localhost",
    ];
    let mut all: Vec<(&str, Vec<u8>)> = targets
        .iter()
        .map(|it| (*it, connect_to(&format!("{it}:{port}"))))
        .collect();
    let long = vec![b'a'; 255];
    all.extend([
        ("CONNECT without a port", connect_to("allowed.example")),
        ("CONNECT to port 25", connect_to("allowed.example:25")),
        ("an absolute request with another host", format!("GET http://localhost:{port}/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n").into_bytes()),
        ("a second request behind a refused one", [connect_to("evil.example:443"), connect_to(&format!("localhost:{port}"))].concat()),
        ("a second header with a target", format!("CONNECT evil.example:443 HTTP/1.1\r\nX: y\r\nCONNECT localhost:{port} HTTP/1.1\r\n\r\n").into_bytes()),
        ("HTTP/2 from the first byte", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("SOCKS5 with NUL in the name", socks_to(b"localhost\0.allowed.example", 26, port)),
        ("SOCKS5 with a name that is longer than it says", socks_to(b"localhost", 4, port)),
        ("SOCKS5 with a name that is shorter than it says", socks_to(b"localhost", 255, port)),
        ("SOCKS5 with an empty name", socks_to(b"", 0, port)),
        ("SOCKS5 with 255 letters", socks_to(&long, 255, port)),
        ("SOCKS5 to an address", [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat()),
        ("SOCKS5 to listen", [&[5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat()),
        ("SOCKS4", [&[4, 1][..], &port.to_be_bytes(), &[127, 0, 0, 1, 0]].concat()),
    ]);
    let allowed = [
        format!("allowed.example:{port}"),
        "*.allowed.example".to_owned(),
        "allowed.example".to_owned(),
    ];
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    requests(trial, &allowed, &all, &listener);
    trial.cannot_show("a TLS name or Host header that differs behind one address: the list decides by the name that is dialled (docs/threat-model.md)");
}

fn inward(trial: &mut Trial) {
    let listener = Listener::new("127.0.0.1").unwrap();
    let port = listener.address.port();
    reaches_by_name(trial, port);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    let everything = [
        format!("*:{port}"),
        format!("0.0.0.0/0:{port}"),
        format!("[::/0]:{port}"),
    ];
    let everything: Vec<&str> = everything.iter().map(String::as_str).collect();
    let addresses = [
        "127.0.0.1",
        "127.0.0.53",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "100.100.100.200",
        "198.18.0.1",
        "[::7f00:1]",
    ];
    let mut all: Vec<(&str, Vec<u8>)> = addresses
        .iter()
        .map(|it| (*it, connect_to(&format!("{it}:{port}"))))
        .collect();
    all.push((
        "the machine's own name",
        connect_to(&format!("{host}:{port}")),
    ));
    let report = requests(trial, &everything, &all, &listener);
    assert!(
        report["violations"].to_string().contains("127.0.0.1"),
        "{report:#}"
    );
    rebinding::change_answers(trial);
}

fn supervisor(trial: &mut Trial) {
    let listener = Listener::new("127.0.0.1").unwrap();
    let port = listener.address.port();
    let host = format!("localhost:{port}");
    let program = program();
    let count = if trial.variant.is_long {
        "20000"
    } else {
        "400"
    };
    let mut child = trial.lab.command(&[
        "run",
        "--json",
        "--yes",
        "--timeout",
        "60s",
        "--allow-host",
        &host,
        "--read",
        &program,
        "--",
        &program,
        FLAG,
        "hold",
        "198.18.0.1:1080",
        count,
    ]);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let text = thread::spawn(move || std::io::read_to_string(output).unwrap());
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_of(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::park_timeout(Duration::from_millis(2));
    };
    let report: Value = serde_json::from_str(&text.join().unwrap()).unwrap();
    assert!(
        status.success() && said(&report).contains("made "),
        "{report:#}"
    );
    trial.never(
        format!("{count} half requests and a huge one in {peak} KiB of the supervisor's memory"),
        peak > 60 << 10,
    );
    reaches_by_name(trial, port);
    // The supervisor listens inside only: nobody else can have relayed, and there is no token to steal.
    let sockets = |net: &str| {
        std::fs::read_to_string(net)
            .unwrap_or_default()
            .lines()
            .filter(|it| it.contains(":0438 ") && it.contains(" 0A "))
            .count()
    };
    let before = sockets("/proc/net/tcp");
    let mut child = trial
        .lab
        .command(&[
            "run",
            "-q",
            "--yes",
            "--allow-host",
            &host,
            "--",
            "sh",
            "-c",
            "env | grep -ci token; echo ready; exec sleep 30",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = [0; 8];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut heard)
        .unwrap();
    assert_eq!(&heard, b"0\nready\n", "a token in the environment");
    let connected = std::net::TcpStream::connect_timeout(
        &SocketAddr::from((Ipv4Addr::LOCALHOST, 1080)),
        Duration::from_secs(1),
    );
    let control = TcpListener::bind("127.0.0.1:0").unwrap();
    let control = std::net::TcpStream::connect(control.local_addr().unwrap()).is_ok();
    trial.effect(
        "the supervisor's port from outside",
        control,
        sockets("/proc/net/tcp") > before || connected.is_ok() && before == 0,
    );
    end(child.id());
    child.wait().unwrap();
}
