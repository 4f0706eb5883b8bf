//! Scripts that destroy or weaken the system, and machine code in texts.

use sandbox_types::RiskLevel::Medium;

use super::{
    ContentRule, LooksIn, Match, When,
    scripts::{CODE, line_has, said},
    shells::{has, when},
};

pub(super) static RULES: &[ContentRule] = &[
    ContentRule {
        id: "script.destroys-system",
        message: "deletes or overwrites the whole system",
        when: When::Around(
            &[
                "rm -rf /",
                "rm -fr /",
                "--no-preserve-root",
                "of=/dev/sd",
                "of=/dev/nvme",
                "of=/dev/vd",
                "mkfs.",
                "> /dev/sda",
            ],
            |window| {
                let line = window.line_text();
                let root = line.match_indices("rm -").any(|(at, _)| {
                    let rest = line[at..]
                        .trim_start_matches("rm -rf ")
                        .trim_start_matches("rm -fr ");
                    rest.starts_with("/*")
                        || rest == "/"
                        || rest.starts_with("/ ")
                        || rest.starts_with("/;")
                        || rest.starts_with("/'")
                        || rest.starts_with("/\"")
                });
                let device = has(&line, &["dd if="])
                    && has(&line, &["of=/dev/sd", "of=/dev/nvme", "of=/dev/vd"]);
                let formats = line.starts_with("mkfs.")
                    && has(&line, &["/dev/sd", "/dev/nvme", "/dev/vd"])
                    || has(&line, &["> /dev/sda"]);
                when(
                    window,
                    root || line.contains("rm ") && line.contains("--no-preserve-root")
                        || device
                        || formats,
                )
            },
        ),
        matches: &[
            "rm -rf /",
            "rm -rf / --no-preserve-root",
            "dd if=/dev/zero of=/dev/sda bs=1M",
            "rm -rf /*",
        ],
        spares: &[
            "rm -rf /tmp/x",
            "rm -rf \"$dir\"",
            "mkfs.ext4 image.img",
            "# rm -rf /",
        ],
        severity: Medium,
        ..CODE
    },
    ContentRule {
        id: "script.ransom",
        message: "removes the means to restore files",
        when: When::Around(
            &[
                "vssadmin delete shadows",
                "wbadmin delete catalog",
                "wmic shadowcopy delete",
                "recoveryenabled no",
            ],
            said,
        ),
        matches: &["vssadmin delete shadows /all /quiet"],
        spares: &["vssadmin list shadows"],
        ..CODE
    },
    ContentRule {
        id: "script.disables-protection",
        severity: Medium,
        message: "switches a protection of the system off",
        suggestion: "leave it on, or allow exactly what is needed",
        when: When::Around(
            &[
                "setenforce 0",
                "Set-MpPreference -Disable",
                "iptables -F",
                "iptables --flush",
                "ufw disable",
                "unset HISTFILE",
                "HISTFILE=/dev/null",
                "history -c",
                "systemctl stop auditd",
                "spctl --master-disable",
            ],
            said,
        ),
        matches: &["setenforce 0", "unset HISTFILE"],
        spares: &["getenforce", "iptables -L"],
        ..CODE
    },
    ContentRule {
        id: "script.setuid-shell",
        message: "makes a shell run as its owner for everybody",
        when: When::Around(
            &[
                "chmod u+s",
                "chmod +s",
                "chmod 4755",
                "chmod 4777",
                "chmod 6755",
            ],
            |window| {
                line_has(
                    window,
                    &["/bin/sh", "/bin/bash", "/bin/dash", "/tmp/", "/dev/shm/"],
                )
            },
        ),
        matches: &[
            "cp /bin/bash /tmp/b; chmod u+s /tmp/b",
            "chmod 4755 /bin/bash",
        ],
        spares: &["chmod 4755 /usr/bin/sudo", "chmod u+s $(DESTDIR)/bin/ping"],
        ..CODE
    },
    ContentRule {
        id: "script.container-escape",
        message: "leaves a container for its host",
        when: When::Around(
            &["release_agent", "nsenter ", "core_pattern", "docker run"],
            |window| {
                let line = window.line_text();
                let agent = has(
                    &line,
                    &["> /sys/fs/cgroup", ">/sys/fs/cgroup", "/release_agent"],
                ) && has(&line, &["echo ", "> "]);
                let pattern = line.contains("/proc/sys/kernel/core_pattern")
                    && line.contains("|/")
                    && has(&line, &["echo ", "printf "]);
                let enter = has(&line, &["nsenter -t 1 ", "nsenter --target 1 "]);
                let mounts = line.contains("docker run") && has(&line, &["-v /:/", "--volume /:/"]);
                when(window, agent || pattern || enter || mounts)
            },
        ),
        matches: &[
            "nsenter -t 1 -m -u -i -n -p sh",
            "echo '|/tmp/x' > /proc/sys/kernel/core_pattern",
            "docker run -v /:/host alpine",
        ],
        spares: &[
            "nsenter -t 4711 -n ip a",
            "cat /proc/sys/kernel/core_pattern",
            "docker run -v $PWD:/work x",
        ],
        severity: Medium,
        ..CODE
    },
    ContentRule {
        id: "script.sudo-without-password",
        severity: Medium,
        message: "lets a user become root without a password",
        suggestion: "allow single commands",
        when: When::Around(&["NOPASSWD: ALL", "NOPASSWD:ALL"], said),
        matches: &["echo 'dev ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers"],
        spares: &["dev ALL=(ALL) NOPASSWD: /usr/bin/apt"],
        ..CODE
    },
    ContentRule {
        id: "script.shellcode",
        message: "holds machine code in a text",
        when: When::Around(
            &[
                "\\x90\\x90\\x90\\x90\\x90\\x90",
                "\\xfc\\x48\\x83\\xe4",
                "\\x31\\xc0\\x50\\x68",
                "\\x48\\x31\\xd2\\x48",
            ],
            |window| {
                when(
                    window,
                    window.has_near(
                        &[
                            "\\xcd\\x80",
                            "\\x0f\\x05",
                            "\\xff\\xd5",
                            "\\x2f\\x62\\x69\\x6e",
                            "shellcode",
                            "virtualalloc",
                            "mprotect",
                        ],
                        900,
                    ),
                )
            },
        ),
        matches: &["char shellcode[] = \"\\x90\\x90\\x90\\x90\\x90\\x90\\x31\\xc0\";"],
        spares: &["pad = \"\\x90\\x90\\x90\\x90\\x90\\x90\""],
        ..CODE
    },
    ContentRule {
        id: "script.fork-bomb",
        message: "starts copies of itself until nothing else runs",
        when: When::Around(&[":(){", ":() {", ":()  {"], |window| {
            let line = window.line_text().replace(' ', "");
            when(window, line.contains(":|:&"))
        }),
        matches: &[":(){ :|:& };:"],
        spares: &[":() { echo; }"],
        ..CODE
    },
    ContentRule {
        id: "malware.eicar",
        looks_in: LooksIn::Everything,
        message: "is the test file that every virus scanner knows",
        suggestion: "delete it when the test is done",
        when: When::Around(&["EICAR-STANDARD-ANTIVIRUS-TEST-FILE"], |window| {
            let exact = window
                .before()
                .ends_with(concat!("X5O!P%@AP[4\\PZX54(P^)7CC)", "7}$").as_bytes());
            exact.then(|| Match::Shown(window.word.clone()))
        }),
        matches: &[concat!(
            "X5O!P%@AP[4\\PZX54(P^)7CC)",
            "7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
        )],
        spares: &["EICAR-STANDARD-ANTIVIRUS-TEST-FILE"],
        ..CODE
    },
];
