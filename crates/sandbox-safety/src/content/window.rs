//! What a rule may look at around a word: a bounded piece of the file.
//!
//! The piece depends only on where the word stands in the file, never on how the file came in: so
//! every way of cutting a file into chunks gives the same findings.

use std::ops::Range;

use super::token::find;

/// So many bytes before a word can be looked at.
pub(crate) const BACK: usize = 1024;
/// So many bytes after it.
pub(crate) const AHEAD: usize = 4096;
/// A line is cut so many bytes before and after the word.
const LINE_SIDE: usize = 600;

/// A word of a rule, and what stands around it.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    pub(crate) bytes: &'a [u8],
    /// The word.
    pub(crate) word: Range<usize>,
}

impl<'a> Window<'a> {
    /// Returns the piece of `text` around `word`.
    pub(crate) fn around(text: &'a [u8], word: Range<usize>) -> (Self, usize) {
        let from = word.start.saturating_sub(BACK);
        let to = (word.end + AHEAD).min(text.len());
        let window = Self {
            bytes: &text[from..to],
            word: word.start - from..word.end - from,
        };
        (window, from)
    }

    pub(crate) fn before(&self) -> &'a [u8] {
        &self.bytes[..self.word.start]
    }

    pub(crate) fn after(&self) -> &'a [u8] {
        &self.bytes[self.word.end..]
    }

    /// Returns the line that the word stands on; a backslash at its end joins the next one.
    pub(crate) fn line(&self) -> Range<usize> {
        let first = self.word.start.saturating_sub(LINE_SIDE);
        let last = (self.word.end + LINE_SIDE).min(self.bytes.len());
        let ends = |at: usize| {
            let joined = matches!(self.bytes[..at], [.., b'\\'] | [.., b'\\', b'\r']);
            self.bytes[at] == b'\n' && !joined
        };
        let start = (first..self.word.start).rev().find(|at| ends(*at));
        let end = (self.word.end..last).find(|at| ends(*at));
        start.map_or(first, |at| at + 1)..end.unwrap_or(last)
    }

    /// Returns that line in lower case with single blanks.
    pub(crate) fn line_text(&self) -> String {
        let line = String::from_utf8_lossy(&self.bytes[self.line()]).to_ascii_lowercase();
        line.replace("\\\n", " ")
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Returns whether one of the words stands within `distance` bytes, in any case.
    pub(crate) fn has_near(&self, words: &[&str], distance: usize) -> bool {
        let from = self.word.start.saturating_sub(distance);
        let to = (self.word.end + distance).min(self.bytes.len());
        let near = self.bytes[from..to].to_ascii_lowercase();
        words
            .iter()
            .any(|word| find(&near, word.as_bytes()).is_some())
    }

    /// Returns whether the word does not continue a name: `curl` in `libcurl` does.
    pub(crate) fn begins_name(&self) -> bool {
        !self
            .before()
            .last()
            .is_some_and(|it| it.is_ascii_alphanumeric() || *it == b'_')
    }

    /// Returns whether the line is a comment in most languages: text for people.
    pub(crate) fn is_comment(&self) -> bool {
        let line = &self.bytes[self.line()];
        let line = line.trim_ascii_start();
        let marks: [&[u8]; 7] = [b"#", b"//", b"* ", b"--", b";", b"<!--", b"%"];
        marks.iter().any(|mark| line.starts_with(mark)) && !line.starts_with(b"#!")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, word: &str) -> String {
        let at = text.find(word).unwrap();
        let (window, _) = Window::around(text.as_bytes(), at..at + word.len());
        window.line_text()
    }

    #[test]
    fn a_line_ends_where_the_shell_ends_it() {
        assert_eq!(of("a\ncurl x \\\n  | sh\nb", "| sh"), "curl x | sh");
        assert_eq!(of("a\r\nCURL x\r\nb", "CURL"), "curl x");
        assert_eq!(of("word", "word"), "word");
        let long = format!("{}word{}", "a".repeat(9000), "b".repeat(9000));
        assert_eq!(of(&long, "word").len(), 2 * LINE_SIDE + 4);
    }
}
