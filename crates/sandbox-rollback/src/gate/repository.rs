//! What a change brings: by its name, by what the file says, and by the repository that it is in. Git takes any
//! directory for a repository that has the usual marks, and runs what its configuration and its hooks say for who only
//! stands in it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, ChangeKind};

use super::{
    git_config::{self, Doubts, Entry},
    protected::{self, GIT_CONFIG, GIT_ELSEWHERE, GIT_HOOK},
    view::{Content, View},
};
use crate::{
    file_error::{FileError, cannot},
    survey::Survey,
    transaction::Transaction,
};

/// The most bytes of a git configuration that are read.
const GIT_CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The most bytes of a file that only names a directory.
const POINTER_BYTES_MAX: u64 = 1 << 14;

/// The most names that lead from the workspace's repository to other files of it.
const LEADS_MAX: usize = 10_000;

/// What git reads as the configuration of a repository.
const CONFIGS: [&str; 2] = ["config", "config.worktree"];

type Class = Option<&'static str>;

/// Looks at one change after the other.
pub(super) struct Look<'a> {
    view: View,
    survey: &'a Survey,
    /// Files and directories of the workspace that the workspace's own repository leads to, and what they are.
    led: BTreeMap<PathBuf, &'static str>,
}

impl<'a> Look<'a> {
    pub(super) fn at(transaction: &Transaction, survey: &'a Survey) -> Result<Self, FileError> {
        let view = View::of(transaction)?;
        let mut look = Self {
            view,
            survey,
            led: BTreeMap::new(),
        };
        look.led_by_links()?;
        look.led_by_config()?;
        Ok(look)
    }

    /// Returns what kind of protected file a change brings, if any. An error is about this path alone.
    pub(super) fn class(&self, change: &Change, is_link: bool) -> Result<Class, FileError> {
        if change.kind == ChangeKind::Deleted {
            return Ok(None);
        }
        let path = change.path.as_path();
        let class = if is_link {
            protected::class_of_link(path)
        } else {
            protected::class(path)
        };
        let class = match class {
            None => None,
            // A sample has no hook's name.
            Some(GIT_HOOK) if is_in_hooks(path) && is_sample(path) => return Ok(None),
            Some(class) if is_link => Some(class),
            // What a directory holds is looked at by itself.
            Some(_) if self.is_directory(path)? => None,
            Some(GIT_CONFIG) => self.runs_programs(path)?.then_some(GIT_CONFIG),
            Some(GIT_ELSEWHERE) => (!self.stays(path)?).then_some(GIT_ELSEWHERE),
            other => other,
        };
        if class.is_some() {
            return Ok(class);
        }
        match path.ancestors().find_map(|it| self.led.get(it)) {
            Some(class) if is_link || !self.is_directory(path)? => Ok(Some(class)),
            _ => self.of_repository(path, is_link),
        }
    }

    /// Returns what a change does to the repository that it is in, if that is no `.git`: those are looked at by name.
    fn of_repository(&self, path: &Path, is_link: bool) -> Result<Class, FileError> {
        let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
            return Ok(None);
        };
        if directory.file_name().is_some_and(|it| it == "hooks") {
            let repository = directory.parent().unwrap_or(directory);
            let is_hook = !is_sample(path)
                && (is_link || !self.is_directory(path)?)
                && self.is_repository(repository)?;
            return Ok(is_hook.then_some(GIT_HOOK));
        }
        let completes = name == "HEAD" || name == "objects" || name == "refs";
        if completes && !self.survey.touched.contains(path) {
            return if self.is_repository(directory)? {
                self.of_whole(directory)
            } else {
                Ok(None)
            };
        }
        if CONFIGS.iter().any(|it| name == *it) && self.is_repository(directory)? {
            return Ok(self.runs_programs(path)?.then_some(GIT_CONFIG));
        }
        if name == "hooks" && is_link && self.is_repository(directory)? {
            return Ok(Some(GIT_HOOK));
        }
        Ok(None)
    }

    /// Returns the worst that a repository holds. The last of its marks completes it: what came before counts now.
    fn of_whole(&self, repository: &Path) -> Result<Class, FileError> {
        for config in CONFIGS {
            if self.runs_programs(&repository.join(config))? {
                return Ok(Some(GIT_CONFIG));
            }
        }
        let hooks = repository.join("hooks");
        match self.view.find(&hooks)? {
            Some(stat) if stat.is_dir() => {
                let names = self.view.names(&hooks)?;
                if names.iter().any(|it| !is_sample(Path::new(it))) {
                    return Ok(Some(GIT_HOOK));
                }
            }
            Some(stat) if stat.is_symlink() => return Ok(Some(GIT_HOOK)),
            _ => {}
        }
        let common = repository.join("commondir");
        let leads = self.view.exists(&common)? && !self.stays(&common)?;
        Ok(leads.then_some(GIT_ELSEWHERE))
    }

    /// Returns whether git takes a directory for a repository, or another one may name it as the place of all but its
    /// `HEAD`: gitrepository-layout(5).
    fn is_repository(&self, directory: &Path) -> Result<bool, FileError> {
        if directory.file_name().is_some_and(|it| it == ".git") {
            return Ok(false);
        }
        let has = |name: &str| self.view.exists(&directory.join(name));
        Ok(has("objects")? && has("refs")? || has("HEAD")? && has("commondir")?)
    }

    /// Returns whether a git configuration makes git run something. What git may read and we cannot counts: a link, a
    /// pipe, one too long.
    fn runs_programs(&self, path: &Path) -> Result<bool, FileError> {
        Ok(match self.view.read(path, GIT_CONFIG_BYTES_MAX)? {
            Content::Nothing | Content::Directory => false,
            Content::Odd => true,
            Content::File(text) => match git_config::doubts(&text) {
                Doubts::All => true,
                Doubts::Of(entries) => {
                    let mut runs = false;
                    for entry in &entries {
                        runs |= !self.is_submodule_tree(path, entry)?;
                    }
                    runs
                }
            },
        })
    }

    /// Returns whether a setting says, in the repository of a submodule, where in the workspace the submodule is.
    fn is_submodule_tree(&self, config: &Path, entry: &Entry) -> Result<bool, FileError> {
        let (Some(directory), Some(value)) = (config.parent(), &entry.value) else {
            return Ok(false);
        };
        if !entry.is("core", "worktree") || !is_of_submodule(directory) {
            return Ok(false);
        }
        let target = self.view.target(directory, as_path(value))?;
        Ok(target.is_some_and(|it| !it.components().any(|part| part.as_os_str() == ".git")))
    }

    /// Returns whether a file that names a directory of git's names one in the workspace where everything is looked at
    /// by its name, as `git worktree` and `git submodule` write it.
    fn stays(&self, path: &Path) -> Result<bool, FileError> {
        let Content::File(text) = self.view.read(path, POINTER_BYTES_MAX)? else {
            return Ok(false);
        };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(false);
        };
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        if text.iter().any(u8::is_ascii_control) {
            return Ok(false);
        }
        let target = |text: &[u8]| self.view.target(directory, as_path(text));
        Ok(match name.to_str() {
            Some(".git") => match text.strip_prefix(b"gitdir: ") {
                Some(text) => {
                    target(text)?.is_some_and(|it| is_of_submodule(&it) || is_of_worktree(&it))
                }
                None => false,
            },
            Some("commondir") => is_of_worktree(directory) && text == b"../..",
            Some("gitdir") => {
                is_of_worktree(directory)
                    && target(text)?.is_some_and(|it| it.file_name().is_some_and(|it| it == ".git"))
            }
            _ => false,
        })
    }

    fn is_directory(&self, path: &Path) -> Result<bool, FileError> {
        Ok(self.view.find(path)?.is_some_and(|stat| stat.is_dir()))
    }

    /// Hooks that are links, or in a directory that is one, as teams keep theirs with the sources.
    fn led_by_links(&mut self) -> Result<(), FileError> {
        let hooks = Path::new(".git/hooks");
        let mut links = vec![hooks.to_owned()];
        links.extend(self.view.names(hooks)?.iter().map(|it| hooks.join(it)));
        for link in links {
            if let (Some(text), Some(from)) = (self.view.link(&link)?, link.parent()) {
                self.lead((from, &text), GIT_HOOK)?;
            }
        }
        Ok(())
    }

    /// What the configuration of the workspace's own repository names.
    fn led_by_config(&mut self) -> Result<(), FileError> {
        for config in CONFIGS {
            let file = Path::new(".git").join(config);
            let Content::File(text) = self.view.read(&file, GIT_CONFIG_BYTES_MAX)? else {
                continue;
            };
            for entry in git_config::entries(&text).unwrap_or_default() {
                let Some(value) = &entry.value else {
                    continue;
                };
                let (from, class) = match entry.parts() {
                    (b"core", _, b"hookspath") => ("", GIT_HOOK),
                    (b"include" | b"includeif", _, b"path") => (".git", GIT_CONFIG),
                    _ => continue,
                };
                self.lead((Path::new(from), as_path(value)), class)?;
            }
        }
        Ok(())
    }

    /// Notes where a name leads to, if that is in the workspace. A name that no file can have leads nowhere; another
    /// one that cannot be looked at could lead anywhere.
    fn lead(&mut self, (from, text): (&Path, &Path), class: &'static str) -> Result<(), FileError> {
        let target = match self.view.target(from, text) {
            Err(error) if error.source.kind() == io::ErrorKind::InvalidFilename => return Ok(()),
            target => target?,
        };
        // The workspace as a whole is not a hook.
        if let Some(target) = target.filter(|it| !it.as_os_str().is_empty()) {
            self.led.insert(target, class);
        }
        if self.led.len() > LEADS_MAX {
            let why =
                io::Error::other("the repository names too many files as hooks or configuration");
            return Err(cannot("examine", ".git")(why));
        }
        Ok(())
    }
}

fn as_path(text: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(text))
}

fn is_sample(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "sample")
}

fn is_in_hooks(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::file_name);
    parent.is_some_and(|it| it == "hooks")
}

/// Returns whether a directory is `.git/modules/…`, with no other `.git` behind that one.
fn is_of_submodule(directory: &Path) -> bool {
    let names: Vec<_> = directory.iter().collect();
    let git = names.iter().rposition(|it| *it == ".git");
    git.is_some_and(|at| {
        names[at + 1..].first().is_some_and(|it| *it == "modules") && names.len() > at + 2
    })
}

/// Returns whether a directory is `worktrees/NAME` in a `.git` or in the repository of a submodule.
fn is_of_worktree(directory: &Path) -> bool {
    let mut above = directory.ancestors().skip(1);
    let (Some(worktrees), Some(repository)) = (above.next(), above.next()) else {
        return false;
    };
    worktrees.file_name().is_some_and(|it| it == "worktrees")
        && (repository.file_name().is_some_and(|it| it == ".git") || is_of_submodule(repository))
}
