//! The tables of the store and what is read from and written to them.

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata as _, Table,
    TableDefinition, WriteTransaction,
};
use serde::Serialize;

use super::{
    envelope::{self, Envelope, Place},
    error::{Corruption, Trouble},
};
use crate::{
    Hash,
    hash::{hex, sha256},
};

/// Facts about the store itself.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const META_FORMAT: &str = "format";
const META_SEQUENCE: &str = "sequence";

/// Every version of every key: the envelopes.
const VERSIONS: TableDefinition<'_, (&str, &str, u64), &[u8]> = TableDefinition::new("versions");

/// The number and the tag of the newest version of each key.
const NEWEST: TableDefinition<'_, (&str, &str), (u64, &[u8; 32])> = TableDefinition::new("newest");

/// What each number of the sequence changed, and the hash of all changes up to it.
const LOG: TableDefinition<'_, u64, (&str, &str, &[u8; 32])> = TableDefinition::new("log");

/// One version of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    /// Its number.
    pub sequence: u64,
    /// The value; `None` when this version deleted the key.
    pub value: Option<Vec<u8>>,
}

/// One key that is there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// The number of its newest version.
    pub sequence: u64,
}

/// What a check of the whole store found: nothing wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct StoreVerification {
    /// The number of the last change; as many versions there are.
    pub sequence: u64,
    /// How many keys there are, deleted ones included.
    pub keys: u64,
    /// The hash of all changes in hexadecimal. Kept elsewhere, it shows later whether the store was
    /// replaced by an older one.
    pub head: Option<String>,
}

/// Creates the tables of an empty store.
pub(super) fn create(transaction: &WriteTransaction, format: u64) -> Result<(), Trouble> {
    let mut meta = transaction.open_table(META)?;
    meta.insert(META_FORMAT, format)?;
    meta.insert(META_SEQUENCE, 0)?;
    transaction.open_table(VERSIONS)?;
    transaction.open_table(NEWEST)?;
    transaction.open_table(LOG)?;
    Ok(())
}

type VersionId = (&'static str, &'static str, u64);
type KeyId = (&'static str, &'static str);
type Pointer = (u64, &'static [u8; 32]);
type Change = (&'static str, &'static str, &'static [u8; 32]);

#[derive(Debug)]
pub(super) struct ReadTables {
    meta: ReadOnlyTable<&'static str, u64>,
    versions: ReadOnlyTable<VersionId, &'static [u8]>,
    newest: ReadOnlyTable<KeyId, Pointer>,
    log: ReadOnlyTable<u64, Change>,
}

impl ReadTables {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, Trouble> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            versions: transaction.open_table(VERSIONS)?,
            newest: transaction.open_table(NEWEST)?,
            log: transaction.open_table(LOG)?,
        })
    }

    pub(super) fn sequence(&self) -> Result<u64, Trouble> {
        Ok(head(&self.meta, &self.log)?.0)
    }

    pub(super) fn get_at(
        &self,
        namespace: &str,
        key: &str,
        sequence: u64,
    ) -> Result<Option<Vec<u8>>, Trouble> {
        let id = (namespace, key);
        let value = |place: Place<'_>, envelope: &Envelope<'_>| envelope.value(place);
        Ok(version_at(&self.versions, &self.newest, id, sequence, value)?.flatten())
    }

    pub(super) fn history(&self, namespace: &str, key: &str) -> Result<Vec<Version>, Trouble> {
        let mut history = Vec::new();
        let mut last = Last::None;
        let versions = self
            .versions
            .range((namespace, key, 0)..=(namespace, key, u64::MAX))?;
        for entry in versions {
            let (found, bytes) = entry?;
            let place = Place {
                namespace,
                key,
                sequence: found.value().2,
            };
            let envelope = envelope::open(place, bytes.value())?;
            if envelope.previous != last.sequence() {
                return Err(place.missing());
            }
            last = Last::Version(place.sequence, envelope.tag);
            history.push(Version {
                sequence: place.sequence,
                value: envelope.value(place)?,
            });
        }
        check_newest(&self.newest, (namespace, key), last)?;
        Ok(history)
    }

    pub(super) fn list(&self, namespace: &str, prefix: &str) -> Result<Vec<Listed>, Trouble> {
        // A key that is missing in one of the tables is still in the other.
        let keys = self.keys_with_versions(namespace, prefix)?;
        if keys != self.keys_with_newest(namespace, prefix)? {
            return Err(Place {
                namespace,
                key: prefix,
                sequence: 0,
            }
            .missing());
        }
        let mut listed = Vec::new();
        for key in keys {
            let id = (namespace, key.as_str());
            let live = |place: Place<'_>, envelope: &Envelope<'_>| {
                Ok((place.sequence, !envelope.is_deletion()))
            };
            let newest = version_at(&self.versions, &self.newest, id, u64::MAX, live)?;
            if let Some((sequence, true)) = newest {
                listed.push(Listed { key, sequence });
            }
        }
        Ok(listed)
    }

    fn keys_with_versions(&self, namespace: &str, prefix: &str) -> Result<Vec<String>, Trouble> {
        let mut keys: Vec<String> = Vec::new();
        for entry in self.versions.range((namespace, prefix, 0)..)? {
            let (found, _) = entry?;
            let (found_namespace, key, _) = found.value();
            if found_namespace != namespace || !key.starts_with(prefix) {
                break;
            }
            if keys.last().is_none_or(|last| last != key) {
                keys.push(key.to_owned());
            }
        }
        Ok(keys)
    }

    fn keys_with_newest(&self, namespace: &str, prefix: &str) -> Result<Vec<String>, Trouble> {
        let mut keys = Vec::new();
        for entry in self.newest.range((namespace, prefix)..)? {
            let (found, _) = entry?;
            let (found_namespace, key) = found.value();
            if found_namespace != namespace || !key.starts_with(prefix) {
                break;
            }
            keys.push(key.to_owned());
        }
        Ok(keys)
    }

    pub(super) fn verify(&self) -> Result<StoreVerification, Trouble> {
        let (sequence, head) = head(&self.meta, &self.log)?;
        let damaged = |sequence| Trouble::Damaged(Corruption::Log { sequence });
        let mut chain = [0; 32];
        let mut number = 0;
        for entry in self.log.iter()? {
            let (found, logged) = entry?;
            number += 1;
            let (namespace, key, hash) = logged.value();
            let place = Place {
                namespace,
                key,
                sequence: number,
            };
            let version = self.versions.get((namespace, key, number))?;
            let version = version.ok_or_else(|| place.missing())?;
            let envelope = envelope::open(place, version.value())?;
            envelope.value(place)?;
            chain = sha256(&[&chain, &envelope.tag]);
            if found.value() != number || *hash != chain {
                return Err(damaged(number));
            }
        }
        let mut keys = 0;
        for entry in self.newest.iter()? {
            let (found, _) = entry?;
            let (namespace, key) = found.value();
            self.history(namespace, key)?;
            keys += 1;
        }
        if number != sequence || chain != head || self.versions.len()? != number {
            return Err(damaged(number));
        }
        Ok(StoreVerification {
            sequence,
            keys,
            head: (sequence > 0).then(|| hex(&head)),
        })
    }
}

pub(super) struct WriteTables<'a> {
    meta: Table<'a, &'static str, u64>,
    versions: Table<'a, VersionId, &'static [u8]>,
    newest: Table<'a, KeyId, Pointer>,
    log: Table<'a, u64, Change>,
}

impl<'a> WriteTables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, Trouble> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            versions: transaction.open_table(VERSIONS)?,
            newest: transaction.open_table(NEWEST)?,
            log: transaction.open_table(LOG)?,
        })
    }

    pub(super) fn is_live(&self, namespace: &str, key: &str) -> Result<bool, Trouble> {
        let live = |_: Place<'_>, envelope: &Envelope<'_>| Ok(!envelope.is_deletion());
        let id = (namespace, key);
        let newest = version_at(&self.versions, &self.newest, id, u64::MAX, live)?;
        Ok(newest == Some(true))
    }

    /// Writes the next version; `None` deletes.
    pub(super) fn put(
        &mut self,
        namespace: &str,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<u64, Trouble> {
        let (sequence, head) = head(&self.meta, &self.log)?;
        let place = Place {
            namespace,
            key,
            sequence: sequence + 1,
        };
        let previous = self.newest.get((namespace, key))?.map(|it| it.value().0);
        let (envelope, tag) = envelope::seal(place, previous.unwrap_or(0), value);
        let id = (namespace, key, place.sequence);
        self.versions.insert(id, envelope.as_slice())?;
        self.newest
            .insert((namespace, key), (place.sequence, &tag))?;
        let chain = sha256(&[&head, &tag]);
        self.log.insert(place.sequence, (namespace, key, &chain))?;
        self.meta.insert(META_SEQUENCE, place.sequence)?;
        Ok(place.sequence)
    }
}

/// Returns the number of the last change and the hash of all changes.
fn head(
    meta: &impl ReadableTable<&'static str, u64>,
    log: &impl ReadableTable<u64, Change>,
) -> Result<(u64, Hash), Trouble> {
    let counted = meta.get(META_SEQUENCE)?.map(|sequence| sequence.value());
    let (sequence, chain) = match log.last()? {
        Some((sequence, logged)) => (sequence.value(), *logged.value().2),
        None => (0, [0; 32]),
    };
    if counted == Some(sequence) {
        Ok((sequence, chain))
    } else {
        Err(Trouble::Damaged(Corruption::Log { sequence }))
    }
}

/// The version after which there should be no newer one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Last {
    None,
    Version(u64, Hash),
}

impl Last {
    fn sequence(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Version(sequence, _) => sequence,
        }
    }
}

/// Gives the version that a key had at `sequence` to `take`, checked, and checked that there is none
/// between the two: the version after it, or the table of the newest, must know it as its neighbour.
fn version_at<T>(
    versions: &impl ReadableTable<VersionId, &'static [u8]>,
    newest: &impl ReadableTable<KeyId, Pointer>,
    (namespace, key): (&str, &str),
    sequence: u64,
    take: impl FnOnce(Place<'_>, &Envelope<'_>) -> Result<T, Trouble>,
) -> Result<Option<T>, Trouble> {
    let place = |sequence| Place {
        namespace,
        key,
        sequence,
    };
    let found = versions
        .range((namespace, key, 0)..=(namespace, key, sequence))?
        .next_back()
        .transpose()?;
    let (last, taken) = match &found {
        None => (Last::None, None),
        Some((id, bytes)) => {
            let place = place(id.value().2);
            let envelope = envelope::open(place, bytes.value())?;
            let last = Last::Version(place.sequence, envelope.tag);
            (last, Some(take(place, &envelope)?))
        }
    };
    let after = match sequence.checked_add(1) {
        None => None,
        Some(next) => versions
            .range((namespace, key, next)..=(namespace, key, u64::MAX))?
            .next()
            .transpose()?,
    };
    match after {
        None => check_newest(newest, (namespace, key), last)?,
        Some((id, bytes)) => {
            let place = place(id.value().2);
            if envelope::open(place, bytes.value())?.previous != last.sequence() {
                return Err(place.missing());
            }
        }
    }
    Ok(taken)
}

/// Checks that `last` is what the table of the newest versions has.
fn check_newest(
    newest: &impl ReadableTable<KeyId, Pointer>,
    (namespace, key): (&str, &str),
    last: Last,
) -> Result<(), Trouble> {
    let known = match newest.get((namespace, key))? {
        None => Last::None,
        Some(pointer) => {
            let (sequence, tag) = pointer.value();
            Last::Version(sequence, *tag)
        }
    };
    if known == last {
        Ok(())
    } else {
        let sequence = last.sequence();
        Err(Place {
            namespace,
            key,
            sequence,
        }
        .missing())
    }
}
