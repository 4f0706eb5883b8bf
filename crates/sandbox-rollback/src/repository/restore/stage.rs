//! Writes entries of a snapshot below a directory of ours, with all their attributes, each chunk
//! checked.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::{RestoreError, Selection, present::Present};
use crate::{
    attributes::Attributes,
    repository::{
        error::RepositoryError,
        node::{Content, Extent, LinkGroup, Node, Stream},
        reader::Reader,
    },
    stat::SETID_BITS,
    step::step,
    tree::{Spot, Tree},
};

/// The most damaged paths that are listed.
const DAMAGED_LISTED_MAX: usize = 1000;

/// What could not be given to an entry, in words.
const NOT_ALL_ATTRIBUTES: &str = "its owner or some attributes may only be set by root";
const NO_DEVICE: &str = "a device may only be made by root";

/// A directory that entries are written to.
pub(in crate::repository) struct Stage<'a> {
    reader: &'a Reader,
    selection: &'a Selection,
    tree: Tree,
    /// Where the first name of a file lies.
    links: BTreeMap<LinkGroup, PathBuf>,
    /// What is in the workspace already.
    pub(super) present: Option<(&'a Tree, &'a Present)>,
    /// Directories that get their attributes when all is in them.
    open: Vec<(PathBuf, Attributes)>,
    damaged: Vec<PathBuf>,
    damage: Option<RepositoryError>,
    pub(super) notes: Vec<(PathBuf, &'static str)>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(reader: &'a Reader, selection: &'a Selection, tree: Tree) -> Self {
        Self {
            reader,
            selection,
            tree,
            links: BTreeMap::new(),
            present: None,
            open: Vec::new(),
            damaged: Vec::new(),
            damage: None,
            notes: Vec::new(),
        }
    }

    /// Writes `node`, and what is selected below it, at `path`. Damage is noted, to name all of it.
    pub(super) fn write(&mut self, path: &Path, node: &Node) -> Result<(), RestoreError> {
        self.make_parents(path)?;
        let mut stack = vec![(path.to_owned(), node.clone())];
        while let Some((path, node)) = stack.pop() {
            let result = if node.is_dir() {
                if !self.selection.covers(&path) && !self.leads_to_selected(&path, &node)? {
                    continue;
                }
                self.directory(&path, &node, &mut stack)
            } else if self.selection.covers(&path) {
                self.entry(&path, &node)
            } else {
                continue;
            };
            match result {
                Ok(()) => {}
                Err(Failure::System(error)) => {
                    return Err(self.tree.cannot("write", &path)(error).into());
                }
                Err(Failure::Repository(error @ RepositoryError::Damaged { .. })) => {
                    self.damaged.push(path);
                    self.damage.get_or_insert(error);
                    if self.damaged.len() > DAMAGED_LISTED_MAX {
                        return self.finish();
                    }
                }
                Err(Failure::Repository(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives the directories their attributes, deepest first; fails if anything was damaged.
    pub(super) fn finish(&mut self) -> Result<(), RestoreError> {
        if let Some(source) = self.damage.take() {
            return Err(RestoreError::Damaged {
                paths: std::mem::take(&mut self.damaged),
                source: Box::new(source),
            });
        }
        self.tree.forget();
        for (path, attributes) in std::mem::take(&mut self.open).into_iter().rev() {
            let give = || -> io::Result<bool> {
                let spot = self.tree.spot(&path)?;
                attributes.apply_permitted(&spot.dir, &spot.name)
            };
            let all = give().map_err(self.tree.cannot("set attributes of", &path))?;
            if !all {
                self.notes.push((path, NOT_ALL_ATTRIBUTES));
            }
        }
        Ok(())
    }

    /// Returns whether something below `path` is selected.
    fn leads_to_selected(&self, path: &Path, node: &Node) -> Result<bool, RestoreError> {
        Ok(leads_to_selected(self.reader, self.selection, path, node)?)
    }

    fn make_parents(&mut self, path: &Path) -> Result<(), RestoreError> {
        let parents: Vec<_> = path.ancestors().skip(1).collect();
        for parent in parents
            .into_iter()
            .rev()
            .filter(|it| !it.as_os_str().is_empty())
        {
            let make = || match self.tree.spot(parent) {
                Ok(spot) => match rustix::fs::mkdirat(&spot.dir, &spot.name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error),
            };
            make().map_err(self.tree.cannot::<io::Error>("create", parent))?;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        path: &Path,
        node: &Node,
        stack: &mut Vec<(PathBuf, Node)>,
    ) -> Result<(), Failure> {
        let spot = self.tree.spot(path)?;
        step()?;
        rustix::fs::mkdirat(&spot.dir, &spot.name, Mode::RWXU)?;
        self.open.push((path.to_owned(), node.attributes.clone()));
        let entries = self.reader.entries(node)?;
        let inner = entries.into_iter().rev();
        stack.extend(inner.map(|node| (path.join(&node.name), node)));
        Ok(())
    }

    fn entry(&mut self, path: &Path, node: &Node) -> Result<(), Failure> {
        let spot = self.tree.spot(path)?;
        if let Some(first) = node.link.and_then(|group| self.links.get(&group)) {
            let first = self.tree.spot(first)?;
            let flags = AtFlags::empty();
            step()?;
            rustix::fs::linkat(&first.dir, &first.name, &spot.dir, &spot.name, flags)?;
            return Ok(());
        }
        let made = match &node.content {
            Content::File(stream) => {
                self.file(&spot, path, (node, stream))?;
                if let Some(group) = node.link {
                    self.links.insert(group, path.to_owned());
                }
                return Ok(());
            }
            Content::Symlink(target) => {
                step()?;
                rustix::fs::symlinkat(target.as_slice(), &spot.dir, &spot.name)
            }
            Content::Pipe => make(&spot, FileType::Fifo, 0),
            Content::CharacterDevice(major, minor) => make(
                &spot,
                FileType::CharacterDevice,
                rustix::fs::makedev(*major, *minor),
            ),
            Content::BlockDevice(major, minor) => make(
                &spot,
                FileType::BlockDevice,
                rustix::fs::makedev(*major, *minor),
            ),
            Content::Directory(_) | Content::Omitted(_) => return Ok(()),
        };
        match made {
            Err(Errno::PERM) => {
                self.notes.push((path.to_owned(), NO_DEVICE));
                return Ok(());
            }
            made => made?,
        }
        if !node.attributes.apply_permitted(&spot.dir, &spot.name)? {
            self.notes.push((path.to_owned(), NOT_ALL_ATTRIBUTES));
        }
        if let Some(group) = node.link {
            self.links.insert(group, path.to_owned());
        }
        Ok(())
    }

    fn file(
        &mut self,
        spot: &Spot,
        path: &Path,
        (node, stream): (&Node, &Stream),
    ) -> Result<(), Failure> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        step()?;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&spot.dir, &spot.name, flags, mode)?;
        let mut file = File::from(file);
        let source = self
            .present
            .and_then(|(workspace, it)| it.open(workspace, path));
        let mut ends_with_hole = false;
        let mut at = 0;
        for extent in &stream.extents {
            match extent {
                Extent::Hole { bytes } => {
                    let bytes = i64::try_from(*bytes).map_err(io::Error::other)?;
                    file.seek(SeekFrom::Current(bytes))?;
                    ends_with_hole = true;
                }
                Extent::Data { bytes, hash } => {
                    let is_copied = match &source {
                        Some(source) => source.copy(&file, at, (*bytes, *hash))?,
                        None => false,
                    };
                    if !is_copied {
                        file.write_all(&self.reader.chunk(hash)?)?;
                    }
                    self.reader.progress.add(u64::from(*bytes));
                    ends_with_hole = false;
                }
            }
            at += extent.bytes();
        }
        if ends_with_hole {
            file.set_len(stream.bytes)?;
        }
        if !give(&file, &node.attributes)? {
            self.notes.push((path.to_owned(), NOT_ALL_ATTRIBUTES));
        }
        Ok(())
    }
}

/// Returns whether something at or below `path` is selected.
pub(super) fn leads_to_selected(
    reader: &Reader,
    selection: &Selection,
    path: &Path,
    node: &Node,
) -> Result<bool, RepositoryError> {
    if selection.covers(path) {
        return Ok(true);
    }
    let mut stack = vec![(path.to_owned(), node.clone())];
    while let Some((path, node)) = stack.pop() {
        for node in reader.entries(&node)? {
            let path = path.join(&node.name);
            if selection.covers(&path) {
                return Ok(true);
            }
            if node.is_dir() {
                stack.push((path, node));
            }
        }
    }
    Ok(false)
}

/// How an entry was not written.
enum Failure {
    System(io::Error),
    Repository(RepositoryError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(error)
    }
}

fn make(spot: &Spot, kind: FileType, device: u64) -> Result<(), Errno> {
    rustix::fs::mknodat(&spot.dir, &spot.name, kind, Mode::RUSR | Mode::WUSR, device)
}

/// Gives a new file its attributes; returns whether all of them were permitted. The order is that of
/// [`Attributes::apply`].
fn give(file: &File, attributes: &Attributes) -> io::Result<bool> {
    use rustix::{
        fs::{Gid, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags},
        process::{getegid, geteuid},
    };
    let mut all = true;
    let mut permitted = |result: Result<(), Errno>| match result {
        Err(Errno::PERM | Errno::INVAL | Errno::ACCESS) => {
            all = false;
            Ok(())
        }
        result => result,
    };
    let (uid, gid) = (attributes.uid, attributes.gid);
    let mut mode = attributes.mode;
    if (uid, gid) != (geteuid().as_raw(), getegid().as_raw()) {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let given = rustix::fs::fchown(file, Some(uid), Some(gid));
        if given.is_err() {
            // It must not give its new owner's identity to others.
            mode &= !SETID_BITS;
        }
        permitted(given)?;
    }
    for (name, value) in &attributes.xattrs {
        let name = OsStr::from_bytes(name);
        permitted(rustix::fs::fsetxattr(
            file,
            name,
            value,
            XattrFlags::empty(),
        ))?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: attributes.mtime.0,
            tv_nsec: i64::from(attributes.mtime.1),
        },
    };
    rustix::fs::futimens(file, &times)?;
    Ok(all)
}
