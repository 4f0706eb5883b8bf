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
        id: "process.exhaust-code",
        score: MEDIUM,
        effects: &[Availability],
        held: Held::View,
        when: When::Holds(|scene, command| {
            let (code, span) = crate::inline::code(scene, command)?;
            crate::inline::exhausts(code).then_some(*span)
        }),
        message: "takes processes, memory or disk without end, from the code of another language",
        suggestion: "say how much it may take, and run it with --memory, --pids and --disk",
        matches: &[
            "python3 -c 'import os\nwhile True: os.fork()'",
            "perl -e 'fork while fork'",
            "perl -e 'while(1){fork()}'",
            "ruby -e 'loop { fork { } }'",
            "python3 -c 'a = []\nwhile 1: a.append(\"x\" * 1000000)'",
            "node -e 'const a = []; for (;;) a.push(Buffer.alloc(1000000))'",
            "python3 -c 'x = \"a\" * 10**11'",
            "python3 -c 'i = 0\nwhile True:\n open(str(i), \"w\"); i += 1'",
        ],
        spares: &[
            "python3 -c 'while True: print(input())'",
            "python3 -c 'import time\nwhile True:\n n += 1; time.sleep(1)'",
            "node -e 'for (const x of y) a.push(x)'",
            "python3 -c 'print(10**11)'",
            "perl -ne 'push @a, $_'",
            "python3 -c 'x = 1e12'",
        ],
    },
    Rule {
        id: "process.endless",
        score: MEDIUM,
        effects: &[Availability],
        held: Held::Rollback,
        when: When::Holds(fill::grows_without_end),
        message: "writes, copies or asks others in a loop that neither ends nor waits",
        suggestion: "bound the loop, or let it wait",
        matches: &[
            "while true; do echo x >> log; done",
            "while :; do cp big copy$RANDOM; done",
            "while :; do mkdir -p a && cd a; done",
            "x=a; while :; do x=$x$x; done",
            "while true; do echo x; done > out",
            "while :; do curl -s http://203.0.113.9/; done",
            "while [ 1 ]; do touch f$i; i=$((i+1)); done",
            "until false; do head -c 1M /dev/zero >> z; done",
        ],
        spares: &[
            "while true; do date >> log; sleep 60; done",
            "while true; do ./server >> log; done",
            "while read -r x; do echo $x >> out; done < in",
            "while :; do echo x >> log; [ -f stop ] && break; done",
            "while true; do curl -s localhost:80; done",
            "for ((i = 0; i < 3; i++)); do echo x >> log; done",
            "while [ $n -lt 3 ]; do echo x >> log; n=$((n + 1)); done",
            "while :; do echo x; done",
        ],
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
            "cat /dev/urandom | gzip > z",
            "yes | tee z",
            "yes | tr -d x | tail",
            "cat x >> x",
            "truncate -s 10T z",
            "dd if=/dev/zero of=z bs=1M count=1000000",
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
            "yes | apt-get install -y foo | tee log",
            "yes | head -100",
            "cat /dev/urandom | head -c 9 > x",
            "cat a >> b",
            "dd if=/dev/zero of=x bs=1M count=2000",
        ],
    },
];
