//! What is evaluated and not run: `[[ … ]]` and `(( … ))`, and what only looks like it.

use super::{Origin, Quoting, RawWord, Reader, expand_whole, parse};

impl Reader {
    /// Looks into `[[ … ]]` and `(( … ))`, which only evaluate.
    ///
    /// A shell without arithmetic commands, as many `/bin/sh` are, runs `((rm -r x))`.
    pub(super) fn evaluated(&mut self, raw: &RawWord, origin: Origin) {
        let nested = !raw.text.starts_with("[[") && !raw.text.starts_with("((")
            || raw.text.starts_with("((") && !raw.text.ends_with("))");
        if nested {
            let inner = raw.text.strip_prefix('(').unwrap_or(&raw.text);
            let inner = inner.strip_suffix(')').unwrap_or(inner);
            return self.read_nested(inner, Origin::Within(origin.place(raw.span)));
        }
        expand_whole(self, raw, origin, Quoting::HereDoc);
        let inner = raw.text.trim_matches(['(', ')', ' ', '\n', '\t']);
        let mut words = inner.split_whitespace();
        let name = |word: &str| {
            let mut bytes = word.trim_end_matches(';').bytes();
            bytes.all(|b| b.is_ascii_alphanumeric() || b"./_-~:".contains(&b))
        };
        // Between two operands arithmetic has an operator.
        let operator = |word: &str| {
            word.starts_with(['=', '+', '%', '!', '^', '?', '<', '>', '&', ','])
                || matches!(word, "-" | "|" | "||") && !inner.contains(['\n', ';'])
        };
        let command = words.next().is_some_and(name) && !words.next().is_some_and(operator);
        if raw.text.starts_with("((") && command && parse(inner).is_ok() {
            self.read_nested(inner, Origin::Within(origin.place(raw.span)));
        }
    }
}

/// Returns whether a command's first word is such an expression.
pub(super) fn is_evaluated(word: &str) -> bool {
    word.starts_with("[[ ") || word.starts_with('(')
}
