//! Directories of ours that nobody else can read or fill, and files that survive a power cut.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Numbers the temporary files of this process.
static REPLACEMENTS: AtomicU64 = AtomicU64::new(0);

/// Makes a directory, mode 0700, whose parent exists. Returns whether it was made: one that is there
/// is used if it is the caller's alone.
pub(crate) fn make(path: &Path) -> io::Result<bool> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    confirm(path, 0o077).map(|()| false)
}

/// Refuses what is not a directory of the caller's, or has one of the `forbidden` permissions.
pub(crate) fn confirm(path: &Path, forbidden: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Err(refuse("it is a symbolic link".to_owned()));
    }
    check(&metadata, forbidden)
}

/// Takes the lock of a file that is there for that; `None` if another process has it.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes the home directory with its parents. The user may have made it: it can be a symbolic link,
/// and others may read it; what lies below it is private by itself.
pub(crate) fn make_home(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) => check(&metadata, 0o022),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path),
        Err(error) => Err(error),
    }
}

fn check(metadata: &fs::Metadata, forbidden: u32) -> io::Result<()> {
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let caller = rustix::process::geteuid().as_raw();
    if metadata.uid() != caller {
        return Err(refuse(format!(
            "it belongs to user {}, not to the calling user {caller}",
            metadata.uid()
        )));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(refuse(format!(
            "its mode {mode:04o} is open to other users"
        )));
    }
    Ok(())
}

fn refuse(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

/// Writes a file, mode 0600, and waits until storage has it.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    fill(path, text)?.sync_all()
}

fn fill(path: &Path, text: &str) -> io::Result<File> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// Writes a file in one step: who reads it sees the old text or the new one, also after a crash.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let temporary = temporary(path);
    write(&temporary, text)?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync)
}

/// As [`replace`], without waiting for storage: for what only saves time, and is not believed when a power cut tore it.
pub(crate) fn replace_soon(path: &Path, text: &str) -> io::Result<()> {
    let temporary = temporary(path);
    fill(&temporary, text)?;
    fs::rename(&temporary, path)
}

/// Another process or thread may write the same file at the same time.
fn temporary(path: &Path) -> PathBuf {
    let number = REPLACEMENTS.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("new-{}-{number}", std::process::id()))
}

/// Waits until storage has the names in a directory.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_directories_of_the_caller_alone_are_used_again() {
        let lab = tempfile::tempdir().unwrap();
        let path = lab.path().join("ours");
        assert!(make(&path).unwrap());
        assert!(!make(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(make(&path).unwrap_err().to_string().contains("0750"));
        make_home(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        make_home(&path).unwrap_err();
        let link = lab.path().join("link");
        symlink(lab.path(), &link).unwrap();
        assert!(make(&link).unwrap_err().to_string().contains("symbolic"));
        make_home(&link).unwrap();
    }
}
