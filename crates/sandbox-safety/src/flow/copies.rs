//! What is copied where: files that hold what another command fetched or read.

use crate::{
    pattern::operands,
    rules::{Scene, filesystem::written},
    shell::{SimpleCommand, basename},
};

/// Only so many commands before one are followed.
const LOOK_BACK_MAX: usize = 200;
/// So many names are followed.
const NAMES_MAX: usize = 64;

/// Returns the names of files that hold, before `command` runs, what `source` commands yield.
pub(super) fn copies_of(
    scene: &Scene<'_>,
    command: &SimpleCommand,
    source: impl Fn(&SimpleCommand) -> bool,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let start = command.index.saturating_sub(LOOK_BACK_MAX);
    let earlier = scene.reading.commands.get(start..command.index);
    for other in earlier.unwrap_or(&[]) {
        let reads = |text: &str| names.iter().any(|name| name == plain(text));
        let carries = source(other)
            || operands(other).iter().any(|word| {
                reads(&word.text) || word.text.split_once('=').is_some_and(|(_, it)| reads(it))
            })
            || other.redirects.iter().any(|it| reads(&it.target.text))
            || scene.feeders(other).any(&source);
        if carries && names.len() < NAMES_MAX {
            names.extend(outputs(other));
        }
    }
    names
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
