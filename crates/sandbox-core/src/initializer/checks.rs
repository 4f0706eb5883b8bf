//! What a new sandbox will have: its resources and its security configuration, each looked at.

use sandbox_isolation::{KernelFacts, Obstacle};
use sandbox_types::{LimitSource, Limits, NetworkAccess, SandboxConfig, format_duration};
use serde::Serialize;

use super::InitializationPlan;

/// One thing that was validated.
#[derive(Clone, Debug, Serialize)]
pub struct InitializationCheck {
    /// Which part of the sandbox it is about.
    pub part: Part,
    /// What was looked at.
    pub what: &'static str,
    /// What it will be.
    pub value: String,
    /// Whether that holds on this host.
    pub holds: bool,
    /// Whether anything is refused where it does not hold: a built-in limit is only reported then.
    pub needed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A part of a sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The directory and the transactions on it.
    Workspace,
    /// The amounts that an operation may use.
    Resources,
    /// The judge and the walls.
    Security,
}

/// Looks at all parts. `config` is what holds for the sandbox, `limits` its limits.
pub(crate) fn all(
    plan: &InitializationPlan,
    config: &SandboxConfig,
    limits: &Limits,
    kernel: &KernelFacts,
) -> Vec<InitializationCheck> {
    let mut checks = workspace(plan);
    checks.extend(resources(limits, kernel));
    checks.extend(security(config, kernel));
    checks
}

fn check(
    part: Part,
    what: &'static str,
    value: impl Into<String>,
    reason: Option<String>,
) -> InitializationCheck {
    InitializationCheck {
        part,
        what,
        value: value.into(),
        holds: reason.is_none(),
        needed: true,
        reason,
    }
}

fn workspace(plan: &InitializationPlan) -> Vec<InitializationCheck> {
    let record = &plan.record;
    let layers = record.layers.as_ref();
    let transactions = layers.map_or_else(
        || "none".to_owned(),
        |path| format!("in {}", path.display()),
    );
    let path = record.workspace.display().to_string();
    vec![
        check(Part::Workspace, "workspace", path, None),
        check(
            Part::Workspace,
            "transactions",
            transactions,
            record.no_layers_because.clone(),
        ),
    ]
}

fn resources(limits: &Limits, kernel: &KernelFacts) -> Vec<InitializationCheck> {
    let controller = |name: &str| {
        let unusable = kernel.cgroup.unusable.iter();
        unusable
            .filter(|(controller, _)| *controller == name)
            .map(|(_, reason)| reason.clone())
            .next()
    };
    let row = |what, value: Option<String>, reason: Option<String>| match value {
        Some(value) => check(Part::Resources, what, value, reason),
        None => check(Part::Resources, what, "not limited", None),
    };
    let is_asked = |source: Option<LimitSource>| source != Some(LimitSource::Default);
    vec![
        InitializationCheck {
            needed: is_asked(limits.memory.map(|it| it.source)) && !limits.best_effort,
            ..row(
                "memory",
                limits.memory.map(|it| it.value.to_string()),
                controller("memory"),
            )
        },
        InitializationCheck {
            needed: !limits.best_effort,
            ..row(
                "cpu",
                limits.cpu_percent.map(|it| format!("{} %", it.value)),
                controller("cpu"),
            )
        },
        // Without the controller a resource limit of the user counts them.
        row(
            "processes",
            limits.processes.map(|it| it.value.to_string()),
            None,
        ),
        row("disk", limits.disk.map(|it| it.value.to_string()), None),
        row(
            "wall time",
            limits.wall_time.map(|it| format_duration(it.value)),
            None,
        ),
    ]
}

/// Whoever allows the lower tier gets it where there are none; root would be root there, so root gets nothing.
fn user_namespaces(config: &SandboxConfig, kernel: &KernelFacts) -> InitializationCheck {
    let is_allowed = config.isolation.allows_degraded_namespaces();
    let is_lower = is_allowed && !rustix::process::geteuid().is_root();
    let (value, reason) = match &kernel.user_namespaces {
        Err(_) if is_lower => ("absent: the lower tier, without transactions", None),
        Err(Obstacle { reason, remedy }) => ("needed", Some(format!("{reason}; {remedy}"))),
        Ok(()) if is_lower => ("there; the lower tier is allowed, and not used", None),
        Ok(()) => ("needed", None),
    };
    check(Part::Security, "user namespaces", value, reason)
}

fn security(config: &SandboxConfig, kernel: &KernelFacts) -> Vec<InitializationCheck> {
    let profile = format!("{:?}", config.profile()).to_lowercase();
    let network = match config.network() {
        NetworkAccess::None => "none",
        NetworkAccess::Allow(_) => "a list of allowed hosts",
        NetworkAccess::Host => "the host's own",
    };
    let missing = |there: bool, what: &str| (!there).then(|| format!("the kernel has no {what}"));
    let landlock = sandbox_isolation::landlock_abi();
    let abi = landlock.map_or_else(|| "absent".to_owned(), |abi| format!("version {abi}"));
    vec![
        check(Part::Security, "profile of the judge", profile, None),
        check(Part::Security, "network", network, None),
        user_namespaces(config, kernel),
        check(
            Part::Security,
            "overlay file system",
            "needed for transactions",
            missing(kernel.overlay, "overlayfs"),
        ),
        check(
            Part::Security,
            "system call filter",
            "needed",
            missing(kernel.seccomp, "seccomp filters"),
        ),
        check(
            Part::Security,
            "Landlock",
            abi,
            missing(landlock.is_some(), "Landlock, or it is switched off"),
        ),
    ]
}
