//! The configuration of a sandbox, as its YAML has it.

use serde::{Deserialize, Serialize};

/// The configuration of one sandbox.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxConfig {}
