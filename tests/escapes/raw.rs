//! System calls as an attacker makes them: by number, with arguments that no safe wrapper would pass on.
//!
//! The only `unsafe` outside of `sandbox-isolation`: the attacking program is no part of the product.
#![expect(
    unsafe_code,
    reason = "the attacking program makes calls that have no safe wrapper, on purpose"
)]

use std::io;

/// How a child that made an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With what its function returned: 0, or the number of an error.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Makes the system call `number`.
pub(crate) fn call(number: libc::c_long, arguments: &[usize]) -> io::Result<usize> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    // SAFETY: what arguments point to lives in the caller for the time of the call; a call that harms this
    // process harms the attacker only, and each is made in a child of its own.
    let answer = unsafe { libc::syscall(number, all[0], all[1], all[2], all[3], all[4], all[5]) };
    usize::try_from(answer).map_err(|_negative| io::Error::last_os_error())
}

/// Makes the system call `number` of the 32-bit table. Returns the kernel's raw answer.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call_of_32_bits(number: i32, arguments: [i32; 3]) -> i32 {
    let [a, b, c] = arguments;
    // SAFETY: the arguments are numbers, and rbx, which the compiler keeps for itself, is put back.
    unsafe {
        let answer: i32;
        std::arch::asm!(
            "xchg {b:r}, rbx", "int 0x80", "xchg {b:r}, rbx",
            b = inout(reg) i64::from(a) => _,
            inlateout("eax") number => answer,
            in("ecx") b, in("edx") c,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
        answer
    }
}

/// Runs `attempt` in a child of its own and waits for it: nothing that it does to itself stays.
pub(crate) fn in_child(attempt: impl FnOnce() -> i32) -> End {
    let child = match start_child(attempt) {
        Ok(child) => child,
        Err(error) => return End::Exited(error.raw_os_error().unwrap_or(libc::EAGAIN)),
    };
    let mut status = 0;
    // SAFETY: `status` is a valid place for the status.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {}
    if libc::WIFSIGNALED(status) {
        End::Killed(libc::WTERMSIG(status))
    } else {
        End::Exited(libc::WEXITSTATUS(status))
    }
}

/// Runs `work` in a child that nobody waits for.
pub(crate) fn start_child(work: impl FnOnce() -> i32) -> io::Result<libc::pid_t> {
    // SAFETY: the attacker has one thread, so the child may do all that it could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = work();
            // SAFETY: ends the child; nothing of the parent's is run twice.
            unsafe { libc::_exit(code) }
        }
        child => Ok(child),
    }
}
