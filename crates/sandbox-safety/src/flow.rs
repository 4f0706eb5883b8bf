//! What flows where: downloads into interpreters, secrets into the network, shells onto connections.

mod copies;
mod downloads;
mod names;
mod secrets;

pub(crate) use copies::Copies;
use downloads::{is_download, saves_as};
pub(crate) use names::data_in_a_name;
pub(crate) use secrets::{reads_secret, secret_to_network, upload_to_stranger};

use crate::{
    gate::Scanner,
    inline::{self, code_words, interprets_its_input, takes_lines_as_commands},
    paths::{Place, place_of},
    pattern::has_option,
    rules::Scene,
    shell::{
        Known, RedirectKind, SimpleCommand, Span, Word,
        read::{is_shell, runs_its_input},
    },
};

/// Only so many commands before one are searched for where its input came from.
const LOOK_BACK_MAX: usize = 200;

/// Finds a shell whose input and output are a connection.
pub(crate) fn reverse_shell(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !scene.gate.opens(Scanner::Connections) {
        return None;
    }
    let program = command.program();
    let args = command.args();
    let connected = command
        .redirects
        .iter()
        .any(|r| is_connection(&r.target.text));
    if connected {
        let shell = is_shell(program)
            || matches!(program, "." | "source")
            || command.wrappers.contains(&"script");
        let used_later = matches!(program, "exec" | "")
            && scene
                .reading
                .commands
                .iter()
                .take(LOOK_BACK_MAX)
                .any(|other| {
                    // Not the one whose text this is.
                    (is_shell(other.program()) && runs_its_input(other))
                        || other
                            .words
                            .first()
                            .is_some_and(|w| w.known == Known::Unknown)
                        || other.program() == "eval"
                });
        if shell || used_later {
            return Some(command.span);
        }
    }
    match program {
        "nc" | "ncat" | "netcat" | "nc.traditional" | "nc.openbsd" | "nc.exe" | "ncat.exe"
        | "pwncat" => {
            let runs = has_option(args, "-e")
                || has_option(args, "--exec")
                || has_option(args, "--sh-exec")
                || has_option(args, "-c") && args.iter().any(|w| w.text.contains("sh"));
            (runs || tied_to_shell(scene, command)).then_some(command.span)
        }
        "ztcp" => {
            let mut others = scene.reading.commands.iter().take(LOOK_BACK_MAX);
            others
                .any(|other| is_shell(other.program()) && other.redirects.len() > 1)
                .then_some(command.span)
        }
        "telnet" | "openssl" | "gnutls-cli" | "ssl_client" => {
            tied_to_shell(scene, command).then_some(command.span)
        }
        "socat" => {
            let has = |names: &[&str]| {
                args.iter().any(|w| {
                    names
                        .iter()
                        .any(|n| w.text.to_ascii_uppercase().contains(n))
                })
            };
            let runs = has(&["EXEC:", "SYSTEM:", "SHELL:"]);
            let connects = has(&["TCP", "UDP", "OPENSSL", "SOCKS", "SCTP", "VSOCK"]);
            (runs && connects || tied_to_shell(scene, command)).then_some(command.span)
        }
        _ => {
            let (code, span) = inline::code(scene, command)?;
            inline::ties_shell_to_socket(code).then_some(*span)
        }
    }
}

fn is_connection(text: &str) -> bool {
    text.starts_with("/dev/tcp/") || text.starts_with("/dev/udp/")
}

/// Returns whether a pipe connects `command` with a shell that reads its commands from it.
fn tied_to_shell(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    scene
        .feeders(command)
        .chain(scene.takers(command))
        .any(|other| is_shell(other.program()) && runs_its_input(other))
}

/// Returns whether the code of an interpreter runs what it reads from its input.
fn runs_code_from_its_input(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    inline::code(scene, command).is_some_and(|(code, _)| inline::runs_its_input(code))
}

/// Returns whether a download is unpacked, through a pipe, into a directory that `name` lies in.
fn unpacks_to(scene: &Scene<'_>, download: &SimpleCommand, name: &str) -> bool {
    scene.takers(download).any(|taker| {
        let args = taker.args();
        let into = args
            .windows(2)
            .find(|pair| matches!(pair[0].text.as_str(), "-C" | "-d" | "-D" | "--directory"));
        let directory = into.map(|pair| pair[1].text.trim_end_matches('/'));
        matches!(
            taker.program(),
            "tar" | "bsdtar" | "cpio" | "unzip" | "bsdcpio"
        ) && directory.is_some_and(|it| {
            it.len() > 1
                && name
                    .strip_prefix(it)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    })
}

/// Returns the package that a command installs from a file.
fn installed_file(command: &SimpleCommand) -> Option<&Word> {
    let args = command.args();
    let given = |options: &[&str]| options.iter().any(|it| has_option(args, it));
    let installs = match command.program() {
        "dpkg" => given(&["-i", "--install", "--unpack"]),
        "rpm" => given(&["-i", "-U", "-F", "--install", "--upgrade"]),
        "snap" | "flatpak" | "dnf" | "yum" | "zypper" | "apt" | "apt-get" | "pip" | "pip3"
        | "gem" | "npm" | "code" | "apk" => args.iter().any(|it| {
            matches!(
                it.text.as_str(),
                "install" | "--install-extension" | "localinstall" | "add"
            )
        }),
        "installer" | "msiexec" | "insmod" | "crontab" | "systemd-run" => true,
        _ => false,
    };
    // Lists of packages are files, too.
    if !installs || given(&["-r", "--requirement"]) {
        return None;
    }
    let ends = [
        ".deb", ".rpm", ".snap", ".flatpak", ".whl", ".gem", ".tgz", ".pkg", ".msi", ".vsix",
        ".apk", ".ko", ".tar.gz", "cron", ".txt",
    ];
    let names_a_file =
        |it: &&Word| !it.text.starts_with('-') && ends.iter().any(|end| it.text.ends_with(end));
    args.iter().rfind(names_a_file)
}

/// Finds an interpreter that runs what was downloaded.
pub(crate) fn download_to_interpreter(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !scene.gate.opens(Scanner::Connections) {
        return None;
    }
    if interprets_its_input(command) {
        if scene.feeders(command).any(is_download) {
            return Some(command.span);
        }
        let redirected = command
            .redirects
            .iter()
            .any(|r| scene.run_by(r.target.runs).iter().any(is_download));
        if redirected {
            return Some(command.span);
        }
    }
    if takes_lines_as_commands(command) && scene.feeders(command).any(is_download)
        || runs_code_from_its_input(scene, command) && scene.feeders(command).any(is_download)
    {
        return Some(command.span);
    }
    let words = code_words(command);
    // A line that was read of a download is a program, or code.
    let first = command.words.first();
    let read =
        first.filter(|word| word.known == Known::Unknown && word.text.starts_with(['$', '`']));
    if words
        .iter()
        .chain(read)
        .any(|word| scene.run_by(word.runs).iter().any(is_download))
    {
        return Some(command.span);
    }
    let started = words
        .first()
        .or_else(|| command.words.first().filter(|w| w.text.contains('/')))
        .or_else(|| installed_file(command))?;
    let name = started.text.trim_start_matches("./");
    let earlier = scene.reading.commands.iter().take(LOOK_BACK_MAX);
    let mut earlier = earlier
        .take_while(|other| !std::ptr::eq(*other, command))
        .filter(|other| is_download(other))
        .peekable();
    earlier.peek()?;
    let downloaded = earlier.any(|other| saves_as(other, name) || unpacks_to(scene, other, name))
        || copies::copies_of(scene, command, &scene.downloads, is_download)
            .iter()
            .any(|copy| *copy == copies::plain(name));
    downloaded.then_some(command.span)
}

fn is_decoder(command: &SimpleCommand) -> bool {
    let args = command.args();
    let given = |options: &[&str]| options.iter().any(|option| has_option(args, option));
    match command.program() {
        "base64" | "base32" | "basenc" | "b64" => given(&["-d", "-D", "--decode"]),
        "xxd" => {
            given(&["-r", "-revert", "-rp", "-r -p"])
                || args.iter().any(|w| w.text.starts_with("-r"))
        }
        "openssl" => given(&["-d"]) || args.iter().any(|w| w.text == "-d"),
        "rev" | "uudecode" | "rot13" | "caesar" => true,
        "gpg" => given(&["-d", "--decrypt"]),
        "printf" => args.first().is_some_and(|w| {
            let escapes = ["\\x", "\\0", "\\1"].map(|it| w.text.matches(it).count());
            escapes.iter().any(|count| *count > 1)
        }),
        "echo" => args.iter().any(|w| w.text.matches("\\x").count() > 2),
        "python" | "python3" | "perl" => args.iter().any(|w| {
            w.text.contains("b64decode")
                || w.text.contains("decode_base64")
                || w.text.contains("fromhex")
        }),
        _ => false,
    }
}

/// Finds an interpreter that runs what was decoded.
pub(crate) fn decoded_to_interpreter(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let piped = interprets_its_input(command)
        && (scene.feeders(command).any(is_decoder)
            || command
                .redirects
                .iter()
                .any(|r| scene.run_by(r.target.runs).iter().any(is_decoder)));
    let substituted = code_words(command)
        .iter()
        .any(|word| scene.run_by(word.runs).iter().any(is_decoder));
    let as_command = command.words.first().is_some_and(|word| {
        word.known == Known::Unknown
            && scene.run_by(word.runs).iter().any(is_decoder)
            && word.text.starts_with(['$', '`'])
    });
    if piped || substituted || as_command {
        return Some(command.span);
    }
    let (code, span) = inline::code(scene, command)?;
    inline::runs_decoded(code).then_some(*span)
}

/// Finds a program whose name is hidden by quoting or expansion.
pub(crate) fn disguised_command(_: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let first = command.words.first()?;
    let text = first.text.as_str();
    let globbed = first.known == Known::Pattern && text.contains('/') && text.contains('?');
    let named = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c));
    let hidden = first.disguised && first.known == Known::Literal && named;
    let pieces = text.matches('$').count() > 1
        && first.known == Known::Unknown
        && !text.contains(['/', ' ', '-', '('])
        && text.starts_with('$');
    // A variable between letters: one that is not set leaves the name of another program.
    let (before, after) = text.split_once("${").unwrap_or((text, ""));
    let after = after.split_once('}').map_or("", |(_, after)| after);
    let letters = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
    let spliced =
        first.known == Known::Unknown && (letters(before) && letters(after) || is_spliced(text));
    (globbed || hidden || pieces || spliced).then_some(first.span)
}

/// Returns whether letters stand on both sides of a substitution, as in `r$(x)m`.
fn is_spliced(text: &str) -> bool {
    let letters = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let parts = text
        .split_once("$(")
        .and_then(|(before, rest)| Some((before, rest.rsplit_once(')')?.1)))
        .or_else(|| {
            let (before, rest) = text.split_once('`')?;
            Some((before, rest.rsplit_once('`')?.1))
        });
    parts.is_some_and(|(before, after)| letters(before) && letters(after))
}

/// Finds a program that the text does not name, given what `rm -rf` of a system is given.
pub(crate) fn unknown_on_the_system(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let first = command.words.first()?;
    let args = command.args();
    let recursive = has_option(args, "-r") || has_option(args, "-R");
    if first.known != Known::Unknown || !recursive || !has_option(args, "-f") {
        return None;
    }
    // An empty variable before `rm` leaves `rm`.
    let deletes = args.first().is_some_and(|word| word.text == "rm");
    let vital = |word: &Word| match place_of(word, command, scene.places) {
        Place::Root | Place::SystemTree | Place::Home => true,
        Place::SystemFile => deletes,
        Place::Workspace
        | Place::Wide
        | Place::Temporary
        | Place::Unknown
        | Place::Outside
        | Place::InHome
        | Place::Device => false,
    };
    args.iter().any(vital).then_some(command.span)
}

/// Finds a shell that runs the output of text tools.
pub(crate) fn output_to_shell(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let is_text_tool = |c: &SimpleCommand| {
        matches!(
            c.program(),
            "cat"
                | "sed"
                | "awk"
                | "tr"
                | "cut"
                | "head"
                | "tail"
                | "xclip"
                | "pbpaste"
                | "xsel"
                | "zcat"
                | "gunzip"
                | "dd"
                | "grep"
                | "history"
                | "nc"
        ) && !c.redirects.iter().any(|r| {
            matches!(
                r.kind,
                RedirectKind::HereDoc { .. } | RedirectKind::HereString
            )
        })
    };
    let checks_only = command.args().iter().any(|w| w.text == "-n");
    let piped = is_shell(command.program())
        && runs_its_input(command)
        && !checks_only
        && scene.feeders(command).any(is_text_tool);
    let evaluated = command.program() == "eval" || is_shell(command.program());
    let given = |word: &Word| {
        let text = word.text.trim_start();
        // A variable is code for `eval` and `-c`, and the name of a script without.
        let substituted = text.starts_with("$(") || text.starts_with('`');
        substituted
            || text.starts_with('$')
                && (!is_shell(command.program()) || has_option(command.args(), "-c"))
    };
    let substituted = evaluated
        && code_words(command)
            .iter()
            .any(|word| given(word) && scene.run_by(word.runs).first().is_some_and(is_text_tool));
    // `xargs -I{} sh -c '{}'`: each line of what is not known is a command.
    let lines = is_shell(command.program()) && takes_lines_as_commands(command);
    (piped || substituted || lines).then_some(command.span)
}

/// Finds an argument that is written in hexadecimal and decoded on the spot.
pub(crate) fn disguised_argument(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if matches!(
        command.program(),
        "echo" | "printf" | "export" | "test" | "[" | "local"
    ) {
        return None;
    }
    let hex = |c: &SimpleCommand| {
        matches!(c.program(), "xxd" | "echo" | "printf") && is_decoder(c)
            || c.program() == "echo" && c.words.iter().any(|w| w.text.matches("\\x").count() > 2)
    };
    let word = command
        .args()
        .iter()
        .find(|word| scene.run_by(word.runs).iter().any(hex))?;
    Some(word.span)
}
