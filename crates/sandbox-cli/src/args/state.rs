//! What can be typed after `sandbox state`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Store a value, as a new version of its key
    Set(StateSetArgs),
    /// Print a value as it is
    Get(StateGetArgs),
    /// List the keys that are there
    List {
        /// Only keys that begin with this
        #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
        prefix: String,
    },
    /// List the versions of a key, oldest first, without their values
    History {
        /// The key
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Delete a key; its versions stay, and `state rollback` brings it back
    Delete {
        /// The key
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Make an old version the newest one again, as a new version
    #[command(
        override_usage = "sandbox state rollback [OPTIONS] KEY --version N\n       sandbox state rollback [OPTIONS] [PREFIX] --sequence N"
    )]
    Rollback(StateRollbackArgs),
    /// Make several changes in one commit: all of them, or none
    Apply {
        /// A JSON list, as in `[{"set": "a", "text": "1", "if_version": 2}, {"delete": "b"}]`; a value is `text` or
        /// `base64`, and may be `secret` (- is standard input)
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List the keys that differ between two snapshots or times, or one and now
    Diff {
        /// A snapshot, or a time as 2026-11-22T20:00:00Z
        #[arg(value_name = "BEFORE")]
        before: String,
        /// Another one [default: now]
        #[arg(value_name = "AFTER")]
        after: Option<String>,
    },
    /// Print each change as it happens, whoever makes it
    Watch(StateWatchArgs),
    /// Seal all secrets of all sandboxes with a new key; others read and write meanwhile
    ///
    /// The key file is replaced by a new one. With `SANDBOX_STATE_KEY_NEW` or `SANDBOX_STATE_PASSPHRASE_NEW`, that is
    /// the new key, and yours to be given as `SANDBOX_STATE_KEY` or `SANDBOX_STATE_PASSPHRASE` from then on. If it is
    /// interrupted, run it again: nothing is lost meanwhile.
    Rekey,
    /// Go on with the store as it is, after it was lost, damaged, or replaced by an older copy
    Recover,
}

#[derive(Debug, Args)]
pub(crate) struct StateWatchArgs {
    /// Only keys that begin with this
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Begin after the event of this number (0: with the first change), as `sandbox events` shows it
    #[arg(long, value_name = "N")]
    pub(crate) since: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct StateRollbackArgs {
    /// The key; with --sequence all keys that begin with this, or all
    #[arg(value_name = "KEY", default_value = "", hide_default_value = true)]
    pub(crate) key: String,
    /// The number of the version, as `state history` shows it
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "sequence",
        requires = "key"
    )]
    pub(crate) version: Option<u64>,
    /// Bring the keys to where they were after this change of the state, in one commit; those that were not there are
    /// deleted
    #[arg(long, value_name = "N", conflicts_with = "version")]
    pub(crate) sequence: Option<u64>,
}

/// Stores a value of up to 64 MiB
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true),
    override_usage = "sandbox state set [OPTIONS] KEY VALUE\n       sandbox state set [OPTIONS] KEY - | --file FILE"
)]
pub(crate) struct StateSetArgs {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// The value; - reads it from standard input, as it is
    #[arg(value_name = "VALUE", group = "what", allow_hyphen_values = true)]
    pub(crate) value: Option<std::ffi::OsString>,
    /// Read the value from FILE (- is standard input)
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) file: Option<PathBuf>,
    /// Seal the value: it is encrypted on disk, and only `state get` shows it
    #[arg(long)]
    pub(crate) secret: bool,
    /// Only if N is the version now (0: only if there is no value)
    #[arg(long, value_name = "N")]
    pub(crate) if_version: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct StateGetArgs {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// The value of this version, as `state history` shows it
    #[arg(long, value_name = "N", conflicts_with_all = ["at", "time", "sequence"])]
    pub(crate) version: Option<u64>,
    /// The value that the key had after this change of the state, as `state history --json` numbers them
    #[arg(long, value_name = "N", conflicts_with_all = ["at", "time"])]
    pub(crate) sequence: Option<u64>,
    /// The value that the key had when this snapshot was taken: its id, a unique beginning of it, or its tag
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "time")]
    pub(crate) at: Option<String>,
    /// The value that the key had at this time, as 2026-11-22T20:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<jiff::Timestamp>,
}
