//! The table of rules: which system calls are not simply allowed, and why.
//!
//! A call that is not in the table is allowed up to [`LAST_KNOWN`]; later ones do not exist for the
//! guest (`ENOSYS`), so that a kernel update never grants what nobody has looked at.
//!
//! `EPERM` says "you may not"; `ENOSYS` says "this kernel has no such thing" and is used where
//! libraries have a fallback for old kernels (`clone3` → `clone`, `io_uring` → `epoll`, `vmsplice` → `write`).
//!
//! Deliberately allowed: `chmod`, `mknod` and friends where changes are committed (set-uid bits and devices
//! are stripped then; `mknod` of a device needs a capability that no guest has; where changes go to the host
//! directly, [`SET_ID_RULES`] apply), `sched_setaffinity` (threads name themselves to it, and it ends nothing),
//! `seccomp` and
//! `landlock_*` (a guest may confine itself further), `prctl` (what weakens needs capabilities),
//! `adjtimex` (reading the clock's state is ordinary, setting it needs `CAP_SYS_TIME`),
//! `mbind` and `set_mempolicy` (own memory only).

use super::Profile;

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is carried out.
    Allow,
    /// It fails with `EPERM`.
    NotPermitted,
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
    /// `personality`: only the plain one, and asking.
    CheckPersonality,
    /// `prlimit64`: changes of the process's own limits only.
    CheckLimitsOf,
    /// The first argument names a process: only 0, the caller itself.
    CheckProcess,
    /// `setpriority`, `ioprio_set`: the process itself only, not all of its user, to whom pid 1 may belong.
    CheckWho,
    /// The second argument is a mode: no set-user-id, no set-group-id.
    CheckSecondMode,
    /// The third argument is a mode.
    CheckThirdMode,
    /// `open`: the third argument is a mode if a file is created.
    CheckOpenMode,
    /// `openat`: the fourth argument is a mode if a file is created.
    CheckOpenAtMode,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// The call's number on this architecture.
    pub(super) number: libc::c_long,
    /// The name of the constant with the number.
    constant: &'static str,
    /// What becomes of it.
    pub(super) answer: Answer,
}

impl Rule {
    /// Returns the call's name, as in the manual.
    pub(super) fn name(&self) -> &'static str {
        self.constant.trim_start_matches("SYS_")
    }
}

/// Numbers from `start` up to the next interval's start have one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    /// The first number.
    pub(super) start: u32,
    /// What becomes of them.
    pub(super) answer: Answer,
}

/// `file_setattr` (Linux 6.17): the newest call that was looked at for this table.
const LAST_KNOWN: u32 = 469;
/// The architecture's own numbers end before this one.
#[cfg(target_arch = "x86_64")]
const OWN_END: u32 = 335;
#[cfg(target_arch = "aarch64")]
const OWN_END: u32 = 295;
/// From here on all architectures count alike; what lies between belongs to nobody yet.
const COMMON_START: u32 = 424;
/// On `x86_64` this bit chooses the x32 table, whose numbers slip past filters made for the other one.
#[cfg(target_arch = "x86_64")]
const X32_BIT: u32 = 0x4000_0000;
/// What tracers put in place of a number to skip a call.
#[cfg(target_arch = "x86_64")]
const NO_NUMBER: u32 = u32::MAX;

/// The numbers of libc, and those that it does not have (any more, or yet).
#[expect(non_upper_case_globals, reason = "spelled as in libc")]
mod numbers {
    pub(super) use libc::*;

    #[cfg(target_arch = "x86_64")]
    pub(super) const SYS_create_module: c_long = 174;
    #[cfg(target_arch = "x86_64")]
    pub(super) const SYS_get_kernel_syms: c_long = 177;
    #[cfg(target_arch = "x86_64")]
    pub(super) const SYS_query_module: c_long = 178;
    pub(super) const SYS_open_tree_attr: c_long = 467;
    pub(super) const SYS_fchmodat2: c_long = 452;
}

macro_rules! rules {
    ($($answer:ident: $($(#[$on:meta])* $constant:ident)+;)+) => {
        &[$($($(#[$on])* Rule {
            number: numbers::$constant,
            constant: stringify!($constant),
            answer: Answer::$answer,
        },)+)+]
    };
}

/// All calls that are not simply allowed.
#[rustfmt::skip]
pub(super) const RULES: &[Rule] = rules! {
    // New namespaces hold capabilities, and with them most of the kernel's attack surface.
    CheckCloneFlags: SYS_clone;
    NotPermitted: SYS_unshare SYS_setns;
    // Its flags are behind a pointer, where a filter cannot look.
    NoSuchCall: SYS_clone3;
    // The view is finished before the guest starts.
    NotPermitted:
        SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_open_tree SYS_move_mount SYS_fsopen
        SYS_fsconfig SYS_fsmount SYS_fspick SYS_mount_setattr SYS_open_tree_attr;
    // Files by handle instead of by path: the walls are built of paths.
    NotPermitted: SYS_open_by_handle_at SYS_name_to_handle_at SYS_fanotify_init SYS_fanotify_mark;
    // Other processes' memory, registers and descriptors.
    NotPermitted: SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_pidfd_getfd SYS_kcmp
        SYS_move_pages SYS_migrate_pages;
    // Large, young or historically fragile parts of the kernel. io_uring carries out calls that a filter never sees.
    NoSuchCall: SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_vmsplice;
    NotPermitted: SYS_bpf SYS_perf_event_open SYS_userfaultfd;
    // Keyrings belong to the user, not to a namespace.
    NotPermitted: SYS_keyctl SYS_add_key SYS_request_key;
    // The machine itself.
    NotPermitted:
        SYS_kexec_load SYS_kexec_file_load SYS_init_module SYS_finit_module SYS_delete_module
        SYS_swapon SYS_swapoff SYS_reboot SYS_acct SYS_quotactl SYS_quotactl_fd SYS_syslog
        SYS_vhangup SYS_settimeofday SYS_clock_settime SYS_sethostname SYS_setdomainname
        #[cfg(target_arch = "x86_64")] SYS_iopl
        #[cfg(target_arch = "x86_64")] SYS_ioperm
        #[cfg(target_arch = "x86_64")] SYS_modify_ldt;
    // Gone from current kernels, holes in old ones. Where a neighbour is refused with EPERM, so are
    // they: one interval less.
    NoSuchCall:
        SYS_lookup_dcookie
        #[cfg(target_arch = "x86_64")] SYS_uselib;
    NotPermitted:
        SYS_nfsservctl
        #[cfg(target_arch = "x86_64")] SYS_create_module
        #[cfg(target_arch = "x86_64")] SYS_get_kernel_syms
        #[cfg(target_arch = "x86_64")] SYS_query_module
        #[cfg(target_arch = "x86_64")] SYS__sysctl;
    CheckSocket: SYS_socket;
    CheckSocketPair: SYS_socketpair;
    CheckIoctl: SYS_ioctl;
    // ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC make exploits easier and nothing else; the price is
    // that sanitizers which restart themselves without address randomization do not run.
    CheckPersonality: SYS_personality;
    // Pid 1 may have the guest's user id: a limit of no CPU time would kill it, one of no descriptors blind it.
    CheckLimitsOf: SYS_prlimit64;
    CheckProcess: SYS_sched_setparam SYS_sched_setscheduler SYS_sched_setattr;
    CheckWho: SYS_setpriority SYS_ioprio_set;
};

/// What is added where files land on the host as the guest makes them: none of them may lend its owner's rights
/// to whoever executes it. As systemd's `RestrictSUIDSGID=` (systemd.exec(5)).
#[rustfmt::skip]
pub(super) const SET_ID_RULES: &[Rule] = rules! {
    CheckSecondMode:
        SYS_fchmod
        #[cfg(target_arch = "x86_64")] SYS_chmod
        #[cfg(target_arch = "x86_64")] SYS_creat
        #[cfg(target_arch = "x86_64")] SYS_mknod;
    CheckThirdMode: SYS_fchmodat SYS_fchmodat2 SYS_mknodat;
    CheckOpenMode: #[cfg(target_arch = "x86_64")] SYS_open;
    CheckOpenAtMode: SYS_openat;
    // Its mode is behind a pointer.
    NoSuchCall: SYS_openat2;
};

/// Returns the rules of `profile`.
pub(super) fn of(profile: Profile) -> impl Iterator<Item = &'static Rule> {
    let added = match profile {
        Profile::Default => &[],
        Profile::WithoutSetIds => SET_ID_RULES,
    };
    RULES.iter().chain(added)
}

/// Returns all numbers as intervals of equal answer, in order, the first starting at 0.
pub(super) fn intervals(profile: Profile) -> Vec<Interval> {
    let mut starts = vec![0, OWN_END, COMMON_START, LAST_KNOWN + 1];
    #[cfg(target_arch = "x86_64")]
    starts.extend([X32_BIT, NO_NUMBER]);
    for rule in of(profile) {
        let number = u32::try_from(rule.number).expect("system call numbers are small");
        starts.extend([number, number + 1]);
    }
    starts.sort_unstable();
    let mut intervals: Vec<Interval> = starts
        .into_iter()
        .map(|start| Interval {
            start,
            answer: answer_to(profile, start),
        })
        .collect();
    intervals.dedup_by_key(|interval| interval.answer);
    intervals
}

/// Returns what becomes of the call `number`.
pub(super) fn answer_to(profile: Profile, number: u32) -> Answer {
    #[cfg(target_arch = "x86_64")]
    if number & X32_BIT != 0 && number != NO_NUMBER {
        return Answer::KillProcess;
    }
    if number > LAST_KNOWN || (OWN_END..COMMON_START).contains(&number) {
        return Answer::NoSuchCall;
    }
    of(profile)
        .find(|rule| rule.number == libc::c_long::from(number))
        .map_or(Answer::Allow, |rule| rule.answer)
}
