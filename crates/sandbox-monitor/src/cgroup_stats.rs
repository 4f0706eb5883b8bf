//! The figures of a cgroup, version 1 or 2: whichever file is there.
//!
//! The file names are those of the kernel's documentation, `admin-guide/cgroup-v2.rst` and
//! `admin-guide/cgroup-v1/{memory,cpuacct,blkio-controller,pids}.rst`.

use std::{fs, path::Path, time::Duration};

const MEMORY_NOW: [&str; 2] = ["memory.current", "memory.usage_in_bytes"];
/// `memory.peak` is there since Linux 5.19.
const MEMORY_PEAK: [&str; 2] = ["memory.peak", "memory.max_usage_in_bytes"];
const TASKS_NOW: [&str; 1] = ["pids.current"];
/// There since Linux 6.1; before, the highest sample is the best that is known.
const TASKS_PEAK: [&str; 1] = ["pids.peak"];

/// Bytes read from and written to storage.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Io {
    pub(crate) read_bytes: u64,
    pub(crate) write_bytes: u64,
}

/// Returns the memory in use, in bytes, page cache included.
pub(crate) fn memory_now(directory: &Path) -> Option<u64> {
    first_number(directory, &MEMORY_NOW)
}

/// Returns the highest memory use, in bytes, page cache included.
pub(crate) fn memory_peak(directory: &Path) -> Option<u64> {
    first_number(directory, &MEMORY_PEAK)
}

/// Returns the file cache that counts as memory in use, in bytes: the kernel drops it when memory is
/// short. Shared memory is not in it.
pub(crate) fn file_cache(directory: &Path) -> Option<u64> {
    let text = fs::read_to_string(directory.join("memory.stat")).ok()?;
    // Version 1 has two counts, and those of the whole subtree begin with `total_`.
    let parts = [
        ["total_inactive_file", "total_active_file"],
        ["inactive_file", "active_file"],
    ];
    parts.iter().find_map(|names| {
        let values = names.iter().map(|name| value_of(&text, name));
        values.sum()
    })
}

/// Returns how many tasks (processes and threads) there are.
pub(crate) fn tasks_now(directory: &Path) -> Option<u64> {
    first_number(directory, &TASKS_NOW)
}

/// Returns the most tasks at once.
pub(crate) fn tasks_peak(directory: &Path) -> Option<u64> {
    first_number(directory, &TASKS_PEAK)
}

/// Returns the CPU time, user and system.
pub(crate) fn cpu(directory: &Path) -> Option<Duration> {
    // Version 1 has a `cpu.stat` too, without the time; its time is there when `cpuacct` is mounted
    // together with `cpu`.
    let unified = fs::read_to_string(directory.join("cpu.stat"))
        .ok()
        .and_then(|text| value_of(&text, "usage_usec"))
        .map(Duration::from_micros);
    unified.or_else(|| first_number(directory, &["cpuacct.usage"]).map(Duration::from_nanos))
}

/// Returns the bytes read and written, over all devices.
pub(crate) fn io(directory: &Path) -> Option<Io> {
    if let Ok(text) = fs::read_to_string(directory.join("io.stat")) {
        return Some(io_of_v2(&text));
    }
    [
        "blkio.throttle.io_service_bytes_recursive",
        "blkio.throttle.io_service_bytes",
    ]
    .iter()
    .find_map(|name| fs::read_to_string(directory.join(name)).ok())
    .map(|text| io_of_v1(&text))
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 …`, a line a device.
fn io_of_v2(text: &str) -> Io {
    let sum = |key: &str| {
        text.split_whitespace()
            .filter_map(|word| word.strip_prefix(key)?.parse().ok())
            .fold(0, u64::saturating_add)
    };
    Io {
        read_bytes: sum("rbytes="),
        write_bytes: sum("wbytes="),
    }
}

/// `8:0 Read 4096`, some lines a device, and a `Total`.
fn io_of_v1(text: &str) -> Io {
    let sum = |operation: &str| {
        text.lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(1);
                (words.next()? == operation).then(|| words.next()?.parse().ok())?
            })
            .fold(0, u64::saturating_add)
    };
    Io {
        read_bytes: sum("Read"),
        write_bytes: sum("Write"),
    }
}

fn first_number(directory: &Path, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| {
        let text = fs::read_to_string(directory.join(name)).ok()?;
        text.trim().parse().ok()
    })
}

fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}
