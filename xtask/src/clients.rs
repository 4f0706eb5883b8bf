//! `cargo xtask clients`: real network clients in a sandbox with a list of allowed hosts, as a table.
//!
//! Each client runs against servers on loopback, as us and, if we are root, as an unprivileged user too. Clients that
//! are not installed are named as such. A client must end well, print what is expected, and leave the refusals in the
//! report that are expected.

mod table;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use self::table::{CLIENTS, Client};
use crate::process;

/// `nobody`: in every system's user table, owner of nothing.
const UNPRIVILEGED_ID: u32 = 65_534;
/// Before each client's own words: where the servers are, and no setting of a proxy.
const PRELUDE: &str =
    "set -eu; unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY\n";

/// Runs all clients.
pub(crate) fn run() -> anyhow::Result<()> {
    process::run(&mut process::cargo(&[
        "build", "--locked", "--bin", "sandbox",
    ]))?;
    // Another user may not be able to reach the build directory.
    let directory = tempfile::Builder::new()
        .prefix("sandbox-clients-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .context("cannot make a directory for the clients")?;
    let sandbox = directory.path().join("sandbox");
    fs::copy(process::target_directory()?.join("debug/sandbox"), &sandbox)
        .context("cannot copy the program")?;
    let servers = Servers::start(directory.path())?;
    let us = fs::metadata("/proc/self")
        .context("cannot see who we are")?
        .uid();
    let mut users = vec![us];
    if us == 0 {
        users.push(UNPRIVILEGED_ID);
    }
    let mut failed = Vec::new();
    for user in users {
        println!("\nas user {user}, {} leads to 127.0.0.1", servers.name);
        let site = Site::new(directory.path(), &sandbox, &servers, user)?;
        for client in CLIENTS {
            let result = site.result(client)?;
            println!("{:<34} {:<28} {result}", client.name, site.version(client)?);
            if let Outcome::Wrong(why) = result {
                failed.push(format!("{} as user {user}: {why}", client.name));
            }
        }
        site.destroy()?;
    }
    if !failed.is_empty() {
        bail!("{} clients failed:\n{}", failed.len(), failed.join("\n"));
    }
    Ok(())
}

/// What came of one client.
#[derive(Debug)]
enum Outcome {
    Right,
    NotInstalled,
    Wrong(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Right => "as expected",
            Self::NotInstalled => "SKIPPED: not installed for this user",
            Self::Wrong(_) => "WRONG",
        })
    }
}

/// The servers. They end with their input.
struct Servers {
    children: Vec<Child>,
    /// The name of 127.0.0.1 that clients use.
    name: String,
    http: u16,
    https: u16,
    /// HTTP/2 over TLS, if node is there.
    http2: Option<u16>,
}

impl Servers {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let name = own_name();
        let fixture = process::root().join("tests/fixtures/clients/serve.py");
        let mut python = Command::new("/usr/bin/python3");
        python.arg(fixture).arg(directory).arg(&name);
        let (child, line) = announced(&mut python)?;
        let ports: Value = serde_json::from_str(&line).context("the servers gave no ports")?;
        let port = |what: &str| {
            let port = ports[what].as_u64().and_then(|it| u16::try_from(it).ok());
            port.with_context(|| format!("no port for {what}"))
        };
        let mut servers = Self {
            children: vec![child],
            name,
            http: port("http")?,
            https: port("https")?,
            http2: None,
        };
        let mut node = Command::new("node");
        node.args(["-e", include_str!("clients/http2.js")])
            .arg(directory);
        if let Ok((child, line)) = announced(&mut node) {
            servers.children.push(child);
            servers.http2 = line.trim().parse().ok();
        }
        Ok(servers)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
            // Whatever it says: it has ended.
            child.wait().ok();
        }
    }
}

/// Starts a server; returns the line that it prints once it is there.
fn announced(command: &mut Command) -> anyhow::Result<(Child, String)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let output: Option<ChildStdout> = child.stdout.take();
    let mut line = String::new();
    if let Some(output) = output {
        BufReader::new(output)
            .read_line(&mut line)
            .context("cannot read what the server says")?;
    }
    if line.is_empty() {
        child.wait().context("the server is gone")?;
        bail!("{command:?} did not serve");
    }
    Ok((child, line))
}

/// The machine's own name if it leads to loopback: clients do not ask a name server for `localhost`.
fn own_name() -> String {
    use std::net::ToSocketAddrs as _;
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_owned();
    let leads_here = (name.as_str(), 0)
        .to_socket_addrs()
        .is_ok_and(|mut found| found.all(|it| it.ip().to_string() == "127.0.0.1"));
    if leads_here {
        name
    } else {
        "localhost".to_owned()
    }
}

/// Where one user's clients run.
struct Site<'a> {
    sandbox: &'a Path,
    servers: &'a Servers,
    user: u32,
    home: PathBuf,
    workspace: PathBuf,
}

impl<'a> Site<'a> {
    fn new(
        directory: &Path,
        sandbox: &'a Path,
        servers: &'a Servers,
        user: u32,
    ) -> anyhow::Result<Self> {
        let home = directory.join(format!("user-{user}"));
        let workspace = home.join("workspace");
        fs::create_dir_all(&workspace).context("cannot make the workspace")?;
        fs::copy(directory.join("ca.pem"), workspace.join("ca.pem")).context("no certificate")?;
        for path in [&home, &workspace, &workspace.join("ca.pem")] {
            std::os::unix::fs::chown(path, Some(user), Some(user))
                .context("cannot give the workspace away")?;
        }
        Ok(Self {
            sandbox,
            servers,
            user,
            home,
            workspace,
        })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.workspace)
            .stdin(Stdio::null())
            .env("SANDBOX_HOME", self.home.join("data"))
            .env_remove("SANDBOX_NAME")
            .env_remove("XDG_RUNTIME_DIR");
        if self.user == UNPRIVILEGED_ID {
            command
                .uid(self.user)
                .gid(self.user)
                .env("HOME", &self.home);
        }
        command
    }

    /// Returns what the client says about itself; empty if it is not there.
    fn version(&self, client: &Client) -> anyhow::Result<String> {
        let mut shell = self.command(Path::new("/bin/sh"));
        let output = shell
            .args(["-c", client.version])
            .stderr(Stdio::null())
            .output();
        let output = output.context("cannot start a shell")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(said
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(28)
            .collect())
    }

    fn result(&self, client: &Client) -> anyhow::Result<Outcome> {
        if self.version(client)?.is_empty()
            || (client.script.contains("$HTTP2") && self.servers.http2.is_none())
        {
            return Ok(Outcome::NotInstalled);
        }
        let script = self.workspace.join("client.sh");
        fs::write(&script, format!("{PRELUDE}{}", client.script)).context("cannot write")?;
        let report = self.run()?;
        let printed = report["stdout"]["text"].as_str().unwrap_or_default();
        let refusals = report["violations"].as_array().into_iter().flatten();
        let mut refusals = refusals.filter_map(|it| it["detail"].as_str());
        let refused = client.refused.is_empty() || refusals.any(|it| it.contains(client.refused));
        Ok(if report["outcome"] != "completed" {
            Outcome::Wrong(format!("it failed: {}", shown(&report)))
        } else if !printed.contains(client.prints) {
            Outcome::Wrong(format!(
                "it did not print '{}': {}",
                client.prints,
                shown(&report)
            ))
        } else if !refused {
            Outcome::Wrong(format!(
                "no refusal of '{}': {}",
                client.refused,
                shown(&report)
            ))
        } else {
            Outcome::Right
        })
    }

    fn run(&self) -> anyhow::Result<Value> {
        let Servers {
            name,
            http,
            https,
            http2,
            ..
        } = self.servers;
        let mut command = self.command(self.sandbox);
        command.args(["run", "--yes", "--json", "--direct"]);
        let ports = [Some(*http), Some(*https), *http2];
        for port in ports.into_iter().flatten() {
            for host in [name.as_str(), "127.0.0.1"] {
                command.arg("--allow-host").arg(format!("{host}:{port}"));
            }
        }
        let variables = [
            format!("NAME={name}"),
            format!("HTTP=http://{name}:{http}"),
            format!("HTTPS=https://{name}:{https}"),
            format!("HTTP2=https://{name}:{}", http2.unwrap_or_default()),
            format!("PORT={http}"),
        ];
        command
            .args(["--", "env"])
            .args(variables)
            .args(["bash", "client.sh"]);
        let output = command.output().context("cannot start the program")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("no report: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn destroy(&self) -> anyhow::Result<()> {
        process::read(self.command(self.sandbox).args(["destroy", "--force"])).map(drop)
    }
}

/// What a report says, for whoever looks for the cause.
fn shown(report: &Value) -> String {
    format!(
        "stdout {} stderr {} violations {} network {}",
        report["stdout"]["text"], report["stderr"]["text"], report["violations"], report["network"]
    )
}
