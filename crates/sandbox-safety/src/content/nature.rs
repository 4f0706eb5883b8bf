//! What kind of file it is: by its first bytes and by its name.

use std::path::Path;

use infer::MatcherType;

use super::decode::Encoding;

/// So much of the beginning decides.
pub(crate) const HEAD_BYTES: usize = 8192;

/// How a file is to be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Nature {
    /// Not text: only secrets and the type are looked for.
    Binary,
    /// Text for people, which may show commands without running them.
    Prose,
    /// Anything else.
    Code,
}

/// What the first bytes prove.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Magic {
    Executable,
    Script,
    Archive,
    Image,
    Document,
    Media,
    /// Nothing that is known.
    Unknown,
}

/// What is known of a file before it is read to its end.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The last component of its path, not exactly if it is not UTF-8.
    pub(crate) name: String,
    /// Its last extension in lower case; empty if it has none.
    pub(crate) extension: String,
    pub(crate) nature: Nature,
    pub(crate) magic: Magic,
    /// What the first bytes are called.
    pub(crate) magic_name: &'static str,
}

const PROSE: &[&str] = &[
    "md", "markdown", "mdx", "rst", "txt", "text", "adoc", "asciidoc", "html", "htm", "xhtml",
    "tex", "texi", "org", "pod", "man", "1", "2", "3", "4", "5", "6", "7", "8", "po", "pot", "svg",
    "log", "csv", "tsv", "ipynb", "rtf", "nfo", "diff", "patch",
];

/// Files without an extension that are for people.
const PROSE_NAMES: &[&str] = &[
    "readme",
    "license",
    "licence",
    "copying",
    "changelog",
    "changes",
    "news",
    "authors",
    "notice",
    "contributing",
    "history",
    "thanks",
    "todo",
    "install",
    "copyright",
];

pub(crate) const IMAGES: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "ico", "svg", "heic", "avif",
];
pub(crate) const MEDIA: &[&str] = &[
    "mp3", "mp4", "m4a", "ogg", "oga", "ogv", "wav", "flac", "avi", "mkv", "mov", "webm", "woff",
    "woff2", "ttf", "otf",
];
pub(crate) const DOCUMENTS: &[&str] = &[
    "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp", "rtf",
];
pub(crate) const TEXTS: &[&str] = &[
    "txt", "md", "csv", "json", "yaml", "yml", "toml", "ini", "cfg", "conf", "xml", "html", "css",
    "log", "rst", "sql",
];
pub(crate) const SCRIPTS: &[&str] = &[
    "sh", "bash", "zsh", "py", "pl", "rb", "js", "ts", "php", "ps1", "lua", "bat", "cmd", "vbs",
];

impl Facts {
    pub(crate) fn of(path: &Path, head: &[u8]) -> (Self, Encoding) {
        let encoding = match head {
            [0xff, 0xfe, 0, 0, ..] => Encoding::Plain,
            [0xff, 0xfe, ..] => Encoding::Utf16Le,
            [0xfe, 0xff, ..] => Encoding::Utf16Be,
            _ => Encoding::Plain,
        };
        let name = path
            .file_name()
            .map(|it| it.to_string_lossy().into_owned())
            .unwrap_or_default();
        let extension = Path::new(&name)
            .extension()
            .map(|it| it.to_string_lossy().to_ascii_lowercase())
            .unwrap_or_default();
        let is_script = head.starts_with(b"#!");
        let is_binary = encoding == Encoding::Plain && head.contains(&0) && !is_script;
        let nature = if is_binary {
            Nature::Binary
        } else if !is_script && is_prose(&name, &extension) {
            Nature::Prose
        } else {
            Nature::Code
        };
        let (magic, magic_name) = magic(head, is_binary);
        let facts = Self {
            name,
            extension,
            nature,
            magic,
            magic_name,
        };
        (facts, encoding)
    }
}

fn is_prose(name: &str, extension: &str) -> bool {
    if PROSE.contains(&extension) {
        return true;
    }
    let stem = name.split(['.', '-', '_']).next().unwrap_or(name);
    PROSE_NAMES.iter().any(|it| stem.eq_ignore_ascii_case(it)) && !SCRIPTS.contains(&extension)
}

/// Two letters prove nothing in a text, so programs are looked for in binary files only.
fn magic(head: &[u8], is_binary: bool) -> (Magic, &'static str) {
    let text = head.trim_ascii_start();
    if text.starts_with(b"<?php") {
        return (Magic::Script, "php script");
    }
    if is_interpreted(head) {
        return (Magic::Script, "script");
    }
    let Some(found) = infer::get(head) else {
        return (Magic::Unknown, "");
    };
    let magic = match (found.matcher_type(), found.extension()) {
        (MatcherType::App, "elf" | "exe" | "dll" | "mach" | "class" | "dex" | "wasm" | "obj")
            if is_binary =>
        {
            Magic::Executable
        }
        (MatcherType::Archive, "pdf" | "rtf" | "ps" | "sqlite" | "dcm" | "eot")
        | (MatcherType::Doc | MatcherType::Book, _) => Magic::Document,
        (MatcherType::Archive, _) => Magic::Archive,
        (MatcherType::Image, _) => Magic::Image,
        (MatcherType::Audio | MatcherType::Video | MatcherType::Font, _) => Magic::Media,
        (MatcherType::App | MatcherType::Text | MatcherType::Custom, _) => Magic::Unknown,
    };
    (magic, found.extension())
}

/// A `#!` with the path of an interpreter: `#![...]` and `#!foo` are not.
fn is_interpreted(head: &[u8]) -> bool {
    let Some(rest) = head.strip_prefix(b"#!") else {
        return false;
    };
    rest.trim_ascii_start().starts_with(b"/")
}
