//! Operation documents: requests written as JSON or YAML.
//!
//! ```json
//! {"type": "command", "command": "echo hi > output.txt", "files": ["output.txt"], "timeout": "30s"}
//! ```
//!
//! A document comes from an agent as often as from a person, so nothing in it is ignored: an unknown
//! field, a wrong type and a value that cannot be meant are errors that name the field.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::{
    AllowList, Bytes, ConfigError, HostPattern, LimitsRequest, NetworkAccess, OnFailure, Operation,
    config::{check_number, check_wall_time},
};

mod fields;
#[cfg(test)]
mod tests;

use fields::Fields;

/// The types that this version runs; all mean the same.
const TYPES: [&str; 3] = ["command", "file_operation", "shell"];
const ACTION_FIELDS: [&str; 2] = ["command", "args"];
const FIELDS: [&str; 12] = [
    "type",
    "id",
    "command",
    "args",
    "cwd",
    "env",
    "files",
    "stdin",
    "timeout",
    "limits",
    "network",
    "on_failure",
];
const LIMIT_FIELDS: [&str; 4] = ["memory_mb", "cpu_percent", "processes", "disk_mb"];
const NETWORK_FIELDS: [&str; 2] = ["mode", "allow_hosts"];
static NETWORK_MODES: [(&str, NetworkAccess); 3] = [
    ("none", NetworkAccess::None),
    ("allow", NetworkAccess::Allow(AllowList::nothing())),
    ("host", NetworkAccess::Host),
];
const ON_FAILURE: [(&str, OnFailure); 3] = [
    ("keep", OnFailure::Keep),
    ("discard", OnFailure::Discard),
    ("review", OnFailure::Review),
];

/// The document does not describe an operation that this version can run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The text is not JSON; the source has line and column.
    #[error("cannot read the operation document as JSON")]
    Json(#[source] serde_json::Error),
    /// A field that no operation has.
    #[error("cannot accept the unknown field `{field}`{}", did_you_mean(nearest.as_deref()))]
    UnknownField {
        /// The field with its path, as in `limits.memroy_mb`.
        field: String,
        /// The field that was probably meant.
        nearest: Option<String>,
    },
    /// A field of the wrong type. The document itself is the field `.`.
    #[error("cannot read `{field}`: expected {expected}, found {found}")]
    WrongType {
        /// The field with its path.
        field: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A field that every operation has is not there.
    #[error("cannot read an operation without the field `{field}`")]
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// A type that this version does not run.
    #[error(
        "cannot run an operation of type `{given}`, as this version runs {}{}",
        in_words(&TYPES),
        did_you_mean(nearest.as_deref())
    )]
    UnsupportedType {
        /// The type that the document has.
        given: String,
        /// The type that was probably meant.
        nearest: Option<String>,
    },
    /// Both `command` and `args`, or neither.
    #[error(
        "cannot tell what to run: an operation has either `command` (shell text) or `args` (a program and its arguments), and here is {found}"
    )]
    NotOneAction {
        /// What the document has.
        found: &'static str,
    },
    /// A value that cannot be meant.
    #[error("cannot use {value} for `{field}`: {reason}")]
    Value {
        /// The field with its path.
        field: String,
        /// What was given, in quotes if it is text.
        value: String,
        /// Why not, and what can be used.
        reason: String,
    },
}

impl OperationError {
    /// Returns the path of the field that is wrong, if it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Json(_) | Self::NotOneAction { .. } => None,
            Self::UnknownField { field, .. }
            | Self::WrongType { field, .. }
            | Self::Value { field, .. } => Some(field),
            Self::MissingField { field } => Some(field),
            Self::UnsupportedType { .. } => Some("type"),
        }
    }
}

impl Operation {
    /// Reads an operation document written as JSON.
    ///
    /// # Errors
    ///
    /// Fails when `text` is not JSON, and as [`from_document`](Self::from_document).
    pub fn from_json(text: &str) -> Result<Self, OperationError> {
        let document = serde_json::from_str(text).map_err(OperationError::Json)?;
        Self::from_document(document)
    }

    /// Reads an operation document. A field that is `null` counts as absent.
    ///
    /// # Errors
    ///
    /// Fails at an unknown field, a wrong type, a value that cannot be meant, or a type of operation
    /// that this version does not run.
    pub fn from_document(document: Value) -> Result<Self, OperationError> {
        let mut fields = Fields::of(document, "")?;
        let type_name = take_type(&mut fields)?;
        fields.refuse_unknown(&FIELDS)?;
        let mut operation = take_action(&mut fields)?;
        operation.type_name = type_name;
        if let Some(id) = fields.take_text("id")? {
            operation.id = id
                .parse()
                .map_err(|error: crate::IdError| value_error("id", &id, error.to_string()))?;
        }
        operation.cwd = take_cwd(&mut fields)?;
        operation.env = take_env(&mut fields)?;
        operation.files = take_files(&mut fields)?;
        operation.stdin = fields.take_text("stdin")?;
        operation.timeout = take_timeout(&mut fields)?;
        operation.limits = take_limits(&mut fields)?;
        operation.network = take_network(&mut fields)?;
        operation.on_failure = fields
            .take_choice("on_failure", &ON_FAILURE)?
            .unwrap_or_default();
        Ok(operation)
    }
}

fn take_type(fields: &mut Fields) -> Result<String, OperationError> {
    let Some(given) = fields.take_text("type")? else {
        return Err(OperationError::MissingField { field: "type" });
    };
    if TYPES.contains(&given.as_str()) {
        return Ok(given);
    }
    Err(OperationError::UnsupportedType {
        nearest: crate::nearest(&given, TYPES).map(str::to_owned),
        given: shown(&given),
    })
}

fn take_action(fields: &mut Fields) -> Result<Operation, OperationError> {
    let [command, args] = ACTION_FIELDS;
    match (fields.take_text(command)?, fields.take_texts(args)?) {
        (Some(text), None) => {
            refuse_nul(command, &text)?;
            if text.trim().is_empty() {
                return Err(value_error(command, &text, "there is nothing to run"));
            }
            Ok(Operation::shell(text))
        }
        (None, Some(argv)) => {
            for (at, word) in argv.iter().enumerate() {
                refuse_nul(&format!("{args}[{at}]"), word)?;
            }
            if argv.first().is_none_or(String::is_empty) {
                return Err(value_error("args[0]", "", "the program has no name"));
            }
            Ok(Operation::command(argv))
        }
        (Some(_), Some(_)) => Err(OperationError::NotOneAction { found: "both" }),
        (None, None) => Err(OperationError::NotOneAction { found: "neither" }),
    }
}

fn take_cwd(fields: &mut Fields) -> Result<Option<PathBuf>, OperationError> {
    let Some(text) = fields.take_text("cwd")? else {
        return Ok(None);
    };
    refuse_nul("cwd", &text)?;
    let climbs = Path::new(&text)
        .components()
        .any(|part| part == Component::ParentDir);
    if climbs || text.is_empty() {
        let reason = "must be a directory of the workspace, without `..`";
        return Err(value_error("cwd", &text, reason));
    }
    Ok(Some(PathBuf::from(text)))
}

fn take_env(fields: &mut Fields) -> Result<BTreeMap<String, String>, OperationError> {
    let Some(mut variables) = fields.take_section("env")? else {
        return Ok(BTreeMap::new());
    };
    let mut env = BTreeMap::new();
    for name in variables.names() {
        let field = variables.path(&name);
        if name.is_empty() || name.contains('=') {
            let reason =
                "the name of an environment variable has at least one character and no '='";
            return Err(value_error("env", &name, reason));
        }
        refuse_nul(&field, &name)?;
        let Some(value) = variables.take_text(&name)? else {
            return Err(OperationError::WrongType {
                field,
                expected: "text".to_owned(),
                found: "null".to_owned(),
            });
        };
        refuse_nul(&field, &value)?;
        env.insert(name, value);
    }
    Ok(env)
}

fn take_files(fields: &mut Fields) -> Result<Option<Vec<String>>, OperationError> {
    let files = fields.take_texts("files")?;
    for (at, glob) in files.iter().flatten().enumerate() {
        let field = format!("files[{at}]");
        refuse_nul(&field, glob)?;
        if glob.is_empty() {
            let reason = "must be a path or a glob relative to the workspace";
            return Err(value_error(&field, glob, reason));
        }
    }
    Ok(files)
}

fn take_timeout(fields: &mut Fields) -> Result<Option<Duration>, OperationError> {
    fields
        .take_text("timeout")?
        .map(|text| {
            check_wall_time("timeout", &text).map_err(|error| renamed(error, "timeout".to_owned()))
        })
        .transpose()
}

fn take_limits(fields: &mut Fields) -> Result<LimitsRequest, OperationError> {
    let Some(mut limits) = fields.take_section("limits")? else {
        return Ok(LimitsRequest::default());
    };
    limits.refuse_unknown(&LIMIT_FIELDS)?;
    let mut amount = |name: &str| -> Result<Option<u64>, OperationError> {
        let Some(value) = limits.take_number(name)? else {
            return Ok(None);
        };
        check_number(&format!("resource_limits.{name}"), value)
            .map_err(|error| renamed(error, limits.path(name)))?;
        Ok(Some(value.unsigned_abs()))
    };
    let small = |value: Option<u64>| value.map(|it| u32::try_from(it).unwrap_or(u32::MAX));
    Ok(LimitsRequest {
        memory: amount("memory_mb")?.map(Bytes::mib),
        cpu_percent: small(amount("cpu_percent")?),
        processes: small(amount("processes")?),
        disk: amount("disk_mb")?.map(Bytes::mib),
    })
}

/// Reads `"none"`, `"host"`, `{"mode": "host"}` or `{"allow_hosts": ["example.com"]}`.
fn take_network(fields: &mut Fields) -> Result<Option<NetworkAccess>, OperationError> {
    if fields.is_text("network") {
        return match fields.take_choice("network", &NETWORK_MODES)? {
            Some(NetworkAccess::Allow(_)) => Err(lone_allow("network")),
            mode => Ok(mode),
        };
    }
    let Some(mut network) = fields.take_section("network")? else {
        return Ok(None);
    };
    network.refuse_unknown(&NETWORK_FIELDS)?;
    let hosts = network.take_texts("allow_hosts")?;
    let allows = |mode: &NetworkAccess| matches!(mode, NetworkAccess::Allow(_));
    let mode = network.take_choice("mode", &NETWORK_MODES)?;
    let Some(hosts) = hosts else {
        return match mode {
            Some(mode) if allows(&mode) => Err(lone_allow("network.mode")),
            mode => Ok(mode),
        };
    };
    if let Some(mode) = mode.filter(|mode| !allows(mode)) {
        let named = NETWORK_MODES.iter().find(|(_, it)| *it == mode);
        let reason =
            "a list of allowed hosts belongs to the mode `allow`, which needs not be written";
        return Err(value_error(
            "network.mode",
            named.map_or("", |(name, _)| *name),
            reason,
        ));
    }
    for (at, host) in hosts.iter().enumerate() {
        host.parse::<HostPattern>().map_err(|error| {
            value_error(&format!("network.allow_hosts[{at}]"), host, error.reason)
        })?;
    }
    let list = AllowList::parse(&hosts)
        .map_err(|error| value_error("network.allow_hosts", &error.pattern, error.reason))?;
    Ok(Some(NetworkAccess::Allow(list)))
}

fn lone_allow(field: &str) -> OperationError {
    let reason = "it needs a list of hosts, as in {\"allow_hosts\": [\"example.com:443\"]}";
    value_error(field, "allow", reason)
}

fn refuse_nul(field: &str, text: &str) -> Result<(), OperationError> {
    if text.contains('\0') {
        let reason = "must not contain a NUL byte: the kernel ends texts there";
        return Err(value_error(field, text, reason));
    }
    Ok(())
}

fn value_error(field: &str, value: &str, reason: impl Into<String>) -> OperationError {
    OperationError::Value {
        field: field.escape_debug().to_string(),
        value: format!("'{}'", shown(value)),
        reason: reason.into(),
    }
}

fn renamed(error: ConfigError, field: String) -> OperationError {
    OperationError::Value {
        field,
        value: error.value,
        reason: error.reason,
    }
}

/// Returns text from a document as a message shows it: short, on one line, without control bytes.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    short.escape_debug().to_string()
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn in_words(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
