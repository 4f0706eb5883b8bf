//! What is copied where: files that hold what another command fetched or read.

use std::cell::OnceCell;

use crate::{
    pattern::operands,
    rules::{Scene, filesystem::written},
    shell::{SimpleCommand, basename},
};

/// Only so many commands before one are followed.
const LOOK_BACK_MAX: usize = 200;
/// So many names of files are followed.
const NAMES_MAX: usize = 4096;

/// The files that hold what a command yields, each with the command that wrote it; looked for once for all rules.
pub(crate) type Copies = OnceCell<Vec<(usize, String)>>;

/// Returns the names of files that hold, before `command` runs, what `source` commands yield.
pub(super) fn copies_of<'s>(
    scene: &'s Scene<'_>,
    command: &SimpleCommand,
    known: &'s Copies,
    source: impl Fn(&SimpleCommand) -> bool,
) -> Vec<&'s str> {
    let all = known.get_or_init(|| all_copies(scene, source));
    let start = command.index.saturating_sub(LOOK_BACK_MAX);
    let end = all.partition_point(|(at, _)| *at < command.index);
    let recent = all[..end].iter().rev().take_while(|(at, _)| *at >= start);
    recent.map(|(_, name)| name.as_str()).collect()
}

fn all_copies(scene: &Scene<'_>, source: impl Fn(&SimpleCommand) -> bool) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for other in &scene.reading.commands {
        let start = other.index.saturating_sub(LOOK_BACK_MAX);
        let first = found.partition_point(|(at, _)| *at < start);
        let recent = &found[first..];
        let reads = |text: &str| recent.iter().any(|(_, name)| name == plain(text));
        let named = || {
            operands(other).iter().any(|word| {
                reads(&word.text) || word.text.split_once('=').is_some_and(|(_, it)| reads(it))
            }) || other.redirects.iter().any(|it| reads(&it.target.text))
        };
        let carries =
            source(other) || !recent.is_empty() && named() || scene.feeders(other).any(&source);
        if carries && found.len() < NAMES_MAX {
            found.extend(outputs(other).into_iter().map(|name| (other.index, name)));
        }
    }
    found
}

/// Returns a file's name as it is compared.
pub(super) fn plain(text: &str) -> &str {
    text.trim_start_matches("./")
}

/// Returns the files that a command writes.
fn outputs(command: &SimpleCommand) -> Vec<String> {
    let mut found: Vec<String> = written(command)
        .into_iter()
        .map(|word| plain(&word.text).to_owned())
        .collect();
    let all = operands(command);
    let args = command.args();
    match command.program() {
        "dd" => {
            let out = args.iter().find_map(|word| word.text.strip_prefix("of="));
            found.extend(out.map(|it| plain(it).to_owned()));
        }
        "tar" | "bsdtar" => {
            let after = args.windows(2).find(|pair| {
                let option = pair[0].text.as_str();
                option == "--file" || !option.starts_with("--") && option.ends_with('f')
            });
            found.extend(after.map(|pair| plain(&pair[1].text).to_owned()));
            let long = args.iter().find_map(|it| it.text.strip_prefix("--file="));
            found.extend(long.map(|it| plain(it).to_owned()));
        }
        "zip" | "7z" | "7za" | "rar" => {
            let archive = all.iter().find(|word| word.text.contains('.'));
            found.extend(archive.map(|word| plain(&word.text).to_owned()));
        }
        "gzip" | "pigz" | "bzip2" | "xz" | "zstd" | "lz4" | "gpg" | "compress" => {
            let ending = match command.program() {
                "gzip" | "pigz" => "gz",
                "bzip2" => "bz2",
                "xz" => "xz",
                "zstd" => "zst",
                "lz4" => "lz4",
                "gpg" => "gpg",
                _ => "Z",
            };
            let packed = all
                .iter()
                .map(|word| format!("{}.{ending}", plain(&word.text)));
            found.extend(packed);
        }
        _ => {}
    }
    // A copy into a directory keeps its name.
    if matches!(command.program(), "cp" | "mv" | "ln" | "install")
        && let [sources @ .., target] = all.as_slice()
    {
        let target = plain(&target.text).trim_end_matches('/');
        found.extend(
            sources
                .iter()
                .map(|source| format!("{target}/{}", basename(&source.text))),
        );
    }
    found.retain(|name| !name.is_empty() && name != "-" && !name.starts_with("/dev/"));
    found
}
