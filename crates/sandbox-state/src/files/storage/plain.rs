//! Outside of tests nothing is watched.

use super::{Change, File, io};

#[inline]
#[expect(clippy::unnecessary_wraps, reason = "it fails in tests")]
pub(crate) fn about_to_change() -> io::Result<()> {
    Ok(())
}

#[inline]
#[expect(clippy::unnecessary_wraps, reason = "it fails in tests")]
pub(crate) fn about_to_link() -> io::Result<()> {
    Ok(())
}

#[inline]
pub(crate) fn note(_change: impl FnOnce() -> Change) {}

#[inline]
pub(super) fn writable(length: usize) -> usize {
    length
}

#[inline]
#[expect(clippy::unnecessary_wraps, reason = "it fails in tests")]
pub(super) fn note_write(_file: &File, _bytes: &[u8]) -> io::Result<()> {
    Ok(())
}

#[inline]
#[expect(clippy::unnecessary_wraps, reason = "it fails in tests")]
pub(super) fn inode(_file: &File) -> io::Result<u64> {
    Ok(0)
}
