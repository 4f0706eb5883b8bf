//! The index as a file: blocks one behind the other, so that what is new is appended and the rest is not written again.
//!
//! A block is a line `OFFSET WHAT OPERATION` for each place, and a line of JSON that says which records these are of
//! and has their digest. What is not a whole chain of blocks is no index.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    str,
};

use rustix::fs::OFlags;
use sandbox_state::{Checkpoint, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::private;

/// The version of the file.
const FORMAT: u32 = 2;
/// More bytes than the last line of a block has.
const SEAL_BYTES_MAX: u64 = 1024;

/// The last line of a block.
#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    format: u32,
    /// How many records are before those of the block.
    after: u64,
    /// Up to where the journal was read.
    journal: Checkpoint,
    /// Of the lines of the block, in hexadecimal.
    sha256: String,
}

impl Seal {
    fn of(text: &str) -> Option<Self> {
        let seal: Self = serde_json::from_str(text).ok()?;
        (seal.format == FORMAT).then_some(seal)
    }
}

/// Returns up to where the journal was read, if `text` is a whole index.
pub(super) fn check(text: &str) -> Option<Checkpoint> {
    let mut rest = text;
    let mut known: Option<Checkpoint> = None;
    while !rest.is_empty() {
        let lines = match rest.strip_prefix('{') {
            Some(_) => 0,
            None => rest.find("\n{")? + 1,
        };
        let (lines, sealed) = rest.split_at(lines);
        let (seal, behind) = sealed.split_once('\n')?;
        let seal = Seal::of(seal)?;
        let follows = seal.after == known.map_or(0, |it| it.records);
        if !follows || seal.sha256 != digest(lines) {
            return None;
        }
        known = Some(seal.journal);
        rest = behind;
    }
    known
}

/// Returns the lines of places as a block.
pub(super) fn block(lines: &str, after: u64, journal: Checkpoint) -> io::Result<String> {
    let seal = Seal {
        format: FORMAT,
        after,
        journal,
        sha256: digest(lines),
    };
    Ok(format!("{lines}{}\n", serde_json::to_string(&seal)?))
}

/// The file, held by one process, to append to.
pub(super) struct Appending {
    file: File,
    /// Up to where the journal was read; the blocks before the last one are not looked at.
    pub(super) known: Checkpoint,
}

impl Appending {
    /// Opens the file; `None` if it does not end with a block, or another process has it.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let mut options = File::options();
        let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = options
            .read(true)
            .append(true)
            .custom_flags(nofollow)
            .open(path)
            .ok()?;
        file.try_lock().ok()?;
        let bytes = file.metadata().ok()?.len();
        let start = bytes.saturating_sub(SEAL_BYTES_MAX);
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut end = Vec::new();
        file.read_to_end(&mut end).ok()?;
        let end = end.strip_suffix(b"\n")?;
        let line = end.rsplit(|byte| *byte == b'\n').next()?;
        let known = Seal::of(str::from_utf8(line).ok()?)?.journal;
        Some(Self { file, known })
    }

    /// Appends what came after. One that is cut short is found, and the file is made anew.
    pub(super) fn append(mut self, lines: &str, journal: Checkpoint) -> io::Result<()> {
        let block = block(lines, self.known.records, journal)?;
        self.file.write_all(block.as_bytes())
    }
}

/// Writes the whole file anew.
pub(super) fn replace(path: &Path, lines: &str, journal: Checkpoint) -> io::Result<()> {
    private::replace_soon(path, &block(lines, 0, journal)?)
}

fn digest(lines: &str) -> String {
    hex(&Sha256::digest(lines))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_to(records: u64) -> Checkpoint {
        Checkpoint {
            records,
            bytes: 100 * records,
            head: "ab".repeat(32),
        }
    }

    fn whole() -> String {
        let first = block("0 itself one\n250 later two\n", 0, read_to(3)).unwrap();
        // Nothing in it.
        let second = block("", 3, read_to(5)).unwrap();
        let third = block("700 itself three\n", 5, read_to(9)).unwrap();
        [first, second, third].concat()
    }

    #[test]
    fn a_whole_chain_of_blocks_is_an_index_and_nothing_else_is() {
        let text = whole();
        assert_eq!(check(&text), Some(read_to(9)));
        assert_eq!(check(""), None);
        for at in 0..text.len() {
            let cut = check(&text[..at]);
            assert!(cut.is_none_or(|it| it != read_to(9)), "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            // A digest does not cover the line that it is in: the journal refuses a place that is not in it.
            let is_of_seal = text[..at].rfind('\n').map_or(0, |it| it + 1);
            if !text[is_of_seal..].starts_with('{') {
                assert_eq!(check(&String::from_utf8(bytes).unwrap()), None, "{at}");
            }
        }
        let blocks: Vec<&str> = text.split_inclusive("}\n").collect();
        assert_eq!(blocks.len(), 3);
        for without in 0..2 {
            let mut rest = blocks.clone();
            rest.remove(without);
            assert_eq!(check(&rest.concat()), None, "a block is missing");
        }
    }

    #[test]
    fn what_is_new_is_appended_by_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        assert!(Appending::open(&path).is_none());
        replace(&path, "0 itself one\n", read_to(3)).unwrap();
        let appending = Appending::open(&path).unwrap();
        assert!(Appending::open(&path).is_none(), "it is held");
        assert_eq!(appending.known, read_to(3));
        appending.append("300 itself two\n", read_to(4)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(check(&text), Some(read_to(4)));
        fs::write(&path, &text[..text.len() - 1]).unwrap();
        assert!(Appending::open(&path).is_none(), "its end was cut");
    }
}
