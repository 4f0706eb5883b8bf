//! Compiles the system call filter: what a guest may ask of the kernel, as one short BPF program.
//!
//! The filter is one wall of several. It takes attack surface away (calls that no build or test
//! needs), and it closes what namespaces and Landlock leave open: terminal injection, foreign system
//! call tables, socket families that ignore network namespaces. What a guest may do to *files* is
//! decided elsewhere.
//!
//! Installing costs about 1.9 µs per instruction, so the table of rules becomes a binary search over
//! intervals of equal answer instead of a list of comparisons. See seccomp(2), and
//! `Documentation/userspace-api/seccomp_filter.rst` of the kernel for the pitfalls observed here.

mod assemble;
mod connect;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use connect::asking_about_connect;

/// Which filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Building tools, test suites, servers and version control work; debuggers and containers do not.
    Default,
    /// The same, and no file with a set-user-id or set-group-id bit: for guests that write to the host directly.
    WithoutSetIds,
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

/// Returns the program of `profile` for this machine's architecture.
///
/// Install it as the last step before `execve`: it refuses what setting up a guest needs.
pub(crate) fn compile(profile: Profile) -> Vec<Instruction> {
    assemble::program(&rules::intervals(profile))
}

/// Returns the name of the system call `number` if the filter refuses it or looks at its arguments.
#[cfg_attr(not(test), expect(dead_code, reason = "refusals are not observed yet"))]
pub(crate) fn name_of(number: i64) -> Option<&'static str> {
    rules::of(Profile::WithoutSetIds)
        .find(|rule| rule.number == number)
        .map(rules::Rule::name)
}
