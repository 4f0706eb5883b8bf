//! The index: where each chunk lies, which snapshots there are, what the workspace looked like.
//!
//! It is a redb database and says nothing that the packs do not say, except the stat cache. redb
//! answers damaged pages with panics; they are contained here.

use std::{
    cell::Cell,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

mod backend;

use redb::{
    Builder, Database, DatabaseError, Durability, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction,
    ReadableDatabase as _, TableDefinition, WriteTransaction,
};

use backend::{Backend, Handle as Storage};

use super::{
    cipher::{Cipher, Sealing},
    error::{RepositoryError, Trouble},
    image::Image,
    node::Hash,
};
use crate::{
    file_error::{FileError, cannot},
    step::{self, step},
};

/// Chunk -> block, offset in the block, length.
pub(super) const CHUNKS: TableDefinition<'_, &[u8; 32], (u64, u32, u32)> =
    TableDefinition::new("chunks");
/// Block -> pack, offset, length of the frame.
pub(super) const BLOCKS: TableDefinition<'_, u64, (u32, u64, u32)> = TableDefinition::new("blocks");
/// Pack -> length of the file.
pub(super) const PACKS: TableDefinition<'_, u32, u64> = TableDefinition::new("packs");
/// Number of a snapshot -> hash of its record.
pub(super) const SNAPSHOTS: TableDefinition<'_, u64, &[u8; 32]> = TableDefinition::new("snapshots");
/// Hash of the record of a deleted snapshot that still lies in a pack -> hash of its deletion.
pub(super) const DELETED: TableDefinition<'_, &[u8; 32], &[u8; 32]> =
    TableDefinition::new("deleted");
/// Directory (half of the SHA-256 of its path) -> what it looked like.
pub(super) const SEEN: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("seen");
/// The snapshot (hash of its record) that the rows of [`SEEN`] belong to, under [`CURRENT`].
pub(super) const SEEN_BY: TableDefinition<'_, &str, &[u8; 32]> = TableDefinition::new("seen-by");
pub(super) const CURRENT: &str = "current";
/// Numbers.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";

const FORMAT: u64 = 1;
/// Pages that redb keeps in memory.
const CACHE_BYTES: usize = 24 << 20;

/// The index, open.
pub(super) struct Index {
    database: Option<Handle>,
    pub(super) path: PathBuf,
    /// Its directory, open since before the first pack was written: a sync through it tells of each
    /// write that failed meanwhile, also to somebody else who asked first.
    directory: File,
    /// Whether a change failed halfway: redb looks at it when it opens the file again.
    torn: Cell<bool>,
    /// Whether somebody else makes it durable.
    is_draft: bool,
}

enum Handle {
    Write(Database, Storage),
    Read(ReadOnlyDatabase),
    /// In memory, and not to be kept.
    Memory(Database),
    /// In memory; each change replaces the file.
    Sealed(Database, Image, Arc<Cipher>),
}

/// Where an index lies, and how.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) path: PathBuf,
    pub(super) sealing: Sealing,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Whether redb checks all its pages while it opens the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Check {
    All,
    AsNeeded,
}

impl Index {
    /// Opens the index to change it.
    pub(super) fn open(location: &Location, check: Check) -> Result<Self, RepositoryError> {
        let path = location.path.as_path();
        exists(path)?;
        if let Some(cipher) = &location.sealing {
            return Self::open_sealed(path, cipher);
        }
        let open = || {
            let repairs = check == Check::All;
            let mut builder = builder();
            builder.set_check_integrity_on_open(repairs);
            let (backend, storage) = Backend::open(path, repairs)?;
            let database = builder.create_with_backend(backend)?;
            storage.opened();
            Ok(Handle::Write(database, storage))
        };
        Self::opened(path, open)
    }

    /// Opens the index to read it; `None` if it must be repaired first.
    pub(super) fn open_to_read(location: &Location) -> Result<Option<Self>, RepositoryError> {
        let path = location.path.as_path();
        exists(path)?;
        if let Some(cipher) = &location.sealing {
            return Self::open_sealed(path, cipher).map(Some);
        }
        let mut repair = false;
        let open = || match builder().open_read_only(path) {
            Ok(database) => Ok(Handle::Read(database)),
            Err(error) => {
                repair = matches!(error, DatabaseError::RepairAborted);
                Err(error.into())
            }
        };
        match Self::opened(path, open) {
            Err(_) if repair => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open_sealed(path: &Path, cipher: &Arc<Cipher>) -> Result<Self, RepositoryError> {
        let image = Image::load(path, cipher).map_err(cannot("read", path))?;
        let image = image.ok_or_else(|| RepositoryError::Index {
            path: path.to_owned(),
            why: "it is not what was sealed".to_owned(),
        })?;
        Self::opened(path, || {
            let database = builder().create_with_backend(image.clone())?;
            Ok(Handle::Sealed(database, image, Arc::clone(cipher)))
        })
    }

    /// Begins the index of a repository that is being made: whoever makes it makes it durable too.
    pub(super) fn begin(location: &Location) -> Result<Self, RepositoryError> {
        let path = location.path.as_path();
        let fill = |database: Database| -> Result<Database, Trouble> {
            let transaction = begin(&database)?;
            create_tables(&transaction)?;
            transaction.commit()?;
            Ok(database)
        };
        let begun = if let Some(cipher) = &location.sealing {
            let image = Image::default();
            Self::opened(path, || {
                let database = builder().create_with_backend(image.clone())?;
                Ok(Handle::Sealed(fill(database)?, image, Arc::clone(cipher)))
            })
        } else {
            private(path).map_err(cannot("create", path))?;
            Self::opened(path, || {
                let (backend, storage) = Backend::begin(path)?;
                let database = builder().create_with_backend(backend)?;
                Ok(Handle::Write(fill(database)?, storage))
            })
        };
        let mut index = begun?;
        index.is_draft = true;
        Ok(index)
    }

    /// Makes an index in memory, filled by `fill`: what is planned with it changes nothing. `location`
    /// says where it would be.
    pub(super) fn in_memory(
        location: &Location,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), Trouble>,
    ) -> Result<Self, RepositoryError> {
        let path = location.path.as_path();
        let image = Image::default();
        contain(|| filled(builder().create_with_backend(image.clone())?, fill))
            .map_err(|trouble| trouble.at(path))?;
        Self::opened(path, || {
            Ok(Handle::Memory(builder().create_with_backend(image)?))
        })
    }

    fn opened(
        path: &Path,
        open: impl FnOnce() -> Result<Handle, Trouble>,
    ) -> Result<Self, RepositoryError> {
        let parent = path.parent().unwrap_or(Path::new("."));
        let index = Self {
            directory: File::open(parent).map_err(cannot("open", parent))?,
            database: Some(contain(open).map_err(|trouble| trouble.at(path))?),
            path: path.to_owned(),
            torn: Cell::new(false),
            is_draft: false,
        };
        let format = index.read(|transaction| {
            let meta = transaction.open_table(META)?;
            Ok(meta.get(META_FORMAT)?.map(|format| format.value()))
        })?;
        match format {
            Some(FORMAT) => Ok(index),
            Some(version) if version > FORMAT => Err(RepositoryError::Newer {
                path: path.to_owned(),
                version,
                known: FORMAT,
            }),
            Some(_) | None => Err(RepositoryError::Index {
                path: path.to_owned(),
                why: "it has no format number".to_owned(),
            }),
        }
    }

    /// Makes a new index, filled by `fill`: under another name first, because redb refuses for ever a
    /// file whose creation was cut off. It is durable when the format is written, which comes after it.
    pub(super) fn create(
        location: &Location,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), Trouble>,
    ) -> Result<(), RepositoryError> {
        let path = location.path.as_path();
        if let Some(cipher) = &location.sealing {
            let image = Image::default();
            contain(|| filled(builder().create_with_backend(image.clone())?, fill))
                .map_err(|trouble| trouble.at(path))?;
            image.publish(path, cipher).map_err(cannot("write", path))?;
            return Ok(());
        }
        let draft = path.with_extension("redb.new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("remove", &draft)(error).into());
            }
            _ => {}
        }
        private(&draft).map_err(cannot("create", &draft))?;
        let make = || -> Result<_, Trouble> {
            Ok(builder().create_with_backend(Backend::unsynced(&draft)?)?)
        };
        contain(|| filled(make()?, fill)).map_err(|trouble| trouble.at(&draft))?;
        let publish = || step().and_then(|()| fs::rename(&draft, path));
        publish().map_err(cannot("publish", &draft))?;
        Ok(())
    }

    /// Reads; a panic of redb is an error.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Trouble>,
    ) -> Result<T, RepositoryError> {
        contain(|| {
            let transaction = match &self.database {
                Some(
                    Handle::Write(database, _)
                    | Handle::Sealed(database, ..)
                    | Handle::Memory(database),
                ) => database.begin_read()?,
                Some(Handle::Read(database)) => database.begin_read()?,
                None => return Err(Trouble::Damaged("it was closed".to_owned())),
            };
            work(&transaction)
        })
        .map_err(|trouble| trouble.at(&self.path))
    }

    /// Changes the index in one durable step. What was written before, packs and their names too, is
    /// durable before it.
    pub(super) fn write(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), Trouble>,
    ) -> Result<(), RepositoryError> {
        if !self.is_draft {
            let synced = step::sync_file_system(&self.directory);
            synced.map_err(cannot("sync the file system of", &self.path))?;
        }
        step().map_err(cannot("change", &self.path))?;
        self.torn.set(true);
        contain(|| {
            let Some(Handle::Write(database, _) | Handle::Sealed(database, ..)) = &self.database
            else {
                return Err(Trouble::Damaged("it was opened to read".to_owned()));
            };
            let transaction = begin(database)?;
            work(&transaction)?;
            transaction.commit()?;
            Ok(())
        })
        .map_err(|trouble| trouble.at(&self.path))?;
        self.torn.set(false);
        if let Some(Handle::Sealed(_, image, cipher)) = &self.database {
            let published = if self.is_draft {
                image.write(&self.path, cipher).map(drop)
            } else {
                image.publish(&self.path, cipher)
            };
            published.map_err(cannot("change", &self.path))?;
        }
        Ok(())
    }

    /// Opens the tables that say where a chunk lies.
    pub(super) fn lookup(&self) -> Result<Lookup, RepositoryError> {
        self.read(|transaction| {
            Ok(Lookup {
                chunks: transaction.open_table(CHUNKS)?,
                blocks: transaction.open_table(BLOCKS)?,
                path: self.path.clone(),
            })
        })
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let database = self.database.take();
        if let Some(Handle::Write(_, storage)) = &database
            && !self.torn.get()
        {
            storage.end();
        }
        // Closing writes to the file, and may panic like all else when that is damaged.
        drop(contain(|| {
            drop(database);
            Ok(())
        }));
    }
}

/// Where chunks lie.
pub(super) struct Lookup {
    chunks: ReadOnlyTable<&'static [u8; 32], (u64, u32, u32)>,
    blocks: ReadOnlyTable<u64, (u32, u64, u32)>,
    path: PathBuf,
}

/// Where one chunk lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) offset: u32,
    pub(super) bytes: u32,
}

impl Lookup {
    pub(super) fn chunk(&self, hash: &Hash) -> Result<Option<Place>, RepositoryError> {
        contain(|| {
            let row = self.chunks.get(&hash.0)?.map(|row| row.value());
            Ok(row.map(|(block, offset, bytes)| Place {
                block,
                offset,
                bytes,
            }))
        })
        .map_err(|trouble| trouble.at(&self.path))
    }

    /// Returns the pack, the offset and the length of a block's frame.
    pub(super) fn block(&self, block: u64) -> Result<Option<(u32, u64, u32)>, RepositoryError> {
        contain(|| Ok(self.blocks.get(block)?.map(|row| row.value())))
            .map_err(|trouble| trouble.at(&self.path))
    }
}

/// Opens an empty file that only its owner can read, whatever the caller's umask is.
pub(super) fn private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    options.mode(0o600).open(path)
}

fn exists(path: &Path) -> Result<(), RepositoryError> {
    match path.metadata() {
        // redb would make a new database of an empty file; ours is never empty.
        Ok(metadata) if metadata.len() > 0 => Ok(()),
        Ok(_) => Err(RepositoryError::Index {
            path: path.to_owned(),
            why: "it is empty".to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(RepositoryError::Index {
            path: path.to_owned(),
            why: "it is missing".to_owned(),
        }),
        Err(error) => Err(cannot("read", path)(error).into()),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Two-phase commit makes a torn commit detectable without trusting checksums; quick repair keeps
/// the allocator's state in each commit, so that nothing is walked after a crash.
fn begin(database: &Database) -> Result<WriteTransaction, Trouble> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Fills a new database and closes it.
fn filled(
    database: Database,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let transaction = begin(&database)?;
    create_tables(&transaction)?;
    fill(&transaction)?;
    transaction.commit()?;
    database.close()?;
    Ok(())
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), Trouble> {
    transaction.open_table(CHUNKS)?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(PACKS)?;
    transaction.open_table(SNAPSHOTS)?;
    transaction.open_table(DELETED)?;
    transaction.open_table(SEEN)?;
    transaction.open_table(SEEN_BY)?;
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), FileError> {
    let sync = || {
        step()?;
        step::sync_all(&File::open(path)?)
    };
    sync().map_err(cannot("sync", path))
}

/// Runs `work`; a panic in it becomes an error.
pub(super) fn contain<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "no message".to_owned(),
        };
        Err(Trouble::Damaged(message))
    })
}
