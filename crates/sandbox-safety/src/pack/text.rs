//! A rule pack as it is written.

use std::fmt::Display;

use sandbox_types::Effect;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    Example, Override, PackError, PackRule, Position, RulePack,
    grant::{Answer, Grant},
    numbers::{self, NumbersText},
};
use crate::{
    pattern,
    risk::{CRITICAL, HIGH, Held, LOW, MEDIUM},
    rules,
};

/// A pack larger than this is refused.
const PACK_BYTES_MAX: usize = 1024 * 1024;
/// A pack has at most so many rules, and a rule so many patterns and examples.
const ENTRIES_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackText {
    pack: Spanned<String>,
    #[serde(default)]
    rules: Vec<RuleText>,
    #[serde(default, rename = "override")]
    overrides: Vec<OverrideText>,
    #[serde(default)]
    allow: Vec<GrantText>,
    #[serde(default)]
    ask: Vec<GrantText>,
    #[serde(default)]
    deny: Vec<GrantText>,
    #[serde(default)]
    risk: NumbersText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: Spanned<String>,
    score: Spanned<Score>,
    effects: Spanned<Vec<Effect>>,
    held: HeldText,
    why: Spanned<String>,
    safer: Spanned<String>,
    when: Vec<Spanned<String>>,
    #[serde(rename = "match")]
    matches: Vec<Spanned<String>>,
    not_match: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideText {
    rule: Spanned<String>,
    score: Spanned<Score>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantText {
    command: Spanned<String>,
    #[serde(default)]
    types: Vec<Spanned<String>>,
    #[serde(default)]
    workspaces: Vec<Spanned<String>>,
    why: Spanned<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(
    untagged,
    expecting = "a score is a number up to 100, or none, low, medium, high or critical"
)]
pub(super) enum Score {
    Number(u8),
    Level(Level),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    None,
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HeldText {
    Rollback,
    View,
    Network,
    Nothing,
}

impl Score {
    pub(super) const fn value(self) -> u8 {
        match self {
            Self::Number(score) => score,
            Self::Level(Level::None) => 0,
            Self::Level(Level::Low) => LOW,
            Self::Level(Level::Medium) => MEDIUM,
            Self::Level(Level::High) => HIGH,
            Self::Level(Level::Critical) => CRITICAL,
        }
    }
}

/// Reads a pack; neither its ids nor its examples are compared with anything. `types` are all types
/// of operations.
pub(super) fn read(file: &str, text: &str, types: &[&str]) -> Result<RulePack, PackError> {
    if text.len() > PACK_BYTES_MAX {
        let problem = format!("it is larger than {PACK_BYTES_MAX} bytes");
        return Err(PackError::at(
            file,
            Position { line: 1, column: 1 },
            problem,
        ));
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let pack: PackText =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax(file, &error))?;
    let rules = pack.rules.into_iter().map(|rule| rule_of(file, rule));
    let overrides = pack.overrides.into_iter().map(|it| override_of(file, it));
    let lists = [
        (Answer::Allow, pack.allow),
        (Answer::Ask, pack.ask),
        (Answer::Deny, pack.deny),
    ];
    let grants = lists
        .into_iter()
        .flat_map(|(answer, list)| list.into_iter().map(move |it| (answer, it)))
        .map(|(answer, grant)| grant_of(file, answer, grant, types));
    let pack = RulePack {
        name: pack.pack.value,
        rules: rules.collect::<Result<_, _>>()?,
        overrides: overrides.collect::<Result<_, _>>()?,
        grants: grants.collect::<Result<_, _>>()?,
        formula: numbers::read(file, pack.risk)?,
    };
    Ok(pack)
}

fn syntax(file: &str, error: &serde_saphyr::Error) -> PackError {
    let at = error.location().map(|it| Position {
        line: it.line(),
        column: it.column(),
    });
    let at = at.unwrap_or(Position { line: 1, column: 1 });
    let text = error.to_string();
    // The parser ends its message with the place, which ours begins with.
    let suffix = format!(" at line {}, column {}", at.line, at.column);
    PackError::at(file, at, text.strip_suffix(&suffix).unwrap_or(&text))
}

fn position<T>(of: &Spanned<T>) -> Position {
    Position {
        line: of.referenced.line(),
        column: of.referenced.column(),
    }
}

pub(super) fn wrong<T>(file: &str, of: &Spanned<T>, problem: impl Display) -> PackError {
    PackError::at(file, position(of), problem.to_string())
}

fn rule_of(file: &str, rule: RuleText) -> Result<PackRule, PackError> {
    if !is_rule_id(&rule.id.value) {
        let problem = "a rule's id is words of a-z, 0-9 and `-` with a `.` between them";
        return Err(wrong(file, &rule.id, problem));
    }
    let score = rule.score.value.value();
    if !(1..=100).contains(&score) {
        let problem = "a score is 1 to 100, or low, medium, high or critical";
        return Err(wrong(file, &rule.score, problem));
    }
    if rule.effects.value.is_empty() {
        return Err(wrong(file, &rule.effects, "a rule has at least one effect"));
    }
    for said in [&rule.why, &rule.safer] {
        if said.value.trim().is_empty() {
            return Err(wrong(file, said, "a rule says why, and what is safer"));
        }
    }
    let many = [&rule.when, &rule.matches, &rule.not_match];
    if many
        .iter()
        .any(|it| it.is_empty() || it.len() > ENTRIES_MAX)
    {
        let problem =
            format!("a rule has 1 to {ENTRIES_MAX} entries in each of when, match and not_match");
        return Err(wrong(file, &rule.id, problem));
    }
    for pattern in &rule.when {
        pattern::check(&pattern.value).map_err(|problem| wrong(file, pattern, problem))?;
    }
    let example = |found: bool| {
        move |it: Spanned<String>| Example {
            at: position(&it),
            command: it.value,
            found,
        }
    };
    let matches = rule.matches.into_iter().map(example(true));
    let spares = rule.not_match.into_iter().map(example(false));
    Ok(PackRule {
        id: rule.id.value,
        score,
        effects: rule.effects.value,
        held: match rule.held {
            HeldText::Rollback => Held::Rollback,
            HeldText::View => Held::View,
            HeldText::Network => Held::Network,
            HeldText::Nothing => Held::Nothing,
        },
        when: rule.when.into_iter().map(|it| it.value).collect(),
        why: rule.why.value,
        safer: rule.safer.value,
        examples: matches.chain(spares).collect(),
    })
}

fn is_rule_id(id: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    id.contains('.') && id.split('.').all(word)
}

fn override_of(file: &str, it: OverrideText) -> Result<Override, PackError> {
    if !rules::all().any(|rule| rule.id == it.rule.value) {
        let problem = format!(
            "there is no built-in rule `{}`",
            it.rule.value.escape_debug()
        );
        return Err(wrong(file, &it.rule, problem));
    }
    let score = it.score.value.value();
    if score > 100 {
        let problem = "a score is 0 to 100, or none, low, medium, high or critical";
        return Err(wrong(file, &it.score, problem));
    }
    Ok(Override {
        rule: it.rule.value,
        score,
    })
}

fn grant_of(
    file: &str,
    answer: Answer,
    grant: GrantText,
    types: &[&str],
) -> Result<Grant, PackError> {
    let words: Vec<String> = grant
        .command
        .value
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    let Some(program) = words.first() else {
        return Err(wrong(file, &grant.command, "the command is empty"));
    };
    if answer == Answer::Allow && program.contains('*') {
        let problem = "`allow` names the program: with `*` it would allow any";
        return Err(wrong(file, &grant.command, problem));
    }
    if grant.why.value.trim().is_empty() {
        return Err(wrong(file, &grant.why, "say why"));
    }
    if let Some(word) = words.iter().find(|word| is_shell_syntax(word)) {
        let problem = format!(
            "`{word}` is shell syntax: give the first words of one command, with `*` for anything in a word"
        );
        return Err(wrong(file, &grant.command, problem));
    }
    for listed in &grant.types {
        let mut names = listed.value.split('|');
        let unknown = |name: &&str| !types.iter().any(|known| pattern::is_named(name, known));
        if let Some(name) = names.find(unknown) {
            let problem = format!(
                "there is no type of operations `{}`; there are {}",
                name.escape_debug(),
                types.join(", ")
            );
            return Err(wrong(file, listed, problem));
        }
    }
    for glob in &grant.workspaces {
        glob.value
            .split('|')
            .try_for_each(check_workspace)
            .map_err(|problem| wrong(file, glob, problem))?;
    }
    let values = |texts: Vec<Spanned<String>>| texts.into_iter().map(|it| it.value).collect();
    Ok(Grant {
        answer,
        words,
        types: values(grant.types),
        workspaces: values(grant.workspaces),
        why: grant.why.value,
    })
}

/// Returns whether no word of a command can be read so: `|` only stands between alternatives.
fn is_shell_syntax(word: &str) -> bool {
    word.contains([';', '&', '<', '>', '(', ')', '$', '`', '"', '\'', '\\'])
        || word.split('|').any(str::is_empty)
}

/// Says why a glob can be no workspace, which is the path of a directory without links.
fn check_workspace(glob: &str) -> Result<(), String> {
    let said = glob.escape_debug();
    if !glob.starts_with(['/', '*']) {
        return Err(format!("no workspace is `{said}`: give an absolute path"));
    }
    if glob.contains(['?', '[', ']', '{', '}']) {
        return Err(format!(
            "cannot read `{said}` as workspaces: only `*` stands for anything"
        ));
    }
    let mut parts = glob.split('/').skip(1);
    if glob.len() > 1 && parts.any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(format!(
            "no workspace is `{said}`: leave out `.`, `..` and `/` at the end"
        ));
    }
    Ok(())
}
