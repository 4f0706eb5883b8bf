//! The store at one moment: several readings that see the same, whoever writes meanwhile.

use redb::ReadableDatabase as _;

use super::{
    Entry, Listed, Store, StoreReadError, Version, When,
    error::Trouble,
    tables::{Reading, Tables},
};

/// The store as it was when this was made. What is written later is not seen.
///
/// Many readings through one of these are quicker than as many of the store itself.
pub struct View<'a> {
    store: &'a Store,
    tables: Tables<Reading>,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("path", &self.store.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Returns the store as it is now.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be read.
    pub fn view(&self) -> Result<View<'_>, StoreReadError> {
        let tables =
            self.guarded(|database| Tables::<Reading>::open_to_read(&database.begin_read()?));
        match tables {
            Ok(tables) => Ok(View {
                store: self,
                tables,
            }),
            Err(trouble) => Err(StoreReadError::of(&self.path, trouble)),
        }
    }
}

impl View<'_> {
    /// Returns a value of a key, as [`Store::get`].
    ///
    /// # Errors
    ///
    /// As [`Store::get`].
    pub fn get(
        &self,
        namespace: &str,
        key: &str,
        when: &When,
    ) -> Result<Option<Entry>, StoreReadError> {
        let id = (namespace, key);
        self.read(|tables| match tables.when(id, when)? {
            Some(row) => tables.entry(id, row, &self.store.options.keys),
            None => Ok(None),
        })
    }

    /// Returns the versions of a key that are kept, as [`Store::history`].
    ///
    /// # Errors
    ///
    /// As [`Store::history`].
    pub fn history(&self, namespace: &str, key: &str) -> Result<Vec<Version>, StoreReadError> {
        self.read(|tables| tables.history((namespace, key)))
    }

    /// Returns the keys that begin with `prefix` and are not deleted, as [`Store::list`].
    ///
    /// # Errors
    ///
    /// As [`Store::list`].
    pub fn list(&self, namespace: &str, prefix: &str) -> Result<Vec<Listed>, StoreReadError> {
        self.read(|tables| tables.list(namespace, prefix))
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Tables<Reading>) -> Result<T, Trouble>,
    ) -> Result<T, StoreReadError> {
        self.store
            .guarded(|_| work(&self.tables))
            .map_err(|trouble| StoreReadError::of(&self.store.path, trouble))
    }
}
