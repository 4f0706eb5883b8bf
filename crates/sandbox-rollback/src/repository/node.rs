//! One entry of a directory, and a directory, in their canonical form.
//!
//! The same entries give the same bytes, wherever and whenever they are read: no inode, no device,
//! no change or access time is in them. `docs/reference/repository-format.md` has every byte.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use sha2::{Digest as _, Sha256};

use super::wire::{In, Out};
use crate::{attributes::Attributes, raw, stat::Time, xattr::Xattrs};

/// What a directory's bytes begin with: the format and its version.
const DIRECTORY_MAGIC: [u8; 4] = *b"SBT1";

const HAS_XATTRS: u8 = 1;
const HAS_LINK: u8 = 2;
const WAS_TORN: u8 = 4;

/// The SHA-256 of some bytes: their address.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

impl Hash {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_string())
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&raw::hex(&self.0).to_ascii_lowercase())
    }
}

/// Content cut into chunks, with its holes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Stream {
    pub(crate) bytes: u64,
    pub(crate) extents: Vec<Extent>,
}

/// A piece of content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extent {
    Hole { bytes: u64 },
    Data { bytes: u32, hash: Hash },
}

impl Extent {
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Hole { bytes } => *bytes,
            Self::Data { bytes, .. } => u64::from(*bytes),
        }
    }
}

impl Stream {
    pub(crate) fn push(&mut self, extent: Extent) {
        self.bytes += extent.bytes();
        self.extents.push(extent);
    }

    pub(crate) fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.extents.iter().filter_map(|extent| match extent {
            Extent::Data { hash, .. } => Some(*hash),
            Extent::Hole { .. } => None,
        })
    }

    pub(super) fn write(&self, out: &mut Out) {
        out.count(self.extents.len());
        for extent in &self.extents {
            match extent {
                Extent::Hole { bytes } => {
                    out.u8(0);
                    out.u64(*bytes);
                }
                Extent::Data { bytes, hash } => {
                    out.u8(1);
                    out.u32(*bytes);
                    out.bytes(&hash.0);
                }
            }
        }
    }

    pub(super) fn read(input: &mut In<'_>) -> Option<Self> {
        let mut stream = Self::default();
        for _ in 0..input.u32()? {
            let extent = match input.u8()? {
                0 => Extent::Hole {
                    bytes: input.u64()?,
                },
                1 => Extent::Data {
                    bytes: input.u32()?,
                    hash: Hash(input.array()?),
                },
                _ => return None,
            };
            stream.bytes.checked_add(extent.bytes())?;
            stream.push(extent);
        }
        Some(stream)
    }
}

/// Why something is in the workspace and not in the snapshot. A restore leaves its path alone.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Omission {
    /// This user may not read it.
    Unreadable,
    /// A socket: it is nothing without the process that listens.
    Socket,
    /// Another file system is mounted there.
    OtherFileSystem,
    /// Who took the snapshot left it out: see [`super::Excludes`].
    Excluded,
}

/// What an entry is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    Directory(Stream),
    File(Stream),
    Symlink(Vec<u8>),
    Pipe,
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Omitted(Omission),
}

/// The names of one file have the same group; it is made of the first of them.
pub(crate) type LinkGroup = [u8; 16];

/// One entry of a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Node {
    pub(crate) name: OsString,
    pub(crate) attributes: Attributes,
    pub(crate) link: Option<LinkGroup>,
    /// Whether it changed each time while it was read.
    pub(crate) torn: bool,
    pub(crate) content: Content,
}

impl Node {
    /// Returns a node that has one name and did not change while it was read.
    pub(super) fn plain(name: &OsStr, attributes: Attributes, content: Content) -> Self {
        Self {
            name: name.to_owned(),
            attributes,
            link: None,
            torn: false,
            content,
        }
    }

    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    /// Returns the size of a file; 0 for anything else.
    pub(crate) fn file_bytes(&self) -> u64 {
        match &self.content {
            Content::File(stream) => stream.bytes,
            Content::Directory(_)
            | Content::Symlink(_)
            | Content::Pipe
            | Content::CharacterDevice(..)
            | Content::BlockDevice(..)
            | Content::Omitted(_) => 0,
        }
    }

    fn kind(&self) -> u8 {
        match &self.content {
            Content::Directory(_) => 1,
            Content::File(_) => 2,
            Content::Symlink(_) => 3,
            Content::Pipe => 4,
            Content::CharacterDevice(..) => 5,
            Content::BlockDevice(..) => 6,
            Content::Omitted(_) => 7,
        }
    }

    /// Returns whether both are of the same type.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }

    pub(super) fn write(&self, out: &mut Out) {
        let Attributes {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        } = &self.attributes;
        out.short(self.name.as_bytes());
        out.u8(self.kind());
        let mut flags = 0;
        flags |= if xattrs.is_empty() { 0 } else { HAS_XATTRS };
        flags |= if self.link.is_some() { HAS_LINK } else { 0 };
        flags |= if self.torn { WAS_TORN } else { 0 };
        out.u8(flags);
        out.u32(*mode);
        out.u32(*uid);
        out.u32(*gid);
        out.i64(mtime.0);
        out.u32(mtime.1);
        if !xattrs.is_empty() {
            out.count(xattrs.len());
            for (name, value) in xattrs {
                out.short(name);
                out.long(value);
            }
        }
        if let Some(link) = &self.link {
            out.bytes(link);
        }
        match &self.content {
            Content::Directory(stream) | Content::File(stream) => stream.write(out),
            Content::Symlink(target) => out.short(target),
            Content::Pipe => {}
            Content::CharacterDevice(major, minor) | Content::BlockDevice(major, minor) => {
                out.u32(*major);
                out.u32(*minor);
            }
            Content::Omitted(why) => out.u8(match why {
                Omission::Unreadable => 1,
                Omission::Socket => 2,
                Omission::OtherFileSystem => 3,
                Omission::Excluded => 4,
            }),
        }
    }

    pub(super) fn read(input: &mut In<'_>) -> Option<Self> {
        let name = OsStr::from_bytes(input.short()?).to_owned();
        let kind = input.u8()?;
        let flags = input.u8()?;
        let mode = input.u32()?;
        let (uid, gid) = (input.u32()?, input.u32()?);
        let mtime = Time(input.i64()?, input.u32()?);
        if mode > 0o7777 || mtime.1 >= 1_000_000_000 || flags > 7 {
            return None;
        }
        let xattrs = if flags & HAS_XATTRS == 0 {
            Xattrs::new()
        } else {
            read_xattrs(input)?
        };
        let link = if flags & HAS_LINK == 0 {
            None
        } else {
            Some(input.array()?)
        };
        let content = match kind {
            1 => Content::Directory(Stream::read(input)?),
            2 => Content::File(Stream::read(input)?),
            3 => Content::Symlink(input.short()?.to_vec()),
            4 => Content::Pipe,
            5 => Content::CharacterDevice(input.u32()?, input.u32()?),
            6 => Content::BlockDevice(input.u32()?, input.u32()?),
            7 => Content::Omitted(match input.u8()? {
                1 => Omission::Unreadable,
                2 => Omission::Socket,
                3 => Omission::OtherFileSystem,
                4 => Omission::Excluded,
                _ => return None,
            }),
            _ => return None,
        };
        Some(Self {
            name,
            attributes: Attributes {
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            },
            link,
            torn: flags & WAS_TORN != 0,
            content,
        })
    }

    /// Returns its bytes.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = Out::default();
        self.write(&mut out);
        out.0
    }

    /// Reads bytes that hold one node and nothing else.
    pub(super) fn decoded(bytes: &[u8]) -> Option<Self> {
        let mut input = In(bytes);
        let node = Self::read(&mut input)?;
        input.is_empty().then_some(node)
    }
}

fn read_xattrs(input: &mut In<'_>) -> Option<Xattrs> {
    let mut xattrs = Xattrs::new();
    for _ in 0..input.u32()? {
        let name = input.short()?.to_vec();
        xattrs.insert(name, input.long()?.to_vec());
    }
    Some(xattrs)
}

/// Returns the bytes of a directory, from those of its entries, which are sorted by name.
pub(super) fn directory_of(nodes: impl ExactSizeIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut out = Out::default();
    out.bytes(&DIRECTORY_MAGIC);
    out.count(nodes.len());
    for node in nodes {
        out.bytes(node.as_ref());
    }
    out.0
}

/// Reads the bytes of a directory. Names that could lead out of it, and names that are not in order,
/// were not written by us.
pub(super) fn decode_directory(bytes: &[u8]) -> Option<Vec<Node>> {
    let mut input = In(bytes);
    if input.array()? != DIRECTORY_MAGIC {
        return None;
    }
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..input.u32()? {
        let node = Node::read(&mut input)?;
        let in_order = nodes.last().is_none_or(|last| last.name < node.name);
        if !is_plain(&node.name) || !in_order {
            return None;
        }
        nodes.push(node);
    }
    input.is_empty().then_some(nodes)
}

fn is_plain(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
}

/// Returns the group of a file by the first of its names.
pub(super) fn link_group(first: &std::path::Path) -> LinkGroup {
    let mut group = [0; 16];
    let digest = Sha256::digest(first.as_os_str().to_owned().into_vec());
    group.copy_from_slice(&digest[..16]);
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node {
            name: name.into(),
            attributes: Attributes {
                mode: 0o644,
                uid: 1,
                gid: 2,
                mtime: Time(-3, 4),
                xattrs: [(b"user.a".to_vec(), b"\0".to_vec())].into(),
            },
            link: Some([7; 16]),
            torn: false,
            content: Content::File(Stream {
                bytes: 9,
                extents: vec![
                    Extent::Hole { bytes: 4 },
                    Extent::Data {
                        bytes: 5,
                        hash: Hash([1; 32]),
                    },
                ],
            }),
        }
    }

    fn encode_directory(nodes: &[Node]) -> Vec<u8> {
        let nodes: Vec<_> = nodes.iter().map(Node::encoded).collect();
        directory_of(nodes.iter().map(Vec::as_slice))
    }

    #[test]
    fn directories_return() {
        let nodes = vec![node("a"), node("b")];
        let bytes = encode_directory(&nodes);
        assert_eq!(decode_directory(&bytes), Some(nodes));
        for end in 0..bytes.len() {
            assert_eq!(decode_directory(&bytes[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["", ".", "..", "a/b", "a\0"] {
            assert_eq!(decode_directory(&encode_directory(&[node(name)])), None);
        }
        let twice = encode_directory(&[node("a"), node("a")]);
        assert_eq!(decode_directory(&twice), None);
    }
}
