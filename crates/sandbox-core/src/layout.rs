//! Where things lie below `SANDBOX_HOME`.
//!
//! ```text
//! <home>/lock                      taken to create and destroy
//! <home>/journal.log               lifecycle of all sandboxes, survives them
//! <home>/index/<digest of path>    name of the sandbox bound to that workspace
//! <home>/sandboxes/<name>/         sandbox.json, config.yaml, journal.log, state.redb
//! <home>/layers/<name>/            transactions and undo sets, where the file system allows
//! ```

use std::path::{Path, PathBuf};

use sandbox_types::SandboxName;
use sha2::{Digest as _, Sha256};

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

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.home.join("sandboxes")
    }

    pub(crate) fn sandbox(&self, name: &SandboxName) -> PathBuf {
        self.sandboxes().join(name.as_str())
    }

    pub(crate) fn record(&self, name: &SandboxName) -> PathBuf {
        self.sandbox(name).join("sandbox.json")
    }

    pub(crate) fn config(&self, name: &SandboxName) -> PathBuf {
        self.sandbox(name).join("config.yaml")
    }

    pub(crate) fn layers(&self, name: &SandboxName) -> PathBuf {
        self.home.join("layers").join(name.as_str())
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.home.join("index")
    }

    pub(crate) fn index_entry(&self, workspace: &Path) -> PathBuf {
        use std::{fmt::Write as _, os::unix::ffi::OsStrExt as _};
        let digest = Sha256::digest(workspace.as_os_str().as_bytes());
        let mut name = String::with_capacity(32);
        for byte in &digest[..16] {
            let written = write!(name, "{byte:02x}");
            debug_assert!(written.is_ok(), "writing to a string cannot fail");
        }
        self.index().join(name)
    }
}
