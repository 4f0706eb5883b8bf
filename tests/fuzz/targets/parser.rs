//! Shell text to the judge.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| sandbox_fuzz::bounded(|| judged(text)));

fn judged(text: &str) {
    let (validator, surroundings) = sandbox_fuzz::judge();
    let first = validator.judge_text(text, &surroundings);
    let second = validator.judge_text(text, &surroundings);
    sandbox_fuzz::check(&first, &second, text.len());
}
