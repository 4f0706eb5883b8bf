//! The texts in a program's code.

use super::{
    window,
    words::{Code, SHELL_CALLS},
};

/// Returns the shell text that code hands to a shell: `os.system("…")`, `subprocess.run(["…"])`, ….
pub(crate) fn shell_strings(code: &str) -> Vec<String> {
    let code = Code::of(code);
    let mut found = Vec::new();
    for call in SHELL_CALLS {
        for at in code.places(call).take(16) {
            let behind = &window(code.text, at)[call.len()..];
            let list = behind.trim_start().starts_with('[') || *call == "spawnSync(";
            let end = if list {
                behind.find(']').unwrap_or(behind.len())
            } else {
                behind.len()
            };
            let texts = strings(&behind[..end]);
            let directly = behind.trim_start().starts_with(['"', '\'', '[', 'f', 'r']);
            if !directly {
                continue;
            }
            if list {
                found.push(texts.join(" "));
            } else {
                found.extend(texts.into_iter().next());
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns the string literals in `code`.
pub(crate) fn strings(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = code.chars();
    while let Some(quote) = chars.by_ref().find(|c| matches!(c, '"' | '\'')) {
        let mut text = String::new();
        loop {
            match chars.next() {
                None => return found,
                Some('\\') => text.extend(chars.next()),
                Some(c) if c == quote => break,
                Some(c) => text.push(c),
            }
        }
        found.push(text);
    }
    found
}
