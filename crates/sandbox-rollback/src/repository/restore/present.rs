//! What a large file in the workspace has in common with the snapshot's: it is read from there instead of from packs,
//! which are read and unpacked first. Where these chunks should be is known from the walk or from an earlier snapshot;
//! what is copied is checked as what comes from a pack is.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{
    repository::{
        content,
        node::{Extent, Hash, Stream},
    },
    tree::Tree,
};

/// Smaller files are read from packs: they are not worth an open file.
const FILE_BYTES_MIN: u64 = 8 << 20;

/// Large files of the workspace that change, as the walk found them.
#[derive(Debug, Default)]
pub(super) struct Present(BTreeMap<PathBuf, Stream>);

impl Present {
    /// Notes the content of a file in the place of which another one comes.
    pub(super) fn note(&mut self, path: &Path, content: &Stream) {
        if content.bytes >= FILE_BYTES_MIN {
            self.0.insert(path.to_owned(), content.clone());
        }
    }

    /// Opens a file that was noted; `None` if there is nothing to be had from it.
    pub(super) fn open(&self, workspace: &Tree, path: &Path) -> Option<Source> {
        let stream = self.0.get(path)?;
        let spot = workspace.spot(path).ok()?;
        let file = content::open(&spot.dir, &spot.name).ok()?;
        let mut chunks = BTreeMap::new();
        let mut at = 0;
        for extent in &stream.extents {
            if let Extent::Data { bytes, hash } = extent {
                chunks.insert(at, (*bytes, *hash));
            }
            at += extent.bytes();
        }
        Some(Source { file, chunks })
    }
}

/// A file of the workspace, and the chunks in it.
pub(super) struct Source {
    file: File,
    chunks: BTreeMap<u64, (u32, Hash)>,
}

impl Source {
    /// Copies a chunk to the same place in `to`, whose position is there, and moves that behind it;
    /// returns whether the chunk is here and could be copied.
    pub(super) fn copy(
        &self,
        mut to: &File,
        at: u64,
        (bytes, hash): (u32, Hash),
    ) -> io::Result<bool> {
        if self.chunks.get(&at) != Some(&(bytes, hash)) {
            return Ok(false);
        }
        let mut chunk = vec![0; bytes as usize];
        // It may have been cut or changed since.
        if self.file.read_exact_at(&mut chunk, at).is_err() || Hash::of(&chunk) != hash {
            return Ok(false);
        }
        to.write_all(&chunk)?;
        Ok(true)
    }
}
