//! Writes one snapshot, with all that it needs, into one file: a pack with the number 0.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};
use serde::Serialize;

use super::{
    Repository,
    error::RepositoryError,
    frame::{self, Block, Compression, Kind},
    index::sync_directory,
    node::{Content, Hash, Stream},
    pack::Draft,
    reader::Reader,
    record::SnapshotId,
    session::Session,
};
use crate::file_error::{FileError, cannot};

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
    let session = Session::read(repository)?;
    let snapshot = session.find(&id.to_string())?;
    let reader = session.reader()?;
    let draft = beside(path).map_err(cannot("write", path))?;
    // It is ours: a process that was killed left it.
    drop(fs::remove_file(&draft));
    let written = write(&reader, &snapshot.root.content, (&snapshot.id, &draft));
    let published = written.and_then(|exported| {
        let renamed = rustix::fs::renameat_with(CWD, &draft, CWD, path, RenameFlags::NOREPLACE);
        match renamed {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(exists()),
            Err(error) => return Err(cannot("write", path)(error).into()),
        }
        sync_directory(parent(path))?;
        Ok(exported)
    });
    if published.is_err() {
        // The error says why; what is left of it is of no use.
        drop(fs::remove_file(&draft));
    }
    published
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Returns the name that the file has until it is complete.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut part = name.to_owned();
    part.push(".part");
    Ok(path.with_file_name(part))
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
    reader: &Reader,
    root: &Content,
    (id, path): (&SnapshotId, &Path),
) -> Result<Exported, ExportError> {
    let draft = Draft::create_at(path, EXPORT_NUMBER).map_err(cannot("create", path))?;
    let mut output = Output {
        reader,
        draft,
        path,
        written: BTreeSet::new(),
        open: [Block::new(Kind::Data), Block::new(Kind::Tree)],
    };
    let mut waiting = vec![root.clone()];
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
    let packed = output.draft.finish().map_err(cannot("write", path))?;
    Ok(Exported {
        snapshot: *id,
        chunks: output.written.len() as u64,
        bytes: packed.bytes,
    })
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
