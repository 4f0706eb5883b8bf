//! Chunks on their way out of packs: each is checked against its address.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    fs::File,
    ops::{Deref, Range},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use super::{
    cipher::Sealing,
    error::RepositoryError,
    frame::Fault,
    index::Lookup,
    node::{Content, Extent, Hash, Node, Stream, decode_directory},
    pack::{self, Form},
};
use crate::{file_error::cannot, progress::Progress};

/// How many bytes of blocks are kept unpacked, and how many blocks: neighbours are asked for one after
/// the other, and the directories of two trees in turn.
const KEPT_BYTES_MAX: usize = 16 << 20;
const KEPT_MAX: usize = 128;

/// The largest directory that is read, in bytes of its canonical form.
const DIRECTORY_BYTES_MAX: u64 = 1 << 30;

/// The bytes of a block. They stay where they were unpacked to: there are gigabytes of them.
#[derive(Debug)]
pub(super) struct Unpacked(pub(super) Vec<u8>);

/// The bytes of a chunk, in its block.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    block: Rc<Unpacked>,
    place: Range<usize>,
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.0.get(self.place.clone()).unwrap_or_default()
    }
}

/// Reads chunks.
pub(super) struct Reader {
    packs: PathBuf,
    lookup: Lookup,
    sealing: Sealing,
    pub(super) progress: Arc<Progress>,
    files: RefCell<BTreeMap<u32, Rc<File>>>,
    kept: RefCell<VecDeque<(u64, Rc<Unpacked>)>>,
    /// Directories that were looked at and are in no pack.
    pub(super) extra: BTreeMap<Hash, Rc<Unpacked>>,
}

impl Reader {
    pub(super) fn new(
        packs: &Path,
        lookup: Lookup,
        (sealing, progress): (Sealing, Arc<Progress>),
    ) -> Self {
        Self {
            packs: packs.to_owned(),
            lookup,
            sealing,
            progress,
            files: RefCell::default(),
            kept: RefCell::default(),
            extra: BTreeMap::new(),
        }
    }

    /// Returns a chunk whose SHA-256 is `hash`, or fails.
    pub(super) fn chunk(&self, hash: &Hash) -> Result<Chunk, RepositoryError> {
        if let Some(bytes) = self.extra.get(hash) {
            return Ok(Chunk {
                place: 0..bytes.0.len(),
                block: Rc::clone(bytes),
            });
        }
        let damaged = |path: &Path, why| RepositoryError::Damaged {
            path: path.to_owned(),
            what: format!("chunk {hash}"),
            why,
        };
        let Some(place) = self.lookup.chunk(hash)? else {
            return Err(damaged(&self.packs, "the index does not have it"));
        };
        let Some((pack, offset, bytes)) = self.lookup.block(place.block)? else {
            return Err(damaged(&self.packs, "the index does not have its block"));
        };
        let path = pack::path(&self.packs, pack);
        let block = self
            .block(place.block, (pack, offset, bytes))?
            .map_err(|fault| damaged(&path, fault.as_str()))?;
        let start = place.offset as usize;
        let place = start..start.saturating_add(place.bytes as usize);
        match block.0.get(place.clone()) {
            Some(chunk) if Hash::of(chunk) == *hash => Ok(Chunk { block, place }),
            _ => Err(damaged(&path, Fault::Content.as_str())),
        }
    }

    /// Returns whether the index has a chunk.
    pub(super) fn has(&self, hash: &Hash) -> Result<bool, RepositoryError> {
        Ok(self.lookup.chunk(hash)?.is_some())
    }

    fn block(
        &self,
        number: u64,
        (pack, offset, bytes): (u32, u64, u32),
    ) -> Result<Result<Rc<Unpacked>, Fault>, RepositoryError> {
        let known = |kept: &VecDeque<(u64, Rc<Unpacked>)>| {
            let found = kept.iter().find(|(known, _)| *known == number);
            found.map(|(_, block)| Rc::clone(block))
        };
        if let Some(block) = known(&self.kept.borrow()) {
            return Ok(Ok(block));
        }
        let path = pack::path(&self.packs, pack);
        let file = self.file(pack, &path)?;
        let form = Form::new(pack, self.sealing.as_deref());
        let block = match pack::read(&file, form, (offset, bytes)) {
            Ok(Ok((_, block))) => Rc::new(Unpacked(block)),
            Ok(Err(fault)) => return Ok(Err(fault)),
            // The file is shorter than the index says.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok(Err(Fault::Payload));
            }
            Err(error) => return Err(cannot("read", &path)(error).into()),
        };
        let mut kept = self.kept.borrow_mut();
        kept.push_front((number, Rc::clone(&block)));
        kept.truncate(KEPT_MAX);
        let mut bytes: usize = kept.iter().map(|(_, block)| block.0.len()).sum();
        while bytes > KEPT_BYTES_MAX
            && let Some((_, oldest)) = kept.pop_back()
        {
            bytes -= oldest.0.len();
        }
        Ok(Ok(block))
    }

    fn file(&self, pack: u32, path: &Path) -> Result<Rc<File>, RepositoryError> {
        let mut files = self.files.borrow_mut();
        if let Some(file) = files.get(&pack) {
            return Ok(Rc::clone(file));
        }
        let file = match File::open(path) {
            Ok(file) => Rc::new(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(RepositoryError::Damaged {
                    path: path.to_owned(),
                    what: "a pack".to_owned(),
                    why: "it is missing",
                });
            }
            Err(error) => return Err(cannot("open", path)(error).into()),
        };
        files.insert(pack, Rc::clone(&file));
        Ok(file)
    }

    /// Returns the entries of the directory that `node` is.
    pub(super) fn entries(&self, node: &Node) -> Result<Vec<Node>, RepositoryError> {
        match &node.content {
            Content::Directory(stream) => self.directory(stream),
            Content::File(_)
            | Content::Symlink(_)
            | Content::Pipe
            | Content::CharacterDevice(..)
            | Content::BlockDevice(..)
            | Content::Omitted(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn directory(&self, stream: &Stream) -> Result<Vec<Node>, RepositoryError> {
        let damaged = || RepositoryError::Damaged {
            path: self.packs.clone(),
            what: "a directory".to_owned(),
            why: "it is not of the form that is written",
        };
        if stream.bytes > DIRECTORY_BYTES_MAX {
            return Err(damaged());
        }
        if let [Extent::Data { hash, .. }] = stream.extents.as_slice() {
            return decode_directory(&self.chunk(hash)?).ok_or_else(damaged);
        }
        let mut bytes = Vec::new();
        for extent in &stream.extents {
            match extent {
                Extent::Data { hash, .. } => bytes.extend_from_slice(&self.chunk(hash)?),
                Extent::Hole { .. } => return Err(damaged()),
            }
        }
        decode_directory(&bytes).ok_or_else(damaged)
    }
}
