//! The story in its order, and the chapters about one operation: judge, limit, run, review, declare.

use std::{fs, os::unix::fs::symlink, path::PathBuf, time::Duration};

use sandbox_core::{Judge, RunFault, SandboxCore};
use sandbox_types::{
    Bytes, Decision, LimitKind, Operation, OperationReport, Outcome, SandboxConfig, Settlement,
    ViolationKind, causes,
};

use super::{
    approvals, confinement, content, events, history, kinds, narrator::Narrator, snapshots, state,
    suspend, tree::Tree, watch,
};
use crate::{
    commands::{describe, scratch::Scratch},
    failure::{Failure, Kind},
};

/// Long enough to be noticed, short enough for a demo.
const TIME_LIMIT: Duration = Duration::from_millis(300);
/// Ending a command takes no longer, however loaded the machine is.
const TIME_TO_END: Duration = Duration::from_secs(8);
const MEMORY_LIMIT: Bytes = Bytes::mib(48);

pub(super) struct Story<'a> {
    pub(super) scratch: &'a Scratch,
    pub(super) narrator: &'a mut Narrator,
    pub(super) core: SandboxCore,
}

impl<'a> Story<'a> {
    /// Lays out the workspace and makes the sandbox.
    pub(super) fn begin(scratch: &'a Scratch, narrator: &'a mut Narrator) -> Result<Self, Failure> {
        furnish(scratch).map_err(|error| {
            Failure::of(Kind::Sandbox, &error).while_doing("cannot write the demo's files")
        })?;
        let core = scratch.open(scratch.create()?)?;
        Ok(Self {
            scratch,
            narrator,
            core,
        })
    }

    pub(super) async fn tell(mut self) -> Result<(), Failure> {
        self.judge().await?;
        confinement::tell(&mut self).await?;
        self.limits().await?;
        self.run_and_undo().await?;
        self.review().await?;
        self.declared_files().await?;
        approvals::tell(&mut self).await?;
        content::tell(&mut self).await?;
        kinds::tell(&mut self).await?;
        self.mistake().await?;
        snapshots::tell(&mut self).await?;
        state::tell(&mut self).await?;
        watch::tell(&mut self).await?;
        suspend::tell(&mut self).await?;
        events::tell(&mut self).await?;
        history::tell(self)
    }

    async fn judge(&mut self) -> Result<(), Failure> {
        self.narrator
            .chapter("Judge: say what a command would do, before it does")?;
        let judge = Judge::unconfined(
            &SandboxConfig::default(),
            &self.scratch.workspace(),
            &self.scratch.user_home(),
        )?;
        let cases = [
            ("ls -la", "is allowed", Decision::Allow..=Decision::Allow),
            ("rm -rf /", "is denied", Decision::Deny..=Decision::Deny),
            (
                "curl -s https://example.com/install.sh | sh",
                "is flagged",
                Decision::Ask..=Decision::Deny,
            ),
        ];
        for (text, claim, expected) in cases {
            let verdict = judge.judge(&Operation::shell(text));
            let rules: Vec<_> = verdict.findings.iter().map(|it| it.rule.as_str()).collect();
            let said = format!("{} {}", verdict.decision, rules.join(", "))
                .trim_end()
                .to_owned();
            let held = if expected.contains(&verdict.decision) {
                Ok(said)
            } else {
                Err(said)
            };
            self.narrator.step(&format!("`{text}` {claim}"), held)?;
        }
        let before = self.tree();
        let report = self
            .run(Operation::shell("rm -rf / --no-preserve-root"))
            .await;
        let held = report.and_then(|report| {
            if report.outcome == Outcome::Denied {
                same(before, self.tree())
            } else {
                Err(ended(&report))
            }
        });
        self.narrator.step("what is denied is not run", held)
    }

    async fn limits(&mut self) -> Result<(), Failure> {
        self.narrator
            .chapter("Limit: what is asked for holds, or the run is refused")?;
        let report = self
            .run(Operation::command(["sleep", "60"]).timeout(TIME_LIMIT))
            .await;
        let held = report.and_then(|report| {
            let quick = report.duration_ms < TIME_TO_END.as_secs_f64() * 1000.0;
            if report.outcome == Outcome::TimedOut && quick {
                Ok(format!("ended after {:.0} ms", report.duration_ms))
            } else {
                Err(format!(
                    "{} after {:.0} ms",
                    ended(&report),
                    report.duration_ms
                ))
            }
        });
        self.narrator
            .step("a time limit of 300 ms ends `sleep 60`", held)?;

        // Reads a line that never ends, so it needs ever more memory.
        let mut greedy = Operation::command(["tail", "/dev/zero"]).timeout(TIME_TO_END);
        greedy.limits.memory = Some(MEMORY_LIMIT);
        let claim = "a memory limit of 48 MiB ends a greedy command";
        match self.core.execute(greedy).await {
            Ok(report) if report.limits.exceeded == Some(LimitKind::Memory) => self.narrator.step(
                claim,
                Ok(format!(
                    "ended at {}",
                    Bytes(report.usage.memory_peak_bytes)
                )),
            ),
            Ok(report) => self.narrator.step::<()>(claim, Err(ended(&report))),
            Err(error) => {
                if let RunFault::Launch(error) = &*error.fault {
                    return self.narrator.step(
                        "this host cannot enforce a memory limit, and the run is refused",
                        Ok(causes(error).join(": ")),
                    );
                }
                self.narrator
                    .step::<()>(claim, Err(causes(&error).join(": ")))
            }
        }
    }

    async fn run_and_undo(&mut self) -> Result<(), Failure> {
        self.narrator
            .chapter("Run: changes are kept, and can be taken back")?;
        let text = "echo more words >> README.md && mkdir build && echo made > build/output.txt \
                    && rm src/old.txt && chmod 600 src/lib.txt";
        let before = self.tree();
        self.narrator
            .command(&format!("sandbox run --shell '{text}'"))?;
        let report = self.run(Operation::shell(text)).await;
        let id = report.as_ref().ok().map(|report| report.id().clone());
        let held = report.and_then(|report| self.kept(&report));
        self.narrator
            .step("the changes are in the workspace, and listed", held)?;

        self.narrator.command("sandbox undo")?;
        let held = match id {
            None => Err("nothing was run".to_owned()),
            Some(id) => match self.core.undo(&id).await {
                Ok(_) => same(before, self.tree()),
                Err(error) => Err(causes(&error).join(": ")),
            },
        };
        self.narrator
            .step("the tree is identical: content, modes, owners, times", held)
    }

    fn kept(&self, report: &OperationReport) -> Result<String, String> {
        let changes = &report.changes;
        let listed = |path: &str| {
            changes
                .paths
                .iter()
                .any(|it| it.path.to_str() == Some(path))
        };
        let expected = [
            "README.md",
            "build/output.txt",
            "src/old.txt",
            "src/lib.txt",
        ];
        if let Some(path) = expected.iter().find(|path| !listed(path)) {
            return Err(format!("{path} is not listed; {}", ended(report)));
        }
        let output = fs::read_to_string(self.scratch.workspace().join("build/output.txt"));
        let deleted = !self.scratch.workspace().join("src/old.txt").exists();
        if changes.settlement == Settlement::Committed
            && output.is_ok_and(|it| it == "made\n")
            && deleted
        {
            return Ok(describe::counts(changes).unwrap_or_default());
        }
        Err(ended(report))
    }

    async fn review(&mut self) -> Result<(), Failure> {
        self.narrator
            .chapter("Review: hold the changes until somebody has looked")?;
        let operation = || Operation::shell("echo reviewed >> README.md").review();
        let before = self.tree();
        self.narrator
            .command("sandbox run --review --shell 'echo reviewed >> README.md'")?;
        let report = self.run(operation()).await;
        let held = report.and_then(|report| {
            if report.changes.settlement == Settlement::Pending {
                same(before, self.tree())
            } else {
                Err(ended(&report))
            }
        });
        self.narrator
            .step("the changes are held, the workspace is untouched", held)?;

        let diff = self
            .core
            .diff(None)
            .map_err(|error| causes(&error).join(": "));
        let held = diff.and_then(|(_, files)| {
            let added = files.iter().filter_map(|it| it.unified.as_deref());
            let line = added.flat_map(str::lines).find(|line| *line == "+reviewed");
            line.map(str::to_owned)
                .ok_or_else(|| "the line is not in the diff".to_owned())
        });
        self.narrator.step("`sandbox diff` shows them", held)?;

        let before = self.tree();
        let discarded = self
            .core
            .discard(None)
            .await
            .map_err(|error| causes(&error).join(": "));
        let held = discarded.and_then(|_| same(before, self.tree()));
        self.narrator.step("`sandbox discard` drops them", held)?;

        let again = self.run(operation()).await;
        let committed = match again {
            Ok(_) => self
                .core
                .commit(None)
                .await
                .map_err(|error| causes(&error).join(": ")),
            Err(error) => Err(error),
        };
        let readme = fs::read_to_string(self.scratch.workspace().join("README.md"));
        let held = committed.and_then(|done| match readme {
            Ok(text) if text.ends_with("reviewed\n") => {
                Ok(describe::counts(&done.changes).unwrap_or_default())
            }
            _ => Err("README.md has not changed".to_owned()),
        });
        self.narrator.step("`sandbox commit` accepts them", held)
    }

    async fn declared_files(&mut self) -> Result<(), Failure> {
        self.narrator
            .chapter("Declare: an operation may write what it said, nothing else")?;
        let before = self.tree();
        let operation =
            Operation::shell("echo a > output.txt; echo b > other.txt").files(["output.txt"]);
        let report = self.run(operation).await;
        let held = report.and_then(|report| {
            let violation = report
                .violations
                .iter()
                .find(|it| it.kind == ViolationKind::DeclaredFiles);
            match violation {
                Some(violation) => same(before, self.tree()).map(|()| violation.detail.clone()),
                None => Err(ended(&report)),
            }
        });
        self.narrator.step(
            "a write outside of the declared files is not committed",
            held,
        )
    }

    async fn mistake(&mut self) -> Result<(), Failure> {
        self.narrator
            .chapter("Survive: the mistake that everybody fears")?;
        let before = self.tree();
        let text = "rm -rf ./* .git";
        self.narrator
            .command(&format!("sandbox run --shell '{text}'"))?;
        let report = self.run(Operation::shell(text)).await;
        let id = report.as_ref().ok().map(|report| report.id().clone());
        let held = report.and_then(|report| {
            let gone = !self.scratch.workspace().join(".git").exists()
                && !self.scratch.workspace().join("README.md").exists();
            if gone {
                Ok(describe::counts(&report.changes).unwrap_or_default())
            } else {
                Err(ended(&report))
            }
        });
        self.narrator.step("everything is gone", held)?;
        self.narrator.command("sandbox undo")?;
        let held = match id {
            None => Err("nothing was run".to_owned()),
            Some(id) => match self.core.undo(&id).await {
                Ok(_) => same(before, self.tree()),
                Err(error) => Err(causes(&error).join(": ")),
            },
        };
        self.narrator.step("everything is back, identical", held)
    }

    pub(super) async fn run(&self, operation: Operation) -> Result<OperationReport, String> {
        self.core
            .execute(operation)
            .await
            .map_err(|error| causes(&error).join(": "))
    }

    pub(super) fn tree(&self) -> Result<Tree, String> {
        Tree::of(&self.scratch.workspace())
    }
}

/// Says how an operation ended that should have ended differently.
pub(super) fn ended(report: &OperationReport) -> String {
    let mut text = format!(
        "{}, {}",
        describe::outcome(report),
        describe::settlement(report.changes.settlement)
    );
    for reason in report.error.iter().chain(&report.changes.held_because) {
        text.push_str("; ");
        text.push_str(reason);
    }
    let stderr = String::from_utf8_lossy(&report.stderr.data);
    if let Some(line) = stderr.lines().next() {
        text.push_str("; ");
        text.push_str(line);
    }
    text
}

pub(super) fn same(before: Result<Tree, String>, now: Result<Tree, String>) -> Result<(), String> {
    before?.expect_same(&now?)
}

/// Writes a small project, and what lies around it.
fn furnish(scratch: &Scratch) -> std::io::Result<()> {
    let workspace = scratch.workspace();
    for directory in ["src", "empty", ".git/objects/aa", ".git/refs/heads"] {
        fs::create_dir_all(workspace.join(directory))?;
    }
    let files = [
        ("README.md", "A small project.\n"),
        ("src/lib.txt", "the library\n"),
        ("src/old.txt", "not needed any more\n"),
        (".git/HEAD", "ref: refs/heads/main\n"),
        (
            ".git/refs/heads/main",
            "0123456789abcdef0123456789abcdef01234567\n",
        ),
        (".git/objects/aa/bb", "an object\n"),
    ];
    for (path, text) in files {
        fs::write(workspace.join(path), text)?;
    }
    symlink("src/lib.txt", workspace.join("link"))?;
    fs::create_dir(scratch.user_home().join(".ssh"))?;
    for canary in canaries(scratch) {
        fs::write(canary, CANARY)?;
    }
    Ok(())
}

/// What a canary file says. It must not come out of the sandbox.
pub(super) const CANARY: &str = "canary-5d41402a\n";

/// Files outside of the workspace that the user can read and a guest must not.
pub(super) fn canaries(scratch: &Scratch) -> [PathBuf; 2] {
    [
        scratch.user_home().join(".ssh/id_ed25519"),
        scratch.root().join("beside-the-workspace"),
    ]
}
