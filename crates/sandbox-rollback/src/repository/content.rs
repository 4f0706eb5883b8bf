//! Reads one file and cuts it into chunks, holes left out.

use std::{
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

/// Cuts the content of `file`, which `stat` is of, and gives each chunk to `put`.
pub(super) fn cut<E: From<io::Error>>(
    file: &mut File,
    stat: &Stat,
    mut put: impl FnMut(&[u8]) -> Result<Hash, E>,
) -> Result<Stream, E> {
    let mut stream = Stream::default();
    let sparse = stat.blocks.saturating_mul(BLOCK_BYTES) < stat.size;
    if stat.size <= WHOLE_BYTES_MAX && !sparse {
        let whole = whole(file, stat.size)?;
        if !whole.is_empty() {
            stream.push(data(&whole, &mut put)?);
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
        let read = pieces(file.by_ref().take(end - start), &mut stream, &mut put)?;
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
    mut put: impl FnMut(&[u8]) -> Result<Hash, E>,
) -> Result<Stream, E> {
    let mut stream = Stream::default();
    if bytes.len() as u64 <= WHOLE_BYTES_MAX {
        stream.push(data(bytes, &mut put)?);
    } else {
        pieces(bytes, &mut stream, &mut put)?;
    }
    Ok(stream)
}

fn data<E>(chunk: &[u8], put: &mut impl FnMut(&[u8]) -> Result<Hash, E>) -> Result<Extent, E> {
    Ok(Extent::Data {
        bytes: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
        hash: put(chunk)?,
    })
}

/// Cuts all that `input` gives, and returns how much that was.
fn pieces<E: From<io::Error>>(
    mut input: impl io::Read,
    stream: &mut Stream,
    put: &mut impl FnMut(&[u8]) -> Result<Hash, E>,
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
        let rest = window.len() - start;
        let cutter = FastCDC::new(
            &window,
            CHUNK_BYTES_MIN,
            CHUNK_BYTES_AVERAGE,
            CHUNK_BYTES_MAX,
        );
        let (_, end) = cutter.cut(start, rest);
        stream.push(data(&window[start..end], put)?);
        total += (end - start) as u64;
        start = end;
    }
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
