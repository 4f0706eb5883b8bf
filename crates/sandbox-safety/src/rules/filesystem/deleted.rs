//! What a command deletes or moves away.

use crate::{
    paths::{Place, place_of},
    pattern::{has_option, operands},
    rules::Scene,
    shell::{SimpleCommand, Span, Word},
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
        "rm" | "unlink" | "trash" | "rimraf" | "del" | "rmdir" | "shred" | "srm" | "wipe" => {
            let program = command.program();
            let recursive = program == "rimraf"
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
            let kills = args.iter().any(|w| w.text == "-delete")
                || args.windows(2).any(|pair| {
                    matches!(
                        pair[0].text.as_str(),
                        "-exec" | "-execdir" | "-ok" | "-okdir" | "-x" | "-X"
                    ) && matches!(
                        crate::shell::basename(&pair[1].text),
                        "rm" | "shred" | "unlink" | "srm"
                    )
                });
            if !kills {
                return None;
            }
            find_starts(command).into_iter().find_map(|start| {
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
            let start = find_starts(find).into_iter().next()?;
            look(start, recursive || !is_selective(find)).map(|_| command.span)
        })
}

fn fed_by_find(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    scene
        .feeders(command)
        .any(|feeder| feeder.program() == "find")
}

/// Returns where a `find` starts: its operands before the first test.
fn find_starts(command: &SimpleCommand) -> Vec<&Word> {
    command
        .args()
        .iter()
        .skip_while(|word| matches!(word.text.as_str(), "-H" | "-L" | "-P"))
        .take_while(|word| !word.text.starts_with(['-', '(', '!']))
        .collect()
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
