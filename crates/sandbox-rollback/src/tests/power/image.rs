//! A picture of a directory tree, and the operations that lead from one picture to the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use crate::{
    stat::{Stat, Time},
    tree::Tree,
    xattr::{self, Xattrs},
};

/// What storage writes at once.
const SECTOR: usize = 512;

/// A directory and a name in it.
pub(super) type Name = (u64, OsString);

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Data {
    Names(BTreeMap<OsString, u64>),
    #[expect(
        clippy::rc_buffer,
        reason = "it grows, and most copies of a picture share it"
    )]
    Bytes(Rc<Vec<u8>>),
    Target(Vec<u8>),
    Special(u32, u32),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) xattrs: Xattrs,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Node {
    pub(super) attributes: Attributes,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) data: Data,
}

/// A tree by inodes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Image {
    pub(super) root: u64,
    pub(super) nodes: BTreeMap<u64, Node>,
}

/// One step of a file system.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// An inode, still without a name and without content.
    Make(u64, Node),
    Link(Name, u64),
    Unlink(Name),
    Rename(Name, Name),
    Exchange(Name, Name),
    Write(u64, usize, Vec<u8>),
    Length(u64, usize),
    Attributes(u64, Attributes),
    /// Times that follow from other operations.
    Times(u64, Time, Time),
    Sync(u64),
    SyncAll,
    /// A call of the product returned: what it promised holds from here on.
    Returned,
}

impl Op {
    /// Whether it is there whatever was synced: it shows only through others.
    pub(super) fn is_free(&self) -> bool {
        matches!(
            self,
            Self::Make(..) | Self::Times(..) | Self::Sync(_) | Self::SyncAll | Self::Returned
        )
    }

    /// The inodes whose sync makes it durable.
    pub(super) fn subjects(&self) -> Vec<u64> {
        match self {
            Self::Link(name, _) | Self::Unlink(name) => vec![name.0],
            Self::Rename(from, to) | Self::Exchange(from, to) => vec![from.0, to.0],
            Self::Write(ino, ..) | Self::Length(ino, _) | Self::Attributes(ino, _) => vec![*ino],
            Self::Make(..) | Self::Times(..) | Self::Sync(_) | Self::SyncAll | Self::Returned => {
                Vec::new()
            }
        }
    }

    /// The names that it changes.
    pub(super) fn names(&self) -> Vec<&Name> {
        match self {
            Self::Link(name, _) | Self::Unlink(name) => vec![name],
            Self::Rename(from, to) | Self::Exchange(from, to) => vec![from, to],
            Self::Make(..)
            | Self::Write(..)
            | Self::Length(..)
            | Self::Attributes(..)
            | Self::Times(..)
            | Self::Sync(_)
            | Self::SyncAll
            | Self::Returned => Vec::new(),
        }
    }
}

impl Image {
    /// Takes a picture of the directory `root`.
    pub(super) fn of(root: &Path) -> Self {
        let tree = Tree::open(root).unwrap();
        let mut image = Self::default();
        let mut stack = vec![PathBuf::new()];
        while let Some(path) = stack.pop() {
            let spot = tree.spot(&path).unwrap();
            let stat = Stat::at(&spot.dir, &spot.name).unwrap();
            if path.as_os_str().is_empty() {
                image.root = stat.ino;
            }
            if !stat.is_dir() && image.nodes.contains_key(&stat.ino) {
                continue;
            }
            let data = if stat.is_dir() {
                let named = |name: OsString| {
                    let inner = tree.spot(&path.join(&name)).unwrap();
                    let ino = Stat::at(&inner.dir, &inner.name).unwrap().ino;
                    stack.push(path.join(&name));
                    (name, ino)
                };
                Data::Names(tree.names(&path).unwrap().into_iter().map(named).collect())
            } else if stat.is_symlink() {
                let target = rustix::fs::readlinkat(&spot.dir, &spot.name, Vec::new());
                Data::Target(target.unwrap().into_bytes())
            } else if stat.is_file() {
                let bytes = fs::read(xattr::proc_path(&spot.dir, &spot.name)).unwrap();
                Data::Bytes(Rc::new(bytes))
            } else {
                Data::Special(stat.rdev.0, stat.rdev.1)
            };
            let attributes = Attributes {
                mode: stat.mode,
                owner: (stat.uid, stat.gid),
                xattrs: xattr::read(&spot.dir, &spot.name).unwrap(),
            };
            let node = Node {
                attributes,
                mtime: stat.mtime,
                ctime: stat.ctime,
                data,
            };
            image.nodes.insert(stat.ino, node);
        }
        image
    }

    fn names(&self) -> BTreeMap<Name, u64> {
        let mut all = BTreeMap::new();
        for (dir, node) in &self.nodes {
            if let Data::Names(names) = &node.data {
                all.extend(names.iter().map(|(name, ino)| ((*dir, name.clone()), *ino)));
            }
        }
        all
    }

    fn set_name(&mut self, name: &Name, ino: Option<u64>) -> Option<u64> {
        let Some(Data::Names(names)) = self.nodes.get_mut(&name.0).map(|node| &mut node.data)
        else {
            return None;
        };
        match ino {
            Some(ino) => names.insert(name.1.clone(), ino),
            None => names.remove(&name.1),
        }
    }

    fn bytes(&mut self, ino: u64) -> Option<&mut Vec<u8>> {
        match &mut self.nodes.get_mut(&ino)?.data {
            Data::Bytes(bytes) => Some(Rc::make_mut(bytes)),
            Data::Names(_) | Data::Target(_) | Data::Special(..) => None,
        }
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Make(ino, node) => {
                self.nodes.insert(*ino, node.clone());
            }
            Op::Link(name, ino) => drop(self.set_name(name, Some(*ino))),
            Op::Unlink(name) => drop(self.set_name(name, None)),
            Op::Rename(from, to) => {
                if let Some(ino) = self.set_name(from, None) {
                    self.set_name(to, Some(ino));
                }
            }
            Op::Exchange(a, b) => {
                let (was_a, was_b) = (self.set_name(a, None), self.set_name(b, None));
                self.set_name(a, was_b);
                self.set_name(b, was_a);
            }
            Op::Write(ino, at, part) => {
                if let Some(bytes) = self.bytes(*ino) {
                    bytes.resize(bytes.len().max(at + part.len()), 0);
                    bytes[*at..at + part.len()].copy_from_slice(part);
                }
            }
            Op::Length(ino, length) => {
                if let Some(bytes) = self.bytes(*ino) {
                    bytes.resize(*length, 0);
                }
            }
            Op::Attributes(ino, attributes) => {
                if let Some(node) = self.nodes.get_mut(ino) {
                    node.attributes = attributes.clone();
                }
            }
            Op::Times(ino, mtime, ctime) => {
                if let Some(node) = self.nodes.get_mut(ino) {
                    (node.mtime, node.ctime) = (*mtime, *ctime);
                }
            }
            Op::Sync(_) | Op::SyncAll | Op::Returned => {}
        }
    }

    /// Drops what no name leads to.
    pub(super) fn without_the_nameless(mut self) -> Self {
        let mut reached = BTreeSet::from([self.root]);
        let mut stack = vec![self.root];
        while let Some(ino) = stack.pop() {
            if let Some(Data::Names(names)) = self.nodes.get(&ino).map(|node| &node.data) {
                stack.extend(names.values().filter(|ino| reached.insert(**ino)));
            }
        }
        self.nodes.retain(|ino, _| reached.contains(ino));
        self
    }
}

/// Returns the operations that lead from one picture to the next.
pub(super) fn between(before: &Image, after: &Image) -> Vec<Op> {
    let mut ops = Vec::new();
    for (ino, node) in &after.nodes {
        if before.nodes.get(ino).is_none_or(|it| !same_kind(it, node)) {
            let data = match &node.data {
                Data::Names(_) => Data::Names(BTreeMap::new()),
                Data::Bytes(_) => Data::Bytes(Rc::default()),
                special @ (Data::Target(_) | Data::Special(..)) => special.clone(),
            };
            ops.push(Op::Make(
                *ino,
                Node {
                    data,
                    ..node.clone()
                },
            ));
        }
    }
    names(&before.names(), &after.names(), &mut ops);
    for (ino, node) in &after.nodes {
        let old = before.nodes.get(ino).filter(|old| same_kind(old, node));
        if let Data::Bytes(new) = &node.data {
            let empty = Rc::default();
            let was = match old.map(|old| &old.data) {
                Some(Data::Bytes(was)) => was,
                _ => &empty,
            };
            content(*ino, was, new, &mut ops);
        }
        let Some(old) = old else { continue };
        if old.attributes != node.attributes {
            ops.push(Op::Attributes(*ino, node.attributes.clone()));
        }
        if (old.mtime, old.ctime) != (node.mtime, node.ctime) {
            ops.push(Op::Times(*ino, node.mtime, node.ctime));
        }
    }
    ops
}

fn same_kind(a: &Node, b: &Node) -> bool {
    a.attributes.mode & 0o170_000 == b.attributes.mode & 0o170_000
}

fn names(before: &BTreeMap<Name, u64>, after: &BTreeMap<Name, u64>, ops: &mut Vec<Op>) {
    let differs =
        |(name, ino): &(&Name, &u64), other: &BTreeMap<Name, u64>| other.get(*name) != Some(*ino);
    let lost = before.iter().filter(|it| differs(it, after));
    let mut lost: BTreeMap<&Name, u64> = lost.map(|(name, ino)| (name, *ino)).collect();
    let gained = after.iter().filter(|it| differs(it, before));
    let mut gained: BTreeMap<&Name, u64> = gained.map(|(name, ino)| (name, *ino)).collect();
    let all: Vec<(&Name, u64)> = gained.iter().map(|(name, ino)| (*name, *ino)).collect();
    for (to, ino) in &all {
        let from = lost.iter().find(|(_, was)| *was == ino).map(|it| *it.0);
        let Some(from) = from.filter(|_| gained.contains_key(to)) else {
            continue;
        };
        lost.remove(from);
        gained.remove(to);
        match lost.get(to).copied() {
            Some(other) if gained.get(from) == Some(&other) => {
                lost.remove(to);
                gained.remove(from);
                ops.push(Op::Exchange(from.clone(), (*to).clone()));
            }
            _ => {
                lost.remove(to);
                ops.push(Op::Rename(from.clone(), (*to).clone()));
            }
        }
    }
    for (name, ino) in gained {
        lost.remove(name);
        ops.push(Op::Link(name.clone(), ino));
    }
    ops.extend(lost.into_keys().cloned().map(Op::Unlink));
}

/// The writes that lead to the content `new`: what is not only appended to is cut first, unless it
/// is a database, which writes in place.
fn content(ino: u64, old: &Vec<u8>, new: &Vec<u8>, ops: &mut Vec<Op>) {
    if old == new {
        return;
    }
    let is_database = new.starts_with(b"redb") || old.starts_with(b"redb");
    let mut length = old.len();
    let mut kept: &[u8] = old;
    if !new.starts_with(old) && !is_database {
        ops.push(Op::Length(ino, 0));
        (length, kept) = (0, &[]);
    }
    for (number, part) in new.chunks(SECTOR).enumerate() {
        let at = number * SECTOR;
        let was = kept.get(at..kept.len().min(at + part.len()));
        if was == Some(part) {
            continue;
        }
        // Zeros at the end need no writing: a file that was made longer has them.
        if was.is_none_or(<[u8]>::is_empty) && part.iter().all(|byte| *byte == 0) {
            continue;
        }
        ops.push(Op::Write(ino, at, part.to_vec()));
        length = length.max(at + part.len());
    }
    if length != new.len() {
        ops.push(Op::Length(ino, new.len()));
    }
}

/// Returns a short text for a name, in the pictures that it may be in.
pub(super) fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
