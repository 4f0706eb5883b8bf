//! How wide the arguments are that a profile may look at.
//!
//! A register has 64 bits, and the kernel looks at the lower 32 of an `int`: comparing all of them would let
//! `TIOCSTI | 1 << 32` through, and comparing half of a `long` would let the other half through. So an argument
//! that is in no row here cannot be compared: it is a pointer, or nobody has looked at how the kernel declares it.

/// How much of an argument the kernel looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// `int`, `unsigned int` and what the kernel cuts to that.
    Half,
    /// `long`, `size_t`.
    Whole,
}

/// Per call: its arguments of 32 bits, its arguments of 64 bits.
const ARGUMENTS: &[(&str, &[u8], &[u8])] = &[
    ("accept4", &[0, 3], &[]),
    ("arch_prctl", &[0], &[]),
    ("clone", &[0], &[]),
    ("close_range", &[0, 1, 2], &[]),
    ("dup3", &[0, 1, 2], &[]),
    ("eventfd2", &[0, 1], &[]),
    ("faccessat", &[2], &[]),
    ("fallocate", &[0, 1], &[2, 3]),
    ("fcntl", &[0, 1], &[2]),
    ("flock", &[0, 1], &[]),
    ("futex", &[1], &[]),
    ("getrandom", &[2], &[1]),
    ("inotify_init1", &[0], &[]),
    ("ioctl", &[0, 1], &[]),
    ("ioprio_set", &[0, 1, 2], &[]),
    ("kill", &[0, 1], &[]),
    ("listen", &[0, 1], &[]),
    ("madvise", &[2], &[1]),
    ("membarrier", &[0, 1], &[]),
    ("memfd_create", &[1], &[]),
    ("mlock2", &[2], &[1]),
    ("mlockall", &[0], &[]),
    ("mmap", &[4], &[1, 2, 3, 5]),
    ("mprotect", &[], &[1, 2]),
    ("mremap", &[], &[1, 2, 3]),
    ("open", &[1], &[]),
    ("openat", &[2], &[]),
    ("personality", &[0], &[]),
    ("pipe2", &[1], &[]),
    ("prctl", &[0], &[1, 2, 3, 4]),
    ("prlimit64", &[0, 1], &[]),
    ("ptrace", &[], &[0, 1]),
    ("renameat2", &[4], &[]),
    ("seccomp", &[0, 1], &[]),
    ("setpriority", &[0, 1, 2], &[]),
    ("setsockopt", &[0, 1, 2, 4], &[]),
    ("shutdown", &[0, 1], &[]),
    ("socket", &[0, 1, 2], &[]),
    ("socketpair", &[0, 1, 2], &[]),
    ("tgkill", &[0, 1, 2], &[]),
    ("timerfd_create", &[0, 1], &[]),
    ("unlinkat", &[0, 2], &[]),
    ("userfaultfd", &[0], &[]),
];

/// Returns the width of an argument, counted from 0; [`None`] if it cannot be compared.
pub(super) fn width_of(call: &str, argument: u8) -> Option<Width> {
    let (_, half, whole) = ARGUMENTS.iter().find(|(name, ..)| *name == call)?;
    if half.contains(&argument) {
        Some(Width::Half)
    } else {
        whole.contains(&argument).then_some(Width::Whole)
    }
}

/// Returns which arguments of a call can be compared.
pub(super) fn comparable(call: &str) -> Vec<u8> {
    let mut arguments = Vec::new();
    if let Some((_, half, whole)) = ARGUMENTS.iter().find(|(name, ..)| *name == call) {
        arguments.extend(half.iter().chain(*whole));
        arguments.sort_unstable();
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp_profile::calls;

    #[test]
    fn every_row_is_a_call_with_its_arguments_once() {
        assert!(ARGUMENTS.is_sorted_by(|left, right| left.0 < right.0));
        for (name, half, whole) in ARGUMENTS {
            assert!(calls::find(name).is_some(), "{name}");
            let both = half.iter().filter(|it| whole.contains(it)).count();
            assert_eq!(both, 0, "{name}");
            assert!(half.iter().chain(*whole).all(|it| *it < 6), "{name}");
        }
        assert_eq!(width_of("ioctl", 1), Some(Width::Half));
        assert_eq!(width_of("mmap", 2), Some(Width::Whole));
        assert_eq!(width_of("read", 1), None);
        assert_eq!(comparable("mmap"), [1, 2, 3, 4, 5]);
    }
}
