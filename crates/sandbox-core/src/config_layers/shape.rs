//! The shape of a configuration: which keys there are and what they take.

use sandbox_types::nearest;

use self::Shape::{Boolean, Choice, Integer, Section, Text, Texts, TextsByName};
use super::{
    join,
    yaml::{Field, Kind, Node, Position},
};

/// What belongs at one place of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Integer,
    Boolean,
    Text,
    Choice(&'static [&'static str]),
    Texts,
    TextsByName,
    Section(&'static [(&'static str, Self)]),
}

/// The shape of a whole configuration: its JSON Schema in short, which a test compares. It is a
/// constant because every run reads a configuration, and generating the schema takes 0.3 ms.
pub(super) const CONFIG: Shape = Section(&[
    ("sandbox_id", Text),
    ("workspace_path", Text),
    ("resource_limits", RESOURCE_LIMITS),
    ("safety_constraints", SAFETY_CONSTRAINTS),
    ("monitoring_config", MONITORING_CONFIG),
    ("isolation", ISOLATION),
    ("events", Section(&[("file", Text)])),
    (
        "session",
        Section(&[("idle_timeout", Text), ("patience", Text)]),
    ),
]);

const RESOURCE_LIMITS: Shape = Section(&[
    ("memory_mb", Integer),
    ("cpu_percent", Integer),
    ("cpu_time", Text),
    ("disk_mb", Integer),
    ("inodes", Integer),
    ("io_read_mb", Integer),
    ("io_write_mb", Integer),
    ("processes", Integer),
    ("wall_time", Text),
    ("open_files", Integer),
    ("file_size_mb", Integer),
    ("tmp_mb", Integer),
    ("output_kb", Integer),
    ("output_total_mb", Integer),
    ("best_effort", Boolean),
]);

const SAFETY_CONSTRAINTS: Shape = Section(&[
    (
        "profile",
        Choice(&["strict", "default", "permissive", "audit"]),
    ),
    ("rules", Texts),
    ("max_snapshots", Integer),
    ("compress_snapshots", Boolean),
    ("encrypt_snapshots", Boolean),
    ("snapshot_exclude", Texts),
    ("snapshot_exclude_larger_mb", Integer),
    ("commit_policy", Text),
    ("undo_keep", Integer),
    ("undo_keep_age", Text),
    ("undo_keep_mb", Integer),
    ("state_keep", Integer),
    ("state_keep_age", Text),
    ("approval_expiry", Text),
    (
        "network",
        Section(&[("allow_external", Boolean), ("allow_hosts", Texts)]),
    ),
    ("content", CONTENT),
]);

const CONTENT: Shape = Section(&[
    ("action", Choice(&["off", "report", "review", "discard"])),
    ("severity", Choice(&["low", "medium", "high", "critical"])),
    ("max_file_mb", Integer),
    ("deny_extensions", Texts),
    ("scan_file_mb", Integer),
    ("scan_total_mb", Integer),
]);

const MONITORING_CONFIG: Shape = Section(&[
    ("collection_interval", Integer),
    ("health_check_interval", Integer),
    ("auto_recover", Boolean),
    (
        "resource_thresholds",
        Section(&[("cpu_percent", Integer), ("memory_percent", Integer)]),
    ),
]);

const ISOLATION: Shape = Section(&[
    ("read", Texts),
    ("write", Texts),
    ("hide", Texts),
    ("env_pass", Texts),
    ("env_set", TextsByName),
    ("seccomp", Text),
    ("allow_degraded", Texts),
]);

/// A node that does not fit.
#[derive(Clone, Debug)]
pub(super) struct Misfit {
    pub(super) at: Position,
    pub(super) key: String,
    pub(super) why: Why,
}

/// Why it does not fit.
#[derive(Clone, Debug)]
pub(super) enum Why {
    UnknownKey {
        nearest: Option<String>,
        known: Vec<String>,
    },
    WrongType {
        expected: String,
        found: String,
    },
}

impl Shape {
    /// Returns the shape of a key by the parts of its path.
    pub(super) fn at<S: AsRef<str>>(self, path: &[S]) -> Option<Self> {
        let Some((first, rest)) = path.split_first() else {
            return Some(self);
        };
        match self {
            Self::Section(keys) => find(keys, first.as_ref())?.at(rest),
            Self::TextsByName => rest.is_empty().then_some(Self::Text),
            Self::Integer | Self::Boolean | Self::Text | Self::Choice(_) | Self::Texts => None,
        }
    }

    /// Whether `node` fits: every key known, every value of the right type. `null` always fits.
    pub(super) fn check(self, node: &Node) -> Result<(), Misfit> {
        self.check_at("", node)
    }

    fn check_at(self, path: &str, node: &Node) -> Result<(), Misfit> {
        match (self, &node.kind) {
            (_, Kind::Null)
            | (Self::Integer, Kind::Integer(_))
            | (Self::Boolean, Kind::Bool(_))
            | (Self::Text, Kind::Text(_)) => Ok(()),
            (Self::Choice(names), Kind::Text(text)) if names.contains(&text.as_str()) => Ok(()),
            (Self::Texts, Kind::List(items)) => {
                let mut items = items.iter().enumerate();
                items.try_for_each(|(at, item)| Self::check_text(format!("{path}[{at}]"), item))
            }
            (Self::TextsByName, Kind::Map(fields)) => fields
                .iter()
                .try_for_each(|field| Self::check_text(join(path, &field.key), &field.node)),
            (Self::Section(keys), Kind::Map(fields)) => {
                fields
                    .iter()
                    .try_for_each(|field| match find(keys, &field.key) {
                        Some(shape) => shape.check_at(&join(path, &field.key), &field.node),
                        None => Err(unknown(path, field, keys)),
                    })
            }
            (
                _,
                Kind::Bool(_)
                | Kind::Integer(_)
                | Kind::Float(_)
                | Kind::Text(_)
                | Kind::List(_)
                | Kind::Map(_),
            ) => Err(self.wrong_type(path.to_owned(), node)),
        }
    }

    /// Items and named texts have no default that `null` could stand for.
    fn check_text(path: String, node: &Node) -> Result<(), Misfit> {
        match node.kind {
            Kind::Text(_) => Ok(()),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::List(_)
            | Kind::Map(_) => Err(Self::Text.wrong_type(path, node)),
        }
    }

    fn wrong_type(self, key: String, node: &Node) -> Misfit {
        Misfit {
            at: node.at,
            key: if key.is_empty() { ".".to_owned() } else { key },
            why: Why::WrongType {
                expected: self.in_words(node),
                found: node.in_words(),
            },
        }
    }

    fn in_words(self, found: &Node) -> String {
        match self {
            Self::Integer => "a whole number".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Text => match &found.kind {
                Kind::Integer(number) => {
                    format!("text in quotes, as in \"{number}\" (a time: \"{number}s\")")
                }
                Kind::Bool(_) | Kind::Float(_) => "text (in quotes)".to_owned(),
                Kind::Null | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => "text".to_owned(),
            },
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Texts => "a list of texts, as in [a, b]".to_owned(),
            Self::TextsByName => "names with texts, as in {A: b}".to_owned(),
            Self::Section(keys) => {
                format!(
                    "a section with {}",
                    names(keys).collect::<Vec<_>>().join(", ")
                )
            }
        }
    }
}

type Keys = [(&'static str, Shape)];

fn find(keys: &Keys, name: &str) -> Option<Shape> {
    let found = keys.iter().find(|(key, _)| *key == name);
    found.map(|(_, shape)| *shape)
}

/// Returns the names of all keys of a section.
pub(super) fn names(keys: &Keys) -> impl Iterator<Item = &'static str> {
    keys.iter().map(|(key, _)| *key)
}

fn unknown(path: &str, field: &Field, keys: &Keys) -> Misfit {
    let key = join(path, &field.key);
    let sibling = nearest(&field.key, names(keys)).map(str::to_owned);
    Misfit {
        at: field.at,
        why: Why::UnknownKey {
            nearest: sibling.or_else(|| elsewhere(&field.key, &key)),
            known: names(keys).map(str::to_owned).collect(),
        },
        key: key.escape_debug().to_string(),
    }
}

/// Returns the full key that has this name in another section, if there is one.
fn elsewhere(name: &str, given: &str) -> Option<String> {
    let mut keys = Vec::new();
    collect_keys(CONFIG, "", &mut keys);
    let last = |key: &str| key.rsplit('.').next() == Some(name);
    keys.into_iter().find(|key| key != given && last(key))
}

fn collect_keys(shape: Shape, path: &str, into: &mut Vec<String>) {
    if let Section(keys) = shape {
        for (key, below) in keys {
            let full = join(path, key);
            collect_keys(*below, &full, into);
            into.push(full);
        }
    }
}
