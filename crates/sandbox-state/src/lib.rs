//! The state of one sandbox: a tamper-evident journal and a versioned store.
//!
//! The [`Journal`] is an append-only file of framed, hash-chained records; any process appends to it
//! in microseconds, and nothing on the hot path opens a database. The [`Store`] is a versioned
//! key-value store over redb, opened late and held briefly. [`StateManager`] is the front door.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! use sandbox_state::StateManager;
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
//! let sequence = state.store()?.put("state", "greeting", b"hello")?;
//! assert_eq!(state.store()?.get_at("state", "greeting", sequence)?, Some(b"hello".to_vec()));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod files;
mod hash;
mod journal;
mod manager;
mod store;

pub use files::OpenError;
pub use hash::{Hash, hex};
pub use journal::{
    AppendError, BODY_BYTES_MAX, Damage, FORMAT_VERSION, Fault, Follower, Journal, ReadError,
    Receipt, Record, Records, RecordsNewestFirst, Verification,
};
pub use manager::StateManager;
pub use store::{
    Corruption, KEY_BYTES_MAX, Listed, NAMESPACE_BYTES_MAX, STORE_FORMAT, Store, StoreError,
    StoreReadError, StoreVerification, StoreWriteError, VALUE_BYTES_MAX, Version,
};
