//! One linear pass that blanks what the parser must not look into.
//!
//! Quoted text, substitutions, comments, `[[ ]]`, `(( ))` and heredoc bodies are overwritten byte by
//! byte, so offsets stay. The parser then sees only plain words, operators and keywords: its depth
//! is bounded by what can be counted here, and its weak spots (heredocs inside substitutions,
//! quotes inside heredocs) never reach it. Substitutions are read by themselves later.

mod arithmetic;
mod heredoc;
mod opaque;

use super::Span;

/// A heredoc that was replaced by `<` and a placeholder word.
#[derive(Clone, Debug)]
pub(crate) struct HereDoc {
    /// Where the placeholder word starts.
    pub(crate) at: usize,
    pub(crate) body: Span,
    /// Whether the delimiter was quoted, which leaves the body as it is.
    pub(crate) quoted: bool,
}

/// The text as the parser gets it: ASCII, of the same length.
#[derive(Debug, Default)]
pub(crate) struct Masked {
    pub(crate) text: Vec<u8>,
    pub(crate) heredocs: Vec<HereDoc>,
    /// How deep parentheses and braces nest, at most.
    pub(crate) depth: usize,
    /// How many words or signs could open a nested construct.
    pub(crate) openers: usize,
}

/// How deep constructs may nest.
pub(crate) const DEPTH_MAX: usize = 64;
/// The parser panics on a descriptor (`2>x`) of more digits; for a shell, these are a word.
const DESCRIPTOR_DIGITS_MAX: usize = 9;

/// Why text cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unreadable {
    /// It ends inside a quote or a substitution, or breaks the grammar.
    Unterminated,
    /// It nests deeper than [`DEPTH_MAX`].
    TooDeep,
}

/// Where a substitution stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Around {
    /// In the open.
    Nothing,
    /// Between double quotes, where single quotes mean nothing.
    Quotes,
}

/// What encloses the current byte.
enum Region {
    /// `$( )`, `<( )`, or parentheses in one; counts open `case`s, whose patterns end in `)`.
    Code {
        cases: usize,
        /// Of a substitution, the word that it is a part of.
        outer: Option<OuterWord>,
    },
    /// `"…"`.
    Quoted,
    /// `${…}`.
    Parameter,
    /// `$((…))`, by open parentheses.
    Arithmetic { open: usize },
}

/// Where a word starts, and whether it may be a command.
struct OuterWord {
    start: usize,
    expects_command: bool,
}

struct PendingHereDoc {
    at: usize,
    delimiter: Delimiter,
    /// Whether it stands at the top, so that the parser will see its placeholder.
    visible: bool,
}

struct Delimiter {
    text: Vec<u8>,
    quoted: bool,
    strip_tabs: bool,
}

struct Scanner<'a> {
    source: &'a [u8],
    at: usize,
    masked: Masked,
    regions: Vec<Region>,
    pending: Vec<PendingHereDoc>,
    /// Whether the next word is a command (or keyword).
    expects_command: bool,
    word_start: usize,
    depth: usize,
    /// Set once no `]]` follows, so that looking for it stays linear.
    no_test_end: bool,
}

/// Blanks `source`.
pub(crate) fn mask(source: &str) -> Result<Masked, Unreadable> {
    let mut scanner = Scanner::new(source.as_bytes(), 0);
    while scanner.at < scanner.source.len() {
        scanner.step()?;
        if scanner.masked.depth > DEPTH_MAX || scanner.regions.len() > DEPTH_MAX {
            return Err(Unreadable::TooDeep);
        }
    }
    scanner.end_word();
    if scanner.regions.is_empty() {
        Ok(scanner.masked)
    } else {
        Err(Unreadable::Unterminated)
    }
}

/// Returns the byte after the substitution (`$(`, `${`, `` ` ``, `<(`, `"`) that starts at `start`.
pub(crate) fn end_of_region(
    source: &str,
    start: usize,
    around: Around,
) -> Result<usize, Unreadable> {
    let mut scanner = Scanner::new(source.as_bytes(), start);
    let enclosing = usize::from(around == Around::Quotes);
    if around == Around::Quotes {
        scanner.regions.push(Region::Quoted);
    }
    scanner.step()?;
    while scanner.regions.len() > enclosing {
        if scanner.at >= scanner.source.len() {
            return Err(Unreadable::Unterminated);
        }
        scanner.step()?;
        if scanner.regions.len() > DEPTH_MAX {
            return Err(Unreadable::TooDeep);
        }
    }
    Ok(scanner.at)
}

impl<'a> Scanner<'a> {
    fn new(source: &'a [u8], at: usize) -> Self {
        Self {
            source,
            at,
            masked: Masked::default(),
            regions: Vec::new(),
            pending: Vec::new(),
            expects_command: true,
            word_start: at,
            depth: 0,
            no_test_end: false,
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.source.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts_with(&self, text: &[u8]) -> bool {
        self.source[self.at..].starts_with(text)
    }

    /// Passes `count` bytes, of which the parser sees `with` instead.
    fn blank(&mut self, count: usize, with: u8) {
        let end = (self.at + count).min(self.source.len());
        self.masked
            .text
            .extend(std::iter::repeat_n(with, end - self.at));
        self.at = end;
    }

    /// What the parser sees of a gap between words: none inside of a region, which is one word to it.
    fn gap(&self) -> u8 {
        if self.regions.is_empty() { b' ' } else { b'x' }
    }

    fn keep(&mut self) {
        let byte = self.source[self.at];
        let shown = if self.regions.is_empty() { byte } else { b'x' };
        self.masked.text.push(shown);
        self.at += 1;
    }

    fn step(&mut self) -> Result<(), Unreadable> {
        match self.regions.last() {
            None | Some(Region::Code { .. }) => self.step_in_code(),
            Some(Region::Quoted) => self.step_in_quotes(b'"'),
            Some(Region::Parameter) => self.step_in_quotes(b'}'),
            Some(Region::Arithmetic { .. }) => self.step_in_arithmetic(),
        }
    }

    /// Enters a region when one starts here.
    fn enter(&mut self, in_quotes: bool) -> Result<bool, Unreadable> {
        match (self.peek(0), self.peek(1)) {
            (b'\\', _) => self.escape(),
            (b'\'', _) if !in_quotes => self.single_quotes(1, false)?,
            (b'$', b'\'') if !in_quotes => self.single_quotes(2, true)?,
            (b'"', _) => self.open(1, Region::Quoted),
            (b'$', b'(') if self.peek(2) == b'(' => self.open(3, Region::Arithmetic { open: 2 }),
            (b'$', b'(') => self.substitution(),
            (b'<' | b'>', b'(') if !in_quotes => self.substitution(),
            (b'$', b'{') => self.open(2, Region::Parameter),
            (b'`', _) => self.backticks()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn open(&mut self, length: usize, region: Region) {
        self.blank(length, b'x');
        self.regions.push(region);
    }

    fn substitution(&mut self) {
        let outer = Some(OuterWord {
            start: self.word_start,
            expects_command: self.expects_command,
        });
        self.open(2, Region::Code { cases: 0, outer });
        self.expects_command = true;
        self.word_start = self.at;
    }

    /// What follows a joined line at the start of a word is the start of one, a comment too.
    fn escape(&mut self) {
        let joins_lines = self.peek(1) == b'\n';
        let in_code = matches!(self.regions.last(), None | Some(Region::Code { .. }));
        let starts = self.word_start == self.at;
        if joins_lines && in_code && (starts || self.peek(2).is_ascii_whitespace()) {
            self.end_word();
            self.blank(2, self.gap());
            self.word_start = self.at;
        } else {
            self.blank(2, b'x');
        }
    }

    fn single_quotes(&mut self, opening: usize, escapes: bool) -> Result<(), Unreadable> {
        let mut end = self.at + opening;
        loop {
            match self.source.get(end) {
                None => return Err(Unreadable::Unterminated),
                Some(b'\'') => break,
                Some(b'\\') if escapes => end += 2,
                Some(_) => end += 1,
            }
        }
        self.blank(end + 1 - self.at, b'x');
        Ok(())
    }

    fn backticks(&mut self) -> Result<(), Unreadable> {
        let mut end = self.at + 1;
        loop {
            match self.source.get(end) {
                None => return Err(Unreadable::Unterminated),
                Some(b'`') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        self.blank(end + 1 - self.at, b'x');
        Ok(())
    }

    fn step_in_quotes(&mut self, closing: u8) -> Result<(), Unreadable> {
        if self.peek(0) == closing {
            self.blank(1, b'x');
            self.regions.pop();
            return Ok(());
        }
        // Single quotes mean nothing between double quotes.
        if !self.enter(closing == b'"' || self.inside_quotes())? {
            let rest = &self.source[self.at + 1..];
            let plain = rest.iter().position(|byte| b"\\'\"$`<>}".contains(byte));
            self.blank(1 + plain.unwrap_or(rest.len()), b'x');
        }
        Ok(())
    }

    fn inside_quotes(&self) -> bool {
        self.regions
            .iter()
            .rev()
            .take_while(|region| !matches!(region, Region::Code { .. }))
            .any(|region| matches!(region, Region::Quoted))
    }

    fn step_in_arithmetic(&mut self) -> Result<(), Unreadable> {
        let change: isize = match self.peek(0) {
            b'(' => 1,
            b')' => -1,
            _ => {
                if !self.enter(self.inside_quotes())? {
                    self.blank(1, b'x');
                }
                return Ok(());
            }
        };
        self.blank(1, b'x');
        if let Some(Region::Arithmetic { open }) = self.regions.last_mut() {
            *open = open.saturating_add_signed(change);
            if *open == 0 {
                self.regions.pop();
            }
        }
        Ok(())
    }

    fn step_in_code(&mut self) -> Result<(), Unreadable> {
        let byte = self.peek(0);
        let at_word_start = self.word_start == self.at;
        if byte == b'#' && at_word_start {
            let line = &self.source[self.at..];
            let length = line.iter().position(|&b| b == b'\n').unwrap_or(line.len());
            self.blank(length, self.gap());
            self.word_start = self.at;
            return Ok(());
        }
        if self.starts_with(b"<<<") {
            self.end_word();
            for _ in 0..3 {
                self.keep();
            }
            self.word_start = self.at;
            return Ok(());
        }
        if self.starts_with(b"<<") {
            self.end_word();
            self.heredoc()?;
            self.word_start = self.at;
            return Ok(());
        }
        if self.expects_command && at_word_start && self.opaque_command() {
            return Ok(());
        }
        if self.enter(false)? {
            return Ok(());
        }
        match byte {
            b'\n' => self.newline(),
            b' ' | b'\t' | b'\r' => {
                self.end_word();
                self.blank(1, self.gap());
                self.word_start = self.at;
            }
            b';' | b'|' | b'&' | b'(' | b')' | b'<' | b'>' => self.operator(byte),
            _ => {
                if byte.is_ascii_graphic() {
                    self.keep();
                } else {
                    self.blank(1, b'x');
                }
            }
        }
        Ok(())
    }

    fn operator(&mut self, byte: u8) {
        self.end_word();
        match byte {
            b'(' => {
                self.masked.openers += 1;
                self.deepen();
                if self.regions.is_empty() {
                    self.keep();
                } else {
                    self.open(
                        1,
                        Region::Code {
                            cases: 0,
                            outer: None,
                        },
                    );
                }
                self.expects_command = true;
            }
            b')' => {
                self.depth = self.depth.saturating_sub(1);
                self.keep();
                self.expects_command = true;
                if matches!(self.regions.last(), Some(Region::Code { cases: 0, .. }))
                    && let Some(Region::Code { outer, .. }) = self.regions.pop()
                    && let Some(word) = outer
                {
                    // It goes on behind a substitution.
                    self.word_start = word.start;
                    self.expects_command = word.expects_command;
                    return;
                }
            }
            b'<' | b'>' => {
                self.keep();
                if self.peek(0) == b'&' {
                    self.keep();
                }
            }
            _ => {
                self.keep();
                self.expects_command = true;
            }
        }
        self.word_start = self.at;
    }

    fn deepen(&mut self) {
        self.depth += 1;
        self.masked.depth = self.masked.depth.max(self.depth);
    }

    /// Notes what the word that ends here means for what follows.
    fn end_word(&mut self) {
        self.blank_long_number();
        let word = &self.source[self.word_start.min(self.at)..self.at];
        if word.is_empty() {
            return;
        }
        let keyword = self.expects_command;
        self.expects_command = false;
        if keyword && word == b"select" && self.regions.is_empty() {
            // The parser knows `for` only; both read the same.
            self.masked.text.truncate(self.word_start);
            self.masked.text.extend(b"for   ");
        }
        match word {
            b"{" | b"if" | b"while" | b"until" | b"for" | b"select" | b"case" => {
                self.masked.openers += 1;
                if keyword {
                    self.deepen();
                    self.expects_command = !matches!(word, b"for" | b"select" | b"case");
                }
            }
            b"}" | b"fi" | b"done" | b"esac" if keyword => {
                self.depth = self.depth.saturating_sub(1);
            }
            b"then" | b"do" | b"else" | b"elif" | b"!" | b"time" | b"coproc" => {
                self.masked.openers += 1;
                self.expects_command = keyword;
            }
            b"in" => {}
            _ if keyword && word.contains(&b'=') => self.expects_command = true,
            _ => {}
        }
        if let Some(Region::Code { cases, .. }) = self.regions.last_mut() {
            match word {
                b"case" if keyword => *cases += 1,
                b"esac" => *cases = cases.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Hides a word of digits that is no descriptor.
    fn blank_long_number(&mut self) {
        let text = &mut self.masked.text;
        let digits = text.iter().rev().take_while(|it| it.is_ascii_digit());
        let count = digits.count();
        if count > DESCRIPTOR_DIGITS_MAX && count == self.at - self.word_start.min(self.at) {
            let first = text.len() - count;
            text[first..].fill(b'x');
        }
    }

    fn newline(&mut self) {
        self.end_word();
        self.keep();
        self.expects_command = true;
        for pending in std::mem::take(&mut self.pending) {
            self.heredoc_body(pending);
        }
        self.word_start = self.at;
    }
}
