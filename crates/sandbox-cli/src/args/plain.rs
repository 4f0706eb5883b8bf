//! `sandbox run` with nothing but a command and the options that are typed most, read by hand: building a parser for
//! all options takes a tenth of the time of such a run.

use std::{ffi::OsString, path::PathBuf};

use super::{GlobalArgs, RunArgs};

/// Reads the words behind `run`. `None` if there is anything in them that is not read here, right or wrong: then
/// nothing is said of them.
pub(super) fn run(words: &[OsString]) -> Option<(GlobalArgs, RunArgs)> {
    let (mut global, mut args) = (GlobalArgs::default(), RunArgs::default());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let flag = match word.to_str()? {
            "--" => {
                args.command = words.map(text).collect::<Option<_>>()?;
                break;
            }
            "-w" | "--workspace" => {
                let directory = PathBuf::from(value(words.next()?)?);
                once(args.workspace.replace(directory).is_none())?;
                continue;
            }
            "-s" | "--sandbox" => {
                let name = value(words.next()?)?.parse().ok()?;
                once(global.sandbox.replace(name).is_none())?;
                continue;
            }
            "--json" => &mut global.json,
            "-q" | "--quiet" => &mut global.quiet,
            "--direct" => &mut args.direct,
            "--no-session" => &mut args.no_session,
            "--review" => &mut args.review,
            "--yes" => &mut args.yes,
            option if option.starts_with('-') => return None,
            program => {
                let rest = words.map(text).collect::<Option<Vec<_>>>()?;
                // What that one means there is not for us to say.
                once(!rest.iter().any(|word| word == "--"))?;
                args.command = [program.to_owned()].into_iter().chain(rest).collect();
                break;
            }
        };
        once(!std::mem::replace(flag, true))?;
    }
    let is_wrong = args.command.is_empty() || (args.direct && args.review);
    (!is_wrong).then_some((global, args))
}

fn text(word: &OsString) -> Option<String> {
    word.to_str().map(str::to_owned)
}

/// An option's value, unless it may be another option, or is none.
fn value(word: &OsString) -> Option<&str> {
    word.to_str()
        .filter(|it| !it.is_empty() && !it.starts_with('-'))
}

fn once(is_first: bool) -> Option<()> {
    is_first.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_left_to_the_parser() {
        for line in [
            "",
            "--",
            "-w",
            "-w -- true",
            "-wx -- true",
            "--workspace=x -- true",
            "-w x -w y -- true",
            "--json --json -- true",
            "-s NOT/A/NAME -- true",
            "--direct --review -- true",
            "--shell true",
            "--detach -- true",
            "ls -- -l",
        ] {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            assert!(run(&words).is_none(), "{line}");
        }
    }
}
