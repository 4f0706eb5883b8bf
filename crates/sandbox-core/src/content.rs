//! The content scan of what an operation wrote, before anything of it reaches the workspace.
//!
//! It reads the transaction's own files by descriptor, the smallest first, within the bounds of the
//! configuration. What it leaves out it says.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use sandbox_rollback::{FileTree, Opened, Transaction};
use sandbox_safety::{ContentPolicy, ContentScanner, Scanned};
use sandbox_types::{
    Bytes, Change, ChangeKind, ContentAction, ContentFinding, ContentScan, RiskLevel, Violation,
    ViolationKind, causes, change::FINDINGS_LISTED_MAX, config::ContentSettings,
};

/// So much is read at once.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// The most files that are named as not scanned, and the most findings that a reason names.
const NAMED_MAX: usize = 20;

/// What the scan of a transaction says.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// Strongest first.
    pub(crate) findings: Vec<ContentFinding>,
    /// `None` when nothing was written, or nothing is to be scanned.
    pub(crate) scan: Option<ContentScan>,
}

impl Examined {
    /// Returns the findings as reasons for not committing.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let named = self.findings.iter().take(NAMED_MAX);
        let mut reasons: Vec<String> = named.map(reason).collect();
        let more = self.findings.len() - reasons.len();
        if more > 0 {
            reasons.push(format!("and {more} more findings"));
        }
        reasons
    }

    /// Returns the violation that dropped the changes.
    pub(crate) fn violation(&self, action: ContentAction) -> Option<Violation> {
        let first = self.findings.first()?;
        let detail = match self.findings.len() {
            1 => reason(first),
            count => format!("{}, and {} more findings", reason(first), count - 1),
        };
        (action == ContentAction::Discard).then_some(Violation {
            kind: ViolationKind::Content,
            detail,
        })
    }
}

fn reason(finding: &ContentFinding) -> String {
    format!(
        "'{}' line {} {} [{}]",
        finding.path.display(),
        finding.line,
        finding.message,
        finding.rule
    )
}

/// Scans the files that the transaction would create or modify.
pub(crate) fn examine(
    transaction: &Transaction,
    changes: &[Change],
    settings: &ContentSettings,
) -> Examined {
    let written = |it: &&Change| matches!(it.kind, ChangeKind::Created | ChangeKind::Modified);
    let mut files: Vec<&Change> = changes.iter().filter(written).collect();
    if settings.action == ContentAction::Off || files.is_empty() {
        return Examined::default();
    }
    let mut examined = Collected::default();
    match transaction.written() {
        Ok(tree) => {
            // Scripts and configuration are small: a few large files must not use up the bound.
            files.sort_by(|a, b| (a.bytes, &a.path).cmp(&(b.bytes, &b.path)));
            examined.files(&tree, &files, settings);
        }
        Err(error) => examined.skip(|| causes(&error).join(": ")),
    }
    examined.ended()
}

/// Returns the scanner of a configuration.
pub(crate) fn scanner(settings: &ContentSettings, least: RiskLevel) -> ContentScanner {
    ContentScanner::new(ContentPolicy {
        least,
        max_file_bytes: settings.max_file.map(Bytes::get),
        deny_extensions: settings.deny_extensions.clone(),
    })
}

/// Findings and counts while they are collected.
#[derive(Default)]
struct Collected {
    findings: Vec<ContentFinding>,
    scan: ContentScan,
    skipped: usize,
}

impl Collected {
    fn files(&mut self, tree: &FileTree, files: &[&Change], settings: &ContentSettings) {
        let expected = files
            .iter()
            .fold(0, |sum: u64, it| sum.saturating_add(it.bytes));
        let scanner = scanner(settings, settings.severity).expecting(expected);
        let (each, mut left) = (settings.scan_file.get(), settings.scan_total.get());
        let mut buffer = vec![0; READ_BYTES];
        for (at, change) in files.iter().enumerate() {
            if left == 0 && change.bytes > 0 {
                let (rest, total) = (files.len() - at, settings.scan_total);
                self.skip(|| format!("{rest} files, because {total} had been scanned"));
                return;
            }
            let path = change.path.as_path();
            let (file, size) = match tree.look(path) {
                Ok(Opened::File(file, size)) => (file, size),
                Ok(Opened::Directory | Opened::Other | Opened::Nothing) => continue,
                Err(error) => {
                    self.skip(|| causes(&error).join(": "));
                    continue;
                }
            };
            let bound = each.min(left);
            let (scanned, read) =
                scan_file(&scanner, (path, &file, Some(size)), bound, &mut buffer);
            self.add(scanned);
            match read {
                Ok(bytes) => {
                    self.scan.files += 1;
                    self.scan.bytes += bytes;
                    left -= bytes.min(left);
                    if bytes < size {
                        self.skip(|| {
                            format!("'{}' after its first {}", path.display(), Bytes(bytes))
                        });
                    }
                }
                Err(error) => self.skip(|| format!("'{}': {error}", path.display())),
            }
        }
    }

    fn add(&mut self, scanned: Scanned) {
        self.scan.findings_not_listed += scanned.more;
        self.findings.extend(scanned.findings);
        if self.findings.len() > 4 * FINDINGS_LISTED_MAX {
            self.cut();
        }
    }

    /// Keeps the strongest findings.
    fn cut(&mut self) {
        self.findings.sort_by(|a, b| {
            let place = |it: &ContentFinding| (it.line, it.column);
            b.severity
                .cmp(&a.severity)
                .then_with(|| a.path.cmp(&b.path))
                .then_with(|| place(a).cmp(&place(b)))
        });
        let more = self.findings.len().saturating_sub(FINDINGS_LISTED_MAX);
        self.findings.truncate(FINDINGS_LISTED_MAX);
        self.scan.findings_not_listed += more as u64;
    }

    fn skip(&mut self, what: impl FnOnce() -> String) {
        self.skipped += 1;
        if self.skipped <= NAMED_MAX {
            self.scan.skipped.push(what());
        }
    }

    fn ended(mut self) -> Examined {
        self.cut();
        if let Some(more) = self.skipped.checked_sub(NAMED_MAX + 1) {
            self.scan.skipped.push(format!("and {} more", more + 1));
        }
        Examined {
            findings: self.findings,
            scan: Some(self.scan),
        }
    }
}

/// Scans the first `bound` bytes of a file; returns how many were read.
pub(crate) fn scan_file(
    scanner: &ContentScanner,
    (path, mut file, size): (&Path, &File, Option<u64>),
    bound: u64,
    buffer: &mut [u8],
) -> (Scanned, io::Result<u64>) {
    let mut scan = scanner.begin(path, size);
    let mut total = 0;
    let read = loop {
        let left = usize::try_from(bound - total).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        if room == 0 {
            break Ok(total);
        }
        match file.read(&mut buffer[..room]) {
            Ok(0) => break Ok(total),
            Ok(count) => {
                scan.feed(&buffer[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    (scan.finish(), read)
}
