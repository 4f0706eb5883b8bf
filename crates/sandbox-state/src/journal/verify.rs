//! Recomputing the chain from the first record to the last.

use serde::Serialize;

use super::{
    Journal,
    frame::Fault,
    records::{ReadError, Records},
    snapshot::{Rest, Snapshot},
};
use crate::{Hash, hash::hex};

/// What a recomputation of the chain found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Verification {
    /// How many records are whole and in their place, up to the first damage.
    pub records: u64,
    /// Length of all files.
    pub bytes: u64,
    /// The hash of the last of these records, in hexadecimal. Kept elsewhere, it shows later whether
    /// records at the end were removed.
    pub head: Option<String>,
    /// The first damage.
    pub damage: Option<Damage>,
    /// How many bytes at the end belong to an append that was cut off; the next append moves them
    /// aside.
    pub torn_tail: Option<u64>,
    /// How many times an append found a torn or damaged end and moved it aside.
    pub repairs: u64,
}

/// The first record that is not as it was written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Damage {
    /// The number that the record has or should have.
    pub sequence: u64,
    /// The file that it lies in.
    pub file: String,
    /// Where it begins or should begin in that file, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub what: Fault,
}

pub(super) fn verify(journal: &Journal) -> Result<Verification, ReadError> {
    continue_from(Records::new(Snapshot::open(journal)?), 0, None)
}

/// Verifies the records that are left; `known` were verified before, and `head` is the last one's hash.
pub(super) fn continue_from(
    mut records: Records,
    known: u64,
    mut head: Option<Hash>,
) -> Result<Verification, ReadError> {
    let mut found = Verification {
        records: known,
        bytes: records.file_bytes(),
        head: None,
        damage: None,
        torn_tail: None,
        repairs: 0,
    };
    loop {
        let offset = records.offset();
        let damage = match records.check_next() {
            None => break,
            Some(Ok(checked)) => {
                found.records += 1;
                head = Some(checked.hash);
                let Some(repaired) = checked.repaired else {
                    continue;
                };
                found.repairs += 1;
                // Only an end that a crash explains is harmless.
                if repaired.payload["torn"] == true {
                    continue;
                }
                Fault::MovedAside
            }
            Some(Err(ReadError::Damaged { source, .. })) => source,
            Some(Err(error)) => return Err(error),
        };
        let sequence = if damage == Fault::MovedAside {
            found.records
        } else {
            found.records + 1
        };
        let (file, offset) = records.place_in_file(offset);
        found.damage.get_or_insert(Damage {
            sequence,
            file,
            offset,
            what: damage,
        });
    }
    let rest = records.file_bytes() - records.offset();
    if rest > 0 && records.rest()? == Rest::Torn {
        found.torn_tail = Some(rest);
    }
    found.head = head.as_ref().map(|it| hex(it));
    Ok(found)
}
