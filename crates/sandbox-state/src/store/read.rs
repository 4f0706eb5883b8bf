//! What is read from the tables: values, lists, histories, and the check of everything.

use jiff::Timestamp;
use redb::{ReadableTable as _, ReadableTableMetadata as _};
use serde::Serialize;

use super::{
    envelope::{self, Facts, Head, Kind, Place, Row},
    error::{Corruption, LookupError, Trouble},
    payload::{self, Value},
    tables::{Access, PART_BYTES, Reading, Tables},
};
use crate::{
    Hash, KeySource,
    hash::{hex, sha256},
};

/// One version of a key, without its value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Version {
    /// Its number among the versions of its key; the first is 1.
    pub version: u64,
    /// The number of the commit that made it: it names the state of the whole store.
    pub sequence: u64,
    /// When, as its writer said; to the microsecond.
    pub at: Timestamp,
    /// Whether its value is sealed.
    pub secret: bool,
    /// The length of its value.
    pub bytes: u64,
    /// Whether it deleted the key.
    pub deleted: bool,
    /// The number of the version that it brought back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
}

/// A value with the version that it belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The version.
    pub version: Version,
    /// The value.
    pub value: Value,
}

/// One key that is there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Its newest version.
    #[serde(flatten)]
    pub newest: Version,
}

/// One version that a commit made.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Change {
    /// The namespace of the key.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The version.
    #[serde(flatten)]
    pub version: Version,
}

/// Which value of a key is meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum When {
    /// The newest.
    Newest,
    /// That of the version with this number.
    Version(u64),
    /// The one that the key had when the store was at this sequence.
    Sequence(u64),
    /// The one that the key had when this pin was set.
    Pin(String),
    /// The one that the key had at this time, as its writers said.
    Time(Timestamp),
}

/// A named point in time that retention keeps.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Pin {
    /// Its name.
    pub name: String,
    /// The sequence that it holds.
    pub sequence: u64,
    /// When it was set.
    pub at: Timestamp,
}

/// What a check of the whole store found: nothing wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct StoreVerification {
    /// The number of the last commit.
    pub sequence: u64,
    /// How many keys there are, deleted ones included.
    pub keys: u64,
    /// How many versions are kept.
    pub versions: u64,
    /// The hash of all changes in hexadecimal. Kept elsewhere, it shows later whether the store was
    /// replaced by an older one.
    pub head: Option<String>,
}

impl Version {
    pub(super) fn of(place: Place<'_>, facts: Facts) -> Result<Self, Trouble> {
        let at = Timestamp::from_microsecond(facts.at).map_err(|_beyond| place.changed())?;
        Ok(Self {
            version: facts.number,
            sequence: place.sequence,
            at,
            secret: facts.form.is_sealed(),
            bytes: facts.size,
            deleted: facts.kind == Kind::Deletion,
            restores: Some(facts.origin).filter(|origin| *origin > 0),
        })
    }
}

impl<A: Access> Tables<A> {
    /// Returns the value of a row; `None` if it deleted the key.
    pub(super) fn entry(
        &self,
        id: (&str, &str),
        Row { head: row, inline }: Row,
        keys: &KeySource,
    ) -> Result<Option<Entry>, Trouble> {
        if row.facts.kind != Kind::Value {
            return Ok(None);
        }
        let place = self.place(id, row.sequence);
        let payload = self.payload(id, &row, inline)?;
        // Only what is sealed needs a key.
        let salt = if row.facts.form.is_sealed() {
            self.salt()?
        } else {
            None
        };
        let key = |wanted| keys.named(wanted, salt)?.ok_or_else(|| keys.missing());
        Ok(Some(Entry {
            version: Version::of(place, row.facts)?,
            value: payload::unpack(place, &row, payload, key)?,
        }))
    }

    /// Returns the row that `when` means; `None` if the key was not there.
    pub(super) fn when(&self, id: (&str, &str), when: &When) -> Result<Option<Row>, Trouble> {
        match when {
            When::Newest => self.newest(id),
            When::Version(number) => self.numbered(id, *number).map(Some),
            When::Sequence(sequence) => {
                self.check_reached(*sequence)?;
                self.at(id, *sequence)
            }
            When::Pin(name) => self.at(id, self.pin(name)?.sequence),
            When::Time(at) => self.at_time(id, *at),
        }
    }

    /// Returns the last version that is not younger.
    fn at_time(&self, id: (&str, &str), at: Timestamp) -> Result<Option<Row>, Trouble> {
        let mut found = None;
        let mut not_kept = false;
        for row in self.heads(id)? {
            if row.facts.kind == Kind::Gap {
                not_kept = true;
            } else if row.facts.at <= at.as_microsecond() {
                found = Some(row);
                not_kept = false;
            } else {
                break;
            }
        }
        if not_kept {
            return Err(Trouble::not_kept(id.1, format!("version of {at}")));
        }
        found.map(|head| self.whole(id, &head)).transpose()
    }

    /// Returns the whole row that says this.
    fn whole(&self, id: (&str, &str), head: &Head) -> Result<Row, Trouble> {
        let place = self.place(id, head.sequence);
        let bytes = self.versions.get((id.0, id.1, head.sequence))?;
        let bytes = bytes.ok_or_else(|| place.missing())?;
        envelope::read(place, bytes.value())
    }

    /// Returns the version of this number.
    pub(super) fn numbered(&self, id: (&str, &str), number: u64) -> Result<Row, Trouble> {
        let rows = self.heads(id)?;
        let newest = rows.last().map_or(0, |row| row.facts.number);
        let found = rows.into_iter().find(|row| row.facts.number >= number);
        match found {
            Some(row) if number > 0 && row.facts.kind == Kind::Gap => {
                Err(Trouble::not_kept(id.1, format!("version {number}")))
            }
            Some(row) if number > 0 => self.whole(id, &row),
            Some(_) | None => Err(LookupError::NoVersion {
                key: id.1.to_owned(),
                number,
                newest,
            }
            .into()),
        }
    }

    pub(super) fn check_reached(&self, sequence: u64) -> Result<(), Trouble> {
        let (last, _) = self.head()?;
        if sequence <= last {
            Ok(())
        } else {
            Err(LookupError::NoSequence { sequence, last }.into())
        }
    }

    pub(super) fn history(&self, id: (&str, &str)) -> Result<Vec<Version>, Trouble> {
        self.heads(id)?
            .iter()
            .filter(|row| row.facts.kind != Kind::Gap)
            .map(|row| Version::of(self.place(id, row.sequence), row.facts))
            .collect()
    }

    /// Returns the versions that were made after `sequence` and are kept, in the order of their commits.
    pub(super) fn changes(&self, sequence: u64) -> Result<Vec<Change>, Trouble> {
        let mut changes = Vec::new();
        let Some(next) = sequence.checked_add(1) else {
            return Ok(changes);
        };
        for entry in self.log.range((next, 0)..)? {
            let (found, change) = entry?;
            let (namespace, key, ..) = change.value();
            let place = self.place((namespace, key), found.value().0);
            let row = match self.at((namespace, key), place.sequence) {
                Ok(Some(row)) if row.sequence == place.sequence => row,
                Ok(_) => return Err(place.missing()),
                Err(Trouble::Lookup(LookupError::NotKept { .. })) => continue,
                Err(trouble) => return Err(trouble),
            };
            changes.push(Change {
                namespace: namespace.to_owned(),
                key: key.to_owned(),
                version: Version::of(place, row.facts)?,
            });
        }
        Ok(changes)
    }

    /// Returns the pin of this name.
    pub(super) fn pin(&self, name: &str) -> Result<Pin, Trouble> {
        let (sequence, at) = self.pinned(name)?.ok_or_else(|| LookupError::NoPin {
            name: name.to_owned(),
        })?;
        let name = name.to_owned();
        match Timestamp::from_microsecond(at) {
            Ok(at) => Ok(Pin { name, sequence, at }),
            Err(_beyond) => Err(Trouble::Damaged(Corruption::Pin { name })),
        }
    }

    /// Returns all pins, by name.
    pub(super) fn all_pins(&self) -> Result<Vec<Pin>, Trouble> {
        let mut pins = Vec::new();
        for entry in self.pins.iter()? {
            pins.push(self.pin(entry?.0.value())?);
        }
        Ok(pins)
    }
}

impl Tables<Reading> {
    pub(super) fn verify(&self) -> Result<StoreVerification, Trouble> {
        let (sequence, head) = self.head()?;
        let (last, chain) = self.verify_log()?;
        let mut keys = 0;
        let (mut rows, mut gaps, mut parts) = (0, 0, 0);
        for entry in self.newest.iter()? {
            let (found, _) = entry?;
            let id = found.value();
            for Row { head: row, inline } in self.rows(id)? {
                let payload = self.payload(id, &row, inline)?;
                rows += 1;
                gaps += u64::from(row.facts.kind == Kind::Gap);
                if row.facts.form.apart {
                    parts += payload.len().div_ceil(PART_BYTES) as u64;
                }
            }
            keys += 1;
        }
        let counted = self.versions.len()? == rows && self.values.len()? == parts;
        if last != sequence || chain != head || !counted {
            return Err(Trouble::Damaged(Corruption::Log { sequence: last }));
        }
        self.all_pins()?;
        Ok(StoreVerification {
            sequence,
            keys,
            versions: rows - gaps,
            head: (sequence > 0).then(|| hex(&head)),
        })
    }

    /// Recomputes the hash of all changes, and checks that each of them is there or was removed.
    fn verify_log(&self) -> Result<(u64, Hash), Trouble> {
        let mut chain = [0; 32];
        let mut last = (0, u32::MAX);
        for entry in self.log.iter()? {
            let (found, change) = entry?;
            let number = found.value();
            let (namespace, key, tag, hash) = change.value();
            chain = sha256(&[&chain, tag]);
            let next = number == (last.0, last.1.wrapping_add(1)) || number == (last.0 + 1, 0);
            if !next || number.0 == 0 || *hash != chain {
                return Err(Trouble::Damaged(Corruption::Log { sequence: number.0 }));
            }
            last = number;
            let place = self.place((namespace, key), number.0);
            let found = self.versions.range((namespace, key, number.0)..)?.next();
            let (found, bytes) = found.transpose()?.ok_or_else(|| place.missing())?;
            let (found_namespace, found_key, sequence) = found.value();
            if (found_namespace, found_key) != (namespace, key) {
                return Err(place.missing());
            }
            let row = envelope::read(self.place((namespace, key), sequence), bytes.value())?;
            let is_it = sequence == number.0 && row.tag == *tag;
            let removed = row.facts.kind == Kind::Gap && row.begins() <= number.0;
            if !is_it && !removed {
                return Err(place.missing());
            }
        }
        Ok((last.0, chain))
    }
}
