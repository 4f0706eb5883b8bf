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
//!
//! [`ContentScanner`] does the same for what files hold: secrets, malicious scripts, hidden text, and
//! files that are not what their names say. It is pure, too: it gets names and bytes.
#![forbid(unsafe_code)]

mod clearance;
mod content;
mod extra;
mod flow;
mod gate;
mod inline;
mod judged;
mod judgement;
mod lint;
mod pack;
mod paths;
mod pattern;
mod policy;
mod risk;
mod rules;
mod shell;
mod validator;

pub use clearance::Clearance;
pub use content::{
    ContentPolicy, ContentRule, ContentScanner, FileScan, LooksIn, Scanned, content_rules,
    content_words,
};
pub use extra::{VALIDATOR_TIME_MAX, Validator};
pub use pack::{PackError, RulePack, embedded_source};
pub use policy::{Policy, Profile, ProfileError};
pub use risk::Thresholds;
pub use shell::read::ScriptUse;
pub use validator::{Confinement, SafetyValidator, Surroundings, script_uses_of, scripts_named_by};
