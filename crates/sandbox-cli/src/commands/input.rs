//! Reads what the user names: files, or `-` for standard input.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::failure::{Failure, Kind};

/// The largest file that is read as a document, script or value.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a whole text. `-` is standard input.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read_bytes(path)?).map_err(|error| {
        Failure::of(Kind::Usage, &error)
            .while_doing(format!("cannot read {} as text", name(path)))
            .hint("write it in UTF-8")
    })
}

/// Reads everything as it is. `-` is standard input.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        Failure::of(Kind::Usage, &error)
            .while_doing(format!("cannot read {}", name(path)))
            .hint("check the path and the permissions")
    };
    let bytes = if is_stdin(path) {
        read_bounded(io::stdin().lock())
    } else {
        File::open(path).and_then(read_bounded)
    };
    let bytes = bytes.map_err(failed)?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Failure::new(
            Kind::Usage,
            format!("cannot read {}: it is too large", name(path)),
        )
        .hint("64 MiB is the most that is read"));
    }
    Ok(bytes)
}

/// Returns how errors call the file.
pub(crate) fn name(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
