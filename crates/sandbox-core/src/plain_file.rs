//! Files that others may have put there: only plain ones are opened, and nothing is waited for.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd, AsRawFd as _},
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};

/// Opens the regular file at a real path, through no link.
///
/// To open a device can do something, and to open a pipe waits: the file is looked at before, by a descriptor with
/// which nothing else can be done, so that nobody can put another one in its place.
pub(crate) fn open(path: &Path) -> io::Result<(File, Stat)> {
    open_in(CWD, path, ResolveFlags::NO_SYMLINKS)
}

/// Reads such a file, if it has at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_file(open(path)?, limit)
}

/// Reads a regular file with at most `limit` bytes below a directory that was opened: links may lead to other places
/// below it, and not out of it. The name itself is none.
pub(crate) fn read_beneath(directory: impl AsFd, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_file(open_in(directory, path, ResolveFlags::BENEATH)?, limit)
}

/// Opens the directory at a real path, through no link, to look for files below it.
pub(crate) fn directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    Ok(File::from(found))
}

fn open_in(directory: impl AsFd, path: &Path, ways: ResolveFlags) -> io::Result<(File, Stat)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let ways = ways | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(directory, path, flags, Mode::empty(), ways)?;
    let stat = fstat(&found)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    Ok((file, stat))
}

fn read_file((file, stat): (File, Stat), limit: u64) -> io::Result<Vec<u8>> {
    let too_large = || {
        let why = format!("it has more than {limit} bytes");
        io::Error::new(io::ErrorKind::FileTooLarge, why)
    };
    if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::mknodat;

    use super::*;

    #[test]
    fn only_plain_files_are_opened_and_through_no_link() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(place.path()).unwrap().join(name);
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/file"), "text").unwrap();
        symlink("real", at("link")).unwrap();
        symlink("real/file", at("end")).unwrap();
        symlink("/etc", at("real/out")).unwrap();
        // Opened, a pipe would wait for ever, and so would this test.
        mknodat(CWD, at("real/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(read(&at("real/file"), 4).unwrap(), b"text");
        let refused = |name: &str| read(&at(name), 4).is_err();
        assert!(refused("real/pipe") && refused("link/file") && refused("end") && refused("real"));
        assert!(read(&at("real/file"), 3).is_err());

        let top = directory(&at("")).unwrap();
        let beneath = |name: &str| read_beneath(&top, Path::new(name), 9_000);
        assert_eq!(beneath("link/file").unwrap(), b"text");
        for name in [
            "../etc/passwd",
            "real/out/passwd",
            "real/pipe",
            "end",
            "/etc/passwd",
        ] {
            assert!(beneath(name).is_err(), "{name}");
        }
        assert!(fs::read(at("real/out/passwd")).is_ok(), "the control");
        assert!(directory(&at("link")).is_err());
    }
}
