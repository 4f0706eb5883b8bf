//! What a keeper is for, and where it is found.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, inotify},
    io::Errno,
};

use super::{
    key::Key,
    layers::Identity,
    wire::{self, Connection, Request, SOCKET_FILE},
};

/// Locked by the keeper that listens.
const LOCK_FILE: &str = "session.lock";
/// Conversations that wait to be accepted.
const BACKLOG: i32 = 256;
/// How long a keeper that is to give way may take.
const GIVE_WAY_LIMIT: Duration = Duration::from_secs(2);

/// What a keeper is started with.
#[derive(Debug, PartialEq)]
pub(crate) struct Charge {
    pub(crate) directory: PathBuf,
    pub(crate) idle_timeout: Duration,
    /// Whether another keeper is to give way.
    pub(crate) replaces: bool,
    pub(crate) key: Key,
}

impl Charge {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let milliseconds = u64::try_from(self.idle_timeout.as_millis()).unwrap_or(u64::MAX);
        let directory = self.directory.as_os_str().as_bytes();
        let mut bytes = milliseconds.to_le_bytes().to_vec();
        bytes.push(u8::from(self.replaces));
        bytes.extend((directory.len() as u64).to_le_bytes());
        bytes.extend_from_slice(directory);
        bytes.extend(self.key.encode());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let (timeout, bytes) = bytes.split_at_checked(8)?;
        let (replaces, bytes) = bytes.split_first()?;
        let (length, bytes) = bytes.split_at_checked(8)?;
        let length = usize::try_from(number(length)?).ok()?;
        let (directory, key) = bytes.split_at_checked(length)?;
        Some(Self {
            directory: OsString::from_vec(directory.to_vec()).into(),
            idle_timeout: Duration::from_millis(number(timeout)?),
            replaces: *replaces != 0,
            key: Key::decode(key)?,
        })
    }
}

/// The session's socket, as long as it is ours.
pub(super) struct Place {
    pub(super) socket: OwnedFd,
    pub(super) path: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes it, unless another keeper has it that does as well.
    pub(super) fn take(charge: &Charge) -> io::Result<Option<Self>> {
        let directory = &charge.directory;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK_FILE))?;
        let try_lock = || rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
        if try_lock().is_err() {
            if !charge.replaces {
                return Ok(None);
            }
            let other = Connection::to(directory)?;
            other.ask(Request::GiveWay(&charge.key.encode()))?;
            other.await_answer(Some(Instant::now() + GIVE_WAY_LIMIT));
            if try_lock().is_err() {
                return Ok(None);
            }
        }
        let path = directory.join(SOCKET_FILE);
        // Of a keeper that was killed: whoever lives has the lock.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = wire::socket()?;
        let (_parent, address) = wire::address_in(directory)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Some(Self {
            socket,
            path,
            _lock: lock,
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before the lock is given up, so it is still ours.
        fs::remove_file(&self.path).ok();
    }
}

/// Returns which directory the workspace is, and what tells when one of these directories goes, or something goes from
/// the session's; `None` if this user has no more of that.
pub(super) fn watch(directory: &Path, workspace: &Path) -> io::Result<(Identity, Option<OwnedFd>)> {
    use inotify::{CreateFlags, WatchFlags};
    let identity = Identity::of(workspace)?;
    let watch = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
        Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return Ok((identity, None)),
        watch => watch?,
    };
    let gone = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB;
    let socket_gone = gone | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
    for (path, events) in [(directory, socket_gone), (workspace, gone)] {
        match inotify::add_watch(&watch, path, events) {
            // `fs.inotify.max_user_watches`.
            Err(Errno::NOSPC) => return Ok((identity, None)),
            watched => watched.map(drop)?,
        }
    }
    Ok((identity, Some(watch)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_arrives_as_it_was_sent() {
        let charge = Charge {
            directory: "/home/x/sandboxes/a".into(),
            idle_timeout: Duration::from_secs(60),
            replaces: true,
            key: Key {
                site: vec![1, 2],
                ambient: vec![3],
            },
        };
        let bytes = charge.encode();
        assert_eq!(Charge::decode(&bytes), Some(charge));
        for length in 0..bytes.len() {
            assert_eq!(Charge::decode(&bytes[..length]), None, "{length}");
        }
    }
}
