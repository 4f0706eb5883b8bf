//! What the library's errors mean for a person: whose fault, and what to do next.

use sandbox_core::{
    ApprovalError, CreateError, DestroyError, DestroyedError, DiffError, EnterError, EventsError,
    ExpectationsError, FindError, OpenError, PlanError, PolicyError, ReadError, RepairError,
    ReviewError, RulePackError, RunError, RunFault, ScanError, StatusError, SuspendError,
    config_layers::{ConfigLoadError, OperationTextError},
};
use sandbox_types::{OperationReport, Settlement};

use super::{
    Failure, Kind,
    conflicts::{changed, conflict, is_refusal, with_part_hint},
    hints::{NEWER, with_journal_hint, with_system_hint},
    of_history::{kind_of_name, of_name},
};
use crate::commands::describe;

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        let is_none = matches!(
            error,
            FindError::Unknown { .. } | FindError::NoneHere { .. }
        );
        let kind = if is_none {
            Kind::NotFound
        } else {
            Kind::Sandbox
        };
        with_find_hint(Self::of(kind, &error), &error)
    }
}

fn with_find_hint(failure: Failure, error: &FindError) -> Failure {
    match error {
        FindError::Unknown { nearest, .. } => {
            let nearest = nearest.iter().map(|it| format!("did you mean '{it}'?"));
            nearest.fold(failure, Failure::hint).hint(SEE_LIST)
        }
        FindError::NoneHere { .. } => failure
            .hint("`sandbox run` and `sandbox create` make one for the current directory")
            .hint("`-s NAME` names one; `sandbox list` shows all"),
        FindError::Newer { .. } => failure.hint(NEWER),
        FindError::Damaged { path, .. } => failure.hint(format!(
            "restore {} from a backup, or remove its directory to lose this sandbox",
            path.display()
        )),
        FindError::Read { .. } | _ => with_system_hint(failure, error),
    }
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        Self::of(Kind::Usage, &error)
            .hint("check the path and the permissions; nothing was scanned")
    }
}

const SEE_LIST: &str = "`sandbox list` shows all";

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match &error {
            CreateError::Missing { .. } => failure(Kind::Usage)
                .hint("check the path; `sandbox create -w DIR` makes the last directory of it"),
            CreateError::NotADirectory { .. } => {
                failure(Kind::Usage).hint("name the directory that the file lies in")
            }
            CreateError::Unsuitable { .. } | CreateError::NotUnicode { .. } => {
                failure(Kind::Usage).hint("`-w DIR` names another directory")
            }
            CreateError::NameTaken { .. } => {
                failure(Kind::Refused).hint("choose another name, or destroy that sandbox")
            }
            CreateError::WorkspaceTaken { name, .. } => failure(Kind::Refused).hint(format!(
                "use it with `-s {name}`, or destroy it with `sandbox destroy {name}`"
            )),
            CreateError::TooMany => failure(Kind::Refused)
                .hint("`sandbox list` shows them; `sandbox destroy NAME` removes one"),
            CreateError::Registry(find) => with_find_hint(failure(Kind::Sandbox), find),
            CreateError::Step { .. } | _ => with_system_hint(failure(Kind::Sandbox), &error),
        }
    }
}

impl From<ConfigLoadError> for Failure {
    fn from(error: ConfigLoadError) -> Self {
        let failure = Self::of(Kind::Config, &error);
        match &error {
            ConfigLoadError::Read { .. } => failure.hint("check the path and the permissions"),
            ConfigLoadError::Syntax { .. }
            | ConfigLoadError::UnknownKey { .. }
            | ConfigLoadError::WrongType { .. }
            | ConfigLoadError::Value { .. }
            | ConfigLoadError::Merge(_)
            | _ => failure
                .hint("`sandbox config init FILE` writes a file in which every key is explained"),
        }
    }
}

impl From<OperationTextError> for Failure {
    fn from(error: OperationTextError) -> Self {
        Self::of(Kind::Usage, &error).hint(
            r#"an operation looks like {"type": "command", "command": "make test", "timeout": "5m"}"#,
        )
    }
}

impl From<ExpectationsError> for Failure {
    fn from(error: ExpectationsError) -> Self {
        Self::of(Kind::Usage, &error)
            .hint("`sandbox policy test --help` shows what such a file looks like")
    }
}

const RULE_PACK_HINT: &str = "`safety_constraints.rules` names the packs; docs/reference/rule-packs.md says what they may hold";

impl From<RulePackError> for Failure {
    fn from(error: RulePackError) -> Self {
        Self::of(Kind::Config, &error).hint(RULE_PACK_HINT)
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        Self::of(Kind::Config, &error).hint(policy_hint(&error))
    }
}

const fn policy_hint(error: &PolicyError) -> &'static str {
    match error {
        PolicyError::RulePack(_) => RULE_PACK_HINT,
        PolicyError::Seccomp(_) => {
            "`isolation.seccomp` takes strict, default, permissive or a file; docs/guide/isolation.md has an example"
        }
        PolicyError::Grant { .. } => "`isolation.read` and `isolation.write` name paths that exist",
        PolicyError::CommitPolicy(_) | _ => "docs/guide/commit-gate.md tells what a policy can say",
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Find(error) => error.into(),
            OpenError::Create(error) => error.into(),
            OpenError::Config(error) => error.into(),
            OpenError::Value(_) | OpenError::NoWorkspace | OpenError::Name(_) => {
                Self::of(Kind::Config, &error)
                    .hint("`sandbox config show` shows where values come from")
            }
            OpenError::Policy(error) => error.into(),
            OpenError::Seccomp(_) => Self::of(Kind::Config, &error).hint(
                "`isolation.seccomp` (--seccomp) takes strict, default, permissive or a file; docs/guide/isolation.md \
                 has an example",
            ),
            OpenError::EventFile { .. } => {
                Self::of(Kind::Config, &error).hint("keep it outside, as in /var/log/sandbox")
            }
            OpenError::OtherWorkspace { .. } => {
                Self::of(Kind::Usage, &error).hint("choose another name")
            }
            OpenError::WorkspaceGone { ref name, .. } => {
                let again = format!(
                    "or make it again for where it is now, without what could be undone: `sandbox destroy {name}`, then `sandbox create {name} -w DIR`"
                );
                Self::of(Kind::Sandbox, &error)
                    .hint("move it back, if it was moved")
                    .hint(again)
            }
            OpenError::Rollback { .. } | OpenError::Recover { .. } | OpenError::Record(_) | _ => {
                with_system_hint(Self::of(Kind::Sandbox, &error), &error)
            }
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let kind = kind_of_plan(&error);
        with_plan_hint(Self::of(kind, &error), &error)
    }
}

pub(super) fn kind_of_plan(error: &PlanError) -> Kind {
    match error {
        PlanError::NoTransaction { .. }
        | PlanError::WorkspaceReplaced { .. }
        | PlanError::Transactions(_)
        | PlanError::Look { .. }
        | PlanError::Configuration { .. }
        | PlanError::SecretAccess { .. } => Kind::Sandbox,
        PlanError::Policy(_) => Kind::Config,
        PlanError::EmptyCommand
        | PlanError::ArgumentTooLong { .. }
        | PlanError::ArgumentsTooLong { .. }
        | PlanError::Nul { .. }
        | PlanError::CwdOutside { .. }
        | PlanError::CwdMissing { .. }
        | PlanError::Grant { .. }
        | PlanError::ReadWorkspace { .. }
        | PlanError::DirectWith { .. }
        | PlanError::Files(_)
        | PlanError::FilePath { .. }
        | PlanError::FileOutside { .. }
        | PlanError::LimitRaised(_)
        | PlanError::Mode { .. }
        | _ => Kind::Usage,
    }
}

pub(super) fn with_plan_hint(failure: Failure, error: &PlanError) -> Failure {
    match error {
        PlanError::Policy(error) => failure.hint(policy_hint(error)),
        PlanError::EmptyCommand => failure.hint("give a command, as in `sandbox run -- make test`"),
        PlanError::ArgumentTooLong { .. } | PlanError::ArgumentsTooLong { .. } => {
            failure.hint("write it to a script in the workspace and run that")
        }
        PlanError::Nul { .. } => failure.hint("remove the NUL byte: the kernel ends texts there"),
        PlanError::CwdOutside { .. } | PlanError::CwdMissing { .. } => {
            failure.hint("`cwd` is relative to the workspace, and must exist before the run")
        }
        PlanError::Grant { .. } => {
            failure.hint("give absolute paths that exist, and not links in the workspace")
        }
        PlanError::LimitRaised(_) => failure.hint(
            "an operation may only lower limits: give more with the flag of that limit, or in the configuration",
        ),
        PlanError::DirectWith { .. } => {
            failure.hint("leave it out, or run where there is a transaction: without --direct (`direct`), and in a workspace that an overlay can be mounted on (`sandbox create --dry-run` says why not)")
        }
        PlanError::Files(_) => {
            failure.hint("give paths relative to the workspace, as in --files 'target/**'")
        }
        PlanError::FilePath { .. } | PlanError::FileOutside { .. } => {
            failure.hint("name the file from the workspace on, as in \"path\": \"src/main.rs\"")
        }
        PlanError::Secret { is_there: false, .. } => failure.hint(
            "`sandbox state list` shows the keys, `sandbox state set KEY --secret -` stores a secret",
        ),
        PlanError::Secret { .. } => failure
            .hint("`--secret KEY=VARIABLE` names another variable, `--secret-file KEY=NAME` gives a file"),
        PlanError::SecretAccess { .. } => {
            failure.hint("`sandbox state get KEY` says what to do about it")
        }
        PlanError::Mode { .. } => failure.hint("write it as in \"mode\": \"0644\""),
        PlanError::ReadWorkspace { .. } => failure.hint(
            "name the parts that must not change, as in `--read src`; with `--review` no change is made before `sandbox commit`, and `--files` says which are allowed",
        ),
        PlanError::Transactions(find) => with_find_hint(failure, find),
        PlanError::Configuration { .. } => {
            failure.hint("make its directory yourself, or grant what is needed beside it")
        }
        PlanError::HideWorkspace { .. } => failure.hint("hide something inside of it"),
        PlanError::NoTransaction { .. } => failure.hint("`sandbox status` says more"),
        PlanError::WorkspaceReplaced { .. } => {
            failure.hint("`sandbox destroy --keep-workspace`, then run again")
        }
        PlanError::Look { .. } | _ => failure,
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match &*error.fault {
            RunFault::Plan(plan) => with_plan_hint(failure(kind_of_plan(plan)), plan),
            RunFault::Launch(launch) => {
                let failure = launch.hint.iter().fold(failure(Kind::Sandbox), Self::hint);
                let failure = if launch.no_namespaces {
                    failure.hint(
                        "`--allow-degraded namespaces` runs it without that layer: Landlock and the system call \
                         filter alone confine it, and it writes to the workspace directly, with a snapshot taken \
                         before for `undo`",
                    )
                } else {
                    failure
                };
                failure.hint(
                    "`sandbox doctor` shows what this host can enforce, and how to get the rest",
                )
            }
            RunFault::Settle(_) => failure(Kind::Sandbox).hint(after_settlement(&error.report)),
            RunFault::Record(_) => with_journal_hint(failure(Kind::Sandbox), &error),
            RunFault::Enter(enter) => with_enter_hint(failure(kind_of_enter(enter)), enter),
            RunFault::Begin(_) | _ => with_system_hint(failure(Kind::Sandbox), &error),
        }
    }
}

/// What to do when the changes were not settled as they should be.
fn after_settlement(report: &OperationReport) -> String {
    let id = describe::short(report.id());
    match report.changes.settlement {
        Settlement::Pending => format!(
            "the changes are held: `sandbox diff {id}` shows them, `sandbox commit {id}` accepts and `sandbox discard {id}` drops them"
        ),
        Settlement::Committed => {
            "the commit has begun; the next `sandbox` command here completes it".to_owned()
        }
        Settlement::Discarded | Settlement::None => {
            "the workspace is as before; the next `sandbox` command here removes what is left"
                .to_owned()
        }
    }
}

impl From<ReviewError> for Failure {
    fn from(error: ReviewError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match &error {
            ReviewError::NoTransactions(plan) => with_plan_hint(failure(kind_of_plan(plan)), plan),
            ReviewError::Enter(enter) => with_enter_hint(failure(kind_of_enter(enter)), enter),
            ReviewError::NothingHeld => failure(Kind::NotFound)
                .hint("`sandbox run --review` holds the changes of a command"),
            ReviewError::NotHeld { .. } => {
                failure(Kind::NotFound).hint("`sandbox status` lists the operations that wait")
            }
            ReviewError::Meanwhile { id } => failure(Kind::Refused).hint(format!(
                "`sandbox show {id}` says what became of it; say it again for the next one"
            )),
            ReviewError::NothingToUndo => failure(Kind::NotFound)
                .hint("`sandbox log` shows what ran; what is older than `safety_constraints.undo_keep` operations was dropped"),
            ReviewError::NothingToRedo => {
                failure(Kind::NotFound).hint("`sandbox log` shows what ran")
            }
            ReviewError::NotUndoable { id } | ReviewError::NotRedoable { id } => {
                failure(Kind::NotFound).hint(format!("`sandbox show {id}` shows what became of it"))
            }
            ReviewError::Conflict { paths } => conflict(failure(Kind::Refused), paths),
            ReviewError::RedoConflict { paths } => changed(failure(Kind::Refused), paths).hint(
                "`sandbox redo --dry-run` shows what would be brought back, `sandbox redo --force` brings it back all the same, and with --keep-both the edits stay beside it",
            ),
            _ if error.is_pattern() => failure(Kind::Usage)
                .hint("give paths relative to the workspace, as in --path 'src/**'"),
            _ if is_refusal(&error) => with_part_hint(failure(Kind::Refused), &error),
            ReviewError::Name(name) => of_name(failure(kind_of_name(name)), name),
            ReviewError::List(_)
            | ReviewError::Portion { .. }
            | ReviewError::Resume { .. }
            | ReviewError::Settle { .. }
            | ReviewError::Undo { .. }
            | ReviewError::Redo { .. }
            | ReviewError::Record(_)
            | _ => with_system_hint(failure(Kind::Sandbox), &error),
        }
    }
}

impl From<DiffError> for Failure {
    fn from(error: DiffError) -> Self {
        match error {
            DiffError::Review(error) => error.into(),
            DiffError::Changes(_) | _ => with_system_hint(Self::of(Kind::Sandbox, &error), &error),
        }
    }
}

pub(super) fn kind_of_enter(error: &EnterError) -> Kind {
    match error {
        EnterError::Illegal(_) => Kind::Refused,
        EnterError::Hold { .. } | _ => Kind::Sandbox,
    }
}

pub(super) fn with_enter_hint(failure: Failure, error: &EnterError) -> Failure {
    match error {
        EnterError::Illegal(_) => failure.hint("`sandbox resume` lets it go on"),
        EnterError::Hold { .. } | _ => {
            with_system_hint(failure, error).hint("`sandbox list` shows the sandboxes")
        }
    }
}

impl From<SuspendError> for Failure {
    fn from(error: SuspendError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match &error {
            SuspendError::Illegal(_) => {
                failure(Kind::Refused).hint("`sandbox status` shows the state")
            }
            SuspendError::Freeze { .. } => failure(Kind::Refused)
                .hint("everything runs on; end the operation, or wait until it has ended")
                .hint("`sandbox doctor` shows what cgroups this user may use"),
            SuspendError::Thaw { .. }
            | SuspendError::List(_)
            | SuspendError::File { .. }
            | SuspendError::Record(_)
            | _ => with_system_hint(failure(Kind::Sandbox), &error),
        }
    }
}

impl From<EventsError> for Failure {
    fn from(error: EventsError) -> Self {
        with_system_hint(Self::of(Kind::Sandbox, &error), &error)
    }
}

impl From<StatusError> for Failure {
    fn from(error: StatusError) -> Self {
        with_journal_hint(Self::of(Kind::Sandbox, &error), &error)
    }
}

impl From<ApprovalError> for Failure {
    fn from(error: ApprovalError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match &error {
            ApprovalError::Unknown { .. } => failure(Kind::NotFound)
                .hint("`sandbox approvals list` shows what waits, `--all` also what was decided"),
            ApprovalError::UnknownRule { .. } => {
                failure(Kind::NotFound).hint("`sandbox approvals list --rules` shows them")
            }
            ApprovalError::Ambiguous { .. } => failure(Kind::NotFound)
                .hint("write more of it; `sandbox approvals list --json` has the full ids"),
            ApprovalError::Decided { .. } => failure(Kind::Refused)
                .hint("an approval is for one run: run the command again to ask again"),
            ApprovalError::Expired { .. } => failure(Kind::Refused)
                .hint("run the command again to ask again; safety_constraints.approval_expiry sets how long a request waits"),
            ApprovalError::Scope { .. } => failure(Kind::Usage)
                .hint("`--remember` is for exactly this operation; without it, it is approved once"),
            ApprovalError::Changed { .. } | ApprovalError::Worse { .. } => failure(Kind::Refused)
                .hint("deny it, and run the command again to have it judged as it is now"),
            ApprovalError::Plan { source, .. } => {
                with_plan_hint(failure(kind_of_plan(source)), source)
            }
            ApprovalError::Enter { source, .. } => {
                with_enter_hint(failure(kind_of_enter(source)), source)
            }
            ApprovalError::Damaged { path, .. } => failure(Kind::Sandbox)
                .hint(format!("remove {}: what it asked for can be asked for again", path.display())),
            ApprovalError::File { .. }
            | ApprovalError::Read(_)
            | ApprovalError::Record(_)
            | _ => with_system_hint(failure(Kind::Sandbox), &error),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        with_journal_hint(Self::of(Kind::Sandbox, &error), &error)
    }
}

impl From<RepairError> for Failure {
    fn from(error: RepairError) -> Self {
        with_system_hint(Self::of(Kind::Sandbox, &error), &error)
            .hint("`sandbox health` without --repair only looks")
    }
}

impl From<DestroyError> for Failure {
    fn from(error: DestroyError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match &error {
            DestroyError::Held { .. } => failure(Kind::Refused)
                .hint("`sandbox commit` or `sandbox discard` settles them; --force drops them"),
            DestroyError::Running { .. } => {
                failure(Kind::Refused).hint("`sandbox ps` lists it; `sandbox kill OP` ends it, `sandbox wait OP` waits for its end")
            }
            DestroyError::OtherWorkspace { .. } => failure(Kind::Refused)
                .hint("--keep-workspace destroys the sandbox and leaves the directory alone"),
            DestroyError::Open { .. } => {
                failure(Kind::Sandbox).hint("--force removes them, with all that waits for review")
            }
            DestroyError::Lock(_)
            | DestroyError::Session { .. }
            | DestroyError::Rollback { .. }
            | DestroyError::Remove { .. }
            | DestroyError::Record(_)
            | _ => with_system_hint(failure(Kind::Sandbox), &error)
                .hint("destroy it again: what is left then is removed"),
        }
    }
}

impl From<DestroyedError> for Failure {
    fn from(error: DestroyedError) -> Self {
        with_system_hint(Self::of(Kind::Sandbox, &error), &error)
            .hint("`sandbox list` shows the sandboxes that are there")
    }
}
