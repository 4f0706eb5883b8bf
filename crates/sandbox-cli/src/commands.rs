//! One file a command. Each returns the exit code, or what went wrong.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod demo;
pub(crate) mod destroy;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod policy;
pub(crate) mod ps;
pub(crate) mod review;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod show;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod suspend;
pub(crate) mod undo;
pub(crate) mod wait;

mod amounts;
pub(crate) mod describe;
mod input;
mod scratch;
pub(crate) mod session;
mod waiting;
