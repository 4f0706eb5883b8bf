//! What holds for snapshots without being asked for.

use sandbox_rollback::{Compression, Excludes, Retention};
use sandbox_types::{Decision, Risk, SandboxConfig, Verdict};

pub(crate) fn compression(config: &SandboxConfig) -> Compression {
    match config.safety_constraints.compress_snapshots {
        Some(false) => Compression::None,
        Some(true) | None => Compression::Zstd,
    }
}

/// Returns what the configuration and the caller leave out; where they differ, the caller counts.
pub(super) fn excludes(config: &SandboxConfig, asked: &Excludes) -> Excludes {
    let set = &config.safety_constraints;
    let mb = set.snapshot_exclude_larger_mb;
    let limit = mb.and_then(|mb| u64::try_from(mb).ok());
    Excludes {
        patterns: [set.snapshot_exclude.as_slice(), &asked.patterns].concat(),
        larger_than: asked
            .larger_than
            .or(limit.map(|mb| mb.saturating_mul(1 << 20))),
    }
}

pub(super) fn retention(config: &SandboxConfig) -> Retention {
    let built_in = SandboxConfig::built_in().safety_constraints.max_snapshots;
    let kept = config.safety_constraints.max_snapshots.or(built_in);
    kept.and_then(|it| usize::try_from(it).ok())
        .map_or(Retention::All, Retention::Newest)
}

/// What the judge would say: the sandbox runs no command here.
pub(crate) fn allowed() -> Verdict {
    Verdict {
        decision: Decision::Allow,
        risk: Risk::of_score(0),
        residual_risk: Risk::of_score(0),
        findings: Vec::new(),
        terms: Vec::new(),
        commands: Vec::new(),
    }
}
