//! Bandwidth limits: which device a directory lies on, and what its cgroup files are.
//!
//! Version 2 limits all reading, and all writing of file systems that account for it (ext4, xfs, btrfs on one
//! device: `Documentation/admin-guide/cgroup-v2.rst`, "Writeback"). Version 1 limits reading, and only direct
//! writing: what goes through the page cache is written by the kernel later, in nobody's name.

use std::{fs, path::Path};

use rustix::fs::{major, minor};

use super::limits::{Version, write};

/// Bandwidth of one device.
#[derive(Clone, Debug)]
pub(crate) struct IoLimit {
    /// As `stat(2)` tells it of a file there.
    pub(crate) device: u64,
    /// Bytes a second.
    pub(crate) read: Option<u64>,
    /// Bytes a second.
    pub(crate) write: Option<u64>,
}

impl IoLimit {
    pub(super) fn set(&self, path: &Path, version: Version) -> Result<(), String> {
        let disk = disk_of(self.device)?;
        match version {
            Version::Two => {
                let part = |name, limit: Option<u64>| {
                    limit.map_or(String::new(), |bytes| format!(" {name}={bytes}"))
                };
                let (read, wrote) = (part("rbps", self.read), part("wbps", self.write));
                write(path, "io.max", &format!("{disk}{read}{wrote}"))
            }
            Version::One => {
                if let Some(bytes) = self.read {
                    let line = format!("{disk} {bytes}");
                    write(path, "blkio.throttle.read_bps_device", &line)?;
                }
                let Some(bytes) = self.write else {
                    return Ok(());
                };
                let line = format!("{disk} {bytes}");
                write(path, "blkio.throttle.write_bps_device", &line)?;
                Err("version 1 limits direct writes only, not those through the cache".to_owned())
            }
        }
    }
}

/// Returns the number of the whole disk that the file system of `device` lies on, as `major:minor`.
fn disk_of(device: u64) -> Result<String, String> {
    let number = format!("{}:{}", major(device), minor(device));
    let Ok(node) = fs::canonicalize(format!("/sys/dev/block/{number}")) else {
        return Err(
            "the workspace lies on no disk of its own (tmpfs, btrfs, overlay, network)".to_owned(),
        );
    };
    if !node.join("partition").exists() {
        return Ok(number);
    }
    let whole = node
        .parent()
        .and_then(|disk| fs::read_to_string(disk.join("dev")).ok());
    whole.map_or_else(
        || {
            Err(format!(
                "the disk of the partition {number} is not to be found"
            ))
        },
        |text| Ok(text.trim().to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_lies_on_no_disk_cannot_be_limited() {
        let proc = fs::metadata("/proc").unwrap().dev();
        assert!(disk_of(proc).unwrap_err().contains("no disk"));
    }
}
