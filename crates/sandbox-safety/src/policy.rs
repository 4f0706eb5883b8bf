//! From which risk on a person is asked, and what is refused.

use std::{fmt, str::FromStr};

/// A named strictness.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// Asks from low risk on.
    Strict,
    /// Asks from medium risk on.
    #[default]
    Default,
    /// Asks from high risk on.
    Permissive,
    /// Reports and never blocks.
    Audit,
}

/// The text names no profile.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{text}' is not a profile: expected strict, default, permissive or audit")]
pub struct ProfileError {
    /// What was given.
    pub text: String,
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        [Self::Strict, Self::Default, Self::Permissive, Self::Audit]
            .into_iter()
            .find(|profile| profile.to_string() == text)
            .ok_or_else(|| ProfileError {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Default => "default",
            Self::Permissive => "permissive",
            Self::Audit => "audit",
        })
    }
}

/// What the judge decides by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// How strict it is.
    pub profile: Profile,
}

impl Policy {
    /// Returns the policy of a profile.
    pub const fn of(profile: Profile) -> Self {
        Self { profile }
    }
}
