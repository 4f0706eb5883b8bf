//! The second chapter: what a command cannot reach, each with a control that the host can.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
};

use sandbox_types::{Operation, OperationReport};

use super::chapters::{CANARY, Story, canaries, ended};
use crate::failure::Failure;

/// A kernel setting that would let a guest run programs as the host's root.
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Confine: the kernel holds what the text may hide")?;
    for canary in canaries(story.scratch) {
        let held = cannot_read(story, &canary, CANARY.trim()).await;
        let shown = canary.strip_prefix(story.scratch.root()).unwrap_or(&canary);
        story.narrator.step(
            &format!("a secret outside cannot be read ({})", shown.display()),
            held,
        )?;
    }
    let held = cannot_read(story, Path::new("/etc/shadow"), "root:").await;
    story.narrator.step("/etc/shadow cannot be read", held)?;
    let held = cannot_write_outside(story).await;
    story
        .narrator
        .step("nothing outside of the workspace can be written", held)?;
    let held = cannot_change_the_kernel(story).await;
    story
        .narrator
        .step("the kernel's settings cannot be changed", held)?;
    let held = cannot_connect(story).await;
    story.narrator.step("the network cannot be reached", held)?;
    let held = has_no_capabilities(story).await;
    story
        .narrator
        .step("it has no capability, and can never get one", held)
}

async fn cannot_read(story: &Story<'_>, path: &Path, secret: &str) -> Result<String, String> {
    let report = story
        .run(Operation::command(["cat", &path.to_string_lossy()]))
        .await?;
    let printed = String::from_utf8_lossy(&report.stdout.data);
    if printed.contains(secret) {
        return Err("it was printed".to_owned());
    }
    refused(&report)
}

async fn cannot_write_outside(story: &Story<'_>) -> Result<String, String> {
    let beside = story.scratch.root().join("written-by-the-guest");
    let system = Path::new("/usr/written-by-the-sandbox-demo");
    // The guest has a private /tmp: a file that it makes there is not on the host.
    let text = format!(
        "echo x > '{}'; echo x > '{}'",
        beside.display(),
        system.display()
    );
    let report = story.attempt(&text).await?;
    match [beside.as_path(), system]
        .into_iter()
        .find(|path| path.exists())
    {
        Some(path) => Err(format!("{} was written", path.display())),
        None => refused(&report),
    }
}

async fn cannot_change_the_kernel(story: &Story<'_>) -> Result<String, String> {
    let before = fs::read(CORE_PATTERN).ok();
    let report = story
        .attempt(&format!("echo core > {CORE_PATTERN}"))
        .await?;
    if fs::read(CORE_PATTERN).ok() != before {
        return Err(format!("{CORE_PATTERN} was changed"));
    }
    refused(&report)
}

async fn cannot_connect(story: &Story<'_>) -> Result<String, String> {
    let text = |error: io::Error| error.to_string();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    let port = listener.local_addr().map_err(text)?.port();
    // The control: from here it can be reached.
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?);
    drop(listener.accept().map_err(text)?);
    listener.set_nonblocking(true).map_err(text)?;
    let report = story
        .attempt(&format!("exec 3<>/dev/tcp/127.0.0.1/{port}"))
        .await?;
    if listener.accept().is_ok() {
        return Err("it has connected".to_owned());
    }
    refused(&report)
}

async fn has_no_capabilities(story: &Story<'_>) -> Result<String, String> {
    let report = story
        .run(Operation::command(["cat", "/proc/self/status"]))
        .await?;
    let status = String::from_utf8_lossy(&report.stdout.data);
    let expected = [
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
        ("CapBnd:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ];
    for (label, wanted) in expected {
        let found = status
            .lines()
            .find_map(|line| line.strip_prefix(label))
            .map(str::trim);
        if found != Some(wanted) {
            return Err(format!("{label} is {}", found.unwrap_or("not shown")));
        }
    }
    Ok("no new privileges, system calls filtered".to_owned())
}

impl Story<'_> {
    /// Runs text that the judge cannot see: it lies in a script. Only the kernel can say no to it.
    async fn attempt(&self, text: &str) -> Result<OperationReport, String> {
        let script = self.scratch.workspace().join("attempt.sh");
        fs::write(&script, text).map_err(|error| error.to_string())?;
        let report = self.run(Operation::command(["bash", "attempt.sh"])).await;
        fs::remove_file(&script).map_err(|error| error.to_string())?;
        report
    }
}

/// The command ran, and was told no.
fn refused(report: &OperationReport) -> Result<String, String> {
    let stderr = String::from_utf8_lossy(&report.stderr.data);
    match report.exit_code {
        Some(code) if code != 0 => Ok(stderr.lines().next().unwrap_or("refused").to_owned()),
        _ => Err(ended(report)),
    }
}
