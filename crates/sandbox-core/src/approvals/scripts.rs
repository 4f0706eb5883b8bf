//! The scripts that an operation runs by name, and that commands could change: an approval is for what they hold when
//! it is asked for.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2},
    io::Errno,
};
use sandbox_safety::script_uses_of;
use sandbox_types::Operation;

use super::binding::hexadecimal;
use crate::{plain_file, sandbox::Sandbox};

/// A larger one is not read.
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// As many links as the kernel follows: `path_resolution(7)`.
const LINKS_MAX: usize = 40;
/// What stands for a script that is not there.
const NOTHING: &str = "nothing";
/// The names that the kernel has for the directory that a process stands in.
const OWN_DIRECTORY: [&str; 2] = ["/proc/self/cwd", "/proc/thread-self/cwd"];

/// What is known of the scripts of one operation.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// What stands for the content of each, by the path that the command gives it.
    pub(super) held: BTreeMap<String, String>,
    /// Why an approval cannot hold all of them.
    pub(super) open: Option<&'static str>,
}

/// What a path leads to.
enum Found {
    /// Something that stands for it: no command can change the one without the other.
    Held(String),
    /// Nothing, where a command could put something.
    Nothing,
    /// What no command can change: no part of the workspace or of a grant.
    Elsewhere,
    /// It cannot be said before a run.
    Unknown,
}

/// Returns what the scripts hold that the operation names and that commands could change: in the workspace, and in what
/// is granted for writing. What a command finds by itself, a library or a configuration, is not among them: it is left
/// to the confinement.
pub(super) fn named_by(operation: &Operation, sandbox: &Sandbox) -> Scripts {
    let uses = script_uses_of(operation);
    let mut scripts = Scripts::default();
    if uses.is_empty() {
        return scripts;
    }
    let workspace = sandbox.workspace();
    let granted = sandbox.config.isolation.write.iter();
    let granted = granted.chain(&operation.write);
    let granted = granted.filter_map(|path| fs::canonicalize(path).ok());
    let places = Places {
        changeable: granted.chain([workspace.to_owned()]).collect(),
        start: operation.cwd.as_ref().map_or_else(
            || workspace.to_owned(),
            |directory| workspace.join(directory),
        ),
    };
    for one in uses {
        let mut is_there = false;
        let mut is_known = one.is_known;
        for path in one.paths {
            match places.find(&path) {
                Found::Held(content) => {
                    is_there = true;
                    scripts.held.insert(path, content);
                }
                Found::Nothing => {
                    scripts.held.insert(path, NOTHING.to_owned());
                }
                Found::Elsewhere => is_there = true,
                Found::Unknown => is_known = false,
            }
        }
        if !is_known {
            scripts.open = Some("the command does not say which script it runs");
        } else if one.is_needed && !is_there {
            scripts.open = Some("a script that the command names is not there");
        }
    }
    scripts
}

/// Where commands could have put something, and where this one starts.
struct Places {
    changeable: Vec<PathBuf>,
    start: PathBuf,
}

impl Places {
    fn is_changeable(&self, path: &Path) -> bool {
        self.changeable.iter().any(|it| path.starts_with(it))
    }

    /// Follows a path as the kernel would for the command, without opening anything on the way. A link out of what
    /// commands can change stands for itself: whoever made it does not choose what is read for it.
    fn find(&self, path: &str) -> Found {
        let mut here = PathBuf::from("/");
        let mut left = names(&self.start.join(path));
        let mut links = 0;
        // Whether a link on the way may be changed: then it is no matter of ours where it leads.
        let mut is_chosen = false;
        let elsewhere = |is_chosen| {
            if is_chosen {
                Found::Unknown
            } else {
                Found::Elsewhere
            }
        };
        while let Some(name) = left.pop_front() {
            if name == OsStr::new("..") {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            if here == Path::new("/proc") && (name == "self" || name == "thread-self") {
                // Ours would be another than the command's.
                match left.pop_front() {
                    Some(own) if own == "cwd" => prepend(&mut left, &self.start),
                    Some(own) if own == "root" => {}
                    Some(_) | None => return Found::Unknown,
                }
                here = PathBuf::from("/");
                continue;
            }
            let target = match fs::read_link(&next) {
                Ok(target) => target,
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::INVAL) => {
                        here = next;
                        continue;
                    }
                    Some(Errno::NOENT | Errno::NOTDIR) if self.is_changeable(&here) => {
                        return Found::Nothing;
                    }
                    Some(Errno::NOENT | Errno::NOTDIR) => return elsewhere(is_chosen),
                    _ => return Found::Unknown,
                },
            };
            links += 1;
            if next.starts_with("/proc") || next.starts_with("/dev") || links > LINKS_MAX {
                return Found::Unknown;
            }
            let leads_to = here.join(&target);
            let is_changeable = self.is_changeable(&here);
            is_chosen |= is_changeable;
            prepend(&mut left, &target);
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            if is_changeable && !self.stays(&leads_to) {
                return Found::Held(format!("link to {}", target.display()));
            }
        }
        if here.starts_with("/proc") || here.starts_with("/dev") {
            Found::Unknown
        } else if self.is_changeable(&here) {
            content_of(&here)
        } else {
            elsewhere(is_chosen)
        }
    }

    /// Returns whether a path stays in what commands can change, as far as its names say.
    fn stays(&self, path: &Path) -> bool {
        let mut plain = PathBuf::from("/");
        for part in path.components() {
            match part {
                Component::ParentDir => drop(plain.pop()),
                Component::Normal(name) => plain.push(name),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        let own = OWN_DIRECTORY.iter().any(|it| plain.starts_with(it));
        own || self.is_changeable(&plain)
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn prepend(left: &mut VecDeque<OsString>, path: &Path) {
    let mut first = names(path);
    first.append(left);
    *left = first;
}

/// Returns what stands for the content of a script at a real path: what is too large to be read is known by its inode
/// and the kernel's time of its last change, which no command can set.
fn content_of(real: &Path) -> Found {
    if let Ok(bytes) = plain_file::read(real, READ_BYTES_MAX) {
        return Found::Held(hexadecimal(&bytes));
    }
    match status(real) {
        Ok(it) if FileType::from_raw_mode(it.st_mode).is_file() => Found::Held(format!(
            "{} bytes of inode {}, changed at {}.{:09}",
            it.st_size, it.st_ino, it.st_ctime, it.st_ctime_nsec
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        // A directory, a device, a pipe: it is no script, and is not opened.
        Ok(_) | Err(_) => Found::Unknown,
    }
}

fn status(real: &Path) -> io::Result<rustix::fs::Stat> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat2(CWD, real, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    Ok(fstat(file)?)
}
