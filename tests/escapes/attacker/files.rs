//! Files that are none of the guest's.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    process::Command,
};

use super::{number, tell, tell_call, tell_result, terminal::path};
use crate::raw::call;

/// The directory that paths are relative to.
const HERE: usize = libc::AT_FDCWD.cast_unsigned() as usize;

/// Opens paths and writes nothing: `r:PATH` or `w:PATH`.
pub(super) fn open(arguments: &[&str]) {
    for argument in arguments {
        let (mode, path) = argument.split_once(':').expect("r: or w:");
        let mut options = OpenOptions::new();
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let opened = match mode {
            "w" => options.append(true).open(path),
            _ => options.read(true).open(path),
        };
        tell_result(argument, opened);
    }
}

/// Opens a file by its handle, from the descriptor of any directory of its file system.
pub(super) fn by_handle(arguments: &[&str]) {
    let (file, directory) = (path(arguments[0]), path(arguments[1]));
    tell_call("open by handle", || {
        let mut handle = [0_u8; 8 + 128];
        handle[0] = 128;
        let mut mount = 0_i32;
        let (at, mount) = (handle.as_mut_ptr().addr(), (&raw mut mount).addr());
        call(
            libc::SYS_name_to_handle_at,
            &[HERE, file.as_ptr().addr(), at, mount, 0],
        )?;
        let directory = call(libc::SYS_openat, &[HERE, directory.as_ptr().addr(), 0])?;
        call(libc::SYS_open_by_handle_at, &[directory, at, 0])
    });
}

/// Changes everything about a path that can be changed.
pub(super) fn change(arguments: &[&str]) {
    let file = path(arguments[0]);
    let file = file.as_ptr().addr();
    let name = c"user.escape".as_ptr().addr();
    let times = [1_u64, 0, 1, 0];
    let other = path(&format!("{}.renamed", arguments[0]));
    let changes: [(&str, libc::c_long, Vec<usize>); 7] = [
        ("chmod", libc::SYS_fchmodat, vec![HERE, file, 0o777]),
        (
            "chown",
            libc::SYS_fchownat,
            vec![HERE, file, usize::MAX, usize::MAX, 0],
        ),
        (
            "set times",
            libc::SYS_utimensat,
            vec![HERE, file, times.as_ptr().addr(), 0],
        ),
        (
            "set an attribute",
            libc::SYS_setxattr,
            vec![file, name, file, 1, 0],
        ),
        ("truncate", libc::SYS_truncate, vec![file, 0]),
        (
            "open for writing",
            libc::SYS_openat,
            vec![HERE, file, libc::O_WRONLY as usize],
        ),
        (
            "rename",
            libc::SYS_renameat2,
            vec![HERE, file, HERE, other.as_ptr().addr(), 0],
        ),
    ];
    for (name, number, all) in changes {
        let result = call(number, &all);
        tell_result(&format!("{name} {}", arguments[0]), result);
    }
    let unlinked = fs::remove_file(arguments[0])
        .or_else(|_renamed| fs::remove_file(format!("{}.renamed", arguments[0])));
    tell_result(&format!("unlink {}", arguments[0]), unlinked);
}

/// Makes a node: `PATH MODE DEVICE`, numbers decimal.
pub(super) fn make(arguments: &[&str]) {
    for triple in arguments.chunks(3) {
        let node = path(triple[0]);
        let all = [
            HERE,
            node.as_ptr().addr(),
            number(triple, 1),
            number(triple, 2),
        ];
        let made = call(libc::SYS_mknodat, &all);
        tell_result(&format!("make {}", triple[0]), made);
    }
}

/// Sets extended attributes: `PATH NAME VALUE-IN-HEX`.
pub(super) fn attribute(arguments: &[&str]) {
    for triple in arguments.chunks(3) {
        let (file, name) = (path(triple[0]), path(triple[1]));
        let value = super::network::bytes(triple[2]);
        let all = [
            file.as_ptr().addr(),
            name.as_ptr().addr(),
            value.as_ptr().addr(),
            value.len(),
            0,
        ];
        tell_result(
            &format!("set {} on {}", triple[1], triple[0]),
            call(libc::SYS_lsetxattr, &all),
        );
    }
}

/// Makes directories in each other.
pub(super) fn deep(arguments: &[&str]) {
    let name = "d".repeat(200);
    for _ in 0..number(arguments, 0) {
        fs::create_dir(&name).unwrap();
        std::env::set_current_dir(&name).unwrap();
    }
    tell("deep", "through");
}

/// Makes empty files with the longest names.
pub(super) fn many(arguments: &[&str]) {
    let mut made = 0;
    let all = number(arguments, 0);
    for index in 0..all {
        let directory = format!("many{}", index / 1000);
        if index % 1000 == 0 && fs::create_dir(&directory).is_err() {
            break;
        }
        if File::create(format!("{directory}/{index:0255}")).is_err() {
            break;
        }
        made += 1;
    }
    println!("made {made}");
}

/// Runs a program from memory, without a name.
pub(super) fn memfd(arguments: &[&str]) {
    let (program, rest) = arguments.split_first().expect("a program");
    let image = fs::read(program).unwrap();
    let memory = rustix::fs::memfd_create("nameless", rustix::fs::MemfdFlags::empty()).unwrap();
    let mut memory = File::from(memory);
    memory.write_all(&image).unwrap();
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    tell_result("run from memory", Command::new(&path).args(rest).status());
}
