//! Which operation a record of the journal is about: told whole where it starts and ends, by its name later.

use std::fmt;

use sandbox_types::{OperationId, ReportedOperation};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// The `operation` of a record's payload.
#[derive(Debug)]
pub(crate) enum Subject {
    /// All that a report says of it.
    Whole(Box<ReportedOperation>),
    /// Its name.
    Id(OperationId),
}

impl Subject {
    /// Returns which operation it is, however it is told.
    pub(crate) fn id(self) -> OperationId {
        match self {
            Self::Whole(operation) => operation.id,
            Self::Id(id) => id,
        }
    }
}

// By hand, because a derived `untagged` keeps a copy of all that it reads: hundreds of thousands of records are asked.
impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SubjectVisitor)
    }
}

struct SubjectVisitor;

impl<'de> Visitor<'de> for SubjectVisitor {
    type Value = Subject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation, or the name of one")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Subject, E> {
        name.parse().map(Subject::Id).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Subject, A::Error> {
        let whole = ReportedOperation::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Subject::Whole(Box::new(whole)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_told_whole_or_by_its_name() {
        let whole = r#"{"id": "one", "type": "command", "argv": ["ls"], "cwd": "/", "new": 1}"#;
        let read = |text: &str| serde_json::from_str::<Subject>(text);
        assert!(matches!(read(whole).unwrap(), Subject::Whole(it) if it.argv == ["ls"]));
        for text in [whole, r#""one""#] {
            assert_eq!(read(text).unwrap().id().as_str(), "one");
        }
        for text in ["1", "null", "[]", "{}", r#""""#, r#"{"id": "one"}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
