//! Reads one file and cuts it into chunks, holes left out.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use fastcdc::v2020::FastCDC;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::node::{Extent, Hash, Stream};
use crate::stat::Stat;

/// Up to this size a file is one chunk.
pub(super) const WHOLE_BYTES_MAX: u64 = 1 << 20;

/// The sizes of the chunks of larger files. They are part of the format: other sizes would find
/// nothing again of what older snapshots have.
const CHUNK_BYTES_MIN: usize = 256 << 10;
const CHUNK_BYTES_AVERAGE: usize = 1 << 20;
pub(super) const CHUNK_BYTES_MAX: usize = 4 << 20;

/// How much of a large file is in memory.
const WINDOW_BYTES: usize = 4 * CHUNK_BYTES_MAX;

/// The bytes of one block as stat(2) counts them.
const BLOCK_BYTES: u64 = 512;

/// Opens `name` to read it, without moving its access time where that is permitted.
pub(super) fn open(dir: impl std::os::fd::AsFd, name: &std::ffi::OsStr) -> Result<File, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(&dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(&dir, name, flags, Mode::empty()),
        opened => opened,
    }
    .map(File::from)
}

/// Where the chunks of a file lay when it was cut before: they are looked for there first. What is the
/// same ends where it ended, so only what changed is searched for its ends.
#[derive(Debug, Default)]
pub(super) struct Earlier(BTreeMap<u64, Piece>);

/// A chunk as it was.
#[derive(Debug)]
struct Piece {
    bytes: usize,
    hash: Hash,
    /// Whether it ended only because the content did.
    is_last: bool,
}

impl Earlier {
    pub(super) fn of(stream: &Stream) -> Self {
        let mut pieces = BTreeMap::new();
        let mut at = 0;
        let mut extents = stream.extents.iter().peekable();
        while let Some(extent) = extents.next() {
            let is_last = !matches!(extents.peek(), Some(Extent::Data { .. }));
            if let Extent::Data { bytes, hash } = extent {
                let piece = Piece {
                    bytes: *bytes as usize,
                    hash: *hash,
                    is_last,
                };
                pieces.insert(at, piece);
            }
            at += extent.bytes();
        }
        Self(pieces)
    }

    /// Returns the chunk that `content`, which lies at `at`, begins with, if that is as it was. Nothing
    /// follows if `is_end`.
    fn begin_of(&self, at: u64, (content, is_end): (&[u8], bool)) -> Option<(usize, Hash)> {
        let piece = self.0.get(&at)?;
        let chunk = content.get(..piece.bytes)?;
        let ends_here = !piece.is_last || is_end && chunk.len() == content.len();
        (ends_here && Hash::of(chunk) == piece.hash).then_some((piece.bytes, piece.hash))
    }
}

/// Cuts the content of `file`, which `stat` is of, and gives each chunk to `put`.
pub(super) fn cut<E: From<io::Error>>(
    file: &mut File,
    (stat, earlier): (&Stat, &Earlier),
    mut put: impl FnMut(Hash, &[u8]) -> Result<(), E>,
) -> Result<Stream, E> {
    let mut stream = Stream::default();
    let sparse = stat.blocks.saturating_mul(BLOCK_BYTES) < stat.size;
    if stat.size <= WHOLE_BYTES_MAX && !sparse {
        let whole = whole(file, stat.size)?;
        if !whole.is_empty() {
            stream.push(data(Hash::of(&whole), &whole, &mut put)?);
        }
        return Ok(stream);
    }
    let mut position = 0;
    while position < stat.size {
        let (start, end) = if sparse {
            segment(file, position, stat.size)?
        } else {
            (position, stat.size)
        };
        if start > position {
            stream.push(Extent::Hole {
                bytes: start - position,
            });
        }
        file.seek(SeekFrom::Start(start))?;
        let input = file.by_ref().take(end - start);
        let read = pieces(input, (start, earlier), &mut stream, &mut put)?;
        position = start + read;
        if read < end - start {
            // It was cut meanwhile.
            break;
        }
    }
    Ok(stream)
}

/// Reads up to `bytes` bytes. That the file grew meanwhile shows in its status afterwards.
fn whole(file: &File, bytes: u64) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    let mut whole = Vec::with_capacity(bytes);
    while whole.len() < bytes {
        match rustix::io::read(file, rustix::buffer::spare_capacity(&mut whole)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(whole)
}

/// Cuts bytes that are in memory.
pub(super) fn cut_bytes<E: From<io::Error>>(
    bytes: &[u8],
    mut put: impl FnMut(Hash, &[u8]) -> Result<(), E>,
) -> Result<Stream, E> {
    let mut stream = Stream::default();
    if bytes.len() as u64 <= WHOLE_BYTES_MAX {
        stream.push(data(Hash::of(bytes), bytes, &mut put)?);
    } else {
        pieces(bytes, (0, &Earlier::default()), &mut stream, &mut put)?;
    }
    Ok(stream)
}

fn data<E>(
    hash: Hash,
    chunk: &[u8],
    put: &mut impl FnMut(Hash, &[u8]) -> Result<(), E>,
) -> Result<Extent, E> {
    put(hash, chunk)?;
    Ok(Extent::Data {
        bytes: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
        hash,
    })
}

/// Cuts all that `input` gives, which lies at `base`, and returns how much that was.
fn pieces<E: From<io::Error>>(
    mut input: impl io::Read,
    (base, earlier): (u64, &Earlier),
    stream: &mut Stream,
    put: &mut impl FnMut(Hash, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut window = Vec::new();
    let (mut start, mut total, mut ended) = (0, 0, false);
    loop {
        if window.len() - start < CHUNK_BYTES_MAX && !ended {
            window.drain(..start);
            start = 0;
            let wanted = WINDOW_BYTES - window.len();
            let got = input
                .by_ref()
                .take(wanted as u64)
                .read_to_end(&mut window)?;
            ended = got < wanted;
        }
        if start == window.len() {
            return Ok(total);
        }
        let rest = &window[start..];
        let known = earlier.begin_of(base + total, (rest, ended));
        let (bytes, hash) = known.unwrap_or_else(|| begin_of(rest));
        stream.push(data(hash, &rest[..bytes], put)?);
        total += bytes as u64;
        start += bytes;
    }
}

/// Returns the chunk that these bytes begin with.
fn begin_of(bytes: &[u8]) -> (usize, Hash) {
    let (least, average) = (CHUNK_BYTES_MIN, CHUNK_BYTES_AVERAGE);
    let cutter = FastCDC::new(bytes, least, average, CHUNK_BYTES_MAX);
    let (_, end) = cutter.cut(0, bytes.len());
    (end, Hash::of(&bytes[..end]))
}

/// Returns the next piece of `file` that is no hole, from `from` on.
fn segment(file: &File, from: u64, size: u64) -> io::Result<(u64, u64)> {
    use rustix::fs::SeekFrom;
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok((from, size)),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) if end > start => Ok((start, end.min(size))),
        _ => Ok((start, size)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes without a pattern that a cutter could meet twice.
    fn noise(seed: u64, count: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..count).map(|_| next()).collect()
    }

    fn cut_with(bytes: &[u8], earlier: &Earlier) -> Stream {
        let mut stream = Stream::default();
        let mut put = |_: Hash, _: &[u8]| Ok::<(), io::Error>(());
        pieces(bytes, (0, earlier), &mut stream, &mut put).unwrap();
        stream
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_file_is_cut_alike_whatever_it_was_before(
            seed: u64,
            before in 0..6_000_000_usize,
            after in 0..6_000_000_usize,
            edits in prop::collection::vec((0..6_000_000_usize, any::<u8>()), 0..4),
            moved in prop::sample::select(vec![0_usize, 0, 1, 5000]),
        ) {
            let whole = noise(seed, 6_000_000);
            let mut now = whole[moved..after.max(moved)].to_vec();
            for (at, byte) in edits {
                if let Some(there) = now.get_mut(at) {
                    *there = byte;
                }
            }
            let nothing = Earlier::default();
            let earlier = Earlier::of(&cut_with(&whole[..before], &nothing));
            prop_assert_eq!(cut_with(&now, &earlier), cut_with(&now, &nothing));
        }
    }

    #[test]
    fn what_is_the_same_is_found_where_it_was() {
        let bytes = noise(7, 5_000_000);
        let stream = cut_with(&bytes, &Earlier::default());
        assert!(stream.extents.len() > 2);
        let earlier = Earlier::of(&stream);
        let (first, hash) = earlier.begin_of(0, (&bytes, true)).unwrap();
        assert_eq!((first, hash), begin_of(&bytes));
        assert_eq!(earlier.begin_of(1, (&bytes[1..], true)), None);
        // The last chunk ended with the file.
        let last = earlier.0.keys().next_back().copied().unwrap();
        let rest = &bytes[usize::try_from(last).unwrap()..];
        assert!(earlier.begin_of(last, (rest, true)).is_some());
        assert_eq!(earlier.begin_of(last, (rest, false)), None);
    }
}
