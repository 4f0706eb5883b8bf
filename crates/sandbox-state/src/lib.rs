//! The state of one sandbox: a tamper-evident journal and a versioned store.
//!
//! The [`Journal`] is an append-only file of framed, hash-chained records; any process appends to it
//! in microseconds, and nothing on the hot path opens a database. The [`Store`] is a versioned
//! key-value store over redb, opened late and held briefly. [`StateManager`] is the front door.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! use sandbox_state::{Put, Secrecy, StateManager, When};
//!
//! // The directory is the caller's, and nobody else's: mode 0700.
//! let state = StateManager::open(home.path());
//! let at = "2026-11-22T20:00:00Z".parse()?;
//! state.journal().append("operation", at, &"cargo test")?;
//! for record in state.journal().records_newest_first()? {
//!     let record = record?;
//!     println!("{} {} {}", record.sequence, record.kind, record.payload);
//! }
//!
//! let put = Put { at, secrecy: Secrecy::Open, expected: None };
//! let first = state.set("state", "greeting", b"hello", put)?;
//! state.delete("state", "greeting", at)?;
//! let then = state.get("state", "greeting", &When::Sequence(first.sequence))?;
//! assert_eq!(&*then.expect("it was there then").value, b"hello");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod files;
mod hash;
mod journal;
mod keys;
mod manager;
mod store;

pub use files::OpenError;
pub use hash::{Hash, hex};
pub use journal::{
    AppendError, BODY_BYTES_MAX, Brief, Checkpoint, Damage, FORMAT_VERSION, Fault, Follower,
    Journal, ReadError, Receipt, Record, Records, RecordsNewestFirst, SEGMENT_BYTES_DEFAULT,
    Verification,
};
pub use keys::{KeyError, KeySource};
pub use manager::{StateError, StateManager};
pub use store::{
    BUSY_WAIT_DEFAULT, Change, Corruption, DatabaseError, Difference, Edit, Entry, KEY_BYTES_MAX,
    KeyBack, Listed, LookupError, NAMESPACE_BYTES_MAX, Pin, Put, Rekeyed, RolledBack, STORE_FORMAT,
    Secrecy, Store, StoreError, StoreReadError, StoreVerification, StoreWriteError,
    VALUE_BYTES_MAX, VERSIONS_KEPT_DEFAULT, Value, Version, View, When,
};
pub use zeroize::Zeroizing;
