//! `cargo xtask bench scan`: the content scan against the bare automaton and against ripgrep.
//!
//! ripgrep only looks for the words of the rules, without their tests, and counts matching lines.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, bail};

use super::{Contestant, milliseconds, release_directory};
use crate::process;

/// Timed runs of each program.
const RUNS: usize = 10;
/// Runs before them, so that the files are in memory.
const WARM_UP: usize = 2;

/// Measures on the files of `directory`.
pub(crate) fn scan(directory: &str) -> anyhow::Result<()> {
    if !Path::new(directory).is_dir() {
        bail!("'{directory}' is no directory");
    }
    for args in [
        &["build", "--release", "--locked", "--bin", "sandbox"][..],
        &[
            "build",
            "--release",
            "--locked",
            "-p",
            "sandbox-safety",
            "--example",
            "scan_speed",
        ],
    ] {
        process::run(&mut process::cargo(args))?;
    }
    let built = release_directory()?;
    process::run(Command::new(built.join("examples/scan_speed")).arg(directory))?;

    if Command::new("rg").arg("--version").output().is_err() {
        bail!("ripgrep is missing: install the package `ripgrep` (apt-get install ripgrep)");
    }
    let place = tempfile::Builder::new()
        .prefix("sandbox-bench-")
        .tempdir()
        .context("cannot make a directory for the benchmark")?;
    let words = place.path().join("words");
    let list = process::read(Command::new(built.join("examples/scan_speed")).arg("--words"))?;
    fs::write(&words, list).context("cannot write the words")?;
    let ours = |severity: &str| {
        let mut command = Command::new("sh");
        // Findings are no failure here.
        command.args([
            "-c",
            "\"$0\" scan --quiet --severity \"$1\" \"$2\" || [ $? -eq 1 ]",
        ]);
        command
            .arg(built.join("sandbox"))
            .args([severity, directory]);
        command.env("SANDBOX_HOME", place.path());
        command
    };
    let ripgrep = |threads: &str| {
        let mut command = Command::new("rg");
        command.args(["-c", "-i", "-a", "-uuu", "-F", "-j", threads, "-f"]);
        command.arg(&words).arg(directory);
        command
    };
    let mut contestants = [
        Contestant::new("sandbox scan, two threads", ours("low")),
        Contestant::new("rg -c -i -a -F -f words, two threads", ripgrep("2")),
    ];
    for round in 0..WARM_UP + RUNS {
        for contestant in &mut contestants {
            let took = contestant.run()?;
            if round >= WARM_UP {
                contestant.wall.push(took);
            }
        }
    }
    print(&contestants);
    Ok(())
}

fn print(contestants: &[Contestant; 2]) {
    println!("median of {RUNS} runs in turn");
    for contestant in contestants {
        println!(
            "{:>9.1} ms  {}",
            milliseconds(contestant.median()),
            contestant.name
        );
    }
    let [ours, ripgrep] = contestants;
    let ratio = ours.median().as_secs_f64() / ripgrep.median().as_secs_f64();
    println!("{ratio:>9.2} × ripgrep");
}
