//! One commit: what it changes, the number that it gets, and what retention removes on the way.

use jiff::Timestamp;
use redb::{ReadableTable as _, WriteTransaction};

use super::{
    Options,
    envelope::{self, Facts, Form, Kind, Row},
    error::Trouble,
    payload::{self, Packed},
    read::{Pin, Version},
    retention::{self, Kept},
    tables::{META_KEY, META_SALT, META_SEQUENCE, PART_BYTES, Tables, Writing, pin_tag},
};
use crate::{
    Hash, KeySource,
    hash::sha256,
    keys::{self, SealingLock, SecretKey},
};

/// Whether a value is sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Secrecy {
    /// It is stored as it is.
    Open,
    /// It is stored sealed.
    Secret,
}

/// How a value is stored.
#[derive(Clone, Copy, Debug)]
pub struct Put {
    /// When it is stored.
    pub at: Timestamp,
    /// Whether it is sealed. A key that holds a secret takes only secrets until it is deleted.
    pub secrecy: Secrecy,
    /// The version that the key must have now, so that nobody else's change is lost; 0 for a key
    /// that is not there.
    pub expected: Option<u64>,
}

/// What a new version holds.
pub(super) enum Content<'a> {
    Deletion,
    Open(&'a [u8]),
    Secret(&'a [u8]),
}

/// A commit that is being put together. All its versions share one sequence.
pub(super) struct Commit<'a> {
    pub(super) tables: Tables<Writing<'a>>,
    /// The number of this commit.
    sequence: u64,
    chain: Hash,
    /// How many versions it made.
    changes: u32,
    /// Whether there is anything to be committed.
    changed: bool,
    at: Timestamp,
    keys: &'a KeySource,
    /// Held until the commit, if something was sealed.
    sealing: Option<SealingLock>,
    kept: Kept,
}

/// A commit that is put together.
pub(super) struct Finished {
    /// Whether there is anything to be committed.
    pub(super) changed: bool,
    /// To be dropped after the commit.
    pub(super) _sealing: Option<SealingLock>,
}

impl<'a> Commit<'a> {
    pub(super) fn begin(
        transaction: &'a WriteTransaction,
        at: Timestamp,
        options: &'a Options,
    ) -> Result<Self, Trouble> {
        let tables = Tables::open_to_write(transaction)?;
        let (last, chain) = tables.head()?;
        Ok(Self {
            tables,
            sequence: last + 1,
            chain,
            changes: 0,
            changed: false,
            at,
            keys: &options.keys,
            sealing: None,
            kept: options.kept,
        })
    }

    pub(super) fn put(
        &mut self,
        id: (&str, &str),
        value: &[u8],
        put: Put,
    ) -> Result<Version, Trouble> {
        let newest = self.tables.newest(id)?;
        let live = newest.as_ref().filter(|it| it.facts.kind == Kind::Value);
        self.check_expected(id, put.expected)?;
        let content = match put.secrecy {
            Secrecy::Secret => Content::Secret(value),
            Secrecy::Open if live.is_some_and(|it| it.facts.form.is_sealed()) => {
                let key = id.1.to_owned();
                return Err(Trouble::StaysSecret { key });
            }
            Secrecy::Open => Content::Open(value),
        };
        self.append(id, newest.as_ref(), content, 0)
    }

    /// Fails if the key has another version than was expected.
    pub(super) fn check_expected(
        &self,
        id: (&str, &str),
        expected: Option<u64>,
    ) -> Result<(), Trouble> {
        let Some(expected) = expected else {
            return Ok(());
        };
        let newest = self.tables.newest(id)?;
        let live = newest.filter(|it| it.facts.kind == Kind::Value);
        let found = live.map_or(0, |it| it.facts.number);
        if found == expected {
            return Ok(());
        }
        Err(Trouble::Conflict {
            key: id.1.to_owned(),
            expected,
            found,
        })
    }

    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// Deletes a key; `None` if it is not there.
    pub(super) fn delete(&mut self, id: (&str, &str)) -> Result<Option<Version>, Trouble> {
        let newest = self.tables.newest(id)?;
        if !newest
            .as_ref()
            .is_some_and(|it| it.facts.kind == Kind::Value)
        {
            return Ok(None);
        }
        self.append(id, newest.as_ref(), Content::Deletion, 0)
            .map(Some)
    }

    /// Pins the last sequence under a name. A name that is pinned keeps what it holds.
    pub(super) fn pin(&mut self, name: &str) -> Result<Pin, Trouble> {
        match self.tables.pinned(name)? {
            Some(_) => self.tables.pin(name),
            None => self.pin_at(name, self.sequence - 1),
        }
    }

    /// Pins an earlier sequence under a name, if all of it is kept.
    pub(super) fn pin_at(&mut self, name: &str, sequence: u64) -> Result<Pin, Trouble> {
        self.tables.check_reached(sequence)?;
        let mut newer = Vec::new();
        // What is there now is kept; only for an earlier time each key has to be looked at.
        let is_earlier = sequence < self.sequence - 1;
        for entry in is_earlier
            .then(|| self.tables.newest.iter())
            .transpose()?
            .into_iter()
            .flatten()
        {
            let (id, pointer) = entry?;
            if pointer.value().0 > sequence {
                let (namespace, key) = id.value();
                newer.push((namespace.to_owned(), key.to_owned()));
            }
        }
        for (namespace, key) in newer {
            self.tables.at((&namespace, &key), sequence)?;
        }
        let at = self.at.as_microsecond();
        let tag = pin_tag(self.tables.id, name, sequence, at);
        self.tables.pins.insert(name, (sequence, at, &tag))?;
        self.changed = true;
        self.tables.pin(name)
    }

    /// Removes a pin, and returns whether there was one.
    pub(super) fn unpin(&mut self, name: &str) -> Result<bool, Trouble> {
        let was_there = self.tables.pins.remove(name)?.is_some();
        self.changed |= was_there;
        Ok(was_there)
    }

    /// Returns the last sequence, with what was changed so far.
    pub(super) fn sequence(&self) -> u64 {
        if self.changes == 0 {
            self.sequence - 1
        } else {
            self.sequence
        }
    }

    /// Writes the number of this commit if it made versions, and returns whether it changed anything.
    pub(super) fn finish(mut self) -> Result<Finished, Trouble> {
        if self.changes > 0 {
            let sequence = u128::from(self.sequence);
            self.tables.meta.insert(META_SEQUENCE, sequence)?;
        }
        Ok(Finished {
            changed: self.changed,
            _sealing: self.sealing.take(),
        })
    }

    pub(super) fn keys(&self) -> &'a KeySource {
        self.keys
    }

    /// Rows were replaced, and no version was made.
    pub(super) fn changed_in_place(&mut self) {
        self.changed = true;
    }

    /// Returns the name of the key that the store is sealed with.
    pub(super) fn known_key(&self) -> Result<Option<u64>, Trouble> {
        let known = self.tables.meta.get(META_KEY)?.map(|id| id.value());
        Ok(known.and_then(|id| u64::try_from(id).ok()))
    }

    /// Appends a version to those of a key, and removes what retention does not keep.
    pub(super) fn append(
        &mut self,
        id: (&str, &str),
        newest: Option<&Row>,
        content: Content<'_>,
        origin: u64,
    ) -> Result<Version, Trouble> {
        let (kind, form, size) = match content {
            Content::Deletion => (Kind::Deletion, Form::default(), 0),
            Content::Open(value) => (Kind::Value, Form::default(), value.len()),
            Content::Secret(value) => (Kind::Value, payload::sealed_form(value.len()), value.len()),
        };
        let mut facts = Facts {
            kind,
            form,
            number: newest.map_or(0, |it| it.facts.number) + 1,
            previous: newest.map_or(0, |it| it.sequence),
            at: self.at.as_microsecond(),
            origin,
            size: size as u64,
        };
        let place = self.tables.place(id, self.sequence);
        let payload = match content {
            Content::Deletion => Vec::new(),
            Content::Open(value) => {
                let Packed { form, bytes } = payload::pack(value);
                facts.form = form;
                bytes
            }
            Content::Secret(value) => {
                let key = self.sealing_key()?;
                key.seal(&payload::bound_to(place, facts), value)?
            }
        };
        let (row, tag) = envelope::write(place, facts, &payload);
        let version_id = (id.0, id.1, self.sequence);
        if facts.form.apart {
            for (number, part) in (0_u32..).zip(payload.chunks(PART_BYTES)) {
                let part_id = (id.0, id.1, self.sequence, number);
                self.tables.values.insert(part_id, part)?;
            }
        }
        self.tables.versions.insert(version_id, row.as_slice())?;
        self.tables.newest.insert(id, (self.sequence, &tag))?;
        self.chain = sha256(&[&self.chain, &tag]);
        let change = (id.0, id.1, &tag, &self.chain);
        self.tables
            .log
            .insert((self.sequence, self.changes), change)?;
        self.changes += 1;
        self.changed = true;
        retention::prune(&mut self.tables, id, facts, self.kept)?;
        Version::of(place, facts)
    }

    /// Returns the key that secrets are sealed with, and remembers its name. It is made only when no
    /// secret would be left behind that another key had sealed.
    fn sealing_key(&mut self) -> Result<SecretKey, Trouble> {
        if self.sealing.is_none() {
            self.sealing = self.keys.lock_to_seal()?;
        }
        let known = self.known_key()?;
        let salt = self.tables.salt()?;
        let found = self.keys.named(known, salt)?;
        let is_known = |key: &SecretKey| Some(key.id()) == known;
        if let Some(key) = found.filter(is_known) {
            return Ok(key);
        }
        if let Some(sealed_with) = known
            && self.has_secrets()?
        {
            return match self.keys.named(known, salt)? {
                None => Err(self.keys.missing().into()),
                Some(key) => Err(key.is_wrong(sealed_with).into()),
            };
        }
        self.first_key()
    }

    /// Returns the key of a store without secrets.
    fn first_key(&mut self) -> Result<SecretKey, Trouble> {
        let mut salt = None;
        if matches!(self.keys, KeySource::Passphrase { .. }) {
            let mut bytes = [0; 16];
            keys::random(&mut bytes)?;
            let made = u128::from_le_bytes(bytes);
            self.tables.meta.insert(META_SALT, made)?;
            salt = Some(made);
        }
        // Making a key file takes the lock alone.
        self.sealing = None;
        drop(self.keys.for_new_store(salt)?);
        self.sealing = self.keys.lock_to_seal()?;
        let key = self.keys.for_new_store(salt)?;
        self.tables.meta.insert(META_KEY, u128::from(key.id()))?;
        Ok(key)
    }

    /// Whether the newest version of any key is a secret.
    fn has_secrets(&self) -> Result<bool, Trouble> {
        for entry in self.tables.newest.iter()? {
            let (found, _) = entry?;
            let newest = self.tables.newest(found.value())?;
            if newest.is_some_and(|row| row.facts.form.is_sealed()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
