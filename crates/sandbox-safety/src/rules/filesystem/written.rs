//! What a command writes to.

use crate::{
    paths::is_in_class,
    pattern::{has_option, operands},
    rules::Scene,
    shell::{RedirectKind, SimpleCommand, Span, Word},
};

/// Returns the words that name what `command` writes to.
pub(crate) fn written(command: &SimpleCommand) -> Vec<&Word> {
    let mut targets: Vec<&Word> = command
        .redirects
        .iter()
        .filter(|r| matches!(r.kind, RedirectKind::Write | RedirectKind::Append))
        .map(|r| &r.target)
        .collect();
    let args = command.args();
    let all = || operands(command);
    match command.program() {
        "tee" | "truncate" | "sponge" | "vi" | "vim" | "nano" | "ed" | "ex" | "visudo" => {
            targets.extend(all());
        }
        "cp" | "mv" | "install" | "ln" | "rsync" | "scp" => {
            targets.extend(all().into_iter().skip(1).last());
        }
        "sed" | "perl" | "gsed" if args.iter().any(|w| is_in_place(&w.text)) => {
            targets.extend(all().into_iter().skip(1));
        }
        "yq" | "jq" | "gojq" | "dasel"
            if has_option(args, "-i") || has_option(args, "--in-place") =>
        {
            targets.extend(all().into_iter().skip(1));
        }
        "patch" => targets.extend(all().into_iter().take(1)),
        "curl" | "wget" => {
            let named = args.windows(2).filter(|pair| {
                let option = pair[0].text.as_str();
                // `-fsSLo FILE`
                let cluster = option.starts_with('-')
                    && !option.starts_with("--")
                    && option.ends_with(['o', 'O'])
                    && option.len() < 9
                    && !pair[1].text.contains("://");
                cluster || matches!(option, "--output" | "--output-document")
            });
            targets.extend(named.map(|pair| &pair[1]));
        }
        "gcc" | "g++" | "cc" | "c++" | "clang" | "clang++" | "ld" | "go" | "rustc" | "msgfmt"
        | "sort" | "strip" | "objcopy" | "age" | "openssl" | "convert" | "magick" | "dot"
        | "pandoc" | "nasm" => {
            let named = args.windows(2).filter(|pair| {
                matches!(
                    pair[0].text.as_str(),
                    "-o" | "--output" | "-out" | "--output-file"
                )
            });
            targets.extend(named.map(|pair| &pair[1]));
        }
        _ => {}
    }
    targets
}

fn is_in_place(option: &str) -> bool {
    option.starts_with("-i")
        || option.starts_with("--in-place")
        || option == "-pi"
        || option == "-Ei"
        || option.starts_with("-pi")
}

/// Returns whether a path lies in `/dev` and is none of the devices that take anything.
fn is_unknown_device(path: &str) -> bool {
    const HARMLESS: [&str; 8] = [
        "null", "zero", "full", "stdout", "stderr", "tty", "fd/", "shm/",
    ];
    path.strip_prefix("/dev/")
        .is_some_and(|name| !HARMLESS.iter().any(|harmless| name.starts_with(harmless)))
}

/// Finds a block device that is written to.
pub(super) fn writes_device(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let is_device = |text: &str| is_in_class(text, "device", command, scene.places);
    if let Some(target) = written(command)
        .into_iter()
        .find(|word| is_device(&word.text))
    {
        return (command.program() != "ln").then_some(target.span);
    }
    match command.program() {
        "dd" | "dcfldd" | "dc3dd" => command
            .args()
            .iter()
            .find(|word| {
                word.text
                    .strip_prefix("of=")
                    .is_some_and(|path| is_device(path) || is_unknown_device(path))
            })
            .map(|word| word.span),
        "shred" | "wipe" | "scrub" | "srm" => operands(command)
            .into_iter()
            .find(|word| is_device(&word.text))
            .map(|word| word.span),
        _ => None,
    }
}
