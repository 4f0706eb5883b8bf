//! The built-in profiles: what each refuses beyond the walls, the loosest first.
//!
//! Each adds to the one before it. `config/profiles` has the same as YAML, and a test compares the two.

use std::borrow::Cow;

use super::{
    Refusal,
    arguments::Width,
    refine::{ArgumentTest, BaseProfile, Condition, RefusedWith},
    rules::names,
};

/// Calls that a profile refuses with one error.
type Group = (RefusedWith, &'static [(&'static str, Option<u32>)]);

/// Rarely needed, and large, young or historically fragile parts of the kernel.
const PERMISSIVE: &[Group] = &[
    (
        RefusedWith::NotPermitted,
        names!(perf_event_open userfaultfd modify_ldt),
    ),
    (RefusedWith::NoSuchCall, names!(vmsplice)),
];

/// Other processes' memory, registers and descriptors: what debuggers need and builds do not.
const DEFAULT: &[Group] = &[(
    RefusedWith::NotPermitted,
    names!(ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp move_pages migrate_pages name_to_handle_at),
)];

/// What shells, small tools and interpreters do without.
const STRICT: &[Group] = &[
    // Files without a name, and programs from them.
    (
        RefusedWith::NotPermitted,
        names!(memfd_create memfd_secret execveat mknod mknodat),
    ),
    // Objects that outlive the processes that made them.
    (
        RefusedWith::NoSuchCall,
        names!(
            shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink
            mq_timedsend mq_timedreceive mq_notify mq_getsetattr
        ),
    ),
    // Asynchronous I/O and pages moved between pipes.
    (
        RefusedWith::NoSuchCall,
        names!(io_setup io_destroy io_getevents io_submit io_cancel io_pgetevents splice tee),
    ),
    // Where memory lies, and how it is mapped.
    (
        RefusedWith::NotPermitted,
        names!(mbind set_mempolicy get_mempolicy set_mempolicy_home_node remap_file_pages),
    ),
    // The clock, obsolete questions, security labels.
    (
        RefusedWith::NotPermitted,
        names!(adjtimex clock_adjtime ustat sysfs lsm_set_self_attr),
    ),
];

/// `personality` with other flags than none: `ADDR_NO_RANDOMIZE` and `READ_IMPLIES_EXEC` make exploits easier and
/// nothing else. The price is that sanitizers which restart themselves without address randomization do not run.
const PLAIN_PERSONALITY: Condition = Condition {
    argument: 0,
    test: ArgumentTest::Unless(Cow::Borrowed(&[0, 0xFFFF_FFFF])),
};

/// `socket` with other families than `AF_UNIX`.
const LOCAL_SOCKET: Condition = Condition {
    argument: 0,
    test: ArgumentTest::Unless(Cow::Borrowed(&[1])),
};

/// Returns what `base` refuses.
pub(super) fn refusals(base: BaseProfile) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if base >= BaseProfile::Permissive {
        add(&mut refusals, PERMISSIVE);
    }
    if base >= BaseProfile::Default {
        add(&mut refusals, DEFAULT);
        let with = RefusedWith::NotPermitted;
        add_conditional(&mut refusals, names!(personality), with, PLAIN_PERSONALITY);
    }
    if base >= BaseProfile::Strict {
        add(&mut refusals, STRICT);
        let with = RefusedWith::NoSuchFamily;
        add_conditional(&mut refusals, names!(socket), with, LOCAL_SOCKET);
    }
    refusals
}

fn add(refusals: &mut Vec<Refusal>, groups: &[Group]) {
    for &(with, calls) in groups {
        refusals.extend(calls.iter().filter_map(|&(_, number)| {
            Some(Refusal {
                number: number?,
                with,
                when: None,
            })
        }));
    }
}

fn add_conditional(
    refusals: &mut Vec<Refusal>,
    calls: &[(&str, Option<u32>)],
    with: RefusedWith,
    condition: Condition,
) {
    refusals.extend(calls.iter().filter_map(|&(_, number)| {
        Some(Refusal {
            number: number?,
            with,
            when: Some((Width::Half, condition.clone())),
        })
    }));
}
