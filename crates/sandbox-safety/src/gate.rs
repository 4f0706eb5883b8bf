//! The keyword gate: one automaton pass that says which costly scanners are worth running.
//!
//! It never decides that something is safe: where quoting or expansion hid a word, all run.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// A scanner that needs one of its words in the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scanner {
    /// Places that hold secrets.
    Secrets,
    /// Connections that a shell can be tied to.
    Connections,
    /// Code of other languages in an argument.
    InlineCode,
    /// A shell started by a program that is none.
    ShellEscape,
}

static WORDS: &[(&str, Scanner)] = &[
    (".ssh", Scanner::Secrets),
    (".aws", Scanner::Secrets),
    ("id_", Scanner::Secrets),
    ("shadow", Scanner::Secrets),
    ("credential", Scanner::Secrets),
    (".gnupg", Scanner::Secrets),
    (".netrc", Scanner::Secrets),
    (".npmrc", Scanner::Secrets),
    (".pypirc", Scanner::Secrets),
    (".kube", Scanner::Secrets),
    (".docker", Scanner::Secrets),
    ("environ", Scanner::Secrets),
    (".config", Scanner::Secrets),
    ("sudoers", Scanner::Secrets),
    ("_key", Scanner::Secrets),
    (".pgpass", Scanner::Secrets),
    ("secrets", Scanner::Secrets),
    ("_history", Scanner::Secrets),
    ("passwd", Scanner::Secrets),
    (".env", Scanner::Secrets),
    ("/proc/", Scanner::Secrets),
    (".azure", Scanner::Secrets),
    (".vault", Scanner::Secrets),
    ("keyring", Scanner::Secrets),
    ("Keychain", Scanner::Secrets),
    (".mozilla", Scanner::Secrets),
    (".kdbx", Scanner::Secrets),
    ("token", Scanner::Secrets),
    (".my.cnf", Scanner::Secrets),
    (".boto", Scanner::Secrets),
    (".s3cfg", Scanner::Secrets),
    ("wallet", Scanner::Secrets),
    (".json", Scanner::Secrets),
    ("keytab", Scanner::Secrets),
    ("service-account", Scanner::Secrets),
    (".pem", Scanner::Secrets),
    ("/etc/", Scanner::Secrets),
    ("NTDS", Scanner::Secrets),
    ("password", Scanner::Secrets),
    (".ethereum", Scanner::Secrets),
    (".key", Scanner::Secrets),
    (".p12", Scanner::Secrets),
    (".pfx", Scanner::Secrets),
    (".jks", Scanner::Secrets),
    (".ppk", Scanner::Secrets),
    ("_rsa", Scanner::Secrets),
    ("_ed25519", Scanner::Secrets),
    ("sockopen", Scanner::Connections),
    ("Socket", Scanner::Connections),
    ("net.Dial", Scanner::Connections),
    ("ctypes", Scanner::InlineCode),
    ("dlopen", Scanner::InlineCode),
    (".bitcoin", Scanner::Secrets),
    (".electrum", Scanner::Secrets),
    ("/dev/tcp", Scanner::Connections),
    ("/dev/udp", Scanner::Connections),
    ("/inet/", Scanner::Connections),
    ("nc", Scanner::Connections),
    ("dig ", Scanner::Connections),
    ("nslookup", Scanner::Connections),
    ("drill", Scanner::Connections),
    ("host ", Scanner::Connections),
    ("netcat", Scanner::Connections),
    ("socat", Scanner::Connections),
    ("telnet", Scanner::Connections),
    ("mkfifo", Scanner::Connections),
    ("mknod", Scanner::Connections),
    ("socket", Scanner::Connections),
    ("openssl", Scanner::Connections),
    ("curl", Scanner::Connections),
    ("wget", Scanner::Connections),
    (" s3", Scanner::Connections),
    ("gsutil", Scanner::Connections),
    ("gcloud", Scanner::Connections),
    ("rclone", Scanner::Connections),
    ("ssh ", Scanner::Connections),
    ("gh ", Scanner::Connections),
    ("glab", Scanner::Connections),
    ("ipfs", Scanner::Connections),
    ("irm ", Scanner::Connections),
    ("iwr ", Scanner::Connections),
    ("Invoke-", Scanner::Connections),
    ("storage", Scanner::Connections),
    ("http", Scanner::Connections),
    ("python", Scanner::InlineCode),
    ("perl", Scanner::InlineCode),
    ("ruby", Scanner::InlineCode),
    ("node", Scanner::InlineCode),
    ("php", Scanner::InlineCode),
    ("lua", Scanner::InlineCode),
    ("awk", Scanner::InlineCode),
    ("import", Scanner::InlineCode),
    ("system", Scanner::InlineCode),
    ("exec", Scanner::InlineCode),
    ("deno", Scanner::InlineCode),
    ("bun", Scanner::InlineCode),
    ("tclsh", Scanner::InlineCode),
    ("jrunscript", Scanner::InlineCode),
    ("irb", Scanner::InlineCode),
    ("ghc", Scanner::InlineCode),
    ("erl", Scanner::InlineCode),
    ("elixir", Scanner::InlineCode),
    ("crystal", Scanner::InlineCode),
    ("groovy", Scanner::InlineCode),
    ("jjs", Scanner::InlineCode),
    ("julia", Scanner::InlineCode),
    ("gen_tcp", Scanner::Connections),
    ("connect", Scanner::Connections),
    ("ztcp", Scanner::Connections),
    ("TCPClient", Scanner::Connections),
    ("/sh", Scanner::ShellEscape),
    ("/bash", Scanner::ShellEscape),
    ("/zsh", Scanner::ShellEscape),
    ("/dash", Scanner::ShellEscape),
    ("!sh", Scanner::ShellEscape),
    ("!bash", Scanner::ShellEscape),
];

/// Up to here the words are looked for one by one: a program that judges one command is done before the automaton
/// would be built.
const SHORT_BYTES: usize = 64;

/// Built on first use: small, and an automaton that is quick to build rather than to run.
static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::NoncontiguousNFA))
        .prefilter(false)
        .dense_depth(1)
        .build(WORDS.iter().map(|(word, _)| word))
        .ok()
});

/// Which scanners run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gate(u8);

impl Gate {
    /// Opens the gate for everything.
    pub(crate) const ALL: Self = Self(u8::MAX);

    /// Looks for the words in `text`.
    pub(crate) fn of(text: &str) -> Self {
        if text.len() <= SHORT_BYTES {
            let found = WORDS.iter().filter(|(word, _)| text.contains(word));
            return Self(found.fold(0, |open, (_, scanner)| open | bit(*scanner)));
        }
        let Some(automaton) = AUTOMATON.as_ref() else {
            return Self::ALL;
        };
        let mut open = 0;
        for found in automaton.find_overlapping_iter(text) {
            open |= WORDS
                .get(found.pattern().as_usize())
                .map_or(0, |(_, scanner)| bit(*scanner));
            if open == ALL_SCANNERS {
                break;
            }
        }
        Self(open)
    }

    /// Returns whether the scanner is worth running.
    pub(crate) const fn opens(self, scanner: Scanner) -> bool {
        self.0 & bit(scanner) != 0
    }
}

const ALL_SCANNERS: u8 = 0b1111;

const fn bit(scanner: Scanner) -> u8 {
    1 << scanner as u8
}
