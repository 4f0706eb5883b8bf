//! Words as the shell would make them: quotes removed, braces, variables and substitutions resolved
//! as far as the text says.

mod ansi_c;
mod braces;
mod parameters;

pub(crate) use ansi_c::decode_ansi_c;
use braces::expand_braces;

use super::{
    Known, RawWord, Span, Word,
    mask::{Around, end_of_region},
    read::{Origin, Problem, Reader, SEPARATORS},
};

/// A substitution that cannot be resolved is shown with at most so many bytes.
const PLACEHOLDER_BYTES_MAX: usize = 200;

/// Expands one word as it stands in a text that came from `origin`.
pub(super) fn expand(reader: &mut Reader, raw: &RawWord, origin: Origin) -> Vec<Word> {
    let span = origin.place(raw.span);
    if !raw.text.bytes().any(is_special) {
        return vec![Word::literal(raw.text.as_str(), span)];
    }
    let first_command = reader.commands.len();
    let alternatives = expand_braces(&raw.text);
    let inner = if alternatives.len() == 1 {
        origin.within(raw.span)
    } else {
        Origin::Within(span)
    };
    let mut words = Vec::new();
    let mut inherited = (0, 0);
    for text in &alternatives {
        let mut expansion = Expansion::new(reader, span, inner);
        expansion.run(text, 0, Quoting::Open);
        inherited = expansion.inherited;
        words.append(&mut expansion.finish());
    }
    let mut runs = (first_command, reader.commands.len());
    if runs.0 == runs.1 {
        runs = inherited;
    }
    for word in &mut words {
        word.runs = runs;
        word.disguised |= alternatives.len() > 1;
    }
    words
}

/// Expands text of which no words are made: the value of an assignment, a heredoc's body.
pub(super) fn expand_whole(
    reader: &mut Reader,
    raw: &RawWord,
    origin: Origin,
    quoting: Quoting,
) -> Word {
    let span = origin.place(raw.span);
    let first_command = reader.commands.len();
    let mut expansion = Expansion::new(reader, span, origin.within(raw.span));
    expansion.splits = false;
    expansion.run(&raw.text, 0, quoting);
    let mut words = expansion.finish();
    let mut word = words.pop().unwrap_or_default();
    word.span = span;
    word.runs = (first_command, reader.commands.len());
    word
}

/// Which characters mean themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quoting {
    Open,
    Double,
    /// In a heredoc: as between double quotes, but `"` means itself.
    HereDoc,
}

fn is_special(byte: u8) -> bool {
    b"\\'\"$`*?[{~<>(!".contains(&byte)
}

struct Expansion<'r> {
    reader: &'r mut Reader,
    span: Span,
    /// Where the text that is expanded starts in the judged text.
    origin: Origin,
    done: Vec<Word>,
    current: Word,
    /// Whether the current word exists although it may be empty.
    started: bool,
    /// Whether unquoted values are split at blanks.
    splits: bool,
    /// The commands that a variable's value came from.
    inherited: (usize, usize),
}

impl<'r> Expansion<'r> {
    fn new(reader: &'r mut Reader, span: Span, origin: Origin) -> Self {
        Self {
            reader,
            span,
            origin,
            done: Vec::new(),
            current: Word::default(),
            started: false,
            splits: true,
            inherited: (0, 0),
        }
    }

    fn finish(mut self) -> Vec<Word> {
        self.end_word();
        self.done
    }

    fn end_word(&mut self) {
        if self.started || !self.current.text.is_empty() {
            let mut word = std::mem::take(&mut self.current);
            word.span = self.span;
            self.done.push(word);
        }
        self.started = false;
    }

    fn at_least(&mut self, known: Known) {
        self.current.known = self.current.known.max(known);
    }

    /// Expands `text`, which starts at byte `offset` of the origin.
    fn run(&mut self, text: &str, offset: usize, quoting: Quoting) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let next = bytes.get(at + 1).copied().unwrap_or(0);
            let open = quoting == Quoting::Open;
            at = match bytes[at] {
                b'\\' => self.escape(text, at, quoting),
                b'\'' if open => {
                    let end = find(bytes, at + 1, b'\'');
                    self.quoted_joint(bytes, at, end);
                    self.current.text.push_str(&text[at + 1..end]);
                    end + 1
                }
                b'"' if open => self.double_quotes(text, at, offset),
                b'$' => self.dollar(text, at, offset, quoting),
                b'`' => {
                    let end = region_end(text, at, quoting);
                    let body = text.get(at + 1..end.saturating_sub(1)).unwrap_or("");
                    let body = body.replace("\\`", "`").replace("\\\\", "\\");
                    let origin = Origin::Within(self.span);
                    self.substitute(&body, origin, &text[at..end], quoting);
                    end
                }
                b'<' | b'>' if open && next == b'(' => {
                    let end = region_end(text, at, quoting);
                    let body = text.get(at + 2..end.saturating_sub(1)).unwrap_or("");
                    let origin = self.origin.at(offset + at + 2);
                    self.reader.read_nested(body, origin);
                    self.current.text.push_str(shown(&text[at..end]));
                    self.at_least(Known::Unknown);
                    end
                }
                b'*' | b'?' | b'[' if open => {
                    self.at_least(Known::Pattern);
                    self.current.text.push(char::from(bytes[at]));
                    at + 1
                }
                _ => {
                    let first = at + char_length(text, at);
                    let special = |byte: &u8| b"\\'\"$`<>*?[".contains(byte);
                    let plain = bytes[first..].iter().position(special);
                    let end = plain.map_or(bytes.len(), |length| first + length);
                    self.current.text.push_str(&text[at..end]);
                    end
                }
            };
        }
    }

    fn escape(&mut self, text: &str, at: usize, quoting: Quoting) -> usize {
        let Some(next) = text[at + 1..].chars().next() else {
            self.current.text.push('\\');
            return at + 1;
        };
        let end = at + 1 + next.len_utf8();
        let removed = match quoting {
            Quoting::Open => true,
            Quoting::Double => matches!(next, '$' | '`' | '"' | '\\' | '\n'),
            Quoting::HereDoc => matches!(next, '$' | '`' | '\\' | '\n'),
        };
        if !removed {
            self.current.text.push('\\');
        }
        if next != '\n' || !removed {
            self.current.text.push(next);
            self.started = true;
        }
        let middle = text[..at].ends_with(|c: char| c.is_ascii_lowercase());
        self.current.disguised |=
            removed && middle && (next.is_ascii_alphanumeric() || next == '\n');
        end
    }

    /// Notes quotes in the middle of a plain word (`r''m`), which serve no purpose but hiding.
    fn quoted_joint(&mut self, bytes: &[u8], at: usize, end: usize) {
        let plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_lowercase);
        let before = at > 0 && plain(bytes.get(at - 1));
        let after = plain(bytes.get(end + 1));
        let content = bytes.get(at + 1..end).unwrap_or(&[]);
        let inside = content.is_empty() || content.iter().all(u8::is_ascii_lowercase);
        self.current.disguised |= inside && (before || after);
        self.started = true;
    }

    fn double_quotes(&mut self, text: &str, at: usize, offset: usize) -> usize {
        let end = region_end(text, at, Quoting::Open);
        self.quoted_joint(text.as_bytes(), at, end.saturating_sub(1));
        let body = text.get(at + 1..end.saturating_sub(1)).unwrap_or("");
        self.run(body, offset + at + 1, Quoting::Double);
        end
    }

    fn dollar(&mut self, text: &str, at: usize, offset: usize, quoting: Quoting) -> usize {
        let bytes = text.as_bytes();
        match bytes.get(at + 1).copied().unwrap_or(0) {
            b'(' if bytes.get(at + 2) == Some(&b'(') => {
                let end = region_end(text, at, quoting);
                let inner = text.get(at + 2..end.saturating_sub(1)).unwrap_or("");
                // `$((a); b)` is a subshell in a substitution.
                if !inner.ends_with(')') || inner.contains(';') || inner.contains(")\n(") {
                    self.reader
                        .read_nested(inner, self.origin.at(offset + at + 2));
                } else {
                    self.look_into(&text[at + 2..end], offset + at + 2);
                }
                self.unknown(&text[at..end]);
                end
            }
            b'(' => {
                let end = region_end(text, at, quoting);
                let body = text.get(at + 2..end.saturating_sub(1)).unwrap_or("");
                let origin = self.origin.at(offset + at + 2);
                self.substitute(body, origin, &text[at..end], quoting);
                end
            }
            b'{' => {
                let end = region_end(text, at, quoting);
                let body = text.get(at + 2..end.saturating_sub(1)).unwrap_or("");
                self.parameter(body, offset + at + 2, &text[at..end], quoting);
                end
            }
            b'\'' if quoting == Quoting::Open => {
                let mut end = at + 2;
                while end < bytes.len() && bytes[end] != b'\'' {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                let end = end.min(bytes.len());
                let body = text.get(at + 2..end).unwrap_or("");
                self.current.disguised |= body.contains('\\');
                self.started = true;
                self.current.text.push_str(&decode_ansi_c(body));
                end + 1
            }
            b'"' if quoting == Quoting::Open => at + 1,
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let length = name_length(&bytes[at + 1..]);
                let end = at + 1 + length;
                if text[end..].starts_with("\\\n") {
                    self.reader.problem(Problem::Unparsed, self.span);
                }
                self.variable(&text[at + 1..end], &text[at..end], quoting);
                end
            }
            // A shell joins the lines first, and then sees `$(`, `${` or a name.
            b'\\' if bytes.get(at + 2) == Some(&b'\n') => {
                self.reader.problem(Problem::Unparsed, self.span);
                self.current.text.push('$');
                at + 1
            }
            b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!' | b'0'..=b'9' => {
                self.variable(&text[at + 1..at + 2], &text[at..at + 2], quoting);
                at + 2
            }
            _ => {
                self.current.text.push('$');
                at + 1
            }
        }
    }

    /// Appends what stays as it is in the source.
    fn unknown(&mut self, source: &str) {
        self.current.text.push_str(shown(source));
        self.at_least(Known::Unknown);
    }

    fn substitute(&mut self, body: &str, origin: Origin, source: &str, quoting: Quoting) {
        if body.trim().is_empty() {
            // It yields nothing, and stands there to part a word.
            self.current.disguised = true;
            return;
        }
        let first = self.reader.commands.len();
        self.reader.read_nested(body, origin);
        match self.reader.output_since(first) {
            Some(value) => {
                let made = self
                    .reader
                    .commands
                    .get(first)
                    .map(super::SimpleCommand::program);
                self.current.disguised |= matches!(made, Some("echo" | "printf"));
                self.value(&value, quoting);
            }
            None => self.unknown(source),
        }
    }

    /// Appends a known value, split at blanks where the shell would.
    fn value(&mut self, value: &Word, quoting: Quoting) {
        if !self.reader.spend(value.text.len()) {
            return;
        }
        if value.runs.0 < value.runs.1 {
            self.inherited = value.runs;
        }
        if quoting != Quoting::Open || !self.splits {
            self.at_least(value.known);
            self.started = true;
            self.current.text.push_str(&value.text);
            return;
        }
        if value.text.starts_with(char::is_whitespace) {
            self.end_word();
        }
        let separators = self.separators(&value.text);
        let parts = value
            .text
            .split(|c: char| c.is_whitespace() || separators.contains(c));
        for (index, part) in parts.filter(|part| !part.is_empty()).enumerate() {
            if index > 0 {
                self.end_word();
            }
            self.at_least(value.known);
            if part.contains(['*', '?']) {
                self.at_least(Known::Pattern);
            }
            self.current.text.push_str(part);
        }
        if value.text.ends_with(char::is_whitespace) {
            self.end_word();
        }
    }

    /// Returns the characters of `IFS` at which a value is split in the assumed reading.
    fn separators(&mut self, text: &str) -> String {
        let Some(separators) = self.reader.variable(SEPARATORS) else {
            return String::new();
        };
        let parts = |c: char| !c.is_whitespace() && text.contains(c);
        if !separators.text.contains(parts) || self.reader.depends_on(SEPARATORS) != Some(false) {
            return String::new();
        }
        separators.text
    }

    fn variable(&mut self, name: &str, source: &str, quoting: Quoting) {
        if let Some(other) = self.reader.other_value(name) {
            return self.value(&other, quoting);
        }
        if name == "IFS" {
            self.current.disguised = true;
            let blank = Word::literal(" ", self.span);
            return self.value(&blank, quoting);
        }
        if let Some(value) = self.reader.variable(name) {
            // `$a$b` and `r$b` put a name together out of pieces.
            let glued = self
                .current
                .text
                .ends_with(|c: char| c.is_ascii_lowercase())
                && value.text.starts_with(|c: char| c.is_ascii_lowercase());
            self.current.disguised |= glued && !self.current.text.contains('/');
            // `"$@"` is as many words as there are.
            let quoting = if name == "@" { Quoting::Open } else { quoting };
            return self.value(&value, quoting);
        }
        let glued = self
            .current
            .text
            .ends_with(|c: char| c.is_ascii_alphabetic());
        if matches!(name, "@" | "*") && glued && quoting == Quoting::Open {
            // Without arguments they are nothing, which hides a name as in `who$@ami`.
            self.current.disguised = true;
            return;
        }
        self.unknown(source);
    }

    /// Reads the substitutions in text of which nothing else is needed.
    fn look_into(&mut self, text: &str, offset: usize) {
        if !text.contains("$(") && !text.contains('`') {
            return;
        }
        let mut inner = Expansion::new(self.reader, self.span, self.origin);
        inner.run(text, offset, Quoting::HereDoc);
    }
}

fn find(bytes: &[u8], from: usize, byte: u8) -> usize {
    let rest = bytes.get(from..).unwrap_or(&[]);
    rest.iter()
        .position(|&b| b == byte)
        .map_or(bytes.len(), |length| from + length)
}

/// Returns the end of a region; the text was masked before, so what is unterminated ends the text.
fn region_end(text: &str, at: usize, quoting: Quoting) -> usize {
    let around = if quoting == Quoting::Open {
        Around::Nothing
    } else {
        Around::Quotes
    };
    let end = end_of_region(text, at, around).unwrap_or(text.len());
    (end..=text.len())
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(text.len())
}

fn char_length(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

fn name_length(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .unwrap_or(bytes.len())
}

fn shown(source: &str) -> &str {
    match source.char_indices().nth(PLACEHOLDER_BYTES_MAX) {
        Some((end, _)) => &source[..end],
        None => source,
    }
}
