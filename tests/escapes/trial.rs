//! One case on trial: what was tried, what happened outside, and what happened inside.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    attacker::FLAG,
    lab::{Ended, Lab, Tree, tree},
};

/// How long a trial waits for what should be there at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far one attempt came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It did what it was to do.
    Through,
    /// Something refused it, in these words.
    Stopped(String),
}

/// One attempt with its control.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) what: String,
    pub(crate) outside: Reach,
    pub(crate) inside: Reach,
}

/// How all cases are tried.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Variant {
    /// The long variants.
    pub(crate) is_long: bool,
    /// Says of each case when it has ended.
    pub(crate) is_loud: bool,
    /// By operations that join a session, where there can be one.
    pub(crate) is_joined: bool,
}

/// A case while it is tried.
pub(crate) struct Trial {
    pub(crate) lab: Lab,
    pub(crate) variant: Variant,
    /// Operations that a session was ready for.
    pub(crate) joined: Cell<usize>,
    pub(crate) attempts: Vec<Attempt>,
    /// Checks without a control that held.
    pub(crate) checks: usize,
    /// What this host cannot show, and why.
    pub(crate) unshown: Vec<String>,
    canaries: Option<Tree>,
}

impl Reach {
    pub(crate) fn through_if(is_through: bool) -> Self {
        if is_through {
            Self::Through
        } else {
            Self::Stopped("no effect".to_owned())
        }
    }

    pub(crate) fn is_through(&self) -> bool {
        *self == Self::Through
    }
}

impl Trial {
    pub(crate) fn new(variant: Variant) -> Self {
        let mut lab = Lab::new();
        if variant.is_joined {
            lab = lab
                .env("SANDBOX_SESSION__IDLE_TIMEOUT", "10m")
                .env("SANDBOX_SESSION__PATIENCE", "30s");
        }
        Self {
            lab,
            variant,
            joined: Cell::new(0),
            attempts: Vec::new(),
            checks: 0,
            unshown: Vec::new(),
            canaries: None,
        }
    }

    /// Writes down an attempt and its control.
    pub(crate) fn attempt(&mut self, what: impl Into<String>, outside: Reach, inside: Reach) {
        self.attempts.push(Attempt {
            what: what.into(),
            outside,
            inside,
        });
    }

    /// As [`Self::attempt`], for effects that are there or not.
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "the same thing, there or not, outside and inside"
    )]
    pub(crate) fn effect(&mut self, what: impl Into<String>, outside: bool, inside: bool) {
        self.attempt(what, Reach::through_if(outside), Reach::through_if(inside));
    }

    /// Checks what may never be, where outside of a sandbox there is nothing to compare it with.
    pub(crate) fn never(&mut self, what: impl Into<String>, is_so: bool) {
        assert!(!is_so, "{}", what.into());
        self.checks += 1;
    }

    /// Says what this host cannot show.
    pub(crate) fn cannot_show(&mut self, what: impl Into<String>) {
        self.unshown.push(what.into());
    }

    /// From here on the directory with the canaries may not change.
    pub(crate) fn guard(&mut self) {
        self.canaries = Some(tree(&self.canary("")));
    }

    /// Returns what changed among the canaries since [`Self::guard`].
    pub(crate) fn harm(&self) -> Option<String> {
        let before = self.canaries.as_ref()?;
        let now = tree(&self.canary(""));
        let differs = |path: &&PathBuf| before.get(*path) != now.get(*path);
        let changed: Vec<_> = before.keys().chain(now.keys()).filter(differs).collect();
        (!changed.is_empty()).then(|| format!("the host's files have changed: {changed:?}"))
    }

    /// Returns the path of a canary: a file of the host beside the workspace.
    pub(crate) fn canary(&self, name: &str) -> PathBuf {
        self.lab.root().join("outside").join(name)
    }

    /// Returns a directory of the host for controls that write.
    pub(crate) fn control(&self) -> PathBuf {
        let directory = self.lab.root().join("control");
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// Runs shell text inside. It lies in a script, where the judge does not see it.
    pub(crate) fn inside(&self, text: &str) -> Value {
        self.inside_with(&[], text)
    }

    /// As [`Self::inside`], with options of `run`.
    pub(crate) fn inside_with(&self, options: &[&str], text: &str) -> Value {
        let scripts = self.lab.root().join("scripts");
        fs::create_dir_all(&scripts).unwrap();
        fs::write(scripts.join("attempt.sh"), text).unwrap();
        let script = scripts.join("attempt.sh").display().to_string();
        let scripts = scripts.display().to_string();
        let mut all = vec!["--yes", "--read", &scripts];
        all.extend(options);
        self.command_inside(&all, &["/bin/sh", &script])
    }

    /// Runs the attacking program inside.
    pub(crate) fn attack_with(&self, options: &[&str], arguments: &[&str]) -> Value {
        let program = program();
        let mut all = vec!["--yes", "--read", &program];
        all.extend(options);
        let mut command = vec![program.as_str(), FLAG];
        command.extend(arguments);
        self.command_inside(&all, &command)
    }

    pub(crate) fn command_inside(&self, options: &[&str], command: &[&str]) -> Value {
        if self.variant.is_joined && self.has_session(options) {
            self.joined.set(self.joined.get() + 1);
        }
        let mut arguments = vec!["run", "--json"];
        arguments.extend(options);
        arguments.push("--");
        arguments.extend(command);
        let ended = self.lab.sandbox(&arguments);
        let report = ended.json();
        assert_eq!(report["schema"], 1, "not a report: {ended}");
        report
    }

    /// Waits until an operation of this kind would join a session: an earlier one of the same kind makes the keeper
    /// prepare for it. Kinds that have none (a list of allowed hosts, `--direct`, what is refused) are not waited for.
    fn has_session(&self, options: &[&str]) -> bool {
        let is_alone = |it: &&str| ["--allow-host", "--direct", "--detach", "--net"].contains(it);
        if options.iter().any(is_alone) {
            return false;
        }
        let first = [&["run", "--quiet"], options, &["--", "true"]].concat();
        if !self.lab.sandbox(&first).status.success() {
            return false;
        }
        holds_soon(PATIENCE, || {
            let status = self.lab.sandbox(&["--json", "status"]);
            status.json()["session"]["ready"] == true
        })
    }

    /// Runs the attacking program inside and outside, and compares what it says of each attempt. For what only the
    /// process itself can see: the answer of the kernel.
    pub(crate) fn probe(&mut self, arguments: &[&str]) {
        self.probe_with(&[], arguments);
    }

    /// As [`Self::probe`], with options of `run`.
    pub(crate) fn probe_with(&mut self, options: &[&str], arguments: &[&str]) {
        let report = self.attack_with(options, arguments);
        let inside = said(&report);
        let outside = self.attack_outside(arguments);
        let (inside, outside) = (answers(&inside), answers(&outside));
        assert!(!outside.is_empty(), "the attacker said nothing outside");
        assert_eq!(inside.len(), outside.len(), "inside: {report:#}");
        for ((what, inside), (_, outside)) in inside.into_iter().zip(outside) {
            self.attempt(what, outside, inside);
        }
    }

    /// Runs the attacking program outside, and returns what it printed.
    pub(crate) fn attack_outside(&self, arguments: &[&str]) -> String {
        let mut all = vec![FLAG];
        all.extend(arguments);
        let ended = self.outside(&program(), &all);
        format!("{}{}", ended.stdout, ended.stderr)
    }

    /// Runs shell text outside, in the workspace.
    pub(crate) fn shell_outside(&self, text: &str) -> Ended {
        self.outside("/bin/sh", &["-c", text])
    }

    /// Runs a program outside, in the workspace.
    pub(crate) fn outside(&self, program: &str, arguments: &[&str]) -> Ended {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.lab.workspace())
            .env("HOME", self.lab.home())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ended::of(output, arguments)
    }

    /// Gives a command the directory and the environment of a caller of `sandbox`.
    pub(crate) fn as_caller<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (name, value) in self.lab.command(&[]).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.lab.workspace())
    }

    /// Runs the same shell text outside and inside; an attempt is through where `canary` is printed.
    pub(crate) fn leak(&mut self, what: &str, text: &str, canary: &str) {
        let outside = self.shell_outside(text);
        let report = self.inside(text);
        let inside = if said(&report).contains(canary) {
            Reach::Through
        } else {
            Reach::Stopped(last_words(&report))
        };
        let outside = Reach::through_if(outside.stdout.contains(canary));
        self.attempt(what, outside, inside);
    }
}

/// The path of this program: the test, and the attacker.
pub(crate) fn program() -> String {
    let program = std::env::current_exe().unwrap();
    program.to_str().unwrap().to_owned()
}

/// Returns what a command printed, on both streams.
pub(crate) fn said(report: &Value) -> String {
    let text = |stream: &str| {
        report[stream]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    format!("{}{}", text("stdout"), text("stderr"))
}

/// Returns the end of what refused an attempt: the text after the last colon.
fn last_words(report: &Value) -> String {
    let said = said(report);
    let last = said.lines().last().unwrap_or_default();
    let words = last.rsplit(": ").next().unwrap_or(last).trim();
    if words.is_empty() {
        "nothing printed".to_owned()
    } else {
        words.to_owned()
    }
}

/// Reads what the attacking program says: `> what<TAB>through`, or what stopped it.
pub(crate) fn answers(text: &str) -> Vec<(String, Reach)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("> "));
    lines
        .filter_map(|line| line.split_once('\t'))
        .map(|(what, answer)| {
            let reach = match answer {
                "through" => Reach::Through,
                stopped => Reach::Stopped(stopped.to_owned()),
            };
            (what.to_owned(), reach)
        })
        .collect()
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    assert!(holds_soon(PATIENCE, &mut condition), "{what}: not in time");
}

/// Returns whether `condition` holds within `patience`.
pub(crate) fn holds_soon(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > patience {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// Returns the host's processes with `marker` among their arguments.
pub(crate) fn processes_with(marker: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = arguments.split(|&byte| byte == 0);
        if words.any(|word| word == marker.as_bytes()) && !is_dead(pid) {
            found.push(pid);
        }
    }
    found
}

fn is_dead(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Ends a process of the trial's own.
pub(crate) fn end(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _ended = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Returns the text of a path.
pub(crate) fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Returns the largest memory that the program has had, in KiB. Its parent goes on while `execve` has not yet replaced
/// the memory of the two (`vfork(2)`); the name, which is replaced after it, tells.
pub(crate) fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    if !status.starts_with("Name:\tsandbox\n") {
        return 0;
    }
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|it| it.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).unwrap_or(0)
}
