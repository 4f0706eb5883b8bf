//! The fields of one JSON object, taken out by name and type.

use serde_json::{Map, Value};

use super::{OperationError, in_words, shown, value_error};

/// The fields of an object that are not read yet, and the path that leads to it.
pub(super) struct Fields {
    path: String,
    left: Map<String, Value>,
}

impl Fields {
    /// Takes `value` as an object that stands at `path`; the document itself stands at `""`.
    pub(super) fn of(value: Value, path: &str) -> Result<Self, OperationError> {
        match value {
            Value::Object(left) => Ok(Self {
                path: path.to_owned(),
                left,
            }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                let field = if path.is_empty() { "." } else { path };
                Err(wrong_type(field.to_owned(), "an object", &value))
            }
        }
    }

    /// Returns the full path of the field `name`.
    pub(super) fn path(&self, name: &str) -> String {
        let name = shown(name);
        if self.path.is_empty() {
            name
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Returns the names of all fields that are not read yet.
    pub(super) fn names(&self) -> Vec<String> {
        self.left.keys().cloned().collect()
    }

    pub(super) fn is_text(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(Value::is_string)
    }

    pub(super) fn refuse_unknown(&self, known: &[&str]) -> Result<(), OperationError> {
        let unknown = self.left.keys().find(|it| !known.contains(&it.as_str()));
        let Some(name) = unknown else {
            return Ok(());
        };
        Err(OperationError::UnknownField {
            field: self.path(name),
            nearest: crate::nearest(name, known.iter().copied()).map(str::to_owned),
        })
    }

    pub(super) fn take_text(&mut self, name: &str) -> Result<Option<String>, OperationError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(self.path(name), "text", &other)),
        }
    }

    pub(super) fn take_number(&mut self, name: &str) -> Result<Option<i64>, OperationError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong_type(self.path(name), "a whole number", &value)),
        }
    }

    pub(super) fn take_flag(&mut self, name: &str) -> Result<Option<bool>, OperationError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong_type(self.path(name), "true or false", &other)),
        }
    }

    /// Takes all fields but those that are named here.
    pub(super) fn take_others(&mut self, kept: &[&str]) -> Map<String, Value> {
        let all = std::mem::take(&mut self.left);
        let (kept, others) = all
            .into_iter()
            .partition(|(name, _)| kept.contains(&name.as_str()));
        self.left = kept;
        others
    }

    pub(super) fn take_texts(&mut self, name: &str) -> Result<Option<Vec<String>>, OperationError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return Err(wrong_type(self.path(name), "a list of texts", &value));
        };
        let texts = items.into_iter().enumerate().map(|(at, item)| {
            let text = item.as_str().map(str::to_owned);
            text.ok_or_else(|| wrong_type(format!("{}[{at}]", self.path(name)), "text", &item))
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn take_section(&mut self, name: &str) -> Result<Option<Self>, OperationError> {
        let path = self.path(name);
        self.take(name)
            .map(|value| Self::of(value, &path))
            .transpose()
    }

    pub(super) fn take_choice<T: Clone>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, OperationError> {
        let Some(given) = self.take_text(name)? else {
            return Ok(None);
        };
        if let Some((_, meaning)) = choices.iter().find(|(choice, _)| *choice == given) {
            return Ok(Some(meaning.clone()));
        }
        let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        let reason = format!("must be one of {}", in_words(&names));
        Err(value_error(&self.path(name), &given, reason))
    }

    /// Returns the field, unless it is `null` or not there.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }
}

fn wrong_type(field: String, expected: &str, found: &Value) -> OperationError {
    OperationError::WrongType {
        field,
        expected: expected.to_owned(),
        found: match found {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::String(text) => format!("the text '{}'", shown(text)),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        },
    }
}
