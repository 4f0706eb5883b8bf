//! The figures of the host.

use procfs::{Current as _, CurrentSI as _, KernelStats, LoadAverage, Meminfo, ProcError};

/// Tracks the state of what runs; today the figures of the host, read when asked for.
#[derive(Debug)]
pub struct StateTracker;

/// What the host has and uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostUsage {
    /// How many CPUs are online.
    pub cpu_count: usize,
    /// Average number of tasks that ran or waited to run in the last minute.
    pub load1: f64,
    /// Usable memory in bytes.
    pub memory_total_bytes: u64,
    /// Memory in bytes that can be had without swapping, as the kernel estimates it.
    pub memory_available_bytes: u64,
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

impl StateTracker {
    /// Returns the figures of the host now.
    ///
    /// # Errors
    ///
    /// Fails when `/proc/stat`, `/proc/loadavg` or `/proc/meminfo` cannot be read.
    pub fn host() -> Result<HostUsage, HostError> {
        let failed = |path| move |source| HostError::Read { path, source };
        let stat = KernelStats::current().map_err(failed("/proc/stat"))?;
        let load = LoadAverage::current().map_err(failed("/proc/loadavg"))?;
        let memory = Meminfo::current().map_err(failed("/proc/meminfo"))?;
        Ok(HostUsage {
            cpu_count: stat.cpu_time.len(),
            load1: f64::from(load.one),
            memory_total_bytes: memory.mem_total,
            // Kernels before 3.14 do not estimate it.
            memory_available_bytes: memory.mem_available.unwrap_or(memory.mem_free),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_cpus_and_memory() {
        let host = StateTracker::host().unwrap();
        assert!(host.cpu_count >= 1);
        assert!(host.load1 >= 0.0);
        assert!(host.memory_total_bytes > 64 * 1024 * 1024);
        assert!(host.memory_available_bytes <= host.memory_total_bytes);
    }
}
