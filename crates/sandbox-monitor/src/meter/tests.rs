//! The meter on real trees of processes and on cgroup files of both versions.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Stdio},
    time::Instant,
};

use super::*;

/// A shell that runs `script`, has printed a line, and ends when its input is closed.
struct Shell {
    child: Child,
    input: Option<ChildStdin>,
}

impl Shell {
    fn start(script: &str) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a real tree of processes, of fixed text, is what is measured"
        )]
        let mut command = std::process::Command::new("/bin/sh");
        let mut child = command
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, input }
    }

    fn meter(&self) -> OperationMeter {
        OperationMeter::new(self.child.id(), CgroupPaths::default())
    }

    fn end(&mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn a_tree_of_processes_is_counted_with_its_grandchildren() {
    let mut shell = Shell::start(
        "exec 3<&0; (cat <&3 & cat <&3 & wait) & cat <&3 & sh -c 'echo ready; cat' <&3; wait",
    );
    let mut meter = shell.meter();
    // The shell, the subshell with two cats, one cat, and the inner shell that said ready.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut sample = meter.sample();
    while sample.processes < 6 {
        assert!(Instant::now() < deadline, "{sample:?}");
        sample = meter.sample();
    }
    assert!(sample.memory_bytes > 1024 * 1024, "{sample:?}");
    shell.end();
    assert_eq!(meter.sample(), Sample::default(), "nothing is left");
    let usage = meter.finish(ProcessUsage::default());
    assert!(usage.processes_peak >= sample.processes);
    assert!(usage.memory_peak_bytes >= sample.memory_bytes);
}

#[test]
fn memory_and_cpu_of_the_tree_are_seen() {
    let shell = Shell::start(
        "x=$(head -c 30000000 /dev/zero | tr '\\0' x); i=0; \
         while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready; read y",
    );
    let mut meter = shell.meter();
    assert!(meter.sample().memory_bytes > 30_000_000);
    let usage = meter.finish(ProcessUsage::default());
    assert!(usage.cpu_ms >= 10.0, "{usage:?}");
}

#[test]
fn threads_count() {
    let mut meter = OperationMeter::new(std::process::id(), CgroupPaths::default());
    let together = std::sync::Barrier::new(6);
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                together.wait();
                together.wait();
            });
        }
        together.wait();
        assert!(meter.sample().processes >= 6);
        together.wait();
    });
}

fn cgroup(files: &[(&str, &str)]) -> (tempfile::TempDir, CgroupPaths) {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let path = Some(directory.path().to_owned());
    let paths = CgroupPaths {
        memory: path.clone(),
        cpu: path.clone(),
        pids: path.clone(),
        io: path,
    };
    (directory, paths)
}

/// No process: only the cgroups say something.
fn meter(paths: CgroupPaths) -> OperationMeter {
    OperationMeter::new(u32::MAX, paths)
}

fn set(directory: &Path, name: &str, content: &str) {
    fs::write(directory.join(name), content).unwrap();
}

#[test]
fn version_2_files_are_read() {
    let (directory, paths) = cgroup(&[
        ("memory.current", "1048576\n"),
        ("memory.peak", "9000000\n"),
        (
            "cpu.stat",
            "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n",
        ),
        ("pids.current", "3\n"),
        ("pids.peak", "17\n"),
        (
            "io.stat",
            "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=9 dios=9\n253:1 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n7:0\n",
        ),
    ]);
    let mut meter = meter(CgroupPaths::default());
    assert_eq!(meter.sample(), Sample::default());
    meter.set_sources(paths);
    let sample = meter.sample();
    assert_eq!((sample.memory_bytes, sample.processes), (1_048_576, 3));
    set(directory.path(), "memory.peak", "9500000\n");
    let usage = meter.finish(ProcessUsage::default());
    let expected = Usage {
        cpu_ms: 1234.567,
        memory_peak_bytes: 9_500_000,
        io_read_bytes: 4097,
        io_write_bytes: 8194,
        processes_peak: 17,
        ..Usage::default()
    };
    assert_eq!(usage, expected);
}

#[test]
fn version_1_files_are_read() {
    let (_directory, paths) = cgroup(&[
        ("memory.usage_in_bytes", "2048\n"),
        ("memory.max_usage_in_bytes", "7000\n"),
        (
            "cpu.stat",
            "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
        ),
        ("cpuacct.usage", "2500000000\n"),
        ("pids.current", "5\n"),
        (
            "blkio.throttle.io_service_bytes",
            "8:0 Read 100\n8:0 Write 50\n8:0 Sync 150\n8:0 Total 150\n8:16 Read 1\n8:16 Write 2\nTotal 153\n",
        ),
    ]);
    let mut meter = meter(paths);
    meter.sample();
    let usage = meter.finish(ProcessUsage::default());
    let expected = Usage {
        cpu_ms: 2500.0,
        memory_peak_bytes: 7000,
        io_read_bytes: 101,
        io_write_bytes: 52,
        processes_peak: 5,
        ..Usage::default()
    };
    assert_eq!(usage, expected);
}

#[test]
fn the_highest_figure_counts() {
    let (directory, paths) = cgroup(&[
        ("memory.current", "5000000"),
        ("pids.current", "40"),
        ("cpu.stat", "usage_usec 10"),
        ("io.stat", ""),
    ]);
    let mut meter = meter(paths);
    meter.sample();
    set(directory.path(), "memory.current", "1");
    set(directory.path(), "pids.current", "1");
    meter.sample();
    let ended = ProcessUsage {
        cpu: Duration::from_millis(70),
        memory_largest_bytes: 4_000_000,
        io_read_bytes: 5,
        io_write_bytes: 6,
    };
    let usage = meter.finish(ended);
    assert_eq!(usage.memory_peak_bytes, 5_000_000);
    assert_eq!(usage.processes_peak, 40);
    assert!((usage.cpu_ms - 70.0).abs() < 1e-9);
    assert_eq!((usage.io_read_bytes, usage.io_write_bytes), (5, 6));
}

#[test]
fn unreadable_figures_are_zero() {
    let (_directory, paths) = cgroup(&[
        ("memory.current", "max\n"),
        ("memory.peak", ""),
        ("cpu.stat", "usage_usec many"),
        ("pids.current", "-1"),
        ("io.stat", "8:0 rbytes= wbytes=x 18446744073709551616"),
    ]);
    let mut meter = meter(paths);
    meter.sample();
    let usage = meter.finish(ProcessUsage::default());
    let expected = Usage {
        processes_peak: 1,
        ..Usage::default()
    };
    assert_eq!(usage, expected);
}
