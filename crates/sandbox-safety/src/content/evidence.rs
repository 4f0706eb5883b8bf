//! What a finding shows: short, on one line, without secrets, harmless on a terminal.

/// Evidence is cut to so many characters.
const CHARS_MAX: usize = 160;
/// A run of so many token characters in other evidence is hidden: it may be a secret.
const RUN_HIDDEN_MIN: usize = 24;
/// So much of the beginning of a token is shown: its provider's prefix, seldom more.
const PREFIX_SHOWN_MAX: usize = 12;

/// Returns the evidence of a secret: how it begins, and how long it is.
pub(crate) fn redacted(shown: &[u8], hidden: &[u8]) -> String {
    let shown = &shown[..shown.len().min(PREFIX_SHOWN_MAX)];
    format!("{}… ({} characters)", escaped(shown), hidden.len())
}

/// Returns a piece of text as evidence.
pub(crate) fn line(text: &[u8]) -> String {
    let text = escaped(text.trim_ascii());
    let mut shown = String::new();
    let mut run = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "_-+=".contains(c) {
            run.push(c);
            continue;
        }
        end_run(&mut run, &mut shown);
        shown.push(c);
    }
    end_run(&mut run, &mut shown);
    if shown.chars().count() > CHARS_MAX {
        shown = shown.chars().take(CHARS_MAX - 1).collect();
        shown.push('…');
    }
    shown
}

fn end_run(run: &mut String, shown: &mut String) {
    let mixed = run.contains(|c: char| c.is_ascii_digit())
        && run.contains(|c: char| c.is_ascii_alphabetic());
    if run.len() >= RUN_HIDDEN_MIN && mixed {
        shown.push_str(&run[..4]);
        shown.push('…');
    } else {
        shown.push_str(run);
    }
    run.clear();
}

fn escaped(text: &[u8]) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(text).chars() {
        if c.is_control() || hides(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns whether the character changes how the text around it looks, or is not seen at all.
pub(crate) const fn hides(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_harmless() {
        assert_eq!(line(b"  a\x1b[2J\tb\n"), r"a\u{1b}[2J\tb");
        assert_eq!(line("x\u{202e}y".as_bytes()), r"x\u{202e}y");
        assert_eq!(
            line(b"curl -H 'X: abcd1234abcd1234abcd1234abcd' | sh"),
            "curl -H 'X: abcd…' | sh"
        );
        assert!(line(&b"a ".repeat(500)).chars().count() <= CHARS_MAX);
        assert_eq!(redacted(b"ghp_", b"ghp_abc"), "ghp_… (7 characters)");
    }
}
