//! The tables of the store, for reading and for writing, and how one walks the versions of a key.

use std::borrow::Borrow;

use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, Value,
    WriteTransaction,
};
use zeroize::Zeroizing;

use super::{
    envelope::{self, Head, Kind, Place, Row, StoreId},
    error::{Corruption, Trouble},
};
use crate::{Hash, hash::sha256};

/// Facts about the store itself.
pub(super) const META: TableDefinition<'_, &str, u128> = TableDefinition::new("meta");
pub(super) const META_FORMAT: &str = "format";
/// The number of the store.
pub(super) const META_ID: &str = "id";
/// The number of the last commit.
pub(super) const META_SEQUENCE: &str = "sequence";
/// The name of the key that sealed the last secret.
pub(super) const META_KEY: &str = "key";

/// The salt of the key, if it is derived from a passphrase.
pub(super) const META_SALT: &str = "salt";

/// Every version of every key, without large values.
const VERSIONS: TableDefinition<'_, VersionId, &[u8]> = TableDefinition::new("versions");

/// The payloads that are too large for their row, in parts of [`PART_BYTES`].
const VALUES: TableDefinition<'_, PartId, &[u8]> = TableDefinition::new("values");

/// With its names, a part just fits into a page of redb of 1 MiB: the sizes of pages are powers of
/// two, and a page with more in it would be one of 2 MiB.
pub(super) const PART_BYTES: usize = 1024 * 1024 - 8 * 1024;

/// The sequence and the tag of the newest version of each key.
const NEWEST: TableDefinition<'_, KeyId, Pointer> = TableDefinition::new("newest");

/// What each commit changed, in order: name and tag of the version, and the hash of all changes up to it.
const LOG: TableDefinition<'_, (u64, u32), Change> = TableDefinition::new("log");

/// The named points in time that retention keeps: sequence, time, tag.
const PINS: TableDefinition<'_, &str, Pin> = TableDefinition::new("pins");

pub(super) type VersionId = (&'static str, &'static str, u64);
pub(super) type PartId = (&'static str, &'static str, u64, u32);
type KeyId = (&'static str, &'static str);
type Pointer = (u64, &'static [u8; 32]);
type Change = (
    &'static str,
    &'static str,
    &'static [u8; 32],
    &'static [u8; 32],
);
type Pin = (u64, i64, &'static [u8; 32]);

const PIN_DOMAIN: &[u8] = b"sandbox-state pin 1\0";

/// Reading or writing: which kind of table that means.
pub(super) trait Access {
    type Of<K: Key + 'static, V: Value + 'static>: ReadableTable<K, V>;
}

pub(super) struct Reading;

impl Access for Reading {
    type Of<K: Key + 'static, V: Value + 'static> = ReadOnlyTable<K, V>;
}

pub(super) struct Writing<'a>(std::marker::PhantomData<&'a ()>);

impl<'a> Access for Writing<'a> {
    type Of<K: Key + 'static, V: Value + 'static> = Table<'a, K, V>;
}

pub(super) struct Tables<A: Access> {
    pub(super) id: StoreId,
    pub(super) meta: A::Of<&'static str, u128>,
    pub(super) versions: A::Of<VersionId, &'static [u8]>,
    pub(super) values: A::Of<PartId, &'static [u8]>,
    pub(super) newest: A::Of<KeyId, Pointer>,
    pub(super) log: A::Of<(u64, u32), Change>,
    pub(super) pins: A::Of<&'static str, Pin>,
}

/// Creates the tables of an empty store.
pub(super) fn create(
    transaction: &WriteTransaction,
    format: u64,
    id: StoreId,
) -> Result<(), Trouble> {
    let mut meta = transaction.open_table(META)?;
    meta.insert(META_FORMAT, u128::from(format))?;
    meta.insert(META_ID, id)?;
    meta.insert(META_SEQUENCE, 0)?;
    transaction.open_table(VERSIONS)?;
    transaction.open_table(VALUES)?;
    transaction.open_table(NEWEST)?;
    transaction.open_table(LOG)?;
    transaction.open_table(PINS)?;
    Ok(())
}

impl Tables<Reading> {
    pub(super) fn open_to_read(transaction: &ReadTransaction) -> Result<Self, Trouble> {
        let meta = transaction.open_table(META)?;
        Ok(Self {
            id: store_id(&meta)?,
            meta,
            versions: transaction.open_table(VERSIONS)?,
            values: transaction.open_table(VALUES)?,
            newest: transaction.open_table(NEWEST)?,
            log: transaction.open_table(LOG)?,
            pins: transaction.open_table(PINS)?,
        })
    }
}

impl<'a> Tables<Writing<'a>> {
    pub(super) fn open_to_write(transaction: &'a WriteTransaction) -> Result<Self, Trouble> {
        let meta = transaction.open_table(META)?;
        Ok(Self {
            id: store_id(&meta)?,
            meta,
            versions: transaction.open_table(VERSIONS)?,
            values: transaction.open_table(VALUES)?,
            newest: transaction.open_table(NEWEST)?,
            log: transaction.open_table(LOG)?,
            pins: transaction.open_table(PINS)?,
        })
    }
}

fn store_id(meta: &impl ReadableTable<&'static str, u128>) -> Result<StoreId, Trouble> {
    let id = meta.get(META_ID)?.map(|id| id.value());
    id.ok_or(Trouble::Damaged(Corruption::NotADatabase))
}

impl<A: Access> Tables<A> {
    pub(super) fn place<'k>(
        &self,
        (namespace, key): (&'k str, &'k str),
        sequence: u64,
    ) -> Place<'k> {
        Place {
            store: self.id,
            namespace,
            key,
            sequence,
        }
    }

    /// Returns the number of the last commit and the hash of all changes.
    pub(super) fn head(&self) -> Result<(u64, Hash), Trouble> {
        let counted = self.meta.get(META_SEQUENCE)?.map(|it| it.value());
        let (sequence, chain) = match self.log.last()? {
            Some((id, change)) => (id.value().0, *change.value().3),
            None => (0, [0; 32]),
        };
        if counted == Some(u128::from(sequence)) {
            Ok((sequence, chain))
        } else {
            Err(Trouble::Damaged(Corruption::Log { sequence }))
        }
    }

    /// Returns the salt of the key, if there is one.
    pub(super) fn salt(&self) -> Result<Option<u128>, Trouble> {
        Ok(self.meta.get(META_SALT)?.map(|salt| salt.value()))
    }

    /// Returns the newest row of a key; `None` if the key never was. It is never a gap.
    pub(super) fn newest(&self, id: (&str, &str)) -> Result<Option<Row>, Trouble> {
        match self.around(id, u64::MAX)? {
            (Some(row), _) if row.facts.kind == Kind::Gap => {
                Err(self.place(id, row.sequence).missing())
            }
            (row, _) => Ok(row),
        }
    }

    /// Returns the version that a key had at `sequence`, checked.
    pub(super) fn at(&self, id: (&str, &str), sequence: u64) -> Result<Option<Row>, Trouble> {
        let (row, after) = self.around(id, sequence)?;
        let in_gap = |row: &Head| row.facts.kind == Kind::Gap;
        if row.as_deref().is_some_and(in_gap)
            || after.is_some_and(|after| in_gap(&after) && after.begins() <= sequence)
        {
            return Err(Trouble::not_kept(id.1, format!("sequence {sequence}")));
        }
        Ok(row)
    }

    /// Returns the last row up to `sequence` and the first one after it, and checks that there is
    /// none between the two: the one after, or the table of the newest, must know it as its neighbour.
    fn around(
        &self,
        id: (&str, &str),
        sequence: u64,
    ) -> Result<(Option<Row>, Option<Head>), Trouble> {
        let (namespace, key) = id;
        let found = self
            .versions
            .range((namespace, key, 0)..=(namespace, key, sequence))?
            .next_back()
            .transpose()?;
        let row = match found {
            Some((found, bytes)) => {
                let place = self.place(id, found.value().2);
                Some(envelope::read(place, bytes.value())?)
            }
            None => None,
        };
        let found = match sequence.checked_add(1) {
            Some(next) => self
                .versions
                .range((namespace, key, next)..=(namespace, key, u64::MAX))?
                .next()
                .transpose()?,
            None => None,
        };
        let before = row.as_ref().map_or(0, |row| row.sequence);
        let Some((found, bytes)) = found else {
            self.check_newest(id, row.as_deref())?;
            return Ok((row, None));
        };
        let place = self.place(id, found.value().2);
        let after = envelope::read_head(place, bytes.value())?;
        if after.facts.previous != before {
            return Err(place.missing());
        }
        Ok((row, Some(after)))
    }

    /// Returns all rows of a key, oldest first, gaps included, and checks that none is missing.
    pub(super) fn rows(&self, id: (&str, &str)) -> Result<Vec<Row>, Trouble> {
        self.all(id, envelope::read)
    }

    /// Returns what all rows of a key say, oldest first, gaps included, and checks that none is missing.
    pub(super) fn heads(&self, id: (&str, &str)) -> Result<Vec<Head>, Trouble> {
        self.all(id, envelope::read_head)
    }

    fn all<T: Borrow<Head>>(
        &self,
        id: (&str, &str),
        read: impl Fn(Place<'_>, &[u8]) -> Result<T, Trouble>,
    ) -> Result<Vec<T>, Trouble> {
        let (namespace, key) = id;
        let mut rows: Vec<T> = Vec::new();
        let found = self
            .versions
            .range((namespace, key, 0)..=(namespace, key, u64::MAX))?;
        for entry in found {
            let (found, bytes) = entry?;
            let place = self.place(id, found.value().2);
            let row = read(place, bytes.value())?;
            let facts = row.borrow().facts;
            let last = rows.last().map(Borrow::borrow);
            let (before, number) = last.map_or((0, 0), |last| (last.sequence, last.facts.number));
            let versions = match facts.kind {
                Kind::Value | Kind::Deletion => 1,
                Kind::Gap => facts.size,
            };
            if facts.previous != before || number.checked_add(versions) != Some(facts.number) {
                return Err(place.missing());
            }
            rows.push(row);
        }
        self.check_newest(id, rows.last().map(Borrow::borrow))?;
        Ok(rows)
    }

    /// Checks that `last` is what the table of the newest versions has.
    fn check_newest(&self, id: (&str, &str), last: Option<&Head>) -> Result<(), Trouble> {
        let known = self.newest.get(id)?.map(|it| {
            let (sequence, tag) = it.value();
            (sequence, *tag)
        });
        if known == last.map(|last| (last.sequence, last.tag)) {
            Ok(())
        } else {
            let sequence = last.map_or(0, |last| last.sequence);
            Err(self.place(id, sequence).missing())
        }
    }

    /// Returns the bytes of a version as they are stored, checked: what its row has, or what lies apart.
    pub(super) fn payload(
        &self,
        id: (&str, &str),
        row: &Head,
        inline: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        if !row.facts.form.apart {
            return Ok(Zeroizing::new(inline));
        }
        let place = self.place(id, row.sequence);
        let part = |number| (id.0, id.1, row.sequence, number);
        let mut payload = Zeroizing::new(Vec::new());
        for entry in self.values.range(part(0)..=part(u32::MAX))? {
            payload.extend_from_slice(entry?.1.value());
        }
        if sha256(&[&payload]) == row.digest {
            Ok(payload)
        } else {
            Err(place.changed())
        }
    }

    /// Returns the sequence that a pin holds.
    pub(super) fn pinned(&self, name: &str) -> Result<Option<(u64, i64)>, Trouble> {
        let Some(pin) = self.pins.get(name)? else {
            return Ok(None);
        };
        let (sequence, at, tag) = pin.value();
        if *tag == pin_tag(self.id, name, sequence, at) {
            Ok(Some((sequence, at)))
        } else {
            Err(Trouble::Damaged(Corruption::Pin {
                name: name.to_owned(),
            }))
        }
    }
}

pub(super) fn pin_tag(store: StoreId, name: &str, sequence: u64, at: i64) -> Hash {
    sha256(&[
        PIN_DOMAIN,
        &store.to_le_bytes(),
        &sequence.to_le_bytes(),
        &at.to_le_bytes(),
        name.as_bytes(),
    ])
}
