//! The filter of a guest whose network may lead to any port: the supervisor is asked before each `connect`.

use super::{
    Instruction,
    assemble::{IF_EQUAL, LOAD, NATIVE, RETURN},
};

/// Where `struct seccomp_data` has the call's number and the architecture.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Returns the program that asks about each `connect` and leaves all else to the filter beside it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "system call numbers are small and positive"
)]
pub(crate) const fn asking_about_connect() -> [Instruction; 6] {
    const CONNECT: u32 = libc::SYS_connect as u32;
    [
        step(LOAD, ARCHITECTURE, 0, 0),
        step(IF_EQUAL, NATIVE, 0, 3),
        step(LOAD, NUMBER, 0, 0),
        step(IF_EQUAL, CONNECT, 0, 1),
        step(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ]
}

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}
