//! `cargo xtask test`: all tests; as root, the kernel tests also as an unprivileged user.
//!
//! Root and an unprivileged user take different ways through the kernel (idmapped mounts or the
//! caller's own id, cgroups or resource limits), so both are tested where both can be.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;
use serde_json::Value;

use crate::process;

/// The integration tests that run on the kernel: package and target.
const KERNEL_TESTS: [(&str, &str); 5] = [
    ("sandbox-isolation", "it"),
    ("sandbox-core", "it"),
    ("sandbox-cli", "it"),
    ("sandbox-cli", "escapes"),
    ("sandbox-cli", "soak"),
];
/// Tells the soak how many operations there are.
const SOAK_VARIABLE: &str = "SANDBOX_SOAK_OPERATIONS";
pub(crate) const SOAK_OPERATIONS: u32 = 200;
/// Names the `sandbox` that the kernel tests run, instead of the one they were built with.
const BINARY_VARIABLE: &str = "SANDBOX_TEST_BINARY";
/// `nobody`: in every system's user table, owner of nothing.
const UNPRIVILEGED_ID: u32 = 65_534;

/// Runs all tests.
pub(crate) fn all() -> anyhow::Result<()> {
    process::run(&mut process::cargo(&["test", "--workspace", "--locked"]))?;
    unprivileged(None)
}

/// Runs the tests whose name contains `name`.
pub(crate) fn named(name: &str) -> anyhow::Result<()> {
    process::run(&mut process::cargo(&[
        "test",
        "--workspace",
        "--locked",
        name,
    ]))?;
    unprivileged(Some(name))
}

/// Runs the escapes with the table of what became of each, as us and, if we are root, as [`UNPRIVILEGED_ID`].
pub(crate) fn escapes(is_long: bool) -> anyhow::Result<()> {
    let mut args = vec!["--table"];
    args.extend(is_long.then_some("--long"));
    let mut command = vec![
        "test",
        "--package",
        "sandbox-cli",
        "--locked",
        "--test",
        "escapes",
        "--",
    ];
    command.extend(&args);
    // Both identities and both ways are tried and told, whatever the first one shows.
    let mut tried = Vec::new();
    for joined in [None, Some("--joined")] {
        command.extend(joined);
        args.extend(joined);
        tried.push(process::run(&mut process::cargo(&command)));
        tried.push(again(&[("sandbox-cli", "escapes")], &args));
    }
    tried.into_iter().collect()
}

/// Runs many operations of all kinds and compares the host before and after, as us and, if we are root, as
/// [`UNPRIVILEGED_ID`].
pub(crate) fn soak(operations: u32) -> anyhow::Result<()> {
    let operations = operations.to_string();
    let args = [
        "test",
        "--package",
        "sandbox-cli",
        "--locked",
        "--test",
        "soak",
    ];
    let mut command = process::cargo(&args);
    command.args(["--", "--nocapture"]);
    let variable = [(SOAK_VARIABLE, operations.as_str())];
    let ours = process::run(command.envs(variable));
    let theirs = again_with(&[("sandbox-cli", "soak")], &["--nocapture"], &variable);
    ours.and(theirs)
}

/// Runs the kernel tests once more as [`UNPRIVILEGED_ID`], if we are root.
fn unprivileged(name: Option<&str>) -> anyhow::Result<()> {
    again(&KERNEL_TESTS, name.as_slice())
}

fn again(tests: &[(&str, &str)], args: &[&str]) -> anyhow::Result<()> {
    again_with(tests, args, &[])
}

fn again_with(
    tests: &[(&str, &str)],
    args: &[&str],
    variables: &[(&str, &str)],
) -> anyhow::Result<()> {
    let us = fs::metadata("/proc/self").context("cannot see who we are")?;
    if us.uid() != 0 {
        println!("not root: the kernel tests have run as this user only");
        return Ok(());
    }
    // The user may not be able to reach the build directory, so the binaries are copied.
    let directory = tempfile::Builder::new()
        .prefix("sandbox-test-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .context("cannot make a directory for the unprivileged tests")?;
    let built = Built::now()?;
    let sandbox = copy(&built.binary("sandbox-cli")?, directory.path())?;
    let home = directory.path().join("home");
    fs::create_dir(&home).context("cannot make a home for the unprivileged tests")?;
    std::os::unix::fs::chown(&home, Some(UNPRIVILEGED_ID), Some(UNPRIVILEGED_ID))
        .context("cannot give the home away")?;

    for (package, target) in tests {
        println!("the tests {target} of {package} once more, as user {UNPRIVILEGED_ID}");
        let tests = copy(&built.tests(package, target)?, directory.path())?;
        let mut command = Command::new(tests);
        command
            .args(args)
            .envs(variables.iter().copied())
            .uid(UNPRIVILEGED_ID)
            .gid(UNPRIVILEGED_ID)
            .current_dir(&home)
            .env(BINARY_VARIABLE, &sandbox)
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_RUNTIME_DIR");
        process::run(&mut command)?;
    }
    Ok(())
}

/// What cargo built for the tests of the whole workspace: the same programs that the tests have
/// just run with, so that nothing is built twice.
pub(crate) struct Built(Vec<Value>);

impl Built {
    fn now() -> anyhow::Result<Self> {
        Self::of(&["--workspace"])
    }

    /// Builds the programs and tests of what `selection` selects.
    pub(crate) fn of(selection: &[&str]) -> anyhow::Result<Self> {
        let mut cargo = process::cargo(&["test", "--locked", "--no-run"]);
        cargo
            .args(["--message-format", "json"])
            .args(selection)
            .stderr(Stdio::inherit());
        let messages = process::read(&mut cargo)?;
        let messages = messages
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok());
        Ok(Self(messages.collect()))
    }

    /// Returns the program that `package` installs.
    pub(crate) fn binary(&self, package: &str) -> anyhow::Result<PathBuf> {
        self.program(package, |target, is_test| {
            target["kind"][0] == "bin" && !is_test
        })
    }

    /// Returns the tests `name` of `package`.
    pub(crate) fn tests(&self, package: &str, name: &str) -> anyhow::Result<PathBuf> {
        self.program(package, |target, _| {
            target["kind"][0] == "test" && target["name"] == name
        })
    }

    /// Returns the tests inside of `package`.
    pub(crate) fn units(&self, package: &str) -> anyhow::Result<PathBuf> {
        self.program(package, |target, is_test| {
            target["kind"][0] == "lib" && is_test
        })
    }

    fn program(
        &self,
        package: &str,
        is_wanted: impl Fn(&Value, bool) -> bool,
    ) -> anyhow::Result<PathBuf> {
        self.0
            .iter()
            .filter(|it| is_wanted(&it["target"], it["profile"]["test"] == true))
            .filter(|it| {
                it["package_id"]
                    .as_str()
                    .is_some_and(|id| id.contains(package))
            })
            .find_map(|it| it["executable"].as_str().map(PathBuf::from))
            .with_context(|| format!("cargo built no such program of {package}"))
    }
}

fn copy(file: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let name = file.file_name().context("a program without a name")?;
    let copy = directory.join(name);
    fs::copy(file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(copy)
}
