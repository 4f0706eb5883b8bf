//! What an operation does: run a command or a script, or change one file.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// Where a script lies for its interpreter: in the guest's private `/run`.
pub const SCRIPT_PATH: &str = "/run/script";
/// The longest path that the kernel takes: `PATH_MAX` without the byte that ends it.
pub const PATH_BYTES_MAX: usize = 4095;
/// The permission bits that an operation may set: no set-user-id, set-group-id or sticky bit.
pub const MODE_MAX: u32 = 0o777;

/// What is to run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Shell text, run by `/bin/sh -c` inside.
    Shell(String),
    /// A program and its arguments; no shell is involved.
    Argv(Vec<String>),
    /// A script of any size, run by its interpreter.
    Script(Script),
    /// Work on one file of the workspace.
    File(FileWork),
}

/// A script and the program that reads it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// The interpreter with its options; the path of the script is added as the last argument.
    pub interpreter: Vec<String>,
    /// The text of the script.
    pub source: String,
}

/// Work on one file. Paths are relative to the workspace, or absolute and inside of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileWork {
    /// Replaces the content of a file, which is made with its parent directories if it is not there.
    Write {
        /// The file.
        path: String,
        /// Its whole new content.
        #[serde(with = "base64_text")]
        content: Vec<u8>,
        /// Its permission bits; `None` leaves those that it has, or 0644 for a new file.
        mode: Option<u32>,
    },
    /// Deletes a file. One that is not there is a failure.
    Delete {
        /// The file.
        path: String,
        /// Whether it may be a directory, which goes with all that is in it.
        recursive: bool,
    },
    /// Gives a file or directory a new name, whose parent directories are made. A file that has that
    /// name is replaced; a directory is not.
    Move {
        /// The name that it has.
        from: String,
        /// The name that it gets.
        to: String,
    },
}

impl Action {
    /// Returns what it does as words for reports. Those of a command are what is executed; work on a
    /// file is told by its type and paths.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(text) => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            Self::Argv(argv) => argv.clone(),
            Self::Script(script) => {
                let mut argv = script.interpreter.clone();
                argv.push(SCRIPT_PATH.to_owned());
                argv
            }
            Self::File(work) => {
                let mut argv = vec![work.type_name().to_owned()];
                argv.extend(work.paths().into_iter().map(str::to_owned));
                argv
            }
        }
    }
}

impl FileWork {
    /// Returns the `type` of its document.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Write { .. } => "file_write",
            Self::Delete { .. } => "file_delete",
            Self::Move { .. } => "file_move",
        }
    }

    /// Returns the paths that it changes.
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::Write { path, .. } | Self::Delete { path, .. } => vec![path],
            Self::Move { from, to } => vec![from, to],
        }
    }
}

/// Returns why `path` cannot be the path of work on a file, whatever the workspace is.
pub fn unusable_path(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.contains('\0') {
        return Some("contains a NUL byte: the kernel ends texts there");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("is longer than 4095 bytes, the most that the kernel takes");
    }
    if path.ends_with('/') {
        return Some("ends with `/`, so it names a directory");
    }
    let mut parts = Path::new(path).components();
    if parts.any(|part| part == Component::ParentDir) {
        return Some("contains `..`: name it from the workspace on");
    }
    let last = path.rsplit('/').next();
    last.filter(|last| *last == ".")
        .map(|_| "names a directory, not what is in it")
}

mod base64_text {
    //! Bytes as text in a document.

    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;

    #[test]
    fn only_paths_of_files_are_usable() {
        for good in ["a", "a/b", "/w/a", "-rf", "a b\n*'\"", "...", "a/..b", "é"] {
            assert_eq!(unusable_path(good), None, "{good}");
        }
        let long = "x/".repeat(2048) + "x";
        for bad in ["", "..", "a/../b", "a/", "/", ".", "a/.", "a\0", &long] {
            assert!(unusable_path(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_stored_operation_is_the_same_operation() {
        for operation in [
            Operation::shell("echo $HOME").env("A", "b").files(["x"]),
            Operation::command(["a", ""]).review(),
            Operation::script("python3", "print(1)\n"),
            Operation::file_write("a\n", [0, 255, b'x']).mode(0o600),
            Operation::file_delete("-rf"),
            Operation::file_move("a", "b/c"),
        ] {
            let text = serde_json::to_string(&operation).unwrap();
            let read: Operation = serde_json::from_str(&text).unwrap();
            assert_eq!(read, operation);
        }
    }
}
