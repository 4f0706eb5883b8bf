//! Ways out by sockets.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
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

use crate::{
    attacker::FLAG,
    suite::Case,
    trial::{Trial, answers, end, holds_soon, program, said, text_of},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { numbers: "50 N2 N4 N5 N6", layer: "network namespace", what: "TCP, UDP and DNS to everywhere, without a network", run: nowhere },
    Case { numbers: "51 N3", layer: "network namespace, view, Landlock", what: "sockets of the host: abstract ones and paths", run: unix },
    Case { numbers: "52", layer: "view", what: "a descriptor from a helper outside through the workspace", run: passing },
];

/// A listener of the host that counts who comes.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    heard: Arc<AtomicUsize>,
}

impl Listener {
    pub(super) fn new(address: &str) -> Option<Self> {
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

    pub(super) fn count(&self) -> usize {
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
