//! The record of a snapshot: what it is of, when, why, and the root of its tree.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    exclude::Excludes,
    node::{Hash, Node},
};
use crate::raw;

/// The version of the record's form.
const VERSION: u32 = 1;

/// The longest message and the longest tag.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;
pub(super) const TAG_BYTES_MAX: usize = 256;

/// The name of a snapshot: the SHA-256 of its record, in hexadecimal.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(pub(crate) Hash);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is no id of a snapshot.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{text}' is not the id of a snapshot: 64 hexadecimal digits")]
pub struct SnapshotIdError {
    /// What was given, shortened.
    pub text: String,
}

impl FromStr for SnapshotId {
    type Err = SnapshotIdError;

    fn from_str(text: &str) -> Result<Self, SnapshotIdError> {
        raw::unhex(text)
            .and_then(|bytes| bytes.try_into().ok())
            .map(|bytes| Self(Hash(bytes)))
            .ok_or_else(|| SnapshotIdError {
                text: text.chars().take(80).collect(),
            })
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = SnapshotIdError;

    fn try_from(text: String) -> Result<Self, SnapshotIdError> {
        text.parse()
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.to_string()
    }
}

/// One state of the workspace.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// Counts the snapshots of the repository; the newest has the highest.
    pub number: u64,
    /// The newest one when it was taken.
    pub parent: Option<SnapshotId>,
    /// When it was taken.
    pub created_at: Timestamp,
    /// Words to find it by. A snapshot with a tag is pinned: retention does not remove it.
    pub tags: Vec<String>,
    /// What it is for.
    pub message: Option<String>,
    /// What its taker pinned with it: the sequence number of the sandbox's state.
    pub state_sequence: Option<u64>,
    /// Everything in it that is no directory.
    pub files: u64,
    /// Directories, without the workspace itself.
    pub dirs: u64,
    /// The sizes of its regular files together.
    pub bytes: u64,
    /// How much of that no older snapshot had.
    pub new_bytes: u64,
    /// What it added to the repository, before its own record.
    pub stored_bytes: u64,
    /// What is in the workspace and not in it; see [`super::Omission`].
    pub omitted: u64,
    /// Files that changed each time while they were read.
    pub torn: u64,
    /// What was left out on purpose.
    #[serde(skip_serializing_if = "Excludes::is_empty")]
    pub excludes: Excludes,
    #[serde(skip)]
    pub(crate) root: Node,
    /// When it was taken in, if it was: `created_at` is what its file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported_at: Option<Timestamp>,
    /// In an encrypted repository: random, so that its name says nothing of its content.
    #[serde(skip)]
    pub(crate) random: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    number: u64,
    parent: Option<SnapshotId>,
    created_at: Timestamp,
    tags: Vec<String>,
    message: Option<String>,
    state_sequence: Option<u64>,
    files: u64,
    dirs: u64,
    bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    omitted: u64,
    torn: u64,
    #[serde(default, skip_serializing_if = "Excludes::is_empty")]
    excludes: Excludes,
    root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    imported_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    random: Option<String>,
}

impl Snapshot {
    /// Returns the time that counts among the others: one from elsewhere is not younger than its
    /// arrival.
    pub fn counted_at(&self) -> Timestamp {
        let arrived = self.imported_at.unwrap_or(self.created_at);
        self.created_at.min(arrived)
    }

    /// Returns the bytes of its record. Its id is not among them: it is made of them.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let document = Document {
            version: VERSION,
            number: self.number,
            parent: self.parent,
            created_at: self.created_at,
            tags: self.tags.clone(),
            message: self.message.clone(),
            state_sequence: self.state_sequence,
            files: self.files,
            dirs: self.dirs,
            bytes: self.bytes,
            new_bytes: self.new_bytes,
            stored_bytes: self.stored_bytes,
            omitted: self.omitted,
            torn: self.torn,
            excludes: self.excludes.clone(),
            root: raw::hex(&self.root.encoded()),
            imported_at: self.imported_at,
            random: self.random.clone(),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// Reads a record; `None` if it is not one of ours.
    pub(super) fn decoded(bytes: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(bytes).ok()?;
        if document.version != VERSION {
            return None;
        }
        let root = Node::decoded(&raw::unhex(&document.root)?)?;
        root.is_dir().then_some(Self {
            id: SnapshotId(Hash::of(bytes)),
            number: document.number,
            parent: document.parent,
            created_at: document.created_at,
            tags: document.tags,
            message: document.message,
            state_sequence: document.state_sequence,
            files: document.files,
            dirs: document.dirs,
            bytes: document.bytes,
            new_bytes: document.new_bytes,
            stored_bytes: document.stored_bytes,
            omitted: document.omitted,
            torn: document.torn,
            excludes: document.excludes,
            root,
            imported_at: document.imported_at,
            random: document.random,
        })
    }
}
