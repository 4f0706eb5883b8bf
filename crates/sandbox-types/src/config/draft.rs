//! A configuration written in code, step by step.

use std::path::PathBuf;

use super::{ConfigError, MIB, SafetyProfile, SandboxConfig};
use crate::Bytes;

/// A configuration that is not checked yet; [`build`](Self::build) checks it.
#[derive(Clone, Debug)]
pub struct ConfigDraft {
    config: SandboxConfig,
    /// The first text that could not be read: reported by `build`, so that calls can be chained.
    error: Option<ConfigError>,
}

impl ConfigDraft {
    pub(super) fn new(sandbox_id: String) -> Self {
        Self {
            config: SandboxConfig {
                sandbox_id: Some(sandbox_id),
                ..SandboxConfig::default()
            },
            error: None,
        }
    }

    /// Sets the directory that operations may change.
    #[must_use]
    pub fn workspace(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.workspace_path = Some(path.into());
        self
    }

    /// Limits the memory of an operation: whole MiB, as in `512M` or `1GiB`.
    #[must_use]
    pub fn memory(mut self, size: &str) -> Self {
        self.config.resource_limits.memory_mb = self.mib("resource_limits.memory_mb", size);
        self
    }

    /// Limits the CPU time of an operation, in percent of one core.
    #[must_use]
    pub fn cpu_percent(mut self, percent: i64) -> Self {
        self.config.resource_limits.cpu_percent = Some(percent);
        self
    }

    /// Limits what an operation may add to the workspace: whole MiB, as in `2G`.
    #[must_use]
    pub fn disk(mut self, size: &str) -> Self {
        self.config.resource_limits.disk_mb = self.mib("resource_limits.disk_mb", size);
        self
    }

    /// Limits the time from start to end, as in `30s`.
    #[must_use]
    pub fn wall_time(mut self, span: impl Into<String>) -> Self {
        self.config.resource_limits.wall_time = Some(span.into());
        self
    }

    /// Sets how strictly commands are judged.
    #[must_use]
    pub fn profile(mut self, profile: SafetyProfile) -> Self {
        self.config.safety_constraints.profile = Some(profile);
        self
    }

    /// Returns the checked configuration.
    ///
    /// # Errors
    ///
    /// Fails at the first value that could not be read or cannot be meant.
    pub fn build(self) -> Result<SandboxConfig, ConfigError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.config.validate()?;
        Ok(self.config)
    }

    fn mib(&mut self, key: &str, size: &str) -> Option<i64> {
        match whole_mib(size) {
            Ok(mib) => Some(mib),
            Err(reason) => {
                self.error.get_or_insert(ConfigError {
                    key: key.to_owned(),
                    value: format!("'{size}'"),
                    reason,
                });
                None
            }
        }
    }
}

fn whole_mib(size: &str) -> Result<i64, String> {
    let bytes: Bytes = size
        .parse()
        .map_err(|error: crate::BytesError| error.to_string())?;
    let whole = bytes.get().is_multiple_of(MIB);
    whole
        .then(|| i64::try_from(bytes.get() / MIB).ok())
        .flatten()
        .ok_or_else(|| "must be a whole number of MiB".to_owned())
}
