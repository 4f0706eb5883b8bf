//! The operations of a soak: what users do, and what happens to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    process::Child,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    host::{descriptors_of, pid},
    lab::{Ended, Lab},
};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Carries out the operation of a number.
type Operate = fn(&mut Soak, usize);

/// Each kind of operation, in turn.
pub(crate) const KINDS: [(&str, Operate); 10] = [
    ("in a session", Soak::joined),
    ("alone", Soak::alone),
    ("failing", Soak::failing),
    ("two at once", Soak::two_at_once),
    ("with a daemon left behind", Soak::daemon),
    ("with allowed hosts", Soak::allowed_hosts),
    ("its caller killed", Soak::caller_killed),
    ("its caller killed at any moment", Soak::caller_killed_early),
    ("in the background, ended", Soak::detached),
    ("the keeper killed", Soak::keeper_killed),
];

/// A sandbox in use.
pub(crate) struct Soak {
    pub(crate) lab: Lab,
    done: BTreeMap<&'static str, usize>,
    callers: BTreeSet<u32>,
    /// Descriptors of each keeper when it was ready.
    keepers: Vec<usize>,
}

impl Soak {
    pub(crate) fn new(lab: Lab) -> Self {
        Self {
            lab,
            done: BTreeMap::new(),
            callers: BTreeSet::new(),
            keepers: Vec::new(),
        }
    }

    /// Carries out the operation of this number.
    pub(crate) fn operate(&mut self, number: usize) {
        let (name, operation) = KINDS[number % KINDS.len()];
        operation(self, number);
        *self.done.entry(name).or_default() += 1;
        if let Some(keeper) = self.keeper() {
            self.callers.insert(keeper);
        }
    }

    /// Returns every process that made control groups.
    pub(crate) fn callers(&self) -> BTreeSet<u32> {
        self.callers.clone()
    }

    pub(crate) fn summary(&self) -> String {
        let all: usize = self.done.values().sum();
        let done: Vec<String> = self
            .done
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        format!(
            "{all} operations: {}; descriptors of the keepers: {:?}",
            done.join(", "),
            self.keepers
        )
    }

    fn start(&mut self, args: &[&str]) -> Child {
        let child = self.lab.command(args).spawn().unwrap();
        self.callers.insert(child.id());
        child
    }

    fn run(&mut self, args: &[&str]) -> Ended {
        let child = self.start(args);
        Ended::of(child.wait_with_output().unwrap(), args)
    }

    fn status(&self) -> Value {
        let ended = self.lab.sandbox(&["--json", "status"]);
        ended.code(0);
        ended.json()["session"].clone()
    }

    fn keeper(&self) -> Option<u32> {
        u32::try_from(self.status()["pid"].as_u64()?).ok()
    }

    /// Waits until the next operation has a session.
    fn ready(&self) -> u32 {
        let start = Instant::now();
        loop {
            let session = self.status();
            if session["ready"] == true {
                return u32::try_from(session["pid"].as_u64().unwrap()).unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "not ready: {session}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn writes(&mut self, options: &[&str], number: usize) {
        let text = format!("echo {number} > file");
        let mut args = vec!["run", "--quiet"];
        args.extend(options);
        args.extend(["--shell", &text]);
        self.run(&args).code(0);
        assert_eq!(self.lab.read("file").unwrap(), format!("{number}\n"));
    }

    fn joined(&mut self, number: usize) {
        self.writes(&[], number);
        let keeper = self.ready();
        self.callers.insert(keeper);
        self.writes(&[], number + 1);
        let keeper = self.ready();
        // A keeper that is not dumpable shows them to root only. Who asked whether it is ready is still there for a
        // moment.
        let Some(mut now) = descriptors_of(keeper) else {
            return;
        };
        let first = *self.keepers.first().unwrap_or(&now);
        let start = Instant::now();
        while now > first {
            let held = &self.keepers;
            assert!(
                start.elapsed() < PATIENCE,
                "a keeper holds more and more: {held:?}, {now}"
            );
            std::thread::park_timeout(Duration::from_millis(5));
            now = descriptors_of(keeper).unwrap();
        }
        self.keepers.push(now);
    }

    fn alone(&mut self, number: usize) {
        self.writes(&["--no-session"], number);
    }

    fn failing(&mut self, _: usize) {
        self.run(&["run", "--quiet", "--shell", "echo x > other; exit 3"])
            .code(3);
        self.run(&["run", "--quiet", "--timeout", "100ms", "sleep", "600"])
            .code(124);
    }

    fn two_at_once(&mut self, _: usize) {
        let both = [0, 1].map(|_| self.start(&["run", "--quiet", "true"]));
        for child in both {
            Ended::of(child.wait_with_output().unwrap(), &["run"]).code(0);
        }
    }

    fn daemon(&mut self, _: usize) {
        let text = "(setsid sleep 600 > /dev/null 2>&1 &) ; mkfifo pipe; (setsid sleep 600 < pipe &) ; rm pipe; true";
        self.run(&["run", "--quiet", "--shell", text]).code(0);
    }

    fn allowed_hosts(&mut self, _: usize) {
        let text = "exec 3<>/dev/tcp/192.0.2.1/443; read <&3";
        std::fs::write(self.lab.workspace().join("client.sh"), text).unwrap();
        let args = [
            "run",
            "--allow-host",
            "example.com:*",
            "--yes",
            "bash",
            "client.sh",
        ];
        self.run(&args).says("connection to 192.0.2.1:443");
    }

    fn caller_killed(&mut self, number: usize) {
        let text = "echo up; setsid sleep 600 & exec sleep 600";
        let session = if number % 20 < 10 {
            "--quiet"
        } else {
            "--no-session"
        };
        let mut child = self.start(&["run", session, "--shell", text]);
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        child.kill().unwrap();
        child.wait().unwrap();
        self.lab.sandbox(&["status"]).code(0);
    }

    /// At another moment each time, before there is an operation or after.
    fn caller_killed_early(&mut self, number: usize) {
        let mut child = self.start(&["run", "--quiet", "--shell", "echo x > other; sleep 600"]);
        let moment = u64::try_from(number).unwrap() * 7919 % 60_000;
        let moment = Duration::from_micros(moment);
        let start = Instant::now();
        while start.elapsed() < moment {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        self.lab.sandbox(&["status"]).code(0);
    }

    fn detached(&mut self, _: usize) {
        let started = self.run(&["run", "--json", "--detach", "--", "sleep", "600"]);
        started.code(0);
        let started = started.json();
        let id = started["operation"].as_str().unwrap();
        self.run(&["kill", id]).code(0);
        // It says how the operation ended; that it did is what counts.
        let _ended = self.run(&["wait", id]);
    }

    fn keeper_killed(&mut self, number: usize) {
        self.writes(&[], number);
        let keeper = self.ready();
        self.callers.insert(keeper);
        rustix::process::kill_process(pid(keeper), rustix::process::Signal::KILL).unwrap();
        self.writes(&[], number + 1);
    }
}
