//! The file that `--report` names.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
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
    /// What is no regular file, as a pipe, is opened once: its reader sees the end of it when it is closed.
    Opened(File),
    /// A regular file is opened again, because the command may replace it: in the directory of this real path,
    /// through no link.
    Within(PathBuf),
}

impl ReportFile {
    /// Makes sure, before anything runs, that the file can be written. Changes nothing.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let path = absolute(path)?;
        let place = probe(&path).map_err(|error| {
            Failure::of(Kind::Usage, &error)
                .while_doing(format!("cannot write the report to {}", path.display()))
                .hint("give --report a file in a directory that exists and is yours")
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
fn probe(path: &Path) -> io::Result<Place> {
    let (Some(parent), Some(_name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::IsADirectory.into());
    };
    match fs::metadata(path) {
        Ok(metadata) => {
            let file = File::options().write(true).open(path)?;
            // The system's own links lead to our standard streams, whatever these are.
            let is_stream = path.starts_with("/dev") || path.starts_with("/proc");
            if !metadata.is_file() || is_stream {
                return Ok(Place::Opened(file));
            }
            if fs::symlink_metadata(path)?.is_symlink() {
                // An earlier command may have put it there.
                let why = "it is a link; name the file that it leads to";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Nothing may be left of it if the operation is refused.
            drop(File::create_new(path)?);
            fs::remove_file(path)?;
        }
        Err(error) => return Err(error),
    }
    Ok(Place::Within(fs::canonicalize(parent)?))
}

/// Opens the file of `path` in the real `directory`, emptied, through no link and waiting for nobody.
fn reopen(directory: &Path, path: &Path) -> io::Result<File> {
    let name = path.file_name().unwrap_or_default();
    let directory = rustix::fs::openat2(
        CWD,
        directory,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    )?;
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(
        directory,
        name,
        create | careful,
        Mode::from_raw_mode(0o666),
    )?;
    Ok(File::from(file))
}
