//! Judging alone: what `sandbox check` says, without a sandbox and without running anything.

use std::path::Path;

use sandbox_safety::{Confinement, Policy, Profile, SafetyValidator, Surroundings};
use sandbox_types::{Operation, SafetyProfile, SandboxConfig, Verdict};

/// A judge with its policy and what it knows of the place.
#[derive(Debug)]
pub struct Judge {
    validator: SafetyValidator,
    surroundings: Surroundings,
}

impl Judge {
    /// Returns a judge who decides on the inherent risk: what would happen unconfined.
    pub fn unconfined(config: &SandboxConfig, workspace: &Path, home: &Path) -> Self {
        Self::at(config, workspace, home, Confinement::None)
    }

    /// Returns a judge who decides as a run in a sandbox for `workspace` would.
    pub fn in_sandbox(config: &SandboxConfig, workspace: &Path, home: &Path) -> Self {
        let confinement = Confinement::Sandboxed {
            network: config.network(),
            transaction: true,
        };
        Self::at(config, workspace, home, confinement)
    }

    fn at(config: &SandboxConfig, workspace: &Path, home: &Path, confinement: Confinement) -> Self {
        let text = |path: &Path| path.to_str().map(str::to_owned);
        Self {
            validator: SafetyValidator::new(Policy::of(profile(config.profile()))),
            surroundings: Surroundings {
                workspace: text(workspace),
                home: text(home),
                confinement,
            },
        }
    }

    /// Returns the verdict on `operation`. Never fails: what cannot be read is a finding.
    pub fn judge(&self, operation: &Operation) -> Verdict {
        self.validator.judge(operation, &self.surroundings)
    }
}

pub(crate) fn profile(configured: SafetyProfile) -> Profile {
    match configured {
        SafetyProfile::Strict => Profile::Strict,
        SafetyProfile::Default => Profile::Default,
        SafetyProfile::Permissive => Profile::Permissive,
        SafetyProfile::Audit => Profile::Audit,
    }
}
