//! The client of the egress tests: this test program itself, started inside.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    time::Duration,
};

/// Says what the client does: commands, one a line.
pub(crate) const SCRIPT: &str = "SANDBOX_TEST_CLIENT";
const PATIENCE: Duration = Duration::from_secs(15);

/// The client: does nothing unless it is started inside by a test below.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test says what to do by an environment variable"
)]
fn as_client() {
    let Ok(script) = std::env::var(SCRIPT) else {
        return;
    };
    let mut held: Vec<TcpStream> = Vec::new();
    for line in script.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words.as_slice() {
            ["get", host] => get(host).unwrap_or_else(|error| format!("{:?}", error.kind())),
            ["look", name] => look(name),
            ["udp", to, hex] => udp(to, hex).unwrap_or_else(|error| format!("{:?}", error.kind())),
            ["send", to, hex] => raw(to, hex).unwrap_or_else(|error| format!("{:?}", error.kind())),
            ["many", count, host] => many(count.parse().unwrap(), host),
            ["upload", bytes, host] => upload(bytes.parse().unwrap(), host).unwrap(),
            ["leave", host] => leave(host),
            ["knock", host, first, count] => {
                knock(host, first.parse().unwrap(), count.parse().unwrap())
            }
            ["hold", count, host, hex] => {
                held.extend(hold(count.parse().unwrap(), host, hex));
                (*count).to_owned()
            }
            ["flood", count, host] => flood(count.parse().unwrap(), host),
            ["names", count, parent] => names(count.parse().unwrap(), parent),
            ["break", host] => break_off(host),
            other => panic!("{other:?}"),
        };
        println!("> {answer}");
    }
}

/// Connects, says its own name, and returns what it hears until the end.
fn get(host: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"hello")?;
    end_writing(&stream)?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    Ok(heard)
}

/// A connection that was reset already is "not connected" to `shutdown(2)`; the read that follows says why.
fn end_writing(stream: &TcpStream) -> std::io::Result<()> {
    match stream.shutdown(Shutdown::Write) {
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
        ended => ended,
    }
}

pub(super) fn look(name: &str) -> String {
    match (name, 0).to_socket_addrs() {
        Ok(found) => {
            let mut found: Vec<String> = found.map(|it| it.ip().to_string()).collect();
            found.sort();
            found.dedup();
            found.join(" ")
        }
        Err(_) => "unknown".to_owned(),
    }
}

pub(super) fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(super) fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// Sends a datagram and returns the answer, which must come from where it was sent to.
fn udp(to: &str, hex: &str) -> std::io::Result<String> {
    let to: SocketAddr = to.parse().unwrap();
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
        .parse()
        .unwrap();
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(&bytes_of(hex))?;
    let mut answer = [0; 600];
    let length = socket.recv(&mut answer)?;
    Ok(hex_of(&answer[..length]))
}

/// Sends bytes one by one, then reads to the end.
fn raw(to: &str, hex: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    for byte in bytes_of(hex) {
        stream.write_all(&[byte])?;
    }
    end_writing(&stream)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(hex_of(&heard))
}

fn many(count: usize, host: &str) -> String {
    let mut streams: Vec<TcpStream> = (0..count)
        .map(|_| TcpStream::connect(host).unwrap())
        .collect();
    for stream in &mut streams {
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut whole = 0;
    for stream in &mut streams {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        whole += usize::from(heard == "echo hello");
    }
    whole.to_string()
}

/// Sends much, then hears how much arrived.
fn upload(bytes: usize, host: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(host)?;
    let piece = vec![7; 100_000];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        stream.write_all(&piece[..now])?;
        left -= now;
    }
    end_writing(&stream)?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    Ok(heard)
}

/// Connects to one port after the other; returns how many were open.
fn knock(host: &str, first: u16, count: u16) -> String {
    // One that is reset before `connect(2)` returns was open.
    let open = |port: &u16| match TcpStream::connect((host, *port)) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    (first..first + count).filter(open).count().to_string()
}

/// Opens connections that say something and no more.
fn hold(count: usize, host: &str, hex: &str) -> Vec<TcpStream> {
    let start = || {
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(&bytes_of(hex)).unwrap();
        stream
    };
    (0..count).map(|_| start()).collect()
}

/// Connects again and again; returns how often it came to nothing.
fn flood(count: usize, host: &str) -> String {
    let fails = |_: &usize| match TcpStream::connect(host) {
        Ok(mut stream) => stream.read(&mut [0]).is_err(),
        Err(_) => true,
    };
    (0..count).filter(fails).count().to_string()
}

/// Looks different names up; returns how many are unknown.
fn names(count: usize, parent: &str) -> String {
    let unknown = |number: &usize| look(&format!("n{number}.{parent}")) == "unknown";
    (0..count).filter(unknown).count().to_string()
}

/// Says something and resets the connection.
fn break_off(host: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(b"broken").unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    String::new()
}

/// Sends something and is gone.
fn leave(host: &str) -> String {
    TcpStream::connect(host)
        .unwrap()
        .write_all(b"last words")
        .unwrap();
    String::new()
}
