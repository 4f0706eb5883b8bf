//! Puts a machine together: its first root, and a disk with the tests.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{Profile, Suite, cpio::Archive, guest, kernel::Kernel, login, put, tool};
use crate::{process, test::Built};

/// The disk is a sparse file of this size.
const DISK_BYTES: u64 = 6 << 30;
/// What the first process calls by name.
const APPLETS: [&str; 11] = [
    "sh",
    "cp",
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

/// Makes a machine that has `disk` and does `job`.
pub(super) fn make(
    kernel: &Kernel,
    (profile, job): (&Profile, &str),
    disk: &Path,
    work: &Path,
) -> anyhow::Result<Machine> {
    Ok(Machine {
        kernel: kernel.image.clone(),
        first_root: put(work, "first-root", &first_root(kernel, profile, job)?)?,
        disk: disk.to_owned(),
    })
}

/// Returns a disk with the programs. It is never written, so it is made anew only when one of them was.
pub(super) fn disk(built: &Built, work: &Path) -> anyhow::Result<PathBuf> {
    let programs = programs(built)?;
    let contents = described(&programs)?;
    let (disk, label) = (work.join("disk"), work.join("disk.label"));
    if disk.is_file() && fs::read_to_string(&label).is_ok_and(|it| it == contents) {
        return Ok(disk);
    }
    println!("making a disk with the tests");
    let content = work.join("content");
    for of_last_time in [&label, &disk] {
        let _mostly_not_there = fs::remove_file(of_last_time);
    }
    let _mostly_not_there = fs::remove_dir_all(&content);
    fill(&content, &programs)?;
    fs::File::create(&disk)
        .and_then(|file| file.set_len(DISK_BYTES))
        .context("cannot make the disk")?;
    let mut mkfs = tool("mkfs.ext4");
    mkfs.args(["-q", "-F", "-E", "lazy_itable_init=1,nodiscard", "-d"]);
    process::run(mkfs.arg(&content).arg(&disk))?;
    fs::remove_dir_all(&content).context("cannot remove what the disk was made of")?;
    // Last: a disk without a label is not complete.
    put(work, "disk.label", contents.as_bytes())?;
    Ok(disk)
}

/// What the machine runs, by the names that it has there.
type Programs = [(&'static str, PathBuf); 5];

fn programs(built: &Built) -> anyhow::Result<Programs> {
    Ok([
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
    ])
}

/// Tells one state of the programs from another.
fn described(programs: &Programs) -> anyhow::Result<String> {
    let mut text = String::new();
    for (_, path) in programs {
        let metadata =
            fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (length, second) = (metadata.len(), metadata.mtime());
        let _infallible = writeln!(
            text,
            "{} {length} {second}.{}",
            path.display(),
            metadata.mtime_nsec()
        );
    }
    Ok(text)
}

fn first_root(kernel: &Kernel, profile: &Profile, job: &str) -> anyhow::Result<Vec<u8>> {
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
    archive.program("job", job.as_bytes());
    archive.directory("units");
    for (path, text) in login::units() {
        if let Some((directory, _file)) = path.rsplit_once('/') {
            archive.directory(&format!("units/{directory}"));
        }
        archive.program(&format!("units/{path}"), text.as_bytes());
    }
    archive.program("init", guest::init(profile.start, &names).as_bytes());
    Ok(archive.finish())
}

/// Lays the disk's files out in `content`.
fn fill(content: &Path, programs: &Programs) -> anyhow::Result<()> {
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
    if fs::metadata("/proc/self").is_ok_and(|us| us.uid() == 0) {
        chown(
            content.join("home"),
            Some(UNPRIVILEGED_ID),
            Some(UNPRIVILEGED_ID),
        )
        .context("cannot give the home away")?;
    }
    for (name, program) in programs {
        let copy = content.join("bin").join(name);
        fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
