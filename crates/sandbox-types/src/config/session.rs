//! Whether the next operation's confinement is built ahead.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, SandboxConfig};
use crate::parse_duration;

/// What holds where no layer says anything.
const IDLE_TIMEOUT: &str = "60s";
const PATIENCE: &str = "20ms";
/// More than any confinement takes.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// The longest, so that nothing is kept by accident for days.
const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether the next operation's confinement is built ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct SessionConfig {
    /// How long a process of ours keeps the confinement of the next operation ready after the last
    /// one, as in `30s`, `5m`. `0s` keeps none: every operation builds its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<String>,

    /// How long an operation waits for a confinement that is being built; then it builds its own. Slow machines, as
    /// emulated ones, need more than the built-in `20ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<String>,
}

impl SessionConfig {
    pub(super) fn built_in() -> Self {
        Self {
            idle_timeout: Some(IDLE_TIMEOUT.to_owned()),
            patience: Some(PATIENCE.to_owned()),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_time(
            "idle_timeout",
            self.idle_timeout.as_deref(),
            IDLE_TIMEOUT_MAX,
            "24h",
        )?;
        check_time("patience", self.patience.as_deref(), PATIENCE_MAX, "1m")
    }
}

fn check_time(
    key: &str,
    text: Option<&str>,
    most: Duration,
    most_in_words: &str,
) -> Result<(), ConfigError> {
    let Some(text) = text else {
        return Ok(());
    };
    let reason = match parse_duration(text) {
        Ok(time) if time <= most => return Ok(()),
        Ok(_) => format!("expected {most_in_words} at most"),
        Err(error) => error.to_string(),
    };
    Err(ConfigError {
        key: format!("session.{key}"),
        value: format!("{text:?}"),
        reason,
    })
}

impl SandboxConfig {
    /// Returns how long the next operation's confinement is kept ready, `None` if it is not.
    pub fn session_idle_timeout(&self) -> Option<Duration> {
        let text = self.session.idle_timeout.as_deref().unwrap_or(IDLE_TIMEOUT);
        parse_duration(text).ok().filter(|time| !time.is_zero())
    }

    /// Returns how long an operation waits for a confinement that is being built.
    pub fn session_patience(&self) -> Duration {
        let text = self.session.patience.as_deref().unwrap_or(PATIENCE);
        parse_duration(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> SandboxConfig {
        SandboxConfig {
            session: SessionConfig {
                idle_timeout: Some(text.to_owned()),
                patience: None,
            },
            ..SandboxConfig::default()
        }
    }

    #[test]
    fn nothing_is_kept_for_no_time() {
        assert_eq!(
            SandboxConfig::default().session_idle_timeout(),
            Some(Duration::from_secs(60))
        );
        assert_eq!(with("0s").session_idle_timeout(), None);
        assert_eq!(
            with("5m").session_idle_timeout(),
            Some(Duration::from_secs(300))
        );
        assert_eq!(with("5m").session_patience(), Duration::from_millis(20));
        assert!(with("0s").session.check().is_ok());
        assert!(with("25h").session.check().is_err());
        assert!(with("soon").session.check().is_err());
    }
}
