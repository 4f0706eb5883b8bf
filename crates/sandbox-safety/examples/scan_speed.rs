//! Measures the content scanner against the bare automaton on the files of a directory, one thread.
//!
//! ```text
//! cargo run --release -p sandbox-safety --example scan_speed -- DIRECTORY | --words
//! ```
//! `--words` prints the literal words instead, one a line, for other programs to search for.
#![expect(clippy::print_stdout, reason = "what it prints is its result")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use sandbox_safety::{ContentPolicy, ContentScanner, content_rules, content_words};
use sandbox_types::RiskLevel;

/// So much is read into memory.
const BYTES_MAX: usize = 256 << 20;
const RUNS: usize = 10;

fn main() -> io::Result<()> {
    let argument = env::args()
        .nth(1)
        .unwrap_or_else(|| "/usr/share/doc".to_owned());
    if argument == "--words" {
        for word in content_words() {
            println!("{word}");
        }
        return Ok(());
    }
    let files = read(Path::new(&argument))?;
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let (words, rules) = (content_words().count(), content_rules().count());
    println!(
        "{} files, {bytes} bytes, {words} words, {rules} rules",
        files.len()
    );

    build(AhoCorasickKind::NoncontiguousNFA)?;
    build(AhoCorasickKind::ContiguousNFA)?;
    let automaton = build(AhoCorasickKind::DFA)?;
    let (bare, hits) = median(|| {
        let hits = files
            .iter()
            .map(|(_, text)| automaton.find_overlapping_iter(text).count());
        hits.sum()
    });
    let scanner = ContentScanner::new(ContentPolicy::from(RiskLevel::Low));
    let (ours, findings) = median(|| {
        let found = files
            .iter()
            .map(|(path, text)| scanner.scan(path, text).findings.len());
        found.sum()
    });
    let megabytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6;
    println!(
        "bare automaton: {:.0} MB/s, {hits} hits",
        megabytes / bare.as_secs_f64()
    );
    println!(
        "scanner:        {:.0} MB/s, {findings} findings",
        megabytes / ours.as_secs_f64()
    );
    println!(
        "ratio:          {:.2}",
        bare.as_secs_f64() / ours.as_secs_f64()
    );
    Ok(())
}

fn build(kind: AhoCorasickKind) -> io::Result<AhoCorasick> {
    let start = Instant::now();
    let built = AhoCorasick::builder()
        .kind(Some(kind))
        .ascii_case_insensitive(true)
        .prefilter(false)
        .build(content_words())
        .map_err(io::Error::other)?;
    let (took, size) = (start.elapsed(), built.memory_usage() / 1024);
    println!("{kind:?}: built in {took:.1?}, {size} KiB");
    Ok(built)
}

fn median(mut work: impl FnMut() -> usize) -> (Duration, usize) {
    let mut count = 0;
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            count = work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[times.len() / 2], count)
}

fn read(root: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut held = 0;
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        } else if metadata.is_file() && held < BYTES_MAX {
            let text = fs::read(&path)?;
            held += text.len();
            files.push((path, text));
        }
    }
    Ok(files)
}
