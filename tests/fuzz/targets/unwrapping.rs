//! The words of a command, one a line, to the judge.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_safety::scripts_named_by;
use sandbox_types::Operation;

fuzz_target!(|lines: &str| sandbox_fuzz::bounded(|| judged(lines)));

fn judged(lines: &str) {
    let argv: Vec<String> = lines.split('\n').map(str::to_owned).collect();
    let (validator, surroundings) = sandbox_fuzz::judge();
    let first = validator.judge_argv(&argv, &surroundings);
    let second = validator.judge_argv(&argv, &surroundings);
    // Joined by blanks, the words are as long as the lines.
    sandbox_fuzz::check(&first, &second, lines.len());
    let operation = Operation::command(argv);
    assert_eq!(scripts_named_by(&operation), scripts_named_by(&operation));
}
