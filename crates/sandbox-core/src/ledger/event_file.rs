//! The file of events: one line of JSON for each, for log collectors.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::event::SandboxEvent;

/// A file that events are appended to. Opened by the first one.
#[derive(Debug)]
pub(super) struct EventFile {
    path: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    Open(File),
    /// Nothing is written any more: a gap would look like silence.
    Failed(String),
}

impl EventFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let state = State::Closed;
        Self { path, state }
    }

    /// Appends one line. What fails ends no operation: it is kept for [`Self::failure`].
    pub(super) fn write(&mut self, event: &SandboxEvent) {
        let written = match &mut self.state {
            State::Failed(_) => return,
            State::Open(file) => append(file, event).map(|()| None),
            State::Closed => open(&self.path).and_then(|mut file| {
                append(&mut file, event)?;
                Ok(Some(file))
            }),
        };
        match written {
            Ok(None) => {}
            Ok(Some(file)) => self.state = State::Open(file),
            Err(error) => {
                self.state = State::Failed(format!(
                    "cannot write events to {}: {error}",
                    self.path.display()
                ));
            }
        }
    }

    pub(super) fn failure(&self) -> Option<String> {
        match &self.state {
            State::Failed(reason) => Some(reason.clone()),
            State::Closed | State::Open(_) => None,
        }
    }
}

/// One write a line, so that lines of several processes do not mix.
fn append(file: &mut File, event: &SandboxEvent) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    file.write_all(&line)
}

fn open(path: &Path) -> io::Result<File> {
    // A FIFO without a reader must not make us wait, nor a link lead elsewhere.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = fs::OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    // A line that was cut off, by a full disk or a kill, must not take the next one with it.
    let mut last = [b'\n'];
    if let Some(before) = metadata.size().checked_sub(1) {
        file.read_exact_at(&mut last, before)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
}
