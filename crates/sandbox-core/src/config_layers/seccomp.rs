//! System call profiles from YAML, with the place of what is wrong.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use sandbox_isolation::{
    ArgumentTest, BaseProfile, Condition, ProfileError, RefusedWith, SeccompProfile, SyscallEffect,
    SyscallRule,
};
use sandbox_types::nearest;

use super::{
    small_file::{FILE_BYTES_MAX, SmallFile, Unusable},
    yaml::{self, Field, Kind, Node, Position},
};

/// A profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeccompError {
    /// The file cannot be read.
    #[error("cannot read the system call profile {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is too large to be a profile.
    #[error("cannot use the system call profile {}: it has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The text is no profile.
    #[error("cannot read {name}:{line}:{column}: {problem}")]
    Text {
        /// The file, as the caller named it.
        name: String,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// What is wrong, and what could be meant.
        problem: String,
    },
    /// The profile says what no profile can.
    #[error("cannot use {name}:{line}:{column}")]
    Profile {
        /// The file, as the caller named it.
        name: String,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// What is wrong.
        #[source]
        source: ProfileError,
    },
    /// A guest could have written it.
    #[error(
        "cannot use the system call profile {}: it lies inside of the workspace, where it may only tighten the \
         default profile: start from `base: default` or `base: strict`, and allow nothing",
        path.display()
    )]
    Loosens {
        /// The file.
        path: PathBuf,
    },
}

const KEYS: [&str; 5] = ["name", "description", "base", "allow", "refuse"];
const RULE_KEYS: [&str; 6] = ["call", "with", "argument", "equals", "unless", "any_bit"];

/// Returns the profile that a configuration names: `strict`, `default`, `permissive`, or a file. A file inside of
/// `workspace` may only tighten.
///
/// # Errors
///
/// Fails when the file cannot be read or is no profile.
pub fn seccomp_profile(named: &str, workspace: &Path) -> Result<SeccompProfile, SeccompError> {
    // `walls` alone is a base for files, not a profile to run with.
    let built_in = BaseProfile::named(named).filter(|base| *base != BaseProfile::Walls);
    if let Some(base) = built_in {
        return Ok(SeccompProfile::built_in(base));
    }
    let path = Path::new(named);
    let file = SmallFile::read(path).map_err(|unusable| match unusable {
        Unusable::Read(source) => SeccompError::Read {
            path: path.to_owned(),
            source,
        },
        Unusable::TooLarge => SeccompError::TooLarge {
            path: path.to_owned(),
        },
    })?;
    let document = Document::parse(&file.text, named)?;
    if file.real.starts_with(workspace) && document.loosens() {
        return Err(SeccompError::Loosens {
            path: path.to_owned(),
        });
    }
    document.profile(named)
}

/// Reads a profile; `name` is the file's name in errors.
///
/// # Errors
///
/// Fails when `text` is not YAML, has unknown keys, or describes no profile.
pub fn seccomp_from_text(text: &str, name: &str) -> Result<SeccompProfile, SeccompError> {
    Document::parse(text, name)?.profile(name)
}

/// What a file says, with the places of its rules.
struct Document {
    name: Option<String>,
    base: BaseProfile,
    rules: Vec<SyscallRule>,
    places: Vec<Position>,
}

/// What is wrong, and where.
type Problem = (Position, String);

impl Document {
    fn parse(text: &str, name: &str) -> Result<Self, SeccompError> {
        let parsed = yaml::parse(text)
            .map_err(|error| (error.at, error.problem))
            .and_then(|tree| Self::of(&tree));
        parsed.map_err(|(at, problem)| SeccompError::Text {
            name: name.to_owned(),
            line: at.line,
            column: at.column,
            problem,
        })
    }

    fn of(tree: &Node) -> Result<Self, Problem> {
        check_keys(tree, &KEYS)?;
        let field = |key: &str| tree.fields().iter().find(|field| field.key == key);
        if let Some(description) = field("description") {
            text(&description.node)?;
        }
        let name = field("name").map(|it| text(&it.node)).transpose()?;
        let Some(base) = field("base") else {
            let problem = "`base` is missing: walls, permissive, default or strict";
            return Err((tree.at, problem.to_owned()));
        };
        let base = choose(&base.node, &BaseProfile::NAMED)?;
        let mut document = Self {
            name,
            base,
            rules: Vec::new(),
            places: Vec::new(),
        };
        for node in list(field("allow"))? {
            let call = text(node)?;
            document.add(node.at, call, SyscallEffect::Allow);
        }
        for node in list(field("refuse"))? {
            let (call, effect) = refusal(node)?;
            document.add(node.at, call, effect);
        }
        Ok(document)
    }

    fn add(&mut self, at: Position, call: String, effect: SyscallEffect) {
        self.rules.push(SyscallRule { call, effect });
        self.places.push(at);
    }

    /// Returns whether it may allow what the default profile does not.
    fn loosens(&self) -> bool {
        let allows = |rule: &SyscallRule| rule.effect == SyscallEffect::Allow;
        self.base < BaseProfile::Default || self.rules.iter().any(allows)
    }

    fn profile(self, file: &str) -> Result<SeccompProfile, SeccompError> {
        let name = self.name.unwrap_or_else(|| file.to_owned());
        SeccompProfile::refine(name, self.base, &self.rules).map_err(|source| {
            let place = source.rule().and_then(|rule| self.places.get(rule));
            let at = place.copied().unwrap_or(Position { line: 1, column: 1 });
            SeccompError::Profile {
                name: file.to_owned(),
                line: at.line,
                column: at.column,
                source,
            }
        })
    }
}

pub(super) fn check_keys(node: &Node, known: &[&str]) -> Result<(), Problem> {
    if !matches!(node.kind, Kind::Map(_)) {
        let problem = format!("expected a section, found {}", node.in_words());
        return Err((node.at, problem));
    }
    let unknown = |field: &&Field| !known.contains(&field.key.as_str());
    match node.fields().iter().find(unknown) {
        None => Ok(()),
        Some(field) => {
            let hint = match nearest(&field.key, known.iter().copied()) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("known here are {}", known.join(", ")),
            };
            let key = field.key.escape_debug();
            Err((field.at, format!("unknown key `{key}`; {hint}")))
        }
    }
}

pub(super) fn text(node: &Node) -> Result<String, Problem> {
    match &node.kind {
        Kind::Text(text) => Ok(text.clone()),
        Kind::Null
        | Kind::Bool(_)
        | Kind::Integer(_)
        | Kind::Float(_)
        | Kind::List(_)
        | Kind::Map(_) => Err((
            node.at,
            format!("expected a text, found {}", node.in_words()),
        )),
    }
}

fn list(field: Option<&Field>) -> Result<&[Node], Problem> {
    let Some(field) = field else { return Ok(&[]) };
    match &field.node.kind {
        Kind::List(items) => Ok(items),
        Kind::Null => Ok(&[]),
        Kind::Bool(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Text(_) | Kind::Map(_) => {
            let found = field.node.in_words();
            Err((
                field.node.at,
                format!("expected a list of system calls, found {found}"),
            ))
        }
    }
}

pub(super) fn choose<T: Copy>(node: &Node, named: &[(&str, T)]) -> Result<T, Problem> {
    let given = text(node)?;
    let found = named.iter().find(|(name, _)| *name == given);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        let given = given.escape_debug();
        (
            node.at,
            format!("unknown `{given}`; known here are {}", names.join(", ")),
        )
    })
}

/// A name alone, or a section with how and when.
fn refusal(node: &Node) -> Result<(String, SyscallEffect), Problem> {
    if let Kind::Text(call) = &node.kind {
        let effect = SyscallEffect::Refuse(RefusedWith::NotPermitted, None);
        return Ok((call.clone(), effect));
    }
    check_keys(node, &RULE_KEYS)?;
    let field = |key: &str| {
        let mut fields = node.fields().iter();
        fields.find(|field| field.key == key).map(|it| &it.node)
    };
    let Some(call) = field("call") else {
        return Err((
            node.at,
            "`call` is missing: the name of a system call".to_owned(),
        ));
    };
    let with = field("with").map(|it| choose(it, &RefusedWith::NAMED));
    let with = with.transpose()?.unwrap_or(RefusedWith::NotPermitted);
    let tests = [
        field("equals").map(|it| Ok(ArgumentTest::Equals(Cow::Owned(numbers(it)?)))),
        field("unless").map(|it| Ok(ArgumentTest::Unless(Cow::Owned(numbers(it)?)))),
        field("any_bit").map(|it| Ok(ArgumentTest::AnyBit(number(it)?))),
    ];
    let mut tests = tests.into_iter().flatten();
    let condition = match (field("argument"), tests.next(), tests.next()) {
        (None, None, _) => None,
        (Some(argument), Some(test), None) => Some(Condition {
            argument: u8::try_from(number(argument)?).unwrap_or(u8::MAX),
            test: test?,
        }),
        _ => {
            let problem = "a condition is `argument` with one of `equals`, `unless` and `any_bit`";
            return Err((node.at, problem.to_owned()));
        }
    };
    Ok((text(call)?, SyscallEffect::Refuse(with, condition)))
}

fn number(node: &Node) -> Result<u64, Problem> {
    let number = match node.kind {
        Kind::Integer(number) => u64::try_from(number).ok(),
        Kind::Null
        | Kind::Bool(_)
        | Kind::Float(_)
        | Kind::Text(_)
        | Kind::List(_)
        | Kind::Map(_) => None,
    };
    let problem = || format!("expected a number of at least 0, found {}", node.in_words());
    number.ok_or_else(|| (node.at, problem()))
}

fn numbers(node: &Node) -> Result<Vec<u64>, Problem> {
    match &node.kind {
        Kind::List(items) => items.iter().map(number).collect(),
        Kind::Null
        | Kind::Bool(_)
        | Kind::Integer(_)
        | Kind::Float(_)
        | Kind::Text(_)
        | Kind::Map(_) => Ok(vec![number(node)?]),
    }
}

#[cfg(test)]
mod tests;
