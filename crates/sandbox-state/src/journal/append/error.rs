//! Why a record was not appended.

use std::{io, path::PathBuf};

use super::super::frame::BODY_BYTES_MAX;
use crate::OpenError;

/// A record was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The payload cannot be written as JSON.
    #[error("cannot write the '{kind}' record as JSON")]
    Serialize {
        /// The kind of the record.
        kind: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The payload is too large.
    #[error(
        "cannot append a '{kind}' record of {bytes} bytes: the largest has {BODY_BYTES_MAX} bytes"
    )]
    TooLarge {
        /// The kind of the record.
        kind: String,
        /// Its size.
        bytes: usize,
    },
    /// The payload is nested too deeply to be read again.
    #[error("cannot append a '{kind}' record that is nested so deeply")]
    TooDeep {
        /// The kind of the record.
        kind: String,
    },
    /// The file was not opened.
    #[error("cannot open the journal {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// The file was not locked.
    #[error("cannot lock the journal {path}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The end of the file was not read.
    #[error("cannot read the end of the journal {path}")]
    Tail {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A newer program wrote the last record.
    #[error("cannot append to the journal {path}: a newer program wrote its last record")]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// A torn end was not moved aside.
    #[error("cannot move the torn end of the journal {path} aside")]
    Repair {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The record was not written.
    #[error("cannot write to the journal {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Storage did not confirm the record.
    #[error("cannot bring the journal {path} to storage")]
    Sync {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
