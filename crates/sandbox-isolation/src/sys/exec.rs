//! `execve(2)` with lists that were laid out before the clone, and the search of `execvp(3)`.
#![expect(unsafe_code, reason = "execve(2) takes raw pointers")]

use std::ffi::{CStr, CString, c_char};

use rustix::io::Errno;

use super::check;

/// Runs what is no binary and has no `#!` line, as `execvp(3)` does.
const SHELL: &CStr = c"/bin/sh";

/// A program to execute: where it may be, its arguments and its environment, all as the kernel reads them.
pub(crate) struct Program {
    candidates: Vec<CString>,
    arguments: Vec<*const c_char>,
    /// `/bin/sh`, a slot for the candidate, then the arguments behind the first.
    script_arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    /// Owns what the lists point to; a `CString`'s bytes stay where they are when the vector moves.
    _strings: [Vec<CString>; 2],
}

// SAFETY: the pointers are to strings that it owns itself, or that are static.
unsafe impl Send for Program {}

impl Program {
    /// Returns the program that is the first of `candidates` that can be executed.
    pub(crate) fn new(
        candidates: Vec<CString>,
        arguments: Vec<CString>,
        environment: Vec<CString>,
    ) -> Self {
        let list = |strings: &[CString]| -> Vec<*const c_char> {
            let pointers = strings.iter().map(|string| string.as_ptr());
            pointers.chain([std::ptr::null()]).collect()
        };
        let plain = list(&arguments);
        let mut script = vec![SHELL.as_ptr(), std::ptr::null()];
        script.extend(plain.get(1..).unwrap_or(&[std::ptr::null()]));
        Self {
            candidates,
            arguments: plain,
            script_arguments: script,
            environment: list(&environment),
            _strings: [arguments, environment],
        }
    }

    /// Replaces this process by the program; returns only if that fails, with the error that `execvp(3)`
    /// would name.
    pub(crate) fn execute(&mut self) -> Errno {
        let mut denied = false;
        for candidate in &self.candidates {
            match execute(candidate, &self.arguments, &self.environment) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => denied = true,
                Errno::NOEXEC => {
                    self.script_arguments[1] = candidate.as_ptr();
                    return execute(SHELL, &self.script_arguments, &self.environment);
                }
                errno => return errno,
            }
        }
        if denied { Errno::ACCESS } else { Errno::NOENT }
    }
}

fn execute(program: &CStr, arguments: &[*const c_char], environment: &[*const c_char]) -> Errno {
    // SAFETY: only `Program` calls this: all pointers are to C strings that it owns or that are static,
    // and both lists end with a null pointer.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_execve,
            program.as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    check(answer).err().unwrap_or(Errno::IO)
}
