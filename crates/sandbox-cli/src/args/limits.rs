//! Limits that can be typed after `sandbox run`: each replaces the configured one.

use std::time::Duration;

use clap::Args;
use sandbox_types::{Bytes, LimitsRequest};

use super::values;

/// Limits that can be typed after `sandbox run`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Limit the time from start to end, as in 30s
    #[arg(long, value_name = "TIME", value_parser = values::wall_time, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// Limit the memory of all processes together, as in 1G
    #[arg(long, value_name = "SIZE", value_parser = values::memory, allow_hyphen_values = true)]
    memory: Option<Bytes>,
    /// Limit the CPU bandwidth of all processes together, in percent of one core, as in 150%
    #[arg(long, value_name = "PERCENT", value_parser = values::cpu, allow_hyphen_values = true)]
    cpu: Option<u32>,
    /// Limit the CPU time of all processes together from start to end, as in 10m
    #[arg(long, value_name = "TIME", value_parser = values::wall_time, allow_hyphen_values = true)]
    cpu_time: Option<Duration>,
    /// Limit the processes and threads alive at once
    #[arg(long, value_name = "N", value_parser = values::processes, allow_hyphen_values = true)]
    pids: Option<u32>,
    /// Limit what may be added to the workspace, as in 2G
    #[arg(long, value_name = "SIZE", value_parser = values::disk, allow_hyphen_values = true)]
    disk: Option<Bytes>,
    /// Limit how many paths of the workspace may change
    #[arg(long, value_name = "N", value_parser = values::inodes, allow_hyphen_values = true)]
    inodes: Option<u64>,
    /// Limit what is read from the workspace's disk in a second, as in 50M
    #[arg(long, value_name = "SIZE", value_parser = values::io_read, allow_hyphen_values = true)]
    io_read: Option<Bytes>,
    /// Limit what is written to the workspace's disk in a second, as in 50M
    #[arg(long, value_name = "SIZE", value_parser = values::io_write, allow_hyphen_values = true)]
    io_write: Option<Bytes>,
    /// Limit the open files of each process
    #[arg(long, value_name = "N", value_parser = values::open_files, allow_hyphen_values = true)]
    open_files: Option<u64>,
    /// Limit the size of each file, as in 100M
    #[arg(long, value_name = "SIZE", value_parser = values::file_size, allow_hyphen_values = true)]
    file_size: Option<Bytes>,
    /// Limit each private temporary file system (/tmp, /dev/shm, the home), as in 1G
    #[arg(long, value_name = "SIZE", value_parser = values::tmp_size, allow_hyphen_values = true)]
    tmp_size: Option<Bytes>,
    /// End it when it has printed more than this on both streams together, as in 100M
    #[arg(long, value_name = "SIZE", value_parser = values::output_total, allow_hyphen_values = true)]
    output_total: Option<Bytes>,
}

impl LimitArgs {
    /// Returns what was typed.
    pub(crate) fn granted(self) -> LimitsRequest {
        LimitsRequest {
            memory: self.memory,
            cpu_percent: self.cpu,
            cpu_time: self.cpu_time,
            processes: self.pids,
            disk: self.disk,
            inodes: self.inodes,
            io_read: self.io_read,
            io_write: self.io_write,
            wall_time: self.timeout,
            open_files: self.open_files,
            file_size: self.file_size,
            tmp_size: self.tmp_size,
            output_total: self.output_total,
        }
    }
}
