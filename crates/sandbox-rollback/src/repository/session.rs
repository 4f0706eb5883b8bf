//! The repository while it is in use: locked, its format known, its index open.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use redb::{ReadableTable as _, WriteTransaction};
use sha2::{Digest as _, Sha256};

use super::{
    Repository,
    cipher::{self, Sealing},
    creation,
    error::{RepositoryError, Trouble},
    export::SPOOL,
    format,
    index::{BLOCKS, Check, DELETED, Index, META, PACKS, SNAPSHOTS, private},
    node::Hash,
    pack,
    reader::Reader,
    record::{Snapshot, SnapshotId},
    rekey,
    wire::Out,
};
use crate::{
    file_error::{FileError, cannot},
    layout::make_private,
    lock, raw,
    step::{self, step},
};

/// How long a change waits for another one, and a reader for a change.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A repository in use.
#[derive(Debug)]
pub(super) struct Session<'a> {
    /// One that is being made is owned.
    pub(super) repository: Cow<'a, Repository>,
    pub(super) index: Index,
    pub(super) sealing: Sealing,
    /// Holds the flock until the session ends.
    pub(super) lock: OwnedFd,
}

/// The numbers that come next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) pack: u32,
    pub(super) block: u64,
    pub(super) snapshot: u64,
}

/// Whether others may use it at the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sharing {
    Shared,
    Alone,
}

impl<'a> Session<'a> {
    pub(super) fn of(
        repository: &'a Repository,
        (index, sealing): (Index, Sealing),
        lock: OwnedFd,
    ) -> Self {
        Self {
            repository: Cow::Borrowed(repository),
            index,
            sealing,
            lock,
        }
    }

    /// Opens the repository to read it.
    pub(super) fn read(repository: &'a Repository) -> Result<Self, RepositoryError> {
        creation::settle(&repository.directory)?;
        format::check(&repository.directory)?;
        let lock = take_lock(&repository.directory, Sharing::Shared)?;
        let sealing = repository.unlock()?;
        let location = repository.index(&sealing);
        if let Some(index) = Index::open_to_read(&location)? {
            return Ok(Self::of(repository, (index, sealing), lock));
        }
        // A killed process left it: opening it to write repairs it.
        drop(lock);
        let lock = take_lock(&repository.directory, Sharing::Alone)?;
        drop(Index::open(&location, Check::AsNeeded)?);
        match Index::open_to_read(&location)? {
            Some(index) => Ok(Self::of(repository, (index, sealing), lock)),
            None => Err(RepositoryError::Index {
                path: location.path,
                why: "it cannot be repaired by itself".to_owned(),
            }),
        }
    }

    /// Opens the repository to change it.
    pub(super) fn write(repository: &'a Repository) -> Result<Self, RepositoryError> {
        creation::clear(&repository.directory)?;
        format::check(&repository.directory)?;
        let lock = take_lock(&repository.directory, Sharing::Alone)?;
        let sealing = repository.unlock()?;
        Self::alone(repository, sealing, lock)
    }

    /// Opens the repository to change it, and makes it if there is none.
    pub(super) fn write_or_create(repository: &'a Repository) -> Result<Self, RepositoryError> {
        let directory = &repository.directory;
        if directory.starts_with(&repository.layout.workspace) {
            return Err(RepositoryError::Inside {
                path: directory.clone(),
            });
        }
        make_private(directory).map_err(cannot("create", directory))?;
        let lock = take_lock(directory, Sharing::Alone)?;
        creation::finish(directory)?;
        let sealing = match repository.unlock() {
            Err(RepositoryError::Empty) => return Self::first(repository, lock),
            unlocked => unlocked?,
        };
        if repository.encrypt && sealing.is_none() {
            return Err(RepositoryError::NotEncrypted {
                path: directory.clone(),
            });
        }
        Self::alone(repository, sealing, lock)
    }

    /// Begins a repository; it is there when the session is closed.
    fn first(repository: &'a Repository, lock: OwnedFd) -> Result<Self, RepositoryError> {
        let begun = creation::begin(repository);
        if begun.is_err() {
            // On a full disk the space is needed now.
            drop(creation::remove_firsts(&repository.directory));
        }
        let (draft, index, sealing) = begun?;
        Ok(Self {
            repository: Cow::Owned(draft),
            index,
            sealing,
            lock,
        })
    }

    pub(super) fn alone(
        repository: &'a Repository,
        sealing: Sealing,
        lock: OwnedFd,
    ) -> Result<Self, RepositoryError> {
        // From here on the index may change: its seal holds again when it is closed. That it is gone is
        // durable before the first change: an old seal and a new index would look like damage.
        if repository.seal().exists() {
            remove(&repository.seal())?;
        }
        let index = Index::open(&repository.index(&sealing), Check::AsNeeded)?;
        let session = Self::of(repository, (index, sealing), lock);
        session.remove_strays()?;
        rekey::go_on(repository, &session.sealing)?;
        rekey::remove_leftovers(repository, &session.sealing)?;
        Ok(session)
    }

    /// Deletes packs that are not in the index: what a killed process wrote, or what a prune had
    /// replaced.
    pub(super) fn remove_strays(&self) -> Result<(), RepositoryError> {
        let known = self.packs()?;
        let packs = self.packs_directory();
        remove_spools(&self.repository.directory)?;
        for number in pack_files(&packs)? {
            if !known.iter().any(|(known, _)| *known == number) {
                remove(&pack::path(&packs, number))?;
            }
        }
        Ok(())
    }

    pub(super) fn packs_directory(&self) -> PathBuf {
        self.repository.packs(&self.sealing)
    }

    /// Returns the packs with their lengths.
    pub(super) fn packs(&self) -> Result<Vec<(u32, u64)>, RepositoryError> {
        self.index.read(|transaction| {
            let mut packs = Vec::new();
            for row in transaction.open_table(PACKS)?.iter()? {
                let (number, bytes) = row?;
                packs.push((number.value(), bytes.value()));
            }
            Ok(packs)
        })
    }

    pub(super) fn reader(&self) -> Result<Reader, RepositoryError> {
        let lookup = self.index.lookup()?;
        let packs = self.packs_directory();
        let progress = Arc::clone(&self.repository.progress);
        Ok(Reader::new(
            &packs,
            lookup,
            (self.sealing.clone(), progress),
        ))
    }

    /// Returns the hashes of the records of all snapshots, oldest first.
    pub(super) fn records(&self) -> Result<Vec<Hash>, RepositoryError> {
        self.index.read(|transaction| {
            let mut records = Vec::new();
            for row in transaction.open_table(SNAPSHOTS)?.iter()? {
                records.push(Hash(*row?.1.value()));
            }
            Ok(records)
        })
    }

    /// Returns all snapshots, oldest first: one that was taken in from elsewhere has its place among
    /// the others by the time at which it was taken, but none after the time at which it came.
    pub(super) fn snapshots(&self) -> Result<Vec<Snapshot>, RepositoryError> {
        let reader = self.reader()?;
        let records = self.records()?;
        let read = |hash: &Hash| self.snapshot(&reader, hash);
        let mut all: Vec<_> = records.iter().map(read).collect::<Result<_, _>>()?;
        all.sort_by_key(|it| (it.counted_at(), it.number));
        Ok(all)
    }

    /// Returns the newest snapshot.
    pub(super) fn newest(&self) -> Result<Option<SnapshotId>, RepositoryError> {
        Ok(self.snapshots()?.last().map(|it| it.id))
    }

    /// Reads the record of a snapshot.
    pub(super) fn snapshot(
        &self,
        reader: &Reader,
        record: &Hash,
    ) -> Result<Snapshot, RepositoryError> {
        let bytes = reader.chunk(record)?;
        Snapshot::decoded(&bytes).ok_or_else(|| RepositoryError::Damaged {
            path: self.packs_directory(),
            what: format!("the record of snapshot {record}"),
            why: "it is not of the form that is written",
        })
    }

    /// Returns the snapshot that `text` names.
    pub(super) fn find(&self, text: &str) -> Result<Snapshot, RepositoryError> {
        let id = || text.chars().take(80).collect();
        let wanted = text.to_ascii_lowercase();
        let records = self.records()?;
        let mut found = records
            .iter()
            .filter(|record| !wanted.is_empty() && record.to_string().starts_with(&wanted));
        match (found.next(), found.next()) {
            (Some(record), None) => self.snapshot(&self.reader()?, record),
            (Some(_), Some(_)) => Err(RepositoryError::Ambiguous { id: id() }),
            (None, _) => Err(RepositoryError::Unknown { id: id() }),
        }
    }

    pub(super) fn next(&self) -> Result<Next, RepositoryError> {
        self.index.read(|transaction| {
            let packs = transaction.open_table(PACKS)?;
            let blocks = transaction.open_table(BLOCKS)?;
            let snapshot = transaction.open_table(META)?.get(META_NUMBER)?;
            Ok(Next {
                pack: packs.last()?.map_or(0, |row| row.0.value()) + 1,
                block: blocks.last()?.map_or(0, |row| row.0.value()) + 1,
                snapshot: snapshot.map_or(0, |number| number.value()) + 1,
            })
        })
    }

    /// Returns random digits for a record in an encrypted repository.
    pub(super) fn random(&self) -> Result<Option<String>, RepositoryError> {
        let random = self.sealing.as_ref().map(|_| cipher::random::<16>());
        let random = random.transpose();
        let random = random.map_err(|error| RepositoryError::Key(Box::new(error)))?;
        Ok(random.map(|bytes| raw::hex(&bytes)))
    }

    /// Closes the index and seals it. A repository that is being made is there from then on.
    pub(super) fn close(self) -> Result<(), RepositoryError> {
        let repository = self.repository;
        let index = self.index.path.clone();
        drop(self.index);
        // Each byte of a sealed index is sealed anyway.
        if self.sealing.is_none() {
            let seal = repository.seal();
            write_seal(&index, &seal, repository.is_draft).map_err(cannot("write", &seal))?;
        }
        if repository.is_draft {
            let published = creation::publish(&repository.directory);
            if published.is_err() {
                // Nobody was told of it.
                drop(creation::finish(&repository.directory));
            }
            published?;
        }
        Ok(())
    }

    /// Ends a change that failed: on a full disk the space is needed now. If this fails, the next
    /// change does it.
    pub(super) fn give_up(self) {
        if self.repository.is_draft {
            let directory = self.repository.directory.clone();
            drop(self.index);
            drop(creation::remove_firsts(&directory));
            return;
        }
        drop(self.remove_strays());
        drop(self.close());
    }
}

/// The highest number of a snapshot so far.
pub(super) const META_NUMBER: &str = "snapshot";

/// Notes in the index that a snapshot is deleted.
pub(super) fn forget(
    transaction: &WriteTransaction,
    number: u64,
    (record, deletion): (&Hash, &Hash),
) -> Result<(), Trouble> {
    transaction.open_table(SNAPSHOTS)?.remove(number)?;
    let mut deleted = transaction.open_table(DELETED)?;
    deleted.insert(&record.0, &deletion.0)?;
    Ok(())
}

/// Seals the index as it lies on disk.
fn write_seal(index: &Path, seal: &Path, is_draft: bool) -> io::Result<()> {
    step()?;
    let sealed = seal_of(index)?;
    if is_draft {
        return private(seal)?.write_all(&sealed);
    }
    let draft = seal.with_extension("seal.new");
    let mut file = private(&draft)?;
    file.write_all(&sealed)?;
    // The mark that was taken from the index too: a seal beside a marked index looks like damage.
    step::sync_file_system(&file)?;
    fs::rename(&draft, seal)
}

/// Returns the bytes of a seal for the index as it lies on disk.
pub(super) fn seal_of(index: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(index)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            got => digest.update(&buffer[..got]),
        }
    }
    let mut out = Out::default();
    out.bytes(b"SBS1");
    out.bytes(&digest.finalize());
    Ok(out.0)
}

/// Removes what a kill left of [`super::export::spool_in`].
fn remove_spools(directory: &Path) -> Result<(), FileError> {
    let remove = || -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(SPOOL.as_bytes())
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(cannot("remove what is left in", directory))
}

/// Returns the numbers of the pack files that are there.
pub(super) fn pack_files(packs: &Path) -> Result<Vec<u32>, FileError> {
    let list = || -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(packs)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(pack::number_of));
        }
        numbers.sort_unstable();
        Ok(numbers)
    };
    list().map_err(cannot("list", packs))
}

/// Deletes a file; it is no error if it is not there.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    let remove = || {
        step()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    remove().map_err(cannot("remove", path))
}

pub(super) fn take_lock(directory: &Path, sharing: Sharing) -> Result<OwnedFd, RepositoryError> {
    let path = directory.join("lock");
    let file = lock::open(&path).map_err(cannot("open", &path))?;
    let taken = match sharing {
        Sharing::Shared => lock::wait_shared_for(&file, WAIT_MAX),
        Sharing::Alone => lock::wait_exclusive_for(&file, WAIT_MAX),
    };
    if taken.map_err(cannot("lock", &path))? {
        return Ok(file);
    }
    Err(RepositoryError::Busy {
        path: directory.to_owned(),
    })
}
