//! One command, interrupted at its k-th system call by strace(1), for each k; then everything is opened again.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use super::cases::Case;
use crate::process;

/// The system calls that change a file, a name or what is durable.
const CALLS: &str = "write,pwrite64,writev,fsync,fdatasync,syncfs,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
    mkdir,mkdirat,link,linkat,symlink,symlinkat,mknodat,ftruncate,fallocate,chmod,fchmod,fchmodat,fchownat,\
    utimensat,setxattr,lsetxattr,removexattr,lremovexattr,copy_file_range,sendfile";
/// More than any command makes.
const POINTS_MAX: usize = 5000;
/// How long one command may take.
const SECONDS_MAX: &str = "120";
/// How strace shows what is no file.
const NO_FILES: [&str; 5] = ["anon_inode:", "pipe:[", "socket:[", "</dev/", "</proc/"];
/// How long what was killed may still be in the table of processes.
const SETTLE_MAX: Duration = Duration::from_secs(20);

/// What happens to a system call.
#[derive(Clone, Copy)]
pub(super) enum Injection {
    Kill,
    FailOnce(&'static str),
    FailFrom(&'static str),
}

impl Injection {
    fn option(self, call: &str, point: usize) -> String {
        match self {
            Self::Kill => format!("inject={call}:signal=SIGKILL:when={point}"),
            Self::FailOnce(error) => format!("inject={call}:error={error}:when={point}"),
            Self::FailFrom(error) => format!("inject={call}:error={error}:when={point}+"),
        }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Kill => "killed".to_owned(),
            Self::FailOnce(error) => format!("{error} once"),
            Self::FailFrom(error) => format!("{error} from there on"),
        };
        f.pad(&text)
    }
}

/// What an injection met.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Reached {
    Nothing,
    File,
    /// What wakes a thread, a terminal: no storage.
    Other,
}

/// What was counted.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) points: usize,
    before: usize,
    after: usize,
    refused: usize,
    pub(super) wrong: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.points += other.points;
        self.before += other.before;
        self.after += other.after;
        self.refused += other.refused;
        self.wrong.extend(other.wrong);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            points,
            before,
            after,
            refused,
            wrong,
        } = self;
        let wrong = wrong.len();
        write!(
            f,
            "{points:>5} points: {before:>5} before, {after:>5} after, {refused:>5} with an error, {wrong} wrong"
        )
    }
}

type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// Builds the program, or takes the one that `SANDBOX_TEST_BINARY` names.
pub(super) fn program() -> anyhow::Result<PathBuf> {
    let version = Command::new("strace").arg("--version").output();
    ensure!(
        version.is_ok(),
        "strace is missing: `apt-get install strace`"
    );
    if let Some(given) = std::env::var_os("SANDBOX_TEST_BINARY") {
        return Ok(given.into());
    }
    process::run(&mut process::cargo(&[
        "build", "--locked", "--bin", "sandbox",
    ]))?;
    Ok(process::target_directory()?.join("debug/sandbox"))
}

/// A workspace with its own `SANDBOX_HOME`.
pub(super) struct Lab {
    root: TempDir,
    program: PathBuf,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What it cannot remove stays in a temporary directory.
        let _ended = self.sandbox(&["destroy", "--force"]);
    }
}

impl Lab {
    pub(super) fn new(program: &Path) -> anyhow::Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("sandbox-crash-")
            .tempdir()?;
        for directory in ["workspace", "home"] {
            fs::create_dir(root.path().join(directory))?;
        }
        for number in 1..6 {
            fs::write(root.path().join(format!("workspace/f{number}")), "old\n")?;
        }
        Ok(Self {
            root,
            program: program.to_owned(),
        })
    }

    fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    fn command(&self, program: &Path, args: &[OsString]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.workspace())
            .stdin(Stdio::null())
            .env("SANDBOX_SESSION__IDLE_TIMEOUT", "0s")
            .env("SANDBOX_HOME", self.root.path().join("data"))
            .env("HOME", self.root.path().join("home"))
            .env_remove("SANDBOX_NAME");
        command
    }

    fn sandbox(&self, args: &[&str]) -> anyhow::Result<Output> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        Ok(self.command(&self.program, &args).output()?)
    }

    fn must(&self, args: &[&str]) -> anyhow::Result<Output> {
        let output = self.sandbox(args)?;
        if !output.status.success() {
            bail!("`sandbox {}`: {}", args.join(" "), said(&output));
        }
        Ok(output)
    }

    fn all(&self, commands: &[&[&str]]) -> anyhow::Result<()> {
        commands.iter().try_for_each(|it| self.must(it).map(drop))
    }

    /// Interrupts a command at each of its points, or at every so many.
    pub(super) fn tried(
        &self,
        case: &Case,
        injection: Injection,
        every: usize,
    ) -> anyhow::Result<Tally> {
        self.all(case.prepare)?;
        let command = self.named(case.command)?;
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        self.all(case.before)?;
        let before = contents(&self.workspace())?;
        self.must(&command)?;
        let after = contents(&self.workspace())?;
        self.all(case.back)?;
        ensure!(
            contents(&self.workspace())? == before,
            "{}: no way back",
            case.name
        );
        let mut tally = Tally::default();
        // strace counts the calls of each thread, so each kind of call is tried by itself.
        for call in CALLS.split(',').map(str::trim) {
            for point in (1..POINTS_MAX).step_by(every) {
                self.all(case.before)?;
                let inject = injection.option(call, point);
                let (output, reached) = self.injected(&command, &inject)?;
                if reached != Reached::File {
                    for command in case.back.iter().chain(case.otherwise) {
                        self.sandbox(command)?;
                    }
                    if reached == Reached::Nothing {
                        break;
                    }
                    continue;
                }
                tally.points += 1;
                if let Err(error) = self.judge((case, &output), (&before, &after), &mut tally) {
                    tally.wrong.push(format!("{call} {point}: {error:#}"));
                    return Ok(tally);
                }
            }
        }
        Ok(tally)
    }

    fn named(&self, command: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut words = Vec::new();
        for word in command {
            if *word != "SNAPSHOT" {
                words.push((*word).to_owned());
                continue;
            }
            let list = self.must(&["snapshot", "list", "--json"])?;
            let list: serde_json::Value = serde_json::from_slice(&list.stdout)?;
            let list = list.get("snapshots").unwrap_or(&list);
            let id = list[0]["id"].as_str().context("no snapshot has an id")?;
            words.push(id.to_owned());
        }
        Ok(words)
    }

    /// Runs a command under strace; returns also whether the point was reached.
    fn injected(&self, args: &[&str], inject: &str) -> anyhow::Result<(Output, Reached)> {
        let log = self.root.path().join("strace");
        // What the program executes is let go: the command in the sandbox does as it likes.
        let fixed = [
            SECONDS_MAX,
            "strace",
            "-f",
            "-b",
            "execve",
            "-q",
            "-y",
            "-o",
        ];
        let mut words: Vec<OsString> = fixed.map(OsString::from).to_vec();
        words.push(log.clone().into());
        words.extend(["-e", &format!("trace={CALLS}"), "-e", inject, "--"].map(OsString::from));
        words.push(self.program.clone().into());
        words.extend(args.iter().map(OsString::from));
        let output = self.command(Path::new("timeout"), &words).output()?;
        let log = fs::read(&log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if log.contains("killed by SIGKILL") && inject.contains("SIGKILL") {
            return Ok((output, Reached::File));
        }
        let mut injected = log.lines().filter(|line| line.contains("(INJECTED)"));
        let reached = match injected.next() {
            None => Reached::Nothing,
            Some(line) if NO_FILES.iter().any(|it| line.contains(it)) => Reached::Other,
            Some(_) => Reached::File,
        };
        Ok((output, reached))
    }

    /// Opens everything again: it must be before or after, and what was reported must be so.
    fn judge(
        &self,
        (case, output): (&Case, &Output),
        (before, after): (&Contents, &Contents),
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        self.nothing_runs()?;
        if !output.status.success() {
            tally.refused += 1;
            let text = said(output);
            let killed = text.contains("signal") || output.stderr.is_empty();
            ensure!(
                killed || text.contains("error") || text.contains('/'),
                "it says {text}"
            );
        }
        self.must(&["status"])?;
        let now = contents(&self.workspace())?;
        if now == *after && before != after {
            tally.after += 1;
            self.all(case.back)?;
        } else {
            ensure!(now == *before, "the workspace is between: {}", said(output));
            ensure!(
                before == after || !output.status.success(),
                "it said that it was done, and it was not"
            );
            tally.before += 1;
            for command in case.otherwise {
                self.sandbox(command)?;
            }
        }
        let now = contents(&self.workspace())?;
        ensure!(now == *before, "there is no way back");
        self.must(&["audit", "verify"])?;
        if self.root.path().join("data/sandboxes").exists() && case.name.contains("snapshot") {
            self.must(&["snapshot", "verify", "--read-data"])?;
        }
        Ok(())
    }

    /// Waits until no process works for this lab.
    fn nothing_runs(&self) -> anyhow::Result<()> {
        let root = self.root.path().display().to_string();
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let Some(process) = process_of(&root) else {
                return Ok(());
            };
            ensure!(Instant::now() < deadline, "a process is left: {process}");
            std::thread::yield_now();
        }
    }
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    format!("{}: {}", output.status, text.trim().replace('\n', " | "))
}

fn contents(root: &Path) -> anyhow::Result<Contents> {
    let mut found = Contents::new();
    let mut stack = vec![PathBuf::new()];
    while let Some(path) = stack.pop() {
        for entry in fs::read_dir(root.join(&path))? {
            let entry = entry?;
            let inner = path.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                found.insert(inner.clone(), Vec::new());
                stack.push(inner);
            } else {
                found.insert(inner, fs::read(entry.path())?);
            }
        }
    }
    Ok(found)
}

/// Returns the command line of a process that works below `root`.
fn process_of(root: &str) -> Option<String> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter(|entry| entry.file_name().to_string_lossy() != own)
        .find_map(|entry| {
            let bytes = fs::read(entry.path().join("cmdline")).ok()?;
            let words = String::from_utf8_lossy(&bytes).replace('\0', " ");
            let working = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            (words.contains(root) || working.starts_with(root)).then_some(words)
        })
}
