//! Fetches a kernel and a static busybox as Debian packages, and finds the modules that the machine needs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::tool;
use crate::process;

/// The package that depends on the distribution's current kernel.
const DEFAULT_KERNEL: &str = "linux-image-amd64";
const BUSYBOX: &str = "busybox-static";

/// What the machine's devices and file systems need, and what a checksum is looked up by name.
const MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_blk",
    "9pnet_virtio",
    "9p",
    "overlay",
    "crc32c_generic",
    "ext4",
];

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// As `uname -r` prints it.
    pub(super) release: String,
    /// The package it comes from.
    pub(super) package: String,
    pub(super) image: PathBuf,
    /// Each after those that it needs.
    pub(super) modules: Vec<PathBuf>,
    pub(super) busybox: PathBuf,
}

/// Returns the kernel in the cache, which is filled first if it is empty.
pub(super) fn fetch(cache: &Path, package: Option<&str>) -> anyhow::Result<Kernel> {
    let package = match package {
        Some(package) => package.to_owned(),
        None => dependency(DEFAULT_KERNEL)?,
    };
    let unpacked = fetch_package(cache, &package)?;
    let busybox = fetch_package(cache, BUSYBOX)?.join("bin/busybox");
    let trees = ["lib/modules", "usr/lib/modules"].map(|path| unpacked.join(path));
    let tree = trees.iter().find_map(|tree| only_entry(tree));
    let Some(tree) = tree else {
        bail!("the package {package} has no kernel modules");
    };
    let release = tree.file_name().unwrap_or_default().to_string_lossy();
    let image = unpacked.join(format!("boot/vmlinuz-{release}"));
    if !image.is_file() {
        bail!("the package {package} has no {}", image.display());
    }
    let modules = modules(&tree, cache)?;
    Ok(Kernel {
        release: release.into_owned(),
        package,
        image,
        modules,
        busybox,
    })
}

/// Returns the first package that `package` depends on.
fn dependency(package: &str) -> anyhow::Result<String> {
    let mut command = tool("apt-cache");
    let told = process::read(command.args(["depends", package]))?;
    let told = String::from_utf8_lossy(&told);
    let mut lines = told
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    lines.next().map(str::to_owned).with_context(|| {
        format!("apt knows no package {package}: is this Debian, and has `apt-get update` run?")
    })
}

/// Downloads and unpacks, unless that was done before.
fn fetch_package(cache: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let unpacked = cache.join(package);
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    println!("downloading {package}");
    let work = tempfile::Builder::new()
        .prefix("download-")
        .tempdir_in(cache)
        .context("cannot make a directory for the download")?;
    let mut apt = tool("apt-get");
    // As root apt would become another user, who may not write here.
    let as_us = ["-qq", "-o", "APT::Sandbox::User=root", "download", package];
    process::run(apt.args(as_us).current_dir(work.path()))?;
    let file =
        only_entry(work.path()).with_context(|| format!("apt-get has not downloaded {package}"))?;
    let content = work.path().join("content");
    let mut dpkg = tool("dpkg-deb");
    process::run(dpkg.arg("--extract").arg(&file).arg(&content))?;
    // Complete or not there: a download that is cut short leaves nothing to trip over.
    fs::rename(&content, &unpacked)
        .with_context(|| format!("cannot name {}", unpacked.display()))?;
    Ok(unpacked)
}

fn only_entry(directory: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(directory).ok()?.flatten();
    let first = entries.next()?.path();
    entries.next().is_none().then_some(first)
}

/// Returns [`MODULES`] with all that they need, decompressed.
fn modules(tree: &Path, cache: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(tree, &mut files)?;
    let mut order = Order {
        files,
        plain: cache
            .join("modules")
            .join(tree.file_name().unwrap_or_default()),
        seen: BTreeSet::new(),
        found: Vec::new(),
    };
    fs::create_dir_all(&order.plain).context("cannot make a directory for the modules")?;
    for name in MODULES {
        order.add(name)?;
    }
    Ok(order.found)
}

struct Order {
    files: Vec<PathBuf>,
    plain: PathBuf,
    seen: BTreeSet<String>,
    found: Vec<PathBuf>,
}

impl Order {
    /// Adds what `name` needs, then itself. What is no module is part of the kernel.
    fn add(&mut self, name: &str) -> anyhow::Result<()> {
        if !self.seen.insert(name.replace('-', "_")) {
            return Ok(());
        }
        let file = self
            .files
            .iter()
            .find(|file| module_name(file) == name.replace('-', "_"));
        let Some(file) = file.cloned() else {
            return Ok(());
        };
        let plain = self.decompressed(&file)?;
        let bytes = fs::read(&plain).with_context(|| format!("cannot read {}", plain.display()))?;
        for needed in depends(&bytes) {
            self.add(&needed)?;
        }
        self.found.push(plain);
        Ok(())
    }

    fn decompressed(&self, file: &Path) -> anyhow::Result<PathBuf> {
        if file.extension().is_some_and(|it| it == "ko") {
            return Ok(file.to_owned());
        }
        let plain = self.plain.join(format!("{}.ko", module_name(file)));
        if !plain.is_file() {
            let bytes = process::read(tool("xz").arg("-dc").arg(file))?;
            let part = plain.with_extension("part");
            fs::write(&part, bytes).and_then(|()| fs::rename(&part, &plain))?;
        }
        Ok(plain)
    }
}

fn module_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split(".ko").next().unwrap_or_default();
    name.replace('-', "_")
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.file_name().to_string_lossy().contains(".ko") {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Returns what a module names in its `.modinfo`, and the alternatives that it loads by name.
fn depends(module: &[u8]) -> Vec<String> {
    let texts = module.split(|byte| *byte == 0);
    let lists = texts.filter_map(|text| text.strip_prefix(b"depends="));
    lists
        .flat_map(|list| list.split(|byte| *byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        let module = b"\x7fELF\0license=GPL\0depends=jbd2,crc16,mbcache\0name=ext4\0";
        assert_eq!(depends(module), ["jbd2", "crc16", "mbcache"]);
        assert_eq!(depends(b"depends=\0"), Vec::<String>::new());
        assert_eq!(
            module_name(Path::new("/a/crc32c-intel.ko.xz")),
            "crc32c_intel"
        );
    }
}
