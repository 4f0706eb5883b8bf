//! One layer: a file, a variable or the flags, checked and ready to merge.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Tag, Value},
};
use sandbox_types::{SandboxConfig, nearest};

use super::{
    ConfigLoadError, Origin, join,
    shape::{self, Misfit, Shape, Why},
    validate,
    yaml::{self, Kind, Node, Position, SyntaxError},
};

/// What is stored with a sandbox that was made without a configuration: it says nothing, and the parser need not be
/// started to learn that.
const EMPTY: &str = "{}";
/// The largest configuration file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

const VARIABLE_PREFIX: &str = "SANDBOX_";
/// Between the parts of a key in a variable's name: `SANDBOX_RESOURCE_LIMITS__MEMORY_MB`.
const VARIABLE_SEPARATOR: &str = "__";
/// Variables that are no keys: where everything lies, and which sandbox is meant.
const VARIABLES_IGNORED: [&str; 10] = [
    "SANDBOX_HOME",
    "SANDBOX_NAME",
    "SANDBOX_STATE_KEY",
    "SANDBOX_STATE_KEY_NEW",
    "SANDBOX_STATE_PASSPHRASE",
    "SANDBOX_STATE_PASSPHRASE_NEW",
    "SANDBOX_SNAPSHOT_KEY",
    "SANDBOX_SNAPSHOT_KEY_NEW",
    "SANDBOX_SNAPSHOT_PASSPHRASE",
    "SANDBOX_SNAPSHOT_PASSPHRASE_NEW",
];

/// Whether a file must be there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Presence {
    Optional,
    Required,
}

/// One checked layer.
#[derive(Debug)]
pub(super) struct Layer {
    source: Source,
    values: Dict,
    leaves: Vec<Leaf>,
}

/// Where a layer comes from.
#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Variable(String),
    Flags,
}

/// One value that is not a section.
#[derive(Debug)]
struct Leaf {
    key: String,
    at: Position,
    is_null: bool,
}

impl Source {
    fn origin(&self, at: Position) -> Origin {
        match self {
            Self::File(path) => Origin::File {
                path: path.clone(),
                line: at.line,
                column: at.column,
            },
            Self::Variable(name) => Origin::Variable { name: name.clone() },
            Self::Flags => Origin::Flag,
        }
    }

    fn syntax(&self, error: SyntaxError) -> ConfigLoadError {
        ConfigLoadError::Syntax {
            place: self.origin(error.at),
            problem: error.problem,
        }
    }

    fn misfit(&self, misfit: Misfit) -> ConfigLoadError {
        let place = self.origin(misfit.at);
        let key = misfit.key;
        match misfit.why {
            Why::UnknownKey { nearest, known } => ConfigLoadError::UnknownKey {
                place,
                key,
                nearest,
                known,
            },
            Why::WrongType { expected, found } => ConfigLoadError::WrongType {
                place,
                key,
                expected,
                found,
            },
        }
    }
}

impl Layer {
    /// Reads a file; `None` when it need not be there and is not, or says nothing.
    pub(super) fn of_file(
        path: &Path,
        presence: Presence,
    ) -> Result<Option<Self>, ConfigLoadError> {
        let text = match (read(path), presence) {
            (Ok(text), _) => text,
            (Err(error), Presence::Optional) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            (Err(source), _) => {
                return Err(ConfigLoadError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        if text.trim() == EMPTY {
            return Ok(None);
        }
        let source = Source::File(path.to_owned());
        let root = yaml::parse(&text).map_err(|error| source.syntax(error))?;
        Self::of_tree(source, &root).map(Some)
    }

    /// Reads a variable; `None` when it is not ours.
    pub(super) fn of_variable(name: &str, text: &str) -> Result<Option<Self>, ConfigLoadError> {
        let Some(path) = key_of_variable(name) else {
            return Ok(None);
        };
        let source = Source::Variable(name.to_owned());
        let node = match shape::CONFIG.at(&path) {
            Some(shape) => value_of_variable(shape, text).map_err(|error| source.syntax(error))?,
            None => text_node(text),
        };
        Self::of_tree(source, &below(&path, node)).map(Some)
    }

    /// Takes what the command line says.
    pub(super) fn of_flags(flags: &SandboxConfig) -> Result<Self, ConfigLoadError> {
        validate(flags, |_error| Origin::Flag)?;
        let values = Value::serialize(flags)
            .map_err(|error| ConfigLoadError::Merge(Box::new(error)))?
            .into_dict()
            .unwrap_or_default();
        let mut leaves = Vec::new();
        for (key, value) in &values {
            collect_flags(key, value, &mut leaves);
        }
        Ok(Self {
            source: Source::Flags,
            values,
            leaves,
        })
    }

    fn of_tree(source: Source, root: &Node) -> Result<Self, ConfigLoadError> {
        shape::CONFIG
            .check(root)
            .map_err(|misfit| source.misfit(misfit))?;
        let mut leaves = Vec::new();
        let values = dict(root, shape::CONFIG, "", &mut leaves);
        let layer = Self {
            source,
            values,
            leaves,
        };
        let config: SandboxConfig = Value::from(layer.values.clone())
            .deserialize()
            .map_err(|error| ConfigLoadError::Merge(Box::new(error)))?;
        validate(&config, |error| {
            layer
                .source
                .origin(root.find(&error.key).unwrap_or(root.at))
        })?;
        Ok(layer)
    }

    /// Returns each key with its origin, or `None` where the layer takes it back to the default.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (String, Option<Origin>)> {
        self.leaves.iter().map(|leaf| {
            let origin = (!leaf.is_null).then(|| self.source.origin(leaf.at));
            (leaf.key.clone(), origin)
        })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.origin(Position::default()).to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

/// Returns the values that can be merged: sections, lists and maps that are `null` say nothing,
/// a single `null` replaces what earlier layers said.
fn dict(node: &Node, shape: Shape, path: &str, leaves: &mut Vec<Leaf>) -> Dict {
    let mut values = Dict::new();
    for field in node.fields() {
        let key = join(path, &field.key);
        let Some(shape) = shape.at(&[&field.key]) else {
            continue;
        };
        let value = match (&field.node.kind, shape) {
            (Kind::Null, Shape::Section(_) | Shape::Texts | Shape::TextsByName) => continue,
            (Kind::Map(_), _) => {
                let below = dict(&field.node, shape, &key, leaves);
                values.insert(field.key.clone(), below.into());
                continue;
            }
            (Kind::Null, _) => Value::Empty(Tag::Default, figment::value::Empty::None),
            (Kind::Bool(value), _) => (*value).into(),
            (Kind::Integer(value), _) => (*value).into(),
            (Kind::Float(value), _) => (*value).into(),
            (Kind::Text(text), _) => text.clone().into(),
            (Kind::List(items), _) => items.iter().map(text_of).collect::<Vec<_>>().into(),
        };
        leaves.push(Leaf {
            key,
            at: field.node.at,
            is_null: matches!(field.node.kind, Kind::Null),
        });
        values.insert(field.key.clone(), value);
    }
    values
}

fn text_of(node: &Node) -> String {
    match &node.kind {
        Kind::Text(text) => text.clone(),
        Kind::Null
        | Kind::Bool(_)
        | Kind::Integer(_)
        | Kind::Float(_)
        | Kind::List(_)
        | Kind::Map(_) => String::new(),
    }
}

fn collect_flags(key: &str, value: &Value, into: &mut Vec<Leaf>) {
    match value.as_dict() {
        Some(fields) => {
            for (name, value) in fields {
                collect_flags(&join(key, name), value, into);
            }
        }
        None => into.push(Leaf {
            key: key.to_owned(),
            at: Position::default(),
            is_null: false,
        }),
    }
}

/// Returns the parts of the key that a variable sets, or `None` when it is not ours.
///
/// Other programs have variables with the same prefix, so a name counts as ours when it has our
/// separator, or when it is (nearly) a key.
fn key_of_variable(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(VARIABLE_PREFIX)?;
    if VARIABLES_IGNORED.contains(&name) {
        return None;
    }
    let parts: Vec<&str> = rest.split(VARIABLE_SEPARATOR).collect();
    let mut path: Vec<String> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if matches!(shape::CONFIG.at(&path), Some(Shape::TextsByName)) {
            // The name of a variable of the guest, which may have our separator in it.
            path.push(parts[at..].join(VARIABLE_SEPARATOR));
            break;
        }
        path.push(part.to_ascii_lowercase());
    }
    let Shape::Section(keys) = shape::CONFIG else {
        return None;
    };
    let known = || nearest(&path[0], shape::names(keys)).is_some();
    (path.len() > 1 || known()).then_some(path)
}

/// Returns the value that `text` means where `shape` belongs.
fn value_of_variable(shape: Shape, text: &str) -> Result<Node, SyntaxError> {
    let kind = match shape {
        Shape::Integer => text.trim().parse().ok().map(Kind::Integer),
        Shape::Boolean => text.trim().parse().ok().map(Kind::Bool),
        Shape::Text | Shape::Choice(_) => None,
        Shape::Texts | Shape::TextsByName | Shape::Section(_) => return yaml::parse(text),
    };
    Ok(Node {
        kind: kind.unwrap_or_else(|| Kind::Text(text.to_owned())),
        at: Position::default(),
    })
}

fn text_node(text: &str) -> Node {
    Node {
        kind: Kind::Text(text.to_owned()),
        at: Position::default(),
    }
}

/// Returns `node` as a document in which it stands at `path`.
fn below(path: &[String], node: Node) -> Node {
    path.iter().rev().fold(node, |node, key| Node {
        kind: Kind::Map(vec![yaml::Field {
            key: key.clone(),
            at: Position::default(),
            node,
        }]),
        at: Position::default(),
    })
}
