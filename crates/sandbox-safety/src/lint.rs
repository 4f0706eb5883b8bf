//! Characters that make text look like another one, and text that cannot be read.

use sandbox_types::Effect::{Availability, ExecutesUnknown};

use crate::{
    risk::{CRITICAL, HIGH, Held, MEDIUM},
    rules::{Rule, When},
    shell::{SimpleCommand, Span, read::Problem},
};

/// These are found by [`characters`], [`names`] and [`of_problem`], not by looking at one command.
pub(crate) static RULES: &[Rule] = &[
    Rule {
        id: "shell.unparsed",
        score: MEDIUM,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Looks(&[]),
        message: "is not shell text that can be read",
        suggestion: "write it in a plainer form",
        matches: &[
            "echo 'open",
            "if true; then",
            "echo $(ls",
            "bash -c 'echo \"'",
        ],
        spares: &[
            "echo 'closed'",
            "cat <<'EOF'\nit's $(fine\nEOF",
            "git commit -m \"$(cat <<'EOF'\nit's ) fine\nEOF\n)\"",
        ],
    },
    Rule {
        id: "shell.too-deep",
        score: MEDIUM,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Looks(&[]),
        message: "nests deeper than is read",
        suggestion: "write it in a plainer form",
        matches: &[],
        spares: &["echo $(echo $(echo hi))"],
    },
    Rule {
        id: "shell.too-large",
        score: MEDIUM,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Looks(&[]),
        message: "is larger than is read",
        suggestion: "put it into a file",
        matches: &[],
        spares: &["ls"],
    },
    Rule {
        id: "process.fork-bomb",
        score: CRITICAL,
        effects: &[Availability],
        held: Held::View,
        when: When::Looks(&[]),
        message: "starts itself over and over until nothing else can run",
        suggestion: "do not",
        matches: &[
            ":(){ :|:& };:",
            "f() { f | f & }; f",
            "bomb() { bomb & bomb & }; bomb",
        ],
        spares: &["f() { f 1; }", "fact() { echo $(fact 1); }"],
    },
    Rule {
        id: "text.hidden",
        score: HIGH,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Looks(&[]),
        message: "has characters that hide or reorder what is shown",
        suggestion: "remove them",
        matches: &[
            "echo a\u{202e}b",
            "rm\u{200b} x",
            "echo \u{1b}[2Kx",
            "ls \0 x",
            "echo a\rrm x",
        ],
        spares: &["echo 'grüße 👩‍💻'", "printf '\\033[1m'", "echo a\r\n"],
    },
    Rule {
        id: "text.lookalike",
        score: HIGH,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Looks(&[]),
        message: "has a host or program name in letters that look like others",
        suggestion: "type the name",
        matches: &[
            "curl https://gith\u{443}b.com/x",
            "\u{441}url example.com",
            "wget http://xn--gthub-cta.com/x",
        ],
        spares: &[
            "echo привет",
            "curl https://github.com/x",
            "curl https://example.com/ü",
        ],
    },
];

fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// Returns the finding of a problem in reading.
pub(crate) fn of_problem(problem: Problem) -> Option<&'static Rule> {
    rule(match problem {
        Problem::Unparsed => "shell.unparsed",
        Problem::TooDeep => "shell.too-deep",
        Problem::TooLarge => "shell.too-large",
        Problem::ForkBomb => "process.fork-bomb",
    })
}

/// Finds the first character that hides or reorders text.
pub(crate) fn characters(text: &str) -> Option<(&'static Rule, Span)> {
    let plain = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n' | b'\t');
    if text.bytes().all(plain) {
        return None;
    }
    let hidden = text.char_indices().find(|(at, c)| match c {
        '\r' => !text[at + 1..].starts_with('\n') && at + 1 < text.len(),
        '\0'
        | '\u{1b}'
        | '\u{7}'
        | '\u{8}'
        | '\u{ad}'
        | '\u{feff}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2060}'..='\u{2064}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    });
    hidden.and_then(|(at, c)| Some((rule("text.hidden")?, (at, at + c.len_utf8()))))
}

/// Finds program names and hosts in letters of several scripts.
pub(crate) fn names(command: &SimpleCommand) -> Option<(&'static Rule, Span)> {
    let program = command.program();
    let mixed = |name: &str| name.chars().any(looks_latin);
    if !program.is_ascii() && mixed(program) {
        return Some((rule("text.lookalike")?, command.words.first()?.span));
    }
    let host = command.args().iter().find(|word| {
        let Some((_, rest)) = word.text.split_once("://") else {
            return false;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        mixed(authority)
            || authority
                .split(['.', '@'])
                .any(|label| label.starts_with("xn--"))
    });
    host.and_then(|word| Some((rule("text.lookalike")?, word.span)))
}

/// Letters of other scripts that look like Latin ones.
fn looks_latin(c: char) -> bool {
    matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' | '\u{13a0}'..='\u{13ff}' | '\u{ff01}'..='\u{ff5e}' | '\u{1d400}'..='\u{1d7ff}' | '\u{0131}' | '\u{0251}' | '\u{2024}' | '\u{2215}' | '\u{2044}' | '\u{3002}')
}
