//! Where paths lead, with what was learned on the way kept: many of them lie in the same few directories.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// The real paths of what was asked for so far; good for the moment of one launch.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RealPaths {
    directories: BTreeMap<PathBuf, Option<PathBuf>>,
}

impl RealPaths {
    /// Returns where `path` leads, as `fs::canonicalize` does; `None` if that is not there or cannot be known.
    pub(crate) fn of(&mut self, path: &Path) -> Option<PathBuf> {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            return fs::canonicalize(path).ok();
        }
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Some(PathBuf::from("/"));
        };
        let real = self.of_directory(above)?.join(name);
        match fs::read_link(&real) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Some(real),
            Ok(_) => fs::canonicalize(real).ok(),
            Err(_) => None,
        }
    }

    fn of_directory(&mut self, path: &Path) -> Option<PathBuf> {
        if let Some(known) = self.directories.get(path) {
            return known.clone();
        }
        let real = self.of(path);
        self.directories.insert(path.to_owned(), real.clone());
        real
    }

    /// Returns `path` without links, as far as it is there: the rest keeps its names.
    pub(crate) fn as_far_as_there(&mut self, path: &Path) -> Option<PathBuf> {
        path.ancestors().find_map(|above| {
            let rest = path.strip_prefix(above).ok()?;
            let real = self.of(above)?;
            Some(real.components().chain(rest.components()).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_lead_where_the_kernel_leads_them() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/file"), "").unwrap();
        symlink("a", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let mut paths = RealPaths::default();
        for name in [
            "a/b",
            "a/file",
            "a/file/below",
            "link",
            "link/b",
            "link/none",
            "a/../a/./b",
            "dangling",
            "dangling/x",
            "loop/x",
            "none/none",
        ] {
            let path = at(name);
            assert_eq!(paths.of(&path), fs::canonicalize(&path).ok(), "{name}");
        }
        assert_eq!(paths.of(Path::new("/")), Some(PathBuf::from("/")));
        let real = fs::canonicalize(at("a")).unwrap();
        let found = paths.as_far_as_there(&at("link/none/none"));
        assert_eq!(found, Some(real.join("none/none")));
    }
}
