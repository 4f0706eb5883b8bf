//! Whether the next operation's confinement is built ahead.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, SandboxConfig};
use crate::parse_duration;

/// What holds where no layer says anything.
const IDLE_TIMEOUT: &str = "60s";
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
}

impl SessionConfig {
    pub(super) fn built_in() -> Self {
        Self {
            idle_timeout: Some(IDLE_TIMEOUT.to_owned()),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Some(text) = &self.idle_timeout else {
            return Ok(());
        };
        let reason = match parse_duration(text) {
            Ok(time) if time <= IDLE_TIMEOUT_MAX => return Ok(()),
            Ok(_) => "expected 24h at most".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(ConfigError {
            key: "session.idle_timeout".to_owned(),
            value: format!("{text:?}"),
            reason,
        })
    }
}

impl SandboxConfig {
    /// Returns how long the next operation's confinement is kept ready, `None` if it is not.
    pub fn session_idle_timeout(&self) -> Option<Duration> {
        let text = self.session.idle_timeout.as_deref().unwrap_or(IDLE_TIMEOUT);
        parse_duration(text).ok().filter(|time| !time.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> SandboxConfig {
        SandboxConfig {
            session: SessionConfig {
                idle_timeout: Some(text.to_owned()),
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
        assert!(with("0s").session.check().is_ok());
        assert!(with("25h").session.check().is_err());
        assert!(with("soon").session.check().is_err());
    }
}
