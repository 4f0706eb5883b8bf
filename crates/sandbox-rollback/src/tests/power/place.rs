//! Putting a picture on disk, so that the product sees the files that were in it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Gid, Mode, Uid};

use super::image::{Attributes, Data, Image};
use crate::{
    attributes::set_mtime,
    stat::Stat,
    step::{Doubles, StandsFor, set_doubles},
    xattr,
};

const PART: usize = 4096;

/// Makes the directory `root` as it is in the picture; from now on its files stand for those.
pub(super) fn place(image: &Image, root: &Path, generation: u64) {
    set_doubles(None);
    let mut made: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut stack = vec![(image.root, root.to_owned())];
    while let Some((ino, path)) = stack.pop() {
        let node = &image.nodes[&ino];
        if let Some(first) = made.get(&ino) {
            fs::hard_link(first, &path).unwrap();
            continue;
        }
        match &node.data {
            Data::Names(names) => {
                if ino != image.root {
                    fs::create_dir(&path).unwrap();
                }
                stack.extend(names.iter().map(|(name, ino)| (*ino, path.join(name))));
            }
            Data::Bytes(bytes) => write(&path, bytes),
            Data::Target(target) => {
                std::os::unix::fs::symlink(OsStr::from_bytes(target), &path).unwrap();
            }
            Data::Special(major, minor) => {
                let kind = FileType::from_raw_mode(node.attributes.mode);
                let device = rustix::fs::makedev(*major, *minor);
                rustix::fs::mknodat(CWD, &path, kind, Mode::empty(), device).unwrap();
            }
        }
        made.insert(ino, path);
    }
    let mut doubles = Doubles {
        by_ino: BTreeMap::new(),
        others_plus: generation << 40,
    };
    // The deepest first: what is made in a directory moves its time, and its mode may close it.
    let mut order: Vec<_> = made.iter().collect();
    order.sort_by_key(|(_, path)| std::cmp::Reverse(path.components().count()));
    for (ino, path) in order {
        let node = &image.nodes[ino];
        dress(path, &node.attributes);
        let parent = path.parent().unwrap();
        let parent: OwnedFd = fs::File::open(parent).unwrap().into();
        let name = path.file_name().unwrap();
        set_mtime(&parent, name, node.mtime).unwrap();
        let stat = Stat::at(&parent, name).unwrap();
        let double = StandsFor {
            ino: *ino,
            ctime: node.ctime,
            own_ctime: stat.ctime,
        };
        doubles.by_ino.insert(stat.ino, double);
    }
    set_doubles(Some(doubles));
}

/// Writes a file; a database is mostly zeros.
fn write(path: &Path, bytes: &[u8]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (number, part) in bytes.chunks(PART).enumerate() {
        if part != &[0; PART][..part.len()] {
            file.write_all_at(part, (number * PART) as u64).unwrap();
        }
    }
}

fn dress(path: &Path, attributes: &Attributes) {
    let (uid, gid) = attributes.owner;
    let own = Stat::at(CWD, path).unwrap();
    if (own.uid, own.gid) != (uid, gid) {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, path, uid, gid, flags).unwrap();
    }
    for (name, value) in &attributes.xattrs {
        xattr::set(path.as_os_str(), name, value).unwrap();
    }
    if own.mode != attributes.mode && !own.is_symlink() {
        rustix::fs::chmod(path, Mode::from_raw_mode(attributes.mode & 0o7777)).unwrap();
    }
}
