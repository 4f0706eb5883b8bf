//! `execve(2)` with lists that were laid out before the clone.
#![expect(unsafe_code, reason = "execve(2) takes raw pointers")]

use std::ffi::CStr;

use rustix::io::Errno;

use super::check;

/// Addresses of strings that end with a NUL byte and live for ever; 0 behind the last.
pub(crate) struct Pointers(&'static mut [u64]);

const _: () = assert!(size_of::<usize>() == size_of::<u64>());

impl Pointers {
    /// Turns a list of offsets into `strings`, and a 0 behind them, into one of addresses.
    pub(crate) fn new(list: &'static mut [u64], strings: &'static [u8]) -> Option<Self> {
        if strings.last() != Some(&0) || list.last() != Some(&0) {
            return None;
        }
        let (_, offsets) = list.split_last_mut()?;
        for place in offsets {
            let offset = usize::try_from(*place).ok();
            let offset = offset.filter(|offset| *offset < strings.len())?;
            *place = address(strings.as_ptr().wrapping_add(offset));
        }
        Some(Self(list))
    }

    /// Replaces the string at `index`, if there is one.
    pub(crate) fn set(&mut self, index: usize, string: &'static CStr) {
        if let Some((_, strings)) = self.0.split_last_mut()
            && let Some(place) = strings.get_mut(index)
        {
            *place = address(string.as_ptr().cast());
        }
    }

    /// The list from `index` on; at its end, an empty one.
    fn from(&self, index: usize) -> *const u64 {
        let index = index.min(self.0.len() - 1);
        self.0.as_ptr().wrapping_add(index)
    }
}

fn address(string: *const u8) -> u64 {
    string.expose_provenance() as u64
}

/// Replaces this process by `program`, with the arguments from the one at `first` on; returns only if that fails.
pub(crate) fn execute(
    program: &CStr,
    (arguments, first): (&Pointers, usize),
    environment: &Pointers,
) -> Errno {
    // SAFETY: both lists hold addresses of strings that live for ever, and end with a null pointer, which a
    // `Pointers` has at its end and only there.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_execve,
            program.as_ptr(),
            arguments.from(first),
            environment.from(0),
        )
    };
    check(answer).err().unwrap_or(Errno::IO)
}
