//! Ways out by sockets.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr as UnixAddress, UnixListener},
    },
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    attacker::FLAG,
    suite::Case,
    trial::{Reach, Trial, answers, end, holds_soon, program, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "50 N2 N4 N5 N6", layer: "network namespace", what: "TCP, UDP and DNS to everywhere, without a network", run: nowhere },
    Case { numbers: "51 N3", layer: "network namespace, view, Landlock", what: "sockets of the host: abstract ones and paths", run: unix },
    Case { numbers: "52", layer: "view", what: "a descriptor from a helper outside through the workspace", run: passing },
    Case { numbers: "53 N7 N8 N9 N11", layer: "egress", what: "names and addresses that are spelled to deceive the list", run: spellings },
    Case { numbers: "54 N10 N14", layer: "egress", what: "allowed names that lead to private addresses", run: inward },
    Case { numbers: "55 N12 N13", layer: "egress", what: "the supervisor itself: slow, many and huge requests", run: supervisor },
];

/// A listener of the host that counts who comes.
struct Listener {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
}

impl Listener {
    fn new(address: &str) -> Option<Self> {
        let listener = TcpListener::bind((address.parse::<IpAddr>().unwrap(), 0)).ok()?;
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _gone =
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary");
                    let _closed = stream.read(&mut [0; 4096]);
                });
            }
        });
        Some(Self { address, heard })
    }

    fn count(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

/// An address of this machine that is not loopback.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent by connecting a datagram socket.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().unwrap().ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn nowhere(trial: &mut Trial) {
    let start = Instant::now();
    let mut listeners = vec![Listener::new("127.0.0.1"), Listener::new("::1")];
    listeners.push(own_address().and_then(|it| Listener::new(&it.to_string())));
    let listeners: Vec<Listener> = listeners.into_iter().flatten().collect();
    for listener in &listeners {
        let address = listener.address.to_string();
        trial.attack_outside(&["connect", &address]);
        let outside = holds_soon(Duration::from_secs(5), || listener.count() > 0);
        let before = listener.count();
        trial.attack_with(&[], &["connect", &address]);
        trial.effect(
            format!("TCP to {address}"),
            outside,
            listener.count() > before,
        );
        if let SocketAddr::V4(v4) = listener.address {
            let mapped = format!("[::ffff:{}]:{}", v4.ip(), v4.port());
            trial.attack_outside(&["connect", &mapped]);
            let outside = holds_soon(Duration::from_secs(5), || listener.count() > before);
            let before = listener.count();
            trial.attack_with(&[], &["connect", &mapped]);
            trial.effect(
                format!("TCP to {mapped}"),
                outside,
                listener.count() > before,
            );
        }
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let address = socket.local_addr().unwrap().to_string();
    trial.attack_outside(&["datagram", &address]);
    let outside = socket.recv(&mut [0; 16]).is_ok();
    trial.attack_with(&[], &["datagram", &address]);
    trial.effect("a datagram", outside, socket.recv(&mut [0; 16]).is_ok());
    // Everywhere else: nobody of ours is there, so that it fails at once is what can be seen.
    let far = [
        "1.1.1.1:443",
        "8.8.8.8:53",
        "169.254.169.254:80",
        "10.0.0.1:80",
        "192.168.1.1:53",
        "[2606:4700:4700::1111]:443",
        "[fd00:ec2::254]:80",
        "[64:ff9b::808:808]:80",
        "[fe80::1]:80",
    ];
    let mut arguments = vec!["connect"];
    arguments.extend(far);
    let begin = Instant::now();
    let report = trial.attack_with(&[], &arguments);
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "the attempts hang"
    );
    for (what, reach) in answers(&said(&report)) {
        trial.never(what, reach.is_through());
    }
    assert_eq!(
        report["violations"][0]["kind"], "network",
        "the denial is recorded: {report:#}"
    );
    let mut arguments = vec!["datagram", "224.0.0.251:5353", "[ff02::1]:5353"];
    arguments.extend(["8.8.8.8:53", "239.255.255.250:1900", "169.254.169.254:53"]);
    for (what, reach) in answers(&said(&trial.attack_with(&[], &arguments))) {
        trial.never(what, reach.is_through());
    }
    trial.leak("a name by the resolver", "getent hosts \"$(cat /proc/sys/kernel/hostname)\" > /dev/null && (getent hosts example.com || true) && grep -q '^nameserver' /etc/resolv.conf && echo resolves", "resolves");
    assert!(start.elapsed() < Duration::from_secs(120));
}

fn unix(trial: &mut Trial) {
    let name = format!("escape-{}", std::process::id());
    let hidden = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name).unwrap()).unwrap();
    let places = [
        trial.canary("bus"),
        trial.lab.workspace().join("socket"),
        trial.lab.home().join("agent"),
    ];
    let listeners = places.clone().map(|path| UnixListener::bind(path).unwrap());
    let system = [
        "/var/run/docker.sock",
        "/run/systemd/private",
        "/run/dbus/system_bus_socket",
        "/run/snapd.socket",
        "/tmp/.X11-unix/X0",
        "/run/containerd/containerd.sock",
    ];
    let mut targets = vec![format!("@{name}")];
    targets.extend(places.iter().map(|it| text_of(it)));
    targets.extend(
        system
            .iter()
            .filter(|it| std::path::Path::new(it).exists())
            .map(|it| (*it).to_owned()),
    );
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    for listener in listeners.iter().chain([&hidden]) {
        listener.set_nonblocking(true).unwrap();
    }
    let came = || {
        listeners
            .iter()
            .chain([&hidden])
            .map(|it| std::iter::from_fn(|| it.accept().ok()).count())
            .collect::<Vec<_>>()
    };
    let mut arguments = vec!["unix"];
    arguments.extend(&targets);
    trial.attack_outside(&arguments);
    let outside = came();
    trial.attack_with(&[], &arguments);
    let inside = came();
    for (index, target) in [
        "a socket beside the workspace",
        "a socket in the workspace",
        "an agent's socket in the home",
        "an abstract socket",
    ]
    .iter()
    .enumerate()
    {
        trial.effect(*target, outside[index] > 0, inside[index] > 0);
    }
    let seen = trial.attack_with(&[], &arguments);
    for (what, reach) in answers(&said(&seen)) {
        trial.never(what, reach.is_through());
    }
    // With the host's network the abstract names are Landlock's to hold.
    trial.attack_with(&["--net", "host"], &["unix", &format!("@{name}")]);
    let is_scoped = std::fs::read_to_string("/sys/kernel/security/lsm")
        .is_ok_and(|it| it.contains("landlock"))
        || seen["enforcement"]["landlock"] == "full";
    if is_scoped {
        let inside = came();
        trial.effect(
            "an abstract socket with the host's network",
            outside[3] > 0,
            inside[3] > 0,
        );
    }
}

fn passing(trial: &mut Trial) {
    std::fs::write(trial.canary("secret"), "canary-passed").unwrap();
    trial.guard();
    let (socket, secret) = (
        text_of(&trial.lab.workspace().join("helper")),
        text_of(&trial.canary("secret")),
    );
    let mut helper = Command::new(program())
        .args([FLAG, "offer", &socket, &secret])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(holds_soon(Duration::from_secs(10), || {
        std::path::Path::new(&socket).exists()
    }));
    let outside = trial.attack_outside(&["take", "helper"]);
    let report = trial.attack_with(&[], &["take", "helper"]);
    trial.effect(
        "what a helper offers in the workspace",
        outside.contains("canary-passed"),
        said(&report).contains("canary-passed"),
    );
    end(helper.id());
    helper.wait().unwrap();
    // The other way round: what the guest offers is not in the workspace while it runs.
    let inner = trial.lab.workspace().join("inner");
    let program = program();
    let mut guest = trial
        .lab
        .command(&[
            "run",
            "-q",
            "--yes",
            "--timeout",
            "20s",
            "--read",
            &program,
            "--",
            &program,
            FLAG,
            "offer",
            "inner",
            &program,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 7];
    guest
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    trial.never("a socket of the guest in the workspace", inner.exists());
    end(guest.id());
    guest.wait().unwrap();
}

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
    trial.cannot_show("rebinding: this host has no name server of ours; what is dialled is the address that was checked: one look-up a connection");
}

fn supervisor(trial: &mut Trial) {
    let listener = Listener::new("127.0.0.1").unwrap();
    let port = listener.address.port();
    let host = format!("localhost:{port}");
    let program = program();
    let count = if trial.is_long { "20000" } else { "400" };
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
        let lines =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = lines.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        peak = peak.max(
            line.and_then(|it| it.split_whitespace().next())
                .and_then(|it| it.parse::<u64>().ok())
                .unwrap_or(0),
        );
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
