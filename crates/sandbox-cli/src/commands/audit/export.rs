//! `sandbox audit export`: all records as lines of JSON; a file is there whole, or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags},
    io::Errno,
};
use sandbox_core::{ReadError, Record, hex};
use serde_json::json;

use crate::{
    exit_codes,
    failure::{Failure, Kind},
    settings::{Settings, place_of_new},
    ui::{self, Reader},
};

pub(crate) fn export(settings: &Settings, file: Option<&Path>) -> Result<u8, Failure> {
    let records = settings.open_to_read()?.all_records()?;
    let Some(path) = file.filter(|it| *it != Path::new("-")) else {
        for record in records {
            if ui::print(&exported(&record?))? == Reader::Gone {
                break;
            }
        }
        return Ok(exit_codes::DONE);
    };
    let real = place_of_new(&settings.home()?, path)?;
    let path = real.as_path();
    let failed = |error: io::Error| {
        Failure::of(Kind::Sandbox, &error)
            .while_doing(format!(
                "cannot write {}",
                ui::inline(&path.to_string_lossy())
            ))
            .hint("give a file that is not there yet")
    };
    if path.symlink_metadata().is_ok() {
        return Err(failed(Errno::EXIST.into()));
    }
    let draft = Draft::beside(path).map_err(failed)?;
    let count = write(&draft.file, records, failed)
        .and_then(|count| draft.publish(path).map(|()| count).map_err(failed));
    if count.is_err() {
        draft.drop_name();
    }
    settings.ui.note(&format!("sandbox: {} records", count?));
    Ok(exit_codes::DONE)
}

/// A file that has not its name yet: none at all, so that a kill leaves nothing of it, or, where the file system cannot
/// do that, one that nobody else uses.
struct Draft {
    file: File,
    name: Option<PathBuf>,
}

impl Draft {
    fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::open(parent.unwrap_or(Path::new(".")), flags, mode) {
            Ok(file) => {
                let file = File::from(file);
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
                return Ok(Self { file, name: None });
            }
            // The file system has no files without a name: open(2).
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut part = name.to_owned();
        part.push(format!(".part-{}", std::process::id()));
        let name = path.with_file_name(part);
        let mut options = File::options();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)?;
        Ok(Self {
            file,
            name: Some(name),
        })
    }

    /// Gives the file its name, unless there is one of that name.
    fn publish(&self, path: &Path) -> io::Result<()> {
        match &self.name {
            None => {
                let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
            }
            Some(name) => {
                rustix::fs::renameat_with(CWD, name, CWD, path, RenameFlags::NOREPLACE)?;
            }
        }
        let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn drop_name(&self) {
        if let Some(name) = &self.name {
            // The error says why; what is left of it is of no use.
            drop(fs::remove_file(name));
        }
    }
}

/// Writes all records to a file, and returns how many there are.
fn write(
    file: &File,
    records: impl Iterator<Item = Result<Record, ReadError>>,
    failed: impl Fn(io::Error) -> Failure + Copy,
) -> Result<u64, Failure> {
    let mut writer = BufWriter::new(file);
    let mut count = 0_u64;
    for record in records {
        writer
            .write_all(exported(&record?).as_bytes())
            .map_err(failed)?;
        count += 1;
    }
    writer.flush().map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(count)
}

fn exported(record: &Record) -> String {
    let document = json!({
        "sequence": record.sequence,
        "at": record.at,
        "kind": record.kind,
        "payload": record.payload,
        "hash": hex(&record.hash),
    });
    ui::inert_json(format!("{document}\n"))
}
