//! Another key for an encrypted repository, and encryption of one that is not.
//!
//! ```text
//! rekey     rekeying is made; format.json gets the key wrapped anew; so do the heads of the packs;
//!           rekeying is removed. Whoever changes the repository next goes on with it
//! encrypt   sealed/ and index.sealed are made beside packs/ and index.redb; format.json says that they
//!           count; the others are removed, by whoever changes the repository next if not now
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use redb::ReadableTable as _;
use serde::Serialize;

use super::{
    Repository,
    cipher::Sealing,
    creation,
    error::{RepositoryError, Trouble},
    format,
    index::{
        BLOCKS, CHUNKS, DELETED, Index, META, PACKS, SEEN, SEEN_BY, SNAPSHOTS, private,
        sync_directory,
    },
    key::{RepositoryKey, Slot},
    pack::{self, Depth, Draft, Form},
    session::{Session, Sharing, pack_files, remove, take_lock},
};
use crate::{
    file_error::cannot,
    layout::make_private,
    step::{self, step},
};

/// What was done with a new key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Rekeyed {
    /// Whether the repository was not encrypted before.
    pub encrypted: bool,
    /// Packs that have the new key now.
    pub packs: u64,
}

pub(super) fn rekey(
    repository: &Repository,
    new: &RepositoryKey,
) -> Result<Rekeyed, RepositoryError> {
    creation::clear(&repository.directory)?;
    format::check(&repository.directory)?;
    let lock = take_lock(&repository.directory, Sharing::Alone)?;
    let sealing = repository.unlock()?;
    let session = Session::alone(repository, sealing, lock)?;
    let Some(old) = session.sealing.clone() else {
        return encrypt(session, new);
    };
    let cipher = new.wrap(Some(old.key()))?;
    let marker = repository.directory.join(MARKER);
    let mark = || step().and_then(|()| private(&marker)).map(drop);
    mark().map_err(cannot("create", &marker))?;
    sync_directory(&repository.directory)?;
    format::write(repository, Some(&cipher.slot))?;
    let packs = finish(repository, &cipher.slot)?;
    session.close()?;
    Ok(Rekeyed {
        encrypted: false,
        packs,
    })
}

/// Is there while not all packs have the key as `format.json` has it.
pub(super) const MARKER: &str = "rekeying";

/// Goes on where a process was killed that changed the key.
pub(super) fn go_on(repository: &Repository, sealing: &Sealing) -> Result<(), RepositoryError> {
    if let Some(cipher) = sealing
        && repository.directory.join(MARKER).exists()
    {
        finish(repository, &cipher.slot)?;
    }
    Ok(())
}

/// Gives all packs the wrapped key; what seals their content stays.
fn finish(repository: &Repository, slot: &Slot) -> Result<u64, RepositoryError> {
    let directory = repository.sealed_packs();
    let mut packs = 0;
    for number in pack_files(&directory)? {
        let path = pack::path(&directory, number);
        let write = || -> io::Result<()> {
            step()?;
            let file = File::options().write(true).open(&path)?;
            pack::write_slot(&file, slot)?;
            step::sync_data(&file)
        };
        write().map_err(cannot("write", &path))?;
        packs += 1;
    }
    remove(&repository.directory.join(MARKER))?;
    Ok(packs)
}

/// Seals all that is in a repository.
fn encrypt(session: Session<'_>, new: &RepositoryKey) -> Result<Rekeyed, RepositoryError> {
    let repository = session.repository.clone();
    let repository = &*repository;
    let sealing: Sealing = Some(new.wrap(None)?.into());
    let (draft, sealed) = (repository.sealed_draft(), repository.sealed_packs());
    remove_all(&draft)?;
    make_private(&draft).map_err(cannot("create", &draft))?;
    let mut moved = BTreeMap::new();
    let mut lengths = BTreeMap::new();
    for (number, _) in session.packs()? {
        let bytes = seal_pack(&session, (&draft, &sealing), number, &mut moved)?;
        lengths.insert(number, bytes);
    }
    sync_directory(&draft)?;
    let publish = || step().and_then(|()| fs::rename(&draft, &sealed));
    publish().map_err(cannot("publish", &sealed))?;
    sync_directory(&repository.directory)?;
    let location = repository.index(&sealing);
    session.index.read(|from| {
        let filled = Index::create(&location, |to| copy(from, to, &moved, &lengths));
        filled.map_err(|error| Trouble::Damaged(causes(&error)))
    })?;
    format::write(repository, sealing.as_deref().map(|cipher| &cipher.slot))?;
    // From here on the sealed form counts.
    let Session { index, lock, .. } = session;
    drop(index);
    remove_plain(repository)?;
    drop(lock);
    Ok(Rekeyed {
        encrypted: true,
        packs: lengths.len() as u64,
    })
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Where the frames lie: before, and sealed.
type Moved = BTreeMap<(u32, u64), (u64, u32)>;

fn seal_pack(
    session: &Session<'_>,
    (to, sealing): (&Path, &Sealing),
    number: u32,
    moved: &mut Moved,
) -> Result<u64, RepositoryError> {
    let path = pack::path(&session.packs_directory(), number);
    let file = File::open(&path).map_err(cannot("open", &path))?;
    let mut draft = Draft::create(to, number, sealing.clone()).map_err(cannot("create", to))?;
    let mut sound = true;
    let examined = pack::examine(&file, Form::new(number, None), Depth::Payloads, |found| {
        session.repository.progress.add(found.bytes);
        sound &= matches!(found.block, Some(Ok(_)));
        let length = usize::try_from(found.bytes).map_err(io::Error::other)?;
        let mut frame = vec![0; length];
        file.read_exact_at(&mut frame, found.offset)?;
        let (offset, bytes) = draft.append(&frame, found.header.check)?;
        let bytes = u32::try_from(bytes).map_err(io::Error::other)?;
        moved.insert((number, found.offset), (offset, bytes));
        Ok(())
    });
    let (faults, _) = examined.map_err(cannot::<io::Error>("read", &path))?;
    if !sound || !faults.is_empty() {
        return Err(RepositoryError::Damaged {
            path,
            what: "a pack".to_owned(),
            why: "it is damaged",
        });
    }
    Ok(draft.finish_durably().map_err(cannot("write", to))?.bytes)
}

fn copy(
    from: &redb::ReadTransaction,
    to: &redb::WriteTransaction,
    moved: &Moved,
    lengths: &BTreeMap<u32, u64>,
) -> Result<(), Trouble> {
    let mut blocks = to.open_table(BLOCKS)?;
    for row in from.open_table(BLOCKS)?.iter()? {
        let (block, place) = row?;
        let (pack, offset, _) = place.value();
        // One whose pack is gone stays as lost as it was.
        if let Some((offset, bytes)) = moved.get(&(pack, offset)) {
            blocks.insert(block.value(), (pack, *offset, *bytes))?;
        }
    }
    let mut packs = to.open_table(PACKS)?;
    for (number, bytes) in lengths {
        packs.insert(*number, *bytes)?;
    }
    macro_rules! same {
        ($($table:expr),*) => {$(
            let mut table = to.open_table($table)?;
            for row in from.open_table($table)?.iter()? {
                let (key, value) = row?;
                table.insert(key.value(), value.value())?;
            }
        )*};
    }
    same!(CHUNKS, SNAPSHOTS, DELETED, SEEN, SEEN_BY, META);
    Ok(())
}

/// Removes what does not count: what is not sealed in an encrypted repository, and what is in one that
/// is not.
pub(super) fn remove_leftovers(
    repository: &Repository,
    sealing: &Sealing,
) -> Result<(), RepositoryError> {
    if sealing.is_some() {
        return remove_plain(repository);
    }
    remove_all(&repository.sealed_draft())?;
    remove_all(&repository.sealed_packs())?;
    Ok(remove(&repository.directory.join("index.sealed"))?)
}

fn remove_plain(repository: &Repository) -> Result<(), RepositoryError> {
    for name in [
        "index.redb",
        "index.redb.old",
        "index.redb.new",
        "index.seal",
        "index.seal.new",
    ] {
        remove(&repository.directory.join(name))?;
    }
    remove_all(&repository.plain_packs())?;
    Ok(sync_directory(&repository.directory)?)
}

fn remove_all(directory: &Path) -> Result<(), RepositoryError> {
    let remove = || match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    Ok(remove().map_err(cannot("remove", directory))?)
}
