//! Parameter expansion: `${NAME}` and what may stand behind the name.

use super::{Expansion, Quoting, name_length};
use crate::shell::{Known, Word};

/// What an expansion with an alternative inserts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Inserted {
    /// What the first reading inserts.
    FirstReading,
    /// The value, or nothing where none is known.
    Value,
    /// The word behind the operator.
    Alternative,
    Nothing,
}

impl Expansion<'_> {
    pub(super) fn parameter(&mut self, body: &str, offset: usize, source: &str, quoting: Quoting) {
        let (marker, rest) = match body.as_bytes().first() {
            Some(b'#') if body.len() > 1 => ("#", &body[1..]),
            Some(b'!') if body.len() > 1 => ("!", &body[1..]),
            _ => ("", body),
        };
        let length = match name_length(rest.as_bytes()) {
            0 => rest.chars().next().map_or(0, char::len_utf8),
            length => length,
        };
        let (name, operation) = rest.split_at(length);
        let value = self.reader.variable(name);
        let value = match marker {
            "#" => return self.unknown(source),
            "!" => value.and_then(|name| self.reader.variable(&name.text)),
            _ => value,
        };
        if operation.is_empty() && marker.is_empty() {
            return self.variable(name, source, quoting);
        }
        let after = offset + body.len() - operation.len();
        let alternative = operation.strip_prefix(':').unwrap_or(operation);
        let used = offset + body.len() - alternative.len() + 1;
        let first = alternative.as_bytes().first();
        if marker.is_empty() && matches!(first, Some(b'-' | b'=' | b'+')) {
            let by_colon = operation.starts_with(':');
            match self.assumed(name, first == Some(&b'+'), value.as_ref().ok_or(by_colon)) {
                Inserted::FirstReading => {}
                Inserted::Value => {
                    return value.iter().for_each(|value| self.value(value, quoting));
                }
                Inserted::Nothing => return,
                Inserted::Alternative => return self.run(&alternative[1..], used, quoting),
            }
        }
        match (first, value) {
            (Some(b'-' | b'=' | b'?'), Some(value)) => self.value(&value, quoting),
            (Some(b'-' | b'='), None) | (Some(b'+'), _) => {
                self.run(&alternative[1..], used, quoting);
            }
            (Some(b'['), Some(value)) => self.value(&value, Quoting::Open),
            (_, value) => {
                self.look_into(operation, after);
                match value.and_then(|value| apply(&value, operation)) {
                    Some(text) => self.value(&Word::literal(text, self.span), quoting),
                    None => self.unknown(source),
                }
            }
        }
    }

    /// Returns what `${NAME-word}` and `${NAME+word}` insert in the assumed reading; where no value is known, whether
    /// a colon stands before the operator.
    fn assumed(&mut self, name: &str, is_plus: bool, value: Result<&Word, bool>) -> Inserted {
        let by_colon = value.err() == Some(true);
        // These are set wherever a shell runs.
        let always = ["HOME", "PWD", "PATH", "SHELL", "BASH", "IFS"].contains(&name);
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let differs = is_plus || !by_colon;
        if always || !is_name || !differs {
            return Inserted::FirstReading;
        }
        match self.reader.depends_on(name) {
            None => Inserted::FirstReading,
            Some(is_set) if is_plus == is_set => Inserted::Alternative,
            // Set, and not known to what: `:-` inserts its word only for what is empty.
            Some(true) if by_colon => Inserted::FirstReading,
            Some(true) => Inserted::Value,
            Some(false) => Inserted::Nothing,
        }
    }
}

/// Applies the operations that constructed names are made with.
fn apply(value: &Word, operation: &str) -> Option<String> {
    let text = value.text.as_str();
    if let Some(range) = operation.strip_prefix(':') {
        let (start, length) = range.split_once(':').unwrap_or((range, "9999"));
        let start: usize = start.trim().parse().ok()?;
        let length: usize = length.trim().parse().ok()?;
        // `~` stands for the home directory, an absolute path.
        let text = text.replacen('~', "/home/user", 1);
        return Some(text.chars().skip(start).take(length).collect());
    }
    if value.known != Known::Literal {
        return None;
    }
    if operation == "^^" {
        return Some(text.to_uppercase());
    }
    if operation == ",," {
        return Some(text.to_lowercase());
    }
    let (all, rest) = match operation.strip_prefix("//") {
        Some(rest) => (true, rest),
        None => (false, operation.strip_prefix('/')?),
    };
    let (pattern, replacement) = rest.split_once('/').unwrap_or((rest, ""));
    if pattern.is_empty() || pattern.contains(['*', '?', '[', '$', '\\']) {
        return None;
    }
    Some(if all {
        text.replace(pattern, replacement)
    } else {
        text.replacen(pattern, replacement, 1)
    })
}
