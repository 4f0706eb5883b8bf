//! The configuration that holds: layers of files, environment and flags over the built-in defaults.
//!
//! ```text
//! built-in < /etc/sandbox/config.yaml < user's file < the sandbox's own < --config < SANDBOX_* < flags
//! ```
//!
//! Each layer is checked by itself before it is merged, so that an error names the file, line and
//! column (or the variable) that is wrong. A single value of a later layer replaces the earlier one;
//! lists and maps add up. A `null` takes a value of an earlier layer back to the built-in default.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use figment::Figment;
use sandbox_types::{ConfigError, SandboxConfig};
use serde_json::Value;

mod commit_policy;
mod error;
mod layer;
mod operation;
mod seccomp;
mod shape;
mod small_file;
#[cfg(test)]
mod tests;
mod yaml;

pub use commit_policy::{CommitPolicy, CommitPolicyError, commit_policy, commit_policy_from_text};
pub use error::ConfigLoadError;
pub(crate) use operation::operation_from_text_with;
pub use operation::{OperationTextError, operation_from_text};
pub use seccomp::{SeccompError, seccomp_from_text, seccomp_profile};

use layer::{Layer, Presence};

/// Where to look; nothing is read that is not named here.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The machine's file, usually `/etc/sandbox/config.yaml`; need not be there.
    pub system: Option<PathBuf>,
    /// The user's file, usually `$XDG_CONFIG_HOME/sandbox/config.yaml`; need not be there.
    pub user: Option<PathBuf>,
    /// What was stored with the sandbox; must be there.
    pub sandbox: Option<PathBuf>,
    /// The file of `--config`; must be there.
    pub explicit: Option<PathBuf>,
    /// Environment variables by name; those that are not `SANDBOX_*` are ignored.
    pub environment: Vec<(String, String)>,
    /// What the command line says.
    pub flags: SandboxConfig,
}

/// Where a value comes from.
#[derive(Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub enum Origin {
    /// Built in.
    #[default]
    Default,
    /// A configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built in"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable { name } => write!(f, "the environment variable {name}"),
            Self::Flag => f.write_str("the command line"),
        }
    }
}

/// The configuration that holds, and where each of its values comes from.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    /// What the layers say. What no layer says is absent here: it has the built-in default.
    pub config: SandboxConfig,
    /// The origin of each value in `config`, by dotted key; of lists, the last layer that added to it.
    pub origins: BTreeMap<String, Origin>,
}

/// One value of the complete configuration, as `config show` prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The dotted key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

impl Effective {
    /// Returns where the value of `key` comes from.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Returns every value that holds, built-in ones too, sorted by key.
    pub fn entries(&self) -> Vec<Entry> {
        let mut values = BTreeMap::new();
        for config in [&SandboxConfig::built_in(), &self.config] {
            flatten(
                &serde_json::to_value(config).unwrap_or_default(),
                "",
                &mut values,
            );
        }
        values
            .into_iter()
            .map(|(key, value)| Entry {
                origin: self.origin(&key).clone(),
                key,
                value,
            })
            .collect()
    }
}

fn flatten(value: &Value, path: &str, into: &mut BTreeMap<String, Value>) {
    let Some(fields) = value.as_object() else {
        into.insert(path.to_owned(), value.clone());
        return;
    };
    for (key, value) in fields {
        flatten(value, &join(path, key), into);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Reads, checks and merges all layers.
///
/// # Errors
///
/// Fails when a file cannot be read, a layer has an unknown key, a wrong type or a value that cannot be
/// meant, or two layers contradict each other.
pub fn load(layers: &Layers) -> Result<Effective, ConfigLoadError> {
    let files = [
        (&layers.system, Presence::Optional),
        (&layers.user, Presence::Optional),
        (&layers.sandbox, Presence::Required),
        (&layers.explicit, Presence::Required),
    ];
    let mut read = Vec::new();
    for (path, presence) in files {
        if let Some(path) = path {
            read.extend(Layer::of_file(path, presence)?);
        }
    }
    for (name, text) in &layers.environment {
        read.extend(Layer::of_variable(name, text)?);
    }
    if layers.flags != SandboxConfig::default() {
        read.push(Layer::of_flags(&layers.flags)?);
    }
    if read.is_empty() {
        return Ok(Effective::default());
    }
    merge(read)
}

/// Reads and checks one configuration file alone.
///
/// # Errors
///
/// Fails as [`load`], and when the file is not there.
pub fn load_file(path: &Path) -> Result<Effective, ConfigLoadError> {
    load(&Layers {
        explicit: Some(path.to_owned()),
        ..Layers::default()
    })
}

/// Returns the JSON Schema of a configuration file, for editors.
pub fn schema() -> Value {
    sandbox_types::config::schema()
}

fn merge(layers: Vec<Layer>) -> Result<Effective, ConfigLoadError> {
    let mut figment = Figment::new();
    let mut origins = BTreeMap::new();
    for layer in layers {
        for (key, origin) in layer.leaves() {
            match origin {
                Some(origin) => origins.insert(key, origin),
                None => origins.remove(&key),
            };
        }
        figment = figment.admerge(layer);
    }
    let config: SandboxConfig = figment
        .extract()
        .map_err(|error| ConfigLoadError::Merge(Box::new(error)))?;
    // Each layer alone was checked; two of them may contradict each other.
    validate(&config, |error| {
        origins.get(&error.key).cloned().unwrap_or(Origin::Default)
    })?;
    Ok(Effective { config, origins })
}

/// Checks the values of one layer; the error says where the wrong one stands.
fn validate(
    config: &SandboxConfig,
    place: impl FnOnce(&ConfigError) -> Origin,
) -> Result<(), ConfigLoadError> {
    config.validate().map_err(|source| ConfigLoadError::Value {
        place: place(&source),
        source,
    })
}
