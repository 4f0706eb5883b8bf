//! From text to [`Node`]s: the only place that knows the parser.

use std::{panic, sync::Arc, thread};

use brush_parser::{
    ParserOptions, SourceSpan, TokenizerOptions,
    ast::{self, SourceLocation as _},
    parse_tokens, uncached_tokenize_str,
};

use super::{
    Node, RawCommand, RawRedirect, RawWord, RedirectKind, Repeats, Span,
    mask::{DEPTH_MAX, Masked, Unreadable, mask},
    read::{first_span, goes_on, is_endless, starts_without_end, waits},
};

/// With no more openers than this, the parser runs on the caller's stack.
const OPENERS_INLINE_MAX: usize = 16;
/// More than this is refused: the parser's stack would have to be too large.
const OPENERS_MAX: usize = 3000;
/// Stack that the parser gets for each construct that might nest.
const STACK_BYTES_PER_OPENER: usize = 96 * 1024;
const STACK_BYTES_BASE: usize = 1024 * 1024;
/// The parser sees so many of the bytes that were blanked in one place.
const BLANKED_BYTES_KEPT: usize = 4;

/// Reads `source`.
pub(crate) fn parse(source: &str) -> Result<Vec<Node>, Unreadable> {
    let masked = mask(source)?;
    if masked.openers > OPENERS_MAX {
        return Err(Unreadable::TooDeep);
    }
    let work = || {
        // The parser may panic on odd input; that text then counts as unreadable, which asks.
        panic::catch_unwind(panic::AssertUnwindSafe(|| parse_masked(source, &masked)))
            .unwrap_or(Err(Unreadable::Unterminated))
    };
    if masked.openers <= OPENERS_INLINE_MAX {
        return work();
    }
    thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(STACK_BYTES_BASE + masked.openers * STACK_BYTES_PER_OPENER)
            .spawn_scoped(scope, work)
            .ok()
            .and_then(|worker| worker.join().ok())
            .unwrap_or(Err(Unreadable::Unterminated))
    })
}

fn parse_masked(source: &str, masked: &Masked) -> Result<Vec<Node>, Unreadable> {
    let (text, cuts) = shortened(source, &masked.text);
    let text = str::from_utf8(&text).map_err(|_not_ascii| Unreadable::Unterminated)?;
    let options = ParserOptions::default();
    let tokens = uncached_tokenize_str(text, &TokenizerOptions::default())
        .map_err(|_position_is_in_masked_text| Unreadable::Unterminated)?;
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    let program = parse_tokens(&tokens, &options)
        .map_err(|_position_is_in_masked_text| Unreadable::Unterminated)?;
    let reader = Converter {
        source,
        masked,
        cuts,
    };
    let mut nodes = Vec::new();
    for list in &program.complete_commands {
        reader.list(list, 0, &mut nodes)?;
    }
    Ok(nodes)
}

/// Turns the parser's tree into ours; words are taken from the source, not from the masked text.
struct Converter<'a> {
    source: &'a str,
    masked: &'a Masked,
    cuts: Cuts,
}

/// Where bytes were taken out: the offset of the first byte behind the place, and how many bytes all places so far took.
type Cuts = Vec<(usize, usize)>;

/// Takes out most of what was blanked: the parser needs as long for a quoted page as for a page of commands.
fn shortened(source: &str, masked: &[u8]) -> (Vec<u8>, Cuts) {
    let mut text = Vec::with_capacity(masked.len().min(1024));
    let mut cuts = Cuts::new();
    let mut at = 0;
    while let Some(byte) = masked.get(at) {
        let run = masked[at..].iter().take_while(|it| *it == byte).count();
        let original = source.as_bytes().get(at..at + run).unwrap_or_default();
        // A name of that letter is one, and stays.
        let blanked = matches!(byte, b'x' | b' ') && original.iter().any(|it| it != byte);
        let kept = if blanked {
            run.min(BLANKED_BYTES_KEPT)
        } else {
            run
        };
        text.resize(text.len() + kept, *byte);
        if kept < run {
            let before = cuts.last().map_or(0, |(_, taken)| *taken);
            cuts.push((text.len(), before + run - kept));
        }
        at += run;
    }
    (text, cuts)
}

type Converted<T = ()> = Result<T, Unreadable>;

impl Converter<'_> {
    fn list(&self, list: &ast::CompoundList, depth: usize, into: &mut Vec<Node>) -> Converted {
        if depth > DEPTH_MAX {
            return Err(Unreadable::TooDeep);
        }
        for ast::CompoundListItem(and_or, separator) in &list.0 {
            let background = matches!(separator, ast::SeparatorOperator::Async);
            for (_, pipeline) in and_or {
                let node = self.pipeline(pipeline, depth)?;
                into.push(if background {
                    Node::Background(Box::new(node))
                } else {
                    node
                });
            }
        }
        Ok(())
    }

    fn body(&self, list: &ast::CompoundList, depth: usize) -> Converted<Vec<Node>> {
        let mut nodes = Vec::new();
        self.list(list, depth + 1, &mut nodes)?;
        Ok(nodes)
    }

    fn pipeline(&self, pipeline: &ast::Pipeline, depth: usize) -> Converted<Node> {
        let mut stages = Vec::with_capacity(pipeline.seq.len());
        for command in &pipeline.seq {
            stages.push(self.command(command, depth)?);
        }
        Ok(if stages.len() == 1 {
            stages.remove(0)
        } else {
            Node::Pipeline(stages)
        })
    }

    fn command(&self, command: &ast::Command, depth: usize) -> Converted<Node> {
        match command {
            ast::Command::Simple(simple) => Ok(Node::Simple(self.simple(simple))),
            ast::Command::Compound(compound, redirects) => {
                self.compound(compound, self.redirects(redirects.as_ref()), depth)
            }
            ast::Command::Function(function) => {
                let ast::FunctionBody(body, redirects) = &function.body;
                let redirects = self.redirects(redirects.as_ref());
                Ok(Node::Function {
                    // The parser has the masked one.
                    name: self.word(&function.fname).text.replace("\\\n", ""),
                    body: Arc::new(self.compound(body, redirects, depth + 1)?),
                })
            }
            ast::Command::ExtendedTest(test, _) => {
                Ok(Node::Words(vec![self.slice(Some(&test.loc))]))
            }
        }
    }

    fn compound(
        &self,
        compound: &ast::CompoundCommand,
        redirects: Vec<RawRedirect>,
        depth: usize,
    ) -> Converted<Node> {
        use ast::CompoundCommand as Compound;
        let mut repeats = Repeats::Once;
        let body = match compound {
            Compound::Arithmetic(arithmetic) => {
                // The parser also takes `( ( … ) )`, which is a subshell in a subshell, for arithmetic.
                let word = self.slice(Some(&arithmetic.loc));
                return Ok(Node::Simple(RawCommand {
                    span: word.span,
                    words: vec![word],
                    redirects,
                    ..RawCommand::default()
                }));
            }
            Compound::ArithmeticForClause(clause) => {
                let body = self.body(&clause.body.list, depth)?;
                let condition = clause.condition.as_ref().map(|it| it.value.trim());
                if condition.is_none_or(|it| matches!(it, "" | "1")) && !waits(&body) {
                    repeats = Repeats::Endless;
                }
                body
            }
            Compound::BraceGroup(group) => self.body(&group.list, depth)?,
            Compound::Subshell(subshell) => self.body(&subshell.list, depth)?,
            Compound::ForClause(clause) => {
                return Ok(Node::For {
                    name: clause.variable_name.clone(),
                    values: clause
                        .values
                        .iter()
                        .flatten()
                        .map(|w| self.word(w))
                        .collect(),
                    body: self.body(&clause.body.list, depth)?,
                    redirects,
                });
            }
            Compound::CaseClause(clause) => {
                let mut body = vec![Node::Words(vec![self.word(&clause.value)])];
                for case in &clause.cases {
                    body.push(Node::Words(
                        case.patterns.iter().map(|w| self.word(w)).collect(),
                    ));
                    if let Some(commands) = &case.cmd {
                        self.list(commands, depth + 1, &mut body)?;
                    }
                }
                body
            }
            Compound::IfClause(clause) => self.if_clause(clause, depth)?,
            Compound::WhileClause(clause) | Compound::UntilClause(clause) => {
                let ast::WhileOrUntilClauseCommand(condition, block, _) = clause;
                let until = matches!(compound, Compound::UntilClause(_));
                let (body, kind) = self.while_loop(condition, block, until, depth)?;
                repeats = kind;
                body
            }
            Compound::Coprocess(coprocess) => {
                if depth > DEPTH_MAX {
                    return Err(Unreadable::TooDeep);
                }
                vec![self.command(&coprocess.body, depth + 1)?]
            }
        };
        Ok(Node::Group {
            body,
            redirects,
            repeats,
        })
    }

    fn while_loop(
        &self,
        condition: &ast::CompoundList,
        block: &ast::DoGroupCommand,
        until: bool,
        depth: usize,
    ) -> Converted<(Vec<Node>, Repeats)> {
        let mut body = self.body(condition, depth)?;
        let first = body.len();
        let endless = is_endless(&body, until);
        let goes_on = goes_on(&body, until);
        self.list(&block.list, depth + 1, &mut body)?;
        let repeats = if goes_on && !waits(&body) {
            Repeats::Endless
        } else {
            Repeats::While
        };
        note_storm(endless, &mut body, first);
        Ok((body, repeats))
    }

    fn if_clause(&self, clause: &ast::IfClauseCommand, depth: usize) -> Converted<Vec<Node>> {
        let mut body = self.body(&clause.condition, depth)?;
        self.list(&clause.then, depth + 1, &mut body)?;
        for branch in clause.elses.iter().flatten() {
            if let Some(condition) = &branch.condition {
                self.list(condition, depth + 1, &mut body)?;
            }
            self.list(&branch.body, depth + 1, &mut body)?;
        }
        Ok(body)
    }

    fn simple(&self, simple: &ast::SimpleCommand) -> RawCommand {
        let mut command = RawCommand::default();
        let before = simple.prefix.iter().flat_map(|prefix| &prefix.0);
        for item in before {
            self.item(item, &mut command, Assignments::Leading);
        }
        if let Some(name) = &simple.word_or_name {
            command.words.push(self.word(name));
        }
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, &mut command, Assignments::Arguments);
        }
        command.span = span_of(&command);
        command
    }

    fn item(
        &self,
        item: &ast::CommandPrefixOrSuffixItem,
        command: &mut RawCommand,
        assignments: Assignments,
    ) {
        use ast::CommandPrefixOrSuffixItem as Item;
        match item {
            Item::IoRedirect(redirect) => command.redirects.extend(self.redirect(redirect)),
            Item::Word(word) => command.words.push(self.word(word)),
            Item::AssignmentWord(assignment, word) => {
                let raw = match assignment.location() {
                    Some(location) => self.slice(Some(&location)),
                    None => self.word(word),
                };
                match assignments {
                    Assignments::Leading
                        if command.words.is_empty() && is_assignment(&raw.text) =>
                    {
                        command.assignments.push(raw);
                    }
                    Assignments::Leading | Assignments::Arguments => command.words.push(raw),
                }
            }
            Item::ProcessSubstitution(_, subshell) => {
                command.words.push(self.slice(Some(&subshell.loc)));
            }
        }
    }

    fn redirects(&self, list: Option<&ast::RedirectList>) -> Vec<RawRedirect> {
        list.iter()
            .flat_map(|list| &list.0)
            .filter_map(|redirect| self.redirect(redirect))
            .collect()
    }

    fn redirect(&self, redirect: &ast::IoRedirect) -> Option<RawRedirect> {
        use ast::{IoFileRedirectKind as Kind, IoFileRedirectTarget as Target};
        let (kind, word) = match redirect {
            ast::IoRedirect::File(_, kind, target) => {
                let kind = match kind {
                    Kind::Read => RedirectKind::Read,
                    Kind::Write | Kind::Clobber | Kind::ReadAndWrite => RedirectKind::Write,
                    Kind::Append => RedirectKind::Append,
                    Kind::DuplicateInput | Kind::DuplicateOutput => RedirectKind::Duplicate,
                };
                match target {
                    Target::Filename(word) | Target::Duplicate(word) => (kind, self.word(word)),
                    Target::ProcessSubstitution(_, subshell) => {
                        (kind, self.slice(Some(&subshell.loc)))
                    }
                    Target::Fd(_) => return None,
                }
            }
            ast::IoRedirect::HereString(_, word) => (RedirectKind::HereString, self.word(word)),
            ast::IoRedirect::OutputAndError(word, append) => {
                let kind = if *append {
                    RedirectKind::Append
                } else {
                    RedirectKind::Write
                };
                (kind, self.word(word))
            }
            // Heredocs never reach the parser.
            ast::IoRedirect::HereDocument(..) => return None,
        };
        let heredocs = &self.masked.heredocs;
        let heredoc = heredocs.binary_search_by_key(&word.span.0, |heredoc| heredoc.at);
        Some(match heredoc.ok().and_then(|index| heredocs.get(index)) {
            Some(heredoc) => RawRedirect {
                kind: RedirectKind::HereDoc {
                    quoted: heredoc.quoted,
                },
                target: self.at(heredoc.body),
            },
            None => RawRedirect { kind, target: word },
        })
    }

    fn word(&self, word: &ast::Word) -> RawWord {
        match &word.loc {
            Some(location) => self.slice(Some(location)),
            None => RawWord {
                text: word.value.clone(),
                span: (0, self.source.len()),
            },
        }
    }

    /// Returns the source at a location.
    fn slice(&self, location: Option<&SourceSpan>) -> RawWord {
        self.at(location.map_or((0, self.source.len()), |span| {
            (self.offset(span.start.index), self.offset(span.end.index))
        }))
    }

    /// Returns the offset in the source; the masked text has the same.
    fn offset(&self, at: usize) -> usize {
        let before = self.cuts.partition_point(|(behind, _)| *behind <= at);
        let last = before.checked_sub(1).and_then(|index| self.cuts.get(index));
        at + last.map_or(0, |(_, taken)| *taken)
    }

    fn at(&self, (start, end): Span) -> RawWord {
        match self.source.get(start..end) {
            Some(text) => RawWord {
                text: text.to_owned(),
                span: (start, end),
            },
            None => RawWord {
                text: self.source.to_owned(),
                span: (0, self.source.len()),
            },
        }
    }
}

/// Notes that the part of an endless loop's body from `first` on only starts processes.
fn note_storm(endless: bool, body: &mut Vec<Node>, first: usize) {
    let repeated = body.get(first..).unwrap_or(&[]);
    if endless && starts_without_end(repeated) {
        let span = repeated.first().map_or((0, 0), first_span);
        body.insert(0, Node::Storm(span));
    }
}

/// Returns whether text begins with `NAME=`, `NAME+=` or `NAME[i]=`: the parser sees a name in
/// `dd${IFS}if=x` too, as expansions are masked.
fn is_assignment(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && (rest.starts_with(['=', '[']) || rest.starts_with("+="))
}

/// What `NAME=value` means where it stands.
#[derive(Clone, Copy)]
enum Assignments {
    /// Before the command word: an assignment.
    Leading,
    /// After it: an argument of that form (`export A=b`, `dd of=x`).
    Arguments,
}

fn span_of(command: &RawCommand) -> Span {
    let parts = command.assignments.iter().chain(&command.words);
    let targets = command
        .redirects
        .iter()
        .filter(|redirect| !matches!(redirect.kind, RedirectKind::HereDoc { .. }))
        .map(|redirect| &redirect.target);
    parts
        .chain(targets)
        .map(|word| word.span)
        .reduce(|all, span| (all.0.min(span.0), all.1.max(span.1)))
        .unwrap_or((0, 0))
}
