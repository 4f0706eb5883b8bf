//! Sessions: the next operation's confinement is built while nobody waits for it.
//!
//! ```text
//! sandbox run ──joins──> keeper (one for each sandbox) ──holds──> one complete confinement, waiting for an operation
//!      └───────────── the operation, and all that belongs to it ─────────┘
//! ```
//! Nothing is used twice: every operation has its own namespaces, its own init and its own transaction, and they are
//! taken down behind it. Only *when* they are made differs. Whatever goes wrong before the operation is sent to
//! its init, it is started without a session.

mod client;
mod fresh;
mod joined;
mod keeper;
mod key;
mod layers;
mod place;
mod sent;
mod spares;
mod turn;
pub(crate) mod wire;

pub use client::{KeeperProgram, SessionLauncher, end_session, session_status};
pub use keeper::keep_session;
pub use layers::{MakeLayers, ReadyLayers};
pub use wire::SessionStatus;
