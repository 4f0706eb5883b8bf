//! Gaining rights.

use sandbox_types::Effect::{Escalates, ExecutesUnknown, Persists};

mod root_shell;

use root_shell::opens_root_shell;

use super::{Rule, When};
use crate::{
    paths::is_in_class,
    risk::{HIGH, Held, LOW, MEDIUM},
    rules::filesystem::written,
    shell::Route,
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "privilege.accounts",
        score: HIGH,
        effects: &[Escalates, Persists],
        held: Held::View,
        when: When::Holds(|scene, command| {
            written(command)
                .into_iter()
                .find(|word| is_in_class(&word.text, "account", command, scene.places))
                .map(|word| word.span)
        }),
        message: "changes who may do what on this machine",
        suggestion: "let the administrator use visudo or usermod",
        matches: &[
            "echo 'me ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers",
            "sed -i s/x/y/ /etc/passwd",
            "echo x | sudo tee /etc/sudoers.d/me",
        ],
        spares: &["grep me /etc/passwd", "cp /etc/passwd ."],
    },
    Rule {
        id: "privilege.root-shell",
        score: MEDIUM,
        effects: &[Escalates, ExecutesUnknown],
        held: Held::View,
        when: When::Holds(opens_root_shell),
        message: "opens a shell with the rights of root, in which nothing is judged",
        suggestion: "run the one command that needs it with sudo",
        matches: &[
            "sudo -i",
            "sudo -s",
            "sudo su -",
            "sudo su",
            "sudo bash",
            "sudo -E zsh -l",
            "doas -s",
            "pkexec bash",
            "su",
            "su - root",
            "su -c /bin/sh",
            "run0",
            "doas sh",
            "nsenter -t 1 -m",
        ],
        spares: &[
            "sudo ls",
            "sudo -v",
            "sudo -l",
            "sudo bash setup.sh",
            "sudo bash -c 'ls'",
            "sudo -u postgres -i",
            "su - postgres",
            "su postgres -c 'psql -l'",
            "sudo su jenkins",
            "echo ls | sudo sh",
            "sudo sh <<< ls",
            "sudo -i ls",
            "sudo --help",
            "su --version",
        ],
    },
    Rule {
        id: "privilege.elevated",
        score: LOW,
        effects: &[Escalates],
        held: Held::View,
        when: When::Holds(|_, command| {
            (command.context.route == Route::Privileged).then_some(command.span)
        }),
        message: "runs with the rights of another user",
        suggestion: "run it as yourself where that is enough",
        matches: &["sudo ls", "su -c id"],
        spares: &["ls", "sudo -l"],
    },
];
