//! System calls of which a guest needs none.

use std::io;

use super::tell_call;
use crate::raw::call;
#[cfg(target_arch = "x86_64")]
use crate::raw::call_of_32_bits;

/// No descriptor.
const NONE: usize = usize::MAX;
/// No address.
const NOWHERE: usize = 1;

type Call = (&'static str, libc::c_long, &'static [usize]);

/// Calls with arguments that change nothing: let in, they succeed or complain about an argument.
#[rustfmt::skip]
const CALLS: &[Call] = &[
    ("io_uring_setup", libc::SYS_io_uring_setup, &[1, NOWHERE]),
    ("bpf", libc::SYS_bpf, &[0xFFFF, NOWHERE, 8]),
    ("perf_event_open", libc::SYS_perf_event_open, &[NOWHERE, 0, NONE, NONE, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, &[0xFFFF]),
    ("keyctl", libc::SYS_keyctl, &[0, NONE - 2, 0]),
    ("add_key", libc::SYS_add_key, &[NOWHERE, NOWHERE, 0, 0, NONE - 2]),
    ("request_key", libc::SYS_request_key, &[NOWHERE, NOWHERE, 0, 0]),
    ("kexec_load", libc::SYS_kexec_load, &[0, 0, 0, 0xFFFF]),
    ("init_module", libc::SYS_init_module, &[NOWHERE, 16, NOWHERE]),
    ("finit_module", libc::SYS_finit_module, &[NONE, NOWHERE, 0]),
    ("delete_module", libc::SYS_delete_module, &[NOWHERE, 0]),
    ("quotactl", libc::SYS_quotactl, &[0x8000_0100, 0, 0, 0]),
    ("quotactl_fd", libc::SYS_quotactl_fd, &[NONE, 0, 0, 0]),
    ("swapon", libc::SYS_swapon, &[NOWHERE, 0]),
    ("swapoff", libc::SYS_swapoff, &[NOWHERE]),
    ("acct", libc::SYS_acct, &[NOWHERE]),
    ("lookup_dcookie", libc::SYS_lookup_dcookie, &[0, NOWHERE, 0]),
    ("vmsplice", libc::SYS_vmsplice, &[NONE, NOWHERE, 1, 0]),
    ("personality ADDR_NO_RANDOMIZE", libc::SYS_personality, &[0x0004_0000]),
    ("personality READ_IMPLIES_EXEC", libc::SYS_personality, &[0x0040_0000]),
    #[cfg(target_arch = "x86_64")]
    ("modify_ldt", libc::SYS_modify_ldt, &[0, 0, 0]),
    #[cfg(target_arch = "x86_64")]
    ("uselib", libc::SYS_uselib, &[NOWHERE]),
    #[cfg(target_arch = "x86_64")]
    ("iopl", libc::SYS_iopl, &[3]),
    #[cfg(target_arch = "x86_64")]
    ("ioperm", libc::SYS_ioperm, &[0, 1, 1]),
    ("reboot", libc::SYS_reboot, &[0, 0, 0, 0]),
    ("syslog", libc::SYS_syslog, &[10, 0, 0]),
    ("vhangup", libc::SYS_vhangup, &[]),
    ("settimeofday", libc::SYS_settimeofday, &[NOWHERE, 0]),
    ("clock_settime", libc::SYS_clock_settime, &[0, NOWHERE]),
    ("sethostname", libc::SYS_sethostname, &[NOWHERE, 1]),
    ("setdomainname", libc::SYS_setdomainname, &[NOWHERE, 1]),
    ("ptrace", libc::SYS_ptrace, &[0, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, &[1, 0, 0, 0, 0, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, &[1, 0, 0, 0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, &[NONE, 0, 0]),
    ("kcmp", libc::SYS_kcmp, &[NOWHERE, NOWHERE, 99, 0, 0]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, &[NONE, NOWHERE, NOWHERE, NOWHERE, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, &[NONE, NOWHERE, 0]),
    ("fanotify_init", libc::SYS_fanotify_init, &[0x200, 0]),
    ("fanotify_mark", libc::SYS_fanotify_mark, &[NONE, 0, 0, 0, 0]),
    ("mount", libc::SYS_mount, &[0, ROOT, 0, 0, 0]),
    ("umount2", libc::SYS_umount2, &[NOWHERE, 0]),
    ("pivot_root", libc::SYS_pivot_root, &[NOWHERE, NOWHERE]),
    ("chroot", libc::SYS_chroot, &[ROOT]),
    ("open_tree", libc::SYS_open_tree, &[NONE, ROOT, 0]),
    ("move_mount", libc::SYS_move_mount, &[NONE, ROOT, NONE, ROOT, 0xFFFF]),
    ("fsopen", libc::SYS_fsopen, &[NOWHERE, 0]),
    ("fsconfig", libc::SYS_fsconfig, &[NONE, 0, 0, 0, 0]),
    ("fsmount", libc::SYS_fsmount, &[NONE, 0, 0]),
    ("fspick", libc::SYS_fspick, &[NONE, NOWHERE, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, &[NONE, NOWHERE, 0, 0, 0]),
    ("open_tree_attr", 467, &[NONE, NOWHERE, 0, 0, 0]),
    ("setns", libc::SYS_setns, &[NONE, 0]),
    ("clone3", libc::SYS_clone3, &[NOWHERE, 0]),
    ("unshare user", libc::SYS_unshare, &[libc::CLONE_NEWUSER as usize]),
    ("unshare mount", libc::SYS_unshare, &[libc::CLONE_NEWNS as usize]),
    ("unshare pid", libc::SYS_unshare, &[libc::CLONE_NEWPID as usize]),
    ("unshare network", libc::SYS_unshare, &[libc::CLONE_NEWNET as usize]),
    ("unshare ipc", libc::SYS_unshare, &[libc::CLONE_NEWIPC as usize]),
    ("unshare uts", libc::SYS_unshare, &[libc::CLONE_NEWUTS as usize]),
    ("unshare cgroup", libc::SYS_unshare, &[libc::CLONE_NEWCGROUP as usize]),
    ("unshare time", libc::SYS_unshare, &[0x80]),
];

/// Stands for the address of the path of the root.
const ROOT: usize = usize::MAX - 99;
static ROOT_PATH: &std::ffi::CStr = c"/";

/// Makes the named calls, or all whose name begins so.
pub(super) fn kernel(names: &[&str]) {
    for &(name, number, arguments) in CALLS {
        if names.iter().any(|wanted| name.starts_with(wanted)) {
            tell_call(name, || call(number, &places(arguments)));
        }
    }
    if names.contains(&"int80") {
        // getpid: no harm, and let in, it answers with a number.
        tell_call("the 32-bit table by int 0x80", || {
            answer_of_32_bits(20, [0; 3])
        });
    }
    if names.contains(&"x32") {
        tell_call("the x32 table", || {
            call(0x4000_0000 + libc::SYS_getpid, &[])
        });
    }
}

fn places(arguments: &[usize]) -> Vec<usize> {
    let place = |&argument| match argument {
        ROOT => ROOT_PATH.as_ptr().addr(),
        other => other,
    };
    arguments.iter().map(place).collect()
}

/// Makes children in new namespaces.
pub(super) fn namespaces() {
    let flags = [
        ("clone user", libc::CLONE_NEWUSER),
        ("clone mount", libc::CLONE_NEWNS),
        ("clone pid", libc::CLONE_NEWPID),
        ("clone network", libc::CLONE_NEWNET),
        ("clone ipc", libc::CLONE_NEWIPC),
        ("clone uts", libc::CLONE_NEWUTS),
        ("clone cgroup", libc::CLONE_NEWCGROUP),
    ];
    for (name, flag) in flags {
        tell_call(name, || {
            let child = call(
                libc::SYS_clone,
                &[(flag | libc::SIGCHLD).cast_unsigned() as usize, 0, 0, 0, 0],
            )?;
            if child == 0 {
                call(libc::SYS_exit_group, &[0])?;
            }
            Ok(child)
        });
    }
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let parent = call(libc::SYS_getppid, &[]).unwrap_or(1);
        let opened = std::fs::File::open(format!("/proc/{parent}/ns/{kind}"));
        super::tell_result(&format!("the parent's namespace {kind}"), opened);
    }
}

/// Leaves the terminal, which some calls would hang up.
pub(super) fn leave_terminal() {
    // Who is a leader already has none of the caller's.
    let _session = call(libc::SYS_setsid, &[]);
}

/// Becomes root of new namespaces: where the kernel lets everybody try more.
pub(super) fn become_root_of_namespaces() -> io::Result<usize> {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC;
    call(libc::SYS_unshare, &[flags.cast_unsigned() as usize])
}

/// Makes a call by the 32-bit table.
#[cfg(target_arch = "x86_64")]
pub(super) fn answer_of_32_bits(number: i32, arguments: [i32; 3]) -> io::Result<usize> {
    let answer = call_of_32_bits(number, arguments);
    usize::try_from(answer).map_err(|_negative| io::Error::from_raw_os_error(-answer))
}

/// Says that a call has no such name here, so that lists stay equally long.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn answer_of_32_bits(_: i32, _: [i32; 3]) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
