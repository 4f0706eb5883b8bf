//! Secrets of the state that an operation is given: by name, never by value.

use serde::{Deserialize, Serialize};

/// A secret that an operation is given while it runs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct GivenSecret {
    /// Its key in the state of the sandbox.
    pub key: String,
    /// Where the operation finds it.
    pub place: SecretPlace,
}

/// Where an operation finds a secret.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretPlace {
    /// In this variable of its environment, without the line feed at its end.
    Variable(String),
    /// In this file of [`SECRETS_DIRECTORY`], byte for byte.
    File(String),
}

/// The directory of secrets that are files, inside: private to the operation, in memory, gone with it.
pub const SECRETS_DIRECTORY: &str = "/run/secrets";

impl GivenSecret {
    /// Gives the secret `key` in a variable. Without a name it is the key, in upper case and with `_` for what a
    /// variable cannot have in its name, unless the key is the name of a variable as it is.
    pub fn variable(key: impl Into<String>, name: Option<String>) -> Self {
        let key = key.into();
        let place = SecretPlace::Variable(name.unwrap_or_else(|| variable_of(&key)));
        Self { key, place }
    }

    /// Gives the secret `key` in a file, which is named like the key if it has no other name.
    pub fn file(key: impl Into<String>, name: Option<String>) -> Self {
        let key = key.into();
        let place = SecretPlace::File(name.unwrap_or_else(|| key.clone()));
        Self { key, place }
    }

    /// Returns why its place is none.
    pub fn unusable_place(&self) -> Option<&'static str> {
        match &self.place {
            SecretPlace::Variable(name) if !is_variable(name) => {
                Some("a variable has letters, digits and `_` in its name, and no digit first")
            }
            SecretPlace::File(name) if !is_file_name(name) => Some(
                "its file has letters, digits, `_`, `-` and `.` in its name, and begins with none of the last two",
            ),
            SecretPlace::Variable(_) | SecretPlace::File(_) => None,
        }
    }
}

fn variable_of(key: &str) -> String {
    if is_variable(key) {
        return key.to_owned();
    }
    let upper = |it: char| match it {
        'a'..='z' | 'A'..='Z' | '0'..='9' => it.to_ascii_uppercase(),
        _ => '_',
    };
    let name: String = key.chars().map(upper).collect();
    if is_variable(&name) {
        name
    } else {
        format!("_{name}")
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|it: char| it.is_ascii_digit())
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '_')
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['-', '.'])
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "_-.".contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_makes_a_variable() {
        let named = |key: &str| GivenSecret::variable(key, None).place;
        for (key, name) in [
            ("API_KEY", "API_KEY"),
            ("deploy-token", "DEPLOY_TOKEN"),
            ("aws/prod.key", "AWS_PROD_KEY"),
            ("2fa", "_2FA"),
        ] {
            assert_eq!(named(key), SecretPlace::Variable(name.to_owned()));
            assert_eq!(GivenSecret::variable(key, None).unusable_place(), None);
        }
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        for name in ["", "a=b", "1a", "a b", "é"] {
            assert!(
                GivenSecret::variable("k", Some(name.to_owned()))
                    .unusable_place()
                    .is_some()
            );
        }
        for name in ["", ".", "..", "a/b", "-x", "--", "a b", ".netrc"] {
            assert!(
                GivenSecret::file("k", Some(name.to_owned()))
                    .unusable_place()
                    .is_some()
            );
        }
        assert_eq!(GivenSecret::file("id_rsa.pub", None).unusable_place(), None);
    }
}
