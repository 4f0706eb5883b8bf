//! What every verdict must be, whatever was judged.

use std::alloc::System;

use cap::Cap;
use sandbox_safety::{Policy, Profile, SafetyValidator, Surroundings};
use sandbox_types::Verdict;

/// What one input may take; who asks for more is ended, which is the finding.
const INPUT_MEMORY_BYTES: usize = 64 << 20;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Does `work` within [`INPUT_MEMORY_BYTES`].
pub fn bounded(work: impl FnOnce()) {
    MEMORY
        .set_limit(MEMORY.allocated() + INPUT_MEMORY_BYTES)
        .expect("it is more than what is taken");
    work();
    MEMORY.set_limit(usize::MAX).expect("it is the most");
}

/// The most bytes of a verdict for each byte that was judged, and what it may have besides.
const VERDICT_BYTES: (usize, usize) = (256, 1 << 20);

/// Returns a judge of the default profile and surroundings in which rules about places can hold.
pub fn judge() -> (SafetyValidator, Surroundings) {
    let mut surroundings = Surroundings::unconfined();
    surroundings.workspace = Some("/home/user/project".to_owned());
    surroundings.home = Some("/home/user".to_owned());
    (
        SafetyValidator::new(Policy::of(Profile::Default)),
        surroundings,
    )
}

/// Checks that two verdicts on the same thing are equal, point into it, and are no larger than it
/// explains.
///
/// # Panics
///
/// When they are not: that is the finding.
pub fn check(first: &Verdict, second: &Verdict, judged_bytes: usize) {
    assert_eq!(first, second, "two judgements differ");
    assert!(first.risk.score <= 100 && first.residual_risk.score <= first.risk.score);
    for finding in &first.findings {
        let (from, to) = finding.span;
        assert!(
            from <= to && to <= judged_bytes,
            "{}: {from}..{to} is not in {judged_bytes} bytes",
            finding.rule
        );
    }
    let words = first.commands.iter().flat_map(|it| &it.argv);
    let findings = first.findings.iter();
    let bytes: usize = words.map(String::len).sum::<usize>()
        + findings
            .map(|it| it.evidence.len() + it.message.len())
            .sum::<usize>();
    let (each, besides) = VERDICT_BYTES;
    assert!(
        bytes <= judged_bytes * each + besides,
        "a verdict of {bytes} bytes on {judged_bytes}"
    );
}
