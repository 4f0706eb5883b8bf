//! Seals every secret of a store anew, with another key, in one commit.
//!
//! A sealed value is bound to its place and its facts, and neither changes: the rows stay where they are, with another
//! payload. Their digests and tags change with it, so the chain of the log is computed again.

use redb::ReadableTable as _;
use serde::Serialize;

use super::{
    envelope::{self, Row},
    error::{Corruption, Trouble},
    payload,
    tables::{META_KEY, META_SALT, PART_BYTES},
    write::Commit,
};
use crate::{
    KeySource,
    hash::{Hash, hex, sha256},
    keys::{self, SecretKey},
};

/// What [`super::Store::rekey`] did.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Rekeyed {
    /// The number of the last commit, which stays.
    pub sequence: u64,
    /// How many versions were sealed anew; 0 if they were sealed with this key already.
    pub versions: u64,
    /// The name of the key now.
    pub key: String,
    /// The hash of all changes in hexadecimal.
    pub head: Option<String>,
}

/// A namespace and a key.
type Id = (String, String);

impl Commit<'_> {
    pub(super) fn rekey(&mut self, to: &KeySource) -> Result<Rekeyed, Trouble> {
        let known = self.known_key()?;
        let salt = self.tables.salt()?;
        let (key, salt) = match to.named(known, salt)? {
            Some(key) if Some(key.id()) == known => return self.rekeyed(&key, 0),
            Some(_) if matches!(to, KeySource::Passphrase { .. }) => {
                let mut salt = [0; 16];
                keys::random(&mut salt)?;
                let salt = u128::from_le_bytes(salt);
                let key = to.named(None, Some(salt))?.ok_or_else(|| to.missing())?;
                (key, Some(salt))
            }
            Some(key) => (key, salt),
            None => return Err(to.missing().into()),
        };
        let sealed = self.sealed()?;
        for (id, row) in &sealed {
            self.seal_anew((&id.0, &id.1), row, &key)?;
        }
        self.tables.meta.insert(META_KEY, u128::from(key.id()))?;
        if let Some(salt) = salt {
            self.tables.meta.insert(META_SALT, salt)?;
        }
        if !sealed.is_empty() {
            self.chain_anew()?;
        }
        self.changed_in_place();
        self.rekeyed(&key, sealed.len() as u64)
    }

    fn rekeyed(&self, key: &SecretKey, versions: u64) -> Result<Rekeyed, Trouble> {
        let (sequence, head) = self.tables.head()?;
        Ok(Rekeyed {
            sequence,
            versions,
            key: format!("{:016x}", key.id()),
            head: (sequence > 0).then(|| hex(&head)),
        })
    }

    /// Returns every row with a sealed value.
    fn sealed(&self) -> Result<Vec<(Id, Row)>, Trouble> {
        let mut sealed = Vec::new();
        for entry in self.tables.versions.iter()? {
            let (found, bytes) = entry?;
            let (namespace, key, sequence) = found.value();
            let row = envelope::read(self.tables.place((namespace, key), sequence), bytes.value())?;
            if row.facts.form.is_sealed() {
                sealed.push(((namespace.to_owned(), key.to_owned()), row));
            }
        }
        Ok(sealed)
    }

    fn seal_anew(&mut self, id: (&str, &str), row: &Row, key: &SecretKey) -> Result<(), Trouble> {
        let place = self.tables.place(id, row.sequence);
        let value = self.tables.entry(id, row.clone(), self.keys())?;
        let value = value.ok_or_else(|| place.changed())?.value;
        let payload = key.seal(&payload::bound_to(place, row.facts), &value)?;
        let (bytes, tag) = envelope::write(place, row.facts, &payload);
        let version = (id.0, id.1, row.sequence);
        self.tables.versions.insert(version, bytes.as_slice())?;
        if row.facts.form.apart {
            for (number, part) in (0_u32..).zip(payload.chunks(PART_BYTES)) {
                let part_id = (id.0, id.1, row.sequence, number);
                self.tables.values.insert(part_id, part)?;
            }
        }
        let is_newest = self.tables.newest.get(id)?.map(|it| it.value().0) == Some(row.sequence);
        if is_newest {
            self.tables.newest.insert(id, (row.sequence, &tag))?;
        }
        Ok(())
    }

    /// Writes the tags of all versions that are kept into the log, and the chain over them.
    fn chain_anew(&mut self) -> Result<(), Trouble> {
        let mut chain: Hash = [0; 32];
        let mut log = Vec::new();
        for entry in self.tables.log.iter()? {
            let (found, change) = entry?;
            let (number, (namespace, key, tag, _)) = (found.value(), change.value());
            let id = (namespace, key);
            let row = self.tables.versions.get((namespace, key, number.0))?;
            let row = row
                .map(|bytes| envelope::read(self.tables.place(id, number.0), bytes.value()))
                .transpose()?;
            // One that is no longer kept has a gap in its place, or none, and keeps the tag that it had.
            let kept = row.filter(|row| row.facts.kind != envelope::Kind::Gap);
            let tag = kept.map_or(*tag, |row| row.tag);
            chain = sha256(&[&chain, &tag]);
            log.push((number, namespace.to_owned(), key.to_owned(), tag, chain));
        }
        if log.is_empty() {
            return Err(Trouble::Damaged(Corruption::Log { sequence: 0 }));
        }
        for (number, namespace, key, tag, chain) in &log {
            let change = (namespace.as_str(), key.as_str(), tag, chain);
            self.tables.log.insert(*number, change)?;
        }
        Ok(())
    }
}
