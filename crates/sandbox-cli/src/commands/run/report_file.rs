//! The file that `--report` names.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use sandbox_core::Home;
use sandbox_types::OperationReport;

use crate::{
    failure::{Failure, Kind},
    settings::absolute,
    ui,
};

/// A file that the report can be written to, as far as that can be known before.
pub(super) struct ReportFile {
    path: PathBuf,
    place: Place,
}

/// Where the report goes. The command may change everything in its workspace meanwhile: that must not choose another
/// file of the user's.
enum Place {
    /// One of our own streams is opened once: its reader sees the end of it when it is closed.
    Opened(File),
    /// A regular file is opened again, because the command may replace it: in the directory of this real path,
    /// through no link.
    Within(PathBuf),
}

impl ReportFile {
    /// Makes sure, before anything runs, that the file can be written. Changes nothing.
    pub(super) fn open(home: &Home, path: &Path) -> Result<Self, Failure> {
        let path = absolute(path)?;
        let place = probe(home, &path).map_err(|error| {
            Failure::of(Kind::Usage, &error)
                .while_doing(format!("cannot write the report to {}", path.display()))
                .hint("give --report a file in a directory that exists and is yours, or /dev/stdout, /dev/fd/N")
        })?;
        Ok(Self { path, place })
    }

    pub(super) fn write(self, report: &OperationReport) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(report).map_err(|error| {
            Failure::of(Kind::Internal, &error).while_doing("cannot write the report as JSON")
        })?;
        let mut text = ui::inert_json(text);
        text.push('\n');
        let file = match self.place {
            Place::Opened(file) => Ok(file),
            Place::Within(directory) => reopen(&directory, &self.path),
        };
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| {
            Failure::of(Kind::Sandbox, &error)
                .while_doing(format!(
                    "cannot write the report to {}",
                    self.path.display()
                ))
                .hint(format!("`sandbox show {}` prints it", report.id()))
        })
    }
}

/// Opens `path` for writing, and says where the report goes.
fn probe(home: &Home, path: &Path) -> io::Result<Place> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::IsADirectory.into());
    };
    if is_stream(path) {
        return File::options().write(true).open(path).map(Place::Opened);
    }
    // Earlier commands may have left links, devices and pipes in their workspaces.
    let directory = home.real_path(parent)?;
    match fs::symlink_metadata(directory.join(name)) {
        Ok(metadata) if metadata.is_symlink() => {
            Err(invalid("it is a link; name the file that it leads to"))
        }
        Ok(metadata) if !metadata.is_file() => Err(invalid("it is not a regular file")),
        Ok(_) => open_within(&directory, name, OFlags::WRONLY).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Nothing may be left of it if the operation is refused.
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            drop(open_within(&directory, name, create)?);
            fs::remove_file(directory.join(name))
        }
        Err(error) => Err(error),
    }?;
    Ok(Place::Within(directory))
}

/// Whether `path` names a stream that the caller has, or a device of the system: `/dev/stdout`, `/dev/fd/3`. Whatever
/// leads through another part of `/proc` leads to where a command may have put something.
fn is_stream(path: &Path) -> bool {
    let parts: Vec<&OsStr> = path.components().map(Component::as_os_str).collect();
    let Ok(parts) = parts
        .iter()
        .map(|it| it.to_str().ok_or(()))
        .collect::<Result<Vec<_>, ()>>()
    else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let is_process = |text: &str| ["self", "thread-self"].contains(&text) || is_number(text);
    match parts.as_slice() {
        ["/", "dev", name] => *name != "..",
        ["/", "dev", "fd" | "pts", number] => is_number(number),
        ["/", "proc", process, "fd", number] => is_process(process) && is_number(number),
        ["/", "proc", process, "task", thread, "fd", number] => {
            is_process(process) && is_number(thread) && is_number(number)
        }
        _ => false,
    }
}

/// Opens the file of `path` in the real `directory`, emptied, through no link and waiting for nobody.
fn reopen(directory: &Path, path: &Path) -> io::Result<File> {
    let name = path.file_name().unwrap_or_default();
    let file = open_within(directory, name, OFlags::WRONLY | OFlags::CREATE)?;
    file.set_len(0)?;
    Ok(file)
}

/// Opens the regular file `name` in the real `directory`, through no link and waiting for nobody.
fn open_within(directory: &Path, name: &OsStr, flags: OFlags) -> io::Result<File> {
    let directory = rustix::fs::openat2(
        CWD,
        directory,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    )?;
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let file = File::from(rustix::fs::openat(directory, name, flags | careful, mode)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(invalid("it is not a regular file"))
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_stream;

    #[test]
    fn only_what_no_command_can_make_is_a_stream() {
        for path in [
            "/dev/stdout",
            "/dev/fd/63",
            "/dev/pts/0",
            "/dev/full",
            "/proc/self/fd/1",
            "/proc/thread-self/fd/2",
            "/proc/123/fd/4",
            "/proc/self/task/123/fd/4",
        ] {
            assert!(is_stream(Path::new(path)), "{path}");
        }
        for path in [
            "/dev/shm/w/r.json",
            "/dev/../w/r.json",
            "/proc/self/cwd/r.json",
            "/proc/self/cwd/fd/r.json",
            "/proc/self/cwd/fd/1",
            "/proc/self/root/w/fd/1",
            "/proc/self/fd/../cwd/fd/1",
            "/proc/self/fd/r.json",
            "/dev/fd/3/1",
            "/dev/fd/../r.json",
            "/dev/..",
            "/proc/self/root/w/fd/../r.json",
            "/w/fd/1",
        ] {
            assert!(!is_stream(Path::new(path)), "{path}");
        }
    }
}
