//! Which operations run now, without reading more of the journal than what is new.
//!
//! The file `running.json` beside the journal says up to which record it was read, and which operations ran then. It
//! only saves time: where it is missing, or names a record that is not in the journal, the records are read.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use sandbox_state::{Brief, ReadError};
use serde::{Deserialize, Serialize};

use crate::{
    ledger, private,
    process_mark::ProcessMark,
    record_subject::Subject,
    sandbox::Sandbox,
    suspend::{RunningNow, SEARCHED_RECORDS_MAX},
};

/// The name of the file.
const FILE: &str = "running.json";
/// The version of the file.
const FORMAT: u32 = 1;
/// The file is written anew when so many records are new.
const NEW_RECORDS_MAX: usize = 256;

/// What ran when a record was the newest one.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    format: u32,
    sequence: u64,
    hash: [u8; 32],
    running: Vec<RunningNow>,
}

/// What is asked of a record: of one about an operation that starts or ends, which that is.
#[derive(Debug, Deserialize)]
struct About {
    operation: Option<Subject>,
    process: Option<ProcessMark>,
}

impl Known {
    fn is_of(&self, record: &Brief<About>) -> bool {
        (self.sequence, self.hash) == (record.sequence, record.hash)
    }
}

impl Sandbox {
    /// Returns the operations of the journal whose processes live, oldest first.
    pub(crate) fn running_by_journal(&self) -> Result<Vec<RunningNow>, ReadError> {
        let mut known = self.known_running();
        let mut ended = BTreeSet::new();
        let mut running = Vec::new();
        let mut newest = None;
        let mut read = 0;
        let mut records = self.journal().records_newest_first()?;
        while let Some(record) = records.next_brief::<About>() {
            let record = record?;
            newest.get_or_insert((record.sequence, record.hash));
            if let Some(known) = known.take_if(|known| known.is_of(&record)) {
                let earlier = known.running.into_iter().rev();
                running.extend(earlier.filter(|it| !ended.contains(&it.id)));
                break;
            }
            read += 1;
            if read > SEARCHED_RECORDS_MAX {
                break;
            }
            match record.kind.as_str() {
                ledger::STARTED => {
                    running.extend(started(record).filter(|it| !ended.contains(&it.id)));
                }
                ledger::FINISHED => {
                    let operation = record.payload.and_then(|it| it.operation);
                    ended.extend(operation.map(Subject::id));
                }
                _ => {}
            }
        }
        running.retain(|it| it.process.is_alive());
        running.reverse();
        for it in &mut running {
            it.detached = self.keeps_output(&it.id);
        }
        if let Some((sequence, hash)) = newest.filter(|_| read > NEW_RECORDS_MAX) {
            let known = Known {
                format: FORMAT,
                sequence,
                hash,
                running: running.clone(),
            };
            // Who may only read reads all again the next time.
            drop(self.remember_running(&known));
        }
        Ok(running)
    }

    /// One that cannot be read is none.
    fn known_running(&self) -> Option<Known> {
        let known: Known = serde_json::from_slice(&fs::read(self.running_file()).ok()?).ok()?;
        (known.format == FORMAT).then_some(known)
    }

    fn remember_running(&self, known: &Known) -> io::Result<()> {
        private::replace_soon(&self.running_file(), &serde_json::to_string(known)?)
    }

    fn running_file(&self) -> PathBuf {
        self.directory().join(FILE)
    }
}

/// Returns the operation that a record begins, if its process lives.
fn started(record: Brief<About>) -> Option<RunningNow> {
    let about = record.payload?;
    let process = about.process.filter(|it| it.is_alive())?;
    match about.operation? {
        Subject::Whole(operation) => Some(RunningNow {
            id: operation.id,
            since: record.at,
            process,
            argv: operation.argv,
            detached: false,
        }),
        Subject::Id(_) => None,
    }
}
