//! Every way of writing a command so that it looks like another, with twenty that destroy something.

use std::fmt::Write as _;

use proptest::prelude::*;
use sandbox_types::Decision;

use super::judge;

/// What must be flagged however it is written.
const PAYLOADS: [&str; 20] = [
    "rm -rf /",
    "rm -rf /etc",
    "dd if=/dev/zero of=/dev/sda",
    "mkfs.ext4 /dev/sda1",
    "wipefs -a /dev/sdb",
    "git push --force",
    "git reset --hard",
    "git clean -fdx",
    "chmod -R 777 /usr",
    "shutdown -h now",
    "terraform destroy",
    "kubectl delete namespace prod",
    "aws s3 rm s3://b --recursive",
    "dropdb prod",
    "docker system prune -af",
    "crontab -r",
    "iptables -F",
    "userdel alice",
    "npm publish",
    "lvremove vg/data",
];

/// `P` stands for the payload, `PROG` for its program and `ARGS` for the rest.
const IDIOMS: &[&str] = &[
    "P",
    "\\P",
    "/usr/bin/P",
    "'PROG' ARGS",
    "\"PROG\" ARGS",
    "x=PROG; $x ARGS",
    "x='P'; $x",
    "x='P'; eval \"$x\"",
    "x='P'; sh -c \"$x\"",
    "read x <<< PROG; $x ARGS",
    "$(echo PROG) ARGS",
    "`echo PROG` ARGS",
    "$(printf PROG) ARGS",
    "$(which PROG) ARGS",
    "busybox P",
    "env P",
    "env -i P",
    "env A=b P",
    "env -u X -C /x P",
    "env -S 'P'",
    "sudo P",
    "sudo -u root -E P",
    "doas P",
    "pkexec P",
    "command P",
    "command -- P",
    "builtin command P",
    "exec P",
    "exec -a x P",
    "nohup P &",
    "setsid P",
    "stdbuf -oL P",
    "timeout 5 P",
    "timeout -k 1 -s KILL 5 P",
    "nice -n 5 P",
    "ionice -c 3 P",
    "taskset 1 P",
    "strace -f -o /tmp/x P",
    "unshare -n P",
    "chroot /x P",
    "xvfb-run P",
    "flock /tmp/x P",
    "flock /tmp/x -c 'P'",
    "systemd-run --wait P",
    "time P",
    "! P",
    "P &",
    "(P)",
    "{ P; }",
    "true && P",
    "false || P",
    "if true; then P; fi",
    "while true; do P; break; done",
    "until P; do :; done",
    "for i in 1; do P; done",
    "case x in x) P;; esac",
    "select x in a; do P; done",
    "f() { P; }; f",
    "f() { \"$@\"; }; f P",
    "function f { P; }; f",
    "alias x='P'; x",
    "trap 'P' EXIT",
    "eval 'P'",
    "eval P",
    "eval \"$(echo P)\"",
    "coproc P",
    "echo $(P)",
    "echo \"`P`\"",
    "cat <(P)",
    "echo ${x:-$(P)}",
    "echo $(( $(P) ))",
    "[[ -n $(P) ]]",
    "x=$(P)",
    "cat <<E\n$(P)\nE",
    "git commit -m \"$(P)\"",
    "sh -c 'P'",
    "bash -c 'P'",
    "bash -lc 'P'",
    "bash +x -c 'P'",
    "zsh -c 'P'",
    "sh <<< 'P'",
    "sh <<E\nP\nE",
    "bash -s <<'E'\nP\nE",
    "echo 'P' | sh",
    "printf '%s\\n' 'P' | bash",
    "cat <<'E' | sh\nP\nE",
    "echo 'P' | sudo bash",
    "echo 'P' > x.sh; sh x.sh",
    "echo 'P' > x.sh; chmod +x x.sh; ./x.sh",
    "echo 'P' | tee x.sh; . ./x.sh",
    "echo 'P' | xargs -I{} sh -c '{}'",
    "echo ARGS | xargs PROG",
    "echo x | xargs -I{} P",
    "find . -exec P \\;",
    "find . -execdir P +",
    "find . -exec sh -c 'P' \\;",
    "parallel P ::: x",
    "parallel 'P' ::: x",
    "watch P",
    "watch -n 1 'P'",
    "ssh host 'P'",
    "ssh host P",
    "ssh -o ProxyCommand='P' host",
    "su -c 'P'",
    "su root -c 'P'",
    "script -qc 'P' /dev/null",
    "docker exec -it c P",
    "docker exec c sh -c 'P'",
    "kubectl exec pod -- sh -c 'P'",
    "ip netns exec x P",
    "perf stat P",
    "uv run P",
    "poetry run P",
    "bundle exec P",
    "tmux new-session -d 'P'",
    "git bisect run P",
    "git rebase -x 'P' main",
    "git submodule foreach 'P'",
    "git -c core.pager='P' log",
    "git -c alias.x='!P' x",
    "git -c core.sshCommand='P' fetch",
    "GIT_SSH_COMMAND='P' git fetch",
    "GIT_EXTERNAL_DIFF='P' git diff",
    "PAGER='P' man ls",
    "LESSOPEN='|P' less x",
    "EDITOR='P' crontab -e",
    "PROMPT_COMMAND='P' bash",
    "BASH_ENV=/tmp/x bash -c 'P'",
    "PATH=/tmp:$PATH P",
    "LD_PRELOAD=/tmp/x.so P",
    "tar cf x y --checkpoint=1 --checkpoint-action=exec='P'",
    "tar xf x --to-command='P'",
    "rsync -e 'sh -c \"P\"' a h:",
    "split --filter='P' x",
    "zip -T -TT 'P' a b",
    "rg --pre 'sh -c \"P\"' x",
    "make --eval='x:;P'",
    "printf 'x:\\n\\t P\\n' > Makefile; make x",
    "echo '{\"scripts\": {\"x\": \"P\"}}' > package.json; npm run x",
    "awk 'BEGIN { system(\"P\") }'",
    "sed '1e P' x",
    "vi -c ':!P' x",
    "python3 -c 'import os; os.system(\"P\")'",
    "python3 -c 'import subprocess; subprocess.run(\"P\", shell=True)'",
    "python3 - <<'E'\nimport os\nos.system(\"P\")\nE",
    "perl -e 'system(\"P\")'",
    "ruby -e 'system(\"P\")'",
    "node -e 'require(\"child_process\").execSync(\"P\")'",
    "php -r 'system(\"P\");'",
    "lua -e 'os.execute(\"P\")'",
    "echo 'import os; os.system(\"P\")' > x.py; python3 x.py",
];

fn fill(idiom: &str, payload: &str) -> String {
    let (program, args) = payload.split_once(' ').unwrap_or((payload, ""));
    idiom
        .replace("PROG", program)
        .replace("ARGS", args)
        .split('P')
        .enumerate()
        .fold(String::new(), |mut text, (index, part)| {
            // `P` by itself, not in a name such as PATH.
            let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
            if index > 0 {
                let inside = word(text.chars().next_back()) || word(part.chars().next());
                text.push_str(if inside { "P" } else { payload });
            }
            text + part
        })
}

/// Forms that are made of the letters of the payload.
fn spelled(payload: &str) -> Vec<String> {
    let (program, args) = payload.split_once(' ').unwrap_or((payload, ""));
    let (first, rest) = program.split_at(1);
    let hex = |text: &str, before: &str| {
        text.bytes().fold(String::new(), |mut all, byte| {
            let _written = write!(all, "{before}{byte:02x}");
            all
        })
    };
    vec![
        format!("{first}\\{rest} {args}"),
        format!("{first}\"\"{rest} {args}"),
        format!("{first}''{rest} {args}"),
        format!("\"{first}\"{rest} {args}"),
        format!("{first}$@{rest} {args}"),
        format!("{first}${{x}}{rest} {args}"),
        format!("$'{}'{rest} {args}", hex(first, "\\x")),
        format!("a={first}; b={rest}; $a$b {args}"),
        payload.replace(' ', "${IFS}"),
        payload.replace(' ', "   "),
        payload.replace(' ', "\t"),
        payload.replace(' ', " \\\n "),
        format!("{{{}}}", payload.replace(' ', ",")),
        format!("/usr/bi?/{first}?{} {args}", rest.get(1..).unwrap_or("")),
        format!("echo {} | base64 -d | sh", base64(payload)),
        format!("bash -c \"$(base64 -d <<< {})\"", base64(payload)),
        format!("echo {} | xxd -r -p | sh", hex(payload, "")),
        format!("eval \"$(echo {} | xxd -r -p)\"", hex(payload, "")),
        format!("printf '{}' | sh", hex(payload, "\\x")),
        format!("eval $'{}'", hex(payload, "\\x")),
        format!(
            "echo '{}' | rev | sh",
            payload.chars().rev().collect::<String>()
        ),
        format!(
            "python3 -c 'exec(__import__(\"base64\").b64decode(\"{}\"))'",
            base64(payload)
        ),
    ]
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (at, byte)| {
            bits | u32::from(*byte) << (16 - 8 * at)
        });
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at) & 63) as usize;
            encoded.push(if at <= chunk.len() {
                char::from(LETTERS[index])
            } else {
                '='
            });
        }
    }
    encoded
}

#[test]
fn every_idiom_is_seen_through() {
    let mut all = 0;
    let mut missed = Vec::new();
    for payload in PAYLOADS {
        let filled = IDIOMS.iter().map(|idiom| fill(idiom, payload));
        for text in filled.chain(spelled(payload)) {
            all += 1;
            if judge(&text).decision == Decision::Allow {
                missed.push(text);
            }
        }
    }
    let share = 100 * (all - missed.len()) / all;
    assert!(
        all >= 3000 && missed.len() * 50 <= all,
        "{share} % of {all}; missed:\n{}",
        missed.join("\n")
    );
}

/// Ways of writing the same that change nothing.
fn dressed(text: &str, way: usize) -> String {
    match way {
        0 => format!("true && {text}"),
        1 => format!("X=1; {text}"),
        2 => format!("{text}; echo done"),
        3 => format!("{{ {text}; }}"),
        4 => format!("( {text} )"),
        5 => format!("# fine\n{text}"),
        6 => text.replace(' ', "  "),
        7 => format!("env {text}"),
        8 => format!("nice {text}"),
        9 => format!("timeout 9 {text}"),
        10 => format!("bash -c {}", quoted(text)),
        11 => format!("eval {}", quoted(text)),
        12 => format!("sudo {text}"),
        13 => format!("if true; then {text}; fi"),
        14 => format!("f() {{ {text}; }}; f"),
        15 => format!("sh <<< {}", quoted(text)),
        _ => format!("\n\n {text} "),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn dressing_a_command_up_never_lowers_the_verdict(
        payload in prop::sample::select(PAYLOADS.to_vec()),
        first in 0_usize..17,
        second in 0_usize..17,
    ) {
        let plain = judge(payload).decision;
        let once = dressed(payload, first);
        prop_assert!(judge(&once).decision >= plain, "{once}");
        // `env ( … )` and its like are no commands.
        let simple = matches!(first, 6..=12);
        let second = if simple || !(7..=9).contains(&second) && second != 12 { second } else { 10 };
        let twice = dressed(&once, second);
        prop_assert!(judge(&twice).decision >= plain, "{twice}");
    }

    #[test]
    fn quoting_a_word_never_lowers_the_verdict(
        payload in prop::sample::select(PAYLOADS.to_vec()),
        index in 0_usize..4,
        way in 0_usize..4,
    ) {
        let mut words: Vec<String> = payload.split(' ').map(str::to_owned).collect();
        let index = index % words.len();
        let word = words[index].clone();
        words[index] = match way {
            0 => quoted(&word),
            1 => format!("\"{word}\""),
            2 => format!("$'{word}'"),
            _ => word.chars().fold(String::new(), |text, c| text + "\\" + &c.to_string()),
        };
        let text = words.join(" ");
        prop_assert!(judge(&text).decision >= judge(payload).decision, "{text}");
    }
}
