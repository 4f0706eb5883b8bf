//! What the steps of building the view hand on to each other, and how each is done.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags,
    },
    process::{Gid, Uid},
};

use super::step::{Access, Ids, Inode};
use crate::sys::{
    mount::{Attributes, set_attributes},
    process,
};

/// Where the guest's root is put together: a directory of every host, covered by the new root until the
/// pivot. Nothing below it is looked up on the host afterwards.
const NEW_ROOT: &CStr = c"/sys";
/// How many processors there are, and what they share: the one part of `/sys` that programs need.
const PROCESSORS: &CStr = c"/sys/devices/system/cpu";
/// Names in the new root that the guest's `/proc` covers: the old root until it is detached, and the
/// empty file and directory that are mounted over what is hidden.
const OLD_ROOT: &CStr = c"proc/host";
const EMPTY_FILE: &CStr = c"proc/empty-file";
const EMPTY_DIRECTORY: &CStr = c"proc/empty-directory";

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const READ_WRITE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const DEVICE: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// What is mounted, and what it is mounted on, was found before without links in its path. One that is there now was
/// put there meanwhile, by somebody who may change a directory on the way: it is not followed.
const RESOLVE: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// Where the lower layer is, from the old root ([`super::step::STAGE_LOWER`]).
const STAGED_LOWER: &CStr = c"usr";

/// The layers of a transaction that get its changes, as the overlay is told them: from the old root.
#[derive(Clone, Copy)]
pub(crate) struct LayerNames<'a> {
    pub(crate) upper: &'a CStr,
    pub(crate) work: &'a CStr,
}

/// The state between the steps.
#[derive(Default)]
pub(crate) struct Site {
    root: Option<OwnedFd>,
    old_root: Option<OldRoot<OwnedFd>>,
    /// The workspace's root, where layers were mounted over it ahead.
    ahead: Option<Inode>,
    empty_file: Option<OwnedFd>,
    empty_directory: Option<OwnedFd>,
    /// Taken before the new root covers it.
    processors: Option<OwnedFd>,
    /// The guest's user namespace, for shifted ids.
    pub(crate) user_namespace: Option<OwnedFd>,
    /// Whether the guest's `/proc` could not be mounted.
    pub(crate) without_proc: bool,
}

/// The host's file systems, under a name that the guest's `/proc` covers. The overlay's layers are there.
#[derive(Clone, Copy)]
pub(crate) struct OldRoot<D>(D);

impl Site {
    pub(super) fn root(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.root.as_ref().map(OwnedFd::as_fd).ok_or(Errno::BADF)
    }

    pub(super) fn make_root(&mut self) -> Result<(), Errno> {
        // Some containers have no /sys.
        self.processors = rustix::mount::open_tree(CWD, PROCESSORS, tree_flags()).ok();
        let options = c"mode=0755,size=16m";
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount(c"tmpfs", NEW_ROOT, c"tmpfs", flags, Some(options))?;
        let root = rustix::fs::open(NEW_ROOT, HANDLE | OFlags::DIRECTORY, Mode::empty())?;
        let mode = Mode::from_raw_mode(0o755);
        for directory in [c"proc", OLD_ROOT, EMPTY_DIRECTORY] {
            rustix::fs::mkdirat(&root, directory, mode)?;
        }
        self.root = Some(root);
        self.make_file(EMPTY_FILE, b"")
    }

    pub(super) fn make_directory(&self, at: &CStr, owner: Option<(Uid, Gid)>) -> Result<(), Errno> {
        let root = self.root()?;
        match rustix::fs::mkdirat(root, at, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => return Ok(()),
            other => other?,
        }
        match owner {
            Some((uid, gid)) => {
                rustix::fs::chownat(root, at, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            }
            None => Ok(()),
        }
    }

    pub(super) fn make_file(&self, at: &CStr, content: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(self.root()?, at, flags, Mode::from_raw_mode(0o644))?;
        let mut rest = content;
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn bind(
        &self,
        source: &CStr,
        at: &CStr,
        access: Access,
        ids: Ids,
    ) -> Result<(), Errno> {
        let source = rustix::fs::openat2(CWD, source, HANDLE, Mode::empty(), RESOLVE)?;
        self.attach(&clone_of(&source)?, at, access, ids)
    }

    pub(super) fn bind_processors(&mut self) -> Result<(), Errno> {
        let at = c"sys/devices/system/cpu";
        match self.processors.take() {
            Some(tree) => self.attach(&tree, at, Access::Read, Ids::Host),
            None => Ok(()),
        }
    }

    /// Mounts the directory that was meant, not what its path leads to by now.
    pub(super) fn bind_verified(
        &self,
        source: &CStr,
        inode: Inode,
        at: &CStr,
        (access, ids): (Access, Ids),
    ) -> Result<(), Errno> {
        let flags = HANDLE | OFlags::DIRECTORY;
        let directory = rustix::fs::openat2(CWD, source, flags, Mode::empty(), RESOLVE)?;
        let found = rustix::fs::fstat(&directory)?;
        if (found.st_dev, found.st_ino) != (inode.device, inode.number) {
            return Err(Errno::STALE);
        }
        self.attach(&clone_of(&directory)?, at, access, ids)
    }

    fn attach(&self, tree: &OwnedFd, at: &CStr, access: Access, ids: Ids) -> Result<(), Errno> {
        let set = match access {
            Access::Read => READ_ONLY,
            Access::Write => READ_WRITE,
            Access::Device => DEVICE,
        };
        set_attributes(tree.as_fd(), true, Attributes { set, idmap: None })?;
        if let (Ids::Shift | Ids::ShiftIfPossible, Some(namespace)) = (ids, &self.user_namespace) {
            let idmap = Some(namespace.as_raw_fd());
            match set_attributes(tree.as_fd(), false, Attributes { set: 0, idmap }) {
                Err(errno) if ids == Ids::Shift => return Err(errno),
                Ok(()) | Err(_) => {}
            }
        }
        cover_with(tree, &self.mount_point(at)?)
    }

    /// Mounts a new file system.
    pub(super) fn mount(&self, kind: &CStr, at: &CStr, options: &CStr) -> Result<(), Errno> {
        rustix::process::fchdir(self.mount_point(at)?)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount(kind, c".", kind, flags, Some(options))
    }

    fn mount_point(&self, at: &CStr) -> Result<OwnedFd, Errno> {
        rustix::fs::openat2(self.root()?, at, HANDLE, Mode::empty(), RESOLVE)
    }

    pub(super) fn seal(&self) -> Result<(), Errno> {
        let attributes = Attributes {
            set: READ_ONLY,
            idmap: None,
        };
        set_attributes(self.root()?, false, attributes)
    }

    /// The mounts that a namespace inherits from a more privileged one are locked: neither pivoted to nor
    /// detached. A recursive copy's top is not.
    pub(super) fn copy_root(&mut self) -> Result<(), Errno> {
        let copy = rustix::mount::open_tree(CWD, NEW_ROOT, tree_flags())?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&copy, c"", CWD, NEW_ROOT, flags)?;
        self.root = Some(copy);
        Ok(())
    }

    /// The old root goes where `/proc` will cover it, and is detached only once the guest runs: that waits for
    /// an RCU grace period.
    pub(super) fn pivot(&mut self) -> Result<(), Errno> {
        rustix::process::fchdir(self.root()?)?;
        rustix::process::pivot_root(c".", OLD_ROOT)?;
        rustix::process::chdir(c"/")?;
        let open = |path| rustix::fs::open(path, HANDLE, Mode::empty());
        self.old_root = Some(OldRoot(open(OLD_ROOT)?));
        self.empty_file = Some(open(EMPTY_FILE)?);
        self.empty_directory = Some(open(EMPTY_DIRECTORY)?);
        Ok(())
    }

    /// Lets go of the old root at once: a confinement that waits for its operation holds nothing of the host that it
    /// does not need. After the guest's `/proc` is mounted: the kernel allows that only where another one is visible as
    /// a whole.
    pub(super) fn let_go(&mut self) -> Result<(), Errno> {
        let old_root = self.old_root.take().ok_or(Errno::BADF)?;
        old_root.detach()
    }

    /// Mounts layers over the workspace. They are named relative to the old root, where they were put.
    pub(super) fn mount_overlay(&mut self, at: &CStr, layers: LayerNames<'_>) -> Result<(), Errno> {
        let OldRoot(directory) = self.old_root.as_ref().ok_or(Errno::BADF)?;
        rustix::process::fchdir(directory)?;
        let mounted = overlay(layers);
        rustix::process::chdir(c"/")?;
        cover_with(&mounted?, &self.mount_point(at)?)
    }

    /// The same, with layers that wait for their transaction.
    pub(super) fn mount_ahead(&mut self, at: &CStr, layers: LayerNames<'_>) -> Result<(), Errno> {
        self.mount_overlay(at, layers)?;
        self.ahead = Some(self.inode(at)?);
        Ok(())
    }

    /// Fails unless these layers are still there: the kernel takes a mount away when what it is mounted on goes.
    pub(super) fn check_ahead(&self, at: &CStr) -> Result<(), Errno> {
        if self.ahead.is_some() && self.ahead == Some(self.inode(at)?) {
            return Ok(());
        }
        Err(Errno::STALE)
    }

    fn inode(&self, at: &CStr) -> Result<Inode, Errno> {
        let found = rustix::fs::fstat(self.mount_point(at)?)?;
        Ok(Inode {
            device: found.st_dev,
            number: found.st_ino,
        })
    }

    /// Mounts a `/proc` of the guest's own pid namespace, read-only as a whole: `/proc/sys` and its like can
    /// not be written whoever the caller is. Where a container masks parts of its `/proc` the kernel
    /// refuses a fresh one; an empty directory takes its place.
    pub(super) fn mount_proc(&mut self) -> Result<(), Errno> {
        match fresh_proc() {
            Ok(proc) => {
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                rustix::mount::move_mount(&proc, c"", CWD, c"/proc", flags)
            }
            Err(Errno::PERM | Errno::ACCESS) => {
                self.without_proc = true;
                let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
                rustix::mount::mount(c"tmpfs", c"/proc", c"tmpfs", flags, None)
            }
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn hide(&self, at: &CStr) -> Result<(), Errno> {
        let Some(target) = self.find(at)? else {
            return Ok(());
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode);
        let cover = if kind == FileType::Directory {
            &self.empty_directory
        } else {
            &self.empty_file
        };
        let tree = clone_of(cover.as_ref().ok_or(Errno::BADF)?)?;
        cover_with(&tree, &target)
    }

    /// Mounts a directory over itself: what is a mount point can be neither renamed nor removed.
    pub(super) fn hold(&self, at: &CStr) -> Result<(), Errno> {
        match self.find(at)? {
            Some(target) => cover_with(&clone_of(&target)?, &target),
            None => Ok(()),
        }
    }

    pub(super) fn protect(&self, at: &CStr) -> Result<(), Errno> {
        let Some(target) = self.find(at)? else {
            return Ok(());
        };
        let tree = clone_of(&target)?;
        let attributes = Attributes {
            set: READ_ONLY,
            idmap: None,
        };
        set_attributes(tree.as_fd(), true, attributes)?;
        cover_with(&tree, &target)
    }

    /// Finds what the guest will find at `at`, links and all, without ever leaving its root: a guest may have
    /// put links there before. `None` if there is nothing.
    fn find(&self, at: &CStr) -> Result<Option<OwnedFd>, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(self.root()?, at, HANDLE, Mode::empty(), resolve) {
            Ok(target) => Ok(Some(target)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Gives away the old root, for [`OldRoot::detach`].
    pub(crate) fn take_old_root(&mut self) -> Option<OldRoot<OwnedFd>> {
        self.old_root.take()
    }
}

impl<D: AsFd> OldRoot<D> {
    /// Lets go of the host's file systems.
    pub(crate) fn detach(&self) -> Result<(), Errno> {
        rustix::process::fchdir(&self.0)?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    }

    /// The same, of a descriptor that somebody else owns.
    pub(crate) fn lent(&self) -> OldRoot<BorrowedFd<'static>> {
        OldRoot(process::borrow(self.0.as_fd().as_raw_fd()))
    }
}

fn tree_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE
}

fn clone_of(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = tree_flags() | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(directory, c"", flags)
}

fn cover_with(tree: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", target, c"", flags)
}

/// Makes the mount of a transaction, and attaches it nowhere.
fn overlay(LayerNames { upper, work }: LayerNames<'_>) -> Result<OwnedFd, Errno> {
    use rustix::mount::{fsconfig_set_flag, fsconfig_set_string};
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", c"overlay")?;
    fsconfig_set_string(&context, c"lowerdir", STAGED_LOWER)?;
    fsconfig_set_string(&context, c"upperdir", upper)?;
    fsconfig_set_string(&context, c"workdir", work)?;
    fsconfig_set_flag(&context, c"userxattr")?;
    fsconfig_set_flag(&context, c"volatile")?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn fresh_proc() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
