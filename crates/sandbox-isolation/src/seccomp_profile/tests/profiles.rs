//! What profiles refuse beyond the walls, and what a custom one may say.

use std::borrow::Cow;

use super::{
    super::{
        ArgumentTest, Condition, ProfileError, RefusedWith, SyscallEffect, SyscallRule,
        syscall_walls,
    },
    ALLOW, ALONE, BaseProfile, COMMITTED, DIRECT, EAFNOSUPPORT, ENOSYS, EPERM, OtherWalls,
    SeccompProfile, answer_in, answer_of, number,
};

fn allow(call: &str) -> SyscallRule {
    SyscallRule {
        call: call.to_owned(),
        effect: SyscallEffect::Allow,
    }
}

fn refuse(call: &str) -> SyscallRule {
    SyscallRule {
        call: call.to_owned(),
        effect: SyscallEffect::Refuse(RefusedWith::NotPermitted, None),
    }
}

fn refuse_if(call: &str, argument: u8, test: ArgumentTest) -> SyscallRule {
    let condition = Condition { argument, test };
    SyscallRule {
        call: call.to_owned(),
        effect: SyscallEffect::Refuse(RefusedWith::NotPermitted, Some(condition)),
    }
}

fn profile(base: BaseProfile, rules: &[SyscallRule]) -> SeccompProfile {
    SeccompProfile::refine("test", base, rules).unwrap()
}

#[test]
fn each_profile_refuses_more_than_the_one_before() {
    let mut before: Option<SeccompProfile> = None;
    for (name, base) in BaseProfile::NAMED {
        let profile = SeccompProfile::built_in(base);
        assert_eq!(profile.name(), name);
        assert_eq!(BaseProfile::named(name), Some(base));
        if let Some(before) = before {
            assert!(profile.refusals.starts_with(&before.refusals));
            assert!(profile.refusals.len() > before.refusals.len());
        }
        before = Some(profile);
    }
}

#[test]
fn profiles_differ_where_they_say() {
    let family = |family| [number(family), number(libc::SOCK_STREAM), 0];
    let traced = [0; 3];
    let plain = [number(libc::ADDR_NO_RANDOMIZE), 0, 0];
    for (call, arguments, answers) in [
        (libc::SYS_ptrace, traced, [ALLOW, EPERM, EPERM]),
        (libc::SYS_personality, plain, [ALLOW, EPERM, EPERM]),
        (libc::SYS_perf_event_open, traced, [EPERM, EPERM, EPERM]),
        (libc::SYS_memfd_create, traced, [ALLOW, ALLOW, EPERM]),
        (libc::SYS_shmget, traced, [ALLOW, ALLOW, ENOSYS]),
        (libc::SYS_splice, traced, [ALLOW, ALLOW, ENOSYS]),
        (libc::SYS_socket, family(libc::AF_UNIX), [ALLOW; 3]),
        (
            libc::SYS_socket,
            family(libc::AF_INET),
            [ALLOW, ALLOW, EAFNOSUPPORT],
        ),
        (libc::SYS_socket, family(libc::AF_VSOCK), [EAFNOSUPPORT; 3]),
        (libc::SYS_mount, traced, [EPERM; 3]),
        (libc::SYS_fchmod, [3, 0o4755, 0], [ALLOW, ALLOW, EPERM]),
    ] {
        let bases = [
            BaseProfile::Permissive,
            BaseProfile::Default,
            BaseProfile::Strict,
        ];
        let found = bases.map(|base| {
            let profile = SeccompProfile::built_in(base);
            answer_of((&profile, COMMITTED), call, &arguments)
        });
        assert_eq!(found, answers, "{call} {arguments:?}");
    }
}

#[test]
fn without_namespaces_the_filter_keeps_what_landlock_does_not() {
    for (call, arguments, expected) in [
        (libc::SYS_fchmodat, [0, 0, 0o644], EPERM),
        (libc::SYS_fchownat, [0, 0, 0], EPERM),
        (libc::SYS_setxattr, [0, 0, 0], EPERM),
        (libc::SYS_fchmod, [3, 0o644, 0], ALLOW),
        (libc::SYS_utimensat, [3, 0, 0], ALLOW),
        (libc::SYS_utimensat, [3, 0x7000_0000_0000, 0], EPERM),
        (libc::SYS_utimensat, [3, 0x1000, 0], EPERM),
        (
            libc::SYS_socket,
            [number(libc::AF_UNIX), 1, 0],
            EAFNOSUPPORT,
        ),
        (
            libc::SYS_socket,
            [number(libc::AF_INET), 1, 0],
            EAFNOSUPPORT,
        ),
        (libc::SYS_socketpair, [number(libc::AF_UNIX), 1, 0], ALLOW),
        (libc::SYS_shmget, [0, 0, 0], ENOSYS),
        (libc::SYS_sched_setaffinity, [0, 0, 0], ALLOW),
        (libc::SYS_sched_setaffinity, [17, 0, 0], EPERM),
        (libc::SYS_setpriority, [0, 17, 5], EPERM),
        (libc::SYS_ptrace, [0, 0, 0], EPERM),
    ] {
        assert_eq!(
            answer_in(ALONE, call, &arguments),
            expected,
            "{call} {arguments:?}"
        );
    }
    let network = super::Mode {
        walls: OtherWalls::Landlock { network: true },
        ..ALONE
    };
    let stream = [number(libc::AF_INET), number(libc::SOCK_STREAM), 0];
    assert_eq!(answer_in(network, libc::SYS_socket, &stream), ALLOW);
    // What a profile allows is refused all the same.
    let permissive = SeccompProfile::built_in(BaseProfile::Permissive);
    assert_eq!(
        answer_of((&permissive, ALONE), libc::SYS_ptrace, &[]),
        EPERM
    );
}

#[test]
fn a_custom_profile_gives_and_takes() {
    let custom = profile(
        BaseProfile::Default,
        &[allow("ptrace"), refuse("memfd_create"), refuse("iopl")],
    );
    let answer = |call, arguments: &[u64]| answer_of((&custom, COMMITTED), call, arguments);
    assert_eq!(answer(libc::SYS_ptrace, &[]), ALLOW);
    assert_eq!(answer(libc::SYS_memfd_create, &[]), EPERM);
    assert_eq!(answer(libc::SYS_process_vm_readv, &[]), EPERM);
    assert_eq!(answer(libc::SYS_read, &[]), ALLOW);
}

#[test]
fn arguments_are_compared_as_wide_as_the_kernel_looks() {
    let set = |values: &'static [u64]| Cow::Borrowed(values);
    let custom = profile(
        BaseProfile::Default,
        &[
            refuse_if("kill", 1, ArgumentTest::Equals(set(&[9, 19]))),
            refuse_if("madvise", 2, ArgumentTest::Unless(set(&[4, 8]))),
            refuse_if("mprotect", 2, ArgumentTest::AnyBit(4)),
            refuse_if("mmap", 1, ArgumentTest::Equals(set(&[7, 1 << 40]))),
            refuse_if("mremap", 1, ArgumentTest::Unless(set(&[7, 1 << 40]))),
            refuse_if("prctl", 0, ArgumentTest::Equals(set(&[4]))),
            refuse_if("prctl", 1, ArgumentTest::AnyBit(1 << 35 | 1)),
        ],
    );
    let high = 1 << 32;
    for (call, arguments, expected) in [
        (libc::SYS_kill, [1, 9, 0], EPERM),
        (libc::SYS_kill, [1, 0x13 | high, 0], EPERM),
        (libc::SYS_kill, [1, 15, 0], ALLOW),
        (libc::SYS_madvise, [0, 0, 4], ALLOW),
        (libc::SYS_madvise, [0, 0, 0x8 | high], ALLOW),
        (libc::SYS_madvise, [0, 0, 5], EPERM),
        (libc::SYS_mprotect, [0, 0, 3], ALLOW),
        (libc::SYS_mprotect, [0, 0, 7], EPERM),
        (libc::SYS_mmap, [0, 7, 0], EPERM),
        (libc::SYS_mmap, [0, 0x7 | high, 0], ALLOW),
        (libc::SYS_mmap, [0, 1 << 40, 0], EPERM),
        (libc::SYS_mmap, [0, 1 << 40 | 0x7, 0], ALLOW),
        (libc::SYS_mremap, [0, 7, 0], ALLOW),
        (libc::SYS_mremap, [0, 0x7 | high, 0], EPERM),
        (libc::SYS_mremap, [0, 1 << 40, 0], ALLOW),
        (libc::SYS_prctl, [4, 0, 0], EPERM),
        (libc::SYS_prctl, [5, 2, 0], ALLOW),
        (libc::SYS_prctl, [5, 3, 0], EPERM),
        (libc::SYS_prctl, [5, 1 << 35, 0], EPERM),
    ] {
        for mode in [COMMITTED, DIRECT, ALONE] {
            let found = answer_of((&custom, mode), call, &arguments);
            assert_eq!(found, expected, "{call} {arguments:?}");
        }
    }
}

#[test]
fn a_condition_adds_to_a_wall_and_opens_none() {
    let rules = [refuse_if(
        "socket",
        0,
        ArgumentTest::Equals(Cow::Borrowed(&[2])),
    )];
    let custom = profile(BaseProfile::Default, &rules);
    let stream = number(libc::SOCK_STREAM);
    for (family, expected) in [
        (libc::AF_INET, EPERM),
        (libc::AF_INET6, ALLOW),
        (libc::AF_VSOCK, EAFNOSUPPORT),
    ] {
        let arguments = [number(family), stream, 0];
        let found = answer_of((&custom, COMMITTED), libc::SYS_socket, &arguments);
        assert_eq!(found, expected, "{family}");
    }
}

#[test]
fn no_profile_opens_a_wall() {
    let mut count = 0;
    for (name, _, reason) in syscall_walls() {
        let refused = SeccompProfile::refine("test", BaseProfile::Walls, &[allow(name)]);
        let error = refused.unwrap_err();
        assert_eq!(error.rule(), Some(0));
        assert!(error.to_string().contains(reason), "{error}");
        count += 1;
    }
    assert!(count > 50, "{count}");
}

#[test]
fn what_is_wrong_is_named() {
    let many: Vec<_> = super::calls::CALLS
        .iter()
        .map(|(name, ..)| (*name, super::calls::number_of(name)))
        .filter(|(_, number)| number.is_some_and(|it| it % 2 == 0))
        .map(|(name, _)| refuse(name))
        .filter(|rule| !["execve", "exit", "exit_group", "rt_sigreturn"].contains(&&*rule.call))
        .collect();
    for (rules, expected) in [
        (
            vec![refuse("ptarce")],
            "there is no system call `ptarce`; did you mean `ptrace`?",
        ),
        (vec![refuse("x")], "there is no system call `x`"),
        (
            vec![refuse("tee"), allow("tee")],
            "`tee` has two rules that contradict each other",
        ),
        (
            vec![refuse("tee"), refuse("tee")],
            "`tee` has two rules that say the same",
        ),
        (
            vec![refuse("execve")],
            "`execve` cannot be refused: no command could start and end without it",
        ),
        (
            vec![refuse_if("ioctl", 2, ArgumentTest::AnyBit(1))],
            "argument 2 of `ioctl` cannot be compared; 0, 1 can",
        ),
        (
            vec![refuse_if("stat", 0, ArgumentTest::AnyBit(1))],
            "argument 0 of `stat` cannot be compared; no argument of it can",
        ),
        (
            vec![refuse_if("ioctl", 1, ArgumentTest::AnyBit(1 << 32))],
            "argument 1 of `ioctl` has 32 bits for the kernel, and 0x100000000 has more",
        ),
        (
            vec![refuse_if(
                "ioctl",
                1,
                ArgumentTest::Unless(Cow::Borrowed(&[])),
            )],
            "the condition on `ioctl` names no value",
        ),
        (
            many,
            "the profile makes a filter that is longer than 250 instructions; drop rules",
        ),
    ] {
        let error = SeccompProfile::refine("test", BaseProfile::Default, &rules);
        let error: ProfileError = error.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
