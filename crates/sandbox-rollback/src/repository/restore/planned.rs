//! What a restore does in the workspace: the comparison of what is there with the snapshot.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, ChangeKind};

use super::{
    RestoreError, Selection, stage,
    wanted::{Step, Wanted},
};
use crate::repository::{
    difference::{Links, side_by_side},
    error::RepositoryError,
    node::{Content, LinkGroup, Node, Omission},
    reader::Reader,
};

const NOT_KEPT: &str = "it is not in the snapshot: left alone";
const IN_THE_WAY: &str = "what the snapshot leaves out is in its place: left alone";
const NOT_SEEN: &str = "it cannot be read: left alone";
const WAS_TORN: &str = "it changed while the snapshot was taken";

/// Compares two trees, and decides.
pub(super) struct Planner<'a> {
    reader: &'a Reader,
    selection: &'a Selection,
    now: &'a Node,
    then: &'a Node,
    links: Links<'a>,
    wanted: Wanted,
    /// Groups of which a name is brought: then all of their names are.
    groups: BTreeSet<LinkGroup>,
    waiting: Vec<(PathBuf, Option<Node>, Option<Node>)>,
}

impl<'a> Planner<'a> {
    /// `now` is the root of the workspace as it is, `then` that of the snapshot.
    pub(super) fn new(
        reader: &'a Reader,
        selection: &'a Selection,
        (now, then): (&'a Node, &'a Node),
    ) -> Self {
        Self {
            reader,
            selection,
            now,
            then,
            links: Links::new(reader, now, then),
            wanted: Wanted::default(),
            groups: BTreeSet::new(),
            waiting: Vec::new(),
        }
    }

    /// Compares everything that is selected.
    pub(super) fn compare(&mut self) -> Result<(), RestoreError> {
        let (now, then) = (self.now, self.then);
        self.both_directories(PathBuf::new(), now, then);
        while let Some((path, now, then)) = self.waiting.pop() {
            let pairs = side_by_side(self.reader, &path, now.as_ref(), then.as_ref())?;
            for (path, now, then) in pairs {
                match (now, then) {
                    (Some(now), None) => self.extra(path, now)?,
                    (None, Some(then)) => self.missing(path, None, then)?,
                    (Some(now), Some(then)) => self.both(path, now, then)?,
                    (None, None) => {}
                }
            }
        }
        self.complete_groups()
    }

    /// Returns what a restore to an empty directory brings.
    pub(super) fn everything(&mut self) -> Result<Vec<Change>, RestoreError> {
        for node in self.reader.entries(self.then)? {
            let path = PathBuf::from(&node.name);
            if matches!(node.content, Content::Omitted(_)) {
                if self.selection.covers(&path) {
                    self.note(path, NOT_KEPT);
                }
            } else if self.leads(&path, &node)? {
                self.list(&path, &node, ChangeKind::Created)?;
            }
        }
        let mut changes = std::mem::take(&mut self.wanted.changes);
        changes.sort_unstable();
        Ok(changes)
    }

    pub(super) fn finish(self) -> Wanted {
        self.wanted
    }

    /// In the workspace, and not in the snapshot.
    fn extra(&mut self, path: PathBuf, now: Node) -> Result<(), RestoreError> {
        if !self.selection.covers(&path) {
            if now.is_dir() {
                self.waiting.push((path, Some(now), None));
            }
            return Ok(());
        }
        if matches!(now.content, Content::Omitted(Omission::OtherFileSystem)) {
            self.note(path, NOT_SEEN);
            return Ok(());
        }
        if self.holds_excluded(&now)? {
            // What else is in it goes one by one.
            if now.is_dir() {
                self.waiting.push((path, Some(now), None));
            }
            return Ok(());
        }
        self.list(&path, &now, ChangeKind::Deleted)?;
        self.step(path, Step::Remove);
        Ok(())
    }

    /// To be brought, where `now` is of another kind or nothing.
    fn missing(
        &mut self,
        path: PathBuf,
        now: Option<Node>,
        then: Node,
    ) -> Result<(), RestoreError> {
        if matches!(then.content, Content::Omitted(_)) {
            if self.selection.covers(&path) {
                self.note(path, NOT_KEPT);
            }
            return Ok(());
        }
        if !self.leads(&path, &then)? {
            return match now {
                Some(now) => self.extra(path, now),
                None => Ok(()),
            };
        }
        if let Some(now) = &now
            && self.holds_excluded(now)?
        {
            self.note(path, IN_THE_WAY);
            return Ok(());
        }
        let kind = if now.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Created
        };
        if let Some(now) = now.filter(Node::is_dir) {
            self.list_inside(&path, &now, ChangeKind::Deleted)?;
        }
        self.wanted
            .changes
            .push(Change::new(&path, kind, then.file_bytes()));
        self.list_inside(&path, &then, ChangeKind::Created)?;
        self.bring(path, then);
        Ok(())
    }

    /// Returns whether this is, or has in it, what the snapshot leaves out by its name.
    fn holds_excluded(&self, node: &Node) -> Result<bool, RepositoryError> {
        let mut stack = vec![node.clone()];
        while let Some(node) = stack.pop() {
            match &node.content {
                Content::Omitted(Omission::Excluded) => return Ok(true),
                Content::Directory(_) => stack.extend(self.reader.entries(&node)?),
                Content::File(_)
                | Content::Symlink(_)
                | Content::Pipe
                | Content::CharacterDevice(..)
                | Content::BlockDevice(..)
                | Content::Omitted(_) => {}
            }
        }
        Ok(false)
    }

    /// Returns whether something at or below `path` is selected.
    fn leads(&self, path: &Path, node: &Node) -> Result<bool, RepositoryError> {
        stage::leads_to_selected(self.reader, self.selection, path, node)
    }

    fn both(&mut self, path: PathBuf, now: Node, then: Node) -> Result<(), RestoreError> {
        let covered = self.selection.covers(&path);
        if matches!(now.content, Content::Omitted(Omission::OtherFileSystem)) {
            if covered && !matches!(then.content, Content::Omitted(_)) {
                self.note(path, NOT_SEEN);
            }
            return Ok(());
        }
        if matches!(then.content, Content::Omitted(_)) {
            return Ok(());
        }
        if now.is_dir() && then.is_dir() {
            self.both_directories(path, &now, &then);
            return Ok(());
        }
        if !now.same_kind(&then) {
            return self.missing(path, Some(now), then);
        }
        if !covered {
            return Ok(());
        }
        let same_content = now.content == then.content && self.links.same(&now, &then)?;
        if same_content && now.attributes == then.attributes {
            return Ok(());
        }
        let kind = if now.content == then.content {
            ChangeKind::Metadata
        } else {
            ChangeKind::Modified
        };
        self.wanted
            .changes
            .push(Change::new(&path, kind, then.file_bytes()));
        if let Content::File(content) = &now.content {
            self.wanted.present.note(&path, content);
        }
        // Other names of the same file must not get these attributes too.
        if same_content && now.link.is_none() {
            self.step(path, Step::Adjust(then.attributes));
        } else {
            self.bring(path, then);
        }
        Ok(())
    }

    fn both_directories(&mut self, path: PathBuf, now: &Node, then: &Node) {
        let covered = if path.as_os_str().is_empty() {
            self.selection.is_all()
        } else {
            self.selection.covers(&path)
        };
        if covered {
            let same = now.attributes.same_but_time(&then.attributes);
            let only_time = now.content == then.content && now.attributes != then.attributes;
            if !same || only_time {
                let shown = if path.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    &path
                };
                let change = Change::new(shown, ChangeKind::Metadata, 0);
                self.wanted.changes.push(change);
            }
            if now.attributes != then.attributes {
                let step = Step::Adjust(then.attributes.clone());
                self.wanted.steps.insert(path.clone(), step);
            }
            self.wanted
                .touched
                .insert(path.clone(), Some(then.attributes.mtime));
        }
        if now.content != then.content {
            self.waiting
                .push((path, Some(now.clone()), Some(then.clone())));
        }
    }

    /// Adds the names of files of which another name is brought: all of them must be one file.
    fn complete_groups(&mut self) -> Result<(), RestoreError> {
        for group in std::mem::take(&mut self.groups) {
            let members = self.links.members(1, Some(group))?;
            for path in members {
                let moves = |path: &Path| {
                    let step = self.wanted.steps.get(path);
                    step.is_some_and(|step| !matches!(step, Step::Adjust(_)))
                };
                if !self.selection.covers(&path) || path.ancestors().any(moves) {
                    continue;
                }
                if let Some(node) = find(self.reader, self.then, &path)? {
                    self.bring(path, node);
                }
            }
        }
        Ok(())
    }

    fn bring(&mut self, path: PathBuf, node: Node) {
        self.groups.extend(node.link);
        if node.torn {
            self.note(path.clone(), WAS_TORN);
        }
        self.step(path, Step::Bring(node));
    }

    fn step(&mut self, path: PathBuf, step: Step) {
        if !matches!(step, Step::Adjust(_))
            && let Some(parent) = path.parent()
        {
            self.wanted.touched.entry(parent.to_owned()).or_insert(None);
        }
        self.wanted.steps.insert(path, step);
    }

    fn note(&mut self, path: PathBuf, why: &'static str) {
        self.wanted.notes.push((path, why));
    }

    fn list(&mut self, path: &Path, node: &Node, kind: ChangeKind) -> Result<(), RepositoryError> {
        self.wanted
            .changes
            .push(Change::new(path, kind, node.file_bytes()));
        self.list_inside(path, node, kind)
    }

    /// Lists what is below `path`, as far as it is selected.
    fn list_inside(
        &mut self,
        path: &Path,
        node: &Node,
        kind: ChangeKind,
    ) -> Result<(), RepositoryError> {
        let mut stack = vec![(path.to_owned(), node.clone())];
        while let Some((path, node)) = stack.pop() {
            for node in self.reader.entries(&node)? {
                let path = path.join(&node.name);
                if matches!(node.content, Content::Omitted(_)) && kind == ChangeKind::Created {
                    self.note(path, NOT_KEPT);
                    continue;
                }
                self.groups
                    .extend(node.link.filter(|_| kind == ChangeKind::Created));
                let is_brought = kind == ChangeKind::Deleted
                    || self.selection.covers(&path)
                    || node.is_dir() && self.leads(&path, &node)?;
                if is_brought {
                    let change = Change::new(&path, kind, node.file_bytes());
                    self.wanted.changes.push(change);
                }
                if node.is_dir() {
                    stack.push((path, node));
                }
            }
        }
        Ok(())
    }
}

fn find(reader: &Reader, root: &Node, path: &Path) -> Result<Option<Node>, RepositoryError> {
    let mut node = root.clone();
    for name in path {
        let entries = reader.entries(&node)?;
        match entries.into_iter().find(|entry| entry.name == name) {
            Some(entry) => node = entry,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}
