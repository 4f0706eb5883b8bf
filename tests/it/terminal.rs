//! `sandbox run --tty`: the command has a terminal of its own, and ours is out of its reach.
//!
//! The tests make a terminal, sit at it, and run the program on it.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};
use serde_json::Value;

use crate::lab::Lab;

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";

/// A terminal with somebody at it, and the program on it.
pub(crate) struct Sitting {
    ours: File,
    terminal: OwnedFd,
    before: Termios,
    program: Child,
    shown: String,
}

impl Sitting {
    pub(crate) fn start(lab: &Lab, args: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        unlockpt(&ours).unwrap();
        let terminal = ioctl_tiocgptpeer(&ours, flags).unwrap();
        tcsetwinsize(&ours, size(33, 101)).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let mut command = lab.command(args);
        command.stdin(end()).stdout(end()).stderr(end());
        Self {
            before: tcgetattr(&terminal).unwrap(),
            ours: ours.into(),
            program: command.spawn().unwrap(),
            terminal,
            shown: String::new(),
        }
    }

    /// Waits until `text` was shown, after what was waited for before.
    #[track_caller]
    pub(crate) fn sees(&mut self, text: &str) -> &mut Self {
        let started = Instant::now();
        while !self.shown.contains(text) {
            let left = PATIENCE.saturating_sub(started.elapsed());
            assert!(!left.is_zero(), "no {text:?} in {:?}", self.shown);
            self.look(left);
        }
        let (_, rest) = self.shown.split_once(text).unwrap();
        self.shown = rest.to_owned();
        self
    }

    /// Takes what is shown next, if something is within the time.
    fn look(&mut self, left: Duration) -> bool {
        let timeout = Timespec::try_from(left).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(self.ours.as_fd(), PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        let count = self.ours.read(&mut buffer).unwrap();
        self.shown
            .push_str(&String::from_utf8_lossy(&buffer[..count]));
        true
    }

    pub(crate) fn types(&mut self, keys: &str) -> &mut Self {
        self.ours.write_all(keys.as_bytes()).unwrap();
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.program.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap();
        !modes.local_modes.contains(LocalModes::ICANON)
    }

    /// Waits for the end, and returns the status and what else was shown. The terminal is as it was.
    #[track_caller]
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let started = Instant::now();
        let status = loop {
            self.look(Duration::from_millis(10));
            if let Some(status) = self.program.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "in vain: {:?}", self.shown);
        };
        while self.look(Duration::ZERO) {}
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(format!("{after:?}"), format!("{:?}", self.before));
        (status, std::mem::take(&mut self.shown))
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        let _ended = self.program.kill();
        let _reaped = self.program.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn sh(script: &str) -> [&str; 5] {
    ["run", "-q", "--tty", "--shell", script]
}

fn newest(lab: &Lab) -> Value {
    lab.sandbox(&["log", "-n", "1", "--json"]).code(0).json()[0]["report"].clone()
}

#[test]
fn the_command_has_a_terminal_with_our_size_and_its_output_is_in_the_report() {
    let lab = Lab::new();
    let script = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo three > /dev/tty; \
                  touch made; exit 3";
    let (status, shown) = Sitting::start(&lab, &sh(script)).end();
    let expected = "/dev/pts/0\r\n33 101\r\nthree\r\n";
    assert_eq!((status.code(), shown.as_str()), (Some(3), expected));
    assert_eq!(lab.read("made").as_deref(), Some(""));
    let report = newest(&lab);
    assert_eq!(report["stdout"]["text"], expected);
    assert_eq!(report["stderr"]["bytes"], 0);
    // Without the option it has none: the control.
    let (status, shown) =
        Sitting::start(&lab, &["run", "-q", "--shell", "tty; : < /dev/tty"]).end();
    assert_ne!(status.code(), Some(0));
    assert!(shown.starts_with("not a tty\r\n"), "{shown}");
}

#[test]
fn keys_reach_it_as_typed_and_ctrl_d_ends_its_input() {
    let lab = Lab::new();
    let mut sitting = Sitting::start(&lab, &sh("echo ready; cat > kept; echo got"));
    sitting
        .sees("ready\r\n")
        .types("héllo\x7f!\n")
        .types(CTRL_D);
    sitting.sees("got\r\n");
    assert_eq!(sitting.end().0.code(), Some(0));
    assert_eq!(lab.read("kept").as_deref(), Some("héll!\n"));
}

#[test]
fn ctrl_c_reaches_the_command_and_not_us() {
    let lab = Lab::new();
    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut sitting = Sitting::start(&lab, &sh(script));
    sitting.sees("ready");
    assert!(sitting.is_raw());
    sitting.types(CTRL_C).sees("caught");
    assert_eq!(sitting.end().0.code(), Some(9));
    let mut sitting = Sitting::start(&lab, &sh("echo ready; exec sleep 100"));
    sitting.sees("ready").types(CTRL_C);
    assert_eq!(sitting.end().0.code(), Some(130));
}

#[test]
fn jobs_are_stopped_and_continued_inside() {
    let lab = Lab::new();
    // A job that ends of Ctrl-C itself would end this shell too: it is not interactive.
    let job = "trap 'exit 5' INT; trap 'echo again' CONT; echo first; while :; do read x; done";
    let script = format!("set -m; sh -c \"{job}\"; echo stopped $?; fg; echo ended $?");
    let mut sitting = Sitting::start(&lab, &sh(&script));
    sitting.sees("first\r\n").types(CTRL_Z).sees("stopped 148");
    sitting.sees("again\r\n").types(CTRL_C).sees("ended 5");
    assert_eq!(sitting.end().0.code(), Some(0));
}

#[test]
fn the_size_of_the_window_is_followed() {
    let lab = Lab::new();
    let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut sitting = Sitting::start(&lab, &sh(script));
    sitting.sees("ready");
    tcsetwinsize(&sitting.ours, size(50, 120)).unwrap();
    // The kernel tells whoever is in the foreground of the terminal; here nobody is.
    sitting.signal(Signal::WINCH);
    sitting.sees("50 120");
    assert_eq!(sitting.end().0.code(), Some(0));
}

#[test]
fn our_terminal_is_as_it_was_however_it_ends() {
    let lab = Lab::new();
    let mut limited = sh("echo ready; exec sleep 100").to_vec();
    limited.splice(3..3, ["--timeout", "1s"]);
    assert_eq!(Sitting::start(&lab, &limited).end().0.code(), Some(124));
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut sitting = Sitting::start(&lab, &sh("echo ready; exec sleep 100"));
        sitting.sees("ready").signal(signal);
        assert_eq!(sitting.end().0.code(), Some(code));
    }
    let mut sitting = Sitting::start(&lab, &sh("stty raw -echo; echo ready; kill -KILL $$"));
    sitting.sees("ready");
    assert_eq!(sitting.end().0.code(), Some(137));
    let missing = Sitting::start(&lab, &["run", "-q", "--tty", "--", "no-such-program"]);
    assert_eq!(missing.end().0.code(), Some(127));
}

/// The name of the terminal that this descriptor is.
fn name_of(terminal: &OwnedFd) -> PathBuf {
    let fd = std::os::fd::AsRawFd::as_raw_fd(terminal);
    fs::read_link(format!("/proc/self/fd/{fd}")).unwrap()
}

#[test]
fn our_terminal_is_out_of_its_reach() {
    let lab = Lab::new();
    // The names of ours, and all that there is inside.
    let script = "echo ready; read name; echo typed > $name || echo no $name; ls -1 /dev/pts; \
                  for fd in /proc/self/fd/*; do readlink $fd; done; stty -echo; stty -a < /dev/tty";
    let mut sitting = Sitting::start(&lab, &sh(script));
    // The test may be the first to open a terminal; then the names are the same, and prove nothing.
    let name = name_of(&sitting.terminal);
    let is_first = name == Path::new("/dev/pts/0");
    sitting.sees("ready");
    let line = format!("{}\n", name.display());
    sitting.types(&line);
    if !is_first {
        sitting.sees(&format!("no {}", name.display()));
    }
    sitting.sees("0\r\nptmx\r\n");
    let (status, shown) = sitting.end();
    assert_eq!(status.code(), Some(0));
    if !is_first {
        assert!(!shown.contains(&name.display().to_string()), "{shown}");
    }
    assert!(shown.contains("-echo"), "{shown}");

    // The control: who has the terminal's name can write to it.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).unwrap();
    unlockpt(&ours).unwrap();
    let terminal = ioctl_tiocgptpeer(&ours, flags).unwrap();
    fs::write(name_of(&terminal), "typed").unwrap();
    let mut buffer = [0; 16];
    let count = File::from(ours).read(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"typed");
}

#[test]
fn what_cannot_have_a_terminal_is_refused_with_the_way_out() {
    let lab = Lab::new().file(
        "op.json",
        r#"{"type": "command", "command": "cat", "stdin": "x"}"#,
    );
    lab.sandbox(&["run", "--tty", "--", "true"])
        .code(2)
        .says("needs a terminal")
        .says("script -qec");
    lab.sandbox(&["run", "--tty", "--json", "--", "true"])
        .code(2)
        .prints("--report FILE");
    lab.sandbox(&["run", "--tty", "--detach", "--", "true"])
        .code(2)
        .says("cannot be used with");
    lab.sandbox(&["run", "--tty", "--operation", "op.json"])
        .code(2)
        .says("brings its own standard input");
    assert!(!lab.data().exists());
}

#[test]
fn held_changes_wait_as_without_a_terminal() {
    let lab = Lab::new();
    let mut args = sh("touch made").to_vec();
    args.insert(2, "--review");
    assert_eq!(Sitting::start(&lab, &args).end().0.code(), Some(0));
    assert_eq!(lab.read("made"), None);
    lab.sandbox(&["commit"]).code(0);
    assert_eq!(lab.read("made").as_deref(), Some(""));
}
