//! What can be typed after `snapshot` and `rollback`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use sandbox_types::{Bytes, parse_duration};

use super::EditedArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Take a snapshot of the workspace as it is committed; reads only what changed since the last
    Create(SnapshotCreateArgs),
    /// List the snapshots, oldest first
    List,
    /// Show one snapshot
    Show {
        /// The snapshot: its id, a unique beginning of it, or a tag that no other one has
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Show what changed from one snapshot to another, or to the workspace now
    Diff {
        /// The older snapshot
        #[arg(value_name = "A")]
        from: String,
        /// The newer snapshot [default: the workspace now]
        #[arg(value_name = "B")]
        to: Option<String>,
    },
    /// Bring the workspace back to a snapshot, all of it or nothing; `sandbox undo` takes it back
    Restore(SnapshotRestoreArgs),
    /// Check that everything is there; damage is named with the snapshots and paths it concerns
    Verify {
        /// Read and check every byte
        #[arg(long)]
        read_data: bool,
    },
    /// Make the index again from what is kept, and remove damaged packs once no snapshot lacks anything
    Repair {
        /// Only say what is lost and what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Encrypt the snapshots that are there; those to come are encrypted then too
    ///
    /// With the key in `SANDBOX_HOME/keys/snapshots.key`, which is made if it is not there, or in
    /// `SANDBOX_SNAPSHOT_KEY`, or with the passphrase in `SANDBOX_SNAPSHOT_PASSPHRASE`. Without that key nobody can
    /// read them again: keep a copy of it elsewhere.
    Encrypt,
    /// Give the encrypted snapshots of all sandboxes another key
    ///
    /// The key file is replaced by a new one. With `SANDBOX_SNAPSHOT_KEY_NEW` or `SANDBOX_SNAPSHOT_PASSPHRASE_NEW`,
    /// that is the new key, and yours to be given without `_NEW` from then on. If it is interrupted, run it again:
    /// nothing is lost meanwhile.
    Rekey,
    /// Delete a snapshot; `prune` frees its space
    Delete {
        /// The snapshot: its id, a unique beginning of it, or a tag that no other one has
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Free the space of what no snapshot needs; with a policy, delete first what it does not keep
    Prune(SnapshotPruneArgs),
    /// Write a snapshot, with all that it needs, into one new file
    Export {
        /// The snapshot: its id, a unique beginning of it, or a tag that no other one has
        #[arg(value_name = "ID")]
        id: String,
        /// The file to write, which must not be there yet; `-` writes to standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Take in the snapshot of an exported file, all of it or nothing; it gets a new id
    Import {
        /// The file that `export` wrote; `-` reads standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "The oldest snapshots go when there are more than `max_snapshots` of the configuration; those with a tag stay, and are not counted."
)]
pub(crate) struct SnapshotCreateArgs {
    /// Find it by this word, and never remove it by itself; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// What it is for
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Leave out what matches, as in a .gitignore file at the root of the workspace; after those of
    /// `snapshot_exclude` of the configuration; may be given several times
    #[arg(long = "exclude", value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Leave out files larger than this, as in 500k, 10M, 2G
    #[arg(long, value_name = "SIZE")]
    pub(crate) exclude_larger_than: Option<Bytes>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A snapshot stays if one --keep option says so and it is within --max-age and --max-bytes; the newest and those with a tag always stay. With limits only, all within them stay. Hours, days, weeks (from Monday on), months and years are counted in UTC, and only those that have a snapshot."
)]
pub(crate) struct SnapshotPruneArgs {
    /// Keep the newest N
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_last: usize,
    /// Keep the newest of each of N hours
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_hourly: usize,
    /// Keep the newest of each of N days
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_daily: usize,
    /// Keep the newest of each of N weeks
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_weekly: usize,
    /// Keep the newest of each of N months
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_monthly: usize,
    /// Keep the newest of each of N years
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_yearly: usize,
    /// Keep all that are younger than this, as in 90m, 36h, 30d
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) keep_within: Option<Duration>,
    /// Of those with a tag, let only this one keep a snapshot; may be given several times
    #[arg(long = "keep-tag", value_name = "TAG")]
    pub(crate) keep_tags: Vec<String>,
    /// Delete what is older than this, as in 90m, 36h, 30d, except the newest and those with a tag
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) max_age: Option<Duration>,
    /// Delete the oldest until all together take no more than this, except the newest and those with
    /// a tag
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_bytes: Option<Bytes>,
    /// Only say what would be deleted and freed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotRestoreArgs {
    /// The snapshot: its id, a unique beginning of it, or a tag that no other one has
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Restore only what matches (a glob relative to the workspace; a directory with all in it); may
    /// be given several times
    #[arg(long = "path", value_name = "GLOB")]
    pub(crate) paths: Vec<String>,
    /// Restore to this directory, empty or not there yet, and leave the workspace alone
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// A snapshot (id or tag), or an operation: back to just before it
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// Roll back only what matches (a glob relative to the workspace)
    #[arg(long = "path", value_name = "GLOB")]
    pub(crate) paths: Vec<String>,
    /// Roll all keys of the state back too, secrets included
    #[arg(long)]
    pub(crate) state: bool,
    #[command(flatten)]
    pub(crate) edited: EditedArgs,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Reads a span of time, in days too.
fn age(text: &str) -> Result<Duration, String> {
    let days = text.trim().strip_suffix('d').map(str::parse::<u64>);
    let span = match days {
        Some(Ok(days)) => days.checked_mul(86_400).map(Duration::from_secs),
        Some(Err(_)) | None => parse_duration(text).ok(),
    };
    span.ok_or_else(|| "write a number with d, h, m or s".to_owned())
}
