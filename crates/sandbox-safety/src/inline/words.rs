//! The words that are looked for in code, and one pass that finds which of them it holds.

use super::exhaust::{FORKS, GROWS, LOOPS, OWN_PROGRAM, WAITS, WRITES};
use std::{collections::BTreeSet, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// In shorter code the words are looked for one by one: most is a line, and the automaton has to be built first.
const ONE_PASS_BYTES_MIN: usize = 512;

/// Connecting, or waiting for a connection.
pub(super) const CONNECTS: &[&str] = &[
    "socket",
    "Socket",
    "fsockopen",
    "/inet/tcp",
    "/inet/udp",
    "net.connect",
    "net.Dial",
    "createConnection",
    "open_connection",
    "gen_tcp",
    "connectTo",
    "Deno.connect",
    "Bun.connect",
    "stream_socket_client",
    "createServer",
    "TCPClient",
    "TcpClient",
    "ztcp",
    "using Sockets",
    "require(\"net\")",
    "require('net')",
    "require(\"tls\")",
    "require('tls')",
    "node:net",
    "node:tls",
];
/// Handing a connection to a shell.
pub(super) const SHELLS: &[&str] = &[
    "dup2",
    "pty.spawn",
    "p(\"/bin/",
    "/bin/sh",
    "/bin/bash",
    "cmd.exe",
    "sh -i",
    "IO.popen",
    "spawn(\"sh",
    "exec $c",
    "|& getline",
    "open(STDIN",
    "io.popen",
    "fdopen($",
    "system$_",
    "passthru(",
    "proc_open",
    "exec.Command",
    "subprocess",
    "os.system",
    "popen(\"$",
    "sh <&",
    "shell_exec(",
    "child_process",
    "getoutput(",
    "ProcessBuilder",
    "\"sh\"",
    "'sh'",
    "execProcess",
    "os:cmd",
    "callCommand",
    "spawnSync(",
    "Deno.Command",
    "Process.new(",
    "system(readLines",
    "getline c",
    "iex ",
    "Invoke-Expression",
    "eval $e",
];
/// Sending something over the network.
pub(super) const SENDS: &[&str] = &[
    "requests.post",
    "urlopen(",
    "http.request(",
    "https.request(",
    ".request({",
    ".request(\"http",
    ".request('http",
    "fetch(",
    "Net::HTTP.post",
    "fsockopen",
    "Socket::INET",
    "socket.tcp",
    "s.tcp()",
    "sendall(",
    "file_get_contents(\"http",
    "axios.post",
];
/// Places of secrets.
pub(super) const SECRET_PLACES: &[&str] = &[
    "/etc/passwd",
    "/etc/shadow",
    "/.ssh/",
    "/.aws/",
    "/.netrc",
    "/.kube/",
    "id_rsa",
];
/// This machine.
pub(super) const HERE: &[&str] = &["localhost", "127.0.0.1"];
/// Opening a file by an absolute path.
pub(super) const OPENS: &[&str] = &["open(\"/", "open('/"];
/// Sending a file as it is.
pub(super) const POSTS: &[&str] = &["urlopen(", "s.tcp()", "socket.tcp"];
/// All variables of the environment.
pub(super) const ENVIRONMENTS: &[&str] = &["os.environ", "process.env"];
/// Running text, or a program.
pub(super) const RUNS: &[&str] = &[
    "exec(",
    "eval(",
    "eval ",
    "system(",
    "popen(",
    "subprocess.run(",
    "subprocess.call(",
    "check_call(",
    "check_output(",
    "Popen(",
    "execSync(",
    "spawnSync(",
];
/// Handing a program over to the kernel or loading a library, which leaves nothing to read.
pub(super) const OPAQUE: &[&str] = &[
    "pty.spawn(",
    "proc_open(",
    "pcntl_exec(",
    "cdll.LoadLibrary",
    "CDLL(\"/",
    "CDLL('/",
    "CDLL(\"./",
    "Fiddle.dlopen",
    "process.dlopen",
    "DynaLoader::dl_load",
    "package.loadlib(",
    "FFI::DynamicLibrary",
];
/// Shells by their paths.
pub(super) const SHELL_PATHS: &[&str] = &["/bin/sh", "/bin/bash", "/bin/zsh", "/bin/dash"];
/// Deleting files.
pub(super) const DELETES: &[&str] = &[
    "rmtree(",
    "os.remove(",
    "os.unlink(",
    "os.rmdir(",
    "rmSync(",
    "unlinkSync(",
    "rmdirSync(",
    ".rm(",
    "FileUtils.rm",
    "File.delete(",
    "removeSync(",
    "rimraf",
    "unlink(",
    "unlink ",
    "Path(",
    "rmdir(",
];
/// Running what is evaluated.
pub(super) const EVALUATES: &[&str] = &["exec(", "eval(", "eval "];
/// Calls that hand text to a shell.
pub(super) const SHELL_CALLS: &[&str] = &[
    "os.system(",
    "os.popen(",
    "subprocess.run(",
    "subprocess.call(",
    "subprocess.check_call(",
    "subprocess.check_output(",
    "subprocess.Popen(",
    "system(",
    "system ",
    "exec(",
    "exec ",
    "execSync(",
    "spawnSync(",
    "shell_exec(",
    "passthru(",
    "popen(",
    "os.execute(",
];

/// Fetching something.
pub(super) const DOWNLOADS: &[&str] = &[
    "urlopen(",
    "requests.get(",
    "urllib",
    "urlretrieve",
    "httpx.get(",
    "LWP::Simple",
    "open-uri",
    "URI.open(",
    "http.get(",
    "https.get(",
    "Net::HTTP",
    "file_get_contents(\"http",
    "file_get_contents('http",
    "fetch(",
];

/// Fetching what can be evaluated.
pub(super) const FETCHES: &[&str] = &[
    "urlopen(",
    "requests.get(",
    "http.get(",
    "https.get(",
    "require('https').get(",
    "require(\"https\").get(",
    "require('http').get(",
    "require(\"http\").get(",
    "fetch(\"http",
    "fetch('http",
];

/// Reading the input.
pub(super) const INPUTS: &[&str] = &[
    "sys.stdin",
    "input()",
    "STDIN",
    "<STDIN>",
    "$stdin",
    "gets.",
    "gets)",
    "gets }",
    "readFileSync(0",
    "readFileSync('/dev/stdin'",
    "readFileSync(\"/dev/stdin\"",
    "process.stdin",
    "php://stdin",
    "open(0)",
    "io.read",
    "<>",
    "ARGF",
];

/// Calls that write to a file.
pub(super) const WRITE_CALLS: &[&str] = &[
    "open(",
    ".write_text(",
    ".write_bytes(",
    "writeFileSync(",
    "writeFile(",
    "appendFileSync(",
    "appendFile(",
    "createWriteStream(",
    "File.write(",
    "File.open(",
    "IO.write(",
    "file_put_contents(",
    "fopen(",
    "shutil.copy(",
    "shutil.copyfile(",
    "shutil.move(",
    "os.rename(",
    "os.replace(",
    "os.symlink(",
    "copyFileSync(",
    "renameSync(",
    "symlinkSync(",
];
/// Without a file.
pub(super) const IN_MEMORY: &[&str] = &["memfd_create"];
/// Fetching, in PowerShell.
pub(super) const POWERSHELL_GETS: &[&str] = &[
    "DownloadString",
    "DownloadData",
    "DownloadFile",
    "Invoke-WebRequest",
    "Invoke-RestMethod",
    "irm ",
    "iwr ",
    "curl ",
    "Net.WebClient",
    "FromBase64String",
    "HttpClient",
];
/// Running text, in PowerShell.
pub(super) const POWERSHELL_RUNS: &[&str] = &[
    "Invoke-Expression",
    "iex ",
    "iex(",
    "IEX ",
    "IEX(",
    "|iex",
    "| iex",
    "|IEX",
    "| IEX",
    "scriptblock]::Create",
    "ScriptBlock]::Create",
    "Start-Process",
    "Reflection.Assembly",
];

static ALL: [&[&str]; 27] = [
    WRITE_CALLS,
    OWN_PROGRAM,
    IN_MEMORY,
    POWERSHELL_GETS,
    POWERSHELL_RUNS,
    INPUTS,
    LOOPS,
    FORKS,
    GROWS,
    WRITES,
    WAITS,
    CONNECTS,
    SHELLS,
    SENDS,
    SECRET_PLACES,
    HERE,
    OPENS,
    POSTS,
    ENVIRONMENTS,
    RUNS,
    OPAQUE,
    SHELL_PATHS,
    DELETES,
    EVALUATES,
    SHELL_CALLS,
    DOWNLOADS,
    FETCHES,
];

static AUTOMATON: LazyLock<Option<(AhoCorasick, Vec<&'static str>)>> = LazyLock::new(|| {
    let words: BTreeSet<&str> = ALL.iter().copied().flatten().copied().collect();
    let words: Vec<&str> = words.into_iter().collect();
    let kind = Some(AhoCorasickKind::ContiguousNFA);
    let built = AhoCorasick::builder().kind(kind).build(&words).ok()?;
    Some((built, words))
});

/// Code, and which of the words it holds.
#[derive(Debug)]
pub(crate) struct Code<'a> {
    pub(super) text: &'a str,
    /// `None` where the words are looked for one by one.
    found: Option<BTreeSet<&'static str>>,
}

impl<'a> Code<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let long = text.len() >= ONE_PASS_BYTES_MIN;
        let automaton = long.then(|| AUTOMATON.as_ref()).flatten();
        let found = automaton.map(|(automaton, words)| {
            let found = automaton.find_overlapping_iter(text);
            found
                .filter_map(|it| words.get(it.pattern().as_usize()).copied())
                .collect()
        });
        Self { text, found }
    }

    /// Returns whether it holds `word`, which is one of those above.
    fn holds(&self, word: &str) -> bool {
        debug_assert!(
            ALL.iter().any(|words| words.contains(&word)),
            "`{word}` is not looked for"
        );
        match &self.found {
            Some(found) => found.contains(word),
            None => self.text.contains(word),
        }
    }

    /// Returns whether it holds one of the words.
    pub(super) fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.holds(word))
    }

    /// Returns where it holds `word`.
    pub(super) fn places(&self, word: &'a str) -> impl Iterator<Item = usize> {
        let held = self.found.is_none() || self.holds(word);
        let places = held.then(|| self.text.match_indices(word));
        places.into_iter().flatten().map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Code, ONE_PASS_BYTES_MIN};

    #[test]
    fn one_pass_finds_what_looking_one_by_one_finds() {
        let padding = "# nothing\n".repeat(ONE_PASS_BYTES_MIN / 10 + 1);
        for word in ALL.iter().copied().flatten() {
            let text = format!("{padding}{word}");
            let code = Code::of(&text);
            assert!(code.found.is_some());
            for other in ALL.iter().copied().flatten() {
                assert_eq!(code.holds(other), text.contains(other), "{word} {other}");
            }
            assert_eq!(code.places(word).next(), text.find(word));
        }
    }
}
