//! The plan on disk: written and synced before the first change, then given its committed name.
//!
//! ```text
//! {"version":1,"workspace":INO,"cleanings":C,"moves":M,"directories":D}
//! C lines of cleanings, M of moves, D of directories, one JSON document each
//! "<SHA-256 of all bytes above, hex>"
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::{
    file_error::{FileError, cannot},
    plan::Plan,
    step::{self, step},
};

/// The version of the form above.
const JOURNAL_VERSION: u32 = 1;

/// The largest journal that is read, in bytes.
const JOURNAL_BYTES_MAX: u64 = 2 << 30;

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    workspace: u64,
    cleanings: usize,
    moves: usize,
    directories: usize,
}

/// Writes `plan` to `directory/name`; when this returns, the plan is durable and will be done.
pub(crate) fn write(
    directory: &Path,
    name: &str,
    workspace: u64,
    plan: &Plan,
) -> Result<(), FileError> {
    let bytes = encode(workspace, plan).map_err(cannot("encode", directory.join(name)))?;
    let draft = directory.join(format!("{name}.new"));
    write_synced(&draft, &bytes).map_err(cannot("write", &draft))?;
    publish(directory, &draft, name).map_err(cannot("publish", &draft))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    step()?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    step()?;
    step::sync_data(&file)
}

fn publish(directory: &Path, draft: &Path, name: &str) -> io::Result<()> {
    step()?;
    fs::rename(draft, directory.join(name))?;
    step()?;
    step::sync_all(&File::open(directory)?)
}

fn encode(workspace: u64, plan: &Plan) -> io::Result<Vec<u8>> {
    let header = Header {
        version: JOURNAL_VERSION,
        workspace,
        cleanings: plan.cleanings.len(),
        moves: plan.moves.len(),
        directories: plan.directories.len(),
    };
    let mut bytes = Vec::new();
    line(&mut bytes, &header)?;
    for cleaning in &plan.cleanings {
        line(&mut bytes, cleaning)?;
    }
    for change in &plan.moves {
        line(&mut bytes, change)?;
    }
    for directory in &plan.directories {
        line(&mut bytes, directory)?;
    }
    let seal = seal(&bytes);
    line(&mut bytes, &seal)?;
    Ok(bytes)
}

fn line(bytes: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *bytes, value)?;
    bytes.push(b'\n');
    Ok(())
}

fn seal(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    crate::raw::hex(&digest)
}

/// Returns the plan in `directory/name` for the workspace with this inode, or `None` if there is no
/// such journal. A journal that is damaged or made for another workspace is an error.
pub(crate) fn read(
    directory: &Path,
    name: &str,
    workspace: u64,
) -> Result<Option<Plan>, FileError> {
    let path = directory.join(name);
    match load(&path, workspace) {
        Ok(plan) => Ok(Some(plan)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", &path)(error)),
    }
}

fn load(path: &Path, workspace: u64) -> io::Result<Plan> {
    if fs::metadata(path)?.len() > JOURNAL_BYTES_MAX {
        return Err(damaged("the journal is too large"));
    }
    let bytes = fs::read(path)?;
    let body_end = bytes
        .strip_suffix(b"\n")
        .and_then(|rest| rest.iter().rposition(|byte| *byte == b'\n'))
        .ok_or_else(|| damaged("the journal is cut off"))?
        + 1;
    let (body, last) = bytes.split_at(body_end);
    if serde_json::from_slice::<String>(last)? != seal(body) {
        return Err(damaged("the journal's checksum is wrong"));
    }
    let mut lines = body.split(|byte| *byte == b'\n');
    let header: Header = next(&mut lines)?;
    if header.version != JOURNAL_VERSION {
        return Err(damaged("the journal has an unknown version"));
    }
    if header.workspace != workspace {
        return Err(damaged("the journal belongs to another workspace"));
    }
    let mut plan = Plan::default();
    for _ in 0..header.cleanings {
        plan.cleanings.push(next(&mut lines)?);
    }
    for _ in 0..header.moves {
        plan.moves.push(next(&mut lines)?);
    }
    for _ in 0..header.directories {
        plan.directories.push(next(&mut lines)?);
    }
    Ok(plan)
}

fn next<T: DeserializeOwned>(mut lines: impl Iterator<Item = impl AsRef<[u8]>>) -> io::Result<T> {
    let line = lines
        .next()
        .ok_or_else(|| damaged("the journal lacks lines"))?;
    Ok(serde_json::from_slice(line.as_ref())?)
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
