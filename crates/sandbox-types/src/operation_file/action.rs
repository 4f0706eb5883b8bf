//! The fields that differ from type to type: what an operation does.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{OperationError, fields::Fields, in_words, refuse_nul, value_error};
use crate::{
    Action, FileWork, Operation, Script,
    action::{MODE_MAX, unusable_path},
};

const COMMAND: &[&str] = &["command", "args", "cwd", "stdin"];

/// Reads the fields of one type.
type Read = fn(&mut Fields) -> Result<Operation, OperationError>;

/// The built-in types, with the fields that each has besides those that all have.
pub(super) const TYPES: [(&str, &[&str], Read); 7] = [
    ("command", COMMAND, command),
    ("file_operation", COMMAND, command),
    ("shell", COMMAND, command),
    ("script", &["interpreter", "source", "cwd", "stdin"], script),
    (
        "file_write",
        &["path", "content", "content_base64", "mode"],
        file_write,
    ),
    ("file_delete", &["path", "recursive"], file_delete),
    ("file_move", &["from", "to"], file_move),
];

fn command(fields: &mut Fields) -> Result<Operation, OperationError> {
    match (fields.take_text("command")?, fields.take_texts("args")?) {
        (Some(text), None) => {
            refuse_nul("command", &text)?;
            if text.trim().is_empty() {
                return Err(value_error("command", &text, "there is nothing to run"));
            }
            Ok(Operation::shell(text))
        }
        (None, Some(argv)) => {
            program("args", &argv)?;
            Ok(Operation::command(argv))
        }
        (Some(_), Some(_)) => Err(OperationError::NotOneAction { found: "both" }),
        (None, None) => Err(OperationError::NotOneAction { found: "neither" }),
    }
}

/// Checks a program and its arguments.
fn program(field: &str, argv: &[String]) -> Result<(), OperationError> {
    for (at, word) in argv.iter().enumerate() {
        refuse_nul(&format!("{field}[{at}]"), word)?;
    }
    if argv.first().is_none_or(String::is_empty) {
        let first = format!("{field}[0]");
        return Err(value_error(&first, "", "the program has no name"));
    }
    Ok(())
}

/// The interpreter is one word, or a list with its options.
fn script(fields: &mut Fields) -> Result<Operation, OperationError> {
    let interpreter = if fields.is_text("interpreter") {
        fields.take_text("interpreter")?.map(|it| vec![it])
    } else {
        fields.take_texts("interpreter")?
    };
    let interpreter = interpreter.ok_or(OperationError::MissingField {
        field: "interpreter",
    })?;
    program("interpreter", &interpreter)?;
    let source = required(fields, "source")?;
    if source.trim().is_empty() {
        return Err(value_error("source", &source, "there is nothing to run"));
    }
    Ok(Operation::of(Action::Script(Script {
        interpreter,
        source,
    })))
}

fn file_write(fields: &mut Fields) -> Result<Operation, OperationError> {
    let path = path(fields, "path")?;
    let content = match (
        fields.take_text("content")?,
        fields.take_text("content_base64")?,
    ) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => {
            let lines = text.split_ascii_whitespace().collect::<String>();
            BASE64_STANDARD.decode(lines).map_err(|_no_base64| {
                let reason = "must be base64 (RFC 4648), as `base64 FILE` prints it";
                value_error("content_base64", &text, reason)
            })?
        }
        (Some(_), Some(_)) => return Err(OperationError::NotOneContent { found: "both" }),
        (None, None) => return Err(OperationError::NotOneContent { found: "neither" }),
    };
    let mode = fields.take_text("mode")?;
    let mode = mode.map(|text| mode_bits(&text)).transpose()?;
    Ok(Operation::of(Action::File(FileWork::Write {
        path,
        content,
        mode,
    })))
}

/// Reads permission bits as `chmod` does: octal digits.
fn mode_bits(text: &str) -> Result<u32, OperationError> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|it| (b'0'..=b'7').contains(&it));
    let bits = u32::from_str_radix(text, 8).ok().filter(|_| octal);
    let Some(bits) = bits else {
        let reason = "must be three or four octal digits, as in \"0644\"";
        return Err(value_error("mode", text, reason));
    };
    if bits > MODE_MAX {
        let reason = "must not have a set-user-id, set-group-id or sticky bit";
        return Err(value_error("mode", text, reason));
    }
    Ok(bits)
}

fn file_delete(fields: &mut Fields) -> Result<Operation, OperationError> {
    Ok(Operation::of(Action::File(FileWork::Delete {
        path: path(fields, "path")?,
        recursive: fields.take_flag("recursive")?.unwrap_or(false),
    })))
}

fn file_move(fields: &mut Fields) -> Result<Operation, OperationError> {
    Ok(Operation::of(Action::File(FileWork::Move {
        from: path(fields, "from")?,
        to: path(fields, "to")?,
    })))
}

fn path(fields: &mut Fields, name: &'static str) -> Result<String, OperationError> {
    let path = required(fields, name)?;
    match unusable_path(&path) {
        Some(reason) => Err(value_error(name, &path, format!("it {reason}"))),
        None => Ok(path),
    }
}

fn required(fields: &mut Fields, field: &'static str) -> Result<String, OperationError> {
    let text = fields.take_text(field)?;
    text.ok_or(OperationError::MissingField { field })
}

/// Returns the names of all types, as a message lists them.
pub(super) fn type_names(foreign: &[super::ForeignType<'_>]) -> String {
    let built_in = TYPES.iter().map(|(name, ..)| *name);
    let names: Vec<&str> = built_in.chain(foreign.iter().map(|it| it.name)).collect();
    in_words(&names)
}
