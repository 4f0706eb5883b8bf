//! The built-in checks of the host. The numbers behind each are constants here and in the guide.

use std::path::{Path, PathBuf};

use crate::{
    health::{Health, HealthCheck},
    host_stats::{DiskSpace, HostUsage},
};

/// More of the memory used than this, in percent: degraded, failed.
const MEMORY_USED_PERCENT: (f64, f64) = (95.0, 99.0);
/// More of the disk or its inodes used than this, in percent: degraded, failed.
const DISK_USED_PERCENT: (f64, f64) = (90.0, 99.0);
/// What cannot fail, only degrade.
const NEVER: f64 = f64::INFINITY;
/// Less room than this has failed, whatever the percentage: nothing can be committed safely.
const DISK_AVAILABLE_MIN_BYTES: u64 = 16 * 1024 * 1024;
/// All tasks waited for memory or storage in more than this share of the last minute, in percent.
const PRESSURE_FULL_PERCENT: f64 = 20.0;
/// More runnable tasks than this for each CPU, over five minutes.
const LOAD_PER_CPU_MAX: f64 = 8.0;

/// Checks one property of the host.
#[derive(Clone, Debug)]
pub struct HostCheck {
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Memory,
    Load,
    Pressure,
    Disk(PathBuf),
}

impl HostCheck {
    /// Checks that there is memory available.
    pub fn memory() -> Self {
        Self { what: What::Memory }
    }

    /// Checks that the host is not overloaded for minutes. Slow is not broken: degraded at most.
    pub fn load() -> Self {
        Self { what: What::Load }
    }

    /// Checks that tasks do not mostly wait for memory or storage: degraded at most.
    pub fn pressure() -> Self {
        Self {
            what: What::Pressure,
        }
    }

    /// Checks that there is room on the file system that holds `path`.
    pub fn disk(path: &Path) -> Self {
        Self {
            what: What::Disk(path.to_owned()),
        }
    }
}

impl HealthCheck for HostCheck {
    fn name(&self) -> &str {
        match &self.what {
            What::Memory => "host.memory",
            What::Load => "host.load",
            What::Pressure => "host.pressure",
            What::Disk(_) => "host.disk",
        }
    }

    fn check(&self) -> Health {
        let host = |judge: fn(&HostUsage) -> Health| match HostUsage::now() {
            Ok(usage) => judge(&usage),
            Err(error) => Health::failed(sandbox_types::causes(&error).join(": ")),
        };
        match &self.what {
            What::Memory => host(memory),
            What::Load => host(load),
            What::Pressure => host(pressure),
            What::Disk(path) => match DiskSpace::of(path) {
                Ok(space) => disk(space),
                Err(error) => Health::failed(format!("cannot look at {}: {error}", path.display())),
            },
        }
    }
}

fn memory(host: &HostUsage) -> Health {
    let used = host.memory_used_percent();
    let detail = format!(
        "{used:.0} % of the memory is used, {} MiB are available",
        host.memory_available_bytes >> 20
    );
    graded(used, MEMORY_USED_PERCENT, detail)
}

fn load(host: &HostUsage) -> Health {
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 CPUs")]
    let cpus = host.cpu_count.max(1) as f64;
    let detail = format!(
        "{:.1} tasks run or wait on {} CPUs, over five minutes",
        host.load5, host.cpu_count
    );
    graded(host.load5 / cpus, (LOAD_PER_CPU_MAX, NEVER), detail)
}

fn pressure(host: &HostUsage) -> Health {
    let Some(pressure) = host.pressure else {
        return Health::healthy("not known: the kernel does not tell (PSI)");
    };
    let detail = format!(
        "all tasks waited for memory {:.0} % and for storage {:.0} % of the last minute",
        pressure.memory_full, pressure.io_full
    );
    let worst = pressure.memory_full.max(pressure.io_full);
    graded(worst, (PRESSURE_FULL_PERCENT, NEVER), detail)
}

fn disk(space: DiskSpace) -> Health {
    let (bytes, inodes) = (space.used_percent(), space.inodes_used_percent());
    let detail = format!(
        "{bytes:.0} % of the disk and {inodes:.0} % of its inodes are used, {} MiB are left",
        space.available_bytes >> 20
    );
    if space.available_bytes < DISK_AVAILABLE_MIN_BYTES {
        return Health::failed(detail);
    }
    graded(bytes.max(inodes), DISK_USED_PERCENT, detail)
}

/// Returns the health of a value that is worse the higher it is.
fn graded(value: f64, (degraded, failed): (f64, f64), detail: String) -> Health {
    if value > failed {
        Health::failed(detail)
    } else if value > degraded {
        Health::degraded(detail)
    } else {
        Health::healthy(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{health::HealthState, host_stats::Pressure};

    fn host() -> HostUsage {
        HostUsage {
            cpu_count: 2,
            cpu_busy_seconds: 1.0,
            load1: 0.0,
            load5: 0.5,
            memory_total_bytes: 1000 << 20,
            memory_available_bytes: 500 << 20,
            pressure: Some(Pressure::default()),
        }
    }

    fn space(available_percent: u64) -> DiskSpace {
        DiskSpace {
            total_bytes: 100 << 30,
            available_bytes: available_percent << 30,
            inodes_total: 0,
            inodes_available: 0,
        }
    }

    #[test]
    fn a_quiet_host_is_healthy() {
        for judge in [memory, load, pressure] {
            assert_eq!(judge(&host()).state, HealthState::Healthy);
        }
        assert_eq!(disk(space(50)).state, HealthState::Healthy);
    }

    #[test]
    fn each_shortage_is_found() {
        let mut short = host();
        short.memory_available_bytes = 40 << 20;
        assert_eq!(memory(&short).state, HealthState::Degraded);
        short.memory_available_bytes = 5 << 20;
        assert_eq!(memory(&short).state, HealthState::Failed);
        short.load5 = 40.0;
        assert_eq!(load(&short).state, HealthState::Degraded);
        short.pressure = Some(Pressure {
            io_full: 60.0,
            ..Pressure::default()
        });
        assert_eq!(pressure(&short).state, HealthState::Degraded);
        assert_eq!(disk(space(9)).state, HealthState::Degraded);
        assert_eq!(disk(space(0)).state, HealthState::Failed);
        let no_inodes = DiskSpace {
            inodes_total: 1000,
            inodes_available: 1,
            ..space(50)
        };
        assert_eq!(disk(no_inodes).state, HealthState::Failed);
    }
}
