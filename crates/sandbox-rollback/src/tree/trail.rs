//! A few of the directories on the way to the one that was opened last.
//!
//! A walk through a tree that is thousands of levels deep comes back up, and each level would be looked up from the
//! root again. So what is opened anew is opened half-way, half-way of the rest, and so on, and each of these
//! directories is kept: n levels down and up take n log n look-ups, with few descriptors.

use std::{
    cmp::Ordering,
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
    rc::Rc,
};

use super::{open_below, pieces};

/// The most directories that are kept. Many trees may be open at a time in one process.
const MARKS_MAX: usize = 16;

/// Whole blocks are compared much faster than single bytes.
const BLOCK_BYTES: usize = 256;

/// The directories that are kept.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// The path that was opened last.
    path: Vec<u8>,
    /// Directories on that path, each with the length of its own; shortest first.
    marks: Vec<(usize, Rc<OwnedFd>)>,
}

impl Trail {
    /// Returns the directory `path` below `root`.
    pub(super) fn follow(&mut self, root: &Rc<OwnedFd>, path: &[u8]) -> io::Result<Rc<OwnedFd>> {
        self.come_back(path);
        let (mut length, mut dir) = match self.marks.last() {
            Some((length, dir)) => (*length, Rc::clone(dir)),
            None => (0, Rc::clone(root)),
        };
        while length < path.len() {
            let slashes = path[length..].iter().take_while(|it| **it == b'/').count();
            // Below the root itself a slash is no separator.
            let start = if length == 0 { 0 } else { length + slashes };
            let end = start + first_half(&path[start..]);
            for piece in pieces(Path::new(OsStr::from_bytes(&path[start..end])))? {
                dir = Rc::new(open_below(&dir, &piece)?);
            }
            length = end;
            self.mark(length, &dir);
        }
        Ok(dir)
    }

    /// Forgets what does not lead to `path`.
    fn come_back(&mut self, path: &[u8]) {
        let shared = shared(&self.path, path);
        let leads =
            |length: usize| length <= shared && path.get(length).is_none_or(|byte| *byte == b'/');
        while self.marks.pop_if(|(length, _)| !leads(*length)).is_some() {}
        self.path.truncate(shared);
        self.path.extend_from_slice(&path[shared..]);
    }

    fn mark(&mut self, length: usize, dir: &Rc<OwnedFd>) {
        if self.marks.len() == MARKS_MAX {
            // Those near the end are opened anew soonest.
            let mut number = 0;
            self.marks.retain(|_| {
                number += 1;
                number % 2 == 0
            });
        }
        self.marks.push((length, Rc::clone(dir)));
    }
}

/// Compares two paths below a root as [`Path`] does, by their components, in the time that it takes to compare bytes:
/// paths may be thousands of names long.
pub(crate) fn compare_paths(one: &Path, other: &Path) -> Ordering {
    let [first, second] = [one, other].map(|path| path.as_os_str().as_bytes());
    if first.len() < BLOCK_BYTES || second.len() < BLOCK_BYTES {
        return one.cmp(other);
    }
    let shared = shared(first, second);
    // The end comes before a separator, and that before the rest of a longer name.
    let next = |path: &[u8]| match path.get(shared) {
        None => 0,
        Some(b'/') => 1,
        Some(byte) => 2 + u16::from(*byte),
    };
    next(first).cmp(&next(second))
}

/// Returns how many bytes the two begin with in common.
fn shared(one: &[u8], other: &[u8]) -> usize {
    let blocks = one
        .chunks_exact(BLOCK_BYTES)
        .zip(other.chunks_exact(BLOCK_BYTES));
    let same = blocks.take_while(|(one, other)| one == other).count() * BLOCK_BYTES;
    let rest = one[same..].iter().zip(&other[same..]);
    same + rest.take_while(|(one, other)| one == other).count()
}

/// Returns the length of the first half of the names in `path`, rounded up.
fn first_half(path: &[u8]) -> usize {
    let separators = || path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let half = (separators().count() + 1).div_ceil(2);
    separators().nth(half - 1).map_or(path.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_end_at_a_separator() {
        let halves = |path: &str| path[..first_half(path.as_bytes())].to_owned();
        assert_eq!(halves("a"), "a");
        assert_eq!(halves("a/b"), "a");
        assert_eq!(halves("a/b/c"), "a/b");
        assert_eq!(halves("aa/bb/cc/dd"), "aa/bb");
        let long = "x".repeat(1000);
        assert_eq!(shared(long.as_bytes(), format!("{long}y").as_bytes()), 1000);
        assert_eq!(shared(b"abc", b"abd"), 2);
    }

    #[test]
    fn long_paths_are_in_the_order_of_their_components() {
        let top = "directory/".repeat(40);
        let ends = [
            "a", "a/b", "a/b/c", "a.b", "a b", "a0", "b", "\u{1}", "a/\u{ff}",
        ];
        let mut paths: Vec<_> = ends.iter().map(|end| Path::new(&top).join(end)).collect();
        paths.extend([".", "a", "!", "directory"].map(Into::into));
        let mut sorted = paths.clone();
        paths.sort();
        sorted.sort_by(|one, other| compare_paths(one, other));
        assert_eq!(sorted, paths);
    }

    #[test]
    fn each_path_leads_to_its_own_directory() {
        use std::{fs, os::unix::fs::MetadataExt as _};
        let lab = tempfile::tempdir().unwrap();
        let root = lab.path();
        for path in ["a/b/c/d/e/f", "a/b/cc/d", "ab/b/c"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        let tree = super::super::Tree::open(root).unwrap();
        let paths = [
            "a/b/c/d/e/f",
            "a/b/c",
            "a/b/cc",
            "a/b/cc/d",
            "a/b",
            "ab/b",
            "ab/b/c",
            "a",
            "a/b/c/d/e",
        ];
        for path in paths.iter().chain(paths.iter().rev()) {
            let stat = crate::stat::Stat::of_fd(tree.directory(Path::new(path)).unwrap()).unwrap();
            let expected = fs::metadata(root.join(path)).unwrap().ino();
            assert_eq!(stat.ino, expected, "{path}");
        }
        assert!(tree.directory(Path::new("a/b/c/d/no/f")).is_err());
        assert!(
            tree.directory(Path::new("a/b/c/d/e/f")).is_ok(),
            "an error is not remembered"
        );
    }
}
