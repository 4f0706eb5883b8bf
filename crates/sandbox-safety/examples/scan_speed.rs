//! Measures the content scanner against the bare automaton on the files of a directory, one thread.
//!
//! ```text
//! cargo run --release -p sandbox-safety --example scan_speed -- DIRECTORY | --words [N] | --growth N DIRECTORY
//! ```
//! `--words` prints the literal words instead, one a line, for other programs to search for: all of them, or `N`,
//! made up where there are not so many. `--growth` measures the automaton of `N` words alone.
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
    let count = env::args().nth(2).and_then(|it| it.parse().ok());
    if argument == "--words" {
        for word in words(count.unwrap_or_else(|| content_words().count())) {
            println!("{word}");
        }
        return Ok(());
    }
    if argument == "--growth" {
        let directory = env::args().nth(3).unwrap_or_default();
        return growth(count.unwrap_or(0), Path::new(&directory));
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

/// Returns so many words: of the rules, and made up.
fn words(count: usize) -> Vec<String> {
    // A linear congruence (Knuth, MMIX): the same words each time.
    let mut state = 1_u64;
    let made = std::iter::from_fn(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some(format!("{:x}", state >> 16))
    });
    content_words()
        .map(str::to_owned)
        .chain(made)
        .take(count)
        .collect()
}

fn growth(count: usize, directory: &Path) -> io::Result<()> {
    let files = read(directory)?;
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let start = Instant::now();
    let automaton = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .ascii_case_insensitive(true)
        .prefilter(false)
        .build(words(count))
        .map_err(io::Error::other)?;
    let built = start.elapsed();
    let (took, hits) = median(|| {
        let hits = files
            .iter()
            .map(|(_, text)| automaton.find_overlapping_iter(text).count());
        hits.sum()
    });
    let megabytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6;
    println!(
        "{count} words: built in {built:.1?}, {} KiB; {:.0} MB/s, {took:.1?} for {bytes} bytes, {hits} hits",
        automaton.memory_usage() / 1024,
        megabytes / took.as_secs_f64()
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
