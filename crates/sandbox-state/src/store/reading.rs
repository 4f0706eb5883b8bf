//! What can be asked of an open store.

use redb::ReadableDatabase as _;

use super::{
    Change, Difference, Entry, KeyBack, Listed, Pin, Store, StoreReadError, StoreVerification,
    Version, When,
    error::Trouble,
    rollback,
    tables::{Reading, Tables},
};

impl Store {
    /// Returns all pins, by name.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be read or is damaged.
    pub fn pins(&self) -> Result<Vec<Pin>, StoreReadError> {
        self.read(Tables::all_pins)
    }

    /// Returns the keys that [`Store::rollback_to`] would change, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// Fails when the store has not come so far, when what a key was then is no longer kept, and as
    /// [`Store::history`].
    pub fn rollback_plan(
        &self,
        namespace: &str,
        sequence: u64,
    ) -> Result<Vec<KeyBack>, StoreReadError> {
        self.read(|tables| rollback::rollback_plan(tables, (namespace, ""), sequence))
    }

    /// Returns a value of a key; `None` if there was none, or it was deleted.
    ///
    /// # Errors
    ///
    /// Fails when there is no such version, pin or sequence, when it is no longer kept, when the key
    /// of the secrets cannot be used, when the store cannot be read, or what it holds for the key is
    /// damaged.
    pub fn get(
        &self,
        namespace: &str,
        key: &str,
        when: &When,
    ) -> Result<Option<Entry>, StoreReadError> {
        let id = (namespace, key);
        self.read(|tables| match tables.when(id, when)? {
            Some(row) => tables.entry(id, row, &self.options.keys),
            None => Ok(None),
        })
    }

    /// Returns the versions of a key that are kept, oldest first; none if the key never was.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be read, or a version is damaged or missing.
    pub fn history(&self, namespace: &str, key: &str) -> Result<Vec<Version>, StoreReadError> {
        self.read(|tables| tables.history((namespace, key)))
    }

    /// Returns the keys that differ between two points in time, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// Fails when one of them is not kept, and as [`Store::history`].
    pub fn diff(
        &self,
        namespace: &str,
        before: &When,
        after: &When,
    ) -> Result<Vec<Difference>, StoreReadError> {
        self.read(|tables| tables.diff(namespace, before, after))
    }

    /// Returns the keys that begin with `prefix` and are not deleted, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// As [`Store::history`], for each of these keys.
    pub fn list(&self, namespace: &str, prefix: &str) -> Result<Vec<Listed>, StoreReadError> {
        self.read(|tables| tables.list(namespace, prefix))
    }

    /// Returns the number of the last commit; 0 if there was none.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be read or is damaged.
    pub fn sequence(&self) -> Result<u64, StoreReadError> {
        self.read(|tables| Ok(tables.head()?.0))
    }

    /// Returns the versions that commits after `sequence` made, in their order, without those that
    /// are no longer kept.
    ///
    /// # Errors
    ///
    /// As [`Store::history`].
    pub fn changes(&self, sequence: u64) -> Result<Vec<Change>, StoreReadError> {
        self.read(|tables| tables.changes(sequence))
    }

    /// Checks every version and value, that none is missing, and the chain of all changes.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be read, or at the first damage.
    pub fn verify(&self) -> Result<StoreVerification, StoreReadError> {
        self.read(Tables::verify)
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Tables<Reading>) -> Result<T, Trouble>,
    ) -> Result<T, StoreReadError> {
        self.guarded(|database| work(&Tables::open_to_read(&database.begin_read()?)?))
            .map_err(|trouble| StoreReadError::of(&self.path, trouble))
    }
}
