//! What can be wrong with a configuration, each with its place.

use std::{io, path::PathBuf};

use sandbox_types::ConfigError;

use super::Origin;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigLoadError {
    /// A file that must be there is not, or cannot be read.
    #[error("cannot read the configuration file {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The text is not YAML.
    #[error("cannot read {place}: {problem}")]
    Syntax {
        /// Where.
        place: Origin,
        /// What the parser did not understand.
        problem: String,
    },
    /// A key that no configuration has.
    #[error("cannot accept the unknown key `{key}` {}; {}", at(place), hint(nearest.as_deref(), known))]
    UnknownKey {
        /// Where.
        place: Origin,
        /// The dotted key.
        key: String,
        /// The key that was probably meant; with its section, if it belongs to another one.
        nearest: Option<String>,
        /// The keys that are known in this section.
        known: Vec<String>,
    },
    /// A value of the wrong type.
    #[error(
        "cannot read {} {}: expected {expected}, found {found}",
        named(key),
        at(place)
    )]
    WrongType {
        /// Where.
        place: Origin,
        /// The dotted key; the whole document is `.`.
        key: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A value that cannot be meant.
    #[error("cannot use a value {}", at(place))]
    Value {
        /// Where.
        place: Origin,
        /// Which value, and why not.
        #[source]
        source: ConfigError,
    },
    /// Layers that are right each by itself do not fit together.
    #[error("cannot merge the layers of the configuration")]
    Merge(#[source] Box<figment::Error>),
}

/// Returns how a message calls a key.
fn named(key: &str) -> String {
    match key {
        "." => "the document".to_owned(),
        key => format!("`{key}`"),
    }
}

fn at(place: &Origin) -> String {
    match place {
        Origin::Default | Origin::File { .. } => format!("at {place}"),
        Origin::Variable { .. } => format!("in {place}"),
        Origin::Flag => format!("on {place}"),
    }
}

fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(key) => format!("did you mean `{key}`?"),
        None => format!("known here are {}", known.join(", ")),
    }
}
