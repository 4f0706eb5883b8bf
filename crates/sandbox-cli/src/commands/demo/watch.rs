//! What is measured, what alerts, and what is repaired after a real crash.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sandbox_core::{
    EventKind, EventStream, HealthState, RepairBy, RepairEnd, RunningOperation, SandboxCore,
    monitor::HealthReport,
};
use sandbox_types::{AlertMetric, Operation, SandboxConfig};
use tokio::task::spawn_blocking;

use super::{
    chapters::{Story, ended},
    means::{in_time, reason, until},
};
use crate::failure::Failure;

const LAST_HOUR: Duration = Duration::from_secs(3600);
/// What the measured operation writes.
const WRITTEN_BYTES: f64 = 100_000.0;
/// The end of operations that the demo ends itself, if it cannot any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// An operation may use so much of one core; more than one percent of that is an alert.
const CPU_PERCENT: i64 = 50;
const THRESHOLD_PERCENT: i64 = 1;
const BUSY: &str = "while :; do :; done";

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Watch: what runs is measured, what breaks is repaired")?;
    // An alert takes two samples, a second apart. The story goes on meanwhile.
    let busy = begin_busy(story);
    story.narrator.command("sandbox stats")?;
    let held = measured(story).await;
    story
        .narrator
        .step("usage is counted for each operation", held)?;
    story.narrator.command("sandbox health")?;
    let held = healthy(&story.core.health().await);
    story.narrator.step("the sandbox is healthy", held)?;
    let killed = crash(story).await;
    story
        .narrator
        .step("`kill -9` in the middle of a run: that is noticed", killed)?;
    story.narrator.command("sandbox health --repair")?;
    let held = repaired(story).await;
    story
        .narrator
        .step("it is repaired: half of a run is nothing", held)?;
    story.narrator.command("sandbox metrics")?;
    let held = metrics(story).await;
    story
        .narrator
        .step("Prometheus can read the figures", held)?;
    story
        .narrator
        .command(&format!("sandbox run --shell '{BUSY}'"))?;
    let held = alerted(story, busy).await;
    story.narrator.step(
        "a busy operation crosses its threshold, and raises one alert",
        held,
    )
}

/// An operation that runs, and what is told of it.
struct Busy {
    operation: RunningOperation,
    events: EventStream,
}

/// Starts an operation that is busy until somebody ends it.
fn begin_busy(story: &Story<'_>) -> Result<Busy, String> {
    let mut settings = SandboxConfig::default();
    settings.monitoring_config.collection_interval = Some(1);
    settings.monitoring_config.resource_thresholds.cpu_percent = Some(THRESHOLD_PERCENT);
    settings.resource_limits.cpu_percent = Some(CPU_PERCENT);
    settings.resource_limits.best_effort = Some(true);
    let core = story.open_with(settings)?;
    let events = core.events(None).map_err(|error| reason(&error))?;
    let operation = Operation::shell(BUSY).timeout(FORGOTTEN_AFTER);
    Ok(Busy {
        operation: core.start(operation),
        events,
    })
}

async fn measured(story: &Story<'_>) -> Result<String, String> {
    let statistics = || {
        let found = story.core.statistics(LAST_HOUR);
        found.map_err(|error| reason(&error))
    };
    let before = statistics()?;
    let text = "head -c 100000 /dev/zero > zeros; rm data.bin";
    let report = story.run(Operation::shell(text)).await?;
    let after = statistics()?;
    let written = after.written_bytes.sum - before.written_bytes.sum;
    let peak = report.usage.memory_peak_bytes;
    let counted = after.operations == before.operations + 1;
    if counted && (written - WRITTEN_BYTES).abs() < 1.0 && peak > 0 && after.cpu_ms.sum > 0.0 {
        Ok(format!(
            "{} operations, {:.0} ms of CPU; the last one wrote {written:.0} bytes",
            after.operations, after.cpu_ms.sum
        ))
    } else {
        Err(format!(
            "{} operations after {}, {written:.0} bytes; {}",
            after.operations,
            before.operations,
            ended(&report)
        ))
    }
}

/// Whether all is well but for the host, which the sandbox cannot help.
fn healthy(health: &HealthReport) -> Result<String, String> {
    let ours = || {
        health
            .checks
            .iter()
            .filter(|it| !it.name.starts_with("host."))
    };
    let ill = ours().find(|it| it.health.state != HealthState::Healthy);
    if let Some(ill) = ill {
        return Err(format!("{}: {}", ill.name, ill.health.detail));
    }
    let names: Vec<&str> = ours().map(|it| it.name.as_str()).collect();
    Ok(names.join(", "))
}

/// A `sandbox run` of its own, which is killed at the latest when the story ends.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Victim {
    fn start(story: &Story<'_>) -> Result<Self, String> {
        let text = "echo half > half; echo written; sleep 60";
        let host = story.scratch.home().host();
        #[expect(
            clippy::disallowed_methods,
            reason = "it is this program once more, to be killed"
        )]
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["run", "--quiet", "--timeout", "60s"])
            .args(["--sandbox", story.core.name().as_str(), "--shell", text])
            .current_dir(story.scratch.workspace())
            .env_clear()
            .env("PATH", &host.search_path)
            .env("HOME", &host.home)
            .env("SANDBOX_HOME", &host.data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.spawn().map(Self).map_err(|error| error.to_string())
    }
}

/// Kills a run when its guest has written, and looks at what is left.
async fn crash(story: &Story<'_>) -> Result<String, String> {
    let mut victim = Victim::start(story)?;
    let stdout = victim.0.stdout.take().ok_or("it has no output")?;
    let line = spawn_blocking(|| {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| line)
    });
    let line = in_time("the other run", line).await?;
    let line = line.map_err(|error| error.to_string())?;
    if line.map_err(|error| error.to_string())? != "written\n" {
        return Err("the other run ended before it was killed".to_owned());
    }
    drop(victim);
    // The kernel needs a moment to end the guest, which holds the transaction.
    until("the end of the guest", async || {
        check(&story.core, "transactions").await.0 == HealthState::Failed
    })
    .await?;
    let (_, detail) = check(&story.core, "transactions").await;
    Ok(detail)
}

/// Returns what one check says.
async fn check(core: &SandboxCore, name: &str) -> (HealthState, String) {
    let health = core.health().await;
    let found = health.checks.into_iter().find(|it| it.name == name);
    found.map_or((HealthState::Healthy, String::new()), |it| {
        (it.health.state, it.health.detail)
    })
}

async fn repaired(story: &Story<'_>) -> Result<String, String> {
    let outcome = story.core.repair_health(RepairBy::Person).await;
    let outcome = outcome.map_err(|error| reason(&error))?;
    let repair = outcome.repairs.iter().find(|it| it.check == "transactions");
    let done = match repair.map(|it| &it.end) {
        Some(RepairEnd::Done { detail }) => detail.clone(),
        other => return Err(format!("the repair: {other:?}")),
    };
    healthy(&outcome.health)?;
    if story.scratch.workspace().join("half").exists() {
        return Err("half of it is in the workspace".to_owned());
    }
    Ok(done)
}

async fn metrics(story: &Story<'_>) -> Result<String, String> {
    let (home, record) = (story.scratch.home().clone(), story.core.record().clone());
    let text = spawn_blocking(move || home.metrics(&[record]).to_prometheus_text()).await;
    let text = text.map_err(|error| error.to_string())?;
    let name = story.core.name();
    let killed = format!("sandbox_operations_total{{outcome=\"killed\",sandbox=\"{name}\"}} 1");
    for wanted in [
        "# TYPE sandbox_operations_total counter".to_owned(),
        format!("sandbox_up{{sandbox=\"{name}\"}} 1"),
        killed.clone(),
    ] {
        if !text.lines().any(|line| line == wanted) {
            return Err(format!("there is no line {wanted}"));
        }
    }
    Ok(killed)
}

/// Waits until the operation has raised an alert, and ends it.
async fn alerted(story: &Story<'_>, busy: Result<Busy, String>) -> Result<String, String> {
    let Busy {
        operation,
        mut events,
    } = busy?;
    let raised = async {
        while let Some(event) = events.next().await {
            let kind = event.map_err(|error| reason(&error))?.kind;
            if let EventKind::AlertRaised(it) = &kind
                && it.operation == *operation.id()
            {
                return Ok(());
            }
            if let EventKind::OperationFinished(it) = &kind
                && it.id() == operation.id()
            {
                return Err(format!("none until its end: {}", ended(it)));
            }
        }
        Err("the events have ended".to_owned())
    };
    in_time("the alert", raised).await??;
    operation.cancel();
    let report = in_time("its end", operation.report()).await?;
    let report = report.map_err(|error| reason(&error))?;
    let counted = story.core.statistics(LAST_HOUR);
    let counted = counted.map_err(|error| reason(&error))?.alerts;
    match report.alerts.as_slice() {
        [alert] if alert.metric == AlertMetric::Cpu && counted == 1 => Ok(format!(
            "{:.0} % of {}, threshold {} %",
            alert.value_percent, alert.allowed, alert.threshold_percent
        )),
        alerts => Err(format!("{} alerts, {counted} counted", alerts.len())),
    }
}
