//! Memory for a key: of its own pages, which no core dump and no forked child gets ([`madvise(2)`]).
//!
//! [`madvise(2)`]: https://man7.org/linux/man-pages/man2/madvise.2.html

use std::io;

use memmap2::{Advice, MmapMut};
use zeroize::Zeroize as _;

use super::KEY_BYTES;

/// The bytes of a key. They are overwritten when it is dropped.
pub(super) struct KeyMemory(MmapMut);

impl KeyMemory {
    /// Returns zeros.
    pub(super) fn new() -> io::Result<Self> {
        let pages = MmapMut::map_anon(KEY_BYTES)?;
        pages.advise(Advice::DontDump)?;
        pages.advise(Advice::DontFork)?;
        Ok(Self(pages))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        self.0.first_chunk().unwrap_or(&[0; KEY_BYTES])
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0[..KEY_BYTES]
    }
}

impl Drop for KeyMemory {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns what the kernel says of the memory at `address`: `VmFlags` of `proc_pid_smaps(5)`.
    fn flags_at(address: *const u8) -> Vec<String> {
        let address = address as usize;
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_it = false;
        for line in smaps.lines() {
            let range = line.split(' ').next().and_then(|it| it.split_once('-'));
            let bounds = range.and_then(|(start, end)| {
                let number = |text| usize::from_str_radix(text, 16).ok();
                Some(number(start)?..number(end)?)
            });
            if let Some(bounds) = bounds {
                is_it = bounds.contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_it) {
                return flags.split_whitespace().map(str::to_owned).collect();
            }
        }
        panic!("no memory at {address:#x}");
    }

    #[test]
    fn no_core_dump_and_no_child_gets_it() {
        let (not_dumped, not_copied) = ("dd".to_owned(), "dc".to_owned());
        let key = KeyMemory::new().unwrap();
        let flags = flags_at(key.bytes().as_ptr());
        assert!(
            flags.contains(&not_dumped) && flags.contains(&not_copied),
            "{flags:?}"
        );
        // The control: memory as everybody has it.
        let other = Box::new([0_u8; KEY_BYTES]);
        let flags = flags_at(other.as_ptr());
        assert!(
            !flags.contains(&not_dumped) && !flags.contains(&not_copied),
            "{flags:?}"
        );
    }
}
