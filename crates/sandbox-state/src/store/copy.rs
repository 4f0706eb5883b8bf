//! The file of a store as it is, for readers: what redb writes while it opens, checks and closes it stays in memory.
//!
//! So a reader gets the same checks as a writer, waits for no storage, leaves the file as it is, also one that a killed
//! process left, and shares it with other readers.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

/// What is kept together of what was written: a page of redb.
const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = 4096;

/// A file, and what was written over it.
#[derive(Debug)]
pub(super) struct Copy {
    /// Locked for readers as long as it is open.
    file: File,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    /// How much of the file is seen.
    base: u64,
    length: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Copy {
    /// Returns the copy of a file, which must be locked.
    pub(super) fn of(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let over = Mutex::new(Over {
            base: length,
            length,
            blocks: BTreeMap::new(),
        });
        Ok(Self { file, over })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        // Each change is one step, so a panic leaves nothing half done.
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the file; what is behind its end is zero.
    fn read_file(&self, base: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = base.saturating_sub(offset).min(out.len() as u64);
        let (seen, behind) = out.split_at_mut(index(there)?);
        behind.fill(0);
        self.file.read_exact_at(seen, offset)
    }
}

fn index(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(io::Error::other)
}

/// Returns where `length` bytes at `offset` end, which must not be behind the end of all.
fn end_within(over: &Over, offset: u64, length: usize) -> io::Result<u64> {
    let end = offset.checked_add(length as u64);
    end.filter(|end| *end <= over.length)
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl StorageBackend for Copy {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        let end = end_within(&over, offset, out.len())?;
        self.read_file(over.base, offset, out)?;
        for (number, block) in over.blocks.range(offset / BLOCK..end.div_ceil(BLOCK)) {
            let start = number * BLOCK;
            let (from, to) = (offset.max(start), end.min(start + BLOCK));
            out[index(from - offset)?..index(to - offset)?]
                .copy_from_slice(&block[index(from - start)?..index(to - start)?]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut over = self.over();
        if length < over.length {
            over.base = over.base.min(length);
            over.blocks.split_off(&length.div_ceil(BLOCK));
            let cut = index(length % BLOCK)?;
            if let Some(last) = over.blocks.get_mut(&(length / BLOCK)) {
                last[cut..].fill(0);
            }
        }
        over.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        let end = end_within(&over, offset, data.len())?;
        for number in offset / BLOCK..end.div_ceil(BLOCK) {
            let start = number * BLOCK;
            let (from, to) = (offset.max(start), end.min(start + BLOCK));
            if !over.blocks.contains_key(&number) {
                let mut block = vec![0; BLOCK_BYTES];
                self.read_file(over.base, start, &mut block)?;
                over.blocks.insert(number, block);
            }
            if let Some(block) = over.blocks.get_mut(&number) {
                block[index(from - start)?..index(to - start)?]
                    .copy_from_slice(&data[index(from - offset)?..index(to - offset)?]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_file_stays() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let before: Vec<u8> = (0..10_000_u32).map(|it| it.to_le_bytes()[0]).collect();
        file.write_all(&before).unwrap();
        let copy = Copy::of(file.reopen().unwrap()).unwrap();
        let mut expected = before.clone();
        let check = |expected: &[u8]| {
            assert_eq!(copy.len().unwrap(), expected.len() as u64);
            for (at, length) in [
                (0, expected.len()),
                (4090, 20),
                (5, 1),
                (expected.len() - 3, 3),
            ] {
                let mut read = vec![1; length];
                copy.read(at as u64, &mut read).unwrap();
                assert_eq!(read, expected[at..at + length]);
            }
        };
        check(&expected);
        copy.write(4000, &[7; 300]).unwrap();
        expected[4000..4300].fill(7);
        check(&expected);
        copy.set_len(20_000).unwrap();
        expected.resize(20_000, 0);
        copy.write(19_000, &[8; 1000]).unwrap();
        expected[19_000..].fill(8);
        check(&expected);
        // What was cut off does not come back.
        for length in [19_500, 4200, 30_000] {
            copy.set_len(length as u64).unwrap();
            expected.resize(length, 0);
            check(&expected);
        }
        copy.write(29_999, &[0; 2]).unwrap_err();
        copy.read(29_999, &mut [0; 2]).unwrap_err();
        for far in [u64::MAX, u64::MAX - 1] {
            let refused = [copy.write(far, &[0; 2]), copy.read(far, &mut [0; 2])];
            for error in refused.map(Result::unwrap_err) {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        }
        copy.sync_data().unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), before);
    }
}
