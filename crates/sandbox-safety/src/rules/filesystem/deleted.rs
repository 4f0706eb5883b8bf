//! What a command deletes or moves away.

use crate::{
    paths::{Place, place_of},
    pattern::{has_option, operands},
    rules::Scene,
    shell::{Known, SimpleCommand, Span, Word, basename},
};

/// Returns the word that names what `command` deletes, where `wanted` holds for its place and
/// whether a whole directory goes.
pub(super) fn deletes(
    scene: &Scene<'_>,
    command: &SimpleCommand,
    wanted: fn(Place, bool) -> bool,
) -> Option<Span> {
    let places = scene.places;
    let look = |word: &Word, all: bool| {
        let starred = all || word.text.contains('*');
        wanted(place_of(word, command, places), starred).then_some(word.span)
    };
    let args = command.args();
    match command.program() {
        "rm" | "unlink" | "trash" | "trash-put" | "rmtrash" | "rimraf" | "del" | "rmdir"
        | "shred" | "srm" | "wipe" => {
            let program = command.program();
            let recursive = matches!(program, "rimraf" | "trash" | "trash-put" | "rmtrash")
                || has_option(args, "-r")
                || has_option(args, "-R")
                || has_option(args, "--recursive");
            if program == "rmdir" {
                return None;
            }
            let found = operands(command).into_iter().find_map(|word| {
                let found = look(word, recursive)?;
                // Deleting a directory without -r fails.
                let tree = matches!(
                    place_of(word, command, places),
                    Place::Root | Place::SystemTree | Place::Home
                );
                (!tree || recursive || word.text.contains('*')).then_some(found)
            });
            if found.is_some() || !command.fed || !recursive && !fed_by_find(scene, command) {
                return found;
            }
            fed_places(scene, command, recursive, &look)
        }
        // What is packed is deleted where it was.
        "tar" | "gtar" | "bsdtar" if has_option(args, "--remove-files") => operands(command)
            .into_iter()
            .find_map(|word| look(word, true)),
        // What is moved away is as lost to the system as what is deleted.
        "mv" => {
            let all = operands(command);
            // `mv -t TARGET SOURCE…`
            let target_first = args
                .iter()
                .any(|it| it.text == "-t" || it.text == "--target-directory");
            let sources = all.len().saturating_sub(1);
            all.into_iter()
                .skip(usize::from(target_first))
                .take(sources)
                .find_map(|word| look(word, false))
        }
        "find" | "fd" => {
            if !args.iter().any(|w| w.text == "-delete") && !executes_a_deletion(args) {
                return None;
            }
            starts(command).iter().find_map(|start| {
                let wide = place_of(start, command, places) == Place::Wide;
                if wide && is_selective(command) {
                    return None;
                }
                look(start, true)
            })
        }
        _ => None,
    }
}

/// Looks at what `xargs rm` gets from a list of places.
fn fed_places(
    scene: &Scene<'_>,
    command: &SimpleCommand,
    recursive: bool,
    look: &dyn Fn(&Word, bool) -> Option<Span>,
) -> Option<Span> {
    // `ls -d PLACE | xargs rm`
    let lists = |it: &SimpleCommand| it.program() == "ls" && has_option(it.args(), "-d");
    let all = scene.feeders(command).all(|it| lists(it) || it.taken_apart);
    let listed = scene.feeders(command).filter(|it| all && lists(it));
    let named = listed
        .flat_map(operands)
        .find_map(|word| look(word, recursive).map(|_| command.span));
    if named.is_some() {
        return named;
    }
    // `find START | xargs rm`
    scene
        .feeders(command)
        .filter(|c| c.program() == "find")
        .find_map(|find| {
            let start = starts(find).into_iter().next()?;
            look(&start, recursive || !is_selective(find)).map(|_| command.span)
        })
}

fn fed_by_find(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    scene
        .feeders(command)
        .any(|feeder| feeder.program() == "find")
}

/// Programs that delete what they are given.
const DELETING: [&str; 12] = [
    "rm",
    "shred",
    "unlink",
    "srm",
    "wipe",
    "rimraf",
    "trash",
    "trash-put",
    "rmtrash",
    "scrub",
    "del",
    "grm",
];

/// Returns whether an action of `find` or `fd` starts a program that deletes, whatever wrappers stand before it.
fn executes_a_deletion(args: &[Word]) -> bool {
    const WRAPPING: [&str; 8] = [
        "sudo", "doas", "env", "nice", "ionice", "command", "busybox", "toybox",
    ];
    let is_action = |text: &str| {
        matches!(
            text,
            "-exec" | "-execdir" | "-ok" | "-okdir" | "-x" | "-X" | "--exec" | "--exec-batch"
        )
    };
    args.iter().enumerate().any(|(at, word)| {
        let after = args.get(at + 1..).unwrap_or(&[]);
        let mut names = after
            .iter()
            .map(|it| basename(&it.text))
            .skip_while(|name| WRAPPING.contains(name) || name.starts_with('-'));
        is_action(&word.text)
            && match names.next() {
                Some("gio" | "gvfs") => names.next() == Some("trash"),
                Some(name) => DELETING.contains(&name),
                None => false,
            }
    })
}

/// Returns where a `find` or `fd` starts; without a start it is the current directory.
fn starts(command: &SimpleCommand) -> Vec<Word> {
    let args = command.args();
    let mut found: Vec<Word> = Vec::new();
    if command.program() == "fd" {
        const VALUED: [&str; 22] = [
            "-e",
            "--extension",
            "-t",
            "--type",
            "-d",
            "--max-depth",
            "--min-depth",
            "-E",
            "--exclude",
            "-S",
            "--size",
            "-o",
            "--owner",
            "-j",
            "--threads",
            "--changed-within",
            "--changed-before",
            "-c",
            "--color",
            "--exact-depth",
            "--ignore-file",
            "--format",
        ];
        let mut operands = 0;
        let mut args = args.iter();
        while let Some(word) = args.next() {
            match word.text.as_str() {
                "-x" | "-X" | "--exec" | "--exec-batch" => {
                    // What follows belongs to the command, up to a `;`.
                    args.by_ref().find(|it| it.text == ";");
                }
                "--search-path" | "--base-directory" | "-C" => found.extend(args.next().cloned()),
                text if VALUED.contains(&text) => drop(args.next()),
                text if text.starts_with('-') => {}
                _ => {
                    operands += 1;
                    found.extend((operands > 1).then(|| word.clone()));
                }
            }
        }
    } else {
        let mut args = args.iter();
        while let Some(word) = args.next() {
            match word.text.as_str() {
                "-H" | "-L" | "-P" => {}
                "-D" => drop(args.next()),
                text if text.starts_with("-O") => {}
                text if text.starts_with(['-', '(', '!']) => break,
                _ => found.push(word.clone()),
            }
        }
        // The starts are in a file, or come through a pipe.
        if command.args().iter().any(|it| it.text == "-files0-from") {
            found.push(Word {
                known: Known::Unknown,
                ..Word::literal("$files", command.span)
            });
        }
    }
    if found.is_empty() {
        found.push(Word::literal(".", command.span));
    }
    found
}

/// Returns whether a `find` tests anything about the files.
fn is_selective(command: &SimpleCommand) -> bool {
    command.args().iter().any(|word| {
        matches!(
            word.text.as_str(),
            "-name"
                | "-iname"
                | "-path"
                | "-regex"
                | "-empty"
                | "-mtime"
                | "-atime"
                | "-size"
                | "-newer"
                | "-mmin"
                | "-inum"
                | "-user"
                | "-perm"
                | "-wholename"
                | "-ipath"
                | "-ctime"
                | "-samefile"
                | "-links"
        )
    })
}
