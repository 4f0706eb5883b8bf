//! Which old versions are removed: all but the newest of each key, those that were replaced a short time ago, and what
//! a pin needs.
//!
//! Versions that follow each other and are removed leave one row, the *gap*, at the place of the last
//! of them. So the rows of a key stay a chain, a removed version is told from a lost one, and a reader
//! who asks for it is told that it is no longer kept.

use std::time::Duration;

use redb::ReadableTable as _;

use super::{
    envelope::{self, Facts, Form, Head, Kind},
    error::Trouble,
    tables::{Tables, Writing},
};

/// What is kept of the versions of a key, besides the newest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// At most so many.
    pub(crate) versions: u64,
    /// Those that were replaced no longer ago than this.
    pub(crate) age: Option<Duration>,
}

/// Removes the versions of a key that are not kept after `newest` was added.
pub(super) fn prune(
    tables: &mut Tables<Writing<'_>>,
    id: (&str, &str),
    newest: Facts,
    kept: Kept,
) -> Result<(), Trouble> {
    // At least one, whatever was asked for.
    let by_count = newest.number.saturating_sub(kept.versions.max(1));
    let aged = kept.age.map(|age| replaced_before(tables, id, newest, age));
    let old = by_count.max(aged.transpose()?.unwrap_or(0));
    if old == 0 {
        return Ok(());
    }
    let rows = oldest_rows(tables, id, old)?;
    let pins = tables.all_pins()?;
    let needed = |row: &Head, next: &Head| {
        let held = row.sequence..next.begins();
        row.facts.kind != Kind::Gap && pins.iter().any(|pin| held.contains(&pin.sequence))
    };
    let mut run: Vec<&Head> = Vec::new();
    for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
        if row.facts.number > old {
            break;
        }
        if needed(row, next) {
            replace(tables, id, &run)?;
            run.clear();
        } else {
            run.push(row);
        }
    }
    replace(tables, id, &run)
}

/// Returns the number of the last version that was replaced longer ago than `age` when `newest` was made; 0 if there
/// is none.
fn replaced_before(
    tables: &Tables<Writing<'_>>,
    id: (&str, &str),
    newest: Facts,
    age: Duration,
) -> Result<u64, Trouble> {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let since = newest.at.saturating_sub(age);
    let mut replaced = 0;
    let mut before = None;
    let found = tables
        .versions
        .range((id.0, id.1, 0)..=(id.0, id.1, u64::MAX))?;
    for entry in found {
        let (found, bytes) = entry?;
        let row = envelope::read_head(tables.place(id, found.value().2), bytes.value())?;
        // Gaps have no time, and what is in them is gone already.
        if row.facts.kind != Kind::Gap {
            if row.facts.at >= since {
                break;
            }
            replaced = before.unwrap_or(0);
        }
        before = Some(row.facts.number);
    }
    Ok(replaced)
}

/// Returns the rows of a key up to the version `old`, and the one after it.
fn oldest_rows(
    tables: &Tables<Writing<'_>>,
    id: (&str, &str),
    old: u64,
) -> Result<Vec<Head>, Trouble> {
    let mut rows = Vec::new();
    let found = tables
        .versions
        .range((id.0, id.1, 0)..=(id.0, id.1, u64::MAX))?;
    for entry in found {
        let (found, bytes) = entry?;
        let row = envelope::read_head(tables.place(id, found.value().2), bytes.value())?;
        let is_last = row.facts.number > old;
        rows.push(row);
        if is_last {
            break;
        }
    }
    Ok(rows)
}

/// Puts one gap in the place of these rows, which follow each other.
fn replace(
    tables: &mut Tables<Writing<'_>>,
    id: (&str, &str),
    run: &[&Head],
) -> Result<(), Trouble> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return Ok(());
    };
    if run.len() == 1 && first.facts.kind == Kind::Gap {
        return Ok(());
    }
    for row in run {
        tables.versions.remove((id.0, id.1, row.sequence))?;
        if row.facts.form.apart {
            let part = |number| (id.0, id.1, row.sequence, number);
            let parts = part(0)..=part(u32::MAX);
            tables.values.retain_in(parts, |_, _| false)?;
        }
    }
    let gone = run.iter().map(|row| match row.facts.kind {
        Kind::Value | Kind::Deletion => 1,
        Kind::Gap => row.facts.size,
    });
    let facts = Facts {
        kind: Kind::Gap,
        form: Form::default(),
        number: last.facts.number,
        previous: first.facts.previous,
        at: 0,
        origin: first.begins(),
        size: gone.sum(),
    };
    let (row, _) = envelope::write(tables.place(id, last.sequence), facts, &[]);
    tables
        .versions
        .insert((id.0, id.1, last.sequence), row.as_slice())?;
    Ok(())
}
