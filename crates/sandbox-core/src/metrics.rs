//! Figures of sandboxes and of the host for Prometheus. `docs/guide/monitoring.md` lists them.

use sandbox_monitor::{
    DiskSpace, HealthState, HostUsage, MetricKind, MetricName, Metrics, StateTracker, UsageRecord,
};

use crate::{
    core::SandboxCore,
    home::{Home, Overrides},
    registry::SandboxRecord,
};

/// Defines each figure by one line: its name, kind and meaning.
macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, $help:literal;)*) => {
        $(const $constant: MetricName = MetricName {
            name: $name,
            kind: MetricKind::$kind,
            help: $help,
        };)*
        #[cfg(test)]
        const ALL: &[MetricName] = &[$($constant),*];
    };
}

metrics! {
    UP = "sandbox_up", Gauge, "Whether the sandbox can be opened and its usage history be read.";
    INFO = "sandbox_info", Gauge, "The sandbox and its workspace; always 1.";
    CREATED = "sandbox_created_timestamp_seconds", Gauge, "When the sandbox was made.";
    OPERATIONS = "sandbox_operations_total", Counter, "Operations that ended, by outcome.";
    DURATION = "sandbox_operations_duration_seconds_total", Counter, "Time from request to settlement of operations that ended.";
    CPU = "sandbox_operations_cpu_seconds_total", Counter, "CPU time that operations used.";
    READ = "sandbox_operations_storage_read_bytes_total", Counter, "Bytes that operations read from storage.";
    WRITTEN = "sandbox_operations_storage_written_bytes_total", Counter, "Bytes that operations wrote to storage.";
    CHANGED = "sandbox_workspace_changed_bytes_total", Counter, "Bytes that operations changed in the workspace.";
    MEMORY = "sandbox_operation_memory_peak_bytes", Gauge, "Highest memory use of one operation so far.";
    ALERTS = "sandbox_alerts_total", Counter, "Alerts that were raised.";
    WAITING = "sandbox_operations_waiting", Gauge, "Operations whose changes wait for review.";
    UNDOABLE = "sandbox_operations_undoable", Gauge, "Operations that can be undone.";
    RECORDS = "sandbox_journal_records_total", Counter, "Records in the journal.";
    DAMAGED = "sandbox_usage_records_damaged", Gauge, "Records of the usage history that cannot be read.";
    HEALTHY = "sandbox_health_check_state", Gauge, "What a health check says: 0 healthy, 1 degraded, 2 failed.";
    DISK_SIZE = "sandbox_workspace_filesystem_size_bytes", Gauge, "Size of the file system that holds the workspace.";
    DISK_FREE = "sandbox_workspace_filesystem_available_bytes", Gauge, "Room that is left on it.";
    HOST_CPUS = "sandbox_host_cpus", Gauge, "CPUs of the host.";
    HOST_CPU = "sandbox_host_cpu_seconds_total", Counter, "CPU time that the host used, without idling.";
    HOST_LOAD = "sandbox_host_load1", Gauge, "Tasks that ran or waited to run, average of the last minute.";
    HOST_MEMORY = "sandbox_host_memory_size_bytes", Gauge, "Memory of the host.";
    HOST_FREE = "sandbox_host_memory_available_bytes", Gauge, "Memory of the host that can be had without swapping.";
    HOST_PRESSURE = "sandbox_host_pressure_ratio", Gauge, "Share of the last minute in which some or all tasks waited for a resource.";
}

impl Home {
    /// Returns the figures of the host and of these sandboxes. What cannot be read is missing; a sandbox
    /// that cannot be opened is not up.
    pub fn metrics(&self, records: &[SandboxRecord]) -> Metrics {
        let mut metrics = Metrics::new();
        for record in records {
            let (name, workspace) = (record.name.as_str(), record.workspace.to_string_lossy());
            let opened = self.open_to_examine(record.clone(), &Overrides::default());
            let is_up = opened.is_ok_and(|core| core.add_metrics(&mut metrics).is_some());
            metrics.add(UP, [("sandbox", name)], if is_up { 1.0 } else { 0.0 });
            metrics.add(INFO, [("sandbox", name), ("workspace", &workspace)], 1.0);
            let created = record.created_at.as_duration().as_secs_f64();
            metrics.add(CREATED, [("sandbox", name)], created);
        }
        if let Ok(host) = StateTracker::host() {
            add_host(&mut metrics, &host);
        }
        metrics
    }
}

impl SandboxCore {
    fn add_metrics(&self, metrics: &mut Metrics) -> Option<()> {
        let name = self.name().to_string();
        let sandbox = [("sandbox", name.as_str())];
        let history = self.sandbox.tracker().history().ok()?;
        let mut total = UsageRecord::default();
        for record in &history.records {
            total.add(record);
        }
        for (_, outcome, count) in total.outcomes.iter() {
            let labels = [("sandbox", name.as_str()), ("outcome", outcome)];
            metrics.add(OPERATIONS, labels, f64::from(count));
        }
        let counts = [
            (DURATION, seconds(total.wall_us.sum)),
            (CPU, seconds(total.cpu_us)),
            (READ, float(total.io_read_bytes)),
            (WRITTEN, float(total.io_write_bytes)),
            (CHANGED, float(total.written_bytes.sum)),
            (MEMORY, float(total.memory_peak_bytes)),
            (ALERTS, f64::from(total.alerts)),
            (DAMAGED, float(history.damaged)),
        ];
        for (metric, value) in counts {
            metrics.add(metric, sandbox, value);
        }
        if let Ok(status) = self.status() {
            metrics.add(WAITING, sandbox, float(status.pending.len() as u64));
            metrics.add(UNDOABLE, sandbox, float(status.undoable.len() as u64));
            metrics.add(RECORDS, sandbox, float(status.journal_records));
        }
        if let Ok(disk) = DiskSpace::of(self.workspace()) {
            metrics.add(DISK_SIZE, sandbox, float(disk.total_bytes));
            metrics.add(DISK_FREE, sandbox, float(disk.available_bytes));
        }
        for checked in self.health_monitor().examine().checks {
            let labels = [("sandbox", name.as_str()), ("check", checked.name.as_str())];
            let state = match checked.health.state {
                HealthState::Healthy => 0.0,
                HealthState::Degraded => 1.0,
                HealthState::Failed => 2.0,
            };
            metrics.add(HEALTHY, labels, state);
        }
        Some(())
    }
}

fn add_host(metrics: &mut Metrics, host: &HostUsage) {
    metrics.add(HOST_CPUS, [], float(host.cpu_count as u64));
    metrics.add(HOST_CPU, [], host.cpu_busy_seconds);
    metrics.add(HOST_LOAD, [], host.load1);
    metrics.add(HOST_MEMORY, [], float(host.memory_total_bytes));
    metrics.add(HOST_FREE, [], float(host.memory_available_bytes));
    let Some(pressure) = host.pressure else {
        return;
    };
    for (resource, tasks, percent) in [
        ("cpu", "some", pressure.cpu_some),
        ("memory", "some", pressure.memory_some),
        ("memory", "all", pressure.memory_full),
        ("io", "some", pressure.io_some),
        ("io", "all", pressure.io_full),
    ] {
        let labels = [("resource", resource), ("tasks", tasks)];
        metrics.add(HOST_PRESSURE, labels, percent / 100.0);
    }
}

fn seconds(microseconds: u64) -> f64 {
    float(microseconds) / 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers: 15 digits"
)]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut names: Vec<_> = ALL.iter().map(|it| it.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        let guide = include_str!("../../../docs/guide/monitoring.md");
        for metric in ALL {
            let is_total = metric.name.ends_with("_total");
            assert_eq!(
                is_total,
                metric.kind == MetricKind::Counter,
                "{}",
                metric.name
            );
            assert!(metric.name.starts_with("sandbox_") && metric.help.ends_with('.'));
            let listed = format!("`{}`", metric.name);
            assert!(guide.contains(&listed), "the guide lists {}", metric.name);
        }
    }
}
