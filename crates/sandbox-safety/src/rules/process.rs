//! Stopping the machine, its services and other processes.

use sandbox_types::Effect::Availability;

use super::{Rule, When};
use crate::{
    pattern::operands,
    risk::{CRITICAL, HIGH, Held},
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "process.kill-all",
        score: HIGH,
        effects: &[Availability],
        held: Held::View,
        when: When::Holds(|_, command| {
            let targets = operands(command);
            let named = |names: &[&str]| {
                targets
                    .iter()
                    .any(|w| names.contains(&w.text.trim_matches(['^', '$'])))
            };
            let vital = [
                "init",
                "systemd",
                "sshd",
                "cron",
                "crond",
                "dbus-daemon",
                "Xorg",
                "gnome-shell",
                "NetworkManager",
                "rsyslogd",
                "auditd",
                "dockerd",
            ];
            let all = match command.program() {
                "kill" => {
                    let last = command.args().last().map_or("", |w| w.text.as_str());
                    last == "-1" && command.args().len() > 1 || named(&["1"])
                }
                "pkill" | "killall" | "killall5" => {
                    named(&vital)
                        || targets
                            .iter()
                            .any(|w| matches!(w.text.as_str(), "." | ".*"))
                        || command.program() == "killall5"
                        || command.args().iter().any(|w| w.text == "-u") && named(&["root"])
                }
                _ => false,
            };
            all.then_some(command.span)
        }),
        message: "ends all processes, or one that the machine needs",
        suggestion: "end the process that you started, by its id",
        matches: &[
            "kill -9 -1",
            "kill -9 1",
            "pkill -9 sshd",
            "killall5",
            "sudo pkill -TERM ^crond$",
        ],
        spares: &[
            "kill 1234",
            "kill -1 1234",
            "pkill -f myserver",
            "kill -9 $PID",
        ],
    },
    Rule {
        id: "process.sysrq",
        score: CRITICAL,
        effects: &[Availability],
        held: Held::View,
        when: When::Holds(|_, command| {
            let kernel = [
                "/proc/sysrq-trigger",
                "/proc/sys/kernel/core_pattern",
                "/proc/sys/kernel/modprobe",
                "/sys/kernel/uevent_helper",
                "/sys/power/state",
            ];
            crate::rules::filesystem::written(command)
                .into_iter()
                .find(|w| kernel.contains(&w.text.as_str()))
                .map(|w| w.span)
        }),
        message: "commands the kernel directly: crash, power, or code that it runs",
        suggestion: "leave that to a person",
        matches: &[
            "echo c > /proc/sysrq-trigger",
            "echo '|/tmp/x' | tee /proc/sys/kernel/core_pattern",
        ],
        spares: &["cat /proc/sys/kernel/core_pattern"],
    },
];
