//! The walk over the workspace: everything in it as nodes, reading only what changed.
//!
//! Directories are entered by descriptor and without recursion, so that neither links nor depth
//! matter. What a path leads to may change while it is walked: what vanishes is left out, what
//! changes while it is read is read again.

mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use read::Known;
use redb::ReadOnlyTable;
use rustix::io::Errno;

use super::{
    content,
    error::RepositoryError,
    exclude::Matcher,
    frame::Kind,
    index::contain,
    node::{Content, Hash, LinkGroup, Node, Omission, Stream, directory_of},
    seen::{self, Key, SeenDirectory, SeenEntry},
    writer::Writer,
};
use crate::{
    attributes::Attributes,
    file_error::{FileError, cannot},
    layout::Layout,
    progress::Progress,
    stat::{Stat, Time, is_absent},
    tree::{Tree, is_link, names},
    xattr::Xattrs,
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
    /// Takes a chunk, whose SHA-256 is `hash`.
    fn put(&mut self, kind: Kind, hash: Hash, chunk: &[u8]) -> Result<(), RepositoryError> {
        match self {
            Self::Store(writer) => writer.put(kind, hash, chunk),
            Self::Look(trees) => {
                if kind == Kind::Tree {
                    trees.insert(hash, chunk.to_vec());
                }
                Ok(())
            }
        }
    }
}

/// What was seen before: in the index, and in an earlier walk of the same snapshot.
pub(super) struct Seen {
    pub(super) table: Option<ReadOnlyTable<&'static [u8; 16], &'static [u8]>>,
    /// As they are kept.
    pub(super) fresh: BTreeMap<LinkGroup, Vec<u8>>,
}

impl Seen {
    /// Returns a row. What cannot be read is not known: then the directory is read.
    pub(super) fn row(&self, key: &LinkGroup) -> Option<Vec<u8>> {
        if let Some(row) = self.fresh.get(key) {
            return seen::unpacked(row);
        }
        let table = self.table.as_ref()?;
        let row = contain(|| Ok(table.get(key)?.map(|row| seen::unpacked(row.value()))));
        row.ok().flatten().flatten()
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
    /// What was left out on purpose; what is in a directory of these is not counted.
    pub(super) excluded: u64,
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
    waiting: Vec<Waiting>,
}

/// A directory that is entered later.
struct Waiting {
    node: Node,
    stat: Stat,
    /// Whether it has the same names in it as when it was seen last.
    listed: bool,
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
    pub(super) excludes: Matcher,
    /// What lies in the root and is ours.
    own: Option<OsString>,
    pub(super) progress: Arc<Progress>,
    links: BTreeMap<(u64, u64), Linked>,
    pub(super) found: Found,
}

impl<'a> Walk<'a> {
    /// `started` is the file system's time now: what changes later is racy.
    pub(super) fn new(
        layout: &Layout,
        started: Time,
        seen: Seen,
        sink: Sink<'a>,
    ) -> Result<Self, FileError> {
        let tree = layout.open_workspace()?;
        Ok(Self {
            mount: tree.stat()?.mount,
            tree,
            started,
            seen,
            sink,
            excludes: Matcher::none(),
            own: layout.own_name().map(OsStr::to_owned),
            progress: Arc::default(),
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
            if let Some(Waiting { node, stat, listed }) = frame.waiting.pop() {
                let path = frame.path.join(&node.name);
                let entry = (node.name.clone(), node.attributes.clone());
                match self.enter(path.clone(), (node, listed), &stat) {
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
        let content = Content::Directory(Stream::default());
        let node = Node::plain(OsStr::new(""), attributes, content);
        let entered = self.enter(PathBuf::new(), (node, false), &stat);
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let frame = entered.and_then(|frame| frame.ok_or_else(absent));
        Ok(frame.map_err(self.tree.cannot("read", path))?)
    }

    /// Reads the entries of a directory; `None` if it is not there any more. Their names are not
    /// asked for if the directory is as it was when they were `listed`: each name that comes or goes
    /// moves its times.
    fn enter(
        &mut self,
        path: PathBuf,
        (node, listed): (Node, bool),
        stat: &Stat,
    ) -> io::Result<Option<Frame>> {
        let key = seen::row_of(&path);
        let row = self.seen.row(&key);
        let before = row.as_deref().and_then(SeenDirectory::read);
        let opened = self.tree.directory(&path).and_then(|dir| {
            let names = match &before {
                Some(_) if listed => Vec::new(),
                Some(_) | None => names(&dir)?,
            };
            Ok((names, dir))
        });
        let (names, dir) = match opened {
            Ok(opened) => opened,
            Err(error) if is_absent(&error) || is_link(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.found.rows.insert(key);
        let mut frame = Frame {
            node,
            stat: *stat,
            entries: Vec::with_capacity(names.len()),
            waiting: Vec::new(),
            row: None,
            path,
        };
        match &before {
            Some(before) if listed => {
                frame.entries.reserve_exact(before.entries.len());
                for known in &before.entries {
                    let name = OsStr::from_bytes(known.name);
                    self.entry(&mut frame, (&dir, name), Some(known))?;
                }
            }
            Some(_) | None => {
                for name in names {
                    if frame.path.as_os_str().is_empty() && self.own.as_ref() == Some(&name) {
                        continue;
                    }
                    let known = before
                        .as_ref()
                        .and_then(|before| before.find(name.as_bytes()));
                    self.entry(&mut frame, (&dir, &name), known)?;
                }
            }
        }
        frame.row = row;
        frame.waiting.reverse();
        Ok(Some(frame))
    }

    fn entry(
        &mut self,
        frame: &mut Frame,
        (dir, name): (&Rc<OwnedFd>, &OsStr),
        before: Option<&SeenEntry<'_>>,
    ) -> io::Result<()> {
        let path = || frame.path.join(name);
        let stat = match Stat::find(&**dir, name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(()),
            Err(error) => {
                // A directory that may be listed and not entered.
                let why = omission(&error).ok_or(error)?;
                let node = self.omitted(&path(), (name.to_owned(), unknown()), why);
                frame.entries.push(Entry::unknown(node));
                return Ok(());
            }
        };
        if !self.excludes.is_empty() && self.is_excluded(&path(), &stat) {
            self.found.excluded += 1;
            let content = Content::Omitted(Omission::Excluded);
            frame
                .entries
                .push(Entry::unknown(Node::plain(name, unknown(), content)));
            return Ok(());
        }
        let key = seen::key_of(&stat);
        let known = before.filter(|entry| !entry.racy && entry.key == key);
        if stat.is_dir() && stat.mount == self.mount {
            let node = known.and_then(|entry| Node::decoded(entry.node));
            let node = node.filter(Node::is_dir);
            let listed = node.is_some();
            let node = match node {
                Some(node) => node,
                None => Self::bare((dir, name), &stat, Content::Directory(Stream::default()))?,
            };
            frame.waiting.push(Waiting { node, stat, listed });
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
        let known = Known {
            is_current: known.is_some(),
            node: before.and_then(|entry| Node::decoded(entry.node)),
        };
        let Some((node, stat)) = self.read((dir, name), stat, &path(), known)? else {
            return Ok(());
        };
        self.count(&stat);
        push(frame, node, (&stat, self.started));
        Ok(())
    }

    fn is_excluded(&self, path: &Path, stat: &Stat) -> bool {
        let file_bytes = stat.is_file().then_some(stat.size);
        self.excludes.covers(path, stat.is_dir(), file_bytes)
    }

    fn count(&mut self, stat: &Stat) {
        self.found.files += 1;
        self.progress.add_entry(stat.file_bytes());
        self.found.bytes = self.found.bytes.saturating_add(stat.file_bytes());
    }

    fn omitted(
        &mut self,
        path: &Path,
        (name, attributes): (OsString, Attributes),
        why: Omission,
    ) -> Node {
        self.found.omitted.push((path.to_owned(), why));
        Node::plain(&name, attributes, Content::Omitted(why))
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
                content::cut_bytes(&bytes, |hash, chunk| {
                    sink.put(Kind::Tree, hash, chunk).map_err(io::Error::other)
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
                .insert(seen::row_of(&frame.path), seen::packed(row.write()));
        }
        if !frame.path.as_os_str().is_empty() {
            self.found.dirs += 1;
        }
        frame.node.content = Content::Directory(tree);
        Ok((frame.node, frame.stat))
    }
}

/// What stands for attributes that are not kept.
fn unknown() -> Attributes {
    Attributes {
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: Time(0, 0),
        xattrs: Xattrs::new(),
    }
}

impl Entry {
    /// Returns an entry that is looked at again each time, and has none of the file's attributes.
    fn unknown(node: Node) -> Self {
        Self {
            key: [0; _],
            racy: true,
            node: node.encoded(),
            name: node.name,
        }
    }

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
