//! The rule packs and the commit policy that a configuration names.
//!
//! Only what judges or commits needs them. A sandbox is opened all the same when one cannot be used,
//! so that what runs in it can be looked at and ended; what would run or commit is then refused.

use std::{path::Path, sync::Arc};

use sandbox_safety::RulePack;
use sandbox_types::SandboxConfig;

use crate::{
    config_layers::{self, CommitPolicy, CommitPolicyError, SeccompError},
    plugins::Plugins,
    rule_packs::{RulePackError, rule_pack_with},
};

/// A rule pack or the commit policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The commit policy cannot be used.
    #[error(transparent)]
    CommitPolicy(#[from] CommitPolicyError),
    /// A rule pack cannot be used.
    #[error(transparent)]
    RulePack(#[from] RulePackError),
    /// The system call profile cannot be used.
    #[error(transparent)]
    Seccomp(SeccompError),
    /// A path that is granted is not there.
    #[error("cannot grant {}", path.display())]
    Grant {
        /// The path.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// What a sandbox decides by, besides what is built in.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) packs: Vec<RulePack>,
    pub(crate) commit: CommitPolicy,
    /// Why nothing may run or be committed; then the others are what is built in.
    pub(crate) unusable: Option<Arc<PolicyError>>,
}

impl Policies {
    /// Reads what `config` names, and keeps why that is not possible.
    pub(crate) fn of(config: &SandboxConfig, workspace: &Path, plugins: &Plugins) -> Self {
        match read(config, Some(workspace), plugins) {
            Ok((packs, commit)) => Self {
                packs,
                commit,
                unusable: None,
            },
            Err(error) => Self {
                unusable: Some(Arc::new(error)),
                ..Self::default()
            },
        }
    }
}

/// Makes sure that the rule packs and the commit policy that `config` names can be used, wherever they
/// lie if no workspace is given.
///
/// # Errors
///
/// Fails when one cannot be read, lies inside of `workspace`, or says something wrong.
pub fn check_policies(config: &SandboxConfig, workspace: Option<&Path>) -> Result<(), PolicyError> {
    check_policies_with(config, workspace, &Plugins::new())
}

/// Makes sure that what `config` names for isolation is there: the system call profile can be read, and the paths that
/// are granted exist. Paths to hide may come later.
///
/// # Errors
///
/// Fails when one of them is not there, or the profile says something wrong.
pub fn check_isolation(config: &SandboxConfig) -> Result<(), PolicyError> {
    let isolation = &config.isolation;
    if let Some(profile) = &isolation.seccomp {
        // A profile lies in no workspace, and here there is none.
        config_layers::seccomp_profile(profile, Path::new("/nonexistent"))
            .map_err(PolicyError::Seccomp)?;
    }
    for path in isolation.read.iter().chain(&isolation.write) {
        std::fs::metadata(path).map_err(|source| PolicyError::Grant {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Like [`check_policies`], where plugins add types of operations.
pub(crate) fn check_policies_with(
    config: &SandboxConfig,
    workspace: Option<&Path>,
    plugins: &Plugins,
) -> Result<(), PolicyError> {
    read(config, workspace, plugins).map(drop)
}

fn read(
    config: &SandboxConfig,
    workspace: Option<&Path>,
    plugins: &Plugins,
) -> Result<(Vec<RulePack>, CommitPolicy), PolicyError> {
    let constraints = &config.safety_constraints;
    let commit = match &constraints.commit_policy {
        Some(path) => config_layers::commit_policy(path, workspace)?,
        None => CommitPolicy::default(),
    };
    let packs = constraints.rules.iter();
    let types = plugins.type_names();
    let packs = packs.map(|path| rule_pack_with(path, workspace, &types));
    Ok((packs.collect::<Result<_, _>>()?, commit))
}
