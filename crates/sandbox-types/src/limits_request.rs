//! Limits that one operation asks for, or is given.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Limit, Limits, format_duration};

/// Amounts for one operation; what is `None` stays as configured.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsRequest {
    /// Memory of the tree.
    pub memory: Option<Bytes>,
    /// CPU in percent of one core.
    pub cpu_percent: Option<u32>,
    /// CPU time of the tree.
    pub cpu_time: Option<Duration>,
    /// Processes alive at once.
    pub processes: Option<u32>,
    /// Bytes added to the workspace.
    pub disk: Option<Bytes>,
    /// Files and directories added or changed.
    pub inodes: Option<u64>,
    /// Bytes a second read from the workspace's device.
    pub io_read: Option<Bytes>,
    /// Bytes a second written to the workspace's device.
    pub io_write: Option<Bytes>,
    /// Wall time from start to end.
    pub wall_time: Option<Duration>,
    /// Open files of one process.
    pub open_files: Option<u64>,
    /// Size of one file.
    pub file_size: Option<Bytes>,
    /// Size of each private temporary file system.
    pub tmp_size: Option<Bytes>,
    /// Printed bytes of both streams together.
    pub output_total: Option<Bytes>,
}

/// An operation asks for more than is allowed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the operation asks for {asked} of {what}, and {allowed} is allowed")]
pub struct LimitRaised {
    /// Which limit, as the configuration calls it.
    pub what: &'static str,
    /// What it asks for.
    pub asked: String,
    /// What is configured.
    pub allowed: String,
}

impl LimitsRequest {
    /// Returns these amounts, and those of `other` where there are none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            memory: self.memory.or(other.memory),
            cpu_percent: self.cpu_percent.or(other.cpu_percent),
            cpu_time: self.cpu_time.or(other.cpu_time),
            processes: self.processes.or(other.processes),
            disk: self.disk.or(other.disk),
            inodes: self.inodes.or(other.inodes),
            io_read: self.io_read.or(other.io_read),
            io_write: self.io_write.or(other.io_write),
            wall_time: self.wall_time.or(other.wall_time),
            open_files: self.open_files.or(other.open_files),
            file_size: self.file_size.or(other.file_size),
            tmp_size: self.tmp_size.or(other.tmp_size),
            output_total: self.output_total.or(other.output_total),
        }
    }

    /// Returns `base` with these amounts instead of its own.
    pub fn over(&self, base: Limits) -> Limits {
        let asked = self;
        Limits {
            memory: asked.memory.map(Limit::requested).or(base.memory),
            cpu_percent: asked.cpu_percent.map(Limit::requested).or(base.cpu_percent),
            cpu_time: asked.cpu_time.map(Limit::requested).or(base.cpu_time),
            processes: asked.processes.map(Limit::requested).or(base.processes),
            disk: asked.disk.map(Limit::requested).or(base.disk),
            inodes: asked.inodes.map(Limit::requested).or(base.inodes),
            io_read: asked.io_read.map(Limit::requested).or(base.io_read),
            io_write: asked.io_write.map(Limit::requested).or(base.io_write),
            wall_time: asked.wall_time.map(Limit::requested).or(base.wall_time),
            open_files: asked.open_files.map(Limit::requested).or(base.open_files),
            file_size: asked.file_size.map(Limit::requested).or(base.file_size),
            tmp_size: asked.tmp_size.map(Limit::requested).or(base.tmp_size),
            output: base.output,
            output_total: asked
                .output_total
                .map(Limit::requested)
                .or(base.output_total),
            best_effort: base.best_effort,
        }
    }

    /// Checks that no amount is higher than in `allowed`, but for those that are in `granted`.
    ///
    /// # Errors
    ///
    /// Fails at the first that is.
    pub fn check_lowers(&self, allowed: &Limits, granted: &Self) -> Result<(), LimitRaised> {
        let asked = self;
        let spans = [
            (
                "cpu_time",
                asked.cpu_time,
                allowed.cpu_time,
                granted.cpu_time,
            ),
            (
                "wall_time",
                asked.wall_time,
                allowed.wall_time,
                granted.wall_time,
            ),
        ];
        let small = [
            (
                "cpu_percent",
                asked.cpu_percent,
                allowed.cpu_percent,
                granted.cpu_percent,
            ),
            (
                "processes",
                asked.processes,
                allowed.processes,
                granted.processes,
            ),
        ];
        let counts = [
            ("inodes", asked.inodes, allowed.inodes, granted.inodes),
            (
                "open_files",
                asked.open_files,
                allowed.open_files,
                granted.open_files,
            ),
        ];
        let rates = [
            ("io_read", asked.io_read, allowed.io_read, granted.io_read),
            (
                "io_write",
                asked.io_write,
                allowed.io_write,
                granted.io_write,
            ),
        ];
        let sizes = [
            ("memory", asked.memory, allowed.memory, granted.memory),
            ("disk", asked.disk, allowed.disk, granted.disk),
            (
                "file_size",
                asked.file_size,
                allowed.file_size,
                granted.file_size,
            ),
            ("tmp", asked.tmp_size, allowed.tmp_size, granted.tmp_size),
            (
                "output_total",
                asked.output_total,
                allowed.output_total,
                granted.output_total,
            ),
        ];
        first_raised(spans, format_duration)
            .or_else(|| first_raised(small, |it| it.to_string()))
            .or_else(|| first_raised(counts, |it| it.to_string()))
            .or_else(|| first_raised(rates, |it| format!("{it}/s")))
            .or_else(|| first_raised(sizes, |it| it.to_string()))
            .map_or(Ok(()), Err)
    }
}

/// Name, what is asked for, what is allowed, what is granted.
type Row<T> = (&'static str, Option<T>, Option<Limit<T>>, Option<T>);

fn first_raised<T: Copy + PartialOrd>(
    rows: impl IntoIterator<Item = Row<T>>,
    show: impl Fn(T) -> String,
) -> Option<LimitRaised> {
    rows.into_iter()
        .find_map(|(what, asked, allowed, granted)| {
            let (asked, allowed) = (asked?, allowed?.value);
            (granted.is_none() && asked > allowed).then(|| LimitRaised {
                what,
                asked: show(asked),
                allowed: show(allowed),
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_may_lower_limits_and_only_its_caller_may_raise_them() {
        let allowed = Limits::default();
        let asks = |bytes| LimitsRequest {
            memory: Some(bytes),
            ..LimitsRequest::default()
        };
        let nothing = LimitsRequest::default();
        let (lower, higher) = (asks(Bytes::mib(64)), asks(Bytes::mib(8192)));
        assert_eq!(lower.check_lowers(&allowed, &nothing), Ok(()));
        let error = higher.check_lowers(&allowed, &nothing).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the operation asks for 8G of memory, and 4G is allowed"
        );
        assert_eq!(higher.check_lowers(&allowed, &higher), Ok(()));
        let limits = higher.over(lower.over(allowed.clone()));
        assert_eq!(limits.memory, Some(Limit::requested(Bytes::mib(8192))));
        assert_eq!(limits.processes, allowed.processes);
        // What is not limited may be limited.
        let cpu = LimitsRequest {
            cpu_time: Some(Duration::from_secs(1)),
            ..nothing.clone()
        };
        assert_eq!(cpu.check_lowers(&allowed, &nothing), Ok(()));
    }
}
