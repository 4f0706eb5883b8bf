//! Programs of which one subcommand runs another command, and options whose value is shell text.

use super::{Inner, Route, Span, Unwrapped, Word, text_of};
use crate::shell::SimpleCommand;

/// How the command follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Follows {
    /// After so many operands.
    Operands(usize),
    /// After `--`.
    Dashes,
    /// As shell text, after so many operands.
    Text(usize),
}

struct Subcommand {
    program: &'static str,
    /// The operands that select it.
    words: &'static [&'static str],
    follows: Follows,
    route: Route,
    /// Options that take a value in the next word.
    valued: &'static [&'static str],
}

const fn sub(
    program: &'static str,
    words: &'static [&'static str],
    follows: Follows,
    valued: &'static [&'static str],
) -> Subcommand {
    Subcommand {
        program,
        words,
        follows,
        route: Route::Direct,
        valued,
    }
}

const fn remote(subcommand: Subcommand) -> Subcommand {
    Subcommand {
        route: Route::Remote,
        ..subcommand
    }
}

use Follows::{Dashes, Operands, Text};

const EXEC_VALUED: &[&str] = &[
    "-e",
    "--env",
    "-u",
    "--user",
    "-w",
    "--workdir",
    "--env-file",
    "--index",
];
const KUBE_VALUED: &[&str] = &[
    "-n",
    "--namespace",
    "-c",
    "--container",
    "--context",
    "--kubeconfig",
];

/// From the programs' manual pages.
static SUBCOMMANDS: &[Subcommand] = &[
    remote(sub("docker", &["exec"], Operands(1), EXEC_VALUED)),
    remote(sub(
        "docker",
        &["container", "exec"],
        Operands(1),
        EXEC_VALUED,
    )),
    remote(sub(
        "docker",
        &["compose", "exec"],
        Operands(1),
        EXEC_VALUED,
    )),
    remote(sub("docker-compose", &["exec"], Operands(1), EXEC_VALUED)),
    remote(sub("podman", &["exec"], Operands(1), EXEC_VALUED)),
    remote(sub("nerdctl", &["exec"], Operands(1), EXEC_VALUED)),
    remote(sub("kubectl", &["exec"], Dashes, KUBE_VALUED)),
    remote(sub("oc", &["exec"], Dashes, KUBE_VALUED)),
    remote(sub("lxc", &["exec"], Dashes, &[])),
    remote(sub("incus", &["exec"], Dashes, &[])),
    sub("ip", &["netns", "exec"], Operands(1), &[]),
    sub("ip", &["vrf", "exec"], Operands(1), &[]),
    sub("perf", &["stat"], Operands(0), &["-e", "-o", "-r"]),
    sub("perf", &["record"], Operands(0), &["-e", "-o", "-F"]),
    sub("perf", &["trace"], Operands(0), &["-e", "-o"]),
    sub(
        "uv",
        &["run"],
        Operands(0),
        &["--with", "-p", "--python", "--project"],
    ),
    sub("npm", &["exec"], Dashes, &[]),
    sub("pnpm", &["exec"], Operands(0), &[]),
    sub("yarn", &["exec"], Operands(0), &[]),
    sub("poetry", &["run"], Operands(0), &[]),
    sub("pipenv", &["run"], Operands(0), &[]),
    sub("pdm", &["run"], Operands(0), &[]),
    sub("hatch", &["run"], Operands(0), &[]),
    sub("rye", &["run"], Operands(0), &[]),
    sub(
        "conda",
        &["run"],
        Operands(0),
        &["-n", "--name", "-p", "--prefix"],
    ),
    sub(
        "mamba",
        &["run"],
        Operands(0),
        &["-n", "--name", "-p", "--prefix"],
    ),
    sub("bundle", &["exec"], Operands(0), &[]),
    sub("rbenv", &["exec"], Operands(0), &[]),
    sub("pyenv", &["exec"], Operands(0), &[]),
    sub("asdf", &["exec"], Operands(0), &[]),
    sub("mise", &["exec"], Dashes, &[]),
    sub("direnv", &["exec"], Operands(1), &[]),
    sub("op", &["run"], Dashes, &[]),
    sub("doppler", &["run"], Dashes, &[]),
    sub("aws-vault", &["exec"], Dashes, &[]),
    sub("chamber", &["exec"], Dashes, &[]),
    sub("git", &["bisect", "run"], Operands(0), &[]),
    sub("git", &["submodule", "foreach"], Text(0), &[]),
    sub("rustup", &["run"], Operands(1), &[]),
    sub(
        "tmux",
        &["new-session"],
        Text(0),
        &["-s", "-n", "-t", "-c", "-x", "-y", "-F", "-e"],
    ),
    sub(
        "tmux",
        &["new"],
        Text(0),
        &["-s", "-n", "-t", "-c", "-x", "-y", "-F", "-e"],
    ),
    sub(
        "tmux",
        &["new-window"],
        Text(0),
        &["-n", "-t", "-c", "-F", "-e"],
    ),
    sub(
        "tmux",
        &["split-window"],
        Text(0),
        &["-t", "-c", "-l", "-p", "-F", "-e"],
    ),
    sub("tmux", &["run-shell"], Text(0), &["-t", "-d", "-c"]),
    sub("distrobox", &["enter"], Dashes, &[]),
    sub("cpulimit", &[], Dashes, &["-l", "-e", "-p"]),
    sub("choom", &[], Dashes, &["-n"]),
    sub("tini", &[], Dashes, &[]),
    sub("dumb-init", &[], Operands(0), &[]),
    sub("gosu", &[], Operands(1), &[]),
    sub("su-exec", &[], Operands(1), &[]),
    sub(
        "chpst",
        &[],
        Operands(0),
        &["-u", "-U", "-e", "-d", "-n", "-m", "-o"],
    ),
    sub("setlock", &[], Operands(1), &[]),
    sub(
        "softlimit",
        &[],
        Operands(0),
        &[
            "-m", "-d", "-s", "-l", "-a", "-o", "-p", "-f", "-c", "-r", "-t",
        ],
    ),
    sub("rlwrap", &[], Operands(0), &["-f", "-H", "-s", "-D"]),
    sub("sshpass", &[], Operands(0), &["-p", "-f", "-d", "-P"]),
    sub("ssh-agent", &[], Operands(0), &["-a", "-t", "-E", "-P"]),
    sub("dbus-launch", &[], Operands(0), &[]),
    sub(
        "multitime",
        &[],
        Operands(0),
        &["-n", "-f", "-I", "-i", "-o", "-s"],
    ),
    sub("runcon", &[], Operands(1), &["-u", "-r", "-t", "-l"]),
    sub("aa-exec", &[], Operands(0), &["-p", "-n"]),
    sub("firejail", &[], Operands(0), &[]),
    sub("proot", &[], Operands(0), &["-r", "-b", "-w", "-q"]),
    sub("flatpak-spawn", &[], Operands(0), &[]),
    sub("trickle", &[], Operands(0), &["-d", "-u"]),
    sub("tsocks", &[], Operands(0), &[]),
    sub(
        "hyperfine",
        &[],
        Text(0),
        &["-w", "-r", "-m", "-M", "-n", "--warmup", "--runs"],
    ),
    sub("start-stop-daemon", &[], Dashes, &[]),
];

/// An option whose value is shell text, as `--option TEXT` or `--option=TEXT`; an option that ends
/// with `=` is looked for inside of a word.
static TEXT_OPTIONS: &[(&str, &[&str], Route)] = &[
    (
        "ssh",
        &["ProxyCommand=", "LocalCommand=", "KnownHostsCommand="],
        Route::Direct,
    ),
    ("scp", &["ProxyCommand=", "LocalCommand="], Route::Direct),
    ("sftp", &["ProxyCommand=", "LocalCommand="], Route::Direct),
    (
        "tar",
        &[
            "--checkpoint-action=exec=",
            "--to-command",
            "--info-script",
            "--new-volume-script",
        ],
        Route::Direct,
    ),
    (
        "git",
        &[
            "--exec",
            "-x",
            "--extcmd",
            "core.sshCommand=",
            "core.pager=",
            "core.editor=",
            "core.fsmonitor=",
        ],
        Route::Direct,
    ),
    (
        "npm",
        &[
            "-c",
            "--call",
            "scripts.preinstall=",
            "scripts.install=",
            "scripts.postinstall=",
            "scripts.prepare=",
            "scripts.pretest=",
            "scripts.test=",
            "scripts.build=",
            "scripts.start=",
        ],
        Route::Direct,
    ),
    ("npx", &["-c", "--call"], Route::Direct),
    ("bunx", &["-c", "--call"], Route::Direct),
    ("rsync", &["--rsh"], Route::Direct),
    ("split", &["--filter"], Route::Direct),
    ("nix-shell", &["--run", "--command"], Route::Direct),
    ("nix", &["--command", "-c"], Route::Direct),
    ("vagrant", &["-c", "--command"], Route::Remote),
    ("gcloud", &["--command"], Route::Remote),
    ("fzf", &["--preview"], Route::Direct),
    (
        "aria2c",
        &[
            "--on-download-complete",
            "--on-download-error",
            "--on-download-start",
            "--on-download-stop",
        ],
        Route::Direct,
    ),
    (
        "certbot",
        &["--pre-hook", "--post-hook", "--deploy-hook", "--renew-hook"],
        Route::Direct,
    ),
    ("restic", &["--password-command"], Route::Direct),
    ("tcpdump", &["-z"], Route::Direct),
    ("zip", &["-TT", "--unzip-command"], Route::Direct),
    ("rg", &["--pre"], Route::Direct),
    ("sort", &["--compress-program"], Route::Direct),
    (
        "apt-get",
        &["Pre-Invoke::=", "Post-Invoke::="],
        Route::Direct,
    ),
    ("apt", &["Pre-Invoke::=", "Post-Invoke::="], Route::Direct),
];

/// Takes off a subcommand that runs another command.
pub(super) fn take_off(command: &SimpleCommand) -> Unwrapped {
    let program = command.program();
    let args = command.args();
    let known = SUBCOMMANDS.iter().filter(|it| it.program == program);
    for subcommand in known {
        if let Some(unwrapped) = subcommand.take_off(args) {
            return unwrapped;
        }
    }
    Unwrapped::Command
}

/// Returns the shell texts that options of a command carry, with where they stand.
pub(in crate::shell) fn option_texts(command: &SimpleCommand) -> Vec<(String, Span, Route)> {
    let program = command.program();
    if matches!(program, "sed" | "gsed") {
        let scripts = command.args().iter().filter_map(|word| {
            let text = executed_by_sed(&word.text)?;
            Some((text.to_owned(), word.span, Route::Direct))
        });
        return scripts.collect();
    }
    let Some((_, options, route)) = TEXT_OPTIONS.iter().find(|(name, ..)| *name == program) else {
        return Vec::new();
    };
    let mut args = command.args();
    if matches!(program, "npx" | "bunx") {
        // What stands behind the package's name is the package's own.
        let end = args.iter().enumerate().position(|(at, word)| {
            let value = at > 0
                && matches!(
                    args[at - 1].text.as_str(),
                    "-c" | "--call" | "-p" | "--package"
                );
            !word.text.starts_with('-') && !value
        });
        args = &args[..end.unwrap_or(args.len())];
    }
    let mut found = Vec::new();
    for (index, word) in args.iter().enumerate() {
        for option in *options {
            let inside = option.ends_with('=');
            let value = if inside {
                word.text.split_once(option).map(|(_, value)| value)
            } else if word.text == *option {
                args.get(index + 1).map(|next| next.text.as_str())
            } else {
                let rest = word.text.strip_prefix(option);
                rest.and_then(|rest| rest.strip_prefix('='))
            };
            let value = value.map(|it| {
                it.trim_start_matches(['!', '\'', '"'])
                    .trim_end_matches(['\'', '"'])
            });
            if let Some(value) = value.filter(|it| !it.is_empty()) {
                found.push((value.to_owned(), word.span, *route));
            }
        }
    }
    found
}

/// Returns what the `e` command of a sed script runs: `1e COMMAND`, `$e COMMAND`.
fn executed_by_sed(script: &str) -> Option<&str> {
    let address = |c: char| c.is_ascii_digit() || matches!(c, '$' | ',' | '~' | '!' | ' ');
    let text = script.trim_start_matches(address).strip_prefix("e ")?;
    Some(text.trim()).filter(|text| !text.is_empty())
}

impl Subcommand {
    fn take_off(&self, args: &[Word]) -> Option<Unwrapped> {
        let mut at = 0;
        for word in self.words {
            at = self.skip_options(args, at);
            if args.get(at)?.text != *word {
                return None;
            }
            at += 1;
        }
        at = match self.follows {
            Dashes => at + args.get(at..)?.iter().position(|it| it.text == "--")? + 1,
            Operands(count) | Text(count) => {
                let mut at = self.skip_options(args, at);
                for _ in 0..count {
                    at = self.skip_options(args, at + 1);
                }
                at
            }
        };
        let rest = args.get(at..).filter(|rest| !rest.is_empty())?;
        if let Text(_) = self.follows {
            return Some(text_of(rest, self.route));
        }
        Some(Unwrapped::Inner(Inner {
            name: self.program,
            route: self.route,
            assignments: Vec::new(),
            commands: vec![(rest.to_vec(), false)],
        }))
    }

    fn skip_options(&self, args: &[Word], mut at: usize) -> usize {
        while let Some(word) = args.get(at).filter(|it| it.text.starts_with('-')) {
            at += 1;
            if word.text == "--" {
                break;
            }
            at += usize::from(self.valued.contains(&word.text.as_str()));
        }
        at
    }
}
