//! The walk over the workspace: everything in it as nodes, reading only what changed.
//!
//! Directories are entered by descriptor and without recursion, so that neither links nor depth
//! matter. What a path leads to may change while it is walked: what vanishes is left out, what
//! changes while it is read is read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use redb::ReadOnlyTable;
use rustix::{fs::FileType, io::Errno};

use super::{
    content,
    error::RepositoryError,
    frame::Kind,
    index::contain,
    node::{Content, Hash, LinkGroup, Node, Omission, Stream, directory_of, link_group},
    seen::{self, Key, SeenDirectory, SeenEntry},
    writer::Writer,
};
use crate::{
    attributes::Attributes,
    file_error::{FileError, cannot},
    stat::{Stat, Time, is_absent},
    tree::{Tree, is_link, names},
    xattr::{self, Xattrs},
};

/// How often a file is read that changes meanwhile.
const ATTEMPTS: u32 = 3;

/// Where the chunks go that the walk finds.
pub(super) enum Sink<'a> {
    /// Into packs.
    Store(Writer<'a>),
    /// Nowhere; only directories are kept, in memory.
    Look(BTreeMap<Hash, Vec<u8>>),
}

impl Sink<'_> {
    fn put(&mut self, kind: Kind, chunk: &[u8]) -> Result<Hash, RepositoryError> {
        match self {
            Self::Store(writer) => writer.put(kind, chunk),
            Self::Look(trees) => {
                let hash = Hash::of(chunk);
                if kind == Kind::Tree {
                    trees.insert(hash, chunk.to_vec());
                }
                Ok(hash)
            }
        }
    }
}

/// What was seen before: in the index, and in an earlier walk of the same snapshot.
pub(super) struct Seen {
    pub(super) table: Option<ReadOnlyTable<&'static [u8; 16], &'static [u8]>>,
    pub(super) fresh: BTreeMap<LinkGroup, Vec<u8>>,
}

impl Seen {
    /// Returns a row. What cannot be read is not known: then the directory is read.
    fn row(&self, key: &LinkGroup) -> Option<Vec<u8>> {
        if let Some(row) = self.fresh.get(key) {
            return Some(row.clone());
        }
        let table = self.table.as_ref()?;
        contain(|| Ok(table.get(key)?.map(|row| row.value().to_vec())))
            .ok()
            .flatten()
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: u64,
    pub(super) dirs: u64,
    pub(super) bytes: u64,
    /// Files whose content was read.
    pub(super) files_read: u64,
    pub(super) omitted: Vec<(PathBuf, Omission)>,
    pub(super) torn: Vec<PathBuf>,
    /// The rows of all directories that are there.
    pub(super) rows: BTreeSet<LinkGroup>,
}

/// A directory that the walk is in.
struct Frame {
    path: PathBuf,
    /// Its content is filled in at the end.
    node: Node,
    stat: Stat,
    row: Option<Vec<u8>>,
    entries: Vec<Entry>,
    waiting: Vec<(Node, Stat)>,
}

/// An entry that is done.
struct Entry {
    name: OsString,
    key: Key,
    racy: bool,
    node: Vec<u8>,
}

/// A file with several names, as the first of them showed it.
#[derive(Clone)]
struct Linked {
    group: LinkGroup,
    key: Key,
    node: Option<Node>,
}

pub(super) struct Walk<'a> {
    tree: Tree,
    mount: u64,
    started: Time,
    pub(super) seen: Seen,
    pub(super) sink: Sink<'a>,
    links: BTreeMap<(u64, u64), Linked>,
    pub(super) found: Found,
}

impl<'a> Walk<'a> {
    /// `started` is the file system's time now: what changes later is racy.
    pub(super) fn new(
        workspace: &Path,
        started: Time,
        seen: Seen,
        sink: Sink<'a>,
    ) -> Result<Self, FileError> {
        let stat = Stat::at(rustix::fs::CWD, workspace).map_err(cannot("read", workspace))?;
        Ok(Self {
            tree: Tree::open(workspace)?,
            mount: stat.mount,
            started,
            seen,
            sink,
            links: BTreeMap::new(),
            found: Found::default(),
        })
    }

    /// Walks everything, and returns the root.
    pub(super) fn run(&mut self) -> Result<Node, RepositoryError> {
        let root = self.root()?;
        let mut stack = vec![root];
        loop {
            let Some(frame) = stack.last_mut() else {
                return Err(cannot("walk", "")(io::Error::from(io::ErrorKind::Other)).into());
            };
            if let Some((node, stat)) = frame.waiting.pop() {
                let path = frame.path.join(&node.name);
                let entry = (node.name.clone(), node.attributes.clone());
                match self.enter(path.clone(), node, &stat) {
                    Ok(Some(inner)) => stack.push(inner),
                    Ok(None) => {}
                    Err(error) => {
                        let why = omission(&error)
                            .ok_or_else(|| self.tree.cannot("read", &path)(error))?;
                        let node = self.omitted(&path, entry, why);
                        push(frame, node, (&stat, self.started));
                    }
                }
                continue;
            }
            let Some(frame) = stack.pop() else { continue };
            let (node, stat) = self.leave(frame)?;
            match stack.last_mut() {
                Some(parent) => push(parent, node, (&stat, self.started)),
                None => return Ok(node),
            }
        }
    }

    fn root(&mut self) -> Result<Frame, RepositoryError> {
        let path = Path::new("");
        let open = || -> io::Result<(Stat, Attributes)> {
            let dir = self.tree.directory(path)?;
            Ok((Stat::of_fd(&dir)?, Attributes::read(&dir, OsStr::new(""))?))
        };
        let (stat, attributes) = open().map_err(self.tree.cannot("read", path))?;
        let node = Node {
            name: OsString::new(),
            attributes,
            link: None,
            torn: false,
            content: Content::Directory(Stream::default()),
        };
        let entered = self.enter(PathBuf::new(), node, &stat);
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let frame = entered.and_then(|frame| frame.ok_or_else(absent));
        Ok(frame.map_err(self.tree.cannot("read", path))?)
    }

    /// Reads the entries of a directory; `None` if it is not there any more.
    fn enter(&mut self, path: PathBuf, node: Node, stat: &Stat) -> io::Result<Option<Frame>> {
        let listed = self
            .tree
            .directory(&path)
            .and_then(|dir| Ok((names(&dir)?, dir)));
        let (names, dir) = match listed {
            Ok(listed) => listed,
            Err(error) if is_absent(&error) || is_link(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let key = seen::row_of(&path);
        self.found.rows.insert(key);
        let row = self.seen.row(&key);
        let mut frame = Frame {
            node,
            stat: *stat,
            entries: Vec::with_capacity(names.len()),
            waiting: Vec::new(),
            row: None,
            path,
        };
        let before = row.as_deref().and_then(SeenDirectory::read);
        for name in names {
            self.entry(&mut frame, (&dir, &name), before.as_ref())?;
        }
        frame.row = row;
        frame.waiting.reverse();
        Ok(Some(frame))
    }

    fn entry(
        &mut self,
        frame: &mut Frame,
        (dir, name): (&Rc<OwnedFd>, &OsStr),
        before: Option<&SeenDirectory<'_>>,
    ) -> io::Result<()> {
        let path = || frame.path.join(name);
        let stat = match Stat::find(&**dir, name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(()),
            Err(error) => {
                // A directory that may be listed and not entered.
                let why = omission(&error).ok_or(error)?;
                let unknown = Attributes {
                    mode: 0,
                    uid: 0,
                    gid: 0,
                    mtime: Time(0, 0),
                    xattrs: Xattrs::new(),
                };
                let node = self.omitted(&path(), (name.to_owned(), unknown), why);
                frame.entries.push(Entry {
                    name: name.to_owned(),
                    key: [0; _],
                    racy: true,
                    node: node.encoded(),
                });
                return Ok(());
            }
        };
        let key = seen::key_of(&stat);
        let known = before
            .and_then(|before| before.find(name.as_bytes()))
            .filter(|entry| !entry.racy && entry.key == key);
        if stat.is_dir() && stat.mount == self.mount {
            let node = known.and_then(|entry| Node::decoded(entry.node));
            let node = match node.filter(Node::is_dir) {
                Some(node) => node,
                None => Self::bare((dir, name), &stat, Content::Directory(Stream::default()))?,
            };
            frame.waiting.push((node, stat));
            return Ok(());
        }
        if let Some(entry) = known
            && stat.nlink == 1
        {
            self.count(&stat);
            frame.entries.push(Entry {
                name: name.to_owned(),
                key,
                racy: false,
                node: entry.node.to_vec(),
            });
            return Ok(());
        }
        let known = known.and_then(|entry| Node::decoded(entry.node));
        let Some((node, stat)) = self.read((dir, name), stat, &path(), known)? else {
            return Ok(());
        };
        self.count(&stat);
        push(frame, node, (&stat, self.started));
        Ok(())
    }

    fn count(&mut self, stat: &Stat) {
        self.found.files += 1;
        self.found.bytes = self.found.bytes.saturating_add(stat.file_bytes());
    }

    /// Reads what is no directory; `None` if it is not there any more.
    fn read(
        &mut self,
        (dir, name): (&Rc<OwnedFd>, &OsStr),
        stat: Stat,
        path: &Path,
        known: Option<Node>,
    ) -> io::Result<Option<(Node, Stat)>> {
        let at = (dir, name);
        if stat.mount != self.mount {
            let entry = (name.to_owned(), Attributes::of(&stat, Xattrs::new()));
            let node = self.omitted(path, entry, Omission::OtherFileSystem);
            return Ok(Some((node, stat)));
        }
        let linked = self.linked(&stat, path);
        let usable =
            known.filter(|node| !node.torn && !matches!(node.content, Content::Omitted(_)));
        let shared = linked.as_ref().and_then(|linked| linked.node.clone());
        let read = match (usable, shared) {
            (Some(node), _) => Some((node, stat)),
            (None, Some(node)) => Some((
                Node {
                    name: name.to_owned(),
                    ..node
                },
                stat,
            )),
            (None, None) => self.fresh(at, stat, path)?,
        };
        let Some((mut node, stat)) = read else {
            return Ok(None);
        };
        node.link = linked.as_ref().map(|linked| linked.group);
        if linked.is_some() && !node.torn {
            let ino = (
                u64::from(stat.dev.0) << 32 | u64::from(stat.dev.1),
                stat.ino,
            );
            if let Some(linked) = self.links.get_mut(&ino) {
                linked.node = Some(node.clone());
                linked.key = seen::key_of(&stat);
            }
        }
        Ok(Some((node, stat)))
    }

    /// Returns the group of a file with several names, and its content if it did not change since it
    /// was read under another of them.
    fn linked(&mut self, stat: &Stat, path: &Path) -> Option<Linked> {
        if stat.nlink < 2 {
            return None;
        }
        let ino = (
            u64::from(stat.dev.0) << 32 | u64::from(stat.dev.1),
            stat.ino,
        );
        let key = seen::key_of(stat);
        let linked = self.links.entry(ino).or_insert_with(|| Linked {
            group: link_group(path),
            key,
            node: None,
        });
        let mut linked = linked.clone();
        linked.node.take_if(|_| linked.key != key);
        Some(linked)
    }

    fn fresh(
        &mut self,
        at: (&Rc<OwnedFd>, &OsStr),
        stat: Stat,
        path: &Path,
    ) -> io::Result<Option<(Node, Stat)>> {
        let omitted = |walk: &mut Self, why| {
            let entry = (at.1.to_owned(), Attributes::of(&stat, Xattrs::new()));
            Ok(Some((walk.omitted(path, entry, why), stat)))
        };
        let content = match stat.kind() {
            FileType::RegularFile => {
                return match self.file(at, path) {
                    Ok(read) => Ok(read),
                    Err(error) if omission(&error).is_some() => omitted(self, Omission::Unreadable),
                    Err(error) => Err(error),
                };
            }
            FileType::Symlink => {
                match rustix::fs::readlinkat(&**at.0, at.1, Vec::new()) {
                    Ok(target) => Content::Symlink(target.into_bytes()),
                    // It is something else by now.
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
            FileType::Fifo => Content::Pipe,
            FileType::CharacterDevice => Content::CharacterDevice(stat.rdev.0, stat.rdev.1),
            FileType::BlockDevice => Content::BlockDevice(stat.rdev.0, stat.rdev.1),
            FileType::Directory => return Ok(None),
            FileType::Socket | FileType::Unknown => {
                return omitted(self, Omission::Socket);
            }
        };
        Ok(Some((Self::bare(at, &stat, content)?, stat)))
    }

    /// Reads a regular file until it did not change meanwhile.
    fn file(
        &mut self,
        (dir, name): (&Rc<OwnedFd>, &OsStr),
        path: &Path,
    ) -> io::Result<Option<(Node, Stat)>> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let mut file = match content::open(&**dir, name) {
                Ok(file) => file,
                Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let stat = Stat::of_fd(&file)?;
            if !stat.is_file() {
                return Ok(None);
            }
            self.found.files_read += 1;
            let sink = &mut self.sink;
            let read = content::cut(&mut file, &stat, |chunk| {
                sink.put(Kind::Data, chunk).map_err(io::Error::other)
            })?;
            let node = Self::bare((dir, name), &stat, Content::File(read))?;
            let after = Stat::of_fd(&file)?;
            let same = seen::key_of(&after) == seen::key_of(&stat);
            if same && node.file_bytes() == stat.size {
                return Ok(Some((node, stat)));
            }
            last = Some((node, after));
        }
        self.found.torn.push(path.to_owned());
        Ok(last.map(|(node, stat)| (Node { torn: true, ..node }, stat)))
    }

    /// Returns a node with all attributes of the file, which are read.
    fn bare(
        (dir, name): (&Rc<OwnedFd>, &OsStr),
        stat: &Stat,
        content: Content,
    ) -> io::Result<Node> {
        let xattrs = match xattr::read(&**dir, name) {
            Ok(xattrs) => xattrs,
            Err(error) if is_absent(&error) => Xattrs::new(),
            Err(error) => return Err(error),
        };
        Ok(Node {
            name: name.to_owned(),
            attributes: Attributes::of(stat, xattrs),
            link: None,
            torn: false,
            content,
        })
    }

    fn omitted(
        &mut self,
        path: &Path,
        (name, attributes): (OsString, Attributes),
        why: Omission,
    ) -> Node {
        self.found.omitted.push((path.to_owned(), why));
        Node {
            name,
            attributes,
            link: None,
            torn: false,
            content: Content::Omitted(why),
        }
    }

    /// Completes a directory: its canonical form is stored, and how it looks is remembered.
    fn leave(&mut self, mut frame: Frame) -> Result<(Node, Stat), RepositoryError> {
        frame.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let before = frame.row.as_deref().and_then(SeenDirectory::read);
        let before = before.filter(|before| before.entries.len() == frame.entries.len());
        let mut pairs = before
            .iter()
            .flat_map(|before| before.entries.iter().zip(&frame.entries));
        let same_tree = before.is_some()
            && pairs
                .clone()
                .all(|(old, new)| old.name == new.name.as_bytes() && old.node == new.node);
        let same_row =
            same_tree && pairs.all(|(old, new)| old.key == new.key && old.racy == new.racy);
        let tree = match before {
            Some(before) if same_tree => before.tree,
            _ => {
                let bytes = directory_of(frame.entries.iter().map(|entry| entry.node.as_slice()));
                let sink = &mut self.sink;
                content::cut_bytes(&bytes, |chunk| {
                    sink.put(Kind::Tree, chunk).map_err(io::Error::other)
                })
                .map_err(self.tree.cannot("keep", &frame.path))?
            }
        };
        if !same_row {
            let row = SeenDirectory {
                tree: tree.clone(),
                entries: frame.entries.iter().map(Entry::as_seen).collect(),
            };
            self.seen
                .fresh
                .insert(seen::row_of(&frame.path), row.write());
        }
        if !frame.path.as_os_str().is_empty() {
            self.found.dirs += 1;
        }
        frame.node.content = Content::Directory(tree);
        Ok((frame.node, frame.stat))
    }
}

impl Entry {
    fn as_seen(&self) -> SeenEntry<'_> {
        SeenEntry {
            name: self.name.as_bytes(),
            key: &self.key,
            racy: self.racy,
            node: &self.node,
        }
    }
}

/// Adds a finished node to the directory that holds it.
fn push(frame: &mut Frame, node: Node, (stat, started): (&Stat, Time)) {
    frame.entries.push(Entry {
        key: seen::key_of(stat),
        racy: node.torn || matches!(node.content, Content::Omitted(_)) || stat.ctime >= started,
        node: node.encoded(),
        name: node.name,
    });
}

/// Returns how an error is reported that concerns only this one entry.
fn omission(error: &io::Error) -> Option<Omission> {
    if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) {
        return Some(Omission::OtherFileSystem);
    }
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(Omission::Unreadable)
}
