//! Texts of a size that nobody writes: read to the end, or a finding; never a pass.

use sandbox_types::Decision;

use super::{SafetyValidator, Surroundings, judge};
use crate::{Policy, Profile};

/// One MiB of text is read; one byte more is not.
const TEXT_BYTES: usize = 1 << 20;

fn is_not_passed(text: &str) {
    let verdict = judge(text);
    let shown: String = text.chars().take(20).collect();
    assert_ne!(verdict.decision, Decision::Allow, "{shown}");
    assert!(!verdict.findings.is_empty(), "{shown}");
}

#[test]
fn what_stands_behind_a_megabyte_is_found_or_asked_about() {
    let tail = "; rm -rf /";
    for filler in ["x ", "'x' ", "a=b\n"] {
        let length = TEXT_BYTES - tail.len() - "echo ".len();
        let text = format!("echo {}{tail}", filler.repeat(length / filler.len()));
        assert!(text.len() <= TEXT_BYTES);
        is_not_passed(&text);
        is_not_passed(&format!("{text}{}", " ".repeat(TEXT_BYTES)));
    }
}

#[test]
fn thirty_thousand_commands_do_not_hide_one() {
    for separator in ["ls|", "ls;", "ls&&", "ls||", "ls&", "ls\n"] {
        let many = separator.repeat(30_000);
        is_not_passed(&format!("{many}rm -rf /"));
    }
    for separator in ["|", ";", "&", "("] {
        is_not_passed(&separator.repeat(30_000));
    }
}

#[test]
fn ten_thousand_levels_are_a_finding() {
    for (open, close) in [
        ("$(", ")"),
        ("`", "`"),
        ("\"$(", ")\""),
        ("<(", ")"),
        ("{ ", ";}"),
        ("(", ")"),
        ("${x:-", "}"),
        ("$((", "))"),
        ("eval \"", "\""),
    ] {
        let text = format!("{}rm -rf /{}", open.repeat(10_000), close.repeat(10_000));
        is_not_passed(&text);
        is_not_passed(&text[..text.len() - 1]);
    }
}

#[test]
fn as_many_arguments_are_read_too() {
    let validator = SafetyValidator::new(Policy::of(Profile::Default));
    let mut argv = vec!["rm".to_owned(), "-rf".to_owned()];
    argv.extend((0..10_000).map(|at| format!("f{at}")));
    argv.push("/".to_owned());
    let verdict = validator.judge_argv(&argv, &Surroundings::unconfined());
    assert_eq!(verdict.decision, Decision::Deny);
    let wrapped = vec!["sudo".to_owned(); 3_000];
    let verdict = validator.judge_argv(&wrapped, &Surroundings::unconfined());
    assert_ne!(verdict.decision, Decision::Allow);
}

#[test]
fn substitutions_that_yield_nothing_part_no_word() {
    for text in [
        "``rm -rf /",
        "$()rm -rf /",
        "r``m -rf /",
        "r$( )m -rf /",
        "$(:)rm -rf /$(true)",
        "rm -r``f /",
    ] {
        assert_eq!(judge(text).decision, Decision::Deny, "{text}");
    }
}

#[test]
fn a_number_that_is_no_descriptor_hides_nothing() {
    for number in [
        "2147483648",
        "99999999999999999999",
        "\\\n99999999999999999999",
    ] {
        for operator in [">x", "<x", ">&1", "<<<x", "<<x\nx\n"] {
            let text = format!("rm -rf / {number}{operator}");
            assert_eq!(judge(&text).decision, Decision::Deny, "{text}");
        }
    }
}

/// A joined line beside a keyword is a gap, and the keyword counts: the parser may not go so deep.
#[test]
fn openers_beside_joined_lines_are_counted() {
    for opener in ["{ \\\n", "{\\\n ", "\\\n{ ", "( \\\n", "if\\\n "] {
        is_not_passed(&opener.repeat(100_000));
    }
}

#[test]
fn what_passes_a_hundred_stages_is_read_at_the_end() {
    let padding = "# nothing to see in this line\n".repeat(20_000);
    let passed = "| cat ".repeat(100);
    let text = format!(
        "printf '%s\\n' 'rm -rf /\n{padding}' {passed}| while read -r l; do eval \"$l\"; done"
    );
    assert_eq!(judge(&text).decision, Decision::Deny);
    let harmless = text.replace("rm -rf /", "ls -l");
    assert_ne!(judge(&harmless).decision, Decision::Deny);
}
