//! The attacks that prove the walls: each is made inside of a confinement, and outside as the control.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use serde::{Deserialize, Serialize};

/// How long a connection is waited for: it is refused at once, or there.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is attempted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// To read a file outside of the workspace.
    ReadOutside,
    /// To write it.
    WriteOutside,
    /// To signal a process that is none of the command's.
    SignalOther,
    /// To reach a server on the host.
    Connect,
    /// To make a system call that the default profile refuses.
    ForbiddenCall,
    /// To change the workspace before that is decided.
    ChangeWorkspace,
    /// To read a file where Landlock alone stands before it.
    ReadPastLandlock,
}

/// What came of one attack.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Attacked {
    /// What was attempted.
    pub attack: Attack,
    /// Whether it succeeds without the wall: if not, the other answer proves nothing.
    pub outside: bool,
    /// Whether it succeeded with the wall.
    pub inside: bool,
}

impl Attacked {
    /// Returns whether it proves the wall.
    pub fn proves(&self) -> bool {
        self.outside && !self.inside
    }
}

/// What is attacked: a file, this process, a server of its own.
#[derive(Debug)]
pub struct Targets {
    canary: PathBuf,
    server: TcpListener,
}

/// The words cannot name targets.
#[derive(Debug, thiserror::Error)]
#[error("cannot attack: the targets are a file, a process id and a port")]
pub struct NoTargets;

impl Targets {
    /// Makes the targets, with the file in `directory`.
    ///
    /// # Errors
    ///
    /// Fails when the file or the server cannot be made.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let canary = directory.join("canary");
        fs::write(&canary, "nobody else may read this\n")?;
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { canary, server })
    }

    /// Returns the words by which [`attack`] finds them.
    ///
    /// # Errors
    ///
    /// Fails when the server is gone.
    pub fn words(&self) -> io::Result<[String; 3]> {
        let port = self.server.local_addr()?.port();
        let canary = self.canary.to_string_lossy().into_owned();
        Ok([canary, std::process::id().to_string(), port.to_string()])
    }

    /// Attacks from here, and compares with what succeeded inside, in the words that [`attack`] returned there.
    /// `workspace_changed` tells whether the command's change of the workspace was there before it was kept.
    ///
    /// # Errors
    ///
    /// Fails when the targets are gone.
    pub fn compare(&self, inside: &str, workspace_changed: bool) -> io::Result<Vec<Attacked>> {
        let outside = attack(&self.words()?).map_err(io::Error::other)?;
        let succeeded = |text: &str, attack: Attack| {
            let name = serde_json::to_value(attack).unwrap_or_default();
            let name = name.as_str().unwrap_or_default();
            text.split_whitespace().any(|word| word == name)
        };
        let mut attacks: Vec<Attacked> = MADE_INSIDE
            .into_iter()
            .map(|attack| Attacked {
                attack,
                outside: succeeded(&outside, attack),
                inside: succeeded(inside, attack),
            })
            .collect();
        attacks.push(Attacked {
            attack: Attack::ChangeWorkspace,
            outside: true,
            inside: workspace_changed,
        });
        if let Some(read) = sandbox_isolation::read_past_landlock(&self.canary) {
            attacks.push(Attacked {
                attack: Attack::ReadPastLandlock,
                outside: File::open(&self.canary).is_ok(),
                inside: read,
            });
        }
        Ok(attacks)
    }
}

const MADE_INSIDE: [Attack; 5] = [
    Attack::ReadOutside,
    Attack::WriteOutside,
    Attack::SignalOther,
    Attack::Connect,
    Attack::ForbiddenCall,
];

/// Makes the attacks on targets that are named by their words; returns the names of those that succeeded. Harmless:
/// nothing is changed and nobody is ended.
///
/// # Errors
///
/// Fails when the words name no targets.
pub fn attack(words: &[String]) -> Result<String, NoTargets> {
    let [canary, pid, port] = words else {
        return Err(NoTargets);
    };
    let pid: i32 = pid.parse().map_err(|_not_a_number| NoTargets)?;
    let pid = Pid::from_raw(pid).ok_or(NoTargets)?;
    let port: u16 = port.parse().map_err(|_not_a_number| NoTargets)?;
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let succeeded = MADE_INSIDE.into_iter().filter(|attack| match attack {
        Attack::ReadOutside => fs::read(canary).is_ok(),
        Attack::WriteOutside => File::options().append(true).open(canary).is_ok(),
        Attack::SignalOther => rustix::process::test_kill_process(pid).is_ok(),
        Attack::Connect => TcpStream::connect_timeout(&server, PATIENCE).is_ok(),
        Attack::ForbiddenCall => copies_descriptor(),
        Attack::ChangeWorkspace | Attack::ReadPastLandlock => false,
    });
    let names = succeeded.filter_map(|attack| serde_json::to_value(attack).ok());
    let names: Vec<String> = names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    Ok(names.join(" "))
}

/// `pidfd_getfd` on oneself: harmless, allowed to everybody, and refused by the default profile.
fn copies_descriptor() -> bool {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let Ok(own) = own else { return false };
    rustix::process::pidfd_getfd(own, 1, PidfdGetfdFlags::empty()).is_ok()
}
