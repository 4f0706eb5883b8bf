//! Gaining rights.

use sandbox_types::Effect::{Escalates, Persists};

use super::{Rule, When};
use crate::{
    paths::is_in_class,
    risk::{HIGH, Held, LOW},
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
