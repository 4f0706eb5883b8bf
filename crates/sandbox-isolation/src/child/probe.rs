//! Whether namespaces can be had: by making some.

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags},
};

use super::{
    identity::Identity,
    status::{Act, Failure},
};
use crate::sys::{
    clone::{self, Memory, Stack},
    process::{self, Children, Patience},
};

/// Makes `namespaces` in a child, and mounts in them: where `AppArmor` restricts user namespaces they can be made, and
/// nothing can be done in them.
pub(crate) fn namespaces(namespaces: libc::c_int, identity: Identity) -> Result<(), Failure> {
    let mut stack = Stack::new();
    let mut identity = identity;
    let child = clone::with_signals_blocked(|| {
        let (memory, entry) = (Memory::Copied, attempt as fn(&mut Identity) -> i32);
        clone::start(&mut stack, memory, namespaces, &mut identity, entry)
    });
    let child = child.map_err(|errno| Act::Namespaces.failed(errno))?;
    let ended = process::wait(Children::One(child), Patience::Block);
    let status = match ended {
        Ok(Some((_, status, _))) => status,
        Ok(None) => 0,
        Err(errno) => return Err(Act::Namespaces.failed(errno)),
    };
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, 0) => Ok(()),
        (true, errno) => Err(Act::Namespaces.failed(Errno::from_raw_os_error(errno))),
        (false, _) => Err(Act::Namespaces.failed(Errno::PERM)),
    }
}

/// The child: answers with the number of the error, 0 for none.
fn attempt(identity: &mut Identity) -> i32 {
    let mapped = identity.map_own().map_err(|failure| failure.errno);
    let mounted = mapped.and_then(|()| {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", private)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount(c"tmpfs", c"/sys", c"tmpfs", flags, None)
    });
    mounted.map_or_else(Errno::raw_os_error, |()| 0)
}
