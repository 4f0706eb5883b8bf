//! What is executed inside for each kind of action, and what it reads.
//!
//! Work on files happens inside the confinement, by the guest's own `sh`, `mkdir`, `cat`, `chmod`,
//! `rm` and `mv`: the host follows no path of the workspace. Content and scripts travel on standard
//! input, so that their size has no limit of the kernel's argument lists.

use std::path::Path;

use sandbox_isolation::StdinSource;
use sandbox_types::{
    Action, FileWork, Operation, Script,
    action::{MODE_MAX, unusable_path},
};

use crate::{caller::Forwarded, launch_plan::PlanError};

/// The system's own programs are found whatever the caller's `PATH` is. `in_path` runs one of them. What is written by
/// way of a link to a private directory (`/tmp`) would be lost without a word: `inside` ends the work if a path leads
/// out of the workspace, `place` if the directory that it lies in does.
const PROLOGUE: &str = "in_path() { PATH=/usr/bin:/bin:$PATH \"$@\"; }\n\
     parent() { case $1 in ?*/*) in_path mkdir -p -- \"${1%/*}\" ;; esac; }\n\
     root=$(pwd -P && echo x) root=${root%?x}\n\
     inside() { real=$(in_path readlink -f -- \"$1\" && echo x) && \
     case ${real%?x}/ in \"$root\"/*) return ;; esac; \
     printf 'cannot use %s: a link leads out of the workspace\\n' \"$1\" >&2; exit 1; }\n\
     place() { case $1 in ?*/*) inside \"${1%/*}\" ;; esac; }\n";

/// `$1` is the path, `$2` the mode or empty. The redirection follows links, as any program does.
const WRITE: &str = "parent \"$1\" && inside \"$1\" && in_path cat > \"$1\" && \
     { [ -z \"$2\" ] || in_path chmod -- \"$2\" \"$1\"; } || exit 1";
/// `$1` is the path, `$2` the option of `rm`.
const DELETE: &str = "if [ ! -e \"$1\" ] && [ ! -L \"$1\" ]; then \
     printf 'cannot delete %s: there is no such file\\n' \"$1\" >&2; exit 1; fi\n\
     place \"$1\" && in_path rm $2 -- \"$1\" || exit 1";
/// `$1` is the old name, `$2` the new one.
const MOVE: &str = "if [ -d \"$2\" ]; then \
     printf 'cannot move to %s: it is a directory\\n' \"$2\" >&2; exit 1; fi\n\
     place \"$1\" && parent \"$2\" && place \"$2\" && in_path mv -f -- \"$1\" \"$2\" || exit 1";
/// Reads exactly the script from standard input, `$1` blocks and `$2` bytes, and leaves the rest of
/// it to the interpreter: the remaining words. Nothing but `dd` with `fullblock` reads no byte more.
const SCRIPT: &str = "blocks=$1 rest=$2; shift 2\n\
     { in_path dd bs=65536 count=\"$blocks\" iflag=fullblock && { [ \"$rest\" = 0 ] || \
     in_path dd bs=\"$rest\" count=1 iflag=fullblock; }; } > /run/script 2>/dev/null || \
     { printf 'cannot store the script in /run: is tmp_mb too small?\\n' >&2; exit 126; }\n\
     command -v \"$1\" > /dev/null || \
     { printf 'command not found inside the sandbox: %s\\n' \"$1\" >&2; exit 127; }\n\
     exec \"$@\" /run/script";
const SCRIPT_BLOCK_BYTES: usize = 65536;

/// Returns the words that are executed.
pub(crate) fn argv(action: &Action) -> Vec<String> {
    match action {
        Action::Shell(_) | Action::Argv(_) => action.argv(),
        Action::Script(script) => {
            let bytes = script.source.len();
            let blocks = (bytes / SCRIPT_BLOCK_BYTES).to_string();
            let rest = (bytes % SCRIPT_BLOCK_BYTES).to_string();
            let mut words = vec![blocks.as_str(), rest.as_str()];
            words.extend(script.interpreter.iter().map(String::as_str));
            shell(SCRIPT, "script", &words)
        }
        Action::File(work) => match work {
            FileWork::Write { path, mode, .. } => {
                let mode = mode.map_or_else(String::new, |bits| format!("{bits:04o}"));
                shell(WRITE, work.type_name(), &[path, &mode])
            }
            FileWork::Delete { path, recursive } => {
                let option = if *recursive { "-rf" } else { "-f" };
                shell(DELETE, work.type_name(), &[path, option])
            }
            FileWork::Move { from, to } => shell(MOVE, work.type_name(), &[from, to]),
        },
    }
}

/// Returns a call of `/bin/sh` with `text` and its arguments; `name` is what it calls itself.
fn shell(text: &str, name: &str, arguments: &[&str]) -> Vec<String> {
    let text = format!("{PROLOGUE}{text}");
    let mut argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), text, name.to_owned()];
    argv.extend(arguments.iter().map(|it| (*it).to_owned()));
    argv
}

/// Returns what the guest reads. Text of the operation is stronger than what the caller forwards.
pub(crate) fn stdin(operation: &Operation, forwarded: Forwarded) -> StdinSource {
    let given = operation.stdin.as_deref();
    let bytes = given.unwrap_or_default().as_bytes();
    match &operation.action {
        Action::Shell(_) | Action::Argv(_) => match (given, forwarded) {
            (Some(_), _) => StdinSource::Bytes(bytes.into()),
            (None, Forwarded::Stream(fd)) => StdinSource::Forward(fd),
            (None, Forwarded::Terminal(fd)) => StdinSource::Terminal(fd),
            (None, Forwarded::Nothing) => StdinSource::Empty,
        },
        Action::Script(script) => {
            let bytes = [script.source.as_bytes(), bytes].concat();
            match (given, forwarded) {
                (None, Forwarded::Stream(fd)) => StdinSource::Preceded(bytes, fd),
                _ => StdinSource::Bytes(bytes),
            }
        }
        Action::File(FileWork::Write { content, .. }) => StdinSource::Bytes(content.clone()),
        Action::File(FileWork::Delete { .. } | FileWork::Move { .. }) => StdinSource::Empty,
    }
}

/// Checks a script that was made in code as one of a document.
pub(crate) fn check_script(script: &Script) -> Result<(), PlanError> {
    let program = script.interpreter.first();
    if program.is_none_or(String::is_empty) || script.source.trim().is_empty() {
        return Err(PlanError::EmptyCommand);
    }
    Ok(())
}

/// Checks work on a file that was made in code as that of a document.
pub(crate) fn check_file_work(work: &FileWork) -> Result<(), PlanError> {
    for path in work.paths() {
        if let Some(reason) = unusable_path(path) {
            return Err(PlanError::FilePath {
                path: path.into(),
                reason,
            });
        }
    }
    match work {
        FileWork::Write {
            mode: Some(bits), ..
        } if *bits > MODE_MAX => Err(PlanError::Mode { bits: *bits }),
        FileWork::Write { .. } | FileWork::Delete { .. } | FileWork::Move { .. } => Ok(()),
    }
}

/// Refuses work on a file whose path says that it is outside. What a link leads to is up to the
/// confinement.
pub(crate) fn check_inside(action: &Action, workspace: &Path) -> Result<(), PlanError> {
    let Action::File(work) = action else {
        return Ok(());
    };
    let is_inside = |path: &Path| {
        let full = workspace.join(path);
        full.starts_with(workspace) && full != workspace
    };
    match work
        .paths()
        .into_iter()
        .map(Path::new)
        .find(|it| !is_inside(it))
    {
        None => Ok(()),
        Some(path) => Err(PlanError::FileOutside {
            path: path.to_owned(),
            workspace: workspace.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use sandbox_types::action::SCRIPT_PATH;

    use super::*;

    #[test]
    fn the_script_lies_where_reports_say() {
        assert!(SCRIPT.contains(&format!("> {SCRIPT_PATH} ")));
        assert!(SCRIPT.ends_with(SCRIPT_PATH));
        assert!(SCRIPT.contains(&format!("bs={SCRIPT_BLOCK_BYTES} ")));
    }

    #[test]
    fn names_and_content_never_become_shell_text() {
        let hostile = "$(touch x); `y` '\"\n-rf";
        for operation in [
            Operation::file_write(hostile, hostile),
            Operation::file_delete(hostile),
            Operation::file_move(hostile, hostile),
            Operation::script(hostile, hostile),
        ] {
            let argv = argv(&operation.action);
            assert!(!argv[2].contains(hostile), "{argv:?}");
            assert!(argv[3..].iter().any(|word| word == hostile), "{argv:?}");
        }
    }

    #[test]
    fn paths_outside_are_refused() {
        let workspace = Path::new("/w/s");
        let check = |path: &str| check_inside(&Operation::file_delete(path).action, workspace);
        for inside in ["a", "./a", "/w/s/a", "/w//s/./a"] {
            check(inside).unwrap();
        }
        for outside in ["/etc/passwd", "/w/s", "/w/s2/a", "./."] {
            check(outside).unwrap_err();
        }
    }
}
