//! Runs the compiled program in a small BPF interpreter, written from bpf(2)'s classic instruction set.

use libc::{
    SECCOMP_RET_ALLOW as ALLOW, SECCOMP_RET_KILL_PROCESS as KILL, SYS_clone, SYS_ioctl,
    SYS_personality, SYS_socket, SYS_socketpair, c_int, c_long,
};

use super::{
    BaseProfile, INSTRUCTIONS_MAX, Instruction, Mode, OtherWalls, SeccompProfile, answer_to,
    assemble::{AND, IF_ANY_BIT, IF_AT_LEAST, IF_EQUAL, IF_GREATER, LOAD, NATIVE, RETURN, errno},
    calls,
    rules::{Answer, LANDLOCK_ALONE_RULES, SET_ID_RULES, WALLS},
};

mod profiles;

const EPERM: u32 = errno(libc::EPERM);
const ENOSYS: u32 = errno(libc::ENOSYS);
const EAFNOSUPPORT: u32 = errno(libc::EAFNOSUPPORT);

const COMMITTED: Mode = Mode {
    writes_to_host: false,
    walls: OtherWalls::Namespaces,
    tells: false,
};
const DIRECT: Mode = Mode {
    writes_to_host: true,
    walls: OtherWalls::Namespaces,
    tells: false,
};
const ALONE: Mode = Mode {
    writes_to_host: true,
    walls: OtherWalls::Landlock { network: false },
    tells: false,
};

/// The programs must stay cheap to install.
const INSTRUCTION_LIMITS: [(BaseProfile, Mode, usize); 6] = [
    (BaseProfile::Walls, COMMITTED, 110),
    (BaseProfile::Permissive, COMMITTED, 115),
    (BaseProfile::Default, COMMITTED, 125),
    (BaseProfile::Default, DIRECT, 165),
    (BaseProfile::Strict, COMMITTED, 200),
    (BaseProfile::Strict, ALONE, INSTRUCTIONS_MAX),
];

/// What the kernel shows to a filter.
struct Call {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let half = |value: u64, high: bool| {
            let bytes = value.to_le_bytes();
            let at = if high { 4 } else { 0 };
            u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
        };
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..64 if offset.is_multiple_of(4) => {
                let index = usize::try_from((offset - 16) / 8).unwrap();
                half(self.arguments[index], offset % 8 == 4)
            }
            _ => panic!("no field at {offset}"),
        }
    }
}

fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let holds = match code {
            RETURN => return k,
            LOAD => {
                accumulator = call.word(k);
                continue;
            }
            AND => {
                accumulator &= k;
                continue;
            }
            IF_EQUAL => accumulator == k,
            IF_GREATER => accumulator > k,
            IF_AT_LEAST => accumulator >= k,
            IF_ANY_BIT => accumulator & k != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        at += usize::from(if holds { jt } else { jf });
    }
}

fn answer(number: c_long, arguments: &[u64]) -> u32 {
    answer_in(COMMITTED, number, arguments)
}

/// The answer of the default profile.
fn answer_in(mode: Mode, number: c_long, arguments: &[u64]) -> u32 {
    let profile = SeccompProfile::built_in(BaseProfile::Default);
    answer_of((&profile, mode), number, arguments)
}

fn answer_of((profile, mode): (&SeccompProfile, Mode), number: c_long, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let call = Call {
        architecture: NATIVE,
        number: u32::try_from(number).unwrap(),
        arguments: all,
    };
    run(&profile.compile(mode), &call)
}

fn number(constant: c_int) -> u64 {
    u64::try_from(constant).unwrap()
}

#[test]
fn the_program_is_short_and_every_jump_lands_inside() {
    for (profile, mode, limit) in INSTRUCTION_LIMITS {
        let program = SeccompProfile::built_in(profile).compile(mode);
        let length = program.len();
        assert!(
            length <= limit,
            "{profile:?} {mode:?}: {length} instructions"
        );
        for (index, instruction) in program.iter().enumerate() {
            if instruction.code == RETURN {
                continue;
            }
            let furthest = index + 1 + usize::from(instruction.jt.max(instruction.jf));
            assert!(furthest < program.len(), "{index}: {instruction:?}");
        }
        assert_eq!(program.last().unwrap().code, RETURN);
    }
}

#[test]
fn a_filter_that_tells_refuses_the_same() {
    for (base, mode, limit) in INSTRUCTION_LIMITS {
        let profile = SeccompProfile::built_in(base);
        let silent = profile.compile(mode);
        let mut telling = profile.compile(Mode {
            tells: true,
            ..mode
        });
        assert!(super::is_telling(&telling) && !super::is_telling(&silent));
        assert!(telling.len() <= limit + 1);
        let call = |number| Call {
            architecture: NATIVE,
            number,
            arguments: [u64::MAX; 6],
        };
        let told = (0..1024)
            .filter(|number| run(&telling, &call(*number)) == libc::SECCOMP_RET_USER_NOTIF);
        let told: Vec<u32> = told.collect();
        assert!(told.contains(&u32::try_from(libc::SYS_mount).unwrap()));
        assert!(!told.contains(&u32::try_from(libc::SYS_clone3).unwrap()));
        assert!(
            told.iter()
                .all(|number| run(&silent, &call(*number)) == EPERM)
        );
        super::keep_silent(&mut telling);
        for number in 0..1024 {
            assert_eq!(run(&telling, &call(number)), run(&silent, &call(number)));
        }
    }
}

#[test]
fn the_search_gives_every_number_the_answer_of_the_table() {
    for (base, mode, _) in INSTRUCTION_LIMITS {
        let profile = SeccompProfile::built_in(base);
        let program = profile.compile(mode);
        let (answers, _) = profile.answers(mode);
        let everything = (0..1024).chain([0x3FFF_FFFF, 0x4000_0000, 0x4000_0029, u32::MAX]);
        for number in everything {
            let expected = match answer_to(&answers, number) {
                Answer::Allow => ALLOW,
                Answer::NotPermitted => EPERM,
                Answer::Told => libc::SECCOMP_RET_USER_NOTIF,
                Answer::NoSuchCall => ENOSYS,
                Answer::NoSuchFamily => EAFNOSUPPORT,
                Answer::KillProcess => KILL,
                Answer::CheckCloneFlags
                | Answer::CheckSocket
                | Answer::CheckSocketPair
                | Answer::CheckIoctl
                | Answer::CheckLimitsOf
                | Answer::CheckProcess
                | Answer::CheckWho
                | Answer::CheckSecondMode
                | Answer::CheckThirdMode
                | Answer::CheckOpenMode
                | Answer::CheckOpenAtMode
                | Answer::CheckTimes
                | Answer::CheckProfile(_) => continue,
            };
            let call = Call {
                architecture: NATIVE,
                number,
                arguments: [u64::MAX; 6],
            };
            assert_eq!(run(&program, &call), expected, "call {number}");
        }
    }
}

#[test]
fn foreign_system_call_tables_kill() {
    let program = SeccompProfile::built_in(BaseProfile::Default).compile(COMMITTED);
    // i386, x32's twin, ARM, RISC-V, big-endian PowerPC
    for architecture in [0x4000_0003, 0x0000_003E, 0x4000_0028, 0xC000_00F3, 0x15, 0] {
        let call = Call {
            architecture,
            number: 0,
            arguments: [0; 6],
        };
        assert_eq!(run(&program, &call), KILL, "{architecture:#x}");
    }
    #[cfg(target_arch = "x86_64")]
    for number in [0x4000_0000, 0x4000_0029, 0x4000_0208, 0xFFFF_FFFE] {
        assert_eq!(answer(number, &[]), KILL, "{number:#x}");
    }
}

#[test]
fn refused_calls_fail_as_documented() {
    for (call, expected) in [
        (libc::SYS_clone3, ENOSYS),
        (libc::SYS_io_uring_setup, ENOSYS),
        (libc::SYS_io_uring_register, ENOSYS),
        (libc::SYS_unshare, EPERM),
        (libc::SYS_setns, EPERM),
        (libc::SYS_mount, EPERM),
        (libc::SYS_mount_setattr, EPERM),
        (libc::SYS_fsopen, EPERM),
        (libc::SYS_pivot_root, EPERM),
        (libc::SYS_chroot, EPERM),
        (libc::SYS_ptrace, EPERM),
        (libc::SYS_process_vm_writev, EPERM),
        (libc::SYS_pidfd_getfd, EPERM),
        (libc::SYS_bpf, EPERM),
        (libc::SYS_perf_event_open, EPERM),
        (libc::SYS_userfaultfd, EPERM),
        (libc::SYS_keyctl, EPERM),
        (libc::SYS_add_key, EPERM),
        (libc::SYS_open_by_handle_at, EPERM),
        (libc::SYS_kexec_file_load, EPERM),
        (libc::SYS_finit_module, EPERM),
        (libc::SYS_quotactl_fd, EPERM),
        (libc::SYS_clock_settime, EPERM),
        (467, EPERM),
        (470, ENOSYS),
        (400, ENOSYS),
    ] {
        assert_eq!(answer(call, &[]), expected, "{call}");
    }
}

#[test]
fn clone_makes_threads_and_processes_but_no_namespaces() {
    let thread = number(
        libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SETTLS,
    );
    let fork = number(libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD);
    let vfork = number(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD);
    for flags in [thread, fork, vfork] {
        assert_eq!(answer(SYS_clone, &[flags]), ALLOW, "{flags:#x}");
    }
    for namespace in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ] {
        let flags = number(namespace);
        assert_eq!(answer(SYS_clone, &[flags]), EPERM, "{flags:#x}");
        assert_eq!(answer(SYS_clone, &[fork | flags | 1 << 40]), EPERM);
    }
}

#[test]
fn sockets_of_the_common_families_only() {
    let stream = number(libc::SOCK_STREAM | libc::SOCK_CLOEXEC);
    let datagram = number(libc::SOCK_DGRAM | libc::SOCK_NONBLOCK);
    let raw = number(libc::SOCK_RAW | libc::SOCK_CLOEXEC);
    for (family, kind, protocol, expected) in [
        (libc::AF_UNIX, stream, 0, ALLOW),
        (libc::AF_INET, stream, libc::IPPROTO_TCP, ALLOW),
        (libc::AF_INET6, datagram, libc::IPPROTO_UDP, ALLOW),
        (libc::AF_INET, datagram, libc::IPPROTO_ICMP, ALLOW),
        (libc::AF_INET6, datagram, libc::IPPROTO_ICMPV6, ALLOW),
        (libc::AF_NETLINK, raw, libc::NETLINK_ROUTE, ALLOW),
        (libc::AF_INET, raw, libc::IPPROTO_ICMP, EPERM),
        (libc::AF_INET6, raw, libc::IPPROTO_RAW, EPERM),
        (libc::AF_INET, stream, libc::IPPROTO_SCTP, EAFNOSUPPORT),
        (libc::AF_INET, stream, libc::IPPROTO_MPTCP, EAFNOSUPPORT),
        (libc::AF_NETLINK, raw, libc::NETLINK_NETFILTER, EAFNOSUPPORT),
        (libc::AF_NETLINK, raw, libc::NETLINK_AUDIT, EAFNOSUPPORT),
        (libc::AF_VSOCK, stream, 0, EAFNOSUPPORT),
        (libc::AF_ALG, number(libc::SOCK_SEQPACKET), 0, EAFNOSUPPORT),
        (libc::AF_PACKET, raw, 0, EAFNOSUPPORT),
        (libc::AF_XDP, raw, 0, EAFNOSUPPORT),
        (libc::AF_BLUETOOTH, raw, 0, EAFNOSUPPORT),
        (libc::AF_CAN, raw, 0, EAFNOSUPPORT),
        (libc::AF_TIPC, datagram, 0, EAFNOSUPPORT),
        (libc::AF_KEY, raw, 2, EAFNOSUPPORT),
        (43, stream, 0, EAFNOSUPPORT), // AF_SMC
    ] {
        let arguments = [number(family), kind, number(protocol)];
        assert_eq!(answer(SYS_socket, &arguments), expected, "{arguments:?}");
    }
    // The kernel looks at the lower half only, so must the filter.
    let disguised = number(libc::AF_VSOCK) | 1 << 32;
    assert_eq!(answer(SYS_socket, &[disguised, stream, 0]), EAFNOSUPPORT);
    assert_eq!(
        answer(SYS_socket, &[number(libc::AF_INET), stream, 0xFFFF_FFFF]),
        EAFNOSUPPORT
    );
    assert_eq!(
        answer(SYS_socketpair, &[number(libc::AF_UNIX), stream, 0]),
        ALLOW
    );
    assert_eq!(
        answer(SYS_socketpair, &[number(libc::AF_TIPC), stream, 0]),
        EAFNOSUPPORT
    );
}

#[test]
fn terminal_injection_is_refused_in_every_disguise() {
    for request in [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD] {
        for disguise in [0, 1 << 32, 0xFFFF_FFFF << 32] {
            assert_eq!(answer(SYS_ioctl, &[0, request | disguise]), EPERM);
        }
    }
    for request in [
        libc::TCGETS,
        libc::TIOCGWINSZ,
        libc::FIONREAD,
        0x4004_9409, // FICLONE
    ] {
        assert_eq!(answer(SYS_ioctl, &[0, request]), ALLOW, "{request:#x}");
    }
}

#[test]
fn personality_can_be_asked_but_not_changed() {
    assert_eq!(answer(SYS_personality, &[0]), ALLOW);
    assert_eq!(answer(SYS_personality, &[0xFFFF_FFFF]), ALLOW);
    for persona in [libc::ADDR_NO_RANDOMIZE, libc::READ_IMPLIES_EXEC] {
        assert_eq!(answer(SYS_personality, &[number(persona)]), EPERM);
    }
}

#[test]
#[rustfmt::skip]
fn ordinary_calls_are_allowed() {
    for call in [
        libc::SYS_read, libc::SYS_write, libc::SYS_openat, libc::SYS_close, libc::SYS_fstat,
        libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_lseek, libc::SYS_mmap, libc::SYS_mprotect,
        libc::SYS_munmap, libc::SYS_brk, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_mlock,
        libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
        libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_readv, libc::SYS_writev, libc::SYS_sendfile,
        libc::SYS_splice, libc::SYS_tee, libc::SYS_copy_file_range, libc::SYS_fallocate,
        libc::SYS_ftruncate, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync, libc::SYS_syncfs,
        libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_openat2, libc::SYS_renameat2,
        libc::SYS_linkat, libc::SYS_symlinkat, libc::SYS_unlinkat, libc::SYS_mkdirat, libc::SYS_mknodat,
        libc::SYS_readlinkat, libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat,
        libc::SYS_utimensat, libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir,
        libc::SYS_flock, libc::SYS_fcntl, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2,
        libc::SYS_setxattr, libc::SYS_getxattr, libc::SYS_listxattr, libc::SYS_removexattr,
        libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_umask,
        libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_signalfd4,
        libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_inotify_init1,
        libc::SYS_inotify_add_watch, libc::SYS_io_setup, libc::SYS_io_submit,
        libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4,
        libc::SYS_waitid, libc::SYS_kill, libc::SYS_tgkill, libc::SYS_pidfd_open,
        libc::SYS_pidfd_send_signal, libc::SYS_getpid, libc::SYS_gettid, libc::SYS_getuid,
        libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setgroups, libc::SYS_setresuid, libc::SYS_capget,
        libc::SYS_setpgid, libc::SYS_setsid, libc::SYS_getpriority,
        libc::SYS_getrusage, libc::SYS_sysinfo, libc::SYS_uname, libc::SYS_times,
        libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_set_robust_list, libc::SYS_rseq,
        libc::SYS_set_tid_address, libc::SYS_membarrier, libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_getcpu,
        libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime, libc::SYS_getitimer,
        libc::SYS_setitimer, libc::SYS_timer_create, libc::SYS_getrandom, libc::SYS_memfd_create,
        libc::SYS_connect, libc::SYS_accept4, libc::SYS_bind, libc::SYS_listen, libc::SYS_sendto,
        libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
        libc::SYS_setsockopt, libc::SYS_getsockopt, libc::SYS_getsockname, libc::SYS_shutdown,
        libc::SYS_shmget, libc::SYS_shmat, libc::SYS_semget, libc::SYS_msgget, libc::SYS_mq_open,
        libc::SYS_prctl, libc::SYS_seccomp, libc::SYS_landlock_create_ruleset, libc::SYS_close_range,
        libc::SYS_pkey_alloc, libc::SYS_get_mempolicy, libc::SYS_mbind, libc::SYS_adjtimex,
        libc::SYS_mincore, libc::SYS_msync, libc::SYS_process_madvise, libc::SYS_mseal,
        #[cfg(target_arch = "x86_64")] libc::SYS_fork,
        #[cfg(target_arch = "x86_64")] libc::SYS_vfork,
        #[cfg(target_arch = "x86_64")] libc::SYS_open,
        #[cfg(target_arch = "x86_64")] libc::SYS_stat,
        #[cfg(target_arch = "x86_64")] libc::SYS_poll,
        #[cfg(target_arch = "x86_64")] libc::SYS_arch_prctl,
        452, 463, 464, 465, 466, 468, // fchmodat2, *xattrat, file_getattr
    ] {
        assert_eq!(answer(call, &[u64::MAX; 6]), ALLOW, "{call}");
    }
}

#[test]
fn no_call_is_in_one_table_twice() {
    for walls in [WALLS, SET_ID_RULES, LANDLOCK_ALONE_RULES] {
        let mut names: Vec<_> = walls.iter().flat_map(|it| it.calls).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|left, right| left.0 < right.0));
    }
}

#[test]
fn pid_1_can_be_neither_limited_nor_slowed() {
    let (pointer, high_pointer) = (0x7000_1000, 0x7000_0000_0000);
    for (call, arguments, expected) in [
        (libc::SYS_prlimit64, [0, 7, pointer, 0], ALLOW),
        (libc::SYS_prlimit64, [1, 7, 0, pointer], ALLOW),
        (libc::SYS_prlimit64, [1, 7, pointer, 0], EPERM),
        (libc::SYS_prlimit64, [1, 7, high_pointer, 0], EPERM),
        (libc::SYS_prlimit64, [1 | 1 << 32, 7, pointer, 0], EPERM),
        (libc::SYS_setpriority, [0, 0, 5, 0], ALLOW),
        (libc::SYS_setpriority, [0, 1, 5, 0], EPERM),
        (libc::SYS_setpriority, [2, 0, 5, 0], EPERM),
        (libc::SYS_ioprio_set, [1, 0, 5, 0], ALLOW),
        (libc::SYS_ioprio_set, [1, 1, 5, 0], EPERM),
        (libc::SYS_ioprio_set, [3, 0, 5, 0], EPERM),
        (libc::SYS_sched_setscheduler, [0, 3, pointer, 0], ALLOW),
        (libc::SYS_sched_setscheduler, [1, 5, pointer, 0], EPERM),
        (libc::SYS_sched_setparam, [1, pointer, 0, 0], EPERM),
        (libc::SYS_sched_setattr, [1, pointer, 0, 0], EPERM),
        // Threads and processes of its own.
        (libc::SYS_sched_setattr, [17, pointer, 0, 0], ALLOW),
        (libc::SYS_setpriority, [0, 17, 5, 0], ALLOW),
        (libc::SYS_ioprio_set, [1, 17, 5, 0], ALLOW),
        (libc::SYS_prlimit64, [17, 7, pointer, 0], EPERM),
    ] {
        assert_eq!(answer(call, &arguments), expected, "{call} {arguments:?}");
    }
}

#[test]
fn set_id_bits_are_refused_where_nothing_takes_them_later() {
    let create = number(libc::O_CREAT | libc::O_WRONLY);
    let temporary = number(libc::O_TMPFILE | libc::O_RDWR);
    for bits in [0o4000, 0o2000, 0o6000] {
        let mode = bits | 0o755;
        for (call, arguments) in [
            (libc::SYS_fchmod, [3, mode, 0, 0]),
            (libc::SYS_fchmodat, [3, 0, mode, 0]),
            (452, [3, 0, mode, 0]), // fchmodat2
            (libc::SYS_mknodat, [3, 0, mode, 0]),
            (libc::SYS_openat, [3, 0, create, mode]),
            (libc::SYS_openat, [3, 0, temporary, mode]),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_open, [0, create, mode, 0]),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_chmod, [0, mode, 0, 0]),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_creat, [0, mode, 0, 0]),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_mknod, [0, mode, 0, 0]),
        ] {
            let strict = |arguments: &[u64]| answer_in(DIRECT, call, arguments);
            assert_eq!(strict(&arguments), EPERM, "{call} {arguments:?}");
            assert_eq!(answer(call, &arguments), ALLOW, "{call} {arguments:?}");
            let harmless = arguments.map(|value| if value == mode { 0o1755 } else { value });
            assert_eq!(strict(&harmless), ALLOW, "{call} {harmless:?}");
        }
    }
    // Where nothing is created, the mode is whatever the register held.
    let read = number(libc::O_RDONLY | libc::O_DIRECTORY);
    let strict = |call, arguments: &[u64]| answer_in(DIRECT, call, arguments);
    assert_eq!(strict(libc::SYS_openat, &[3, 0, read, u64::MAX]), ALLOW);
    assert_eq!(strict(libc::SYS_openat2, &[3, 0, 0, 24]), ENOSYS);
}
