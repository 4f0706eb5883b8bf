//! The figures of the host: CPU, memory, load, pressure, and the room on a file system.

use std::{fs, io, path::Path};

use procfs::{Current as _, CurrentSI as _, KernelStats, LoadAverage, Meminfo, ProcError};
use serde::Serialize;

/// What the host has and uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostUsage {
    /// How many CPUs are online.
    pub cpu_count: usize,
    /// CPU time of all CPUs since the machine started, in seconds, without idling.
    pub cpu_busy_seconds: f64,
    /// Average number of tasks that ran or waited to run in the last minute.
    pub load1: f64,
    /// The same of the last 5 minutes.
    pub load5: f64,
    /// Usable memory in bytes.
    pub memory_total_bytes: u64,
    /// Memory in bytes that can be had without swapping, as the kernel estimates it.
    pub memory_available_bytes: u64,
    /// How long tasks wait for a resource; `None` where the kernel does not tell (`CONFIG_PSI`).
    pub pressure: Option<Pressure>,
}

/// The share of the last minute in which tasks waited, in percent: PSI, averaged over 60 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one task waited for a CPU.
    pub cpu_some: f64,
    /// At least one task waited for memory.
    pub memory_some: f64,
    /// All tasks waited for memory.
    pub memory_full: f64,
    /// At least one task waited for storage.
    pub io_some: f64,
    /// All tasks waited for storage.
    pub io_full: f64,
}

/// The room on the file system that holds a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct DiskSpace {
    /// Size in bytes.
    pub total_bytes: u64,
    /// Bytes that the caller may still use.
    pub available_bytes: u64,
    /// Files that it can hold; 0 where it has no such limit.
    pub inodes_total: u64,
    /// Files that the caller may still make.
    pub inodes_available: u64,
}

/// The figures of the host cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A file of `/proc` cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: &'static str,
        /// Why not.
        source: ProcError,
    },
}

impl HostUsage {
    /// Returns the figures of the host now.
    ///
    /// # Errors
    ///
    /// Fails when `/proc/stat`, `/proc/loadavg` or `/proc/meminfo` cannot be read.
    pub fn now() -> Result<Self, HostError> {
        let failed = |path| move |source| HostError::Read { path, source };
        let stat = KernelStats::current().map_err(failed("/proc/stat"))?;
        let load = LoadAverage::current().map_err(failed("/proc/loadavg"))?;
        let memory = Meminfo::current().map_err(failed("/proc/meminfo"))?;
        let total = &stat.total;
        // Time of guests of a hypervisor is counted in user time already.
        let busy = total.user + total.nice + total.system;
        let interrupts = total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
        Ok(Self {
            cpu_count: stat.cpu_time.len(),
            cpu_busy_seconds: crate::stats::float(busy + interrupts)
                / crate::stats::float(procfs::ticks_per_second()),
            load1: f64::from(load.one),
            load5: f64::from(load.five),
            memory_total_bytes: memory.mem_total,
            // Kernels before 3.14 do not estimate it.
            memory_available_bytes: memory.mem_available.unwrap_or(memory.mem_free),
            pressure: Pressure::now(),
        })
    }

    /// Returns the memory that is not available, in percent of all.
    pub fn memory_used_percent(&self) -> f64 {
        used_percent(self.memory_total_bytes, self.memory_available_bytes)
    }
}

impl Pressure {
    fn now() -> Option<Self> {
        let read = |resource: &str| fs::read_to_string(format!("/proc/pressure/{resource}")).ok();
        let (cpu, memory, io) = (read("cpu")?, read("memory")?, read("io")?);
        Some(Self {
            cpu_some: average(&cpu, "some")?,
            memory_some: average(&memory, "some")?,
            memory_full: average(&memory, "full")?,
            io_some: average(&io, "some")?,
            io_full: average(&io, "full")?,
        })
    }
}

/// Returns `avg60` of the line that begins with `kind`: `some avg10=0.00 avg60=0.00 avg300=…`.
fn average(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(kind))?;
    let value = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("avg60="))?;
    value.parse().ok().filter(|it: &f64| it.is_finite())
}

impl DiskSpace {
    /// Returns the room on the file system that holds `path`.
    ///
    /// # Errors
    ///
    /// Fails when the path does not exist or cannot be reached.
    pub fn of(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Self {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            inodes_total: stat.f_files,
            inodes_available: stat.f_favail,
        })
    }

    /// Returns the bytes that are not available, in percent of all.
    pub fn used_percent(&self) -> f64 {
        used_percent(self.total_bytes, self.available_bytes)
    }

    /// Returns the files that cannot be made any more, in percent of all.
    pub fn inodes_used_percent(&self) -> f64 {
        used_percent(self.inodes_total, self.inodes_available)
    }
}

fn used_percent(total: u64, available: u64) -> f64 {
    if total == 0 {
        return 0.0;
    }
    100.0 * crate::stats::float(total.saturating_sub(available)) / crate::stats::float(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_cpus_and_memory() {
        let host = HostUsage::now().unwrap();
        assert!(host.cpu_count >= 1);
        assert!(host.load1 >= 0.0);
        assert!(host.cpu_busy_seconds > 0.0);
        assert!(host.memory_total_bytes > 64 * 1024 * 1024);
        assert!(host.memory_available_bytes <= host.memory_total_bytes);
    }

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let text = "some avg10=1.00 avg60=2.50 avg300=0.10 total=7\nfull avg10=0.00 avg60=0.75 avg300=0.00 total=1\n";
        assert_eq!(average(text, "some"), Some(2.5));
        assert_eq!(average(text, "full"), Some(0.75));
        for broken in [
            "",
            "some",
            "some avg60=",
            "some avg60=inf",
            "full avg10=1",
            "\u{0}",
        ] {
            assert_eq!(average(broken, "some"), None, "{broken:?}");
        }
    }

    #[test]
    fn the_root_has_room() {
        let space = DiskSpace::of(Path::new("/")).unwrap();
        assert!(space.total_bytes >= space.available_bytes);
        assert!((0.0..=100.0).contains(&space.used_percent()));
        assert!(DiskSpace::of(Path::new("/no/such/place")).is_err());
    }
}
