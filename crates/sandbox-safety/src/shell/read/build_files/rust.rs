//! What `cargo` runs besides the compiler: build scripts, wrappers and runners.

use super::shell_text;
use crate::inline::strings;

/// Of one file, so many calls are looked at.
const CALLS_MAX: usize = 64;
/// Subcommands that build nothing.
const BUILDS_NOTHING: &str = "fmt tree metadata add remove rm search update login logout new init clean fetch \
    generate-lockfile vendor version help owner yank info locate-project pkgid uninstall";

/// Returns what `cargo OPERAND…` runs because of a build script or a configuration.
pub(super) fn cargo(name: &str, text: &str, operands: &[&str]) -> Vec<String> {
    let builds = operands
        .iter()
        .find(|it| !it.starts_with('+'))
        .is_some_and(|it| !BUILDS_NOTHING.split_whitespace().any(|known| known == *it));
    if !builds {
        return Vec::new();
    }
    if name.ends_with("build.rs") {
        build_script(text)
    } else {
        configured(text)
    }
}

/// Returns the programs that a build script starts and the files that it deletes.
fn build_script(code: &str) -> Vec<String> {
    let started = words_of_chains(code, "Command::new(");
    let started = started.iter().map(|words| shell_text(words));
    let deleted = words_of_calls(code, &["remove_dir_all(", "remove_file("]);
    let deleted = deleted.into_iter().filter_map(|words| {
        let path = words.first()?;
        Some(format!("rm -rf {}", shell_text(&[path])))
    });
    started.chain(deleted).collect()
}

/// Returns the programs that a configuration puts before the compiler and before what is built.
fn configured(text: &str) -> Vec<String> {
    let names = [
        "rustc",
        "rustc-wrapper",
        "rustc-workspace-wrapper",
        "rustdoc",
        "runner",
        "linker",
    ];
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let name = name.trim().rsplit('.').next().unwrap_or_default();
        if !names.contains(&name) {
            continue;
        }
        let words = strings(value);
        if value.trim_start().starts_with('[') {
            found.push(shell_text(&words));
        } else {
            found.extend(words);
        }
    }
    found
}

/// Returns the string literals in each call of one of `names`, up to its closing parenthesis.
pub(super) fn words_of_calls(code: &str, names: &[&str]) -> Vec<Vec<String>> {
    let calls = names.iter().flat_map(|name| {
        let found = code.match_indices(name).take(CALLS_MAX);
        found.map(|(at, name)| &code[at + name.len()..])
    });
    let words = calls.map(|behind| strings(&behind[..closing(behind)]));
    words.filter(|it| !it.is_empty()).collect()
}

/// Returns the string literals in each chain of calls that begins with `name`, up to its `;`.
fn words_of_chains(code: &str, name: &str) -> Vec<Vec<String>> {
    let chains = code.match_indices(name).take(CALLS_MAX).map(|(at, name)| {
        let behind = &code[at + name.len()..];
        let end = outside_strings(behind, |byte, _| byte == b';');
        strings(&behind[..end])
    });
    chains.filter(|it| !it.is_empty()).collect()
}

fn closing(code: &str) -> usize {
    let mut open = 1_usize;
    outside_strings(code, |byte, _| {
        match byte {
            b'(' => open += 1,
            b')' => open -= 1,
            _ => {}
        }
        open == 0
    })
}

/// Returns where `ends` holds first for a byte in no string; else the end.
fn outside_strings(code: &str, mut ends: impl FnMut(u8, usize) -> bool) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in code.bytes().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(own) if byte == own => quote = None,
            None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
            None if ends(byte, at) => return at,
            Some(_) | None => {}
        }
    }
    code.len()
}
