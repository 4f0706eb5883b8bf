//! The laboratory: a temporary workspace, a temporary `SANDBOX_HOME`, and the program between them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A workspace with its own `SANDBOX_HOME`. Dropping it destroys its sandboxes.
pub(crate) struct Lab {
    root: TempDir,
    variables: BTreeMap<String, String>,
    removed: Vec<String>,
}

/// How the program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    typed: String,
}

/// Every path of a tree with what identifies it: mode, owner, time, and content or target.
pub(crate) type Tree = BTreeMap<PathBuf, (u32, u32, u32, i64, i64, Vec<u8>)>;

impl Lab {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("sandbox-it-")
            .tempdir()
            .unwrap();
        for directory in ["workspace", "home", "outside"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        Self {
            root,
            variables: BTreeMap::new(),
            removed: Vec::new(),
        }
    }

    /// Adds a file to the workspace.
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a variable out of the program's environment.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.removed.push(name.to_owned());
        self
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// What the program takes for the user's home directory.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Reads a file of the workspace; `None` if it is not there.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.workspace().join(path)).ok()
    }

    pub(crate) fn tree(&self) -> Tree {
        tree(&self.workspace())
    }

    /// Returns the program, ready to be started in the workspace.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .current_dir(self.workspace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Each test leaves nothing; sessions have tests of their own.
            .env("SANDBOX_SESSION__IDLE_TIMEOUT", "0s")
            .env("SANDBOX_HOME", self.data())
            .env("HOME", self.home())
            .env_remove("SANDBOX_NAME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME");
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        for name in &self.removed {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program in the workspace.
    pub(crate) fn sandbox(&self, args: &[&str]) -> Ended {
        self.sandbox_with_input(args, "")
    }

    /// Runs the program with something on its standard input.
    pub(crate) fn sandbox_with_input(&self, args: &[&str], input: &str) -> Ended {
        let mut command = self.command(args);
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not want all of it may close it first.
            let _written = stdin.write_all(input.as_bytes());
        }
        Ended::of(child.wait_with_output().unwrap(), args)
    }

    /// Runs shell text in the sandbox, and returns the report.
    pub(crate) fn run(&self, text: &str) -> Value {
        self.run_with(&[], text)
    }

    /// Runs shell text in the sandbox with options of `run`, and returns the report.
    pub(crate) fn run_with(&self, options: &[&str], text: &str) -> Value {
        let mut args = vec!["run", "--json"];
        args.extend(options);
        args.extend(["--shell", text]);
        let report = self.sandbox(&args).json();
        assert_eq!(report["schema"], 1, "not a report: {report:#}");
        report
    }
}

/// Returns the program under test: another user may not be able to reach the build directory.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("SANDBOX_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_sandbox").into(), PathBuf::from)
}

impl Drop for Lab {
    fn drop(&mut self) {
        // As the program keeps them: what it cannot remove would be a finding of its own test.
        for name in fs::read_dir(self.data().join("sandboxes"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = name.file_name().to_string_lossy().into_owned();
            let _ended = self.sandbox(&["destroy", "--force", &name]);
        }
    }
}

impl Ended {
    pub(crate) fn of(output: std::process::Output, args: &[&str]) -> Self {
        let shown = args
            .iter()
            .map(|arg| arg.chars().take(200).collect::<String>());
        Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            typed: shown.collect::<Vec<_>>().join(" "),
        }
    }

    #[track_caller]
    pub(crate) fn code(&self, expected: i32) -> &Self {
        assert_eq!(self.status.code(), Some(expected), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, expected: &str) -> &Self {
        assert!(
            self.stderr.contains(expected),
            "no '{expected}' on standard error of {self}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn prints(&self, expected: &str) -> &Self {
        assert!(
            self.stdout.contains(expected),
            "no '{expected}' on standard output of {self}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON document ({error}): {self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`sandbox {}`: {}\n--- stdout\n{}\n--- stderr\n{}",
            self.typed, self.status, self.stdout, self.stderr
        )
    }
}

pub(crate) fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let full = root.join(&path);
        let metadata = fs::symlink_metadata(&full).unwrap();
        let content = if metadata.is_dir() {
            waiting.extend(
                fs::read_dir(&full)
                    .unwrap()
                    .map(|it| path.join(it.unwrap().file_name())),
            );
            Vec::new()
        } else if metadata.is_symlink() {
            fs::read_link(&full)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec()
        } else {
            fs::read(&full).unwrap()
        };
        let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
        tree.insert(
            path,
            (
                mode,
                uid,
                gid,
                metadata.mtime(),
                metadata.mtime_nsec(),
                content,
            ),
        );
    }
    tree
}
