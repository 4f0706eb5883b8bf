//! Arranging to be started again later.

use sandbox_types::Effect::{ExecutesUnknown, Persists};

use super::{Rule, When};
use crate::{
    paths::is_in_class,
    pattern::operands,
    risk::{HIGH, Held, LOW, MEDIUM},
    rules::filesystem::written,
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "persist.startup",
        score: HIGH - 5,
        effects: &[Persists],
        held: Held::View,
        when: When::Holds(|scene, command| {
            let is_startup = |text: &str| is_in_class(text, "startup", command, scene.places);
            written(command)
                .into_iter()
                .find(|word| is_startup(&word.text))
                .map(|word| word.span)
        }),
        message: "writes what is run at login, at boot or by a timer",
        suggestion: "tell the person what to add, and why",
        matches: &[
            "echo 'alias sudo=x' >> ~/.bashrc",
            "cat key.pub >> ~/.ssh/authorized_keys",
            "echo x | sudo tee /etc/cron.d/job",
            "cp x.service /etc/systemd/system/",
            "echo y > /etc/profile.d/y.sh",
            "sed -i 's/a/b/' /root/.profile",
            "echo /tmp/x.so > /etc/ld.so.preload",
        ],
        spares: &[
            "cat ~/.bashrc",
            "source ~/.bashrc",
            "cp ~/.bashrc backup",
            "grep x /etc/crontab",
        ],
    },
    Rule {
        id: "persist.git-hooks",
        score: MEDIUM,
        effects: &[Persists, ExecutesUnknown],
        held: Held::Rollback,
        when: When::Holds(|scene, command| {
            let internal = |text: &str| is_in_class(text, "gitinternal", command, scene.places);
            let hook = written(command)
                .into_iter()
                .find(|w| internal(&w.text))
                .map(|w| w.span);
            let made_runnable = || {
                let target = operands(command).into_iter().find(|w| internal(&w.text));
                target
                    .filter(|_| command.program() == "chmod")
                    .map(|w| w.span)
            };
            hook.or_else(made_runnable)
        }),
        message: "writes what git runs by itself",
        suggestion: "keep hooks in the repository and let the person install them",
        matches: &[
            "cat hook.sh > .git/hooks/post-merge",
            "printf x >> .git/config",
        ],
        spares: &["cat .git/config", "ls .git/hooks"],
    },
    Rule {
        id: "persist.background",
        score: LOW,
        effects: &[Persists],
        held: Held::View,
        when: When::Holds(|_, command| {
            (command
                .wrappers
                .iter()
                .any(|name| matches!(*name, "nohup" | "setsid")))
            .then_some(command.span)
        }),
        message: "goes on after its session has ended",
        suggestion: "use run --detach, which is listed and can be ended",
        matches: &["nohup ./server &", "setsid ./server"],
        spares: &["./server &"],
    },
];
