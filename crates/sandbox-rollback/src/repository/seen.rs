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
//!
//! A row is kept compressed: most of it is names, devices and times that resemble each other.

use std::path::Path;

use super::{
    frame,
    node::{LinkGroup, Stream, link_group},
    wire::{In, Out},
};
use crate::{
    ledger::State,
    stat::{Stat, Time},
};

/// The bytes of a key.
const KEY_BYTES: usize = 60;

/// What a compressed row begins with: as a number of extents it is more than any row has room for, so
/// what reads only plain rows takes it for unknown.
const PACKED: u32 = u32::MAX;
/// The longest row that is unpacked: a million entries take a fifth of it.
const ROW_BYTES_MAX: usize = 1 << 30;

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

/// Returns a row as it is kept.
pub(super) fn packed(row: Vec<u8>) -> Vec<u8> {
    let Ok(frame) = frame::zstd_compress(&row) else {
        return row;
    };
    let mut out = Out(Vec::with_capacity(8 + frame.len()));
    out.u32(PACKED);
    out.count(row.len());
    out.bytes(&frame);
    if out.0.len() < row.len() { out.0 } else { row }
}

/// Returns the row of what is kept; `None` if it is not of our form. Rows that older programs wrote are
/// not compressed.
pub(super) fn unpacked(kept: &[u8]) -> Option<Vec<u8>> {
    let mut input = In(kept);
    if input.u32()? != PACKED {
        return Some(kept.to_vec());
    }
    let bytes = usize::try_from(input.u32()?).ok()?;
    if bytes > ROW_BYTES_MAX {
        return None;
    }
    let mut row = Vec::new();
    frame::zstd_decompress(input.0, bytes, &mut row).ok()?;
    (row.len() == bytes).then_some(row)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_returns_and_is_unknown_to_what_reads_only_plain_ones() {
        let name = b"a-name-that-is-repeated";
        let entries = vec![
            SeenEntry {
                name,
                key: &[7; KEY_BYTES],
                racy: true,
                node: name,
            };
            3
        ];
        let seen = SeenDirectory {
            tree: Stream::default(),
            entries,
        };
        let row = seen.write();
        let kept = packed(row.clone());
        assert!(kept.len() < row.len());
        assert!(SeenDirectory::read(&kept).is_none());
        assert_eq!(unpacked(&kept), Some(row.clone()));
        assert_eq!(unpacked(&row), Some(row.clone()), "as it was kept before");
        let mut longer = kept.clone();
        longer[4] += 1;
        assert_eq!(unpacked(&longer), None);
        assert_eq!(unpacked(&kept[..kept.len() - 1]), None);
    }
}
