//! Code that takes processes, memory or disk without end.

use super::{CALL_BYTES_MAX, Code};

/// Loops without a condition.
pub(super) const LOOPS: &[&str] = &[
    "while True",
    "while 1",
    "while(1)",
    "while (1)",
    "while(true)",
    "while (true)",
    "while true",
    "for(;;)",
    "for (;;)",
    "for(; ;)",
    "loop {",
    "loop{",
    "loop do",
    "until 0",
    "until false",
    "itertools.count",
    "iter(int, 1)",
    "iter(int,1)",
    "setInterval(",
];
/// Starting a process or a thread.
pub(super) const FORKS: &[&str] = &[
    "fork()",
    "fork ",
    "fork;",
    "fork}",
    "fork(__filename",
    "pcntl_fork",
    "Process(",
    "Thread(",
    "subprocess.Popen",
    "child_process",
    "spawn(",
];
/// Holding more and more.
pub(super) const GROWS: &[&str] = &[
    ".append(",
    ".push(",
    ".extend(",
    "push @",
    "push(@",
    " << ",
    "+=",
    "*=",
    "*2",
    "* 2",
    ".= ",
    "[] =",
    "bytearray(",
    "alloc(",
    "malloc(",
];
/// Writing files.
pub(super) const WRITES: &[&str] = &[
    "open(",
    ".write(",
    "writeFile",
    "appendFile",
    "mkdir",
    "makedirs",
    "File.write",
    "file_put_contents",
    "print F",
    "touch",
];
/// Waiting for something, or leaving a loop.
pub(super) const WAITS: &[&str] = &[
    "break",
    "sleep",
    "recv",
    "accept(",
    "input(",
    "readline",
    "return",
    "wait(",
    ".join(",
    "last ",
    "last;",
    "exit",
    "stdin",
    "STDIN",
    "gets",
    "poll(",
    "select(",
    ".get(",
    "urlopen",
    "requests",
    "process.on",
    "yield",
    "read(",
];

/// The program that runs, by a name that it knows.
pub(super) const OWN_PROGRAM: &[&str] = &[
    "process.execPath",
    "__filename",
    "process.argv[1]",
    "sys.argv[0]",
    "__file__",
    "$0",
];
/// Returns whether the code takes processes, memory or disk without end.
pub(crate) fn exhausts(code: &Code<'_>) -> bool {
    let own = code.has(FORKS) && code.has(OWN_PROGRAM) && code.text.len() < CALL_BYTES_MAX * 4;
    let forks = own || code.has(FORKS) && (code.has(LOOPS) || code.text.contains("fork while"));
    let takes = code.has(LOOPS) && !code.has(WAITS) && (code.has(GROWS) || code.has(WRITES));
    (forks && !code.has(WAITS)) || takes || names_a_huge_size(code.text)
}

/// Returns whether the code repeats something ten thousand million times in memory: `'x' * 10**11`.
fn names_a_huge_size(text: &str) -> bool {
    let exponent = |rest: &str| {
        let digits = rest.trim_start().trim_start_matches(['(', ' ']);
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        digits[..end]
            .parse::<u32>()
            .is_ok_and(|it| (10..100).contains(&it))
    };
    let repeats = |before: &str| {
        let before = before.trim_end();
        before.ends_with('*')
            || before.ends_with(['\'', '"', ']'])
            || before.ends_with("alloc(")
            || before.ends_with("array(")
            || before.ends_with('x')
            || before.ends_with("repeat(")
            || before.ends_with("range(")
            || before.ends_with("fill(")
    };
    ["10**", "1e", "10 ** "].iter().any(|base| {
        text.match_indices(base).any(|(at, _)| {
            let stands_alone =
                !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
            stands_alone && repeats(&text[..at]) && exponent(&text[at + base.len()..])
        })
    })
}
