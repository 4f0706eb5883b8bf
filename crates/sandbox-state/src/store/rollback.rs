//! What was, as new versions: of a key, of a prefix, of everything.

use serde::Serialize;

use super::{
    envelope::{Kind, Row},
    error::Trouble,
    payload::Value,
    read::Version,
    tables::{Access, Tables},
    write::{Commit, Content},
};

/// What a rollback of everything changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RolledBack {
    /// The sequence of the store now.
    pub sequence: u64,
    /// The keys that got a new version, which is a deletion for those that were not there.
    pub changed: Vec<(String, Version)>,
}

/// A key that a rollback of everything changes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct KeyBack {
    /// The key.
    pub key: String,
    /// The number of the version that is brought back; `None` if the key is deleted.
    pub restores: Option<u64>,
}

impl Commit<'_> {
    /// Makes an old version the newest one again.
    pub(super) fn rollback(&mut self, id: (&str, &str), number: u64) -> Result<Version, Trouble> {
        let restored = self.tables.numbered(id, number)?;
        let newest = self.tables.newest(id)?;
        self.restore(id, newest.as_ref(), Some(&restored))
    }

    /// Makes every key of a namespace that begins with a prefix what it was at `sequence`.
    pub(super) fn rollback_to(
        &mut self,
        (namespace, prefix): (&str, &str),
        sequence: u64,
    ) -> Result<Vec<(String, Version)>, Trouble> {
        let mut changed = Vec::new();
        for (key, now, then) in differing(&self.tables, (namespace, prefix), sequence)? {
            let version = self.restore((namespace, &key), Some(&now), then.as_ref())?;
            changed.push((key, version));
        }
        Ok(changed)
    }

    /// Appends what `then` was: a deletion if there was nothing.
    fn restore(
        &mut self,
        id: (&str, &str),
        newest: Option<&Row>,
        then: Option<&Row>,
    ) -> Result<Version, Trouble> {
        let origin = then.map_or(0, |it| it.facts.number);
        let value: Option<(Value, bool)> = match then {
            None => None,
            Some(row) => {
                let entry = self.tables.entry(id, row.clone(), self.keys())?;
                entry.map(|it| (it.value, it.version.secret))
            }
        };
        let content = match &value {
            None => Content::Deletion,
            Some((value, true)) => Content::Secret(value),
            Some((value, false)) => Content::Open(value),
        };
        self.append(id, newest, content, origin)
    }
}

/// Returns the keys of a namespace with a prefix that are not what they were at `sequence`, as they are now and as
/// they were then.
fn differing<A: Access>(
    tables: &Tables<A>,
    (namespace, prefix): (&str, &str),
    sequence: u64,
) -> Result<Vec<(String, Row, Option<Row>)>, Trouble> {
    tables.check_reached(sequence)?;
    let mut found = Vec::new();
    for key in tables.keys(namespace, prefix)? {
        let id = (namespace, key.as_str());
        let Some(now) = tables.newest(id)?.filter(|it| it.sequence > sequence) else {
            continue;
        };
        let then = tables.at(id, sequence)?;
        if !is_same(Some(&now), then.as_ref()) {
            found.push((key, now, then));
        }
    }
    Ok(found)
}

/// Returns what [`Commit::rollback_to`] would do.
pub(super) fn rollback_plan<A: Access>(
    tables: &Tables<A>,
    which: (&str, &str),
    sequence: u64,
) -> Result<Vec<KeyBack>, Trouble> {
    let back = |(key, _, then): (String, Row, Option<Row>)| KeyBack {
        key,
        restores: then
            .filter(|it| it.facts.kind == Kind::Value)
            .map(|it| it.facts.number),
    };
    let found = differing(tables, which, sequence)?;
    Ok(found.into_iter().map(back).collect())
}

/// Whether a key is now what it was: the same version, or one that brings the other back, or the same bytes, or not there.
pub(super) fn is_same(now: Option<&Row>, then: Option<&Row>) -> bool {
    let live = |row: Option<&Row>| row.is_some_and(|it| it.facts.kind == Kind::Value);
    match (now, then) {
        (Some(now), Some(then)) if live(Some(now)) && live(Some(then)) => {
            now.facts.number == then.facts.number
                || now.facts.origin == then.facts.number
                || then.facts.origin == now.facts.number
                || (now.digest == then.digest
                    && now.facts.form == then.facts.form
                    && !now.facts.form.is_sealed())
        }
        _ => !live(now) && !live(then),
    }
}
