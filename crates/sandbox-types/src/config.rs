//! The configuration of a sandbox, as its YAML has it.
//!
//! One type serves every layer (files, environment, flags): what a layer does not say is `None` or
//! empty, and [`SandboxConfig::built_in`] has what nobody said. Amounts are signed and durations are
//! text, so that a negative or malformed one is refused with its key, not with a parser's message.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AllowList, IdError, Limits, NetworkAccess, SandboxName, parse_duration};

mod content;
mod draft;
mod kept;
mod limits;
mod schema;
mod session;
#[cfg(test)]
mod tests;
mod validate;

pub use content::{ContentConstraints, ContentSettings, FindingSeverity};
pub use draft::ConfigDraft;
use limits::MIB;
pub use schema::schema;
pub use session::SessionConfig;
pub(crate) use validate::check_wall_time;
pub use validate::{ConfigError, NumberRange, RANGES, check_number};

/// The configuration of one sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Name of the sandbox: 1 to 64 letters, digits, `-`, `_` and `.`. Without it, a name is derived
    /// from the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// The directory that operations may change, as an absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_path: Option<PathBuf>,
    /// Amounts that each operation may use. One that is written here must hold: a host that cannot
    /// enforce it refuses the run, unless `best_effort` is set.
    #[serde(skip_serializing_if = "is_default")]
    pub resource_limits: ResourceLimits,
    /// What may be done, and how much is kept for taking it back.
    #[serde(skip_serializing_if = "is_default")]
    pub safety_constraints: SafetyConstraints,
    /// How often the sandbox is measured, and when it is called unhealthy.
    #[serde(skip_serializing_if = "is_default")]
    pub monitoring_config: MonitoringConfig,
    /// What an operation sees of the host besides the workspace. Lists of several configuration
    /// layers add up.
    #[serde(skip_serializing_if = "is_default")]
    pub isolation: IsolationConfig,
    /// Where events go besides the journal.
    #[serde(skip_serializing_if = "is_default")]
    pub events: EventsConfig,
    /// Whether the next operation's confinement is built ahead.
    #[serde(skip_serializing_if = "is_default")]
    pub session: SessionConfig,
}

/// Amounts that each operation may use; see [`Limits`] for what they mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct ResourceLimits {
    /// Memory of all processes of an operation together, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<i64>,
    /// CPU time of all processes together, in percent of one core: 150 is one and a half cores.
    /// Without it, CPU time is not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<i64>,
    /// CPU time of all processes together, from start to end, as in `30s`, `5m`. Without it, only
    /// `wall_time` ends an operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<String>,
    /// What an operation may add to the workspace, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<i64>,
    /// Files and directories that an operation may add to or change in the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<i64>,
    /// What an operation may read from the workspace's device, in MiB a second. Unlimited without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_read_mb: Option<i64>,
    /// What an operation may write to the workspace's device, in MiB a second. Unlimited without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_write_mb: Option<i64>,
    /// Processes and threads alive at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<i64>,
    /// Time from start to end, as in `30s`, `5m`, `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_time: Option<String>,
    /// Open files of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<i64>,
    /// Size of one file, in MiB. Without it, only `disk_mb` limits a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size_mb: Option<i64>,
    /// Size of each private temporary file system (`/tmp`, `/dev/shm`, the home), in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmp_mb: Option<i64>,
    /// Captured output of each stream, in KiB; the rest is counted only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_kb: Option<i64>,
    /// What an operation may print on both streams together, in MiB: more ends it. Without it, it may
    /// print without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_total_mb: Option<i64>,
    /// Whether a limit that this host cannot enforce is dropped and reported, instead of refusing
    /// the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_effort: Option<bool>,
}

/// What may be done, and how much is kept for taking it back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct SafetyConstraints {
    /// How strictly a command is judged before it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<SafetyProfile>,
    /// Rule packs: more rules, other scores, and what is allowed, asked and denied here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PathBuf>,
    /// Snapshots that are kept; the oldest goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_snapshots: Option<i64>,
    /// Whether snapshots are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress_snapshots: Option<bool>,
    /// Whether the snapshots of a new repository are encrypted; `sandbox snapshot encrypt` encrypts those that are
    /// there. See docs/guide/snapshots.md for the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypt_snapshots: Option<bool>,
    /// What snapshots leave out, as in a `.gitignore` file at the root of the workspace.
    #[serde(skip_serializing_if = "is_default")]
    pub snapshot_exclude: Vec<String>,
    /// The largest file in a snapshot, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_exclude_larger_mb: Option<i64>,
    /// A file that says what becomes of changes by their paths, before they reach the workspace. Without it,
    /// those of files that run or configure programs are reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_policy: Option<PathBuf>,
    /// Operations that can be undone; what the oldest replaced or deleted is dropped first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_keep: Option<i64>,
    /// How long an operation can be undone, as in `24h`. Without it, as long as it is among the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_keep_age: Option<String>,
    /// How much may be kept for undoing, in MiB; the newest operation can be undone whatever it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_keep_mb: Option<i64>,
    /// Old versions that are kept of each key of the state. A snapshot keeps what it needs besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_keep: Option<i64>,
    /// How long a version of a key is kept after another has replaced it, as in `720h`. Without it, as long as it is
    /// among the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_keep_age: Option<String>,
    /// How long an operation that waits for approval can be approved, as in `30m`, `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_expiry: Option<String>,
    /// What an operation may reach over the network.
    #[serde(skip_serializing_if = "is_default")]
    pub network: NetworkConstraints,
    /// What operations may write into files.
    #[serde(skip_serializing_if = "is_default")]
    pub content: ContentConstraints,
}

/// What an operation may reach over the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct NetworkConstraints {
    /// Whether operations use the host's own network. Otherwise they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_external: Option<bool>,
    /// The hosts that operations may reach, as in `example.com`, `*.example.com:443` or `10.0.0.0/8`.
    /// Lists of several configuration layers add up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_hosts: Vec<String>,
}

/// How strictly a command is judged before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SafetyProfile {
    /// Asks early.
    Strict,
    /// Asks for what undo cannot take back.
    #[default]
    Default,
    /// Asks late.
    Permissive,
    /// Never asks; findings are only recorded.
    Audit,
}

/// How often the sandbox is measured, and when it is called unhealthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct MonitoringConfig {
    /// Time between two measurements, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection_interval: Option<i64>,
    /// Time between two health checks, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_interval: Option<i64>,
    /// Whether the health checks of a program that keeps the sandbox open repair what they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_recover: Option<bool>,
    /// Use above which the sandbox is called unhealthy.
    #[serde(skip_serializing_if = "is_default")]
    pub resource_thresholds: ResourceThresholds,
}

/// Use above which the sandbox is called unhealthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct ResourceThresholds {
    /// CPU time, in percent of what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<i64>,
    /// Memory, in percent of what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_percent: Option<i64>,
}

/// What an operation sees of the host besides the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct IsolationConfig {
    /// More host paths to see, read-only; absolute.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<PathBuf>,
    /// More host paths to see and to change, outside of any transaction; absolute.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<PathBuf>,
    /// Paths to hide, in the workspace too; absolute.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<PathBuf>,
    /// Names of the caller's environment variables that an operation sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_pass: Vec<String>,
    /// Environment variables that every operation gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env_set: BTreeMap<String, String>,
    /// What an operation may ask of the kernel: `strict`, `default`, `permissive`, or the absolute path
    /// of a profile of your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// Walls that may be missing where this host does not have them; without it, such a host runs
    /// nothing. `namespaces` leaves Landlock and the system call filter, and no transaction: an operation
    /// writes to the workspace directly, with a snapshot taken before for `undo`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_degraded: Vec<String>,
}

/// Where events go besides the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct EventsConfig {
    /// A file to which each event is appended as one line of JSON, as an absolute path. It is made
    /// with mode 0600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// The one wall that [`IsolationConfig::allow_degraded`] can name.
pub(crate) const NAMESPACES: &str = "namespaces";

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl SandboxConfig {
    /// Starts a configuration in code; the rest has the built-in defaults.
    ///
    /// # Examples
    ///
    /// ```
    /// use sandbox_types::SandboxConfig;
    ///
    /// let config = SandboxConfig::builder("my-sandbox")
    ///     .workspace("/tmp/my-sandbox")
    ///     .memory("1GiB")
    ///     .cpu_percent(50)
    ///     .build()?;
    /// assert_eq!(config.resource_limits.memory_mb, Some(1024));
    /// # Ok::<(), sandbox_types::config::ConfigError>(())
    /// ```
    pub fn builder(sandbox_id: impl Into<String>) -> ConfigDraft {
        ConfigDraft::new(sandbox_id.into())
    }

    /// Returns what holds where no layer says anything.
    pub fn built_in() -> Self {
        Self {
            resource_limits: ResourceLimits::of(&Limits::default()),
            safety_constraints: SafetyConstraints {
                profile: Some(SafetyProfile::default()),
                rules: Vec::new(),
                max_snapshots: Some(10),
                compress_snapshots: Some(true),
                encrypt_snapshots: Some(false),
                snapshot_exclude: Vec::new(),
                snapshot_exclude_larger_mb: None,
                commit_policy: None,
                undo_keep: Some(50),
                undo_keep_age: None,
                undo_keep_mb: None,
                state_keep: Some(100),
                state_keep_age: None,
                approval_expiry: Some("24h".to_owned()),
                network: NetworkConstraints {
                    allow_external: Some(false),
                    allow_hosts: Vec::new(),
                },
                content: ContentConstraints::built_in(),
            },
            monitoring_config: MonitoringConfig {
                collection_interval: Some(30),
                health_check_interval: Some(60),
                auto_recover: Some(true),
                resource_thresholds: ResourceThresholds {
                    cpu_percent: Some(80),
                    memory_percent: Some(80),
                },
            },
            session: SessionConfig::built_in(),
            isolation: IsolationConfig {
                seccomp: Some("default".to_owned()),
                ..IsolationConfig::default()
            },
            ..Self::default()
        }
    }

    /// Returns the sandbox's name, if one is configured.
    ///
    /// # Errors
    ///
    /// Fails when `sandbox_id` cannot name a sandbox.
    pub fn name(&self) -> Result<Option<SandboxName>, IdError> {
        self.sandbox_id.as_deref().map(str::parse).transpose()
    }

    /// Returns the limits of each operation: what is configured is requested, the rest built in.
    ///
    /// # Errors
    ///
    /// Fails when a limit is zero, negative, absurd or not a duration.
    pub fn limits(&self) -> Result<Limits, ConfigError> {
        validate::check_limits(self)?;
        Ok(self.resource_limits.over(Limits::default()))
    }

    /// Returns what operations may reach over the network.
    pub fn network(&self) -> NetworkAccess {
        let network = &self.safety_constraints.network;
        if network.allow_external == Some(true) {
            return NetworkAccess::Host;
        }
        match AllowList::parse(&network.allow_hosts) {
            Ok(list) if !list.patterns().is_empty() => NetworkAccess::Allow(list),
            // What is checked before is always a list; what is none allows nothing.
            Ok(_) | Err(_) => NetworkAccess::None,
        }
    }

    /// Returns how strictly commands are judged.
    pub fn profile(&self) -> SafetyProfile {
        self.safety_constraints.profile.unwrap_or_default()
    }

    /// Returns how long an operation that waits for approval can be approved.
    pub fn approval_expiry(&self) -> Duration {
        let built_in = Self::built_in().safety_constraints.approval_expiry;
        let text = self.safety_constraints.approval_expiry.as_ref();
        let text = text.or(built_in.as_ref());
        text.and_then(|it| parse_duration(it).ok())
            .unwrap_or_default()
    }

    /// Checks every value that is present.
    ///
    /// # Errors
    ///
    /// Fails at the first value that cannot be meant; the error has its key and the reason.
    pub fn validate(&self) -> Result<(), ConfigError> {
        validate::check(self)
    }
}

impl IsolationConfig {
    /// Returns whether operations may run without namespaces where the host has none.
    pub fn allows_degraded_namespaces(&self) -> bool {
        self.allow_degraded.iter().any(|wall| wall == NAMESPACES)
    }

    /// Returns every configured path with its key.
    fn paths(&self) -> impl Iterator<Item = (String, &Path)> {
        [
            ("read", &self.read),
            ("write", &self.write),
            ("hide", &self.hide),
        ]
        .into_iter()
        .flat_map(|(list, paths)| {
            paths
                .iter()
                .enumerate()
                .map(move |(at, path)| (format!("isolation.{list}[{at}]"), path.as_path()))
        })
    }
}
