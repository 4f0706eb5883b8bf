//! The keys of a namespace: one walk over two tables, which must have the same ones.

use redb::ReadableTable as _;

use super::{
    envelope::{self, Head, Kind},
    error::Trouble,
    read::{Listed, Version},
    tables::{Access, Tables},
};

impl<A: Access> Tables<A> {
    /// Returns the keys that begin with `prefix`, deleted ones included.
    pub(super) fn keys(&self, namespace: &str, prefix: &str) -> Result<Vec<String>, Trouble> {
        let mut keys = Vec::new();
        self.walk(namespace, prefix, |key, _| {
            keys.push(key.to_owned());
            Ok(())
        })?;
        Ok(keys)
    }

    pub(super) fn list(&self, namespace: &str, prefix: &str) -> Result<Vec<Listed>, Trouble> {
        let mut listed = Vec::new();
        self.walk(namespace, prefix, |key, head| {
            if head.facts.kind == Kind::Value {
                let place = self.place((namespace, key), head.sequence);
                let newest = Version::of(place, head.facts)?;
                let key = key.to_owned();
                listed.push(Listed { key, newest });
            }
            Ok(())
        })?;
        Ok(listed)
    }

    /// Calls `found` for the newest row of each key that begins with `prefix`.
    ///
    /// The row that the table of the newest names must be the last one of its key, and the next one must be of the next
    /// key: so a key that is missing in one of the tables is missed in the other.
    fn walk(
        &self,
        namespace: &str,
        prefix: &str,
        mut found: impl FnMut(&str, &Head) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let missing = || self.place((namespace, prefix), 0).missing();
        let first = self.versions.range((namespace, prefix, 0)..)?.next();
        let mut next = key_of(
            namespace,
            prefix,
            first.transpose()?.as_ref().map(|it| it.0.value()),
        );
        for entry in self.newest.range((namespace, prefix)..)? {
            let (id, pointer) = entry?;
            let (found_namespace, key) = id.value();
            if found_namespace != namespace || !key.starts_with(prefix) {
                break;
            }
            if next.as_deref() != Some(key) {
                return Err(missing());
            }
            let (sequence, tag) = pointer.value();
            let place = self.place((namespace, key), sequence);
            let mut rows = self.versions.range((namespace, key, sequence)..)?;
            let row = rows.next().transpose()?.ok_or_else(missing)?;
            if row.0.value() != (namespace, key, sequence) {
                return Err(place.missing());
            }
            let head = envelope::read_head(place, row.1.value())?;
            if head.tag != *tag || head.facts.kind == Kind::Gap {
                return Err(place.missing());
            }
            let after = rows.next().transpose()?;
            next = key_of(namespace, prefix, after.as_ref().map(|it| it.0.value()));
            if next.as_deref() == Some(key) {
                return Err(place.missing());
            }
            found(key, &head)?;
        }
        if next.is_some() {
            return Err(missing());
        }
        Ok(())
    }
}

/// Returns the key of a row, if it begins with `prefix`.
fn key_of(namespace: &str, prefix: &str, row: Option<(&str, &str, u64)>) -> Option<String> {
    let (found_namespace, key, _) = row?;
    (found_namespace == namespace && key.starts_with(prefix)).then(|| key.to_owned())
}
