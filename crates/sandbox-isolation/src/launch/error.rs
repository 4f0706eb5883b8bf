//! Why a launch failed, in words, with the way out where there is one.

use std::io;

use rustix::io::Errno;

use crate::{
    child::{
        status::{Act, Failure},
        step::{Ids, Step, Steps},
    },
    kernel,
};

/// The confinement could not be built, or its end not be learned.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}")]
#[non_exhaustive]
pub struct LaunchError {
    /// What could not be done, as in `mount /usr read-only`.
    pub step: String,
    /// Why not.
    pub source: io::Error,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether this user may make no namespaces here, or do nothing in them: then
    /// [`crate::Confinement::LandlockAlone`] is what is left.
    pub no_namespaces: bool,
}

impl LaunchError {
    /// Returns an error without a hint. `step` stands behind "cannot".
    pub fn new(step: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            step: step.into(),
            source: source.into(),
            hint: None,
            no_namespaces: false,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts a child's failure into words.
    pub(crate) fn of(failure: Failure, steps: &Steps) -> Self {
        let step = if let Act::Build(index) = failure.act {
            steps.build.get(usize::from(index))
        } else if let Act::Inner(index) = failure.act {
            steps.inner.get(usize::from(index))
        } else if let Act::Late(index) = failure.act {
            steps.late.get(usize::from(index))
        } else {
            None
        };
        let no_namespaces = lacks_namespaces(failure, step);
        let text = step.map_or_else(|| plain_text(failure.act).to_owned(), ToString::to_string);
        let source = match (failure.errno, step) {
            (Errno::STALE, Some(Step::Workspace { .. })) => {
                io::Error::other("another directory took its place")
            }
            (errno, _) => errno.into(),
        };
        Self {
            step: text,
            source,
            hint: if no_namespaces {
                Some(kernel::advice_on_namespaces())
            } else {
                hint(failure, step).map(str::to_owned)
            },
            no_namespaces,
        }
    }
}

fn plain_text(act: Act) -> &'static str {
    match act {
        Act::Builder => "start the process that builds the guest's view",
        Act::Descriptors => "close the caller's descriptors",
        Act::Namespaces => "create the namespaces",
        Act::IdMap => "map the guest's user ids",
        Act::Identity => "change to the guest's user id",
        Act::Build(_) | Act::Inner(_) | Act::Late(_) => "build the guest's view",
        Act::TakeOver => "take over the guest's root",
        Act::NotDumpable => "protect the guest's first process",
        Act::HostName => "set the guest's host name",
        Act::Loopback => "bring the loopback interface up",
        Act::Start => "learn that the guest may start",
        Act::Overlay => "mount the transaction over the workspace",
        Act::OldRoot => "let go of the host's file systems",
        Act::Watch => "watch for the guest's end",
        Act::Ruleset => "build the Landlock ruleset",
        Act::GuestClone => "start the guest's process",
        Act::Session => "start a session",
        Act::Stdio => "set the standard streams",
        Act::ResourceLimits => "set the resource limits",
        Act::Capabilities => "drop all capabilities",
        Act::NoNewPrivileges => "forbid new privileges",
        Act::Directory => "change to the working directory",
        Act::Landlock => "enforce Landlock",
        Act::Seccomp => "install the system call filter",
        Act::Execute => "execute the program",
        Act::Egress => "let the guest's network lead to the allowed hosts",
    }
}

/// They cannot be made, or (where `AppArmor` restricts them) nothing can be done in them.
fn lacks_namespaces(failure: Failure, step: Option<&Step>) -> bool {
    let denied = matches!(failure.errno, Errno::PERM | Errno::ACCESS);
    match (failure.act, step) {
        (Act::Namespaces, _) => denied || matches!(failure.errno, Errno::NOSPC | Errno::INVAL),
        (_, Some(Step::Private | Step::Root)) => denied,
        (Act::IdMap, _) => denied && !rustix::process::geteuid().is_root(),
        _ => false,
    }
}

fn hint(failure: Failure, step: Option<&Step>) -> Option<&'static str> {
    let denied = matches!(failure.errno, Errno::PERM | Errno::ACCESS);
    match (failure.act, step) {
        (Act::IdMap, _) if denied => Some(
            "the caller may not use these host ids: run as a user without privileges, or as root with CAP_SETUID",
        ),
        (
            _,
            Some(
                Step::Workspace {
                    ids: Ids::Shift, ..
                }
                | Step::Bind {
                    ids: Ids::Shift, ..
                },
            ),
        ) if failure.errno == Errno::INVAL => Some(
            "the file system has no idmapped mounts: put it on ext4, xfs or btrfs, or run as a user without \
                 privileges",
        ),
        (Act::Overlay, _) => Some(
            "the file system of the transaction's layers cannot hold an overlay's upper layer: ext4, xfs, btrfs and \
             tmpfs can, another overlay and network file systems cannot",
        ),
        (Act::Directory, _) => Some("the directory must exist in the guest's view"),
        _ => None,
    }
}
