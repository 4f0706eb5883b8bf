//! Stopping the machine, its services and other processes.

use sandbox_types::Effect::Availability;

mod fill;

use super::{Rule, When};
use crate::{
    pattern::operands,
    risk::{CRITICAL, HIGH, Held, MEDIUM},
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
    Rule {
        id: "process.fill-disk",
        score: MEDIUM,
        effects: &[Availability],
        held: Held::Rollback,
        when: When::Holds(fill::fills_the_disk),
        message: "writes until the disk is full",
        suggestion: "say how much is to be written, and run it with --disk",
        matches: &[
            "yes > out.txt",
            "yes x >> /var/log/y",
            "cat /dev/zero > z",
            "cat < /dev/urandom > z",
            "dd if=/dev/zero of=fill bs=1M",
            "head -c 200G /dev/zero > z",
            "head --bytes=1T /dev/urandom | tee z",
            "fallocate --length=300GiB z",
            "tr a b < /dev/zero > z",
        ],
        spares: &[
            "yes | head -n 5 > x",
            "yes > /dev/null",
            "yes | apt-get install x",
            "dd if=/dev/zero of=x bs=1M count=10",
            "dd if=disk.img of=copy.img",
            "dd if=/dev/zero of=/dev/null",
            "head -c 1M /dev/urandom > x",
            "fallocate -l 1G x",
            "tr -dc a-z < /dev/urandom | head -c 9 > x",
            "timeout 5 yes > x",
        ],
    },
];
