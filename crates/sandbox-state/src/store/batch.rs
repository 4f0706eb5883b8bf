//! Several keys in one commit, and what differs between two points in time.

use serde::Serialize;

use super::{
    envelope::{Kind, Row},
    error::Trouble,
    read::{Version, When},
    rollback::is_same,
    tables::{Access, Tables},
    write::{Commit, Put, Secrecy},
};

/// One change of a transaction.
#[derive(Clone, Debug)]
pub enum Edit<'a> {
    /// Stores a value.
    Put {
        /// The key.
        key: &'a str,
        /// The value.
        value: &'a [u8],
        /// Whether it is sealed.
        secrecy: Secrecy,
        /// The version that the key must have now; 0 for a key that is not there.
        expected: Option<u64>,
    },
    /// Deletes a key; nothing happens if it is not there.
    Delete {
        /// The key.
        key: &'a str,
        /// The version that the key must have now; 0 for a key that is not there.
        expected: Option<u64>,
    },
}

impl Edit<'_> {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// A key that differs between two points in time.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// Its version at the first one; `None` if it was not there.
    pub before: Option<Version>,
    /// Its version at the second one; `None` if it was not there.
    pub after: Option<Version>,
}

impl Commit<'_> {
    /// Makes all changes, or fails.
    pub(super) fn apply(
        &mut self,
        namespace: &str,
        edits: &[Edit<'_>],
    ) -> Result<Vec<(String, Version)>, Trouble> {
        let mut made = Vec::new();
        for edit in edits {
            let id = (namespace, edit.key());
            let version = match edit {
                Edit::Put {
                    value,
                    secrecy,
                    expected,
                    ..
                } => {
                    let put = Put {
                        at: self.at(),
                        secrecy: *secrecy,
                        expected: *expected,
                    };
                    Some(self.put(id, value, put)?)
                }
                Edit::Delete { expected, .. } => {
                    self.check_expected(id, *expected)?;
                    self.delete(id)?
                }
            };
            made.extend(version.map(|version| (edit.key().to_owned(), version)));
        }
        Ok(made)
    }
}

impl<A: Access> Tables<A> {
    /// Returns the keys of a namespace that differ between two points in time, in the order of their bytes.
    pub(super) fn diff(
        &self,
        namespace: &str,
        before: &When,
        after: &When,
    ) -> Result<Vec<Difference>, Trouble> {
        let mut found = Vec::new();
        for key in self.keys(namespace, "")? {
            let id = (namespace, key.as_str());
            let rows = [self.when(id, before)?, self.when(id, after)?];
            if is_same(rows[0].as_ref(), rows[1].as_ref()) {
                continue;
            }
            let version = |row: Option<Row>| {
                row.filter(|row| row.facts.kind == Kind::Value)
                    .map(|row| Version::of(self.place(id, row.sequence), row.facts))
                    .transpose()
            };
            let [before, after] = rows;
            let (before, after) = (version(before)?, version(after)?);
            found.push(Difference { key, before, after });
        }
        Ok(found)
    }
}
