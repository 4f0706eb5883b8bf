//! The keys of limits, and the limits that they mean.

use super::ResourceLimits;
use crate::{Bytes, Limit, Limits, format_duration, parse_duration};

const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;

impl ResourceLimits {
    /// Returns the keys that describe `limits`; what is unlimited has none.
    pub(super) fn of(limits: &Limits) -> Self {
        let count = |value: u64| i64::try_from(value).ok();
        let mib = |limit: Option<Limit<Bytes>>| limit.and_then(|it| count(it.value.get() / MIB));
        Self {
            memory_mb: mib(limits.memory),
            cpu_percent: limits.cpu_percent.map(|it| i64::from(it.value)),
            cpu_time: limits.cpu_time.map(|it| format_duration(it.value)),
            disk_mb: mib(limits.disk),
            inodes: limits.inodes.and_then(|it| count(it.value)),
            io_read_mb: mib(limits.io_read),
            io_write_mb: mib(limits.io_write),
            processes: limits.processes.map(|it| i64::from(it.value)),
            wall_time: limits.wall_time.map(|it| format_duration(it.value)),
            open_files: limits.open_files.and_then(|it| count(it.value)),
            file_size_mb: mib(limits.file_size),
            tmp_mb: mib(limits.tmp_size),
            output_kb: count(limits.output.get() / KIB),
            output_total_mb: mib(limits.output_total),
            best_effort: Some(limits.best_effort),
        }
    }

    /// Returns `base` with what is configured here, which has been checked.
    pub(super) fn over(&self, base: Limits) -> Limits {
        let bytes = |value: i64, unit: u64| Bytes(value.unsigned_abs().saturating_mul(unit));
        let mib = |value: Option<i64>| value.map(|it| Limit::requested(bytes(it, MIB)));
        let small = |value: Option<i64>| {
            value.map(|it| Limit::requested(u32::try_from(it).unwrap_or(u32::MAX)))
        };
        let number = |value: Option<i64>| value.map(|it| Limit::requested(it.unsigned_abs()));
        let span = |text: Option<&str>| {
            let span = text.and_then(|text| parse_duration(text).ok());
            span.map(Limit::requested)
        };
        Limits {
            memory: mib(self.memory_mb).or(base.memory),
            cpu_percent: small(self.cpu_percent).or(base.cpu_percent),
            processes: small(self.processes).or(base.processes),
            cpu_time: span(self.cpu_time.as_deref()).or(base.cpu_time),
            disk: mib(self.disk_mb).or(base.disk),
            inodes: number(self.inodes).or(base.inodes),
            io_read: mib(self.io_read_mb).or(base.io_read),
            io_write: mib(self.io_write_mb).or(base.io_write),
            wall_time: span(self.wall_time.as_deref()).or(base.wall_time),
            open_files: number(self.open_files).or(base.open_files),
            file_size: mib(self.file_size_mb).or(base.file_size),
            tmp_size: mib(self.tmp_mb).or(base.tmp_size),
            output: self.output_kb.map_or(base.output, |it| bytes(it, KIB)),
            output_total: mib(self.output_total_mb).or(base.output_total),
            best_effort: self.best_effort.unwrap_or(base.best_effort),
        }
    }
}
