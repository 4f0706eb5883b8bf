//! What was deleted in one place and came in another.
//!
//! An overlay that a user namespace mounts has no redirects: `userxattr` excludes `redirect_dir`, so
//! renaming a directory of the lower layer fails with `EXDEV` and programs copy it
//! (`Documentation/filesystems/overlayfs.rst` of Linux, "renaming directories"). A file is renamed by
//! copying it up. So renames are found by what the two ends are: the same type, size and content,
//! and the same time or name.
//!
//! What was deleted as a whole and came as an exact copy, attributes included, is stored once: the commit
//! renames what was deleted, and drops the copy. A copy in a directory that is new itself comes with that, and is
//! stored twice.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use rustix::fs::FileType;

use crate::{
    apply::{rename, spot},
    attributes::Attributes,
    layout::Layout,
    overlay,
    plan::{Cleaning, Move, Place, Plan},
    stat::{Stat, Time},
    step::step,
    survey::{Survey, compare},
    tree::{Spot, Tree},
    xattr,
};

/// How many candidates are compared with one file: more alike ones are told as created and deleted.
const COMPARED_MAX: usize = 4;

/// One end of a rename.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moved {
    /// It came.
    Came,
    /// It went.
    Went,
}

/// What was deleted and came back elsewhere as an exact copy.
#[derive(Clone, Debug)]
pub(crate) struct Twin {
    went: PathBuf,
    came: PathBuf,
}

/// What came and what went, by the number of its change.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    came: Vec<End>,
    went: Vec<End>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    change: usize,
    kind: FileType,
    size: u64,
    mtime: Time,
}

impl Ends {
    /// Remembers an end of what may be a rename.
    pub(crate) fn note(&mut self, moved: Moved, change: usize, stat: &Stat) {
        let kind = stat.kind();
        let can_be_compared = [
            FileType::RegularFile,
            FileType::Symlink,
            FileType::Directory,
        ];
        if !can_be_compared.contains(&kind) {
            return;
        }
        let ends = match moved {
            Moved::Came => &mut self.came,
            Moved::Went => &mut self.went,
        };
        ends.push(End {
            change,
            kind,
            size: if kind == FileType::Directory {
                0
            } else {
                stat.size
            },
            mtime: stat.mtime,
        });
    }
}

/// Finds renames among the changes of a survey that is not sorted yet. What cannot be read is no
/// rename: it is told as created and deleted.
pub(crate) fn find(survey: &mut Survey, ends: Ends, trees: (&Tree, &Tree)) {
    if ends.came.is_empty() || ends.went.is_empty() {
        return;
    }
    let mut search = Search {
        survey,
        upper: trees.0,
        lower: trees.1,
        came: ends.came,
        went: ends.went,
        from: BTreeMap::new(),
        taken: BTreeSet::new(),
        twins: Vec::new(),
    };
    search.twins();
    search.files();
    search.directories();
    let Search { from, twins, .. } = search;
    let sources: Vec<(usize, PathBuf)> = from
        .into_iter()
        .map(|(came, went)| (came, survey.changes[went].path.clone()))
        .collect();
    for (came, path) in sources {
        survey.changes[came].from = Some(path);
    }
    survey.twins = twins;
}

struct Search<'a> {
    survey: &'a Survey,
    upper: &'a Tree,
    lower: &'a Tree,
    came: Vec<End>,
    went: Vec<End>,
    /// The number of the change that went, by that of the one that came.
    from: BTreeMap<usize, usize>,
    /// Those that went and are the source of one that came.
    taken: BTreeSet<usize>,
    twins: Vec<Twin>,
}

impl Search<'_> {
    fn path(&self, change: usize) -> &Path {
        &self.survey.changes[change].path
    }

    fn pair(&mut self, came: usize, went: usize) {
        self.from.insert(came, went);
        self.taken.insert(went);
    }

    /// Pairs what was deleted as a whole with an exact copy of it, and all that is in it.
    fn twins(&mut self) {
        let plan = &self.survey.plan;
        let mut attached = BTreeSet::new();
        let mut detached = BTreeSet::new();
        for change in &plan.moves {
            match change {
                Move::Attach { path, .. } => attached.insert(path.as_path()),
                Move::Detach { path, .. } => detached.insert(path.as_path()),
                Move::Exchange { .. } | Move::Rename { .. } | Move::MakeDirectory { .. } => false,
            };
        }
        let key = |end: &End| (end.kind.as_raw_mode(), end.size, end.mtime);
        let mut by_key: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for end in self
            .went
            .iter()
            .filter(|it| detached.contains(self.path(it.change)))
        {
            by_key.entry(key(end)).or_default().push(end.change);
        }
        let mut found: Vec<(usize, usize)> = Vec::new();
        let mut twins: Vec<Twin> = Vec::new();
        for end in &self.came {
            let came = self.path(end.change);
            if !attached.contains(came) {
                continue;
            }
            let Entry::Occupied(mut alike) = by_key.entry(key(end)) else {
                continue;
            };
            let alike = alike.get_mut();
            for at in 0..alike.len().min(COMPARED_MAX) {
                let went = self.path(alike[at]);
                if matches!(self.is_twin(came, went), Ok(true)) {
                    twins.push(Twin {
                        went: went.to_owned(),
                        came: came.to_owned(),
                    });
                    found.push((end.change, alike.remove(at)));
                    break;
                }
            }
        }
        self.twins = twins;
        self.pair_inside(&found);
    }

    /// Pairs what lies in the twins by its path in them.
    fn pair_inside(&mut self, twins: &[(usize, usize)]) {
        if twins.is_empty() {
            return;
        }
        let paths = self.went.iter().map(|it| (self.path(it.change), it.change));
        let went: BTreeMap<&Path, usize> = paths.collect();
        let tops: BTreeMap<&Path, &Path> = twins
            .iter()
            .map(|(came, went)| (self.path(*came), self.path(*went)))
            .collect();
        let mut pairs = Vec::new();
        for end in &self.came {
            let path = self.path(end.change);
            let top = path.ancestors().find_map(|it| Some((it, tops.get(it)?)));
            let source = top.and_then(|(new, old)| {
                let inside = path.strip_prefix(new).ok()?;
                let old = if inside.as_os_str().is_empty() {
                    old.to_path_buf()
                } else {
                    old.join(inside)
                };
                went.get(old.as_path())
            });
            pairs.extend(source.map(|source| (end.change, *source)));
        }
        for (came, went) in pairs {
            self.pair(came, went);
        }
    }

    /// Pairs files of the same content: first those with the same time, then those with the same
    /// name.
    fn files(&mut self) {
        let time: fn(&Self, &End) -> Option<Key> = |_, end| {
            let is_file = end.kind != FileType::Directory;
            is_file.then(|| (end.kind.as_raw_mode(), end.size, Some(end.mtime), None))
        };
        let name: fn(&Self, &End) -> Option<Key> = |search, end| {
            let name = search.path(end.change).file_name()?.to_owned();
            let tells = end.kind == FileType::RegularFile && end.size > 0;
            tells.then(|| (end.kind.as_raw_mode(), end.size, None, Some(name)))
        };
        for key in [time, name] {
            let mut by_key: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
            for end in self
                .went
                .iter()
                .filter(|it| !self.taken.contains(&it.change))
            {
                if let Some(key) = key(self, end) {
                    by_key.entry(key).or_default().push(end.change);
                }
            }
            let mut pairs = Vec::new();
            for end in self
                .came
                .iter()
                .filter(|it| !self.from.contains_key(&it.change))
            {
                let Some(Entry::Occupied(mut alike)) = key(self, end).map(|it| by_key.entry(it))
                else {
                    continue;
                };
                let came = self.path(end.change);
                let alike = alike.get_mut();
                let is_same = |went: &usize| self.is_same(came, self.path(*went)).unwrap_or(false);
                if let Some(at) = alike.iter().take(COMPARED_MAX).position(is_same) {
                    pairs.push((end.change, alike.remove(at)));
                }
            }
            for (came, went) in pairs {
                self.pair(came, went);
            }
        }
    }

    /// Pairs directories of which something was renamed to the other under the same name.
    fn directories(&mut self) {
        let of = |ends: &[End]| -> BTreeMap<PathBuf, usize> {
            let directories = ends.iter().filter(|it| it.kind == FileType::Directory);
            directories
                .map(|it| (self.path(it.change).to_owned(), it.change))
                .collect()
        };
        let (came, went) = (of(&self.came), of(&self.went));
        let pairs: Vec<(usize, usize)> = self.from.iter().map(|(new, old)| (*new, *old)).collect();
        for (new, old) in pairs {
            let (mut new, mut old) = (self.path(new).to_owned(), self.path(old).to_owned());
            while new.file_name() == old.file_name() && new.pop() && old.pop() {
                let (Some(came), Some(went)) = (came.get(&new), went.get(&old)) else {
                    break;
                };
                if self.from.contains_key(came) || self.taken.contains(went) {
                    break;
                }
                self.pair(*came, *went);
            }
        }
    }

    fn is_same(&self, came: &Path, went: &Path) -> io::Result<bool> {
        let (upper, lower) = (self.upper.spot(came)?, self.lower.spot(went)?);
        let (above, below) = (stat(&upper)?, stat(&lower)?);
        compare::same_content(side(&upper, &above), side(&lower, &below))
    }

    /// Returns whether `came` of the upper layer is an exact copy of `went` of the workspace: names,
    /// contents, attributes, and no hard links, which a copy does not tell.
    fn is_twin(&self, came: &Path, went: &Path) -> io::Result<bool> {
        if self
            .survey
            .strips
            .iter()
            .any(|it| it.path.starts_with(came))
        {
            return Ok(false);
        }
        let mut stack = vec![(came.to_owned(), went.to_owned())];
        while let Some((came, went)) = stack.pop() {
            let (upper, lower) = (self.upper.spot(&came)?, self.lower.spot(&went)?);
            let (above, below) = (stat(&upper)?, stat(&lower)?);
            let xattrs = xattr::read(&upper.dir, &upper.name)?;
            if above.kind() != below.kind() {
                return Ok(false);
            }
            if !above.is_dir() {
                let alone = above.nlink == 1 && below.nlink == 1;
                let compared = compare::files(side(&upper, &above), &xattrs, side(&lower, &below))?;
                if !alone || compared.kind.is_some() {
                    return Ok(false);
                }
                continue;
            }
            let hidden = overlay::visible(&xattr::read(&lower.dir, &lower.name)?);
            let names = self.upper.names(&came)?;
            if Attributes::of(&above, overlay::visible(&xattrs)) != Attributes::of(&below, hidden)
                || names != self.lower.names(&went)?
            {
                return Ok(false);
            }
            stack.extend(names.into_iter().map(|it| (came.join(&it), went.join(&it))));
        }
        Ok(true)
    }
}

/// What is looked up: type, size, time, name.
type Key = (u32, u64, Option<Time>, Option<OsString>);

fn stat(spot: &Spot) -> io::Result<Stat> {
    Stat::at(&spot.dir, &spot.name)
}

fn side<'a>(spot: &'a Spot, stat: &'a Stat) -> compare::Side<'a> {
    compare::Side {
        dir: &spot.dir,
        name: &spot.name,
        stat,
    }
}

/// Has the plan rename each twin instead of bringing the copy and keeping the original.
pub(crate) fn fold(plan: &mut Plan, twins: Vec<Twin>) {
    if twins.is_empty() {
        return;
    }
    let gone: BTreeSet<&Path> = twins.iter().map(|it| it.went.as_path()).collect();
    let copies: BTreeSet<&Path> = twins.iter().map(|it| it.came.as_path()).collect();
    let mut leaving = BTreeMap::new();
    plan.moves.retain(|change| match change {
        Move::Detach {
            path,
            leaving: file,
            ..
        } if gone.contains(path.as_path()) => {
            leaving.insert(path.clone(), *file);
            false
        }
        Move::Attach { path, .. } => !copies.contains(path.as_path()),
        Move::Exchange { .. }
        | Move::Detach { .. }
        | Move::Rename { .. }
        | Move::MakeDirectory { .. } => true,
    });
    plan.cleanings.retain(|cleaning| {
        let (Cleaning::Attributes { path, .. } | Cleaning::Shelve { path, .. }) = cleaning;
        !path.ancestors().any(|it| copies.contains(it))
    });
    // After what brings the directories that the new paths lie in.
    for Twin { went, came } in twins {
        if let Some(file) = leaving.remove(&went) {
            plan.moves.push(Move::Rename {
                from: went,
                to: came,
                file,
            });
        }
    }
}

/// Moves the copies of what was renamed to the trash, but for those whose rename was left alone: they may be the last
/// ones. One that stays behind costs only space.
pub(crate) fn drop_copies(layout: &Layout, set: &Path, (plan, left_alone): (&Plan, &[PathBuf])) {
    let renamed =
        |it: &Move| it.old_path().is_some() && !left_alone.iter().any(|path| path == it.path());
    if !plan.moves.iter().any(renamed) {
        return;
    }
    let (Ok(kept), Ok(trash)) = (Tree::open(set), Tree::open(&layout.trash())) else {
        return;
    };
    let stem = set.file_name().unwrap_or_default();
    for (number, change) in plan.moves.iter().enumerate().filter(|(_, it)| renamed(it)) {
        let path = Place::Upper.path(change.path());
        let mut name = stem.to_owned();
        name.push(format!("-copy-{number}"));
        let throw = || -> io::Result<()> {
            let (Some(from), to) = (spot(&kept, &path)?, trash.spot(Path::new(&name))?) else {
                return Ok(());
            };
            step()?;
            rename(&from, &to)
        };
        drop(throw());
    }
}
