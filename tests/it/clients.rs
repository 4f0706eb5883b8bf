//! Real network clients, unchanged, with a list of allowed hosts; `cargo xtask clients` runs many more.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::lab::Lab;

/// The servers of `tests/fixtures/clients/serve.py`. They end with their input.
struct Servers {
    child: Child,
    directory: tempfile::TempDir,
    https: u64,
}

impl Servers {
    /// Starts them; `None` where the programs for that are missing.
    fn start() -> Option<Self> {
        for program in ["python3", "openssl", "git", "curl"] {
            if !Path::new("/usr/bin").join(program).exists() {
                eprintln!("SKIPPED: /usr/bin/{program} is not installed");
                return None;
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", include_str!("../fixtures/clients/serve.py")])
            .arg(directory.path())
            .arg("localhost")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        assert!(output.unwrap() > 0, "the servers did not start");
        let ports: Value = serde_json::from_str(&line).unwrap();
        Some(Self {
            child,
            directory,
            https: ports["https"].as_u64().unwrap(),
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Whatever it says: it has ended.
        let _status = self.child.wait();
    }
}

#[test]
fn clients_over_tls_need_no_setting() {
    let Some(servers) = Servers::start() else {
        return;
    };
    let lab = Lab::new();
    let place = lab.workspace();
    fs::copy(
        servers.directory.path().join("ca.pem"),
        place.join("ca.pem"),
    )
    .unwrap();
    let base = format!("https://localhost:{}", servers.https);
    let script = format!(
        "set -e; export http_proxy=http://127.0.0.1:9 GIT_SSL_CAINFO=$PWD/ca.pem
         curl -sS --cacert ca.pem {base}/greeting
         curl -sS --noproxy '' --socks5-hostname 198.18.0.1:1080 --cacert ca.pem {base}/greeting
         git clone -q {base}/made.git cloned; cat cloned/file
         /usr/bin/python3 - <<'END'
import ssl, urllib.request as r
tls = r.HTTPSHandler(context=ssl.create_default_context(cafile='ca.pem'))
print(r.build_opener(r.ProxyHandler({{}}), tls).open('{base}/greeting').read().decode(), end='')
END"
    );
    fs::write(place.join("client.sh"), script).unwrap();
    let host = format!("localhost:{}", servers.https);
    let options = ["--yes", "--allow-host", &host];
    let report = lab.run_with(&options, "bash client.sh");
    let outside = "hello from outside\n";
    let expected = format!("{outside}{outside}hello from a repository\n{outside}");
    assert_eq!(report["stdout"]["text"], expected, "{report:#}");
    assert_eq!(report["outcome"], "completed", "{report:#}");
    // The control: without the list the same clients reach nothing.
    let report = lab.run_with(&["--yes"], "bash client.sh");
    assert_eq!(report["outcome"], "failed", "{report:#}");
    assert_eq!(report["stdout"]["text"], "", "{report:#}");
}

#[test]
fn other_ways_out_are_closed() {
    let python = "/usr/bin/python3";
    if !Path::new(python).exists() {
        eprintln!("SKIPPED: {python} is not installed");
        return;
    }
    let lab = Lab::new().file(
        "client.py",
        r"
import socket, struct

def tried(what, attempt):
    try:
        attempt()
        print(what, 'went through')
    except OSError as error:
        print(what, type(error).__name__)

def tcp(host, port):
    with socket.create_connection((host, port), 9) as stream:
        stream.recv(1)

def udp(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(9)
        datagrams.connect((host, port))
        datagrams.send(b'a')
        datagrams.recv(1)

def raw(family, kind, protocol):
    socket.socket(family, kind, protocol).close()

tried('address', lambda: tcp('9.9.9.9', 443))
tried('ssh', lambda: tcp('9.9.9.9', 22))
tried('name', lambda: tcp('secret.evil.example', 443))
tried('quic', lambda: udp('9.9.9.9', 443))
tried('dtls', lambda: udp('1.1.1.1', 853))
tried('raw', lambda: raw(socket.AF_INET, socket.SOCK_RAW, 1))
tried('packet', lambda: raw(socket.AF_PACKET, socket.SOCK_RAW, 768))
query = bytes.fromhex('0007010000010000000000000465766c31076578616d706c650000010001')
with socket.create_connection(('9.9.9.9', 53), 9) as stream:
    stream.sendall(struct.pack('>H', len(query)) + query)
    print('dns over tcp', stream.recv(99)[5] & 15)
",
    );
    let options = ["--yes", "--allow-host", "example.com"];
    let report = lab.run_with(&options, "/usr/bin/python3 client.py");
    let expected = "address ConnectionResetError\nssh ConnectionRefusedError\nname gaierror\n\
         quic ConnectionRefusedError\ndtls ConnectionRefusedError\nraw PermissionError\n";
    let printed = report["stdout"]["text"].as_str().unwrap();
    assert!(printed.starts_with(expected), "{report:#}");
    assert!(printed.contains("\npacket "), "{report:#}");
    assert!(!printed.contains("through"), "{report:#}");
    assert!(printed.ends_with("\ndns over tcp 3\n"), "{report:#}");
    let violations = report["violations"].to_string();
    for named in ["9.9.9.9:443", "secret.evil.example", "evl1.example"] {
        assert!(violations.contains(named), "{named}: {report:#}");
    }
}
