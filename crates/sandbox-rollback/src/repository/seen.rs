//! The stat cache: what a directory looked like when it was read last.
//!
//! ```text
//! tree      extents of the directory's canonical form
//! count     of the entries, then for each
//!   name, key (device, inode, size, times, mode, owner), racy, the node's canonical form
//! ```
//! An entry that has the same key, and was not racy, has the same content: whoever changes a file
//! moves its change time, and nobody can set that. Racy is what changed so late that a later change
//! could get the same time.

use std::path::Path;

use super::{
    node::{LinkGroup, Stream, link_group},
    wire::{In, Out},
};
use crate::{
    ledger::State,
    stat::{Stat, Time},
};

/// The bytes of a key.
const KEY_BYTES: usize = 60;

/// What identifies a state of a file.
pub(super) type Key = [u8; KEY_BYTES];

/// Under which a directory's row is kept.
pub(super) fn row_of(path: &Path) -> LinkGroup {
    link_group(path)
}

pub(super) fn key_of(stat: &Stat) -> Key {
    let mut out = Out::default();
    out.u32(stat.dev.0);
    out.u32(stat.dev.1);
    out.u64(stat.ino);
    out.u64(stat.size);
    for time in [stat.mtime, stat.ctime] {
        out.i64(time.0);
        out.u32(time.1);
    }
    out.u32(stat.mode);
    out.u32(stat.uid);
    out.u32(stat.gid);
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&out.0[..KEY_BYTES]);
    key
}

/// Returns the inode and the change time in a key.
pub(super) fn state_of(key: &[u8]) -> Option<State> {
    let mut input = In(key);
    let _device = (input.u32()?, input.u32()?);
    let ino = input.u64()?;
    let _size = input.u64()?;
    let _changed_content = (input.i64()?, input.u32()?);
    Some((ino, Time(input.i64()?, input.u32()?)))
}

/// One entry as it was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) key: &'a [u8],
    pub(super) racy: bool,
    pub(super) node: &'a [u8],
}

/// A directory as it was seen.
#[derive(Debug)]
pub(super) struct SeenDirectory<'a> {
    pub(super) tree: Stream,
    pub(super) entries: Vec<SeenEntry<'a>>,
}

impl<'a> SeenDirectory<'a> {
    /// Reads a row; `None` if it is not of our form: then nothing is known.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut input = In(bytes);
        let tree = Stream::read(&mut input)?;
        let mut entries = Vec::new();
        for _ in 0..input.u32()? {
            entries.push(SeenEntry {
                name: input.short()?,
                key: input.take(KEY_BYTES)?,
                racy: input.u8()? != 0,
                node: input.long()?,
            });
        }
        input.is_empty().then_some(Self { tree, entries })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Out::default();
        self.tree.write(&mut out);
        out.count(self.entries.len());
        for entry in &self.entries {
            out.short(entry.name);
            out.bytes(entry.key);
            out.u8(u8::from(entry.racy));
            out.long(entry.node);
        }
        out.0
    }

    /// Returns the entry of that name.
    pub(super) fn find(&self, name: &[u8]) -> Option<&SeenEntry<'a>> {
        let at = self.entries.binary_search_by(|entry| entry.name.cmp(name));
        at.ok().map(|at| &self.entries[at])
    }
}
