//! Checks the hash chain of the journal: what was appended since the last look, and once a day all.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use sandbox_monitor::{Health, HealthCheck};
use sandbox_state::Checkpoint;
use sandbox_types::causes;
use serde::{Deserialize, Serialize};

use crate::{home::now, sandbox::Sandbox};

/// The file that says how far the journal was verified.
const FILE: &str = "journal.verified";
/// How long the older part of the journal is trusted.
const WHOLE_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// The journal of a sandbox.
#[derive(Debug)]
pub(super) struct JournalChain(pub(super) Arc<Sandbox>);

#[derive(Debug, Serialize, Deserialize)]
struct Verified {
    /// When the whole journal was verified.
    whole_at: Timestamp,
    checkpoint: Checkpoint,
}

impl HealthCheck for JournalChain {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn check(&self) -> Health {
        let now = now();
        let known = self.known();
        let journal = self.0.journal();
        // Also before all of it is verified: only this shows that records are missing at the end.
        let since = known
            .as_ref()
            .map(|it| journal.verify_since(&it.checkpoint));
        let age = known.as_ref().map(|it| now.duration_since(it.whole_at));
        let is_fresh = age.is_some_and(|age| age >= SignedDuration::ZERO && age < WHOLE_EVERY);
        let found = match since {
            Some(Ok(found)) if is_fresh || found.damage.is_some() => Ok(found),
            Some(Ok(_)) | None => journal.verify(),
            Some(Err(error)) => Err(error),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => return Health::failed(causes(&error).join(": ")),
        };
        if let Some(damage) = &found.damage {
            return Health::failed(format!(
                "record {} at byte {}: {}; `sandbox audit verify` examines all of it",
                damage.sequence, damage.offset, damage.what
            ));
        }
        let (whole_at, detail) = match &known {
            Some(known) if is_fresh => (
                known.whole_at,
                format!(
                    "{} new records of {} are as they were written, all were verified at {}",
                    found.records - known.checkpoint.records,
                    found.records,
                    known.whole_at.round(jiff::Unit::Second).unwrap_or(now)
                ),
            ),
            Some(_) | None => (
                now,
                format!("all {} records are as they were written", found.records),
            ),
        };
        if let Some(checkpoint) = found.checkpoint()
            && known.is_none_or(|it| it.checkpoint != checkpoint || it.whole_at != whole_at)
        {
            // Without the file the next look reads all of it again.
            let _kept = self.keep(&Verified {
                whole_at,
                checkpoint,
            });
        }
        Health::healthy(detail)
    }
}

impl JournalChain {
    fn known(&self) -> Option<Verified> {
        serde_json::from_slice(&fs::read(self.path()).ok()?).ok()
    }

    /// Not synced: after a power cut it may be missing or empty, and the whole journal is read.
    fn keep(&self, verified: &Verified) -> io::Result<()> {
        let path = self.path();
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let mut options = fs::File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(&new)?
            .write_all(&serde_json::to_vec(verified)?)?;
        fs::rename(&new, &path)
    }

    fn path(&self) -> PathBuf {
        self.0.directory().join(FILE)
    }
}
