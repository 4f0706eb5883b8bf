//! Classes of places: what a path is to the judge.

mod lists;
mod obeyed;

use lists::{
    ACCOUNTS, DEVICES, GIT_DATA, GIT_INTERNALS, GUARDS, LOGS, SECRET_NAMES, SECRETS,
    SYSTEM_PREFIXES, SYSTEM_TREES, TEMPORARY_PREFIXES,
};

use obeyed::{AGENTS, STARTUP};

use crate::{
    pattern::{fits, is_named},
    shell::{SimpleCommand, Word},
};

/// Where the judged command would run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) workspace: Option<String>,
    pub(crate) home: Option<String>,
}

/// What a path is, as far as deleting or overwriting it is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Place {
    /// Relative, or below the workspace.
    Workspace,
    /// All of the workspace, or what is above it.
    Wide,
    /// `/tmp`, caches: made to be thrown away.
    Temporary,
    /// Depends on what the text does not say.
    Unknown,
    /// Absolute and none of the others.
    Outside,
    /// Below a home directory.
    InHome,
    /// A file of the operating system.
    SystemFile,
    /// A home directory, all of it.
    Home,
    /// A tree that the operating system cannot do without.
    SystemTree,
    /// A block device.
    Device,
    /// `/`.
    Root,
}

/// The classes of places that a rule may name.
pub(crate) const CLASSES: &[&str] = &[
    "device",
    "root",
    "system",
    "systemfile",
    "home",
    "wide",
    "secret",
    "startup",
    "account",
    "log",
    "guard",
    "agent",
    "gitinternal",
    "gitdata",
];

/// Returns whether `text` lies in the class that a rule names.
pub(crate) fn is_in_class(
    text: &str,
    class: &str,
    command: &SimpleCommand,
    places: &Places,
) -> bool {
    let path = resolve(text, command, places);
    let any = |names: &[&str]| names.iter().any(|name| fits(name, &path));
    match class {
        "device" => is_device(&path),
        "root" => place(&path) == Place::Root,
        "system" => matches!(place(&path), Place::SystemTree | Place::Root),
        "systemfile" => place(&path) == Place::SystemFile,
        "home" => place(&path) == Place::Home,
        "wide" => place(&path) == Place::Wide,
        "secret" => {
            // Somebody's home, whosever it is.
            if let Some(rest) = path.strip_prefix("/home/*/") {
                let own = format!("~/{rest}");
                return SECRETS.iter().any(|name| fits(name, &own));
            }
            let file = crate::shell::basename(&path);
            !is_named("*.pub", &path)
                && (any(SECRETS) || SECRET_NAMES.iter().any(|name| fits(name, file)))
        }
        "startup" => any(STARTUP),
        "account" => any(ACCOUNTS),
        "log" => any(LOGS),
        "guard" => any(GUARDS),
        // Most paths have no dot, and most of these begin with a `*`.
        "agent" => (path.contains('.') || path.starts_with("/etc/c")) && any(AGENTS),
        "gitinternal" => any(GIT_INTERNALS),
        "gitdata" => any(GIT_DATA) && !is_named("*.lock", &path),
        _ => false,
    }
}

fn is_device(path: &str) -> bool {
    path.starts_with("/dev/") && is_named(DEVICES, path)
}

/// Returns what the word names.
pub(crate) fn place_of(word: &Word, command: &SimpleCommand, places: &Places) -> Place {
    place(&resolve(&word.text, command, places))
}

/// Returns the path as it is after `cd`, `.` and `..`, with `~` for any home directory.
pub(crate) fn resolve(text: &str, command: &SimpleCommand, places: &Places) -> String {
    let mut path = text.to_owned();
    if let Some(directory) = &command.directory
        && !path.starts_with(['/', '~', '$', '-'])
        && directory.starts_with(['/', '~', '.'])
    {
        path = format!("{directory}/{path}");
    }
    let path = squeeze(&path);
    let below = |directory: &str| {
        let rest = path.strip_prefix(directory.trim_end_matches('/'));
        rest.filter(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let workspace = places.workspace.as_deref().filter(|path| path.len() > 1);
    if let Some(rest) = workspace.and_then(below) {
        return format!(".{rest}");
    }
    let homes = places.home.as_deref().into_iter().chain(["/root"]);
    for home in homes.filter(|home| home.len() > 1) {
        if let Some(rest) = below(home) {
            return format!("~{rest}");
        }
    }
    for base in ["/home/", "/Users/", "~"] {
        let Some(rest) = path.strip_prefix(base) else {
            continue;
        };
        let (user, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if base == "~" || !user.is_empty() && user != "*" {
            return format!("~{below}");
        }
    }
    path
}

/// Removes what changes nothing in a path: `//`, `/./`, `x/..`, a `/` at its end.
fn squeeze(path: &str) -> String {
    let mut absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if absolute && parts.is_empty() => {}
            ".." if parts == ["~"] => {
                absolute = true;
                parts = vec!["home"];
            }
            ".." if parts
                .last()
                .is_some_and(|last| *last != ".." && !last.starts_with('~')) =>
            {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn place(path: &str) -> Place {
    let whole = path
        .strip_suffix("/*")
        .or_else(|| path.strip_suffix("/.*"))
        .unwrap_or(path);
    if whole.is_empty() || whole == "/" || path == "/*" {
        return Place::Root;
    }
    if is_device(path) {
        return Place::Device;
    }
    if matches!(
        path,
        "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/tty" | "/dev/fd" | "-"
    ) || path.starts_with("/dev/tcp")
        || path.starts_with("/dev/fd/")
        || path.starts_with("/dev/udp")
    {
        return Place::Temporary;
    }
    if matches!(whole, "~" | "/home/*" | "/Users/*") {
        return Place::Home;
    }
    let below = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if below(TEMPORARY_PREFIXES) || matches!(whole, "/tmp" | "/var/tmp" | "~/.cache") {
        return Place::Temporary;
    }
    if SYSTEM_TREES.contains(&whole) {
        return Place::SystemTree;
    }
    if path.starts_with("~/") {
        return Place::InHome;
    }
    if below(SYSTEM_PREFIXES) {
        return Place::SystemFile;
    }
    if path.starts_with('/') {
        // `/$x` and `/*x` may be anything below the root.
        return if path.starts_with("/$") {
            Place::Unknown
        } else {
            Place::Outside
        };
    }
    if matches!(
        path,
        "." | ".." | "*" | ".*" | "*.*" | ".git" | "./*" | "../*" | "{}"
    ) || path.starts_with("..")
    {
        return Place::Wide;
    }
    if path.starts_with('$') || path.starts_with('`') {
        return Place::Unknown;
    }
    Place::Workspace
}
