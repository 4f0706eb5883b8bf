//! Where paths lead, with what was learned on the way kept: many of them lie in the same few directories.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
};

use crate::looks::Looks;

/// The real paths of what was asked for so far; good for the moment of one launch.
#[derive(Debug, Default)]
pub(crate) struct RealPaths {
    pub(crate) looks: Looks,
    directories: BTreeMap<OsString, Option<PathBuf>>,
}

impl RealPaths {
    /// Looks at the host with `looks`.
    pub(crate) fn with(looks: Looks) -> Self {
        Self {
            looks,
            directories: BTreeMap::new(),
        }
    }

    /// Returns where `path` leads, as `fs::canonicalize` does; `None` if that is not there or cannot be known.
    pub(crate) fn of(&mut self, path: &Path) -> Option<PathBuf> {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            return self.looks.canonicalize(path).ok();
        }
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Some(PathBuf::from("/"));
        };
        let real = self.of_directory(above)?.join(name);
        match self.looks.read_link(&real) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Some(real),
            Ok(_) => self.looks.canonicalize(&real).ok(),
            Err(_) => None,
        }
    }

    fn of_directory(&mut self, path: &Path) -> Option<PathBuf> {
        if let Some(known) = self.directories.get(path.as_os_str()) {
            return known.clone();
        }
        let real = self.of(path);
        self.directories.insert(path.into(), real.clone());
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

/// Returns whether an absolute `path` leads out of one of the directories `changeable` by a link in it: whoever may
/// change these may have put it there, to be granted what it leads to. Real paths tell nothing of that any more.
pub fn is_led_astray(path: &Path, changeable: &[PathBuf]) -> bool {
    leads_astray(&Looks::default(), path, changeable)
}

/// The same, with what was looked at remembered.
pub(crate) fn leads_astray(looks: &Looks, path: &Path, changeable: &[PathBuf]) -> bool {
    let mut here = PathBuf::from("/");
    for part in path.components() {
        let name = match part {
            Component::ParentDir => {
                here.pop();
                continue;
            }
            Component::Normal(name) => name,
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        let at = here.join(name);
        let is_link = looks.lstat(&at).is_ok_and(|found| found.is_symlink());
        let Some(to) = is_link.then(|| looks.canonicalize(&at).ok()).flatten() else {
            here = at;
            continue;
        };
        let leaves = |tree: &PathBuf| here.starts_with(tree) && !to.starts_with(tree);
        if changeable.iter().any(leaves) {
            return true;
        }
        here = to;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_link_of_the_guests_leads_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let at = |name: &str| base.join(name);
        for name in ["tree/in", "other/deep"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for (name, to) in [
            ("tree/out", "../other"),
            ("tree/within", "in"),
            ("tree/again", "within"),
            ("link", "tree"),
            ("far", "tree/out"),
        ] {
            symlink(to, at(name)).unwrap();
        }
        let trees = [at("tree")];
        for astray in [
            "tree/out",
            "tree/out/deep",
            "link/out/deep",
            "tree/in/../out",
            "tree/again/../out",
        ] {
            assert!(is_led_astray(&at(astray), &trees), "{astray}");
        }
        for fine in [
            "tree/in",
            "tree/within",
            "tree/again",
            "tree/../other",
            "other/deep",
            "link/in",
            "none/x",
        ] {
            assert!(!is_led_astray(&at(fine), &trees), "{fine}");
        }
    }

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
