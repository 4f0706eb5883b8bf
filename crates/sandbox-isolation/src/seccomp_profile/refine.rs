//! What a custom profile may say, and what is wrong with one.

use std::{borrow::Cow, fmt};

use super::{
    INSTRUCTIONS_MAX, Mode, Refusal, SeccompProfile,
    arguments::{self, Width},
    calls, levels,
    rules::{self, WALLS, Wall},
};

/// What a profile starts from, the loosest first. Each refuses what the one before it refuses, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseProfile {
    /// The walls alone: what no profile can allow.
    Walls,
    /// Debuggers and tracers of the guest's own processes work too.
    Permissive,
    /// Building tools, test suites, servers and version control work.
    Default,
    /// Shells, small tools and interpreters work; no network, no shared objects, no files without a name.
    Strict,
}

impl BaseProfile {
    /// All of them with their names, the loosest first.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("walls", Self::Walls),
        ("permissive", Self::Permissive),
        ("default", Self::Default),
        ("strict", Self::Strict),
    ];

    /// Returns the profile of that name.
    pub fn named(name: &str) -> Option<Self> {
        let named = Self::NAMED.iter().find(|(known, _)| *known == name);
        named.map(|(_, profile)| *profile)
    }

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Walls => "walls",
            Self::Permissive => "permissive",
            Self::Default => "default",
            Self::Strict => "strict",
        }
    }
}

/// How a refused call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedWith {
    /// `EPERM`: you may not.
    NotPermitted,
    /// `ENOSYS`: this kernel has no such call. Libraries often know another way then.
    NoSuchCall,
    /// `EAFNOSUPPORT`: no such family of sockets.
    NoSuchFamily,
}

impl RefusedWith {
    /// All of them with their names.
    pub const NAMED: [(&'static str, Self); 3] = [
        ("EPERM", Self::NotPermitted),
        ("ENOSYS", Self::NoSuchCall),
        ("EAFNOSUPPORT", Self::NoSuchFamily),
    ];
}

/// One rule of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallRule {
    /// The call's name, as in the manual.
    pub call: String,
    /// What becomes of it.
    pub effect: SyscallEffect,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyscallEffect {
    /// It is allowed, although the base refuses it.
    Allow,
    /// It fails, always or under a condition.
    Refuse(RefusedWith, Option<Condition>),
}

/// When a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument is looked at, counted from 0.
    pub argument: u8,
    /// What it is compared with.
    pub test: ArgumentTest,
}

/// What an argument is compared with: as many bits of it as the kernel itself looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentTest {
    /// Refused if it is one of these.
    Equals(Cow<'static, [u64]>),
    /// Refused unless it is one of these.
    Unless(Cow<'static, [u64]>),
    /// Refused if it has any of these bits.
    AnyBit(u64),
}

/// A profile that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// No architecture has such a call.
    #[error("there is no system call `{call}`{}", did_you_mean(*nearest))]
    UnknownCall {
        /// Which rule, counted from 0.
        rule: usize,
        /// The name.
        call: String,
        /// The name that was probably meant.
        nearest: Option<&'static str>,
    },
    /// It is a wall.
    #[error("`{call}` cannot be allowed further than it is: {reason}")]
    Wall {
        /// Which rule, counted from 0.
        rule: usize,
        /// The name.
        call: String,
        /// Why.
        reason: &'static str,
    },
    /// Two rules say different things, or the same.
    #[error("`{call}` has two rules that {what}")]
    Contradiction {
        /// The second of them, counted from 0.
        rule: usize,
        /// The name.
        call: String,
        /// How they stand to each other.
        what: &'static str,
    },
    /// Without it, no command starts or ends.
    #[error("`{call}` cannot be refused: no command could start and end without it")]
    Needed {
        /// Which rule, counted from 0.
        rule: usize,
        /// The name.
        call: String,
    },
    /// The argument is a pointer, or does not exist.
    #[error(
        "argument {argument} of `{call}` cannot be compared{}",
        those_that_can(comparable)
    )]
    Argument {
        /// Which rule, counted from 0.
        rule: usize,
        /// The name.
        call: String,
        /// Which argument.
        argument: u8,
        /// Which ones can.
        comparable: Vec<u8>,
    },
    /// The value has more bits than the kernel looks at.
    #[error("argument {argument} of `{call}` has 32 bits for the kernel, and {value:#x} has more")]
    TooWide {
        /// Which rule, counted from 0.
        rule: usize,
        /// The name.
        call: String,
        /// Which argument.
        argument: u8,
        /// The value.
        value: u64,
    },
    /// A condition without anything to compare with.
    #[error("the condition on `{call}` names no value")]
    NoValue {
        /// Which rule, counted from 0.
        rule: usize,
        /// The name.
        call: String,
    },
    /// Installing the filter costs time for each instruction, and jumps are short.
    #[error(
        "the profile makes a filter that is longer than {INSTRUCTIONS_MAX} instructions; drop rules"
    )]
    TooLong,
}

impl ProfileError {
    /// Returns which rule is wrong, counted from 0; [`None`] if it is all of them together.
    pub fn rule(&self) -> Option<usize> {
        match self {
            Self::UnknownCall { rule, .. }
            | Self::Wall { rule, .. }
            | Self::Contradiction { rule, .. }
            | Self::Needed { rule, .. }
            | Self::Argument { rule, .. }
            | Self::TooWide { rule, .. }
            | Self::NoValue { rule, .. } => Some(*rule),
            Self::TooLong => None,
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn those_that_can(comparable: &[u8]) -> impl fmt::Display {
    let numbers: Vec<String> = comparable.iter().map(ToString::to_string).collect();
    if numbers.is_empty() {
        "; no argument of it can".to_owned()
    } else {
        format!("; {} can", numbers.join(", "))
    }
}

/// Every command makes these.
const NEEDED: [&str; 4] = ["execve", "exit", "exit_group", "rt_sigreturn"];

impl SeccompProfile {
    /// Returns a profile that refuses what `base` refuses, changed by `rules`. Calls that only other architectures
    /// have are left out.
    ///
    /// # Errors
    ///
    /// Fails when a rule names no system call, would open a wall, contradicts another one, or looks at an argument
    /// that cannot be compared, and when the filter gets too long.
    pub fn refine(
        name: impl Into<Cow<'static, str>>,
        base: BaseProfile,
        rules: &[SyscallRule],
    ) -> Result<Self, ProfileError> {
        let mut refusals = levels::refusals(base);
        for (index, rule) in rules.iter().enumerate() {
            let number = check(index, rule, rules.get(..index).unwrap_or_default())?;
            let Some(number) = number else { continue };
            match &rule.effect {
                SyscallEffect::Allow => refusals.retain(|it| it.number != number),
                SyscallEffect::Refuse(with, when) => {
                    let refused = |it: &Refusal| it.number == number && it.when.is_none();
                    if !refusals.iter().any(refused) {
                        refusals.push(Refusal {
                            number,
                            with: *with,
                            when: when.clone().and_then(|it| {
                                Some((arguments::width_of(&rule.call, it.argument)?, it))
                            }),
                        });
                    }
                }
            }
        }
        let profile = Self {
            name: name.into(),
            refusals,
            without_set_ids: base == BaseProfile::Strict,
        };
        if profile.instructions() > INSTRUCTIONS_MAX {
            return Err(ProfileError::TooLong);
        }
        Ok(profile)
    }

    /// Returns how many instructions the longest filter of this profile has: the one for guests that write to the
    /// host directly and have no namespaces. Installing one costs about 1.9 µs each.
    pub fn instructions(&self) -> usize {
        let modes = [Mode::LONGEST, Mode::LONGEST_WITH_SOCKETS];
        let lengths = modes.map(|mode| self.draft(mode).len());
        lengths.into_iter().max().unwrap_or(0)
    }
}

/// Returns the call's number if this architecture has it.
fn check(
    index: usize,
    rule: &SyscallRule,
    before: &[SyscallRule],
) -> Result<Option<u32>, ProfileError> {
    let call = rule.call.clone();
    let Some((name, number)) = calls::find(&call) else {
        let known = calls::CALLS.iter().map(|(name, ..)| *name);
        let nearest = sandbox_types::nearest(&call, known);
        return Err(ProfileError::UnknownCall {
            rule: index,
            call,
            nearest,
        });
    };
    if let Some(what) = before.iter().find_map(|other| conflict(other, rule)) {
        return Err(ProfileError::Contradiction {
            rule: index,
            call,
            what,
        });
    }
    match &rule.effect {
        SyscallEffect::Allow => match wall_of(name) {
            Some(wall) => Err(ProfileError::Wall {
                rule: index,
                call,
                reason: wall.reason,
            }),
            None => Ok(number),
        },
        SyscallEffect::Refuse(_, None) if NEEDED.contains(&name) => {
            Err(ProfileError::Needed { rule: index, call })
        }
        SyscallEffect::Refuse(_, None) => Ok(number),
        SyscallEffect::Refuse(_, Some(condition)) => {
            check_condition(index, name, condition)?;
            Ok(number)
        }
    }
}

fn wall_of(name: &str) -> Option<&'static Wall> {
    let has = |wall: &&Wall| wall.calls.iter().any(|(call, _)| *call == name);
    WALLS.iter().find(has)
}

fn conflict(one: &SyscallRule, other: &SyscallRule) -> Option<&'static str> {
    if one.call != other.call {
        return None;
    }
    match (&one.effect, &other.effect) {
        (SyscallEffect::Refuse(_, Some(one)), SyscallEffect::Refuse(_, Some(other))) => {
            (one == other).then_some("say the same")
        }
        (SyscallEffect::Allow, SyscallEffect::Allow)
        | (SyscallEffect::Refuse(..), SyscallEffect::Refuse(..)) => Some("say the same"),
        (SyscallEffect::Allow, SyscallEffect::Refuse(_, None))
        | (SyscallEffect::Refuse(_, None), SyscallEffect::Allow) => Some("contradict each other"),
        // Allowed, but not with these arguments.
        (SyscallEffect::Allow, SyscallEffect::Refuse(_, Some(_))) => None,
        (SyscallEffect::Refuse(_, Some(_)), SyscallEffect::Allow) => {
            Some("contradict each other: write what is allowed first")
        }
    }
}

fn check_condition(rule: usize, call: &str, condition: &Condition) -> Result<(), ProfileError> {
    let argument = condition.argument;
    let Some(width) = arguments::width_of(call, argument) else {
        return Err(ProfileError::Argument {
            rule,
            call: call.to_owned(),
            argument,
            comparable: arguments::comparable(call),
        });
    };
    let bits;
    let values = match &condition.test {
        ArgumentTest::Equals(values) | ArgumentTest::Unless(values) => values.as_ref(),
        ArgumentTest::AnyBit(mask) => {
            bits = [*mask];
            if *mask == 0 { &[] } else { bits.as_slice() }
        }
    };
    if values.is_empty() {
        let call = call.to_owned();
        return Err(ProfileError::NoValue { rule, call });
    }
    let too_wide = |value: &&u64| width == Width::Half && u32::try_from(**value).is_err();
    match values.iter().find(too_wide) {
        Some(value) => Err(ProfileError::TooWide {
            rule,
            call: call.to_owned(),
            argument,
            value: *value,
        }),
        None => Ok(()),
    }
}

/// Returns what no profile can allow: each call, how it is refused, and why.
pub fn syscall_walls() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    WALLS.iter().flat_map(|wall| {
        let how = if wall.answer == rules::Answer::NotPermitted {
            "fails with `EPERM`"
        } else if wall.answer == rules::Answer::NoSuchCall {
            "fails with `ENOSYS`"
        } else {
            "some arguments are refused"
        };
        wall.calls
            .iter()
            .map(move |(name, _)| (*name, how, wall.reason))
    })
}
