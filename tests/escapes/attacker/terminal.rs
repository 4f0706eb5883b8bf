//! Terminals: what types into them, pastes into them, or takes them.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Command, ExitCode},
};

use super::{calls::answer_of_32_bits, tell, tell_result, tell_success};
use crate::raw::call;

const TIOCSTI: usize = 0x5412;
const TIOCSCTTY: usize = 0x540E;
const TIOCLINUX: usize = 0x541C;
const TIOCSPGRP: usize = 0x5410;
const TCSETS: usize = 0x5402;
const TCGETS: usize = 0x5401;

/// Does to every terminal in reach what nobody asked for. What came of it is seen at the other end.
pub(super) fn attack() {
    let byte = b'!';
    let letter = (&raw const byte).addr();
    let own = File::options().read(true).write(true).open("/dev/tty");
    tell_result(
        "open /dev/tty",
        own.as_ref()
            .map_err(|error| std::io::Error::from(error.kind())),
    );
    let mut places = vec![("stdin", 0), ("stdout", 1), ("stderr", 2)];
    if let Ok(own) = &own {
        places.push(("/dev/tty", own.as_raw_fd().unsigned_abs() as usize));
    }
    for (name, place) in places {
        tell_success(&format!("TIOCSTI on {name}"), || {
            call(libc::SYS_ioctl, &[place, TIOCSTI, letter])
        });
        let high = TIOCSTI | (1 << 32);
        tell_success(&format!("TIOCSTI with a high bit on {name}"), || {
            call(libc::SYS_ioctl, &[place, high, letter])
        });
        tell_success(&format!("TIOCSCTTY on {name}"), || {
            call(libc::SYS_ioctl, &[place, TIOCSCTTY, 1])
        });
        let group = call(libc::SYS_getpgid, &[0]).unwrap_or(0);
        let group = (&raw const group).addr();
        tell_success(&format!("tcsetpgrp on {name}"), || {
            call(libc::SYS_ioctl, &[place, TIOCSPGRP, group])
        });
        tell_success(&format!("stop echo on {name}"), || {
            let mut settings = [0_u32; 16];
            call(
                libc::SYS_ioctl,
                &[place, TCGETS, settings.as_mut_ptr().addr()],
            )?;
            settings[3] &= !0o10;
            call(libc::SYS_ioctl, &[place, TCSETS, settings.as_ptr().addr()])
        });
        let request = i32::try_from(TIOCSTI).unwrap_or(0);
        let place = i32::try_from(place).unwrap_or(0);
        tell_success(&format!("TIOCSTI by int 0x80 on {name}"), || {
            // Only the low half of the address arrives, so a byte at a low address is needed.
            let low = call(
                libc::SYS_mmap,
                &[0x1000_0000, 4096, 3, 0x10_0022, usize::MAX, 0],
            )?;
            std::fs::write("/proc/self/mem", b"").ok();
            poke(low)?;
            answer_of_32_bits(54, [place, request, i32::try_from(low).unwrap_or(0)])
        });
    }
}

/// Writes one letter to a page by its address.
fn poke(address: usize) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    memory.write_all_at(b"!", address as u64)
}

/// Asks the console of standard input for its selection.
pub(super) fn console() {
    let request = [6_u8, 0];
    tell_success("TIOCLINUX", || {
        call(libc::SYS_ioctl, &[0, TIOCLINUX, request.as_ptr().addr()])
    });
}

/// Executes a program with the terminal on standard input as its own.
pub(super) fn run_in(arguments: &[&str]) -> ExitCode {
    let taken = call(libc::SYS_setsid, &[]).and_then(|_| call(libc::SYS_ioctl, &[0, TIOCSCTTY, 0]));
    if let Err(error) = taken {
        tell("take the terminal", &error.to_string());
        return ExitCode::FAILURE;
    }
    let (program, rest) = arguments.split_first().expect("a program");
    let error = Command::new(program).args(rest).exec();
    tell(program, &error.to_string());
    ExitCode::FAILURE
}

/// Returns a path as the kernel takes it.
pub(super) fn path(text: &str) -> CString {
    CString::new(text).expect("no NUL in an argument")
}
