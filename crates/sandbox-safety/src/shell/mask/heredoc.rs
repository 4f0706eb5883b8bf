//! Heredocs: the operator becomes a redirection from a placeholder, the body is blanked.

use super::{Delimiter, HereDoc, PendingHereDoc, Scanner, Unreadable};

impl Scanner<'_> {
    /// Replaces `<<WORD` by `<` and a placeholder.
    ///
    /// # Errors
    ///
    /// Refuses a delimiter that shells read in ways of their own: where the body ends could be wrong then.
    pub(super) fn heredoc(&mut self) -> Result<(), Unreadable> {
        let strip_tabs = self.peek(2) == b'-';
        let mut end = self.at + if strip_tabs { 3 } else { 2 };
        while matches!(self.source.get(end), Some(b' ' | b'\t')) {
            end += 1;
        }
        let mut delimiter = Vec::new();
        let mut quoted = false;
        while let Some(&byte) = self.source.get(end) {
            match byte {
                b'\'' | b'"' => {
                    quoted = true;
                    let rest = &self.source[end + 1..];
                    let length = rest.iter().position(|&b| b == byte);
                    let text = &rest[..length.ok_or(Unreadable::Unterminated)?];
                    if text.contains(&b'\n') || byte == b'"' && text.contains(&b'\\') {
                        return Err(Unreadable::Unterminated);
                    }
                    delimiter.extend(text);
                    end += text.len() + 2;
                }
                b'$' | b'`' => return Err(Unreadable::Unterminated),
                b'\\' => {
                    if matches!(self.source.get(end + 1), Some(b'\n') | None) {
                        return Err(Unreadable::Unterminated);
                    }
                    quoted = true;
                    delimiter.extend(self.source.get(end + 1));
                    end = (end + 2).min(self.source.len());
                }
                b'\n' | b' ' | b'\t' | b';' | b'|' | b'&' | b'(' | b')' | b'<' | b'>' => break,
                _ => {
                    delimiter.push(byte);
                    end += 1;
                }
            }
        }
        let visible = self.regions.is_empty();
        self.masked.text.push(if visible { b'<' } else { b'x' });
        self.at += 1;
        self.pending.push(PendingHereDoc {
            at: self.at,
            delimiter: Delimiter {
                text: delimiter,
                quoted,
                strip_tabs,
            },
            visible,
        });
        self.blank(end - self.at, b'x');
        Ok(())
    }

    /// Blanks the lines up to the delimiter.
    pub(super) fn heredoc_body(&mut self, pending: PendingHereDoc) {
        let start = self.at;
        let mut end = start;
        let mut after = self.source.len();
        while end < self.source.len() {
            let line_end = self.source[end..]
                .iter()
                .position(|&b| b == b'\n')
                .map_or(self.source.len(), |length| end + length);
            let mut line = &self.source[end..line_end];
            while pending.delimiter.strip_tabs && line.first() == Some(&b'\t') {
                line = &line[1..];
            }
            if line == pending.delimiter.text {
                after = line_end;
                break;
            }
            end = (line_end + 1).min(self.source.len());
        }
        self.blank(after - self.at, self.gap());
        if pending.visible {
            self.masked.heredocs.push(HereDoc {
                at: pending.at,
                body: (start, end),
                quoted: pending.delimiter.quoted,
            });
        }
    }
}
