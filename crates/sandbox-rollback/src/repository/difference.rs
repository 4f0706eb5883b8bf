//! What differs between two trees: costs nothing for directories that are the same in both.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    rc::Rc,
};

use sandbox_types::{Change, ChangeKind};

use super::{
    Repository,
    error::RepositoryError,
    exclude::Excludes,
    node::{Content, LinkGroup, Node},
    reader::{Reader, Unpacked},
    record::SnapshotId,
    scan::{Found, Sink, Walk},
    session::Session,
    take,
};
use crate::stat::Time;

/// Two entries of the same name, one from each tree.
pub(super) type Pair = (PathBuf, Option<Node>, Option<Node>);

/// Returns the entries of two directories side by side.
pub(super) fn side_by_side(
    reader: &Reader,
    path: &Path,
    old: Option<&Node>,
    new: Option<&Node>,
) -> Result<Vec<Pair>, RepositoryError> {
    let entries = |node: Option<&Node>| node.map_or(Ok(Vec::new()), |node| reader.entries(node));
    let mut pairs: BTreeMap<_, (Option<Node>, Option<Node>)> = BTreeMap::new();
    for node in entries(old)? {
        pairs.insert(node.name.clone(), (Some(node), None));
    }
    for node in entries(new)? {
        let name = node.name.clone();
        pairs.entry(name).or_default().1 = Some(node);
    }
    let pair = |(name, (old, new))| (path.join(name), old, new);
    Ok(pairs.into_iter().map(pair).collect())
}

/// The other names of files that have several, in the two trees; read when they matter.
pub(super) struct Links<'a> {
    reader: &'a Reader,
    roots: [&'a Node; 2],
    groups: [Option<Groups>; 2],
}

type Groups = BTreeMap<LinkGroup, BTreeSet<PathBuf>>;

impl<'a> Links<'a> {
    pub(super) fn new(reader: &'a Reader, old: &'a Node, new: &'a Node) -> Self {
        Self {
            reader,
            roots: [old, new],
            groups: [None, None],
        }
    }

    /// Returns whether both entries are names of the same set of names. One that has other names
    /// only outside of the tree is as one that has none.
    pub(super) fn same(&mut self, old: &Node, new: &Node) -> Result<bool, RepositoryError> {
        if old.link == new.link {
            return Ok(true);
        }
        let old = self.members(0, old.link)?;
        Ok(old == self.members(1, new.link)?)
    }

    /// Returns the names of a group, if there is more than one.
    pub(super) fn members(
        &mut self,
        side: usize,
        group: Option<LinkGroup>,
    ) -> Result<BTreeSet<PathBuf>, RepositoryError> {
        let Some(group) = group else {
            return Ok(BTreeSet::new());
        };
        let known = match self.groups[side].take() {
            Some(groups) => groups,
            None => groups(self.reader, self.roots[side])?,
        };
        let members = known.get(&group).filter(|members| members.len() > 1);
        let members = members.cloned().unwrap_or_default();
        self.groups[side] = Some(known);
        Ok(members)
    }
}

fn groups(reader: &Reader, root: &Node) -> Result<Groups, RepositoryError> {
    let mut groups = Groups::new();
    let mut stack = vec![(PathBuf::new(), root.clone())];
    while let Some((path, node)) = stack.pop() {
        for node in reader.entries(&node)? {
            let path = path.join(&node.name);
            if let Some(group) = node.link {
                groups.entry(group).or_default().insert(path.clone());
            }
            if node.is_dir() {
                stack.push((path, node));
            }
        }
    }
    Ok(groups)
}

/// Looks at the workspace as it is now, without what `excludes` names, and returns its root; its directories can be read from
/// `reader` afterwards.
pub(super) fn look(
    session: &Session<'_>,
    reader: &mut Reader,
    (started, excludes): (Time, &Excludes),
) -> Result<(Node, Found), RepositoryError> {
    let layout = &session.repository.layout;
    let sink = Sink::Look(BTreeMap::new());
    let mut walk = Walk::new(layout, started, take::seen(session)?, sink)?;
    walk.excludes = excludes.by_name().compile()?;
    let root = walk.run()?;
    if let Sink::Look(trees) = walk.sink {
        let shared = trees
            .into_iter()
            .map(|(hash, bytes)| (hash, Rc::new(Unpacked(bytes))));
        reader.extra = shared.collect();
    }
    Ok((root, walk.found))
}

pub(super) fn between(
    repository: &Repository,
    from: &SnapshotId,
    to: Option<&SnapshotId>,
) -> Result<Vec<Change>, RepositoryError> {
    let session = Session::read(repository)?;
    let mut reader = session.reader()?;
    let old = session.find(&from.to_string())?;
    let new = if let Some(to) = to {
        session.find(&to.to_string())?.root
    } else {
        let started = take::start(&repository.layout)?;
        look(&session, &mut reader, (started, &old.excludes))?.0
    };
    changes(&reader, &old.root, &new)
}

/// Returns what changed from `old` to `new`, by path.
pub(super) fn changes(
    reader: &Reader,
    old: &Node,
    new: &Node,
) -> Result<Vec<Change>, RepositoryError> {
    let mut links = Links::new(reader, old, new);
    let mut found = Vec::new();
    let kind = change_of(&mut links, Some(old), Some(new))?;
    found.extend(kind.map(|kind| Change::new(".", kind, 0)));
    let mut stack = vec![(PathBuf::new(), Some(old.clone()), Some(new.clone()))];
    while let Some((path, old, new)) = stack.pop() {
        for (path, old, new) in side_by_side(reader, &path, old.as_ref(), new.as_ref())? {
            let kind = change_of(&mut links, old.as_ref(), new.as_ref())?;
            let shown = new.as_ref().or(old.as_ref());
            let bytes = shown.map_or(0, Node::file_bytes);
            found.extend(kind.map(|kind| Change::new(&path, kind, bytes)));
            let dirs = [&old, &new].map(|node| node.clone().filter(Node::is_dir));
            let [old, new] = dirs;
            let same = match (&old, &new) {
                (Some(old), Some(new)) => old.content == new.content,
                (None, None) => true,
                _ => false,
            };
            if !same {
                stack.push((path, old, new));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns how an entry changed; `None` if it did not, or if nothing is known of one of the two.
fn change_of(
    links: &mut Links<'_>,
    old: Option<&Node>,
    new: Option<&Node>,
) -> Result<Option<ChangeKind>, RepositoryError> {
    let is_omitted =
        |node: Option<&Node>| node.is_some_and(|node| matches!(node.content, Content::Omitted(_)));
    if is_omitted(old) || is_omitted(new) {
        return Ok(None);
    }
    Ok(match (old, new) {
        (None, Some(_)) => Some(ChangeKind::Created),
        (Some(_), None) => Some(ChangeKind::Deleted),
        (None, None) => None,
        (Some(old), Some(new)) if old.is_dir() && new.is_dir() => {
            // The time of a directory moves with the names in it: that is no change of its own.
            let attributes = if old.content == new.content {
                old.attributes == new.attributes
            } else {
                old.attributes.same_but_time(&new.attributes)
            };
            (!attributes).then_some(ChangeKind::Metadata)
        }
        (Some(old), Some(new)) if old.content != new.content => Some(ChangeKind::Modified),
        (Some(old), Some(new)) => {
            let same = old.attributes == new.attributes && links.same(old, new)?;
            (!same).then_some(ChangeKind::Metadata)
        }
    })
}
