//! The walls: what every filter refuses or looks at, whatever the profile, and why.
//!
//! A call that no table names is allowed up to [`LAST_KNOWN`]; later ones do not exist for the guest (`ENOSYS`), so
//! that a kernel update never grants what nobody has looked at.
//!
//! `EPERM` says "you may not"; `ENOSYS` says "this kernel has no such thing" and is used where libraries have a
//! fallback for old kernels (`clone3` → `clone`, `io_uring` → `epoll`).
//!
//! Deliberately no wall: `chmod`, `mknod` and friends where changes are committed (set-uid bits and devices are
//! stripped then; `mknod` of a device needs a capability that no guest has; where changes go to the host directly,
//! [`SET_ID_RULES`] apply), `sched_setaffinity` (it ends nothing), `seccomp` and `landlock_*` (a guest may confine
//! itself further), `prctl` (what weakens needs capabilities), `mbind` and `set_mempolicy` (own memory only).

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is carried out.
    Allow,
    /// It fails with `EPERM`.
    NotPermitted,
    /// It fails with `EPERM`, and who waits for the guest hears of it.
    Told,
    /// It fails with `ENOSYS`.
    NoSuchCall,
    /// It fails with `EAFNOSUPPORT`.
    NoSuchFamily,
    /// The process is killed: no honest program gets here.
    KillProcess,
    /// `clone`: refused if its flags ask for a new namespace.
    CheckCloneFlags,
    /// `socket`: a few families, and of `AF_NETLINK` only routing.
    CheckSocket,
    /// `socketpair`: `AF_UNIX` only.
    CheckSocketPair,
    /// `ioctl`: not what types into, pastes into or reprograms a terminal.
    CheckIoctl,
    /// `prlimit64`: changes of the process's own limits only.
    CheckLimitsOf,
    /// The first argument names a process, which must be the guest's own.
    CheckProcess,
    /// `setpriority`, `ioprio_set`: a process or a group of the guest's own, not all of a user, to whom pid 1 may belong.
    CheckWho,
    /// The second argument is a mode: no set-user-id, no set-group-id.
    CheckSecondMode,
    /// The third argument is a mode.
    CheckThirdMode,
    /// `open`: the third argument is a mode if a file is created.
    CheckOpenMode,
    /// `openat`: the fourth argument is a mode if a file is created.
    CheckOpenAtMode,
    /// `utimensat`: of an open file only.
    CheckTimes,
    /// What the profile asks about the arguments; the number counts its calls.
    CheckProfile(u8),
}

/// One wall: calls with one answer, for one reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wall {
    /// Why no profile may allow it, as a clause.
    pub(super) reason: &'static str,
    /// What becomes of them.
    pub(super) answer: Answer,
    /// Their names, with their numbers where this architecture has them.
    pub(super) calls: &'static [(&'static str, Option<u32>)],
}

macro_rules! calls {
    ($($name:ident)+) => {
        &[$((stringify!($name), const { $crate::seccomp_profile::calls::number_of(stringify!($name)) }),)+]
    };
}
pub(super) use calls as names;

/// `file_setattr` (Linux 6.17): the newest call that was looked at for this table.
pub(super) const LAST_KNOWN: u32 = 469;
/// The architecture's own numbers end before this one.
#[cfg(target_arch = "x86_64")]
pub(super) const OWN_END: u32 = 335;
#[cfg(target_arch = "aarch64")]
pub(super) const OWN_END: u32 = 295;
/// From here on all architectures count alike; what lies between belongs to nobody yet.
pub(super) const COMMON_START: u32 = 424;
/// On `x86_64` this bit chooses the x32 table, whose numbers slip past filters made for the other one.
#[cfg(target_arch = "x86_64")]
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// What tracers put in place of a number to skip a call.
#[cfg(target_arch = "x86_64")]
pub(super) const NO_NUMBER: u32 = u32::MAX;

const NAMESPACES: &str =
    "new namespaces hold capabilities, and with them most of the kernel's attack surface";
const PID_1: &str =
    "pid 1 of the sandbox may have the guest's user id, and must be neither limited nor slowed";
const GONE: &str = "it is gone from current kernels and was a hole in old ones";

/// What no profile can allow.
#[rustfmt::skip]
pub(super) const WALLS: &[Wall] = &[
    Wall { answer: Answer::CheckCloneFlags, reason: NAMESPACES, calls: names!(clone) },
    Wall { answer: Answer::NotPermitted, reason: NAMESPACES, calls: names!(unshare setns) },
    Wall {
        answer: Answer::NoSuchCall,
        reason: "its flags, which make namespaces, are behind a pointer, where no filter can look",
        calls: names!(clone3),
    },
    Wall {
        answer: Answer::NotPermitted,
        reason: "the view is finished before the guest starts",
        calls: names!(
            mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
            open_tree_attr
        ),
    },
    Wall {
        answer: Answer::NotPermitted,
        reason: "it reaches files by handle instead of by path, and the walls are built of paths",
        calls: names!(open_by_handle_at fanotify_init fanotify_mark),
    },
    Wall {
        answer: Answer::NoSuchCall,
        reason: "io_uring carries out calls that no filter sees",
        calls: names!(io_uring_setup io_uring_enter io_uring_register),
    },
    Wall { answer: Answer::NotPermitted, reason: "it loads programs into the kernel", calls: names!(bpf) },
    Wall {
        answer: Answer::NotPermitted,
        reason: "keyrings belong to the user, not to a namespace",
        calls: names!(keyctl add_key request_key),
    },
    Wall {
        answer: Answer::NotPermitted,
        reason: "it administers the machine itself",
        calls: names!(
            kexec_load kexec_file_load init_module finit_module delete_module swapon swapoff reboot acct quotactl
            quotactl_fd syslog vhangup settimeofday clock_settime sethostname setdomainname iopl ioperm
        ),
    },
    Wall { answer: Answer::NoSuchCall, reason: GONE, calls: names!(lookup_dcookie uselib) },
    // Where a neighbour is refused with EPERM, so are they: one interval less.
    Wall {
        answer: Answer::NotPermitted,
        reason: GONE,
        calls: names!(nfsservctl create_module get_kernel_syms query_module _sysctl),
    },
    Wall {
        answer: Answer::CheckSocket,
        reason: "AF_VSOCK reaches the hypervisor from inside an empty network namespace, other families load modules",
        calls: names!(socket),
    },
    Wall {
        answer: Answer::CheckSocketPair,
        reason: "families other than AF_UNIX load modules",
        calls: names!(socketpair),
    },
    Wall {
        answer: Answer::CheckIoctl,
        reason: "some requests type or paste into a terminal, or load a line discipline",
        calls: names!(ioctl),
    },
    Wall { answer: Answer::CheckLimitsOf, reason: PID_1, calls: names!(prlimit64) },
    Wall {
        answer: Answer::CheckProcess,
        reason: PID_1,
        calls: names!(sched_setparam sched_setscheduler sched_setattr),
    },
    Wall { answer: Answer::CheckWho, reason: PID_1, calls: names!(setpriority ioprio_set) },
];

const SET_IDS: &str = "no file may lend its owner's rights to whoever executes it";

/// What is added where files land on the host as the guest makes them: none of them may lend its owner's rights
/// to whoever executes it. As systemd's `RestrictSUIDSGID=` (systemd.exec(5)).
#[rustfmt::skip]
pub(super) const SET_ID_RULES: &[Wall] = &[
    Wall { answer: Answer::CheckSecondMode, reason: SET_IDS, calls: names!(fchmod chmod creat mknod) },
    Wall { answer: Answer::CheckThirdMode, reason: SET_IDS, calls: names!(fchmodat fchmodat2 mknodat) },
    Wall { answer: Answer::CheckOpenMode, reason: SET_IDS, calls: names!(open) },
    Wall { answer: Answer::CheckOpenAtMode, reason: SET_IDS, calls: names!(openat) },
    // Its mode is behind a pointer.
    Wall { answer: Answer::NoSuchCall, reason: SET_IDS, calls: names!(openat2) },
];

/// What is added where there are no namespaces, and Landlock is the only wall around files and processes: what it
/// does not look at (landlock(7), "Limitations").
#[rustfmt::skip]
pub(super) const LANDLOCK_ALONE_RULES: &[Wall] = &[
    Wall {
        answer: Answer::NotPermitted,
        reason: "Landlock does not keep owners, modes and attributes of files outside",
        calls: names!(
            chmod fchmodat fchmodat2 chown lchown fchownat utime utimes futimesat setxattr lsetxattr removexattr
            lremovexattr setxattrat removexattrat file_setattr
        ),
    },
    Wall {
        answer: Answer::CheckTimes,
        reason: "Landlock does not keep times of files outside",
        calls: names!(utimensat),
    },
    Wall {
        answer: Answer::NoSuchCall,
        reason: "other processes of the user share these objects",
        calls: names!(shmget semget msgget mq_open mq_unlink),
    },
    Wall {
        answer: Answer::CheckProcess,
        reason: "other processes of the user could be moved",
        calls: names!(sched_setaffinity),
    },
    Wall {
        answer: Answer::NotPermitted,
        reason: "other processes of the user could be looked into",
        calls: names!(
            ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp move_pages migrate_pages name_to_handle_at
        ),
    },
];

/// Without a network of the guest's own, there is no socket at all: who listens on a Unix socket is not confined.
#[rustfmt::skip]
pub(super) const NO_SOCKET_RULES: &[Wall] = &[Wall {
    answer: Answer::NoSuchFamily,
    reason: "without a network namespace, every socket leads outside",
    calls: names!(socket),
}];
