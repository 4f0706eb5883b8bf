//! Judging alone: what `sandbox check` says, without a sandbox and without running anything.

use std::path::{Path, PathBuf};

use sandbox_safety::{Confinement, Policy, Profile, SafetyValidator, Surroundings, Thresholds};
use sandbox_types::{Operation, SafetyProfile, SandboxConfig, Verdict};

use crate::rule_packs::{RulePackError, named_scripts, rule_packs};

/// A judge with its policy and what it knows of the place.
#[derive(Debug)]
pub struct Judge {
    validator: SafetyValidator,
    surroundings: Surroundings,
    workspace: PathBuf,
}

impl Judge {
    /// Returns a judge who decides on the inherent risk: what would happen unconfined.
    ///
    /// # Errors
    ///
    /// When a rule pack of the configuration cannot be used.
    pub fn unconfined(
        config: &SandboxConfig,
        workspace: &Path,
        home: &Path,
    ) -> Result<Self, RulePackError> {
        Self::at(config, workspace, home, Confinement::None)
    }

    /// Returns a judge who decides as a run in a sandbox for `workspace` would.
    ///
    /// # Errors
    ///
    /// When a rule pack of the configuration cannot be used.
    pub fn in_sandbox(
        config: &SandboxConfig,
        workspace: &Path,
        home: &Path,
    ) -> Result<Self, RulePackError> {
        let confinement = Confinement::Sandboxed {
            network: config.network(),
            transaction: true,
        };
        Self::at(config, workspace, home, confinement)
    }

    fn at(
        config: &SandboxConfig,
        workspace: &Path,
        home: &Path,
        confinement: Confinement,
    ) -> Result<Self, RulePackError> {
        let packs = rule_packs(&config.safety_constraints.rules, workspace)?;
        let text = |path: &Path| path.to_str().map(str::to_owned);
        Ok(Self {
            validator: SafetyValidator::new(Policy::of(profile(config.profile())))
                .with_packs(packs),
            surroundings: Surroundings {
                workspace: text(workspace),
                home: text(home),
                confinement,
                ..Surroundings::unconfined()
            },
            workspace: workspace.to_owned(),
        })
    }

    /// Returns from where a person is asked and from where it is refused; `None` where it never is.
    pub fn thresholds(&self) -> Option<Thresholds> {
        self.validator.thresholds()
    }

    /// Returns the verdict on `operation`. Never fails: what cannot be read is a finding.
    pub fn judge(&self, operation: &Operation) -> Verdict {
        // As in a run: inside, what files do is the confinement's to hold.
        if self.surroundings.confinement != Confinement::None {
            return self.validator.judge(operation, &self.surroundings);
        }
        let directory = operation.cwd.as_ref();
        let directory =
            directory.map_or_else(|| self.workspace.clone(), |it| self.workspace.join(it));
        let files = named_scripts(operation, &directory);
        if files.is_empty() {
            return self.validator.judge(operation, &self.surroundings);
        }
        let surroundings = Surroundings {
            files,
            ..self.surroundings.clone()
        };
        self.validator.judge(operation, &surroundings)
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
