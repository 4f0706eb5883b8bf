//! Commands that run nothing by themselves: tests and arithmetic.

use super::{Scanner, arithmetic::arithmetic_length};

impl Scanner<'_> {
    /// Blanks `[[ … ]]` and `(( … ))`, which run nothing by themselves.
    pub(super) fn opaque_command(&mut self) -> bool {
        let length = if self.starts_with(b"[[ ") && !self.no_test_end {
            let length = self.find_test_end();
            self.no_test_end = length.is_none();
            length
        } else if self.starts_with(b"((") {
            arithmetic_length(&self.source[self.at..])
        } else {
            None
        };
        let Some(length) = length else { return false };
        self.blank(length, b'x');
        self.expects_command = false;
        true
    }

    fn find_test_end(&self) -> Option<usize> {
        let rest = &self.source[self.at..];
        let mut at = 2;
        while at < rest.len() {
            match rest[at] {
                b'\\' => at += 2,
                b'\'' => at += 2 + rest[at + 1..].iter().position(|&b| b == b'\'')?,
                b'"' => {
                    at += 1;
                    while *rest.get(at)? != b'"' {
                        at += if rest[at] == b'\\' { 2 } else { 1 };
                    }
                    at += 1;
                }
                b']' if rest[at..].starts_with(b"]]") && rest[at - 1].is_ascii_whitespace() => {
                    return Some(at + 2);
                }
                _ => at += 1,
            }
        }
        None
    }
}
