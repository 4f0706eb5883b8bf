//! One entry of the workspace that is no directory: read, and read again if it changes meanwhile.

use std::{ffi::OsStr, io, os::fd::OwnedFd, path::Path, rc::Rc};

use rustix::{fs::FileType, io::Errno};

use super::{ATTEMPTS, Linked, Walk, omission};
use crate::{
    attributes::Attributes,
    repository::{
        content::{self, Earlier},
        frame::Kind,
        node::{Content, Node, Omission, link_group},
        seen,
    },
    stat::{Stat, is_absent},
    xattr::{self, Xattrs},
};

/// What an entry of that name was when it was seen last.
pub(super) struct Known {
    /// Whether it has not changed since.
    pub(super) is_current: bool,
    pub(super) node: Option<Node>,
}

impl Walk<'_> {
    /// Reads what is no directory; `None` if it is not there any more.
    pub(super) fn read(
        &mut self,
        (dir, name): (&Rc<OwnedFd>, &OsStr),
        stat: Stat,
        path: &Path,
        known: Known,
    ) -> io::Result<Option<(Node, Stat)>> {
        let at = (dir, name);
        if stat.mount != self.mount {
            let entry = (name.to_owned(), Attributes::of(&stat, Xattrs::new()));
            let node = self.omitted(path, entry, Omission::OtherFileSystem);
            return Ok(Some((node, stat)));
        }
        let linked = self.linked(&stat, path);
        let Known { is_current, node } = known;
        let whole = |node: &Node| !node.torn && !matches!(node.content, Content::Omitted(_));
        let (usable, earlier) = if is_current {
            (node.filter(whole), None)
        } else {
            (None, node)
        };
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
            (None, None) => self.fresh(at, stat, (path, earlier))?,
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
        (path, earlier): (&Path, Option<Node>),
    ) -> io::Result<Option<(Node, Stat)>> {
        let omitted = |walk: &mut Self, why| {
            let entry = (at.1.to_owned(), Attributes::of(&stat, Xattrs::new()));
            Ok(Some((walk.omitted(path, entry, why), stat)))
        };
        let content = match stat.kind() {
            FileType::RegularFile => {
                return match self.file(at, (path, earlier)) {
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
        (path, earlier): (&Path, Option<Node>),
    ) -> io::Result<Option<(Node, Stat)>> {
        let earlier = match earlier.map(|node| node.content) {
            Some(Content::File(stream)) => Earlier::of(&stream),
            _ => Earlier::default(),
        };
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
            let read = content::cut(&mut file, (&stat, &earlier), |hash, chunk| {
                sink.put(Kind::Data, hash, chunk).map_err(io::Error::other)
            })?;
            let attributes = Attributes::of(&stat, xattr::read_open(&file)?);
            let node = Node::plain(name, attributes, Content::File(read));
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
    pub(super) fn bare(
        (dir, name): (&Rc<OwnedFd>, &OsStr),
        stat: &Stat,
        content: Content,
    ) -> io::Result<Node> {
        let xattrs = match xattr::read(&**dir, name) {
            Ok(xattrs) => xattrs,
            Err(error) if is_absent(&error) => Xattrs::new(),
            Err(error) => return Err(error),
        };
        Ok(Node::plain(name, Attributes::of(stat, xattrs), content))
    }
}
