//! Secrets of the state for one operation: read when it is readied, given to its launch plan, and redacted from all that
//! is written down of it.

use std::{ffi::OsString, fmt, sync::Arc};

use sandbox_isolation::{Confinement, LaunchPlan};
use sandbox_state::{Value, When};
use sandbox_types::{GivenSecret, Operation, SecretPlace};

use crate::{
    launch_plan::PlanError,
    redaction::{Redactor, SECRET_BYTES_MIN},
    sandbox::Sandbox,
};

/// The most bytes of a secret that an operation is given: a variable cannot be much longer.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Writes each file, and becomes the command. The values come as `SANDBOX_SECRET_<number>`, in the notation of `printf
/// %b`; the arguments are the names of the files, `--`, and the command. `printf` is a builtin: no argument has a value.
const STORE_FILES: &str = "SANDBOX_SECRET_N=0\n\
     while [ \"$1\" != -- ]; do\n\
     eval \"SANDBOX_SECRET_V=\\$SANDBOX_SECRET_$SANDBOX_SECRET_N\"; unset \"SANDBOX_SECRET_$SANDBOX_SECRET_N\"\n\
     (umask 077; PATH=/usr/bin:/bin; mkdir -p /run/secrets && \
     printf %b \"$SANDBOX_SECRET_V\" > \"/run/secrets/$1\") 2>/dev/null || \
     { echo 'cannot store a secret in /run/secrets: is tmp_mb too small?' >&2; exit 126; }\n\
     SANDBOX_SECRET_N=$((SANDBOX_SECRET_N + 1)); shift; done\n\
     shift; unset SANDBOX_SECRET_N SANDBOX_SECRET_V; exec \"$@\"";

/// The secrets of one operation, with their values.
#[derive(Default)]
pub(crate) struct GivenSecrets {
    values: Vec<(SecretPlace, Value)>,
    redactor: Option<Arc<Redactor>>,
}

impl fmt::Debug for GivenSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenSecrets")
            .field("count", &self.values.len())
            .finish_non_exhaustive()
    }
}

impl GivenSecrets {
    /// Reads the secrets of an operation. The store is not opened for an operation without any.
    pub(crate) fn read(operation: &Operation, sandbox: &Sandbox) -> Result<Self, PlanError> {
        if operation.secrets.is_empty() {
            return Ok(Self::default());
        }
        check(operation, sandbox)?;
        let mut values = Vec::new();
        for given in &operation.secrets {
            values.push((given.place.clone(), value(given, sandbox)?));
        }
        let secrets: Vec<&[u8]> = values.iter().map(|(_, value)| &**value).collect();
        let redactor = Redactor::of(&secrets).ok_or_else(|| {
            let key = operation.secrets.first().map_or("", |it| it.key.as_str());
            refused(key, "the secrets of one operation are too long together")
        })?;
        Ok(Self {
            values,
            redactor: Some(Arc::new(redactor)),
        })
    }

    /// Returns what redacts them, if there are any.
    pub(crate) fn redactor(&self) -> Option<Arc<Redactor>> {
        self.redactor.clone()
    }

    /// Puts them into the environment of the plan, and before its command what stores those that are files.
    pub(crate) fn give(&self, plan: &mut LaunchPlan) {
        let mut files = Vec::new();
        for (place, value) in &self.values {
            let (name, text) = match place {
                SecretPlace::Variable(name) => (name.clone(), without_line_feed(value).to_vec()),
                SecretPlace::File(name) => {
                    let variable = format!("SANDBOX_SECRET_{}", files.len());
                    files.push(name.clone());
                    (variable, for_printf(value))
                }
            };
            let name = OsString::from(name);
            plan.env.retain(|(it, _)| *it != name);
            plan.env.push((name, os_string(text)));
        }
        if files.is_empty() {
            return;
        }
        let command = std::mem::take(&mut plan.argv);
        plan.argv = ["/bin/sh", "-c", STORE_FILES, "secrets"]
            .map(OsString::from)
            .into();
        plan.argv.extend(files.into_iter().map(OsString::from));
        plan.argv.push("--".into());
        plan.argv.extend(command);
    }
}

fn check(operation: &Operation, sandbox: &Sandbox) -> Result<(), PlanError> {
    for (at, given) in operation.secrets.iter().enumerate() {
        if let Some(reason) = given.unusable_place() {
            return Err(refused(&given.key, reason));
        }
        if operation.secrets[..at]
            .iter()
            .any(|it| it.place == given.place)
        {
            return Err(refused(&given.key, "another secret has the same place"));
        }
        let is_file = matches!(given.place, SecretPlace::File(_));
        if is_file && sandbox.tier == Confinement::LandlockAlone {
            let reason =
                "without namespaces there is no private place for a file; give it in a variable";
            return Err(refused(&given.key, reason));
        }
    }
    Ok(())
}

fn value(given: &GivenSecret, sandbox: &Sandbox) -> Result<Value, PlanError> {
    let key = &given.key;
    let entry = sandbox.state_get(key, &When::Newest);
    let entry = entry.map_err(|source| PlanError::SecretAccess {
        key: key.clone(),
        source: Box::new(source),
    })?;
    let Some(entry) = entry else {
        return Err(PlanError::Secret {
            key: key.to_owned(),
            reason: "there is no such key in the state",
            is_there: false,
        });
    };
    let value = entry.value;
    let length = value.trim_ascii_end().len();
    let reason = match &given.place {
        _ if length < SECRET_BYTES_MIN => {
            "it has less than 4 bytes, which cannot be told from other output"
        }
        SecretPlace::Variable(_) if value.len() > SECRET_BYTES_MAX => "it has more than 64 KiB",
        SecretPlace::Variable(_) if value.contains(&0) => {
            "it has a NUL byte, which no variable can have; give it as a file"
        }
        SecretPlace::File(_) if for_printf(&value).len() > SECRET_BYTES_MAX => {
            "it has more than 64 KiB"
        }
        SecretPlace::Variable(_) | SecretPlace::File(_) => return Ok(value),
    };
    Err(refused(key, reason))
}

fn refused(key: &str, reason: &'static str) -> PlanError {
    PlanError::Secret {
        key: key.to_owned(),
        reason,
        is_there: true,
    }
}

/// Returns a value as `$(…)` of a shell gives it: without the line feed that `echo` has put at its end.
fn without_line_feed(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\n").unwrap_or(value)
}

/// Returns bytes as `printf %b` reads them: text as it is, everything else in octal.
fn for_printf(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'\\' => text.extend_from_slice(b"\\\\"),
            b' '..=b'~' | b'\n' => text.push(*byte),
            other => text.extend_from_slice(format!("\\0{other:03o}").as_bytes()),
        }
    }
    text
}

fn os_string(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}
