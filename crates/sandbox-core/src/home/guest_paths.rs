//! Which places on the way to a file commands may have made: those in the workspace of any sandbox.

use std::{
    cell::OnceCell,
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

use rustix::io::Errno;

use super::Home;
use crate::{
    host::Host,
    layout::Layout,
    registry::{self, SandboxRecord},
};

/// As many links as the kernel follows: `path_resolution(7)`.
const LINKS_MAX: usize = 40;

/// A path without symbolic links, and those that were on its way.
struct Walked {
    real: PathBuf,
    links: Vec<PathBuf>,
}

impl Home {
    /// Returns where `path` really lies; its last parts need not exist.
    ///
    /// # Errors
    ///
    /// Fails with [`io::ErrorKind::InvalidInput`] when a symbolic link on its way lies in the workspace of a
    /// sandbox, where a command may have put it to choose another file, and when the way cannot be walked.
    pub fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        let walked = walk(path)?;
        let guests = Guests::of(&self.layout);
        match walked.links.iter().find(|link| guests.may_write(link)) {
            None => Ok(walked.real),
            Some(link) => {
                let link = link.display();
                let why = format!(
                    "{link} is a symbolic link in a workspace, where commands can make them; name the file that it leads to"
                );
                Err(io::Error::new(io::ErrorKind::InvalidInput, why))
            }
        }
    }

    /// Returns which configuration files of the user and of the system do not count, because commands of any
    /// sandbox may have written them: they lie in a workspace, or are reached through a link in one.
    pub fn ignored_configuration(&self, record: Option<&SandboxRecord>) -> Vec<PathBuf> {
        // What a guest can write must not grant anything to anybody.
        let own = |file: &Path| {
            let real = fs::canonicalize(file).unwrap_or_else(|_missing| file.to_owned());
            record.is_some_and(|record| real.starts_with(&record.workspace))
        };
        let guests = Guests::of(&self.layout);
        [&self.host.system_config, &self.host.user_config]
            .into_iter()
            .filter(|file| file.exists() && (own(file) || guests.may_have_written(file)))
            .cloned()
            .collect()
    }
}

/// The commands of all sandboxes.
struct Guests<'a> {
    layout: &'a Layout,
    /// `None` where that cannot be known. All records are looked at: the index lacks a sandbox whose creation was
    /// killed.
    workspaces: OnceCell<Option<Vec<PathBuf>>>,
}

impl<'a> Guests<'a> {
    fn of(layout: &'a Layout) -> Self {
        Self {
            layout,
            workspaces: OnceCell::new(),
        }
    }

    /// Returns whether they may have put something at this real path. Where a record cannot be read, its guests may
    /// have been anywhere.
    fn may_write(&self, real: &Path) -> bool {
        let workspaces = self.workspaces.get_or_init(|| {
            let all = registry::claims(self.layout).ok()?;
            Some(all.into_iter().map(|claims| claims.workspace).collect())
        });
        let Some(workspaces) = workspaces else {
            return true;
        };
        workspaces.iter().any(|it| real.starts_with(it))
    }

    /// Returns whether they may have written `file`, or a link on its way.
    fn may_have_written(&self, file: &Path) -> bool {
        match walk(file) {
            Ok(walked) => {
                self.may_write(&walked.real) || walked.links.iter().any(|it| self.may_write(it))
            }
            Err(_) => true,
        }
    }
}

/// Returns all places that decide on the configuration of sandboxes: its files and their directories, where they
/// really lie, and the links that lead there. Not what `workspace` lies in.
pub(crate) fn places_of_configuration(host: &Host, workspace: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for file in [&host.system_config, &host.user_config] {
        let directory = file.parent().filter(|it| it.ends_with("sandbox"));
        for path in directory.into_iter().chain([file.as_path()]) {
            if let Ok(walked) = walk(path) {
                places.extend(walked.links);
                places.push(walked.real);
            }
        }
    }
    places.retain(|place| !workspace.starts_with(place));
    places
}

/// Returns where the user's configuration really lies, its directory and its file. Not what `workspace` lies in.
///
/// # Errors
///
/// Fails when the way there cannot be walked.
pub(crate) fn user_configuration(host: &Host, workspace: &Path) -> io::Result<Vec<PathBuf>> {
    let file = host.user_config.as_path();
    let ways = file.parent().into_iter().chain([file]);
    let mut places = ways
        .map(|path| Ok(walk(path)?.real))
        .collect::<io::Result<Vec<_>>>()?;
    places.retain(|place| !workspace.starts_with(place));
    Ok(places)
}

/// Returns the links on the way to the directory of the user's configuration: whoever can replace one of them chooses
/// another directory.
///
/// # Errors
///
/// Fails when the way there cannot be walked.
pub(crate) fn links_to_user_configuration(host: &Host) -> io::Result<Vec<PathBuf>> {
    let directory = host.user_config.parent();
    directory.map_or_else(|| Ok(Vec::new()), |directory| Ok(walk(directory)?.links))
}

/// Follows an absolute path name by name, as the kernel does.
fn walk(path: &Path) -> io::Result<Walked> {
    let mut walked = Walked {
        real: PathBuf::from("/"),
        links: Vec::new(),
    };
    let mut left = names(path);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            walked.real.pop();
            continue;
        }
        let next = walked.real.join(name);
        match fs::read_link(&next) {
            Ok(target) => {
                walked.links.push(next);
                if walked.links.len() > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                if target.is_absolute() {
                    walked.real = PathBuf::from("/");
                }
                let mut first = names(&target);
                first.append(&mut left);
                left = first;
            }
            // No link, or nothing at all.
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::INVAL | Errno::NOENT | Errno::NOTDIR)
                ) =>
            {
                walked.real = next;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(walked)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::walk;

    #[test]
    fn a_path_is_walked_as_the_kernel_does() {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("a/b", root.join("near")).unwrap();
        symlink(root.join("near"), root.join("far")).unwrap();
        symlink("round", root.join("round")).unwrap();
        for path in ["a/b/..", "near/..", "far/../b", "a/./b"] {
            let path = root.join(path);
            let walked = walk(&path).unwrap();
            assert_eq!(walked.real, fs::canonicalize(&path).unwrap(), "{path:?}");
        }
        let walked = walk(&root.join("far/new/file")).unwrap();
        assert_eq!(walked.real, root.join("a/b/new/file"));
        assert_eq!(walked.links, [root.join("far"), root.join("near")]);
        assert!(walk(&root.join("round")).is_err());
        assert_eq!(walk(Path::new("/..")).unwrap().real, Path::new("/"));
    }
}
