//! Puts a machine together: its first root, and a disk with the tests.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{Profile, Suite, cpio::Archive, guest, kernel::Kernel, put, tool};
use crate::{process, test::Built};

/// The disk is a sparse file of this size.
const DISK_BYTES: u64 = 6 << 30;
/// What the first process calls by name.
const APPLETS: [&str; 10] = [
    "sh",
    "mount",
    "mkdir",
    "insmod",
    "chmod",
    "ip",
    "switch_root",
    "cat",
    "ls",
    "echo",
];
const UNPRIVILEGED_ID: u32 = 65_534;

/// All that one machine is started with.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) kernel: PathBuf,
    pub(super) first_root: PathBuf,
    pub(super) disk: PathBuf,
}

/// Makes the files of a machine in `work`.
pub(super) fn make(
    kernel: &Kernel,
    built: &Built,
    (profile, filter): (&Profile, Option<&str>),
    work: &Path,
) -> anyhow::Result<Machine> {
    let first_root = put(work, "first-root", &first_root(kernel)?)?;
    let content = work.join("content");
    fill(&content, built, &guest::job(profile, filter))?;
    let disk = work.join("disk");
    let _replaced = fs::remove_file(&disk);
    fs::File::create(&disk)
        .and_then(|file| file.set_len(DISK_BYTES))
        .context("cannot make the disk")?;
    let mut mkfs = tool("mkfs.ext4");
    mkfs.args(["-q", "-F", "-E", "lazy_itable_init=1,nodiscard", "-d"]);
    process::run(mkfs.arg(&content).arg(&disk))?;
    fs::remove_dir_all(&content).context("cannot remove what the disk was made of")?;
    Ok(Machine {
        kernel: kernel.image.clone(),
        first_root,
        disk,
    })
}

fn first_root(kernel: &Kernel) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in [
        "bin", "proc", "sys", "dev", "host", "top", "root", "modules",
    ] {
        archive.directory(directory);
    }
    let busybox = fs::read(&kernel.busybox).context("cannot read busybox")?;
    archive.program("bin/busybox", &busybox);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    let mut names = Vec::new();
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let bytes =
            fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
        archive.program(&format!("modules/{name}"), &bytes);
        names.push(name.into_owned());
    }
    archive.program("init", guest::init(&names).as_bytes());
    Ok(archive.finish())
}

/// Lays the disk's files out in `content`.
fn fill(content: &Path, built: &Built, job: &str) -> anyhow::Result<()> {
    for (name, mode) in [
        ("", 0o755),
        ("bin", 0o755),
        ("tmp", 0o1777),
        ("home", 0o755),
        ("root", 0o700),
    ] {
        let path = content.join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    if fs::metadata("/proc/self").is_ok_and(|us| std::os::unix::fs::MetadataExt::uid(&us) == 0) {
        chown(
            content.join("home"),
            Some(UNPRIVILEGED_ID),
            Some(UNPRIVILEGED_ID),
        )
        .context("cannot give the home away")?;
    }
    let programs = [
        ("sandbox", built.binary("sandbox-cli")?),
        (Suite::Units.file(), built.units("sandbox-isolation")?),
        (
            Suite::Isolation.file(),
            built.tests("sandbox-isolation", "it")?,
        ),
        (Suite::Cli.file(), built.tests("sandbox-cli", "it")?),
        (
            Suite::Escapes.file(),
            built.tests("sandbox-cli", "escapes")?,
        ),
    ];
    for (name, program) in programs {
        let copy = content.join("bin").join(name);
        fs::copy(&program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    }
    let job = put(content, "job", job.as_bytes())?;
    fs::set_permissions(job, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
