//! `cargo xtask vm`: the tests of confinement and limits on a Debian kernel of their own, in QEMU.
//!
//! The machine that this runs on shows one kernel and one layout of cgroups. The virtual machine shows others:
//! version 2 of the cgroups alone, as every current distribution has it, also as systemd delegates it to a user;
//! and user namespaces switched off. The kernel and a busybox are downloaded as Debian packages and unpacked below
//! `target/`; nothing is installed. The guest sees this machine's files read-only, below a memory file system, so
//! that it has the same programs; workspaces lie on a disk of its own, which is a sparse file.

mod boot;
mod cpio;
mod guest;
mod image;
mod kernel;
mod login;
mod progress;
mod wanted;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{process, test::Built};

pub(crate) use wanted::Wanted;

/// The programs that are needed, and the Debian packages that have them.
const TOOLS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("mkfs.ext4", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("setpriv", "util-linux"),
];

/// What the machine boots with, and what is run in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) passes: &'static [Pass],
    pub(super) start: Start,
}

/// What is different about the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing runs but the tests.
    Alone,
    /// The same, with user namespaces switched off.
    WithoutUserNamespaces,
    /// systemd is the first process, and runs a manager for the user.
    Systemd,
}

/// One run of some tests by one user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) user: User,
    pub(super) suite: Suite,
    /// Only tests whose names contain one of these; all without.
    pub(super) only: &'static [&'static str],
}

/// Who runs the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    Root,
    /// Without a cgroup that it may write.
    Plain,
    /// In a cgroup that is its own, as systemd makes them for each user.
    Delegated,
    /// In a cgroup of root's, with a manager of systemd that has one for the user.
    LoggedIn,
}

/// A program of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// What is inside of the isolation crate.
    Units,
    /// The isolation crate on the kernel.
    Isolation,
    /// The binary `sandbox`.
    Cli,
    /// What hostile commands try.
    Escapes,
}

impl User {
    const ALL: [Self; 4] = [Self::Root, Self::Plain, Self::Delegated, Self::LoggedIn];

    /// Returns how it is called on the command line.
    const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Plain => "user",
            Self::Delegated => "delegated",
            Self::LoggedIn => "logged-in",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

impl Suite {
    const ALL: [Self; 4] = [Self::Units, Self::Isolation, Self::Cli, Self::Escapes];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.file() == name)
    }

    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Units => "units",
            Self::Isolation => "isolation",
            Self::Cli => "cli",
            Self::Escapes => "escapes",
        }
    }
}

const fn pass(user: User, suite: Suite, only: &'static [&'static str]) -> Pass {
    Pass { user, suite, only }
}

/// The tests of the binary that this is about.
const CLI_TESTS: &[&str] = &["limits", "frozen", "freez", "suspend"];

const PROFILES: [Profile; 3] = [
    Profile {
        name: "cgroup2",
        about: "the unified hierarchy alone",
        passes: &[
            pass(User::Root, Suite::Units, &["cgroup"]),
            pass(User::Root, Suite::Isolation, &[]),
            pass(User::Root, Suite::Cli, CLI_TESTS),
            pass(User::Root, Suite::Escapes, &[]),
            pass(User::Plain, Suite::Isolation, &[]),
            pass(User::Plain, Suite::Cli, CLI_TESTS),
            pass(User::Plain, Suite::Escapes, &[]),
            pass(User::Delegated, Suite::Units, &["cgroup"]),
            pass(User::Delegated, Suite::Isolation, &["limits"]),
            pass(User::Delegated, Suite::Cli, &["limits", "frozen", "freez"]),
        ],
        start: Start::Alone,
    },
    Profile {
        name: "no-userns",
        about: "user namespaces switched off",
        passes: &[
            pass(User::Root, Suite::Cli, &["without_user_namespaces"]),
            pass(User::Plain, Suite::Cli, &["without_user_namespaces"]),
        ],
        start: Start::WithoutUserNamespaces,
    },
    Profile {
        name: "systemd",
        about: "a user whom systemd has given no cgroup, but a manager that has one",
        passes: &[pass(User::LoggedIn, Suite::Cli, &["systemd::"])],
        start: Start::Systemd,
    },
];

/// Runs all profiles.
pub(crate) fn all() -> anyhow::Result<()> {
    run(&Wanted::default())
}

/// A run of tests and what became of it.
type Row = (&'static str, String, boot::Totals);

/// Boots, runs and tells what ran, passed and failed.
pub(crate) fn run(wanted: &Wanted<'_>) -> anyhow::Result<()> {
    check_tools()?;
    let chosen = wanted.chosen();
    if chosen.is_empty() {
        bail!("no profile has such a run");
    }
    let cache = target_directory().join("vm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let kernel = kernel::fetch(&cache, wanted.kernel)?;
    println!("==> {} ({})", kernel.release, kernel.package);
    let built = Built::of(&["-p", "sandbox-isolation", "-p", "sandbox-cli"])?;
    let work = Work::take(&cache)?;
    let disk = image::disk(&built, &work.path)?;
    let mut table: Vec<Row> = Vec::new();
    for (profile, passes) in chosen {
        println!("==> {}: {}", profile.name, profile.about);
        let job = guest::job(profile, &passes, wanted);
        let machine = image::make(&kernel, (profile, &job), &disk, &work.path)?;
        let told = boot::run(&machine)?;
        for pass in passes {
            let title = guest::title(pass);
            let totals = told.of(&title);
            table.push((profile.name, title, totals));
        }
        if !told.is_complete {
            bail!(
                "the virtual machine '{}' ended before its last test",
                profile.name
            );
        }
    }
    conclude(&table, wanted.is_part())
}

/// Prints the table, and fails if something in it has.
fn conclude(table: &[Row], is_part: bool) -> anyhow::Result<()> {
    let mut totals = boot::Totals::default();
    println!("\npassed  failed  not shown  run");
    for (profile, title, of_pass) in table {
        totals.add(*of_pass);
        let boot::Totals {
            passed,
            failed,
            skipped,
            broken,
        } = of_pass;
        if is_part && passed + failed + broken == 0 {
            continue;
        }
        let broken = if *broken > 0 { " (broke off)" } else { "" };
        println!("{passed:>6}  {failed:>6}  {skipped:>9}  {profile}: {title}{broken}");
    }
    println!(
        "\n{} passed, {} failed, {} skipped by themselves",
        totals.passed, totals.failed, totals.skipped
    );
    if totals.failed > 0 || totals.broken > 0 {
        bail!(
            "{} tests failed, {} runs broke off",
            totals.failed,
            totals.broken
        );
    }
    if totals.passed == 0 {
        bail!("no test has run");
    }
    Ok(())
}

/// The directory that machines are made in, and kept in for the next time. One process has it at a time.
struct Work {
    path: PathBuf,
    _alone: File,
}

impl Work {
    fn take(cache: &Path) -> anyhow::Result<Self> {
        let lock = cache.join("lock");
        let alone =
            File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
        if alone.try_lock().is_err() {
            bail!("another `cargo xtask vm` is running in {}", cache.display());
        }
        let path = cache.join("machine");
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self {
            path,
            _alone: alone,
        })
    }
}

fn check_tools() -> anyhow::Result<()> {
    for (tool, package) in TOOLS {
        if find(tool).is_none() {
            bail!(
                "`{tool}` is not installed: it is in the Debian package {package} (`apt-get install {package}`)"
            );
        }
    }
    Ok(())
}

/// Returns where `tool` is; administrators' directories are not on every user's `PATH`.
pub(super) fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories
        .map(|directory| directory.join(tool))
        .find(|file| file.is_file())
}

fn target_directory() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| process::root().join("target"), PathBuf::from)
}

/// Returns a command for `tool`, which [`check_tools`] has found.
pub(super) fn tool(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| name.into()))
}

/// Writes `bytes` to a new file of `directory`.
pub(super) fn put(directory: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
