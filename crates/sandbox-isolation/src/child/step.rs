//! One act of building the guest's view, prepared as data before the clone.

use std::{ffi::CString, fmt};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags},
    process::{Gid, Uid},
};

use super::site::{LayerNames, Site};

/// Where the overlay finds its lower layer, and the directory with its upper and work directories: two
/// directories of every host that everybody may traverse. They are covered, in a private mount namespace, once
/// nothing of the host is looked up below them any more.
pub(crate) const STAGE_LOWER: &str = "/usr";
/// See [`STAGE_LOWER`].
pub(crate) const STAGE_LAYERS: &str = "/etc";

/// What the guest may do below a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Device,
}

/// Whether a mount shows its files with ids shifted into the guest's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// As on the host.
    Host,
    /// Shifted if the file system can do that.
    ShiftIfPossible,
    /// Shifted, or the step fails.
    Shift,
}

/// The identity of a directory that was opened before: a path may lead elsewhere meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

/// One step. Paths called `at` are relative to the new root, all others are the host's.
#[derive(Debug)]
pub(crate) enum Step {
    /// No mount made here reaches another namespace, none made there arrives here.
    Private,
    /// An empty root.
    Root,
    /// `owner` if it is not the builder.
    Directory {
        at: CString,
        owner: Option<(Uid, Gid)>,
    },
    File {
        at: CString,
        content: Vec<u8>,
    },
    Link {
        at: CString,
        to: CString,
    },
    Bind {
        source: CString,
        at: CString,
        access: Access,
        ids: Ids,
    },
    /// The part of `/sys` that tells about processors.
    Processors,
    /// A private temporary file system.
    Temporary {
        at: CString,
        options: CString,
    },
    /// The workspace itself, or (with an absolute `at`) where the overlay finds it.
    Workspace {
        source: CString,
        inode: Inode,
        at: CString,
        access: Access,
        ids: Ids,
    },
    /// The root becomes read-only.
    Seal,
    /// The old root goes.
    LetGo,
    /// Layers that are there already are mounted over the workspace.
    Overlay {
        at: CString,
        upper: CString,
        work: CString,
    },
    /// The new root becomes the root.
    Pivot,
    Proc,
    Terminals,
    /// Hides a file or directory that may not exist.
    Hide {
        at: CString,
    },
    /// Keeps a directory where it is: a part of it is read-only or hidden.
    Hold {
        at: CString,
    },
    /// Makes a part of the workspace read-only.
    Protect {
        at: CString,
    },
}

/// The steps of building the guest's view.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// Those that need the caller's rights on the host's files.
    pub(crate) build: Vec<Step>,
    /// Those that init takes itself.
    pub(crate) inner: Vec<Step>,
    /// Those that init takes when the operation starts: they look at what may change until then.
    pub(crate) late: Vec<Step>,
}

impl Step {
    /// Takes the step.
    pub(crate) fn run(&self, site: &mut Site) -> Result<(), Errno> {
        match self {
            Self::Private => rustix::mount::mount_change(
                c"/",
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            ),
            Self::Root => site.make_root(),
            Self::Directory { at, owner } => site.make_directory(at, *owner),
            Self::File { at, content } => site.make_file(at, content),
            Self::Link { at, to } => rustix::fs::symlinkat(to, site.root()?, at),
            Self::Bind {
                source,
                at,
                access,
                ids,
            } => site.bind(source, at, *access, *ids),
            Self::Processors => site.bind_processors(),
            Self::Temporary { at, options } => site.mount(c"tmpfs", at, options),
            Self::Workspace {
                source,
                inode,
                at,
                access,
                ids,
            } => site.bind_verified(source, *inode, at, (*access, *ids)),
            Self::Seal => site.seal(),
            Self::LetGo => site.let_go(),
            Self::Overlay { at, upper, work } => site.mount_ahead(at, LayerNames { upper, work }),
            Self::Pivot => site.pivot(),
            Self::Proc => site.mount_proc(),
            Self::Terminals => rustix::mount::mount(
                c"devpts",
                c"/dev/pts",
                c"devpts",
                MountFlags::NOSUID | MountFlags::NOEXEC,
                Some(c"newinstance,ptmxmode=0666,mode=0620"),
            ),
            Self::Hide { at } => site.hide(at),
            Self::Hold { at } => site.hold(at),
            Self::Protect { at } => site.protect(at),
        }
    }
}

impl fmt::Display for Step {
    /// Says what could not be done, to stand behind "cannot".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &CString| format!("/{}", path.to_string_lossy().trim_start_matches('/'));
        match self {
            Self::Private => f.write_str("make the mount namespace private"),
            Self::Root => f.write_str("mount an empty root"),
            Self::Directory { at, .. } => {
                write!(f, "make the directory {} in the guest's root", path(at))
            }
            Self::File { at, .. } => write!(f, "write {} in the guest's root", path(at)),
            Self::Link { at, .. } => write!(f, "link {} in the guest's root", path(at)),
            Self::Bind {
                source,
                access: Access::Read,
                ..
            } => {
                write!(f, "mount {} read-only", path(source))
            }
            Self::Bind {
                source,
                access: Access::Write,
                ..
            } => {
                write!(f, "mount {} writable", path(source))
            }
            Self::Bind {
                source,
                access: Access::Device,
                ..
            } => {
                write!(f, "mount the device {}", path(source))
            }
            Self::Processors => f.write_str("mount the list of processors"),
            Self::Temporary { at, .. } => write!(f, "mount a private {}", path(at)),
            Self::Workspace { source, .. } => write!(f, "mount the workspace {}", path(source)),
            Self::Seal => f.write_str("make the guest's root read-only"),
            Self::LetGo => f.write_str("let go of the host's file systems"),
            Self::Overlay { .. } => f.write_str("mount the next transaction over the workspace"),
            Self::Pivot => f.write_str("change to the guest's root"),
            Self::Proc => f.write_str("mount /proc"),
            Self::Terminals => f.write_str("mount /dev/pts"),
            Self::Hide { at } => write!(f, "hide {}", path(at)),
            Self::Hold { at } => write!(f, "keep {} where it is", path(at)),
            Self::Protect { at } => write!(f, "make {} read-only", path(at)),
        }
    }
}
