//! YAML (and so JSON) as a tree whose every node knows where it stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::join;

/// A line and a column, both counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// One node and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) at: Position,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number with a fraction, or one too large for [`Kind::Integer`].
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Field>),
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) node: Node,
}

/// The text is not YAML.
#[derive(Clone, Debug)]
pub(super) struct SyntaxError {
    pub(super) at: Position,
    pub(super) problem: String,
}

/// Where the parser's messages turn to programmers who use it.
const ADVICE: [&str; 2] = [", set DuplicateKeyPolicy", "; use from_str_multiple"];

/// Parses one document. Duplicate keys, several documents and billion-laughs aliases are errors.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map(position).unwrap_or_default();
        let problem = error.to_string();
        // The parser ends its message with the place, which ours has already.
        let suffix = format!(" at line {}, column {}", at.line, at.column);
        let problem = problem.strip_suffix(&suffix).unwrap_or(&problem);
        let end = ADVICE.iter().find_map(|it| problem.find(it));
        let problem = problem[..end.unwrap_or(problem.len())].to_owned();
        SyntaxError { at, problem }
    })
}

fn position(location: serde_saphyr::Location) -> Position {
    Position {
        line: location.line(),
        column: location.column(),
    }
}

impl Node {
    /// Returns the node as a message names it.
    pub(super) fn in_words(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => value.to_string(),
            Kind::Integer(value) => value.to_string(),
            Kind::Float(value) => value.to_string(),
            Kind::Text(text) => {
                let short: String = text.chars().take(80).collect();
                format!("the text '{}'", short.escape_debug())
            }
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a section".to_owned(),
        }
    }

    /// Returns the fields, if this is a map.
    pub(super) fn fields(&self) -> &[Field] {
        match &self.kind {
            Kind::Map(fields) => fields,
            Kind::Null
            | Kind::Bool(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Text(_)
            | Kind::List(_) => &[],
        }
    }

    /// Returns where the node at `path` stands: `a.b` for fields, `a.b[2]` for items of a list.
    pub(super) fn find(&self, path: &str) -> Option<Position> {
        self.find_below("", path)
    }

    fn find_below(&self, here: &str, path: &str) -> Option<Position> {
        if here == path {
            return Some(self.at);
        }
        if let Kind::List(items) = &self.kind {
            let mut items = items.iter().enumerate();
            return items.find_map(|(at, item)| item.find_below(&format!("{here}[{at}]"), path));
        }
        self.fields().iter().find_map(|field| {
            let below = join(here, &field.key);
            field.node.find_below(&below, path)
        })
    }

    /// Returns the same document without positions.
    pub(super) fn into_json(self) -> serde_json::Value {
        match self.kind {
            Kind::Null => serde_json::Value::Null,
            Kind::Bool(value) => value.into(),
            Kind::Integer(value) => value.into(),
            Kind::Float(value) => value.into(),
            Kind::Text(text) => text.into(),
            Kind::List(items) => items.into_iter().map(Self::into_json).collect(),
            Kind::Map(fields) => fields
                .into_iter()
                .map(|field| (field.key, field.node.into_json()))
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self {
            at: position(spanned.referenced),
            kind: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Kind, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "only its size matters: no key takes a number this large"
        )]
        let kind = i64::try_from(value).map_or(Kind::Float(value as f64), Kind::Integer);
        Ok(kind)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Kind, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            fields.push(Field {
                at: position(key.referenced),
                key: key.value,
                node: access.next_value()?,
            });
        }
        Ok(Kind::Map(fields))
    }
}
