//! Turns intervals of system call numbers into a BPF program.
//!
//! ```text
//! foreign architecture? ── yes ─> kill
//! binary search over the number ─┬─> return …              (allow, EPERM, ENOSYS, kill)
//!                                └─> look at an argument ──> return …
//! ```
//!
//! All arguments that the walls look at are `int`, `unsigned int` or cut to 32 bits by the kernel
//! (`clone` uses the lower half of its flags, `ioctl` that of its request). Comparing all 64 bits
//! would let `TIOCSTI | 1 << 32` through, so only the lower half is loaded. Pointers are looked at whole, and only
//! whether they are null. What a profile looks at has the width of `arguments.rs`.

use super::{
    Instruction, Pids, Refusal,
    arguments::Width,
    refine::{ArgumentTest, Condition, RefusedWith},
    rules::Answer,
};

/// Numbers from `start` up to the next interval's start have one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    /// The first number.
    pub(super) start: u32,
    /// What becomes of them.
    pub(super) answer: Answer,
}

/// What a profile asks about the arguments of one call, and what holds if it refuses nothing.
#[derive(Debug)]
pub(super) struct Check<'a> {
    pub(super) refusals: Vec<&'a Refusal>,
    pub(super) otherwise: Answer,
}

/// `BPF_LD | BPF_W | BPF_ABS`: load a word of the call's description.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub(super) const IF_GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(super) const IF_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`.
pub(super) const IF_ANY_BIT: u16 = 0x45;
/// `BPF_RET | BPF_K`.
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// `AUDIT_ARCH_*`: ELF machine, 64 bits, little endian.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: u32 = 0xC000_00B7;

/// All `CLONE_NEW*` flags of `clone`; the bit of `CLONE_NEWTIME` is part of its exit signal instead.
const NEW_NAMESPACE: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .cast_unsigned();

/// Types into a terminal; pastes into a console, and more; loads a line discipline into the kernel.
const TERMINAL_REQUESTS: [u32; 3] = [0x5412, 0x541C, 0x5423];

/// Set-user-id and set-group-id.
const SET_IDS: u32 = 0o6000;

/// What makes `open` look at its mode; elsewhere the argument may hold anything. (`O_TMPFILE` holds `O_DIRECTORY`.)
const CREATES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)).cast_unsigned();

/// The bits of a socket's type that are the type.
const SOCKET_TYPE_MASK: u32 = 0xF;

/// Where a jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The following instruction.
    Next,
    /// A part that all branches share.
    Part(Answer),
    /// A known index.
    At(usize),
}

/// A program whose jumps are not resolved yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    instructions: Vec<(u16, u32, Place, Place)>,
    parts: Vec<(Answer, usize)>,
}

/// Returns the program that answers by `intervals`, the first of which starts at 0. The number of
/// [`Answer::CheckProfile`] is an index of `checks`.
pub(super) fn program(intervals: &[Interval], checks: &[Check<'_>], pids: Pids) -> Draft {
    let kill = Place::Part(Answer::KillProcess);
    let mut draft = Draft::default();
    draft.push(LOAD, ARCHITECTURE, Place::Next, Place::Next);
    draft.push(IF_EQUAL, NATIVE, Place::Next, kill);
    draft.push(LOAD, NUMBER, Place::Next, Place::Next);
    let _root = draft.search(intervals);
    for (index, check) in (0_u8..).zip(checks) {
        draft.part(Answer::CheckProfile(index));
        draft.ask(check);
    }
    let is_needed = |answer| {
        intervals.iter().any(|interval| interval.answer == answer)
            || checks.iter().any(|check| check.otherwise == answer)
    };
    draft.clone_flags();
    if is_needed(Answer::CheckSocket) {
        draft.socket();
    }
    draft.socket_pair();
    draft.ioctl();
    draft.other_processes(pids);
    draft.modes(is_needed);
    draft.answers(is_needed(Answer::Told));
    draft
}

impl Draft {
    fn push(&mut self, code: u16, operand: u32, yes: Place, no: Place) -> usize {
        self.instructions.push((code, operand, yes, no));
        self.instructions.len() - 1
    }

    /// Starts the part that answers `answer`.
    fn part(&mut self, answer: Answer) {
        self.parts.push((answer, self.instructions.len()));
    }

    fn load_argument(&mut self, index: u32) {
        self.push(LOAD, 16 + 8 * index, Place::Next, Place::Next);
    }

    fn load_upper_half(&mut self, index: u32) {
        self.push(LOAD, 20 + 8 * index, Place::Next, Place::Next);
    }

    /// Adds a balanced search among `intervals` and returns where it starts.
    fn search(&mut self, intervals: &[Interval]) -> Place {
        if let [only] = intervals {
            return Place::Part(only.answer);
        }
        let (lower, upper) = intervals.split_at(intervals.len() / 2);
        let node = self.push(IF_AT_LEAST, upper[0].start, Place::Next, Place::Next);
        let no = self.search(lower);
        let yes = self.search(upper);
        self.instructions[node].2 = yes;
        self.instructions[node].3 = no;
        Place::At(node)
    }

    fn clone_flags(&mut self) {
        self.part(Answer::CheckCloneFlags);
        self.load_argument(0);
        self.push(IF_ANY_BIT, NEW_NAMESPACE, REFUSED, ALLOWED);
    }

    /// `AF_VSOCK` reaches the hypervisor from inside an empty network namespace, others load modules.
    fn socket(&mut self) {
        self.part(Answer::CheckSocket);
        self.load_argument(0);
        self.push(IF_EQUAL, word(libc::AF_UNIX), ALLOWED, Place::Next);
        let by_family = self.instructions.len();
        self.push(IF_EQUAL, word(libc::AF_INET), Place::Next, Place::Next);
        self.push(IF_EQUAL, word(libc::AF_INET6), Place::Next, Place::Next);
        self.push(IF_EQUAL, word(libc::AF_NETLINK), Place::Next, NO_FAMILY);

        self.load_argument(2);
        self.push(IF_EQUAL, word(libc::NETLINK_ROUTE), ALLOWED, NO_FAMILY);

        let internet = Place::At(self.instructions.len());
        self.instructions[by_family].2 = internet;
        self.instructions[by_family + 1].2 = internet;
        self.load_argument(1);
        self.push(AND, SOCKET_TYPE_MASK, Place::Next, Place::Next);
        self.push(IF_EQUAL, word(libc::SOCK_RAW), REFUSED, Place::Next);
        // TCP, UDP and ICMP; SCTP, DCCP, L2TP, SMC and MPTCP are modules that a guest could load.
        self.load_argument(2);
        self.push(IF_EQUAL, word(libc::IPPROTO_ICMPV6), ALLOWED, Place::Next);
        self.push(IF_GREATER, word(libc::IPPROTO_UDP), NO_FAMILY, ALLOWED);
    }

    fn socket_pair(&mut self) {
        self.part(Answer::CheckSocketPair);
        self.load_argument(0);
        self.push(IF_EQUAL, word(libc::AF_UNIX), ALLOWED, NO_FAMILY);
    }

    fn ioctl(&mut self) {
        self.part(Answer::CheckIoctl);
        self.load_argument(1);
        for request in TERMINAL_REQUESTS {
            self.push(IF_EQUAL, request, REFUSED, Place::Next);
        }
        self.push(RETURN, libc::SECCOMP_RET_ALLOW, Place::Next, Place::Next);
    }

    /// What is done to a process by its id, or to all of a user.
    fn other_processes(&mut self, pids: Pids) {
        self.part(Answer::CheckLimitsOf);
        self.load_argument(0);
        self.push(IF_EQUAL, 0, ALLOWED, Place::Next);
        // Asking for the limits of another one changes nothing.
        self.load_argument(2);
        self.push(IF_EQUAL, 0, Place::Next, REFUSED);
        self.load_upper_half(2);
        self.push(IF_EQUAL, 0, ALLOWED, REFUSED);

        // `PRIO_PROCESS` is 0 and `PRIO_PGRP` 1, `IOPRIO_WHO_PROCESS` is 1; users are beyond both.
        self.part(Answer::CheckWho);
        self.load_argument(0);
        self.push(IF_GREATER, 1, REFUSED, Place::Next);
        self.load_argument(1);
        self.own_process(pids);

        self.part(Answer::CheckProcess);
        self.load_argument(0);
        self.own_process(pids);
    }

    /// In a pid namespace, all but its first process are the guest's: a program may set the priority of a thread that
    /// it has started. Without one, only 0 is surely the caller itself.
    fn own_process(&mut self, pids: Pids) {
        match pids {
            Pids::Own => self.push(IF_EQUAL, 1, REFUSED, ALLOWED),
            Pids::Hosts => self.push(IF_EQUAL, 0, ALLOWED, REFUSED),
        };
    }

    /// The modes and times of new and changed files, as far as they are asked for.
    fn modes(&mut self, is_needed: impl Fn(Answer) -> bool) {
        for (answer, flags, mode) in [
            (Answer::CheckSecondMode, None, 1),
            (Answer::CheckThirdMode, None, 2),
            (Answer::CheckOpenMode, Some(1), 2),
            (Answer::CheckOpenAtMode, Some(2), 3),
        ] {
            if !is_needed(answer) {
                continue;
            }
            self.part(answer);
            if let Some(flags) = flags {
                self.load_argument(flags);
                self.push(IF_ANY_BIT, CREATES, Place::Next, ALLOWED);
            }
            self.load_argument(mode);
            self.push(IF_ANY_BIT, SET_IDS, REFUSED, ALLOWED);
        }
        if is_needed(Answer::CheckTimes) {
            self.part(Answer::CheckTimes);
            // Without a path, the descriptor is meant.
            self.load_argument(1);
            self.push(IF_EQUAL, 0, Place::Next, REFUSED);
            self.load_upper_half(1);
            self.push(IF_EQUAL, 0, ALLOWED, REFUSED);
        }
    }

    /// Adds the questions of a profile, one after the other.
    fn ask(&mut self, check: &Check<'_>) {
        let conditions = check.refusals.iter().filter_map(|refusal| {
            let (width, condition) = refusal.when.as_ref()?;
            Some((refusal.with, *width, condition))
        });
        let conditions: Vec<_> = conditions.collect();
        for (index, (with, width, condition)) in conditions.iter().enumerate() {
            let is_last = index + 1 == conditions.len();
            let out = is_last.then_some(Place::Part(check.otherwise));
            self.condition(*width, condition, Place::Part(answer_of(*with)), out);
        }
    }

    /// Adds one question: on to `refuse`, or to `out`, which is behind it if nothing else is said.
    fn condition(
        &mut self,
        width: Width,
        condition: &Condition,
        refuse: Place,
        out: Option<Place>,
    ) {
        let each = match width {
            Width::Half => 1,
            Width::Whole => 4,
        };
        let (values, hit): (&[u64], _) = match &condition.test {
            ArgumentTest::Equals(values) => (values, Some(refuse)),
            ArgumentTest::Unless(values) => (values, None),
            ArgumentTest::AnyBit(mask) => {
                return self.any_bit(width, condition.argument, *mask, (refuse, out));
            }
        };
        let start = self.instructions.len();
        let length = each * values.len() + usize::from(width == Width::Half);
        let out = out.unwrap_or(Place::At(start + length));
        let (hit, miss) = hit.map_or((out, refuse), |refuse| (refuse, out));
        let argument = u32::from(condition.argument);
        if width == Width::Half {
            self.load_argument(argument);
        }
        for (index, value) in values.iter().enumerate() {
            let next = if index + 1 == values.len() {
                miss
            } else {
                Place::At(start + length - each * (values.len() - index - 1))
            };
            if width == Width::Whole {
                self.load_upper_half(argument);
                self.push(IF_EQUAL, upper(*value), Place::Next, next);
                self.load_argument(argument);
            }
            self.push(IF_EQUAL, lower(*value), hit, next);
        }
    }

    fn any_bit(
        &mut self,
        width: Width,
        argument: u8,
        mask: u64,
        (refuse, out): (Place, Option<Place>),
    ) {
        let argument = u32::from(argument);
        if width == Width::Whole {
            self.load_upper_half(argument);
            self.push(IF_ANY_BIT, upper(mask), refuse, Place::Next);
        }
        self.load_argument(argument);
        self.push(IF_ANY_BIT, lower(mask), refuse, out.unwrap_or(Place::Next));
    }

    fn answers(&mut self, tells: bool) {
        for (answer, value) in [
            (Answer::Allow, libc::SECCOMP_RET_ALLOW),
            (Answer::NotPermitted, errno(libc::EPERM)),
            (Answer::NoSuchCall, errno(libc::ENOSYS)),
            (Answer::NoSuchFamily, errno(libc::EAFNOSUPPORT)),
            (Answer::KillProcess, libc::SECCOMP_RET_KILL_PROCESS),
        ] {
            self.part(answer);
            self.push(RETURN, value, Place::Next, Place::Next);
        }
        if tells {
            self.part(Answer::Told);
            let asked = libc::SECCOMP_RET_USER_NOTIF;
            self.push(RETURN, asked, Place::Next, Place::Next);
        }
    }

    /// Returns how many instructions it has.
    pub(super) fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Returns the program. It has less than 256 instructions.
    pub(super) fn resolve(self) -> Vec<Instruction> {
        let offset = |from: usize, place: Place| {
            let target = match place {
                Place::Next => from + 1,
                Place::At(index) => index,
                Place::Part(answer) => {
                    let part = self.parts.iter().find(|(of, _)| *of == answer);
                    part.expect("every answer has its part").1
                }
            };
            u8::try_from(target - from - 1).expect("jumps are forward and the program is short")
        };
        let resolved = self.instructions.iter().enumerate();
        resolved
            .map(|(index, &(code, k, yes, no))| Instruction {
                code,
                jt: offset(index, yes),
                jf: offset(index, no),
                k,
            })
            .collect()
    }
}

const ALLOWED: Place = Place::Part(Answer::Allow);
const REFUSED: Place = Place::Part(Answer::NotPermitted);
const NO_FAMILY: Place = Place::Part(Answer::NoSuchFamily);

pub(super) fn answer_of(with: RefusedWith) -> Answer {
    match with {
        RefusedWith::NotPermitted => Answer::NotPermitted,
        RefusedWith::NoSuchCall => Answer::NoSuchCall,
        RefusedWith::NoSuchFamily => Answer::NoSuchFamily,
    }
}

/// The halves of an argument, as a filter can load them.
const fn lower(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const fn upper(value: u64) -> u32 {
    let [.., a, b, c, d] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Returns what makes a call fail with `number`.
pub(super) const fn errno(number: libc::c_int) -> u32 {
    libc::SECCOMP_RET_ERRNO | word(number)
}

/// Returns a small constant of libc as the operand that it is here.
const fn word(constant: libc::c_int) -> u32 {
    constant.cast_unsigned()
}
