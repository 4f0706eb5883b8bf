//! `cargo xtask filesystems`: the tests of transactions and snapshots on file systems that this machine does not use.
//!
//! Each is made in an image file, mounted by a loop device, and taken for the temporary files of the tests.
//! Needs root. What cannot be made here is named as skipped.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::process;

/// Enough for the largest test.
const IMAGE_BYTES: u64 = 1 << 30;

/// File systems, each with the package that makes it.
const KINDS: &[(&str, &str)] = &[
    ("ext4", "e2fsprogs"),
    ("xfs", "xfsprogs"),
    ("btrfs", "btrfs-progs"),
];

/// What runs on each of them.
const TESTS: &[&[&str]] = &[
    &["--package", "sandbox-rollback", "--lib"],
    &["--package", "sandbox-cli", "--test", "it"],
];

/// Runs the tests on each kind, or on the one that is named; with `filter`, those of that name.
pub(crate) fn run(kind: Option<&str>, filter: Option<&str>) -> anyhow::Result<()> {
    if let Some(name) = kind
        && !KINDS.iter().any(|(known, _)| *known == name)
    {
        let names: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
        bail!(
            "no file system `{name}` here; there are {}",
            names.join(", ")
        );
    }
    for (name, package) in KINDS
        .iter()
        .filter(|(it, _)| kind.is_none_or(|kind| kind == *it))
    {
        let maker = format!("mkfs.{name}");
        let mut asked = Command::new(&maker);
        asked.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
        if asked.status().is_err() {
            println!("{name}: SKIPPED, there is no {maker} (package {package})");
            continue;
        }
        let mounted = Mounted::make(name, &maker)?;
        for tests in TESTS {
            test_on(&mounted, tests, filter)?;
        }
        println!("{name}: passed");
    }
    Ok(())
}

fn test_on(mounted: &Mounted, tests: &[&str], filter: Option<&str>) -> anyhow::Result<()> {
    let mut cargo = process::cargo(&["test", "--locked"]);
    cargo
        .args(tests)
        .args(filter)
        .env("TMPDIR", mounted.point());
    process::run(&mut cargo)
}

/// A file system of its own, until it is dropped.
struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    fn make(kind: &str, maker: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let image = directory.path().join("image");
        let file = File::create(&image).context("cannot make the image")?;
        file.set_len(IMAGE_BYTES).context("cannot size the image")?;
        process::read(Command::new(maker).arg(&image))?;
        std::fs::create_dir(directory.path().join("root")).context("cannot make a mount point")?;
        let mounted = Self { directory };
        let mut mount = Command::new("mount");
        mount.args(["-t", kind, "-o", "loop"]).arg(&image);
        process::read(mount.arg(mounted.point()))?;
        process::read(Command::new("chmod").arg("1777").arg(mounted.point()))?;
        Ok(mounted)
    }

    fn point(&self) -> std::path::PathBuf {
        self.directory.path().join("root")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Nothing else can be done about a failure, and the directory stays then.
        let unmounted = Command::new("umount").arg(self.point()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            let at: &Path = self.directory.path();
            eprintln!("{} is still mounted", at.display());
        }
    }
}
