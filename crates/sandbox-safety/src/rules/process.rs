//! Stopping the machine, its services and other processes.

use sandbox_types::Effect::{Availability, DestroysData};

use super::{Rule, When};
use crate::{
    pattern::operands,
    risk::{CRITICAL, HIGH, Held, LOW, MEDIUM},
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "process.power",
        score: HIGH,
        effects: &[Availability],
        held: Held::View,
        when: When::Looks(&[
            "shutdown|reboot|halt|poweroff !--help|-c|--version",
            "init|telinit 0|1|6|s|S",
            "systemctl|loginctl reboot|poweroff|halt|kexec|suspend|hibernate|rescue|emergency|soft-reboot|isolate|hybrid-sleep",
            "kexec -e",
            "ipmitool .. power|chassis off|cycle|reset|power",
            "osascript ~shut|restart",
            "pm-suspend|pm-hibernate ..",
            "Stop-Computer|Restart-Computer ..",
        ]),
        message: "stops or restarts the machine",
        suggestion: "leave that to a person",
        matches: &[
            "sudo shutdown -h now",
            "reboot",
            "systemctl poweroff",
            "init 6",
            "halt --no-wall",
        ],
        spares: &[
            "shutdown --help",
            "shutdown -c",
            "systemctl status",
            "last reboot",
        ],
    },
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
        id: "process.services",
        score: LOW,
        effects: &[Availability],
        held: Held::View,
        when: When::Looks(&[
            "systemctl stop|disable|mask|kill|restart",
            "service .. stop|restart",
            "killall|pkill *",
            "swapoff *",
        ]),
        message: "stops services or processes",
        suggestion: "check first who uses them",
        matches: &["systemctl stop web", "pkill node"],
        spares: &["systemctl status nginx"],
    },
    Rule {
        id: "process.exhaust",
        score: MEDIUM,
        effects: &[Availability],
        held: Held::View,
        when: When::Looks(&[
            "fallocate -l|--length ~T|000G",
            "stress|stress-ng --vm|--hdd|--fork|--cpu|-m|-c ~100%",
            "cat /dev/zero|/dev/urandom !@systemfile",
            "tc qdisc add ~loss|drop",
            "ulimit -u ~unlimited",
        ]),
        message: "uses up the machine",
        suggestion: "run it with --memory, --cpu and --disk",
        matches: &["fallocate -l 10T x", "stress-ng --vm 0 --vm-bytes 100%"],
        spares: &["fallocate -l 1G x", "ulimit -u"],
    },
    Rule {
        id: "package.remove-system",
        score: MEDIUM,
        effects: &[Availability, DestroysData],
        held: Held::View,
        when: When::Looks(&[
            "apt|apt-get|aptitude|dnf|yum|pacman|zypper|apk .. remove|purge|erase|autoremove ~sudo|linux-image|libc6|systemd|openssh|kernel|glibc|coreutils|bash",
            "dpkg -P|-r|--purge|--remove ~--force|libc|sudo",
            "rpm -e|--erase --nodeps",
            "pacman -Rdd|-Rcns|-Rdds *",
        ]),
        message: "removes what the system is made of",
        suggestion: "leave that to a person",
        matches: &["apt-get purge -y sudo", "rpm -e --nodeps glibc"],
        spares: &["apt-get install bash", "apt-get remove cowsay"],
    },
];
