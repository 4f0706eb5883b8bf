//! The place where tests stop the engine, and watch it: each change on disk passes through [`step`]
//! first, and what makes changes durable is done here.

#[cfg(test)]
mod watched;

#[cfg(not(test))]
use std::{fs::File, io, os::fd::AsFd, path::Path};

#[cfg(test)]
pub(crate) use watched::{
    DatabaseFile, Doubles, Event, StandsFor, as_seen, database_file, knows_flags, returned,
    set_doubles, step, sync_all, sync_data, sync_file_system, watched, with_steps, without_flags,
};

/// Announces one change on disk. Outside of tests it does nothing.
///
/// # Errors
///
/// Fails in a test whose countdown has run out: from then on nothing may be written, as if the
/// process had been killed.
#[cfg(not(test))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the twin for tests fails when the countdown runs out"
)]
pub(crate) const fn step() -> io::Result<()> {
    Ok(())
}

/// Returns whether renameat2(2) may be tried with flags; tests say no, as some file systems do.
#[cfg(not(test))]
pub(crate) const fn knows_flags() -> bool {
    true
}

/// Makes the content of a file durable.
#[cfg(not(test))]
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Makes a file with its attributes, or the names in a directory, durable.
#[cfg(not(test))]
pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Makes all of a file system durable; `of` is a file in it.
#[cfg(not(test))]
pub(crate) fn sync_file_system(of: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(of)?)
}

/// A database's file.
#[cfg(not(test))]
pub(crate) type DatabaseFile = redb::backends::FileBackend;

/// Opens a database's file, to read and to write.
#[cfg(not(test))]
pub(crate) fn database_file(path: &Path) -> Result<DatabaseFile, redb::DatabaseError> {
    let file = File::options().read(true).write(true).open(path)?;
    DatabaseFile::new(file)
}
