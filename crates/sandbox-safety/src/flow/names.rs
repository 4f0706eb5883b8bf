//! Data that leaves as a part of a name: whoever answers for the domain reads it in the question.

use crate::{
    rules::Scene,
    shell::{SimpleCommand, Span, Word},
};

/// Programs that ask for an address.
const LOOKUPS: [&str; 14] = [
    "dig",
    "nslookup",
    "host",
    "drill",
    "kdig",
    "dog",
    "doggo",
    "delv",
    "ping",
    "ping6",
    "resolvectl",
    "systemd-resolve",
    "getent",
    "traceroute",
];

/// Programs whose output is data of this machine or of its user.
const TELLERS: [&str; 20] = [
    "cat", "head", "tail", "base64", "base32", "basenc", "xxd", "od", "hexdump", "tar", "gzip",
    "openssl", "whoami", "id", "env", "printenv", "grep", "strings", "gpg", "zip",
];

/// Finds a lookup of a name into which a substitution put data.
pub(crate) fn data_in_a_name(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !LOOKUPS.contains(&command.program()) {
        return None;
    }
    let told = |word: &&Word| {
        let mut sources = scene.run_by(word.runs).iter();
        !word.text.starts_with(['@', '-', '+'])
            && has_domain_behind(&word.text)
            && sources.any(|it| TELLERS.contains(&it.program()))
    };
    command.args().iter().find(told).map(|word| word.span)
}

/// Returns whether the name ends in a domain that the text says: `$(…).example.com`.
fn has_domain_behind(text: &str) -> bool {
    let tail = text.rsplit([')', '`', '}']).next().unwrap_or(text);
    let tail = tail.trim_end_matches('.');
    tail.rsplit_once('.')
        .is_some_and(|(_, top)| top.len() > 1 && top.bytes().all(|it| it.is_ascii_alphabetic()))
}
