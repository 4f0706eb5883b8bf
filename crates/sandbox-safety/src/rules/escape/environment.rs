//! Variables whose values other programs run or load.

use crate::{
    rules::Scene,
    shell::{Known, SimpleCommand, Span, Word, basename},
};

/// Their value is a command.
static COMMANDS: &[&str] = &[
    "AWS_PAGER",
    "BAT_PAGER",
    "BORG_PASSCOMMAND",
    "BORG_RSH",
    "BROWSER",
    "CRASHPAGER",
    "CVS_RSH",
    "DELTA_PAGER",
    "EDITOR",
    "FCEDIT",
    "GH_BROWSER",
    "GH_EDITOR",
    "GH_PAGER",
    "GIT_ASKPASS",
    "GIT_EDITOR",
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_PROXY_COMMAND",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "HGEDITOR",
    "KUBE_EDITOR",
    "LESSCLOSE",
    "LESSEDIT",
    "LESSOPEN",
    "MANPAGER",
    "PAGER",
    "PSQL_EDITOR",
    "PSQL_PAGER",
    "RCLONE_PASSWORD_COMMAND",
    "RESTIC_PASSWORD_COMMAND",
    "RSYNC_RSH",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "SUDO_EDITOR",
    "SVN_EDITOR",
    "SVN_SSH",
    "SYSTEMD_EDITOR",
    "SYSTEMD_PAGER",
    "VISUAL",
];

/// Tools that their own programs would start from these.
static TOOLS: &[&str] = &[
    "AUTOCONF",
    "AUTOM4TE",
    "AUTOHEADER",
    "ACLOCAL",
    "AUTOMAKE",
    "M4",
];

/// Their value is options, of which some load code.
static OPTIONS: &[(&str, &[&str])] = &[
    (
        "NODE_OPTIONS",
        &["--require", "-r ", "--import", "--loader"],
    ),
    ("PERL5OPT", &["-M", "-d", "-e"]),
    ("PERL5DB", &[""]),
    ("RUBYOPT", &["-r", "-e"]),
    ("PYTHONSTARTUP", &[""]),
    ("PYTHONINSPECT", &["/"]),
    ("PYTHONWARNINGS", &["."]),
    ("JAVA_TOOL_OPTIONS", &["-javaagent", "-agentpath"]),
    ("_JAVA_OPTIONS", &["-javaagent", "-agentpath"]),
    ("DOTNET_STARTUP_HOOKS", &[""]),
    ("GCONV_PATH", &[""]),
    ("GTK_MODULES", &["/"]),
    ("NPM_CONFIG_SCRIPT_SHELL", &["/"]),
    (
        "TAR_OPTIONS",
        &[
            "checkpoint-action",
            "to-command",
            "use-compress",
            "rmt-command",
            ":/",
        ],
    ),
    ("ZIPOPT", &["-TT", "--unzip-command"]),
    ("PYTHONPATH", &["/tmp", "/dev/shm", "/var/tmp"]),
    ("LD_LIBRARY_PATH", &["/tmp", "/dev/shm", "/var/tmp"]),
    ("PS4", &["/sh", "bash", "curl", "nc "]),
    ("RIPGREP_CONFIG_PATH", &["/tmp", "./"]),
    ("MYVIMRC", &["/tmp"]),
    ("VIMINIT", &["!", "system("]),
    ("EXINIT", &["!"]),
    ("GIT_CONFIG_GLOBAL", &["/tmp", "./"]),
    ("GIT_EXEC_PATH", &["/tmp", "./", "."]),
    ("GIT_TEMPLATE_DIR", &["/tmp", "./"]),
];

/// Programs that people set as editors, pagers, browsers and connections.
static USUAL: &[&str] = &[
    "",
    ":",
    "bat",
    "batcat",
    "brave",
    "cat",
    "chrome",
    "chromium",
    "code",
    "code-insiders",
    "cursor",
    "delta",
    "diff-so-fancy",
    "difft",
    "echo",
    "ed",
    "emacs",
    "emacsclient",
    "false",
    "firefox",
    "gedit",
    "google-chrome",
    "gpg",
    "head",
    "helix",
    "hx",
    "kate",
    "less",
    "lesspipe",
    "lesspipe.sh",
    "lynx",
    "micro",
    "more",
    "most",
    "nano",
    "notepad",
    "nvim",
    "open",
    "pass",
    "pg",
    "pico",
    "printf",
    "secret-tool",
    "ssh",
    "subl",
    "sublime_text",
    "tee",
    "touch",
    "true",
    "vi",
    "vim",
    "view",
    "w3m",
    "wslview",
    "xdg-open",
    "zed",
    "sed",
    "op",
    "col",
    "plink",
    "none",
];

/// Finds a variable that makes another program run or load something unusual.
pub(super) fn runs_a_value(_: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let assigned = command
        .assignments
        .iter()
        .any(|(name, value)| runs(name, value));
    let exported = || {
        let declares = matches!(
            command.program(),
            "export" | "declare" | "typeset" | "readonly"
        );
        declares
            && command.args().iter().any(|word| {
                word.text.split_once('=').is_some_and(|(name, value)| {
                    let value = Word {
                        text: value.to_owned(),
                        ..word.clone()
                    };
                    runs(name, &value)
                })
            })
    };
    (assigned || exported()).then_some(command.span)
}

fn runs(name: &str, value: &Word) -> bool {
    let text = value.text.trim();
    if COMMANDS.contains(&name) {
        let first = text.trim_start_matches('|').split_whitespace().next();
        let first = first.unwrap_or_default();
        let usual = USUAL.contains(&basename(first)) || first.starts_with('$');
        // `ssh -o …` and `sed -i …` may run things themselves.
        let more = [
            ";",
            "`",
            "$(",
            "&&",
            "| sh",
            "|sh",
            "ProxyCommand",
            "LocalCommand",
        ];
        let runs_more = more.iter().any(|part| text.contains(part));
        return value.known != Known::Unknown && !usual || runs_more;
    }
    if TOOLS.contains(&name) {
        return text.contains('/');
    }
    let options = OPTIONS.iter().find(|(known, _)| *known == name);
    options
        .is_some_and(|(_, parts)| !text.is_empty() && parts.iter().any(|part| text.contains(part)))
}
