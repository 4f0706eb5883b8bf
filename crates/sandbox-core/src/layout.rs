//! Where things lie below `SANDBOX_HOME`.
//!
//! ```text
//! <home>/lock                      taken to create and destroy
//! <home>/journal.log               lifecycle of all sandboxes, survives them
//! <home>/keys/state.key            seals the secrets of all sandboxes, lies apart from them
//! <home>/index/<digest of path>    name of the sandbox bound to that workspace
//! <home>/sandboxes/<name>/         sandbox.json, config.yaml, journal.log, state.redb,
//!                              repository/ (snapshots)
//! <home>/layers/<name>/            transactions and undo sets, where the file system allows
//! <home>/sandboxes/.new-<pid>/     a sandbox that is being made
//! ```

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use sandbox_types::SandboxName;
use sha2::{Digest as _, Sha256};

/// The name of a sandbox's record. Who runs an operation locks it with others, who destroys the
/// sandbox locks it alone.
pub(crate) const RECORD_FILE: &str = "sandbox.json";
/// The name of the configuration that is stored with a sandbox.
pub(crate) const CONFIG_FILE: &str = "config.yaml";

/// The name of a sandbox's journal.
pub(crate) const JOURNAL_FILE: &str = "journal.log";

/// What the names of directories of transactions begin with that lie beside workspaces, or in one.
const LAYERS_BESIDE: &str = ".sandbox-layers-";

/// Returns whether directories of transactions, of any user and home, have names as this one.
pub(crate) fn is_of_layers(name: &OsStr) -> bool {
    name.as_encoded_bytes()
        .starts_with(LAYERS_BESIDE.as_bytes())
}

/// Lies beside layers in a workspace: git then leaves all of them out.
pub(crate) const IGNORE_FILE: &str = ".gitignore";

/// What the names of sandboxes that are being made begin with. No name of a sandbox does.
pub(crate) const UNFINISHED: &str = ".new-";

/// The directory that holds everything we keep.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    home: PathBuf,
}

impl Layout {
    pub(crate) fn new(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.home.join("lock")
    }

    pub(crate) fn state_key(&self) -> PathBuf {
        self.home.join("keys").join("state.key")
    }

    pub(crate) fn snapshot_key(&self) -> PathBuf {
        self.home.join("keys").join("snapshots.key")
    }

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.home.join("sandboxes")
    }

    pub(crate) fn sandbox(&self, name: &SandboxName) -> PathBuf {
        self.sandboxes().join(name.as_str())
    }

    pub(crate) fn record(&self, name: &SandboxName) -> PathBuf {
        self.sandbox(name).join(RECORD_FILE)
    }

    pub(crate) fn config(&self, name: &SandboxName) -> PathBuf {
        self.sandbox(name).join(CONFIG_FILE)
    }

    pub(crate) fn layers(&self, name: &SandboxName) -> PathBuf {
        self.home.join("layers").join(name.as_str())
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.home.join("index")
    }

    /// Where a sandbox is put together before it gets its name.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.sandboxes()
            .join(format!("{UNFINISHED}{}", std::process::id()))
    }

    pub(crate) fn index_entry(&self, workspace: &Path) -> PathBuf {
        self.index().join(digest(workspace, 16))
    }

    /// The directory for transactions on another file system than the home: inside of `parent`, and
    /// not shared with other users or other homes.
    pub(crate) fn layers_beside(&self, parent: &Path, name: &SandboxName) -> PathBuf {
        let user = rustix::process::geteuid().as_raw();
        let home = std::fs::canonicalize(&self.home).unwrap_or_else(|_not_yet| self.home.clone());
        parent
            .join(format!("{LAYERS_BESIDE}{user}-{}", digest(&home, 4)))
            .join(name.as_str())
    }
}

/// Returns the first bytes of a path's digest, in hexadecimal.
fn digest(path: &Path, bytes: usize) -> String {
    use std::{fmt::Write as _, os::unix::ffi::OsStrExt as _};
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    let mut text = String::with_capacity(2 * bytes);
    for byte in &digest[..bytes] {
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    text
}
