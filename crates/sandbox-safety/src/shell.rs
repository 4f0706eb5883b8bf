//! Shell text as the rules see it: simple commands with resolved words, whatever parser read them.
//!
//! `mask` finds the quoted and substituted regions, `parse` hands what remains to the parser and
//! yields [`Node`]s, `expand` resolves words, `unwrap` takes wrappers apart, `read` tells the story.

pub(crate) mod expand;
pub(crate) mod mask;
pub(crate) mod parse;
pub(crate) mod read;
pub(crate) mod unwrap;

pub(crate) use read::{Reading, read_argv, read_command, read_text};

use std::sync::Arc;

/// First byte and byte after the last, in the judged text.
pub(crate) type Span = (usize, usize);

/// A word as it stands in the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawWord {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// What a redirection does with its target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RedirectKind {
    Read,
    Write,
    Append,
    /// `>&` and `<&`: the word is a descriptor or, for `>&`, a file.
    Duplicate,
    HereString,
    /// The word is the body; `quoted` delimiters leave it as it is.
    HereDoc {
        quoted: bool,
    },
    /// Made up: the word is the text of the script that an interpreter gets by name.
    Script,
}

/// A redirection as it stands in the source.
#[derive(Clone, Debug)]
pub(crate) struct RawRedirect {
    pub(crate) kind: RedirectKind,
    pub(crate) target: RawWord,
}

/// A simple command as it stands in the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawCommand {
    pub(crate) assignments: Vec<RawWord>,
    pub(crate) words: Vec<RawWord>,
    pub(crate) redirects: Vec<RawRedirect>,
    pub(crate) span: Span,
}

/// The structure of a script, as far as the judge needs it.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Simple(RawCommand),
    Pipeline(Vec<Self>),
    /// `{ }`, `( )`, `if`, `while`, `case`: what is in it may run.
    Group {
        body: Vec<Self>,
        redirects: Vec<RawRedirect>,
        repeats: Repeats,
    },
    For {
        name: String,
        values: Vec<RawWord>,
        body: Vec<Self>,
        redirects: Vec<RawRedirect>,
    },
    Function {
        name: String,
        body: Arc<Self>,
    },
    /// Words that are evaluated and not run: `[[ ]]`, `(( ))`, the value of `case`.
    Words(Vec<RawWord>),
    /// Started with `&`.
    Background(Box<Self>),
    /// Stands before an endless loop that starts processes and waits for none.
    Storm(Span),
}

/// How often the body of a group runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Repeats {
    Once,
    /// As often as its condition says.
    While,
    /// Without end, and with nothing in it that waits.
    Endless,
}

/// How much is known of a word.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Known {
    /// Exactly this text.
    #[default]
    Literal,
    /// Some of its characters are wildcards.
    Pattern,
    /// Some of it depends on what the text does not say; that part stands as in the source.
    Unknown,
}

/// A word after expansion.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) known: Known,
    pub(crate) span: Span,
    /// The commands (by index) that its substitutions run.
    pub(crate) runs: (usize, usize),
    /// Whether quoting or expansion hid the text (`r\m`, `$'\x72m'`, `r""m`).
    pub(crate) disguised: bool,
}

impl Word {
    /// Returns a word of which all is known.
    pub(crate) fn literal(text: impl Into<String>, span: Span) -> Self {
        Self {
            text: text.into(),
            span,
            ..Self::default()
        }
    }
}

/// A redirection after expansion.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    pub(crate) kind: RedirectKind,
    pub(crate) target: Word,
}

/// Where a command stands in a pipeline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PipePosition {
    /// Index into [`Reading::pipelines`].
    pub(crate) pipeline: usize,
    pub(crate) stage: usize,
}

/// One pipeline: where it stands itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipeline {
    pub(crate) parent: Option<PipePosition>,
}

/// Through what a command was reached.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something else of the way, and all go together"
)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Context {
    /// How many substitutions, wrappers' texts and calls deep.
    pub(crate) depth: usize,
    pub(crate) route: Route,
    /// Whether it stands in a file that the caller gave, not in the judged text.
    pub(crate) in_file: bool,
    /// Whether it runs again and again, without end and without a wait.
    pub(crate) endless: bool,
    /// Whether it is read once more, in another case of the variables that it depends on.
    pub(crate) other_reading: bool,
}

/// The strongest wrapper on the way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Route {
    #[default]
    Direct,
    /// From a recipe or script of a build tool.
    Built,
    /// `sudo` and its like.
    Privileged,
    /// On another machine (`ssh`).
    Remote,
}

/// One simple command, wrappers taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimpleCommand {
    /// The first is the program as written.
    pub(crate) words: Vec<Word>,
    pub(crate) assignments: Vec<(String, Word)>,
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) pipe: Option<PipePosition>,
    pub(crate) span: Span,
    pub(crate) context: Context,
    /// The wrappers that were taken off, outermost first.
    pub(crate) wrappers: Vec<&'static str>,
    /// Its place in [`Reading::commands`].
    pub(crate) index: usize,
    /// Where it runs, when the script says so with `cd`.
    pub(crate) directory: Option<String>,
    /// Whether it is a wrapper whose command is listed by itself.
    pub(crate) taken_apart: bool,
    /// Whether more arguments come from where the text does not say (`xargs`, `find -exec`).
    pub(crate) fed: bool,
}

impl SimpleCommand {
    /// Returns the program's name without its directory; empty where there is none.
    pub(crate) fn program(&self) -> &str {
        self.words.first().map_or("", |word| basename(&word.text))
    }

    /// Returns the words after the program.
    pub(crate) fn args(&self) -> &[Word] {
        self.words.get(1..).unwrap_or(&[])
    }
}

/// Returns the last component of a path.
pub(crate) fn basename(path: &str) -> &str {
    let slash = path.bytes().rposition(|byte| byte == b'/');
    slash.map_or(path, |at| &path[at + 1..])
}
