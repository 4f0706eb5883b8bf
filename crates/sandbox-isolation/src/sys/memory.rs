//! Memory by hand: words as bytes, and a private copy of a file that another process has filled.
#![expect(unsafe_code, reason = "mmap(2) returns raw memory")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

/// Returns the bytes of `words`, in the machine's order.
pub(crate) fn bytes(words: &[u64]) -> &[u8] {
    // SAFETY: any eight bytes are a `u64` and the other way round, and a byte has no alignment.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// Maps the first `words` words of `file` for as long as this process lives. What is written there stays this
/// process's own; `file` must be sealed against being changed by others, and hold that much.
pub(crate) fn map_sealed(file: BorrowedFd<'_>, words: usize) -> Result<&'static mut [u64], Errno> {
    const SEALS: libc::c_int = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK;
    // SAFETY: no pointers are given.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    let length = words.checked_mul(size_of::<u64>()).ok_or(Errno::INVAL)?;
    let size = usize::try_from(rustix::fs::fstat(file)?.st_size);
    if seals < 0 || seals & SEALS != SEALS || size.is_ok_and(|size| size < length) || length == 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: a new mapping, at a place that the kernel chooses.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(Errno::NOMEM);
    }
    // SAFETY: mapped just now with that length, aligned to a page, never unmapped, and nobody else has it. Nobody
    // can change or shorten what is below it: it is sealed.
    Ok(unsafe { std::slice::from_raw_parts_mut(start.cast(), words) })
}
