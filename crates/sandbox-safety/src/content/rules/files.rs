//! What a file is against what its name says, and what a policy does not want.

use sandbox_types::RiskLevel::{High, Low, Medium};

use super::{ContentRule, LooksIn, When};
use crate::content::{
    evidence::hides,
    nature::{DOCUMENTS, Facts, IMAGES, MEDIA, Magic, SCRIPTS, TEXTS},
};

const FILE: ContentRule = ContentRule {
    id: "",
    severity: High,
    looks_in: LooksIn::Name,
    message: "",
    suggestion: "find out what made it; give it the name of what it is",
    when: When::Policy,
    matches: &[],
    spares: &[],
};

pub(crate) const TOO_LARGE: &str = "file.too-large";
pub(crate) const DENIED_EXTENSION: &str = "file.denied-extension";
pub(crate) const SATURATED: &str = "file.saturated";

fn is_one_of(facts: &Facts, lists: &[&[&str]]) -> bool {
    lists
        .iter()
        .any(|list| list.contains(&facts.extension.as_str()))
}

fn is_called(facts: &Facts) -> String {
    format!("{} is called {}", facts.magic_name, facts.name)
}

pub(super) static RULES: &[ContentRule] = &[
    ContentRule {
        id: "file.disguised-program",
        message: "is a program under the name of something harmless",
        when: When::File(|facts| {
            let harmless = is_one_of(facts, &[IMAGES, MEDIA, DOCUMENTS, TEXTS, SCRIPTS]);
            (facts.magic == Magic::Executable && harmless).then(|| is_called(facts))
        }),
        matches: &[
            "@photo.png|\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0\0\0\0\0\0\0\u{3}\0>\0\u{1}\0\0\0\0\0\0\0\0\0\0\0@\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ],
        spares: &[
            "@tool|\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0\0\0\0\0\0\0\u{3}\0>\0\u{1}\0\0\0\0\0\0\0\0\0\0\0@\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "@photo.png|MZ of text",
        ],
        ..FILE
    },
    ContentRule {
        id: "file.disguised-script",
        message: "is a script under the name of a picture or document",
        when: When::File(|facts| {
            let disguised = is_one_of(facts, &[IMAGES, MEDIA, DOCUMENTS]);
            (facts.magic == Magic::Script && disguised).then(|| is_called(facts))
        }),
        matches: &["@photo.jpg|#!/bin/sh\necho", "@logo.gif|<?php echo 1; ?>"],
        spares: &[
            "@run|#!/bin/sh\necho",
            "@a.txt|#!/bin/sh",
            "@a.pdf|%PDF-1.4",
        ],
        ..FILE
    },
    ContentRule {
        id: "file.disguised-archive",
        severity: Medium,
        message: "is an archive under the name of a text, picture or script",
        when: When::File(|facts| {
            let disguised = is_one_of(facts, &[IMAGES, MEDIA, TEXTS, SCRIPTS]);
            (facts.magic == Magic::Archive && disguised).then(|| is_called(facts))
        }),
        matches: &["@notes.txt|PK\u{3}\u{4}\u{14}\0\0\0\u{8}\0"],
        spares: &[
            "@notes.zip|PK\u{3}\u{4}\u{14}\0\0\0\u{8}\0",
            "@a.docx|PK\u{3}\u{4}\u{14}\0\0\0\u{8}\0",
        ],
        ..FILE
    },
    ContentRule {
        id: "file.other-type",
        severity: Low,
        message: "is a picture, document or recording under the name of another kind of file",
        when: When::File(|facts| {
            let other = match facts.magic {
                Magic::Image => is_one_of(facts, &[MEDIA, DOCUMENTS, SCRIPTS, TEXTS]),
                Magic::Document => is_one_of(facts, &[IMAGES, MEDIA, SCRIPTS]),
                Magic::Media => is_one_of(facts, &[IMAGES, DOCUMENTS, SCRIPTS]),
                Magic::Executable | Magic::Script | Magic::Archive | Magic::Unknown => false,
            };
            other.then(|| is_called(facts))
        }),
        matches: &["@photo.mp3|GIF89a\u{1}\0\u{1}\0", "@x.png|%PDF-1.7\n"],
        spares: &[
            "@photo.gif|GIF89a\u{1}\0\u{1}\0",
            "@photo|GIF89a\u{1}\0\u{1}\0",
        ],
        ..FILE
    },
    ContentRule {
        id: "file.two-extensions",
        severity: Medium,
        message: "is a program for Windows whose name pretends to be a document",
        when: When::File(|facts| {
            let runs = [
                "exe", "scr", "com", "pif", "bat", "cmd", "vbs", "lnk", "hta",
            ];
            let (stem, last) = facts.name.rsplit_once('.')?;
            let (_, first) = stem.rsplit_once('.')?;
            let first = first.trim().to_ascii_lowercase();
            let pretends = [DOCUMENTS, IMAGES, MEDIA]
                .iter()
                .any(|it| it.contains(&first.as_str()));
            let last = last.trim().to_ascii_lowercase();
            (pretends && runs.contains(&last.as_str())).then(|| facts.name.clone())
        }),
        matches: &["@invoice.pdf.exe|MZ", "@photo.jpg .scr|MZ"],
        spares: &["@setup.exe|MZ", "@a.min.js|x", "@backup.tar.gz|x"],
        ..FILE
    },
    ContentRule {
        id: "file.misleading-name",
        message: "has a name that is not shown as it is",
        suggestion: "rename it",
        when: When::File(|facts| {
            let misleads = |c: char| c.is_control() || hides(c);
            facts.name.contains(misleads).then(|| facts.name.clone())
        }),
        matches: &["@ann\u{202e}gpj.exe|x", "@a\u{1b}[2Jb|x", "@a\nb|x"],
        spares: &[
            "@gr\u{fc}\u{df}e.txt|x",
            "@\u{441}\u{43b}\u{43e}\u{432}\u{43e}|x",
        ],
        ..FILE
    },
    ContentRule {
        id: TOO_LARGE,
        severity: High,
        message: "is larger than the policy allows",
        suggestion: "keep large files elsewhere, or allow more (max_file_mb)",
        ..FILE
    },
    ContentRule {
        id: DENIED_EXTENSION,
        severity: High,
        message: "has an extension that the policy denies",
        suggestion: "give it another form, or take the extension off the list (deny_extensions)",
        ..FILE
    },
    ContentRule {
        id: SATURATED,
        severity: Medium,
        looks_in: LooksIn::Everything,
        message: "has so many places that look like a rule's that the rest of them was not examined",
        suggestion: "look at it by hand",
        ..FILE
    },
];
