//! Compiles the system call filter: what a guest may ask of the kernel, as one short BPF program.
//!
//! The filter is one wall of several. It takes attack surface away (calls that no build or test
//! needs), and it closes what namespaces and Landlock leave open: terminal injection, foreign system
//! call tables, socket families that ignore network namespaces. What a guest may do to *files* is
//! decided elsewhere.
//!
//! ```text
//! walls (rules.rs)  <  permissive  <  default  <  strict (levels.rs)      each refuses more
//!        └── a custom profile starts from one of them (refine.rs); it opens no wall
//! ```
//!
//! Installing costs about 1.9 µs per instruction, so the table of rules becomes a binary search over
//! intervals of equal answer instead of a list of comparisons. See seccomp(2), and
//! `Documentation/userspace-api/seccomp_filter.rst` of the kernel for the pitfalls observed here.

mod arguments;
mod assemble;
mod calls;
mod connect;
mod levels;
mod refine;
mod rules;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

use arguments::Width;
use assemble::{Check, Draft, Interval, RETURN, answer_of, errno};
pub(crate) use connect::asking_about_connect;
pub use refine::{
    ArgumentTest, BaseProfile, Condition, ProfileError, RefusedWith, SyscallEffect, SyscallRule,
    syscall_walls,
};
use rules::{
    Answer, COMMON_START, LANDLOCK_ALONE_RULES, LAST_KNOWN, NO_SOCKET_RULES, OWN_END, SET_ID_RULES,
    WALLS, Wall,
};
#[cfg(target_arch = "x86_64")]
use rules::{NO_NUMBER, X32_BIT};

/// The longest filter: jumps have 8 bits, and installing it takes half a millisecond.
pub(crate) const INSTRUCTIONS_MAX: usize = 250;

/// What a guest may ask of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeccompProfile {
    name: Cow<'static, str>,
    refusals: Vec<Refusal>,
    /// Whether no file may get a set-user-id or set-group-id bit, wherever it lands.
    without_set_ids: bool,
}

/// A call that a profile refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    number: u32,
    with: RefusedWith,
    when: Option<(Width, Condition)>,
}

impl SeccompProfile {
    /// Returns a built-in profile.
    pub fn built_in(base: BaseProfile) -> Self {
        Self {
            name: Cow::Borrowed(base.name()),
            refusals: levels::refusals(base),
            without_set_ids: base == BaseProfile::Strict,
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it refuses the same calls as `other`, whatever the two are called.
    pub fn refuses_as(&self, other: &Self) -> bool {
        self.refusals == other.refusals
    }
}

/// What a filter must know of the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Whether files land on the host as the guest makes them.
    pub(crate) writes_to_host: bool,
    pub(crate) walls: OtherWalls,
    /// Whether who waits for the guest hears of refused calls that no honest program makes.
    pub(crate) tells: bool,
}

/// What stands besides the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherWalls {
    /// Namespaces, and Landlock where the kernel has it.
    Namespaces,
    /// Landlock alone.
    Landlock {
        /// Whether the guest has the host's network. It has none otherwise.
        network: bool,
    },
}

/// Whose the process ids are that the guest can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pids {
    /// The guest's own, but for pid 1.
    Own,
    /// All of the host's.
    Hosts,
}

impl Mode {
    const LONGEST: Self = Self {
        writes_to_host: true,
        walls: OtherWalls::Landlock { network: false },
        tells: true,
    };
    const LONGEST_WITH_SOCKETS: Self = Self {
        writes_to_host: true,
        walls: OtherWalls::Landlock { network: true },
        tells: true,
    };

    fn pids(self) -> Pids {
        match self.walls {
            OtherWalls::Namespaces => Pids::Own,
            OtherWalls::Landlock { .. } => Pids::Hosts,
        }
    }
}

/// One BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// What to do.
    pub(crate) code: u16,
    /// How many instructions to skip if the comparison holds.
    pub(crate) jt: u8,
    /// How many instructions to skip if it does not.
    pub(crate) jf: u8,
    /// The operand.
    pub(crate) k: u32,
}

/// Returns the name of the system call `number`.
pub(crate) fn name_of_call(number: i32) -> Option<&'static str> {
    calls::name_of(u32::try_from(number).ok()?)
}

/// Lets what a filter tells be refused without a word: where the kernel allows nobody to listen.
pub(crate) fn keep_silent(filter: &mut [Instruction]) {
    for instruction in filter {
        if (instruction.code, instruction.k) == (RETURN, libc::SECCOMP_RET_USER_NOTIF) {
            instruction.k = errno(libc::EPERM);
        }
    }
}

/// Returns whether it tells of calls.
pub(crate) fn is_telling(filter: &[Instruction]) -> bool {
    let tells = |it: &Instruction| (it.code, it.k) == (RETURN, libc::SECCOMP_RET_USER_NOTIF);
    filter.iter().any(tells)
}

impl SeccompProfile {
    /// Returns its program for this machine's architecture.
    ///
    /// Install it as the last step before `execve`: it refuses what setting up a guest needs.
    pub(crate) fn compile(&self, mode: Mode) -> Vec<Instruction> {
        self.draft(mode).resolve()
    }

    fn draft(&self, mode: Mode) -> Draft {
        let (answers, checks) = self.answers(mode);
        assemble::program(&intervals(&answers), &checks, mode.pids())
    }

    /// Returns what becomes of each call that is not simply allowed, and what is asked about their arguments.
    fn answers(&self, mode: Mode) -> (BTreeMap<u32, Answer>, Vec<Check<'_>>) {
        let mut answers = walls(mode, self.without_set_ids);
        let (conditional, whole): (Vec<_>, Vec<_>) =
            self.refusals.iter().partition(|it| it.when.is_some());
        let mut checks: Vec<(u32, Check<'_>)> = Vec::new();
        for refusal in conditional {
            let number = refusal.number;
            if let Some((_, check)) = checks.iter_mut().find(|(it, _)| *it == number) {
                check.refusals.push(refusal);
                continue;
            }
            let otherwise = answers.get(&number).copied().unwrap_or(Answer::Allow);
            if is_refusal(otherwise) {
                continue;
            }
            let index = u8::try_from(checks.len()).unwrap_or(u8::MAX);
            answers.insert(number, Answer::CheckProfile(index));
            let refusals = vec![refusal];
            checks.push((
                number,
                Check {
                    refusals,
                    otherwise,
                },
            ));
        }
        for refusal in whole {
            let answer = answers.entry(refusal.number).or_insert(Answer::Allow);
            if !is_refusal(*answer) {
                *answer = answer_of(refusal.with);
            }
        }
        let checks = checks.into_iter().map(|(_, check)| check).collect();
        (answers, checks)
    }
}

fn walls(mode: Mode, without_set_ids: bool) -> BTreeMap<u32, Answer> {
    let set_ids = mode.writes_to_host || without_set_ids;
    let (alone, without_sockets) = match mode.walls {
        OtherWalls::Namespaces => (false, false),
        OtherWalls::Landlock { network } => (true, !network),
    };
    let tables: [(bool, &[Wall]); 4] = [
        (true, WALLS),
        (set_ids, SET_ID_RULES),
        (alone, LANDLOCK_ALONE_RULES),
        (without_sockets, NO_SOCKET_RULES),
    ];
    let walls = tables
        .into_iter()
        .filter_map(|(holds, walls)| holds.then_some(walls))
        .flatten();
    // What the first table refuses, whatever the arguments, needs rights that no guest has.
    let told = |wall: &Wall| {
        if mode.tells && wall.answer == Answer::NotPermitted {
            Answer::Told
        } else {
            wall.answer
        }
    };
    // A later table is stricter than an earlier one.
    walls
        .flat_map(|wall| {
            wall.calls
                .iter()
                .map(move |(_, number)| (*number, told(wall)))
        })
        .filter_map(|(number, answer)| Some((number?, answer)))
        .collect()
}

fn is_refusal(answer: Answer) -> bool {
    [
        Answer::NotPermitted,
        Answer::Told,
        Answer::NoSuchCall,
        Answer::NoSuchFamily,
        Answer::KillProcess,
    ]
    .contains(&answer)
}

/// Returns all numbers as intervals of equal answer, in order, the first starting at 0.
fn intervals(answers: &BTreeMap<u32, Answer>) -> Vec<Interval> {
    let mut starts = vec![0, OWN_END, COMMON_START, LAST_KNOWN + 1];
    #[cfg(target_arch = "x86_64")]
    starts.extend([X32_BIT, NO_NUMBER]);
    starts.extend(answers.keys().flat_map(|number| [*number, number + 1]));
    starts.sort_unstable();
    let mut intervals: Vec<Interval> = starts
        .into_iter()
        .map(|start| Interval {
            start,
            answer: answer_to(answers, start),
        })
        .collect();
    intervals.dedup_by_key(|interval| interval.answer);
    intervals
}

/// Returns what becomes of the call `number`.
fn answer_to(answers: &BTreeMap<u32, Answer>, number: u32) -> Answer {
    #[cfg(target_arch = "x86_64")]
    if number & X32_BIT != 0 && number != NO_NUMBER {
        return Answer::KillProcess;
    }
    if number > LAST_KNOWN || (OWN_END..COMMON_START).contains(&number) {
        return Answer::NoSuchCall;
    }
    answers.get(&number).copied().unwrap_or(Answer::Allow)
}
