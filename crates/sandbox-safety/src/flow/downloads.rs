//! Programs that fetch something, and where they put it.

use std::sync::LazyLock;

use crate::{
    paths::Places,
    pattern::{has_option, is_named, matches},
    shell::{RedirectKind, SimpleCommand, basename},
};

/// What fetches from another machine and prints it, or saves it; patterns as in rule packs.
static FETCHERS: &[&str] = &[
    "curl|wget|wget2|fetch|aria2c|http|https|xh|xhs|lwp-download|lwp-request|GET|lynx|elinks|links|links2|w3m|axel|curlie|ftp|tftp|nc|ncat|netcat|telnet",
    "curl.exe|wget.exe|iwr|irm|Invoke-WebRequest|Invoke-RestMethod|Start-BitsTransfer|bitsadmin|certutil",
    "nc.openbsd|nc.traditional|httpie|hurl|grpcurl|websocat|wscat|puf|snarf|smbget|ncftpget|lftp|lftpget|wcurl|kurly|hget|ipget",
    // What a name server answers comes from whoever runs it.
    "dig|nslookup|drill|kdig|host|dog|doggo|delv|resolvectl",
    "socat ~TCP|UDP|OPENSSL|SSL|tcp:|tcp4:|udp:",
    "openssl s_client",
    "aws s3 cp",
    "aws s3api get-object",
    "gsutil cat|cp",
    "gcloud storage cat|cp",
    "az storage blob|file download",
    "rclone cat|copy|copyto|copyurl",
    "mc|mcli|s3cmd|s5cmd|b2 cat|get|cp|download-file|download_file_by_name",
    "gh gist|release view|download",
    "gh api ..",
    "glab api|snippet ..",
    "ipfs cat|get",
    "ssh *",
    "scp|sftp|pscp ~:",
    "svn cat|export ~://",
    "youtube-dl|yt-dlp|gallery-dl ~://",
];

/// The programs of all patterns.
static PROGRAMS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let names = FETCHERS
        .iter()
        .filter_map(|pattern| pattern.split(' ').next());
    let mut programs: Vec<&str> = names.flat_map(|names| names.split('|')).collect();
    programs.sort_unstable();
    programs.dedup();
    programs
});

/// Returns whether `command` fetches something from another machine.
pub(super) fn is_download(command: &SimpleCommand) -> bool {
    let program = command.program();
    // Most commands are none of these, and many are asked about.
    if PROGRAMS.binary_search(&program).is_err() {
        return false;
    }
    let own = Places::default();
    let mut patterns = FETCHERS.iter();
    patterns.any(|pattern| {
        let names = pattern.split(' ').next().unwrap_or(pattern);
        is_named(names, program) && matches(pattern, command, &own)
    })
}

/// Returns whether a download is saved under `name`.
pub(super) fn saves_as(download: &SimpleCommand, name: &str) -> bool {
    let same = |text: &str| {
        text.trim_start_matches("./") == name
            || basename(text) == basename(name) && !basename(name).is_empty()
    };
    let redirected = download.redirects.iter().any(|r| {
        matches!(r.kind, RedirectKind::Write | RedirectKind::Append) && same(&r.target.text)
    });
    let args = download.args();
    let named = args.windows(2).any(|pair| {
        matches!(
            pair[0].text.as_str(),
            "-o" | "--output" | "-O" | "--output-document"
        ) && same(&pair[1].text)
    });
    let glued = args.iter().any(|w| {
        w.text
            .strip_prefix("-o")
            .or_else(|| w.text.strip_prefix("--output="))
            .is_some_and(same)
    });
    let own_name = (download.program() == "wget"
        || has_option(args, "-O")
        || has_option(args, "--remote-name"))
        && args
            .iter()
            .any(|w| w.text.contains("://") && same(w.text.split(['?', '#']).next().unwrap_or("")));
    // `scp host:x .`, `aws s3 cp s3://b/x .`: under its own name, or under the last operand.
    let kept = !matches!(
        download.program(),
        "curl" | "wget" | "ssh" | "dig" | "nc" | "http"
    ) && args
        .iter()
        .rev()
        .filter(|w| !w.text.starts_with('-'))
        .take(2)
        .any(|w| same(w.text.rsplit([':', '/']).next().unwrap_or("")) && !w.text.is_empty());
    redirected || named || glued || own_name || kept
}
