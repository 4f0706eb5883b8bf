//! Starts QEMU, passes on what the guest prints, and counts.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{guest, image::Machine, progress::Progress, tool};

/// How long the whole machine may take.
const TIME_LIMIT: Duration = Duration::from_secs(120 * 60);
/// How long it may say nothing.
const SILENCE_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How often it is said what runs, if nothing else is.
const TELL_AFTER: Duration = Duration::from_secs(20);
/// How long it may take to start, with the processor's own virtualisation: some claim to have it and hang.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the tests of a machine said.
#[derive(Debug, Default)]
pub(super) struct Told {
    runs: Vec<(String, Totals)>,
    /// Whether the last line was reached.
    pub(super) is_complete: bool,
}

/// Counted tests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Passed, but said that they could show nothing here.
    pub(super) skipped: u64,
    /// Runs without a result.
    pub(super) broken: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.broken += other.broken;
    }
}

impl Told {
    /// Returns the totals of the run with this title.
    pub(super) fn of(&self, title: &str) -> Totals {
        let found = self.runs.iter().find(|(name, _)| name == title);
        found.map_or(
            Totals {
                broken: 1,
                ..Totals::default()
            },
            |(_, totals)| *totals,
        )
    }

    fn take(&mut self, line: &str) {
        if let Some(title) = line.strip_prefix(guest::PASS) {
            self.runs.push((title.to_owned(), Totals::default()));
        } else if line.starts_with(guest::DONE) {
            self.is_complete = true;
        }
        let Some((_, totals)) = self.runs.last_mut() else {
            return;
        };
        if line.contains("SKIPPED:") {
            totals.skipped += 1;
        }
        if let Some(code) = line.strip_prefix(guest::RESULT)
            && code.trim() != "0"
            && totals.failed == 0
        {
            totals.broken += 1;
        }
        if line.starts_with("test result:") {
            totals.passed += number_before(line, " passed");
            totals.failed += number_before(line, " failed");
        } else if line.starts_with("escapes") && line.contains(" cases blocked, ") {
            totals.passed += number_before(line, " of ");
            totals.skipped += number_before(line, " not shown here");
            totals.failed += number_before(line, " failed;");
        }
    }
}

fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    let number = before.rsplit(' ').next().unwrap_or_default();
    number.parse().unwrap_or(0)
}

/// How the machine's processor is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Processor {
    /// The host's, through the kernel.
    Kvm,
    /// In software.
    Emulated,
}

/// Runs the machine to its end.
pub(super) fn run(machine: &Machine) -> anyhow::Result<Told> {
    if has_kvm() {
        match run_on(Processor::Kvm, machine)? {
            Some(told) => return Ok(told),
            None => println!("KVM is there and does not work: emulating"),
        }
    }
    match run_on(Processor::Emulated, machine)? {
        Some(told) => Ok(told),
        None => bail!("the virtual machine has not started"),
    }
}

/// Whether the processor says that it can, and the kernel lets us.
fn has_kvm() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let can = flags
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    can && fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

/// Ends the machine whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself if all went well.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Returns `None` if it did not even start.
fn run_on(processor: Processor, machine: &Machine) -> anyhow::Result<Option<Told>> {
    let mut command = command(processor, machine);
    let child = command.spawn().context("cannot start qemu-system-x86_64")?;
    let mut running = Running(child);
    let output = running.0.stdout.take().context("qemu has no output")?;
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let told = listen(processor, &lines)?;
    drop(running);
    drop(lines);
    reader.join().ok().context("cannot read qemu's output")?;
    Ok(told)
}

fn listen(processor: Processor, lines: &mpsc::Receiver<Vec<u8>>) -> anyhow::Result<Option<Told>> {
    let (mut progress, mut is_up, mut told) = (Progress::new(), false, Told::default());
    let mut heard_at = Instant::now();
    loop {
        let patience = if processor == Processor::Kvm && !is_up {
            START_LIMIT
        } else {
            SILENCE_LIMIT
        };
        if progress.took() > TIME_LIMIT {
            bail!("the virtual machine took more than {TIME_LIMIT:?}");
        }
        let line = match lines.recv_timeout(TELL_AFTER) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return Ok(is_up.then_some(told)),
            Err(RecvTimeoutError::Timeout) if heard_at.elapsed() < patience => {
                println!("{}", progress.says());
                continue;
            }
            Err(RecvTimeoutError::Timeout) if !is_up => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the virtual machine said nothing for {SILENCE_LIMIT:?}")
            }
        };
        heard_at = Instant::now();
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        is_up |= line.starts_with(guest::UP);
        let is_for_us = progress.take(line);
        if (is_up && !is_for_us) || line.contains("panic") || line.contains("systemd[") {
            println!("{line}");
        }
        told.take(line);
    }
}

fn command(processor: Processor, machine: &Machine) -> Command {
    let (accelerator, model) = match processor {
        Processor::Kvm => ("kvm", "host"),
        // Emulated, 16-byte compare-and-exchange is an order of magnitude slower than what is used without it.
        Processor::Emulated => ("tcg,thread=multi", "max,-cx16"),
    };
    // It ends with us, however we end.
    let mut qemu = tool("setpriv");
    qemu.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"])
        .args(["-M", "q35", "-accel", accelerator, "-cpu", model])
        .args(["-smp", "2", "-m", "3072", "-no-reboot"])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio"])
        .args([
            "-append",
            "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off",
        ])
        .arg("-kernel")
        .arg(&machine.kernel)
        .arg("-initrd")
        .arg(&machine.first_root)
        .arg("-drive")
        .arg(format!(
            "file={},format=raw,if=virtio,snapshot=on",
            machine.disk.display()
        ))
        .args([
            "-virtfs",
            "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    qemu
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_by_run_and_a_run_without_one_is_broken() {
        let mut told = Told::default();
        for line in [
            "VM-PASS a",
            "SKIPPED: this test needs root",
            "test result: FAILED. 7 passed; 2 failed; 0 ignored",
            "VM-RESULT 101",
            "VM-PASS b",
            "VM-RESULT 127",
            "VM-PASS d",
            "escapes: 117 of 127 cases blocked, 9 not shown here, 1 failed; 500 attempts with a control that succeeds, 3 without",
            "escapes in a session (40 operations joined one): 12 of 13 cases blocked, 1 not shown here, 0 failed; 9 attempts with a control that succeeds, 0 without",
            "VM-RESULT 1",
        ] {
            told.take(line);
        }
        let (a, b) = (told.of("a"), told.of("b"));
        assert_eq!((a.passed, a.failed, a.skipped, a.broken), (7, 2, 1, 0));
        assert_eq!((b.passed, b.broken), (0, 1));
        assert_eq!(told.of("c").broken, 1);
        let d = told.of("d");
        assert_eq!((d.passed, d.failed, d.skipped, d.broken), (129, 1, 10, 0));
        assert!(!told.is_complete);
    }
}
