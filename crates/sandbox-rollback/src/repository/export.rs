//! Writes one snapshot, with all that it needs, into one file: a pack with the number 0.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Seek as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};
use sandbox_types::OperationId;
use serde::Serialize;

use super::{
    Repository,
    cipher::Sealing,
    error::RepositoryError,
    frame::{self, Block, Compression, Kind},
    index::sync_directory,
    node::{Content, Hash, Stream},
    pack::Draft,
    reader::Reader,
    record::SnapshotId,
    session::Session,
};
use crate::{
    file_error::{FileError, cannot},
    renaming,
};

/// The number that a file outside of a repository has.
pub(super) const EXPORT_NUMBER: u32 = 0;

/// A file with one snapshot, complete and durable.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Exported {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// How many different chunks it needs.
    pub chunks: u64,
    /// The length of the file.
    pub bytes: u64,
}

/// There is no file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The snapshot cannot be found or read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// There is a file of that name.
    #[error("cannot export to '{}': it is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot export the snapshot")]
    Write {
        /// Why.
        #[source]
        source: FileError,
    },
}

impl From<FileError> for ExportError {
    fn from(source: FileError) -> Self {
        Self::Write { source }
    }
}

pub(super) fn export(
    repository: &Repository,
    id: &SnapshotId,
    path: &Path,
) -> Result<Exported, ExportError> {
    let exists = || ExportError::Exists {
        path: path.to_owned(),
    };
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let draft = New::beside(path).map_err(cannot("create", path))?;
    let written = draft.file.try_clone().map_err(cannot("write", path));
    let published = written
        .map_err(ExportError::from)
        .and_then(|output| write(repository, id, (output, path)))
        .and_then(|exported| match draft.publish(path) {
            Ok(()) => Ok(exported),
            Err(Errno::EXIST) => Err(exists()),
            Err(error) => Err(cannot("write", path)(error).into()),
        });
    if published.is_err() {
        draft.drop_name();
    }
    let exported = published?;
    sync_directory(parent(path))?;
    Ok(exported)
}

pub(super) fn export_to(
    repository: &Repository,
    id: &SnapshotId,
    mut output: File,
) -> Result<Exported, ExportError> {
    let directory = &repository.directory;
    let spool = spool_in(directory).map_err(cannot("write", directory))?;
    let spooled = spool.try_clone().map_err(cannot("write", directory))?;
    let exported = write(repository, id, (spooled, directory))?;
    let mut copy = || -> io::Result<()> {
        let mut spool = &spool;
        spool.rewind()?;
        io::copy(&mut spool, &mut output)?;
        match output.sync_data() {
            // A pipe or a terminal.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    };
    copy().map_err(cannot("write", "-"))?;
    Ok(exported)
}

/// What the name of a file begins with that lost its name at once, unless a kill came between.
pub(super) const SPOOL: &str = "spool-";

/// Opens a file without a name in `directory`, also where the file system makes none.
pub(super) fn spool_in(directory: &Path) -> io::Result<File> {
    match unnamed_in(directory) {
        Err(error) if cannot_be_unnamed(&error) && directory.is_dir() => named_in(directory),
        unnamed => unnamed,
    }
}

pub(super) fn named_in(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!("{SPOOL}{}", OperationId::generate()));
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    match fs::remove_file(&path) {
        // Somebody else took it for what a kill left.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(file),
    }
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A file that has not its name yet: none at all, or where the file system cannot do that, one that
/// nobody else uses.
struct New {
    file: File,
    name: Option<PathBuf>,
}

impl New {
    fn beside(path: &Path) -> io::Result<Self> {
        match unnamed_in(parent(path)) {
            Err(error) if cannot_be_unnamed(&error) => {}
            unnamed => {
                return Ok(Self {
                    file: unnamed?,
                    name: None,
                });
            }
        }
        let mut part = path
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_owned();
        part.push(format!(".{}.part", OperationId::generate()));
        let name = path.with_file_name(part);
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)?;
        Ok(Self {
            file,
            name: Some(name),
        })
    }

    /// Gives the file its name, unless there is one of that name.
    fn publish(&self, path: &Path) -> Result<(), Errno> {
        let Some(name) = &self.name else {
            let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            return rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW);
        };
        renaming::to_free_name(CWD, name, CWD, path)
    }

    fn drop_name(&self) {
        if let Some(name) = &self.name {
            // The error says why there is no export; what is left of it is of no use.
            drop(fs::remove_file(name));
        }
    }
}

/// Opens a file without a name in `directory`: a kill leaves nothing of it.
pub(super) fn unnamed_in(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(File::from(opened))
}

/// Returns whether it is the file system that has no files without a name: open(2).
fn cannot_be_unnamed(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT))
}

/// The file while it is written.
struct Output<'a> {
    reader: &'a Reader,
    draft: Draft,
    path: &'a Path,
    written: BTreeSet<Hash>,
    /// A block for content, and one for directories.
    open: [Block; 2],
}

fn write(
    repository: &Repository,
    id: &SnapshotId,
    (output, path): (File, &Path),
) -> Result<Exported, ExportError> {
    let session = Session::read(repository)?;
    let sealing = sealing_of(repository, &session)?;
    let snapshot = session.find(&id.to_string())?;
    repository.progress.expect(snapshot.bytes);
    let root = snapshot.root.content;
    let reader = session.reader()?;
    let draft = Draft::over(output, EXPORT_NUMBER, sealing).map_err(cannot("write", path))?;
    let mut output = Output {
        reader: &reader,
        draft,
        path,
        written: BTreeSet::new(),
        open: [Block::new(Kind::Data), Block::new(Kind::Tree)],
    };
    let mut waiting = vec![root];
    while let Some(content) = waiting.pop() {
        match &content {
            Content::Directory(stream) if output.stream(Kind::Tree, stream)? => {
                let entries = reader.directory(stream)?;
                waiting.extend(entries.into_iter().rev().map(|node| node.content));
            }
            Content::File(stream) => {
                output.stream(Kind::Data, stream)?;
            }
            Content::Directory(_)
            | Content::Symlink(_)
            | Content::Pipe
            | Content::CharacterDevice(..)
            | Content::BlockDevice(..)
            | Content::Omitted(_) => {}
        }
    }
    for kind in [Kind::Data, Kind::Tree] {
        output.flush(kind)?;
    }
    let mut record = Block::new(Kind::Snapshot);
    record.add(id.0, &reader.chunk(&id.0)?);
    output.append(&record)?;
    let packed = output
        .draft
        .finish_durably()
        .map_err(cannot("write", path))?;
    Ok(Exported {
        snapshot: *id,
        chunks: output.written.len() as u64,
        bytes: packed.bytes,
    })
}

/// Returns the cipher of a file that leaves this repository. It has a key of its own: who gets the
/// file and the passphrase gets nothing else.
fn sealing_of(repository: &Repository, session: &Session<'_>) -> Result<Sealing, RepositoryError> {
    match (&session.sealing, &repository.key) {
        (Some(_), Some(key)) => Ok(Some(key.wrap(None)?.into())),
        _ => Ok(None),
    }
}

impl Output<'_> {
    /// Writes what of a stream is not in the file yet; returns whether one chunk was not.
    fn stream(&mut self, kind: Kind, stream: &Stream) -> Result<bool, ExportError> {
        let mut fresh = false;
        for hash in stream.hashes() {
            if !self.written.insert(hash) {
                continue;
            }
            fresh = true;
            let chunk = self.reader.chunk(&hash)?;
            if kind == Kind::Data {
                self.reader.progress.add(chunk.len() as u64);
            }
            if self.block(kind).is_full_for(chunk.len()) {
                self.flush(kind)?;
            }
            self.block(kind).add(hash, &chunk);
        }
        Ok(fresh)
    }

    fn block(&mut self, kind: Kind) -> &mut Block {
        &mut self.open[usize::from(kind == Kind::Tree)]
    }

    fn flush(&mut self, kind: Kind) -> Result<(), FileError> {
        let block = std::mem::replace(self.block(kind), Block::new(kind));
        if block.members.is_empty() {
            return Ok(());
        }
        self.append(&block)
    }

    fn append(&mut self, block: &Block) -> Result<(), FileError> {
        let (frame, check) = frame::encode(block, Compression::Zstd);
        let appended = self.draft.append(&frame, check);
        appended.map(drop).map_err(cannot("write", self.path))
    }
}
