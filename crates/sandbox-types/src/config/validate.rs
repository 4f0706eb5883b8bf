//! Which values can be meant: the ranges of all numbers, and the checks of texts and paths.

use std::{path::Path, time::Duration};

use super::{NAMESPACES, SandboxConfig};
use crate::{AllowList, HostPattern, format_duration, parse_duration};

/// A value that cannot be meant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot use {value} for `{key}`: {reason}")]
pub struct ConfigError {
    /// The dotted key, as in `resource_limits.memory_mb`.
    pub key: String,
    /// What was given, in quotes if it is text.
    pub value: String,
    /// Why not, and what can be used.
    pub reason: String,
}

/// The numbers that one key takes.
#[derive(Clone, Copy, Debug)]
pub struct NumberRange {
    /// The dotted key.
    pub key: &'static str,
    /// The smallest number.
    pub min: i64,
    /// Why no smaller one.
    pub too_small: &'static str,
    /// The largest number.
    pub max: i64,
    /// Why no larger one.
    pub too_large: &'static str,
    /// What is counted; empty where the key says it.
    pub unit: &'static str,
    read: fn(&SandboxConfig) -> Option<i64>,
}

/// The longest wall-time limit.
const WALL_TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The profiles that are built in.
const SECCOMP_PROFILES: [&str; 3] = ["strict", "default", "permissive"];

const KEY_WALL_TIME: &str = "resource_limits.wall_time";
const KEY_CPU_TIME: &str = "resource_limits.cpu_time";
const PIB_IN_MIB: i64 = 1 << 30;
const EIB_IN_MIB: i64 = 1 << 40;
const NOTHING: &str = "0 or less would allow nothing";

/// The ranges of all numbers, limits first.
pub const RANGES: &[NumberRange] = &[
    NumberRange {
        key: "resource_limits.memory_mb",
        min: 4,
        too_small: "no program starts with less",
        max: PIB_IN_MIB,
        too_large: "no machine has more than 1 PiB",
        unit: "MiB",
        read: |it| it.resource_limits.memory_mb,
    },
    NumberRange {
        key: "resource_limits.cpu_percent",
        min: 1,
        too_small: NOTHING,
        max: 100 * 1024,
        too_large: "that is 1024 cores; without the key, CPU time is not limited",
        unit: "percent of one core",
        read: |it| it.resource_limits.cpu_percent,
    },
    NumberRange {
        key: "resource_limits.disk_mb",
        min: 1,
        too_small: NOTHING,
        max: EIB_IN_MIB,
        too_large: "no file system holds more than 1 EiB",
        unit: "MiB",
        read: |it| it.resource_limits.disk_mb,
    },
    NumberRange {
        key: "resource_limits.inodes",
        min: 1,
        too_small: NOTHING,
        max: 1 << 32,
        too_large: "no file system holds more than 2^32 files",
        unit: "files",
        read: |it| it.resource_limits.inodes,
    },
    NumberRange {
        key: "resource_limits.io_read_mb",
        min: 1,
        too_small: NOTHING,
        max: PIB_IN_MIB,
        too_large: "no device is that fast; without the key, reading is not limited",
        unit: "MiB a second",
        read: |it| it.resource_limits.io_read_mb,
    },
    NumberRange {
        key: "resource_limits.io_write_mb",
        min: 1,
        too_small: NOTHING,
        max: PIB_IN_MIB,
        too_large: "no device is that fast; without the key, writing is not limited",
        unit: "MiB a second",
        read: |it| it.resource_limits.io_write_mb,
    },
    NumberRange {
        key: "resource_limits.output_total_mb",
        min: 1,
        too_small: NOTHING,
        max: EIB_IN_MIB,
        too_large: "nobody reads more than 1 EiB",
        unit: "MiB",
        read: |it| it.resource_limits.output_total_mb,
    },
    NumberRange {
        key: "resource_limits.processes",
        min: 1,
        too_small: "the command itself is one",
        max: 4_194_304,
        too_large: "Linux has no more process ids",
        unit: "processes",
        read: |it| it.resource_limits.processes,
    },
    NumberRange {
        key: "resource_limits.open_files",
        min: 16,
        too_small: "a dynamic loader and a shell need some",
        max: 1_048_576,
        too_large: "the kernel's own limit fs.nr_open",
        unit: "files",
        read: |it| it.resource_limits.open_files,
    },
    NumberRange {
        key: "resource_limits.file_size_mb",
        min: 1,
        too_small: NOTHING,
        max: EIB_IN_MIB,
        too_large: "no file system holds more than 1 EiB",
        unit: "MiB",
        read: |it| it.resource_limits.file_size_mb,
    },
    NumberRange {
        key: "resource_limits.tmp_mb",
        min: 1,
        too_small: "programs need a /tmp",
        max: PIB_IN_MIB,
        too_large: "it lies in memory, and no machine has more than 1 PiB",
        unit: "MiB",
        read: |it| it.resource_limits.tmp_mb,
    },
    NumberRange {
        key: "resource_limits.output_kb",
        min: 1,
        too_small: "a report shows some output",
        max: 1_048_576,
        too_large: "captured output is held in memory: redirect more than 1 GiB to a file",
        unit: "KiB",
        read: |it| it.resource_limits.output_kb,
    },
    NumberRange {
        key: "safety_constraints.max_snapshots",
        min: 1,
        too_small: "0 or less would keep none",
        max: 1_000_000,
        too_large: "more cannot be listed in a useful time",
        unit: "snapshots",
        read: |it| it.safety_constraints.max_snapshots,
    },
    NumberRange {
        key: "safety_constraints.undo_keep",
        min: 1,
        too_small: "0 or less would keep none",
        max: 1_000_000,
        too_large: "more cannot be listed in a useful time",
        unit: "operations",
        read: |it| it.safety_constraints.undo_keep,
    },
    NumberRange {
        key: "safety_constraints.undo_keep_mb",
        min: 1,
        too_small: NOTHING,
        max: EIB_IN_MIB,
        too_large: "no file system holds more than 1 EiB",
        unit: "MiB",
        read: |it| it.safety_constraints.undo_keep_mb,
    },
    NumberRange {
        key: "safety_constraints.state_keep",
        min: 1,
        too_small: "0 or less would keep none",
        max: 1_000_000,
        too_large: "more cannot be listed in a useful time",
        unit: "versions",
        read: |it| it.safety_constraints.state_keep,
    },
    NumberRange {
        key: "safety_constraints.snapshot_exclude_larger_mb",
        min: 1,
        too_small: NOTHING,
        max: EIB_IN_MIB,
        too_large: "no file system holds more than 1 EiB",
        unit: "MiB",
        read: |it| it.safety_constraints.snapshot_exclude_larger_mb,
    },
    NumberRange {
        key: "safety_constraints.content.max_file_mb",
        min: 1,
        too_small: NOTHING,
        max: EIB_IN_MIB,
        too_large: "no file system holds more than 1 EiB",
        unit: "MiB",
        read: |it| it.safety_constraints.content.max_file_mb,
    },
    NumberRange {
        key: "safety_constraints.content.scan_file_mb",
        min: 1,
        too_small: "`action: off` scans nothing",
        max: 1 << 20,
        too_large: "1 TiB of one file takes most of an hour",
        unit: "MiB",
        read: |it| it.safety_constraints.content.scan_file_mb,
    },
    NumberRange {
        key: "safety_constraints.content.scan_total_mb",
        min: 1,
        too_small: "`action: off` scans nothing",
        max: 1 << 20,
        too_large: "1 TiB takes most of an hour",
        unit: "MiB",
        read: |it| it.safety_constraints.content.scan_total_mb,
    },
    NumberRange {
        key: "monitoring_config.collection_interval",
        min: 1,
        too_small: "sampling without a pause would use a whole core",
        max: 86_400,
        too_large: "one day",
        unit: "seconds",
        read: |it| it.monitoring_config.collection_interval,
    },
    NumberRange {
        key: "monitoring_config.health_check_interval",
        min: 1,
        too_small: "checking without a pause would use a whole core",
        max: 86_400,
        too_large: "one day",
        unit: "seconds",
        read: |it| it.monitoring_config.health_check_interval,
    },
    NumberRange {
        key: "monitoring_config.resource_thresholds.cpu_percent",
        min: 1,
        too_small: "every sandbox would be unhealthy",
        max: 100,
        too_large: "it is a share of what is allowed",
        unit: "percent",
        read: |it| it.monitoring_config.resource_thresholds.cpu_percent,
    },
    NumberRange {
        key: "monitoring_config.resource_thresholds.memory_percent",
        min: 1,
        too_small: "every sandbox would be unhealthy",
        max: 100,
        too_large: "it is a share of what is allowed",
        unit: "percent",
        read: |it| it.monitoring_config.resource_thresholds.memory_percent,
    },
];

impl NumberRange {
    fn check(&self, value: i64) -> Result<(), ConfigError> {
        let (bound, limit, why) = if value < self.min {
            ("at least", self.min, self.too_small)
        } else if value > self.max {
            ("at most", self.max, self.too_large)
        } else {
            return Ok(());
        };
        Err(ConfigError {
            key: self.key.to_owned(),
            value: value.to_string(),
            reason: format!("must be {bound} {limit} {} ({why})", self.unit),
        })
    }
}

/// Checks `value` against the range of `key`; a key that is in no range takes every number.
///
/// # Errors
///
/// Fails when the number is too small or too large.
pub fn check_number(key: &str, value: i64) -> Result<(), ConfigError> {
    match RANGES.iter().find(|range| range.key == key) {
        Some(range) => range.check(value),
        None => Ok(()),
    }
}

pub(super) fn check(config: &SandboxConfig) -> Result<(), ConfigError> {
    if let Some(id) = &config.sandbox_id {
        config
            .name()
            .map_err(|error| refuse("sandbox_id", id, error.to_string()))?;
    }
    if let Some(path) = &config.workspace_path {
        check_path("workspace_path", path)?;
    }
    check_limits(config)?;
    check_ranges(config, |key| !key.starts_with("resource_limits."))?;
    check_network(config)?;
    if let Some(path) = &config.safety_constraints.commit_policy {
        check_path("safety_constraints.commit_policy", path)?;
    }
    if let Some(text) = &config.safety_constraints.undo_keep_age {
        check_wall_time("safety_constraints.undo_keep_age", text)?;
    }
    if let Some(text) = &config.safety_constraints.state_keep_age {
        check_wall_time("safety_constraints.state_keep_age", text)?;
    }
    if let Some(text) = &config.safety_constraints.approval_expiry {
        check_wall_time("safety_constraints.approval_expiry", text)?;
    }
    config.session.check()?;
    if let Some(path) = &config.events.file {
        check_path("events.file", path)?;
    }
    for (at, extension) in config
        .safety_constraints
        .content
        .deny_extensions
        .iter()
        .enumerate()
    {
        let key = format!("safety_constraints.content.deny_extensions[{at}]");
        check_extension(&key, extension)?;
    }
    for (key, path) in config.isolation.paths() {
        check_path(&key, path)?;
    }
    for (at, path) in config.safety_constraints.rules.iter().enumerate() {
        check_path(&format!("safety_constraints.rules[{at}]"), path)?;
    }
    check_walls(config)?;
    for (at, name) in config.isolation.env_pass.iter().enumerate() {
        check_variable(&format!("isolation.env_pass[{at}]"), name)?;
    }
    for (name, value) in &config.isolation.env_set {
        let key = format!("isolation.env_set.{name}");
        check_variable(&key, name)?;
        check_no_nul(&key, value)?;
    }
    Ok(())
}

fn check_walls(config: &SandboxConfig) -> Result<(), ConfigError> {
    const KEY: &str = "isolation.seccomp";
    if let Some(profile) = &config.isolation.seccomp {
        check_no_nul(KEY, profile)?;
        if !SECCOMP_PROFILES.contains(&profile.as_str()) && !Path::new(profile).is_absolute() {
            let reason = "must be strict, default, permissive, or the absolute path of a profile";
            return Err(refuse(KEY, profile, reason.to_owned()));
        }
    }
    let mut degraded = config.isolation.allow_degraded.iter().enumerate();
    if let Some((at, wall)) = degraded.find(|(_, wall)| *wall != NAMESPACES) {
        let key = format!("isolation.allow_degraded[{at}]");
        let reason = "the one wall that may be missing is namespaces".to_owned();
        return Err(refuse(&key, wall, reason));
    }
    Ok(())
}

fn check_network(config: &SandboxConfig) -> Result<(), ConfigError> {
    const KEY: &str = "safety_constraints.network.allow_hosts";
    let network = &config.safety_constraints.network;
    for (at, text) in network.allow_hosts.iter().enumerate() {
        text.parse::<HostPattern>()
            .map_err(|error| refuse(&format!("{KEY}[{at}]"), text, error.reason))?;
    }
    let Some(first) = network.allow_hosts.first() else {
        return Ok(());
    };
    AllowList::parse(&network.allow_hosts).map_err(|error| refuse(KEY, first, error.reason))?;
    if network.allow_external == Some(true) {
        let reason = "`allow_external: true` gives operations the host's own network, where no list holds; \
                      set it to false, or drop the list";
        return Err(refuse(KEY, first, reason.to_owned()));
    }
    Ok(())
}

pub(super) fn check_limits(config: &SandboxConfig) -> Result<(), ConfigError> {
    check_ranges(config, |key| key.starts_with("resource_limits."))?;
    let limits = &config.resource_limits;
    for (key, text) in [
        (KEY_WALL_TIME, &limits.wall_time),
        (KEY_CPU_TIME, &limits.cpu_time),
    ] {
        if let Some(text) = text {
            check_wall_time(key, text)?;
        }
    }
    Ok(())
}

fn check_ranges(config: &SandboxConfig, wanted: fn(&str) -> bool) -> Result<(), ConfigError> {
    for range in RANGES.iter().filter(|range| wanted(range.key)) {
        if let Some(value) = (range.read)(config) {
            range.check(value)?;
        }
    }
    Ok(())
}

/// Returns the wall-time limit that `text` names.
pub(crate) fn check_wall_time(key: &str, text: &str) -> Result<Duration, ConfigError> {
    let span = parse_duration(text).map_err(|error| refuse(key, text, error.to_string()))?;
    if span.is_zero() {
        let reason = "must be longer than nothing, as in 30s".to_owned();
        return Err(refuse(key, text, reason));
    }
    if span > WALL_TIME_MAX {
        let reason = format!(
            "must be at most one year ({})",
            format_duration(WALL_TIME_MAX)
        );
        return Err(refuse(key, text, reason));
    }
    Ok(span)
}

fn check_path(key: &str, path: &Path) -> Result<(), ConfigError> {
    let text = path.to_string_lossy();
    check_no_nul(key, &text)?;
    if path.is_absolute() {
        return Ok(());
    }
    let reason = if text.starts_with('~') {
        "must be an absolute path, and `~` is not expanded here"
    } else {
        "must be an absolute path"
    };
    Err(refuse(key, &text, reason.to_owned()))
}

fn check_extension(key: &str, extension: &str) -> Result<(), ConfigError> {
    let name = extension.strip_prefix('.').unwrap_or(extension);
    let plain = |c: char| c.is_alphanumeric() || "-_+~".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        let reason = "must be the last part of a file name, as in exe";
        return Err(refuse(key, extension, reason.to_owned()));
    }
    Ok(())
}

fn check_variable(key: &str, name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || name.contains('=') {
        let reason = "the name of an environment variable has at least one character and no '='";
        return Err(refuse(key, name, reason.to_owned()));
    }
    check_no_nul(key, name)
}

fn check_no_nul(key: &str, text: &str) -> Result<(), ConfigError> {
    if text.contains('\0') {
        let reason = "must not contain a NUL byte: the kernel ends texts there".to_owned();
        return Err(refuse(key, text, reason));
    }
    Ok(())
}

/// Returns the error for a text, which is shown shortened and on one line.
fn refuse(key: &str, text: &str, reason: String) -> ConfigError {
    let shown: String = text.chars().take(80).collect();
    ConfigError {
        key: key.escape_debug().to_string(),
        value: format!("'{}'", shown.escape_debug()),
        reason,
    }
}
