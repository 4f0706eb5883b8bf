//! System calls without the C library's `errno`, which lies in memory that a child may share with its caller.
#![expect(unsafe_code, reason = "system calls by hand")]

use rustix::io::Errno;

/// Makes a system call with up to six arguments.
///
/// # Safety
///
/// As of the system call: pointers must be good for what the kernel does with them.
pub(super) unsafe fn call<const N: usize>(
    number: libc::c_long,
    arguments: [usize; N],
) -> Result<usize, Errno> {
    const { assert!(N <= 6) };
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    // SAFETY: the caller vouches for the arguments.
    let answer = unsafe { enter(number, all) };
    // The kernel answers -4095 to -1 for an error.
    match u16::try_from(answer.wrapping_neg()) {
        Ok(error @ 1..=4095) => Err(Errno::from_raw_os_error(error.into())),
        Ok(_) | Err(_) => Ok(answer.cast_unsigned()),
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn enter(number: libc::c_long, all: [usize; 6]) -> isize {
    let answer;
    // SAFETY: the kernel changes nothing but these registers and what the arguments point to.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") all[0], in("rsi") all[1], in("rdx") all[2],
            in("r10") all[3], in("r8") all[4], in("r9") all[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    };
    answer
}

#[cfg(target_arch = "aarch64")]
unsafe fn enter(number: libc::c_long, all: [usize; 6]) -> isize {
    let answer;
    // SAFETY: the kernel changes nothing but these registers and what the arguments point to.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") all[0].cast_signed() => answer,
            in("x1") all[1], in("x2") all[2], in("x3") all[3], in("x4") all[4], in("x5") all[5],
            options(nostack),
        );
    };
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_errors_are_told_apart() {
        // SAFETY: no pointers are given.
        let own = unsafe { call(libc::SYS_getpid, []) };
        assert_eq!(own, Ok(usize::try_from(std::process::id()).unwrap()));
        // SAFETY: no pointers are given, and no process has this descriptor.
        let closed = unsafe { call(libc::SYS_close, [usize::MAX]) };
        assert_eq!(closed, Err(Errno::BADF));
    }
}
