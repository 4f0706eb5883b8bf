//! A program that is handed what was just written: a hook, a helper, a build file that starts a shell.

use std::cell::OnceCell;

use crate::{
    inline::reads_code,
    pattern::is_listed,
    rules::{Scene, filesystem::written},
    shell::{Reading, RedirectKind, Route, SimpleCommand, Span, basename, read::is_shell},
};

/// Only so many commands before one are searched.
const LOOK_BACK_MAX: usize = 100;

/// Programs that look at a file, move it, or read it as what it is.
const READERS: &str = "cat ls ll stat head tail less more file wc grep egrep rg sed awk chmod chown cp mv ln rm tee \
    touch echo printf test [ [[ diff cmp sha256sum md5sum git scp rsync install find xargs docker podman \
    docker-compose kubectl helm gcc g++ cc clang rustc cargo go javac tar zip gzip gunzip crontab systemctl \
    nano vi vim bat od xxd hexdump strings source . shellcheck shfmt bats export basename dirname realpath \
    readlink sort uniq cut tr jq yq timeout time nohup which sudo true sleep kill cd mkdir dos2unix unzip";

/// Files that a tool runs when it is started beside them.
static BUILD_FILES: &[(&str, &str)] = &[
    ("Gemfile", "bundle bundler gem"),
    ("Rakefile", "rake"),
    ("Vagrantfile", "vagrant"),
    ("Dangerfile", "danger"),
    ("Podfile", "pod"),
    ("Brewfile", "brew"),
    ("Jakefile", "jake"),
    ("Gruntfile.js", "grunt npx npm"),
    ("gulpfile.js", "gulp npx npm"),
    ("setup.py", "pip pip3 easy_install python python3"),
    ("composer.json", "composer"),
    ("package.json", "npm yarn pnpm bun"),
    ("build.gradle", "gradle gradlew"),
    ("build.xml", "ant"),
    ("pom.xml", "mvn"),
    ("build.sbt", "sbt"),
    ("Makefile", "make gmake"),
    ("makefile", "make gmake"),
    ("meson.build", "meson"),
    ("CMakeLists.txt", "cmake"),
    ("SConstruct", "scons"),
    ("wscript", "waf"),
    ("mix.exs", "mix"),
    ("rebar.config", "rebar3"),
    ("Justfile", "just"),
    ("justfile", "just"),
    ("Taskfile.yml", "task"),
    ("configure.ac", "autoconf autoreconf"),
    ("conftest.py", "pytest py.test"),
    ("noxfile.py", "nox"),
    ("fabfile.py", "fab"),
    ("tasks.py", "invoke inv"),
    ("default.nix", "nix-build nix-shell"),
    ("shell.nix", "nix-shell"),
    (".envrc", "direnv"),
];

/// Finds a program that runs what was written before it.
pub(super) fn runs_what_was_written(_: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    // A shell that a build tool's recipe starts is one for somebody's hands.
    let bare = command.context.route == Route::Built
        && is_shell(command.program())
        && command.args().is_empty()
        && command.redirects.is_empty();
    bare.then_some(command.span)
}

/// A file that a command here writes text to.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    /// The command's index.
    at: usize,
    name: &'a str,
    starts_shell: bool,
}

/// The files that the commands write text to, in their order; looked for once.
#[derive(Debug, Default)]
pub(crate) struct Scripts<'a>(OnceCell<Vec<Script<'a>>>);

impl<'a> Scripts<'a> {
    fn of(&self, reading: &'a Reading) -> &[Script<'a>] {
        self.0.get_or_init(|| {
            let writers = reading
                .commands
                .iter()
                .filter(|it| matches!(it.program(), "echo" | "printf" | "cat" | "tee"));
            let files = writers.flat_map(|command| {
                let words = written(command);
                let starts_shell = !words.is_empty() && spawns_shell(command);
                words.into_iter().map(move |word| Script {
                    at: command.index,
                    name: word.text.as_str(),
                    starts_shell,
                })
            });
            files
                .filter(|it| !it.name.starts_with("/dev/") && !it.name.is_empty())
                .collect()
        })
    }
}

/// Finds programs that get a script which was written here and made executable, or that starts a shell.
pub(super) fn gets_a_script(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let program = command.program();
    if program.is_empty()
        || command.taken_apart
        || is_shell(program)
        || is_listed(READERS, program)
        || command.index == 0
    {
        return None;
    }
    let start = command.index.saturating_sub(LOOK_BACK_MAX);
    let earlier = scene.reading.commands.get(start..command.index)?;
    let scripts: Vec<(&str, bool)> = scene
        .scripts
        .of(scene.reading)
        .iter()
        .filter(|script| (start..command.index).contains(&script.at))
        .map(|script| (script.name, script.starts_shell))
        .collect();
    if scripts.is_empty() {
        return None;
    }
    let made_executable = |name: &str| {
        earlier.iter().any(|other| {
            other.program() == "chmod"
                && other.args().iter().any(|word| word.text == name)
                && other
                    .args()
                    .iter()
                    .any(|word| word.text.contains('x') || word.text.contains('7'))
        })
    };
    let named = scripts.iter().find(|(name, spawns)| {
        let mentioned = command.args().iter().any(|word| names(&word.text, name))
            || command
                .assignments
                .iter()
                .any(|(_, word)| word.text == *name);
        mentioned && (*spawns || !reads_code(program) && made_executable(name))
    });
    let built = || {
        scripts.iter().find(|(name, spawns)| {
            let file = basename(name);
            *spawns
                && BUILD_FILES
                    .iter()
                    .any(|(known, tools)| *known == file && is_listed(tools, program))
        })
    };
    named.or_else(built).map(|_| command.span)
}

/// Returns whether an argument names the file, by itself or as the value of an option.
fn names(argument: &str, file: &str) -> bool {
    argument == file
        || argument
            .strip_suffix(file)
            .is_some_and(|before| before.ends_with(['=', ':', ',', ' ']))
        || file.len() > 2
            && argument.starts_with('-')
            && !argument.starts_with("--")
            && argument.ends_with(file)
            && argument.len() == file.len() + 2
}

/// Returns whether the text that a command writes starts a shell, other than as its first line.
fn spawns_shell(command: &SimpleCommand) -> bool {
    let fed = command.redirects.iter().filter(|it| {
        matches!(
            it.kind,
            RedirectKind::HereDoc { .. } | RedirectKind::HereString
        )
    });
    let texts = command
        .args()
        .iter()
        .map(|word| word.text.as_str())
        .chain(fed.map(|it| it.target.text.as_str()));
    texts.into_iter().any(|text| {
        ["/bin/sh", "/bin/bash", "/bin/dash", "/bin/zsh"]
            .iter()
            .any(|shell| {
                text.match_indices(shell).any(|(at, _)| {
                    let before = text[..at].trim_end();
                    let after = text[at + shell.len()..].trim_start();
                    // `/bin/sh x.sh` runs a script that is there; a shell by itself is for somebody's hands.
                    let alone = after.is_empty()
                        || after.starts_with([
                            '"', '\'', '<', '>', '0', '1', ')', '`', '}', ']', '\n', ';', '&',
                        ])
                        || after.starts_with("-i")
                        || after.starts_with("-p");
                    !before.ends_with("#!") && !before.ends_with("/usr") && alone
                })
            })
    })
}
