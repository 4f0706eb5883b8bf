//! Secrets: who reads them, and what is sent away.

use super::{copies, is_connection};
use crate::{
    gate::Scanner,
    inline,
    paths::{Place, is_in_class, place_of},
    pattern::{has_option, is_listed, operands},
    rules::Scene,
    shell::{Known, RedirectKind, SimpleCommand, Span, Word, basename},
};

/// Programs that use a key or only look at its file; what they do with it is their purpose.
const NOT_READERS: &str = "ls ll stat chmod chown mkdir touch ssh scp sftp ssh-keygen ssh-add ssh-copy-id ssh- \
    agent test [ [[ file rm echo printf git cd mosh sshfs visudo gcloud aws kubectl helm \
    npm docker export tee ansible ansible-playbook autossh sshpass unlink ssh-keyscan \
    puttygen du tree realpath dirname basename mv shred rmdir ln curl rsync";

/// Directories that hold keys and tokens, as a search names them.
const SECRET_DIRECTORIES: [&str; 7] = [
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".mozilla",
];
/// Keys that a history should not hold.
const SECRET_NAMES_IN_HISTORY: [&str; 5] = [
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".git-credentials",
];

/// Hosts that take files from anybody.
const DROP_SITES: &str = "file.io transfer.sh 0x0.st pastebin.com paste. webhook.site ngrok requestbin \
    pipedream burpcollaborator oast. interact.sh termbin bashupload \
    discord.com/api/webhooks api.telegram.org hookbin ix.io paste.rs sprunge.us catbox.moe \
    dpaste.com gofile.io temp.sh requestcatcher.com beeceptor.com webhook.cool";

/// What sends to other machines.
fn is_sender(command: &SimpleCommand) -> bool {
    let args = command.args();
    let given = |options: &[&str]| options.iter().any(|option| has_option(args, option));
    match command.program() {
        "curl" | "curlie" => given(&[
            "-d",
            "-F",
            "-T",
            "--data",
            "--data-binary",
            "--data-raw",
            "--data-urlencode",
            "--form",
            "--upload-file",
            "--json",
        ]),
        "wget" => given(&["--post-file", "--post-data", "--body-file", "--body-data"]),
        "scp" | "rsync" | "sftp" | "rclone" => args.iter().any(|w| w.text.contains(':')),
        "nc" | "ncat" | "netcat" | "socat" | "telnet" | "ftp" | "tftp" | "mail" | "mailx"
        | "sendmail" | "mutt" | "swaks" | "ssh" | "smbclient" | "croc" | "wormhole" | "gh"
        | "http" | "https" | "httpie" | "xh" | "nslookup" | "dig" | "host" | "ping" | "drill"
        | "lftp" | "finger" | "whois" | "cancel" | "lp" | "lpr" | "ab" | "websocat"
        | "mosquitto_pub" | "kafkacat" | "kcat" | "curlftpfs" | "telegram-send" | "slackcat" => {
            true
        }
        // An archive on another machine: `tar -cf HOST:FILE`.
        "tar" | "gtar" | "bsdtar" | "cpio" => {
            let elsewhere = args.iter().any(|it| is_on_another_machine(&it.text));
            elsewhere && !args.iter().any(|it| it.text == "--force-local")
        }
        "openssl" => args.first().is_some_and(|it| it.text == "s_client"),
        "restic" | "borg" | "duplicity" => args.iter().any(|w| w.text.contains("://")),
        "aws" | "gsutil" | "s3cmd" | "mc" | "az" => args
            .iter()
            .any(|w| matches!(w.text.as_str(), "cp" | "mv" | "sync" | "put" | "upload")),
        _ => command
            .redirects
            .iter()
            .any(|r| r.kind == RedirectKind::Write && is_connection(&r.target.text)),
    }
}

/// Returns whether an argument of an archiver is `HOST:FILE`, by itself or as the value of an option.
fn is_on_another_machine(text: &str) -> bool {
    let value = text.strip_prefix("--file=").unwrap_or(text);
    let Some((host, path)) = value.split_once(':') else {
        return false;
    };
    let name = |c: char| c.is_ascii_alphanumeric() || "@.-_".contains(c);
    !host.is_empty() && !host.starts_with('-') && host.chars().all(name) && path.starts_with('/')
}

/// Finds secrets that are sent away.
pub(crate) fn secret_to_network(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if let Some((code, span)) = inline::code(scene, command)
        && inline::sends_secrets(code)
    {
        return Some(*span);
    }
    let sender = is_sender(command);
    if !sender && command.program() != "curl" && command.program() != "wget" {
        return None;
    }
    if matches!(command.program(), "ssh" | "sftp") && command.pipe.is_none() {
        return None;
    }
    let secret = |c: &SimpleCommand| {
        reads_secret(scene, c).is_some()
            || reads_key_file(scene, c)
            || tells_environment(c)
            || searches_secrets(c)
    };
    if sender && scene.feeders(command).any(secret) {
        return Some(command.span);
    }
    let copied_before = copies_of_secrets(scene, command, sender);
    let is_copy = |path: &str| {
        copied_before
            .iter()
            .any(|copy| *copy == copies::plain(path))
    };
    let given_copy = command
        .redirects
        .iter()
        .any(|it| it.kind == RedirectKind::Read && is_copy(&it.target.text));
    let archived = scene.feeders(command).any(|feeder| {
        let mut operands = operands(feeder).into_iter();
        operands.any(|word| is_copy(&word.text))
    });
    if given_copy || archived {
        return Some(command.span);
    }
    let mut words = command.args().iter();
    let uploaded = words.find(|word| {
        let leaked = scene.run_by(word.runs).iter().any(|c| {
            reads_secret(scene, c).is_some()
                || (sender || word.text.contains("://")) && reads_key_file(scene, c)
                || tells_environment(c) && (sender || !c.args().is_empty())
        });
        leaked
            || sender
                && (sent_file(&word.text)
                    .is_some_and(|path| is_sensitive(scene, command, path) || is_copy(path))
                    || is_copy(&word.text) && command.program() != "openssl")
    });
    let given = command
        .redirects
        .iter()
        .find(|r| r.kind == RedirectKind::Read && is_sensitive(scene, command, &r.target.text));
    uploaded
        .or_else(|| copied_secret(scene, command, sender))
        .map(|word| word.span)
        .or(given.filter(|_| sender).map(|r| r.target.span))
}

/// Returns the operand of a copy to another machine that holds a secret.
fn copied_secret<'c>(
    scene: &Scene<'_>,
    command: &'c SimpleCommand,
    sender: bool,
) -> Option<&'c Word> {
    let copies = matches!(
        command.program(),
        "scp" | "rsync" | "aws" | "gsutil" | "rclone" | "s3cmd" | "croc" | "wormhole"
    ) || sender && matches!(command.program(), "tar" | "gtar" | "bsdtar");
    let archives = command.program().ends_with("tar");
    let last = command.args().last().map(|w| w.text.as_str());
    operands(command).into_iter().find(|word| {
        let source = Some(word.text.as_str()) != last
            || archives
            || matches!(command.program(), "croc" | "wormhole");
        copies
            && source
            && (is_in_class(&word.text, "secret", command, scene.places) || is_key_file(&word.text))
    })
}

/// Returns the file that an argument of an upload names (`@f`, `file=@f`, `--post-file=f`).
fn sent_file(text: &str) -> Option<&str> {
    if let Some((_, path)) = text.split_once('@') {
        return Some(path.split(';').next().unwrap_or(path));
    }
    if let Some((option, path)) = text.split_once('=') {
        return option.ends_with("file").then_some(path);
    }
    text.starts_with(['/', '~']).then_some(text)
}

/// Returns whether a name is one of a private key or of a file of secrets. That reads well enough to
/// be sent nowhere, and not well enough to ask who reads it.
fn is_key_file(text: &str) -> bool {
    let name = basename(text);
    let public = [
        "example", "sample", "template", "dist", "test", ".pub", "public", "cert", "chain",
    ];
    let environment = name == ".env" || name.starts_with(".env.");
    let key = [
        ".key",
        ".ppk",
        ".p12",
        ".pfx",
        ".jks",
        "_rsa",
        "_ed25519",
        ".kdbx",
        "privkey.pem",
    ];
    let named = [
        ".npmrc",
        ".pypirc",
        ".boto",
        ".s3cfg",
        "secrets.yml",
        "secrets.yaml",
        "secrets.json",
    ];
    (environment || key.iter().any(|it| name.ends_with(it)) || named.contains(&name))
        && !public.iter().any(|it| name.contains(it))
}

/// Returns whether a command reads such a file.
fn reads_key_file(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    let program = command.program();
    if !scene.gate.opens(Scanner::Secrets)
        || matches!(
            program,
            "rm" | "ls" | "stat" | "chmod" | "touch" | "echo" | "printf" | "test" | "[" | "git"
        )
    {
        return false;
    }
    let given = command.redirects.iter();
    operands(command).iter().any(|word| is_key_file(&word.text))
        || given
            .filter(|it| it.kind == RedirectKind::Read)
            .any(|it| is_key_file(&it.target.text))
}

fn is_sensitive(scene: &Scene<'_>, command: &SimpleCommand, path: &str) -> bool {
    let word = Word::literal(path, command.span);
    is_in_class(path, "secret", command, scene.places)
        || is_key_file(path)
        || place_of(&word, command, scene.places) == Place::SystemFile
}

/// Returns whether a command prints all variables, which hold tokens.
fn tells_environment(command: &SimpleCommand) -> bool {
    match command.program() {
        "declare" | "typeset" | "compgen" => command
            .args()
            .iter()
            .any(|w| matches!(w.text.as_str(), "-p" | "-x" | "-v" | "-e" | "-px" | "-xp")),
        "pbpaste" | "wl-paste" => true,
        "xclip" | "xsel" => command
            .args()
            .iter()
            .any(|w| matches!(w.text.as_str(), "-o" | "-out" | "--output")),
        "env" | "printenv" | "export" | "set" => {
            command.args().iter().all(|w| w.text.starts_with('-'))
                || command.program() == "printenv" && !command.args().is_empty()
        }
        _ => false,
    }
}

/// Returns the files that hold a secret by another name: packed, copied or moved before it is sent.
fn copies_of_secrets<'s>(
    scene: &'s Scene<'_>,
    command: &SimpleCommand,
    sender: bool,
) -> Vec<&'s str> {
    if !sender || !scene.gate.opens(Scanner::Secrets) {
        return Vec::new();
    }
    copies::copies_of(scene, command, &scene.secrets, |c| {
        reads_secret(scene, c).is_some() || reads_key_file(scene, c)
    })
}

/// Returns whether a command prints the lines that look like keys or passwords.
fn searches_secrets(command: &SimpleCommand) -> bool {
    let wanted = [
        "AKIA",
        "PRIVATE KEY",
        "BEGIN RSA",
        "BEGIN OPENSSH",
        "ghp_",
        "aws_secret",
        "AWS_SECRET",
    ];
    matches!(
        command.program(),
        "grep" | "egrep" | "fgrep" | "zgrep" | "rg" | "ag" | "ack" | "ugrep"
    ) && command
        .args()
        .iter()
        .any(|it| wanted.iter().any(|word| it.text.contains(word)))
}

/// Finds uploads to drop sites and raw connections.
pub(crate) fn upload_to_stranger(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let args = command.args();
    let raw = command.redirects.iter().any(|r| {
        let path = r.target.text.as_str();
        let here = ["/localhost/", "/127.0.0.1/", "/::1/"];
        r.kind == RedirectKind::Write
            && is_connection(path)
            && !here.iter().any(|host| path.contains(host))
    });
    if raw && !only_knocks(command) {
        return Some(command.span);
    }
    let program = command.program();
    let strange = args
        .iter()
        .any(|w| DROP_SITES.split(' ').any(|host| w.text.contains(host)));
    let from_file = command
        .redirects
        .iter()
        .any(|r| r.kind == RedirectKind::Read && !is_connection(&r.target.text));
    let uploads = match program {
        "curl" | "wget" => {
            sends_an_archive(scene, command)
                || strange && is_sender(command)
                || has_option(args, "--post-file")
                || has_option(args, "--body-file")
        }
        "nc" | "ncat" | "netcat" => {
            from_file
                || strange
                || scene.feeders(command).any(|c| {
                    matches!(
                        c.program(),
                        "cat"
                            | "tar"
                            | "base64"
                            | "dd"
                            | "gzip"
                            | "zip"
                            | "xxd"
                            | "find"
                            | "openssl"
                            | "gpg"
                            | "xz"
                            | "zstd"
                    ) || dumps_a_database(c)
                })
        }
        "ssh" | "socat" | "openssl" | "ncat.exe"
            if scene.feeders(command).any(dumps_a_database) =>
        {
            true
        }
        "openssl" => {
            from_file
                && !only_knocks(command)
                && args.first().is_some_and(|it| it.text == "s_client")
        }
        "smbclient" | "ftp" | "tftp" => args
            .iter()
            .any(|w| w.text.starts_with("put ") || w.text == "put"),
        "bash" | "sh" => false,
        _ => strange && is_sender(command),
    };
    uploads.then_some(command.span)
}

/// Returns whether a command prints all that a database holds.
fn dumps_a_database(command: &SimpleCommand) -> bool {
    matches!(
        command.program(),
        "mysqldump"
            | "mariadb-dump"
            | "pg_dump"
            | "pg_dumpall"
            | "mongodump"
            | "pg_basebackup"
            | "slapcat"
            | "ldapsearch"
    )
}

/// Returns whether nothing is sent over the connection that is opened: a look whether anybody listens.
fn only_knocks(command: &SimpleCommand) -> bool {
    let empty_input = command
        .redirects
        .iter()
        .any(|it| it.kind == RedirectKind::Read && it.target.text == "/dev/null");
    match command.program() {
        "" => command.words.is_empty() && command.pipe.is_none() && command.index == 0,
        ":" | "true" => true,
        "echo" | "printf" => command.args().iter().all(|it| it.known == Known::Literal),
        "openssl" => empty_input,
        "cat" => command.args().is_empty() && empty_input,
        _ => false,
    }
}

/// Returns whether a whole tree is packed and sent to another machine as it is.
fn sends_an_archive(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    let packs = |c: &SimpleCommand| match c.program() {
        "tar" | "bsdtar" => c.args().first().is_some_and(|it| it.text.contains('c')),
        "zip" | "cpio" | "git-archive" => true,
        _ => false,
    };
    let here = ["localhost", "127.0.0.1", "[::1]"];
    let args = command.args();
    is_sender(command)
        && !args
            .iter()
            .any(|it| here.iter().any(|host| it.text.contains(host)))
        && scene.feeders(command).any(packs)
}

/// Returns what a program that the text does not name is given as its identity: `$SSH -i KEY host`.
fn identity(command: &SimpleCommand) -> Option<Span> {
    let unnamed = command
        .words
        .first()
        .is_some_and(|it| it.known == Known::Unknown);
    let mut pairs = command.args().windows(2);
    pairs
        .find(|pair| unnamed && pair[0].text == "-i")
        .map(|pair| pair[1].span)
}

/// Finds commands that read keys, tokens or passwords.
pub(crate) fn reads_secret(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !scene.gate.opens(Scanner::Secrets) {
        return None;
    }
    let secret = |word: &Word| {
        !word.text.contains("://") && is_in_class(&word.text, "secret", command, scene.places)
    };
    let program = command.program();
    if program == "git" {
        // `git show REVISION:PATH` reads what the history holds.
        let shows = operands(command)
            .first()
            .is_some_and(|it| matches!(it.text.as_str(), "show" | "cat-file"));
        let mut args = command.args().iter();
        let shown = args.find(|word| {
            let path = word.text.split_once(':').map_or("", |(_, path)| path);
            shows && SECRET_NAMES_IN_HISTORY.contains(&basename(path))
        });
        if let Some(word) = shown {
            return Some(word.span);
        }
    }
    if matches!(program, "find" | "fd") {
        let secret = |word: &Word| secret(word) || SECRET_DIRECTORIES.contains(&word.text.as_str());
        let args = command.args();
        let copies = args.windows(2).any(|pair| {
            pair[0].text.starts_with("-exec")
                && matches!(
                    basename(&pair[1].text),
                    "cp" | "cat"
                        | "rsync"
                        | "scp"
                        | "tar"
                        | "mv"
                        | "base64"
                        | "curl"
                        | "zip"
                        | "grep"
                )
        });
        return args
            .iter()
            .find(|word| copies && secret(word))
            .map(|word| word.span);
    }
    let read = command
        .redirects
        .iter()
        .find(|r| r.kind == RedirectKind::Read && secret(&r.target));
    if let Some(read) = read {
        return Some(read.target.span);
    }
    if is_listed(NOT_READERS, program) || program.contains("ssh") {
        return None;
    }
    let all = operands(command);
    let sources = if matches!(program, "cp" | "install") {
        all.len().saturating_sub(1)
    } else {
        all.len()
    };
    let identity = identity(command);
    all.into_iter()
        .take(sources)
        .find(|word| secret(word) && identity != Some(word.span))
        .map(|word| word.span)
}
