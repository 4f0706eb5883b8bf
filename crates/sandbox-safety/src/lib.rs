//! Judges a command before it runs: what it would do, how bad that is, and what confinement and
//! rollback cannot take back.
//!
//! Text can be obfuscated without end, so the judge is not the wall: the kernel is. It stops the
//! obvious, explains, and decides what needs a person. [`SafetyValidator::judge`] is total: it never
//! fails and never panics; what cannot be read is a finding that asks.
//!
//! ```
//! use sandbox_safety::{Policy, Profile, SafetyValidator, Surroundings};
//! use sandbox_types::Decision;
//!
//! let validator = SafetyValidator::new(Policy::of(Profile::Default));
//! let verdict = validator.judge_text("sudo rm -rf /", &Surroundings::unconfined());
//! assert_eq!(verdict.decision, Decision::Deny);
//! assert_eq!(verdict.findings[0].rule, "fs.delete-root");
//! ```
#![forbid(unsafe_code)]

mod clearance;
mod extra;
mod flow;
mod gate;
mod inline;
mod judged;
mod lint;
mod paths;
mod pattern;
mod policy;
mod risk;
mod rules;
mod shell;
mod validator;

pub use clearance::Clearance;
pub use extra::{VALIDATOR_TIME_MAX, Validator};
pub use policy::{Policy, Profile, ProfileError};
pub use validator::{Confinement, SafetyValidator, Surroundings};
