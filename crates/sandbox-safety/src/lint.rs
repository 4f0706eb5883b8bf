//! Characters that make text look like another one, and text that cannot be read.

use sandbox_types::Effect::{Availability, ExecutesUnknown};

use crate::{
    risk::{CRITICAL, HIGH, Held, LOW, MEDIUM},
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
        message: "starts processes over and over until nothing else can run",
        suggestion: "do not",
        matches: &[
            ":(){ :|:& };:",
            "f() { f | f & }; f",
            "bomb() { bomb & bomb & }; bomb",
            "while :; do sleep 9 & done",
            "until false; do (yes > x) & echo on; done",
        ],
        spares: &[
            "f() { f 1; }",
            "fact() { echo $(fact 1); }",
            "while :; do build & wait; done",
            "while true; do poll & sleep 5; done",
            "while read -r x; do work \"$x\" & done",
            "for ((i = 0; i < 9; i++)); do work & done",
            "for x in a b; do work $x & done",
        ],
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
            "r\u{200d}m x",
            "echo \u{9b}2Kx",
            "echo a\u{2028}rm x",
            "l\u{3164}s x",
        ],
        spares: &["echo 'grüße 👩‍💻'", "printf '\\033[1m'", "echo a\r\n"],
    },
    Rule {
        id: "text.out-of-sight",
        score: MEDIUM,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Looks(&[]),
        message: "has a line so padded with blanks that its end is out of sight",
        suggestion: "take the blanks out",
        matches: &[concat!(
            "ls                                                  ",
            "                                                    ",
            "                                         ; echo x"
        )],
        spares: &[
            "ls      # a comment",
            concat!(
                "ls                                                  ",
                "                                                    ",
                "                                         \necho x"
            ),
        ],
    },
    Rule {
        id: "text.long-line",
        score: LOW,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Looks(&[]),
        message: "has a line longer than anybody reads",
        suggestion: "put what is long into a file",
        matches: &[],
        spares: &["ls"],
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
            "curl gith\u{443}b.com/x",
            "ssh root@ex\u{430}mple.com",
            "git clone git@gith\u{443}b.com:a/b",
        ],
        spares: &[
            "echo привет",
            "curl https://github.com/x",
            "curl https://example.com/ü",
            "git add заметки.txt",
            "git commit -m 'правка a.b'",
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
        '\n' | '\t' | '\u{c}' => false,
        // Joiners have a purpose in emoji and some scripts, and none beside ASCII letters.
        '\u{200c}' | '\u{200d}' => {
            let before = text[..*at].ends_with(|it: char| it.is_ascii());
            before || text[at + c.len_utf8()..].starts_with(|it: char| it.is_ascii_graphic())
        }
        '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180e}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2060}'..='\u{2064}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    });
    hidden.and_then(|(at, c)| Some((rule("text.hidden")?, (at, at + c.len_utf8()))))
}

/// Finds the first line of which the end is out of sight, or that nobody reads to its end.
pub(crate) fn lines(text: &str) -> Option<(&'static Rule, Span)> {
    if text.len() < BLANKS_MAX {
        return None;
    }
    let (mut start, mut long) = (0, None);
    for line in text.split('\n') {
        let (mut blanks, mut seen) = (0, 0);
        for (at, byte) in line.bytes().enumerate() {
            if matches!(byte, b' ' | b'\t') {
                blanks += 1;
            } else {
                // What a line begins with only indents it, unless it is pushed out of sight too.
                if blanks >= BLANKS_MAX && byte != b'\r' {
                    return Some((rule("text.out-of-sight")?, (start + at, start + line.len())));
                }
                (blanks, seen) = (0, at);
            }
        }
        if seen >= LINE_BYTES_MAX && long.is_none() {
            long = Some((start, start + line.len()));
        }
        start += line.len() + 1;
    }
    Some((rule("text.long-line")?, long?))
}

/// So many blanks in a row push what follows out of the window of a terminal.
const BLANKS_MAX: usize = 120;
/// Longer lines are long even for data.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Finds program names and hosts in letters of several scripts.
pub(crate) fn names(command: &SimpleCommand) -> Option<(&'static Rule, Span)> {
    let program = command.program();
    let mixed = |name: &str| name.chars().any(looks_latin);
    if !program.is_ascii() && mixed(program) {
        return Some((rule("text.lookalike")?, command.words.first()?.span));
    }
    let named = takes_hosts(program);
    let host = command.args().iter().find(|word| {
        if let Some((_, rest)) = word.text.split_once("://") {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            let mut labels = authority.split(['.', '@']);
            return mixed(authority) || labels.any(|label| label.starts_with("xn--"));
        }
        named && is_disguised_host(&word.text)
    });
    host.and_then(|word| Some((rule("text.lookalike")?, word.span)))
}

/// Returns whether an argument without a scheme begins with a host of which a label mixes scripts; a
/// file's name in one other script is none.
fn is_disguised_host(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let authority = text.split(['/', ':']).next().unwrap_or(text);
    let mut labels = authority.split(['.', '@']);
    let top = authority.rsplit('.').next().unwrap_or(authority);
    let letters = |label: &str| label.chars().all(|c| c.is_alphanumeric() || c == '-');
    authority.contains('.')
        && top.bytes().all(|byte| byte.is_ascii_alphabetic())
        && labels.any(|label| {
            letters(label)
                && label.chars().any(looks_latin)
                && label.bytes().any(|byte| byte.is_ascii_alphabetic())
        })
}

/// Programs whose arguments may be hosts without a scheme.
fn takes_hosts(program: &str) -> bool {
    matches!(
        program,
        "curl"
            | "wget"
            | "ssh"
            | "scp"
            | "sftp"
            | "rsync"
            | "git"
            | "nc"
            | "ncat"
            | "netcat"
            | "telnet"
            | "ftp"
            | "http"
            | "https"
            | "xh"
            | "dig"
            | "nslookup"
            | "ping"
            | "mosh"
            | "docker"
            | "podman"
    )
}

/// Letters of other scripts that look like Latin ones.
fn looks_latin(c: char) -> bool {
    matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' | '\u{13a0}'..='\u{13ff}' | '\u{ff01}'..='\u{ff5e}' | '\u{1d400}'..='\u{1d7ff}' | '\u{0131}' | '\u{0251}' | '\u{2024}' | '\u{2215}' | '\u{2044}' | '\u{3002}' | '\u{ff61}' | '\u{fe52}')
}
