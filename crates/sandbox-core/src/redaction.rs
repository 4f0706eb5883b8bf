//! Replaces secrets in what a guest prints and in what is said of it.
//!
//! Redaction is against accidents: a `set -x`, a verbose client, an error message with a header in it. A command that
//! means to give a secret away can always write it in a form that nobody knows.

use std::{collections::BTreeSet, fmt, sync::Arc};

use aho_corasick::AhoCorasick;
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};
use sandbox_state::{Zeroizing, hex};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What stands in the place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// What is shorter cannot be told from other text.
pub(crate) const SECRET_BYTES_MIN: usize = 4;

/// Lines of a secret, and parts of its forms, that are shorter are no forms of their own.
const PART_BYTES_MIN: usize = 8;

/// How many characters of base64 programs write into a line: `base64`, MIME; PEM.
const BASE64_LINES: [usize; 2] = [76, 64];

/// The forms of all secrets of one operation.
pub(crate) struct Redactor {
    forms: Vec<Zeroizing<Vec<u8>>>,
    finder: AhoCorasick,
    longest: usize,
    begins: [bool; 256],
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Returns what finds `secrets`; `None` if their forms are too many bytes for it.
    pub(crate) fn of(secrets: &[&[u8]]) -> Option<Self> {
        let forms: BTreeSet<Vec<u8>> = secrets.iter().flat_map(|it| forms(it)).collect();
        let forms: Vec<_> = forms.into_iter().map(Zeroizing::new).collect();
        let finder = AhoCorasick::new(forms.iter().map(|it| it.as_slice())).ok()?;
        let mut begins = [false; 256];
        for first in forms.iter().filter_map(|it| it.first()) {
            begins[usize::from(*first)] = true;
        }
        Some(Self {
            longest: forms.iter().map(|it| it.len()).max().unwrap_or(0),
            forms,
            finder,
            begins,
        })
    }

    /// Returns what of `bytes` is a secret, in order and without overlaps.
    fn found(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let mut found: Vec<_> = self
            .finder
            .find_overlapping_iter(bytes)
            .map(|it| (it.start(), it.end()))
            .collect();
        found.sort_unstable();
        let mut joined: Vec<(usize, usize)> = Vec::new();
        for (start, end) in found {
            match joined.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        joined
    }

    /// Returns where the end of `bytes` may be the beginning of a secret.
    fn undecided(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        let may_begin = |at: &usize| {
            let rest = &bytes[*at..];
            self.begins[usize::from(rest[0])]
                && self
                    .forms
                    .iter()
                    .any(|form| form.len() > rest.len() && form.starts_with(rest))
        };
        (from..bytes.len()).find(may_begin).unwrap_or(bytes.len())
    }

    fn text(&self, text: &str) -> Option<String> {
        let found = self.found(text.as_bytes());
        if found.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in found {
            bytes.extend_from_slice(&text.as_bytes()[at..start]);
            bytes.extend_from_slice(REDACTED.as_bytes());
            at = end;
        }
        bytes.extend_from_slice(&text.as_bytes()[at..]);
        // A form may end within a character, if a secret is no text.
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns `said` without secrets in its texts.
    pub(crate) fn redacted<T: Serialize + DeserializeOwned>(&self, said: T) -> T {
        let Ok(mut value) = serde_json::to_value(&said) else {
            return said;
        };
        let whole = value.clone();
        let mut places = Vec::new();
        self.walk(&mut value, &mut Vec::new(), &mut places);
        if places.is_empty() {
            return said;
        }
        if let Ok(redacted) = serde_json::from_value(value) {
            return redacted;
        }
        // A secret is a word of ours too, as `completed`: where that word must stand, it tells nothing.
        let mut value = whole;
        for (path, text) in places {
            let mut tried = value.clone();
            if let Some(place) = tried.pointer_mut(&path) {
                *place = Value::String(text);
            }
            if serde_json::from_value::<T>(tried.clone()).is_ok() {
                value = tried;
            }
        }
        serde_json::from_value(value).unwrap_or(said)
    }

    /// Redacts the texts of a document, and notes where.
    fn walk(&self, value: &mut Value, path: &mut Vec<String>, places: &mut Vec<(String, String)>) {
        match value {
            Value::String(text) => {
                if let Some(redacted) = self.text(text) {
                    places.push((path.concat(), redacted.clone()));
                    *text = redacted;
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    path.push(format!("/{at}"));
                    self.walk(item, path, places);
                    path.pop();
                }
            }
            Value::Object(members) => {
                for (name, item) in members {
                    path.push(format!("/{}", name.replace('~', "~0").replace('/', "~1")));
                    self.walk(item, path, places);
                    path.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// One stream of output, redacted as it comes. What may be the beginning of a secret is held back until it is decided.
#[derive(Debug)]
pub(crate) struct RedactedStream {
    redactor: Arc<Redactor>,
    pending: Zeroizing<Vec<u8>>,
    /// So many bytes of `pending` are of a secret that begins earlier.
    covered: usize,
    /// Whether what was given out last stands for a secret.
    inside: bool,
}

impl RedactedStream {
    pub(crate) fn new(redactor: &Arc<Redactor>) -> Self {
        Self {
            redactor: Arc::clone(redactor),
            pending: Zeroizing::default(),
            covered: 0,
            inside: false,
        }
    }

    /// Takes more of the stream, and returns what of it is decided.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let decided = self.redactor.undecided(&self.pending);
        self.give(decided)
    }

    /// The stream has ended: returns the rest.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let all = self.pending.len();
        self.give(all)
    }

    fn give(&mut self, decided: usize) -> Vec<u8> {
        let mut secret = self.redactor.found(&self.pending);
        secret.insert(0, (0, self.covered));
        let mut given = Vec::with_capacity(decided);
        let mut at = 0;
        let mut reaches = 0;
        for (start, end) in secret {
            reaches = reaches.max(end);
            let (start, end) = (start.min(decided), end.min(decided));
            if start > at {
                given.extend_from_slice(&self.pending[at..start]);
                self.inside = false;
            }
            if end > start.max(at) && !self.inside {
                given.extend_from_slice(REDACTED.as_bytes());
                self.inside = true;
            }
            at = at.max(end);
        }
        if decided > at {
            given.extend_from_slice(&self.pending[at..decided]);
            self.inside = false;
        }
        self.covered = reaches.saturating_sub(decided);
        let rest = Zeroizing::new(self.pending[decided..].to_vec());
        self.pending = rest;
        given
    }
}

/// Returns the forms in which a secret is looked for.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let secret = secret.trim_ascii_end();
    let mut forms = vec![
        secret.to_vec(),
        hex(secret).into_bytes(),
        hex(secret).to_uppercase().into_bytes(),
        BASE64_STANDARD.encode(secret).into_bytes(),
        BASE64_STANDARD_NO_PAD.encode(secret).into_bytes(),
        BASE64_URL_SAFE.encode(secret).into_bytes(),
        BASE64_URL_SAFE_NO_PAD.encode(secret).into_bytes(),
    ];
    for line in secret.split(|it| *it == b'\n') {
        forms.push(line.trim_ascii().to_vec());
    }
    forms.retain(|it| it.len() >= PART_BYTES_MIN || it == secret);
    let encoded = BASE64_STANDARD.encode(secret);
    for width in BASE64_LINES {
        let lines = encoded.as_bytes().chunks(width).map(<[u8]>::to_vec);
        forms.extend(lines.filter(|it| it.len() >= PART_BYTES_MIN));
    }
    for before in 0..3 {
        forms.extend(within_base64(secret, before));
    }
    for upper in [true, false] {
        forms.push(url_encoded(secret, upper, "%20"));
        forms.push(url_encoded(secret, upper, "+"));
    }
    if let Ok(text) = str::from_utf8(secret) {
        let quoted = Value::from(text).to_string();
        forms.push(quoted.as_bytes()[1..quoted.len() - 1].to_vec());
    }
    forms.retain(|it| !it.is_empty());
    forms
}

/// Returns the characters that the secret alone decides in the base64 of a text which has it after `before` bytes, up
/// to multiples of three: `user:SECRET` in a header.
fn within_base64(secret: &[u8], before: usize) -> Vec<Vec<u8>> {
    let mut text = Zeroizing::new(vec![0; before]);
    text.extend_from_slice(secret);
    let mixed_before = [0, 2, 3][before % 3];
    let mixed_after = usize::from(!text.len().is_multiple_of(3));
    let standard = BASE64_STANDARD_NO_PAD.encode(&*text).into_bytes();
    let url = BASE64_URL_SAFE_NO_PAD.encode(&*text).into_bytes();
    let inner = |it: Vec<u8>| it[mixed_before..it.len() - mixed_after].to_vec();
    [inner(standard), inner(url)]
        .into_iter()
        .filter(|it| it.len() >= PART_BYTES_MIN - 3)
        .collect()
}

fn url_encoded(secret: &[u8], upper: bool, space: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(secret.len());
    for byte in secret {
        match byte {
            b' ' => encoded.extend_from_slice(space.as_bytes()),
            b'-' | b'.' | b'_' | b'~' => encoded.push(*byte),
            it if it.is_ascii_alphanumeric() => encoded.push(*it),
            it => {
                let digits = hex(&[*it]);
                let digits = if upper { digits.to_uppercase() } else { digits };
                encoded.push(b'%');
                encoded.extend_from_slice(digits.as_bytes());
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
