//! Writes limits into a cgroup's files, whose names and units differ between the versions.

use std::{fs, path::Path};

use super::{Controller, Wanted, write_file};

/// The period that CPU bandwidth is counted in; also the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;

/// Which set of files a cgroup has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// One hierarchy per controller.
    One,
    /// The unified hierarchy.
    Two,
}

/// Sets what `wanted` says of `controller`, or says why it does not hold.
pub(super) fn set(
    path: &Path,
    version: Version,
    controller: Controller,
    wanted: &Wanted,
) -> Result<(), String> {
    match controller {
        Controller::Memory => wanted
            .memory
            .map_or(Ok(()), |limit| set_memory(path, version, limit.get())),
        Controller::Cpu => wanted
            .cpu_percent
            .map_or(Ok(()), |percent| set_cpu(path, version, percent)),
        Controller::Pids => wanted
            .processes
            .map_or(Ok(()), |limit| write(path, "pids.max", &limit.to_string())),
        Controller::Io => wanted
            .io
            .as_ref()
            .map_or(Ok(()), |limit| limit.set(path, version)),
        Controller::CpuAccounting | Controller::Freezer => Ok(()),
    }
}

/// Swap must not stretch the limit: without swap accounting there is none to forbid, or no way to.
fn set_memory(path: &Path, version: Version, bytes: u64) -> Result<(), String> {
    let bytes = bytes.to_string();
    match version {
        Version::One => {
            write(path, "memory.limit_in_bytes", &bytes)?;
            write_if_there(path, "memory.memsw.limit_in_bytes", &bytes)
        }
        Version::Two => {
            write(path, "memory.max", &bytes)?;
            write_if_there(path, "memory.swap.max", "0")?;
            // One member killed is an operation broken: the kernel ends all of it.
            write_if_there(path, "memory.oom.group", "1")
        }
    }
}

fn set_cpu(path: &Path, version: Version, percent: u32) -> Result<(), String> {
    let quota_us = (CPU_PERIOD_US / 100 * u64::from(percent)).max(1000);
    match version {
        Version::Two => write(path, "cpu.max", &format!("{quota_us} {CPU_PERIOD_US}")),
        Version::One => {
            write(path, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
            let written = write(path, "cpu.cfs_quota_us", &quota_us.to_string());
            // Version 1 refuses more than the parent has; then the parent's limit is the one that holds.
            written.or_else(|reason| match parent_quota_us(path) {
                Some(quota) if quota <= quota_us => Ok(()),
                Some(_) | None => Err(reason),
            })
        }
    }
}

/// Returns the nearest bandwidth limit above `path`, scaled to our period.
fn parent_quota_us(path: &Path) -> Option<u64> {
    path.ancestors().skip(1).find_map(|parent| {
        let number = |file| -> Option<i64> {
            let text = fs::read_to_string(parent.join(file)).ok()?;
            text.trim().parse().ok()
        };
        // A quota of -1 is none.
        let quota = u64::try_from(number("cpu.cfs_quota_us")?).ok()?;
        let period = u64::try_from(number("cpu.cfs_period_us")?).ok()?;
        (quota * CPU_PERIOD_US).checked_div(period)
    })
}

pub(super) fn write(path: &Path, file: &str, text: &str) -> Result<(), String> {
    let path = path.join(file);
    write_file(&path, text)
        .map_err(|source| format!("cannot write {text} to {}: {source}", path.display()))
}

fn write_if_there(path: &Path, file: &str, text: &str) -> Result<(), String> {
    if path.join(file).exists() {
        write(path, file, text)
    } else {
        Ok(())
    }
}
