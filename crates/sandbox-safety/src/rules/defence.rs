//! Switching protection off and hiding traces.

use sandbox_types::Effect::{DestroysData, DisablesDefence, Persists};

use super::{Rule, When};
use crate::{
    paths::is_in_class,
    pattern::operands,
    risk::{CRITICAL, HIGH, Held, MEDIUM},
    rules::filesystem::written,
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "sandbox.self",
        score: CRITICAL,
        effects: &[DisablesDefence],
        held: Held::Nothing,
        when: When::Holds(|scene, command| {
            let guarded = |text: &str| is_in_class(text, "guard", command, scene.places);
            let changed = written(command)
                .into_iter()
                .find(|word| guarded(&word.text));
            let removed = || {
                let removes = matches!(
                    command.program(),
                    "rm" | "unlink" | "chmod" | "chattr" | "shred" | "mv" | "truncate"
                );
                operands(command)
                    .into_iter()
                    .find(|word| removes && guarded(&word.text))
            };
            changed.or_else(removed).map(|word| word.span)
        }),
        message: "changes what guards this machine against the command itself",
        suggestion: "a person changes the policy, outside of the sandbox",
        matches: &[
            "echo '{}' > ~/.claude/settings.json",
            "rm -rf ~/.local/share/sandbox",
            "tee /etc/sandbox/config.yaml < x",
        ],
        spares: &["cat ~/.claude/settings.json", "ls ~/.local/share/sandbox"],
    },
    Rule {
        id: "defence.history",
        score: MEDIUM,
        effects: &[DisablesDefence],
        held: Held::View,
        when: When::Holds(|_, command| {
            let silences = |name: &str, value: &str| {
                name == "HISTFILE" && matches!(value, "" | "/dev/null")
                    || matches!(name, "HISTSIZE" | "HISTFILESIZE") && value == "0"
            };
            let assigned = command
                .assignments
                .iter()
                .any(|(name, value)| silences(name, &value.text));
            let args = command.args();
            let stated = match command.program() {
                "unset" => args
                    .iter()
                    .any(|w| matches!(w.text.as_str(), "HISTFILE" | "HISTSIZE")),
                "history" => args
                    .iter()
                    .any(|w| matches!(w.text.as_str(), "-c" | "-cw" | "-d")),
                "set" => args
                    .windows(2)
                    .any(|pair| pair[0].text == "+o" && pair[1].text == "history"),
                "export" | "declare" => args.iter().any(|w| {
                    w.text
                        .split_once('=')
                        .is_some_and(|(name, value)| silences(name, value))
                }),
                _ => false,
            };
            (assigned || stated).then_some(command.span)
        }),
        message: "keeps the shell from recording what is done",
        suggestion: "leave the history alone",
        matches: &[
            "history -c",
            "unset HISTFILE",
            "export HISTFILE=/dev/null",
            "HISTSIZE=0",
            "set +o history",
        ],
        spares: &["history | tail", "export HISTSIZE=1000"],
    },
    Rule {
        id: "defence.logs",
        score: HIGH,
        effects: &[DisablesDefence, DestroysData],
        held: Held::View,
        when: When::Holds(|scene, command| {
            let is_log = |text: &str| is_in_class(text, "log", command, scene.places);
            let removed = || {
                let removes = matches!(
                    command.program(),
                    "rm" | "unlink"
                        | "shred"
                        | "truncate"
                        | "mv"
                        | "srm"
                        | "wipe"
                        | "ln"
                        | "sed"
                        | "chattr"
                );
                let in_place = command.program() != "sed" || !written(command).is_empty();
                operands(command)
                    .into_iter()
                    .find(|word| removes && in_place && is_log(&word.text))
                    .map(|w| w.span)
            };
            let copied = || {
                let empties = command.program() == "cp"
                    && command
                        .args()
                        .first()
                        .is_some_and(|w| w.text == "/dev/null");
                empties
                    .then(|| {
                        command
                            .args()
                            .iter()
                            .find(|w| is_log(&w.text))
                            .map(|w| w.span)
                    })
                    .flatten()
            };
            let emptied = || {
                let empty = matches!(command.program(), "" | ":" | "true" | "cat" | "echo");
                command
                    .redirects
                    .iter()
                    .find(|r| {
                        empty
                            && r.kind == crate::shell::RedirectKind::Write
                            && is_log(&r.target.text)
                    })
                    .map(|r| r.target.span)
            };
            removed().or_else(copied).or_else(emptied)
        }),
        message: "deletes or empties logs",
        suggestion: "let logrotate do it",
        matches: &[
            "rm -rf /var/log/audit",
            "> /var/log/auth.log",
            "cat /dev/null > /var/log/messages",
            "shred -u ~/.bash_history",
            "ln -sf /dev/null ~/.bash_history",
        ],
        spares: &[
            "cat /var/log/syslog",
            "tail -f /var/log/messages",
            "cp /var/log/x .",
        ],
    },
    Rule {
        id: "defence.preload",
        score: MEDIUM,
        effects: &[DisablesDefence, Persists],
        held: Held::View,
        when: When::Holds(|_, command| {
            let hijacks = |name: &str, value: &str| match name {
                "LD_PRELOAD" | "LD_AUDIT" | "DYLD_INSERT_LIBRARIES" => {
                    value.contains('/') && !value.contains("malloc") && !value.contains("san")
                }
                "PATH" => {
                    ["/tmp", ".:", "/dev/shm", "/var/tmp"]
                        .iter()
                        .any(|p| value.starts_with(p))
                        || value == "."
                }
                "PROMPT_COMMAND" | "BASH_ENV" | "ENV" => {
                    !value.is_empty() && (name != "ENV" || value.contains('/'))
                }
                _ if name.starts_with("BASH_FUNC_") => true,
                _ => false,
            };
            let assigned = command
                .assignments
                .iter()
                .any(|(name, value)| hijacks(name, &value.text));
            let exported = command.program() == "export"
                && command
                    .args()
                    .iter()
                    .any(|w| w.text.split_once('=').is_some_and(|(n, v)| hijacks(n, v)));
            (assigned || exported).then_some(command.span)
        }),
        message: "makes other programs run this code in their place",
        suggestion: "call the program by its path",
        matches: &[
            "LD_PRELOAD=/tmp/x.so ls",
            "export PATH=/tmp:$PATH",
            "PROMPT_COMMAND='curl x'",
            "env LD_PRELOAD=./x.so sudo ls",
        ],
        spares: &["export PATH=$PATH:/opt/bin", "PATH=/usr/bin:$PATH make"],
    },
];
