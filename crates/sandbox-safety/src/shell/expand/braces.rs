//! Brace expansion: `a{b,c}d` and `{1..3}`.

use std::fmt::Write as _;

use super::{Quoting, find, region_end};

/// More words than this from one brace expansion are not told apart.
const BRACES_MAX: usize = 64;
/// Braces in a longer word are left as they are.
const BRACES_TEXT_BYTES_MAX: usize = 4096;
/// Braces that nest deeper are left as they are.
const BRACES_DEPTH_MAX: usize = 16;

/// Expands `a{b,c}d` and `{1..3}` outside of quotes; anything else stays as it is.
pub(super) fn expand_braces(text: &str) -> Vec<String> {
    let mut open = vec![text.to_owned()];
    if text.len() > BRACES_TEXT_BYTES_MAX || !text.contains('{') {
        return open;
    }
    let mut done = Vec::new();
    while let Some(text) = open.pop() {
        let Some((start, end, parts)) = first_braces(&text) else {
            done.push(text);
            continue;
        };
        if done.len() + open.len() + parts.len() > BRACES_MAX {
            done.push(text);
            continue;
        }
        for part in parts.iter().rev() {
            let mut next = String::new();
            // Writing to a string cannot fail.
            let _infallible = write!(next, "{}{part}{}", &text[..start], &text[end..]);
            open.push(next);
        }
    }
    done
}

/// Finds the first braces that expand: where they start, end, and what they yield.
fn first_braces(text: &str) -> Option<(usize, usize, Vec<String>)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'\'' => at = find(bytes, at + 1, b'\''),
            b'"' | b'`' => at = region_end(text, at, Quoting::Open).saturating_sub(1),
            b'$' | b'<' | b'>' if matches!(bytes.get(at + 1), Some(b'(' | b'{')) => {
                at = region_end(text, at, Quoting::Open).saturating_sub(1);
            }
            b'{' => {
                if let Some((end, parts)) = braces_at(text, at) {
                    return Some((at, end, parts));
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn braces_at(text: &str, start: usize) -> Option<(usize, Vec<String>)> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = start;
    let mut part = start + 1;
    let mut parts = Vec::new();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'\'' => at = find(bytes, at + 1, b'\''),
            b'"' => at = region_end(text, at, Quoting::Open).saturating_sub(1),
            b'{' if depth == BRACES_DEPTH_MAX => return None,
            b'{' => depth += 1,
            b',' if depth == 1 => {
                parts.push(text.get(part..at)?.to_owned());
                part = at + 1;
            }
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    let last = text.get(part..at)?;
                    if parts.is_empty() {
                        return Some((at + 1, range(last)?));
                    }
                    parts.push(last.to_owned());
                    return Some((at + 1, parts));
                }
            }
            b' ' | b'\t' | b'\n' => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Expands `1..3` and `a..c`.
fn range(text: &str) -> Option<Vec<String>> {
    let (from, to) = text.split_once("..")?;
    if let (Ok(from), Ok(to)) = (from.parse::<i64>(), to.parse::<i64>()) {
        let (low, high) = (from.min(to), from.max(to));
        return (high.checked_sub(low)? < 16)
            .then(|| (low..=high).map(|n| n.to_string()).collect());
    }
    let mut ends = (from.chars(), to.chars());
    match (ends.0.next()?, ends.0.next(), ends.1.next()?, ends.1.next()) {
        (from, None, to, None) if from <= to => {
            Some((from..=to).take(64).map(String::from).collect())
        }
        _ => None,
    }
}
