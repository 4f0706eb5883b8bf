//! The only place that prints. Results go to standard output, words for people to standard error.
//!
//! Text that a guest or a file wrote never reaches a terminal as it is: control characters are
//! escaped, so that it cannot move the cursor, change the title or hide what stands before it.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, ErrorKind, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::error::ErrorKind as UsageKind;
use sandbox_core::{Cancellation, Host};
use sandbox_types::Stream;
use serde::Serialize;

use crate::{
    args::Unusable,
    exit_codes,
    failure::{Failure, Kind},
};

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    pub(crate) form: Form,
    pub(crate) words: Words,
    pub(crate) colour: Colour,
}

/// What results are printed as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    Text,
    /// One document, and nothing else is printed.
    Json,
}

/// How much is said besides results and errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Words {
    Some,
    None,
}

/// Whether colour is used on a terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    OnTerminals,
    /// As `NO_COLOR` (no-color.org) or a terminal that knows none (`TERM=dumb`) asks.
    Never,
}

/// Whether anybody still reads our standard output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reader {
    /// As far as we know.
    There,
    /// The pipe is closed: there is no point in going on, and that is no failure.
    Gone,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Warning,
    Strong,
    Faint,
}

impl Ui {
    /// Whether results are JSON.
    pub(crate) fn is_json(self) -> bool {
        self.form == Form::Json
    }

    /// Whether a person who looks on wants to see how far a command is.
    pub(crate) fn shows_progress(self) -> bool {
        // Where no colour is wanted, nothing can be erased either.
        let can_erase = self.colour != Colour::Never && io::stderr().is_terminal();
        self.words == Words::Some && !self.is_json() && can_erase
    }

    /// Tells a person something, unless they asked for quiet.
    pub(crate) fn note(self, text: &str) {
        if self.words == Words::Some && !self.is_json() {
            to_stderr(text);
        }
    }

    /// Tells a person something that quiet does not silence.
    pub(crate) fn insist(self, text: &str) {
        if !self.is_json() {
            to_stderr(text);
        }
    }

    /// Prints a failure: for people to standard error, as JSON to standard output.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.is_json() && print_json(failure).is_ok() {
            return;
        }
        self.failure_to_person(failure);
    }

    /// Prints a failure to standard error, also when the result on standard output is JSON.
    pub(crate) fn failure_to_person(self, failure: &Failure) {
        let mut text = String::new();
        for (at, cause) in failure.causes.iter().enumerate() {
            let cause = inline(cause);
            let line = if at == 0 {
                format!("{} {cause}\n", self.error_tone(Tone::Bad, "error:"))
            } else {
                format!("  caused by: {cause}\n")
            };
            text.push_str(&line);
        }
        for hint in &failure.hints {
            let label = self.error_tone(Tone::Strong, "hint:");
            let line = format!("  {label} {}\n", inline(hint));
            text.push_str(&line);
        }
        if failure.kind == Kind::Internal {
            text.push_str("  this is a bug: please report it with the lines above\n");
        }
        to_stderr(text.trim_end());
    }

    /// Returns `text` in the tone's colour for standard output, if that is a terminal.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        self.coloured(io::stdout().is_terminal(), tone, text)
    }

    /// Returns `text` in the tone's colour for standard error, if that is a terminal.
    pub(crate) fn error_tone(self, tone: Tone, text: &str) -> String {
        self.coloured(io::stderr().is_terminal(), tone, text)
    }

    fn coloured(self, terminal: bool, tone: Tone, text: &str) -> String {
        if !terminal || self.colour == Colour::Never {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Warning => "33",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Prints a result, and says whether anybody still reads.
pub(crate) fn print(text: &str) -> Result<Reader, Failure> {
    let mut stdout = io::stdout().lock();
    reader(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

/// Prints bytes as they are; on a terminal as text, with what would act on it escaped.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<Reader, Failure> {
    let mut stdout = io::stdout().lock();
    if !stdout.is_terminal() {
        return reader(stdout.write_all(bytes).and_then(|()| stdout.flush()));
    }
    let mut text = plain(&String::from_utf8_lossy(bytes));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    reader(stdout.write_all(text.as_bytes()))
}

/// Prints a result as one JSON document, indented for people.
pub(crate) fn print_json(document: &impl Serialize) -> Result<Reader, Failure> {
    let text = serde_json::to_string_pretty(document).map_err(not_json)?;
    let mut text = inert_json(text);
    text.push('\n');
    print(&text)
}

/// Prints one of several results as JSON on a line.
pub(crate) fn print_json_line(document: &impl Serialize) -> Result<Reader, Failure> {
    let text = serde_json::to_string(document).map_err(not_json)?;
    let mut text = inert_json(text);
    text.push('\n');
    print(&text)
}

/// Returns a JSON document with what a terminal would act on escaped, which JSON itself allows to stand as it is: the
/// control characters from U+007F to U+009F, of which one begins a sequence as ESC does, and what turns text around.
pub(crate) fn inert_json(text: String) -> String {
    if !text.chars().any(acts_on_text) {
        return text;
    }
    let mut inert = String::with_capacity(text.len());
    for c in text.chars() {
        if acts_on_text(c) {
            // All of them are below U+10000: one unit each.
            let _infallible = write!(inert, "\\u{:04x}", u32::from(c));
        } else {
            inert.push(c);
        }
    }
    inert
}

/// Hands output of the guest on, as it comes.
pub(crate) fn pass_on(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes)?;
            stdout.flush()
        }
        Stream::Stderr => io::stderr().lock().write_all(bytes),
    }
}

/// What a person says to a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Yes,
    Always,
    No,
}

/// What a person may say besides no.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Offered {
    Once,
    OnceOrAlways,
}

/// Asks a person; anything but a yes is a no, the end of the input and Ctrl-C too.
pub(crate) fn ask(question: &str, offered: Offered, cancel: &Cancellation) -> Said {
    let answers = match offered {
        Offered::Once => "[y]es or [N]o",
        Offered::OnceOrAlways => "[y]es, [a]lways or [N]o",
    };
    match answer(&format!("{question} {answers}: "), cancel).as_deref() {
        Some("y" | "yes") => Said::Yes,
        Some("a" | "always") if offered == Offered::OnceOrAlways => Said::Always,
        Some(_) | None => Said::No,
    }
}

/// Asks a person whether to go on; anything but a yes is a no.
pub(crate) fn confirms(question: &str, cancel: &Cancellation) -> bool {
    ask(question, Offered::Once, cancel) == Said::Yes
}

/// Returns what a person answers, in small letters; `None` if nobody does.
fn answer(question: &str, cancel: &Cancellation) -> Option<String> {
    let mut stderr = io::stderr().lock();
    let asked = stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush());
    if !matches!(cancel.wait_to_read(io::stdin()), Ok(true)) {
        // The question has no line end yet. Nobody can be told that nobody listens.
        let _heard = stderr.write_all(b"\n");
        return None;
    }
    let mut said = String::new();
    asked
        .and_then(|()| io::stdin().lock().read_line(&mut said))
        .ok()?;
    Some(said.trim().to_ascii_lowercase())
}

/// Prints why the command line cannot be used, or the help that was asked for.
pub(crate) fn usage(unusable: &Unusable) -> ExitCode {
    let text = match (unusable.error.kind(), unusable.meant) {
        (UsageKind::InvalidUtf8, _) => NOT_UNICODE.to_owned(),
        (_, Some(meant)) => with_meaning(&unusable.error.to_string(), meant),
        (_, None) => unusable.error.to_string(),
    };
    let ui = Ui {
        form: unusable.form,
        words: Words::Some,
        colour: Colour::Never,
    };
    let asked_for_help = matches!(
        unusable.error.kind(),
        UsageKind::DisplayHelp | UsageKind::DisplayVersion
    );
    if asked_for_help {
        let printed = print(&text);
        return ExitCode::from(if printed.is_ok() {
            exit_codes::DONE
        } else {
            exit_codes::NO
        });
    }
    if ui.is_json() {
        ui.failure(&usage_failure(&text));
    } else {
        to_stderr(plain(&text).trim_end());
    }
    ExitCode::from(exit_codes::USAGE)
}

/// Returns a message with what was meant in the place of the parser's guesses.
fn with_meaning(message: &str, meant: &str) -> String {
    let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
    let is_guess = |line: &&str| line.trim_start().starts_with("tip:");
    let rest: Vec<&str> = rest.lines().filter(|line| !is_guess(line)).collect();
    format!("{first}\n\n  tip: {meant}\n\n{}\n", rest.join("\n").trim())
}

/// Operations, records and reports are text; the names in a workspace need not be.
const NOT_UNICODE: &str = "\
error: an argument is not Unicode (UTF-8), and a command is recorded as text
  hint: let a shell inside make that name: sandbox run --shell 'rm \"$(printf \"bad\\\\377\")\"', or a pattern: --shell 'rm bad*'";

fn usage_failure(text: &str) -> Failure {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines
        .next()
        .unwrap_or("wrong usage")
        .trim_start_matches("error: ")
        .to_owned();
    lines.fold(Failure::new(Kind::Usage, first), Failure::hint)
}

/// Returns text of unknown origin with its control characters escaped; lines are kept apart.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts_on_text(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns whether a terminal acts on a character, or shows the text around it as something else.
fn acts_on_text(c: char) -> bool {
    let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    (c.is_control() && c != '\n' && c != '\t') || hides
}

/// Returns text of unknown origin for a sentence of ours, with line feeds escaped too: a name that somebody else chose
/// must not begin a line that looks like one of ours.
pub(crate) fn inline(text: &str) -> String {
    plain(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Returns text of unknown origin on one line of at most `width` characters.
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let shown = inline(text);
    if shown.chars().count() <= width {
        return shown;
    }
    let cut: String = shown.chars().take(width.saturating_sub(1)).collect();
    format!("{cut}…")
}

/// Returns text for standard output: as it is for a program, escaped for a terminal.
pub(crate) fn for_stdout(text: &str) -> String {
    if io::stdout().is_terminal() {
        plain(text)
    } else {
        text.to_owned()
    }
}

/// What stands before a line that says yes or no.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) good: &'static str,
    pub(crate) bad: &'static str,
}

/// Returns marks that the user's locale can show.
pub(crate) fn marks(host: &Host) -> Marks {
    // The first of these that is set decides: locale(7).
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| host.variable(name).filter(|value| !value.is_empty()));
    let utf8 = locale.is_some_and(|it| {
        let it = it.to_ascii_lowercase();
        it.ends_with("utf-8") || it.ends_with("utf8")
    });
    if utf8 {
        Marks {
            good: "✓",
            bad: "✗",
        }
    } else {
        Marks {
            good: "ok",
            bad: "NO",
        }
    }
}

/// Returns how many columns the terminal has that results go to; `None` if they go elsewhere.
pub(crate) fn columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Returns how wide the last column of a line may be, behind so much: on a terminal what is left of it, but enough to
/// read something.
pub(crate) fn room_behind(taken: usize, elsewhere: usize) -> usize {
    columns().map_or(elsewhere, |all| all.saturating_sub(taken).max(ROOM_MIN))
}

/// The narrowest last column.
const ROOM_MIN: usize = 12;

/// Whether somebody sits at the terminal and can answer.
pub(crate) fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn to_stderr(text: &str) {
    // One write a message, so that lines of several processes do not mix.
    let mut message = String::with_capacity(text.len() + 1);
    message.push_str(text);
    message.push('\n');
    // Nobody can be told that nobody listens.
    let _heard = io::stderr().lock().write_all(message.as_bytes());
}

fn reader(written: io::Result<()>) -> Result<Reader, Failure> {
    match written {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => {
            Err(Failure::of(Kind::Sandbox, &error).while_doing("cannot write to standard output"))
        }
    }
}

fn not_json(error: serde_json::Error) -> Failure {
    Failure::of(Kind::Internal, &error).while_doing("cannot write the result as JSON")
}
