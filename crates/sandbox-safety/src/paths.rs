//! Classes of places: what a path is to the judge.

use crate::{
    pattern::{fits, is_named},
    shell::{SimpleCommand, Word},
};

/// Where the judged command would run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) workspace: Option<String>,
    pub(crate) home: Option<String>,
}

/// What a path is, as far as deleting or overwriting it is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Place {
    /// Relative, or below the workspace.
    Workspace,
    /// All of the workspace, or what is above it.
    Wide,
    /// `/tmp`, caches: made to be thrown away.
    Temporary,
    /// Depends on what the text does not say.
    Unknown,
    /// Absolute and none of the others.
    Outside,
    /// Below a home directory.
    InHome,
    /// A file of the operating system.
    SystemFile,
    /// A home directory, all of it.
    Home,
    /// A tree that the operating system cannot do without.
    SystemTree,
    /// A block device.
    Device,
    /// `/`.
    Root,
}

/// Trees without which the system does not work.
static SYSTEM_TREES: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/sbin",
    "/srv",
    "/sys",
    "/usr",
    "/var",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/sbin",
    "/usr/local",
    "/usr/share",
    "/usr/local/bin",
    "/usr/local/lib",
    "/var/lib",
    "/var/log",
    "/etc/init.d",
    "/System",
    "/Library",
    "/Applications",
    "/Users",
    "/Volumes",
    "C:",
    "/mnt/c",
];
static SYSTEM_PREFIXES: &[&str] = &[
    "/bin/",
    "/boot/",
    "/dev/",
    "/etc/",
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/proc/",
    "/sbin/",
    "/sys/",
    "/usr/",
    "/var/lib/",
    "/var/spool/",
    "/System/",
    "/Library/",
];
static TEMPORARY_PREFIXES: &[&str] = &[
    "/tmp/",
    "/var/tmp/",
    "/dev/shm/",
    "/var/cache/",
    "/var/lib/apt/lists",
    "/private/tmp/",
    "/usr/src/",
    "~/.cache/",
    "~/.npm/",
    "~/.cargo/registry/",
    "/usr/share/doc/",
    "/usr/share/man/",
];
static DEVICES: &str = "/dev/sd*|/dev/hd*|/dev/vd*|/dev/xvd*|/dev/nvme*|/dev/mmcblk*|/dev/disk*|\
    /dev/mapper/*|/dev/md*|/dev/dm-*|/dev/mem|/dev/kmem|/dev/mtd*|/dev/rdisk*|/dev/ada*|/dev/da0*";

/// What holds keys, tokens or passwords.
static SECRETS: &[&str] = &[
    "~/.ssh",
    "~/.ssh/id_*",
    "~/.ssh/*.pem",
    "~/.ssh/*_key",
    "~/.ssh/*_rsa",
    "~/.ssh/*_ed25519",
    "~/.aws/credentials",
    "~/.aws",
    "~/.netrc",
    "~/.pgpass",
    "~/.my.cnf",
    "~/.git-credentials",
    "~/.docker/config.json",
    "~/.kube/config",
    "~/.npmrc",
    "~/.pypirc",
    "~/.gnupg*",
    "~/.config/gcloud*",
    "~/.azure*",
    "~/.config/gh/hosts.yml",
    "~/.config/hub",
    "~/.vault-token",
    "~/.terraform.d/credentials*",
    "~/.password-store*",
    "~/.local/share/keyrings*",
    "~/.mozilla*",
    "~/.config/google-chrome*",
    "~/Library/Keychains*",
    "~/Library/Application Support/Google/Chrome*",
    "~/Library/Application Support/Firefox*",
    "~/.config/chromium*",
    "~/.thunderbird*",
    "~/.purple/accounts.xml",
    "~/.config/filezilla*",
    "~/.subversion/auth*",
    "~/.config/sops*",
    "~/.config/doctl*",
    "~/.config/heroku*",
    "~/.config/fly*",
    "~/.fly/*",
    "~/.oci*",
    "~/.composer/auth.json",
    "~/.m2/settings*.xml",
    "~/.gem/credentials",
    "~/.config/containers/auth.json",
    "~/.config/github-copilot*",
    "~/.cargo/credentials*",
    "~/.boto",
    "~/.s3cfg",
    "~/.config/rclone/rclone.conf",
    "/etc/shadow*",
    "/etc/gshadow*",
    "/etc/master.passwd",
    "/etc/sudoers*",
    "/etc/ssh/*_key",
    "/etc/krb5.keytab",
    "/proc/*/environ",
    "/proc/*/mem",
    "/proc/kcore",
    "/etc/security/opasswd",
    "/var/run/secrets/*",
    "/run/secrets/*",
    "~/.bash_history",
    "~/.zsh_history",
    "~/.config/op*",
    "~/.claude/.credentials*",
    "~/.codex/auth.json",
    "~/.wallet*",
    "~/.bitcoin*",
    "~/.ethereum*",
    "~/.electrum*",
    "~/.config/solana/id.json",
    "/etc/openvpn/*",
    "/etc/wireguard/*",
];
/// Names that hold secrets wherever they are.
static SECRET_NAMES: &[&str] = &[
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".git-credentials",
    ".netrc",
    ".pgpass",
    "credentials.json",
    "service-account*.json",
    "*.kdbx",
    "*.keytab",
    "NTDS.dit",
];

/// What is run without being called: at login, at boot, by a timer, by a tool on its next use.
static STARTUP: &[&str] = &[
    "~/.bashrc",
    "~/.bash_profile",
    "~/.bash_login",
    "~/.bash_logout",
    "~/.profile",
    "~/.zshrc",
    "~/.shrc",
    "~/.zprofile",
    "~/.zshenv",
    "~/.zlogin",
    "~/.login",
    "~/.cshrc",
    "~/.tcshrc",
    "~/.kshrc",
    "~/.xinitrc",
    "~/.xprofile",
    "~/.xsession",
    "~/.config/autostart/*",
    "~/.config/fish/*",
    "~/.config/autostart",
    "~/.config/systemd/user*",
    "~/.ssh/authorized_keys*",
    "~/.ssh/rc",
    "~/.ssh/config",
    "~/.ssh/environment",
    "~/.pam_environment",
    "~/Library/LaunchAgents/*",
    "~/.gitconfig",
    "~/.config/git/config",
    "~/.vimrc",
    "~/.inputrc",
    "~/.aliases",
    "~/.bash_aliases",
    "/etc/profile",
    "/etc/profile.d/*",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/zsh*",
    "/etc/environment",
    "/etc/rc.local",
    "/etc/rc*.d/*",
    "/etc/init.d/*",
    "/etc/init/*",
    "/etc/cron*",
    "/var/spool/cron*",
    "/etc/anacrontab",
    "/etc/at.*",
    "/etc/inittab",
    "/etc/systemd/*",
    "/lib/systemd/*",
    "/usr/lib/systemd/*",
    "/run/systemd/*",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf*",
    "/etc/udev/rules.d/*",
    "/lib/udev/rules.d/*",
    "/etc/xdg/autostart/*",
    "/etc/apt/apt.conf.d/*",
    "/etc/update-motd.d/*",
    "/etc/pam.d/*",
    "/etc/ssh/sshd_config*",
    "/etc/modules*",
    "/etc/modprobe.d/*",
    "/Library/LaunchDaemons/*",
    "/Library/LaunchAgents/*",
    "/etc/emond.d/*",
    "/etc/periodic/*",
    "/etc/network/if-up.d/*",
    "/etc/NetworkManager/dispatcher.d/*",
    "/etc/logrotate.d/*",
    "/etc/dbus-1/*",
];
/// Who may do what on the machine.
static ACCOUNTS: &[&str] = &[
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/sudoers*",
    "/etc/polkit-1/*",
    "/etc/doas.conf",
    "/usr/local/etc/sudoers*",
    "/etc/hosts.allow",
    "/etc/security/*",
];
static LOGS: &[&str] = &[
    "/var/log",
    "/var/log/*",
    "~/.bash_history",
    "~/.zsh_history",
    "~/.*_history",
    "/var/audit*",
    "/var/run/utmp",
    "/var/spool/mail*",
    "/var/mail*",
    "/var/adm/*",
];
/// What decides how this sandbox and other agents' guards judge.
static GUARDS: &[&str] = &[
    "~/.local/share/sandbox*",
    "/etc/sandbox/*",
    "~/.config/sandbox/*",
    "~/.claude/settings*.json",
    "*.claude/settings*.json",
    "*.codex/config.toml",
    "*.cursor/*.json",
    "*.mcp.json",
    "*.claude/hooks/*",
    "*.gemini/settings.json",
];
static GIT_INTERNALS: &[&str] = &[
    "*.git/hooks/*",
    "*.git/config",
    "*.git/hooks",
    "*.git/info/attributes",
    "*.husky/*",
];

/// The classes of places that a rule may name.
pub(crate) const CLASSES: &[&str] = &[
    "device",
    "root",
    "system",
    "systemfile",
    "home",
    "wide",
    "secret",
    "startup",
    "account",
    "log",
    "guard",
    "gitinternal",
    "gitdata",
];

/// What a repository cannot do without, or could be brought back from.
static GIT_DATA: &[&str] = &[
    "*.git/objects*",
    "*.git/refs*",
    "*.git/packed-refs",
    "*.git/logs*",
    "*.git/HEAD",
    "*.git/index",
    "*.git/worktrees*",
    "*.git/modules*",
];

/// Returns whether `text` lies in the class that a rule names.
pub(crate) fn is_in_class(
    text: &str,
    class: &str,
    command: &SimpleCommand,
    places: &Places,
) -> bool {
    let path = resolve(text, command, places);
    let any = |names: &[&str]| names.iter().any(|name| fits(name, &path));
    match class {
        "device" => is_device(&path),
        "root" => place(&path) == Place::Root,
        "system" => matches!(place(&path), Place::SystemTree | Place::Root),
        "systemfile" => place(&path) == Place::SystemFile,
        "home" => place(&path) == Place::Home,
        "wide" => place(&path) == Place::Wide,
        "secret" => {
            // Somebody's home, whosever it is.
            if let Some(rest) = path.strip_prefix("/home/*/") {
                let own = format!("~/{rest}");
                return SECRETS.iter().any(|name| fits(name, &own));
            }
            let file = crate::shell::basename(&path);
            !path.ends_with(".pub")
                && (any(SECRETS) || SECRET_NAMES.iter().any(|name| fits(name, file)))
        }
        "startup" => any(STARTUP),
        "account" => any(ACCOUNTS),
        "log" => any(LOGS),
        "guard" => any(GUARDS),
        "gitinternal" => any(GIT_INTERNALS),
        "gitdata" => any(GIT_DATA) && !path.ends_with(".lock"),
        _ => false,
    }
}

fn is_device(path: &str) -> bool {
    path.starts_with("/dev/") && is_named(DEVICES, path)
}

/// Returns what the word names.
pub(crate) fn place_of(word: &Word, command: &SimpleCommand, places: &Places) -> Place {
    place(&resolve(&word.text, command, places))
}

/// Returns the path as it is after `cd`, `.` and `..`, with `~` for any home directory.
pub(crate) fn resolve(text: &str, command: &SimpleCommand, places: &Places) -> String {
    let mut path = text.to_owned();
    if let Some(directory) = &command.directory
        && !path.starts_with(['/', '~', '$', '-'])
        && directory.starts_with(['/', '~', '.'])
    {
        path = format!("{directory}/{path}");
    }
    let path = squeeze(&path);
    let below = |directory: &str| {
        let rest = path.strip_prefix(directory.trim_end_matches('/'));
        rest.filter(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let workspace = places.workspace.as_deref().filter(|path| path.len() > 1);
    if let Some(rest) = workspace.and_then(below) {
        return format!(".{rest}");
    }
    let homes = places.home.as_deref().into_iter().chain(["/root"]);
    for home in homes.filter(|home| home.len() > 1) {
        if let Some(rest) = below(home) {
            return format!("~{rest}");
        }
    }
    for base in ["/home/", "/Users/", "~"] {
        let Some(rest) = path.strip_prefix(base) else {
            continue;
        };
        let (user, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if base == "~" || !user.is_empty() && user != "*" {
            return format!("~{below}");
        }
    }
    path
}

/// Removes what changes nothing in a path: `//`, `/./`, `x/..`, a `/` at its end.
fn squeeze(path: &str) -> String {
    let mut absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if absolute && parts.is_empty() => {}
            ".." if parts == ["~"] => {
                absolute = true;
                parts = vec!["home"];
            }
            ".." if parts
                .last()
                .is_some_and(|last| *last != ".." && !last.starts_with('~')) =>
            {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn place(path: &str) -> Place {
    let whole = path
        .strip_suffix("/*")
        .or_else(|| path.strip_suffix("/.*"))
        .unwrap_or(path);
    if whole.is_empty() || whole == "/" || path == "/*" {
        return Place::Root;
    }
    if is_device(path) {
        return Place::Device;
    }
    if matches!(
        path,
        "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/tty" | "/dev/fd" | "-"
    ) || path.starts_with("/dev/tcp")
        || path.starts_with("/dev/fd/")
        || path.starts_with("/dev/udp")
    {
        return Place::Temporary;
    }
    if matches!(whole, "~" | "/home/*" | "/Users/*") {
        return Place::Home;
    }
    let below = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if below(TEMPORARY_PREFIXES) || matches!(whole, "/tmp" | "/var/tmp" | "~/.cache") {
        return Place::Temporary;
    }
    if SYSTEM_TREES.contains(&whole) {
        return Place::SystemTree;
    }
    if path.starts_with("~/") {
        return Place::InHome;
    }
    if below(SYSTEM_PREFIXES) {
        return Place::SystemFile;
    }
    if path.starts_with('/') {
        // `/$x` and `/*x` may be anything below the root.
        return if path.starts_with("/$") {
            Place::Unknown
        } else {
            Place::Outside
        };
    }
    if matches!(
        path,
        "." | ".." | "*" | ".*" | "*.*" | ".git" | "./*" | "../*" | "{}"
    ) || path.starts_with("..")
    {
        return Place::Wide;
    }
    if path.starts_with('$') || path.starts_with('`') {
        return Place::Unknown;
    }
    Place::Workspace
}
