//! The file that `--report` names.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use sandbox_types::OperationReport;

use crate::{
    failure::{Failure, Kind},
    settings::absolute,
    ui,
};

/// A file that the report can be written to, as far as that can be known before.
pub(super) struct ReportFile {
    path: PathBuf,
    /// What is no regular file, as a pipe, is opened once: its reader sees the end of it when it is
    /// closed. A regular file is opened again, because the command may replace it.
    pipe: Option<File>,
}

impl ReportFile {
    /// Makes sure, before anything runs, that the file can be written. Changes nothing.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let path = absolute(path)?;
        let pipe = probe(&path).map_err(|error| {
            Failure::of(Kind::Usage, &error)
                .while_doing(format!("cannot write the report to {}", path.display()))
                .hint("give --report a file in a directory that exists and is yours")
        })?;
        Ok(Self { path, pipe })
    }

    pub(super) fn write(self, report: &OperationReport) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(report).map_err(|error| {
            Failure::of(Kind::Internal, &error).while_doing("cannot write the report as JSON")
        })?;
        let mut text = ui::inert_json(text);
        text.push('\n');
        let written = match self.pipe {
            Some(mut pipe) => pipe.write_all(text.as_bytes()),
            None => fs::write(&self.path, text),
        };
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

/// Opens `path` for writing; returns it if it is no regular file.
fn probe(path: &Path) -> io::Result<Option<File>> {
    match fs::metadata(path) {
        Ok(metadata) => {
            let file = File::options().write(true).open(path)?;
            Ok((!metadata.is_file()).then_some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Nothing may be left of it if the operation is refused.
            drop(File::create_new(path)?);
            fs::remove_file(path)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
