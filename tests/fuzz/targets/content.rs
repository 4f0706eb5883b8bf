//! The bytes of a file to the content scanner, at once and in pieces.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sandbox_safety::{ContentPolicy, ContentScanner};
use sandbox_types::RiskLevel;

/// The most findings of one file that are listed.
const LISTED_MAX: usize = 101;

fuzz_target!(|data: (u8, u16, &[u8])| sandbox_fuzz::bounded(|| scanned(data)));

fn scanned(data: (u8, u16, &[u8])) {
    let (name, piece, bytes) = data;
    let names = ["a.sh", "b.py", "README.md", "c.png", "d"];
    let path = Path::new(names[usize::from(name) % names.len()]);
    let scanner = ContentScanner::new(ContentPolicy::from(RiskLevel::Low));
    let whole = scanner.scan(path, bytes);
    let mut scan = scanner.begin(path, None);
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        scan.feed(piece);
    }
    let pieces = scan.finish();
    assert_eq!(
        whole.findings, pieces.findings,
        "pieces find something else"
    );
    assert_eq!(whole.more, pieces.more);
    assert!(whole.findings.len() <= LISTED_MAX);
    for finding in &whole.findings {
        assert!(finding.evidence.len() <= 4096, "{}", finding.evidence.len());
        assert!(!finding.evidence.contains(char::is_control));
        assert!(finding.line >= 1 && finding.column >= 1);
    }
}
