//! The same versioned store on `SQLite`, as one would write it by hand: no hashes, no seals, no chain.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, OptionalExtension as _, params};

/// What is there at the end of a namespace's keys that begin with a prefix: no key is larger.
const AFTER: char = '\u{10FFFF}';

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS versions(
        namespace TEXT, key TEXT, sequence INTEGER, at INTEGER, value BLOB,
        PRIMARY KEY (namespace, key, sequence)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS log(sequence INTEGER, key TEXT, PRIMARY KEY (sequence, key)) WITHOUT ROWID;
";

/// Each transaction has the next number of the sequence.
pub(super) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    pub(super) fn open(path: &Path, synchronous: &str) -> anyhow::Result<Self> {
        let connection = Connection::open(path).context("cannot open SQLite's database")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection })
    }

    /// Stores values in one transaction.
    pub(super) fn put(&mut self, entries: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let sequence: i64 = transaction
                .prepare_cached("SELECT coalesce(max(sequence), 0) + 1 FROM log")?
                .query_row([], |row| row.get(0))?;
            let mut insert =
                transaction.prepare_cached("INSERT INTO versions VALUES ('state', ?, ?, 0, ?)")?;
            let mut log = transaction.prepare_cached("INSERT INTO log VALUES (?, ?)")?;
            for (key, value) in entries {
                insert.execute(params![key, sequence, value])?;
                log.execute(params![sequence, key])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Looks each key up as it was at a sequence, all in one transaction.
    pub(super) fn get_all(&mut self, keys: &[String], sequence: i64) -> anyhow::Result<usize> {
        let transaction = self.connection.transaction()?;
        let mut found = 0;
        {
            let mut select = transaction.prepare_cached(
                "SELECT value FROM versions WHERE namespace = 'state' AND key = ? AND sequence <= ?
                 ORDER BY sequence DESC LIMIT 1",
            )?;
            for key in keys {
                let value: Option<Vec<u8>> = select
                    .query_row(params![key, sequence], |row| row.get(0))
                    .optional()?;
                found += value.map_or(0, |it| it.len());
            }
        }
        Ok(found)
    }

    /// Returns how many keys begin so; each with its newest version.
    pub(super) fn list(&self, prefix: &str) -> anyhow::Result<usize> {
        let mut select = self.connection.prepare_cached(
            "SELECT key, max(sequence), at, length(value) FROM versions
             WHERE namespace = 'state' AND key >= ? AND key < ? GROUP BY key",
        )?;
        let rows = select.query_map(params![prefix, format!("{prefix}{AFTER}")], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(3)?,
            ))
        })?;
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        Ok(rows.len())
    }

    /// Returns how many versions a key has.
    pub(super) fn history(&self, key: &str) -> anyhow::Result<usize> {
        let mut select = self.connection.prepare_cached(
            "SELECT sequence, at, length(value) FROM versions
             WHERE namespace = 'state' AND key = ? ORDER BY sequence",
        )?;
        let rows = select.query_map(params![key], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })?;
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        Ok(rows.len())
    }
}
