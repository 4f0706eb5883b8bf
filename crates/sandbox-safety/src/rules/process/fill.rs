//! Writing without end.

use crate::{
    rules::Scene,
    shell::{RedirectKind, SimpleCommand, Span, Word},
};

/// What is written at once and is more than this fills most disks.
const BYTES_MANY: u64 = 100 << 30;
/// Files that yield bytes for ever.
const ENDLESS: [&str; 3] = ["/dev/zero", "/dev/urandom", "/dev/random"];

/// Finds what writes to a file and never ends by itself, or only after more than disks hold.
pub(super) fn fills_the_disk(_: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    // What `timeout` and `head` end, ends.
    if command.wrappers.contains(&"timeout") {
        return None;
    }
    let args = command.args();
    let endless = |text: &str| ENDLESS.contains(&text);
    let reads_endless = || {
        let read = command.redirects.iter();
        let mut read = read.filter(|it| it.kind == RedirectKind::Read);
        read.any(|it| endless(&it.target.text)) || args.iter().any(|it| endless(&it.text))
    };
    let fills = match command.program() {
        "yes" => writes_file(command),
        "cat" | "tr" | "base64" | "xxd" | "od" | "pv" => writes_file(command) && reads_endless(),
        "dd" => copies_without_end(args),
        "head" | "fallocate" => args
            .iter()
            .any(|it| bytes_of(&it.text).is_some_and(|bytes| bytes >= BYTES_MANY)),
        _ => false,
    };
    fills.then_some(command.span)
}

fn writes_file(command: &SimpleCommand) -> bool {
    command.redirects.iter().any(|it| {
        let writes = matches!(it.kind, RedirectKind::Write | RedirectKind::Append);
        writes && !it.target.text.starts_with("/dev/")
    })
}

fn copies_without_end(args: &[Word]) -> bool {
    let value = |name: &str| args.iter().find_map(|it| it.text.strip_prefix(name));
    let from = value("if=").is_some_and(|it| ENDLESS.contains(&it));
    let to = value("of=").is_some_and(|it| !it.starts_with("/dev/"));
    from && to && value("count=").is_none()
}

/// Returns how many bytes an argument such as `-c200G`, `--bytes=1T` or `300GiB` says.
fn bytes_of(text: &str) -> Option<u64> {
    let value = text.rsplit('=').next().unwrap_or(text);
    let value = value.trim_start_matches(|c: char| c == '-' || c.is_ascii_lowercase());
    let end = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}
