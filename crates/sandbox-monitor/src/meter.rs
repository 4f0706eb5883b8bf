//! Measures one operation: sampled while it runs, exact at the end.

use std::time::Duration;

use sandbox_types::{CgroupPaths, ProcessUsage, Usage};

use crate::{
    cgroup_stats::{self, Io},
    history::GuestProcess,
    process_stats::Tree,
};

#[cfg(test)]
mod tests;

/// What an operation's tree of processes uses at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sample {
    /// Memory in bytes: of the cgroup (with page cache), or the sum of the resident sets.
    pub memory_bytes: u64,
    /// Tasks: processes and their threads, as the kernel's `pids` controller counts.
    pub processes: u64,
}

/// What an operation's tree of processes uses and has used so far, for the history and for thresholds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Reading {
    /// CPU time so far.
    pub cpu: Duration,
    /// Memory in bytes, as in [`Sample`].
    pub memory_bytes: u64,
    /// The part of it that is not file cache: what dropping the cache would not give back.
    pub memory_held_bytes: u64,
    /// Processes and threads.
    pub tasks: u64,
    /// Bytes read from storage so far.
    pub io_read_bytes: u64,
    /// Bytes written to storage so far.
    pub io_write_bytes: u64,
}

/// Measures the tree of processes of one operation.
///
/// The figures come from the operation's cgroups where they are, which the kernel keeps exactly.
/// What has no cgroup is sampled from `/proc`; a peak between two samples is then not seen.
///
/// `processes` are tasks everywhere, processes and threads, because that is what a limit on
/// processes counts. The cgroups must belong to this operation alone.
#[derive(Debug)]
pub struct OperationMeter {
    tree: Option<Tree>,
    sources: CgroupPaths,
    memory_peak_bytes: u64,
    tasks_peak: u64,
    cpu: Duration,
    io: Io,
}

impl OperationMeter {
    /// Returns a meter for the tree of processes below `root_pid`, that process included.
    pub fn new(root_pid: u32, sources: CgroupPaths) -> Self {
        Self {
            tree: Tree::of(root_pid),
            sources,
            memory_peak_bytes: 0,
            tasks_peak: 0,
            cpu: Duration::ZERO,
            io: Io::default(),
        }
    }

    /// Says where the figures are from now on, for cgroups that are made later than the process.
    pub fn set_sources(&mut self, sources: CgroupPaths) {
        self.sources = sources;
    }

    /// Looks at the tree once and returns what it uses now.
    ///
    /// Two small files are read where there are cgroups; else some files for each process.
    pub fn sample(&mut self) -> Sample {
        let CgroupPaths { memory, pids, .. } = &self.sources;
        let memory = memory.as_deref().and_then(cgroup_stats::memory_now);
        let tasks = pids.as_deref().and_then(cgroup_stats::tasks_now);
        let sample = if let (Some(memory_bytes), Some(processes)) = (memory, tasks) {
            Sample {
                memory_bytes,
                processes,
            }
        } else {
            let tree = self.tree.as_ref().map(Tree::stats).unwrap_or_default();
            self.cpu = self.cpu.max(tree.cpu);
            self.raise_io(tree.io);
            Sample {
                memory_bytes: memory.unwrap_or(tree.memory_bytes),
                processes: tasks.unwrap_or(tree.tasks),
            }
        };
        self.memory_peak_bytes = self.memory_peak_bytes.max(sample.memory_bytes);
        self.tasks_peak = self.tasks_peak.max(sample.processes);
        sample
    }

    /// Returns the first process, if it was there when the meter was made.
    pub fn guest(&self) -> Option<GuestProcess> {
        self.tree.as_ref().and_then(Tree::root)
    }

    /// Looks at the tree once, and returns also what it has used so far. Dearer than
    /// [`Self::sample`]: some more files are read.
    pub fn reading(&mut self) -> Reading {
        let Sample {
            memory_bytes,
            processes,
        } = self.sample();
        let from_cgroup = self.sources.cpu.as_deref().and_then(cgroup_stats::cpu);
        let cpu = from_cgroup.unwrap_or_else(|| {
            let tree = self.tree.as_ref().map(Tree::stats).unwrap_or_default();
            self.raise_io(tree.io);
            tree.cpu
        });
        self.cpu = self.cpu.max(cpu);
        if let Some(io) = self.sources.io.as_deref().and_then(cgroup_stats::io) {
            self.raise_io(io);
        }
        let memory = self.sources.memory.as_deref();
        let cache = memory.and_then(cgroup_stats::file_cache).unwrap_or(0);
        Reading {
            cpu: self.cpu,
            memory_bytes,
            memory_held_bytes: memory_bytes.saturating_sub(cache),
            tasks: processes,
            io_read_bytes: self.io.read_bytes,
            io_write_bytes: self.io.write_bytes,
        }
    }

    /// Reads the cgroups a last time and returns what the operation used, together with what the
    /// system accounted to the `ended` tree.
    ///
    /// Of each figure the highest that any source gives is right: none of them counts too much, and
    /// each can miss something. What the transaction holds and the network are not measured here
    /// and are 0.
    pub fn finish(mut self, ended: ProcessUsage) -> Usage {
        let CgroupPaths {
            memory,
            cpu,
            pids,
            io,
        } = std::mem::take(&mut self.sources);
        let memory = memory.as_deref();
        let memory_peak_bytes = [
            memory.and_then(cgroup_stats::memory_peak),
            memory.and_then(cgroup_stats::memory_now),
            Some(ended.memory_largest_bytes),
        ];
        let tasks_peak = pids.as_deref().and_then(cgroup_stats::tasks_peak);
        self.raise_io(io.as_deref().and_then(cgroup_stats::io).unwrap_or_default());
        self.raise_io(Io {
            read_bytes: ended.io_read_bytes,
            write_bytes: ended.io_write_bytes,
        });
        let cpu = cpu.as_deref().and_then(cgroup_stats::cpu);
        let cpu = self.cpu.max(ended.cpu).max(cpu.unwrap_or_default());
        Usage {
            cpu_ms: cpu.as_secs_f64() * 1000.0,
            memory_peak_bytes: memory_peak_bytes
                .into_iter()
                .flatten()
                .fold(self.memory_peak_bytes, u64::max),
            io_read_bytes: self.io.read_bytes,
            io_write_bytes: self.io.write_bytes,
            processes_peak: self.tasks_peak.max(tasks_peak.unwrap_or(0)).max(1),
            ..Usage::default()
        }
    }

    fn raise_io(&mut self, io: Io) {
        self.io.read_bytes = self.io.read_bytes.max(io.read_bytes);
        self.io.write_bytes = self.io.write_bytes.max(io.write_bytes);
    }
}
