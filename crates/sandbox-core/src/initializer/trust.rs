//! Who can rename what lies in a directory: whoever can puts something else in the place of our transactions, which is
//! then changed or deleted for them.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::{fs::lgetxattr, io::Errno};

/// Whose files of ids are that a user namespace does not have, from `user_namespaces(7)`.
const OVERFLOW_ID: u32 = 65_534;
/// Only owners rename what lies in such a directory, from inode(7).
const STICKY: u32 = 0o1000;
/// The longest access control list that is read; the kernel takes no longer value.
const ACL_BYTES_MAX: usize = 64 * 1024;

/// Returns whether nobody but the caller and root can rename what lies in `directory`, or a directory above it.
pub(super) fn is_trusted(directory: &Path) -> bool {
    let mut above = directory.ancestors();
    above.all(|it| fs::symlink_metadata(it).is_ok_and(|found| is_kept(it, &found)))
}

fn is_kept(path: &Path, found: &Metadata) -> bool {
    let caller = rustix::process::geteuid().as_raw();
    // The id stands for everybody whom this user namespace does not know.
    let is_known = found.uid() != OVERFLOW_ID || has_every_id();
    if !is_known || ![0, caller].contains(&found.uid()) {
        return false;
    }
    let mode = found.mode();
    if mode & STICKY != 0 {
        return true;
    }
    // With an access control list, the bits of the group are what all that it names can have at most.
    let is_of_group = mode & 0o020 != 0;
    mode & 0o002 == 0
        && (!is_of_group || is_private_group(found.uid(), found.gid()) && !names_writers(path))
}

/// Returns whether a group is its user's alone: it has the user's number, nobody else as a member, and is no other
/// user's first. What only a directory service knows is not seen, so that nothing else is believed of a group.
fn is_private_group(user: u32, group: u32) -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    user == group && is_private_in(user, &read("/etc/passwd"), &read("/etc/group"))
}

/// The same, by the texts of passwd(5) and group(5).
fn is_private_in(id: u32, passwd: &str, groups: &str) -> bool {
    let id = id.to_string();
    let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let users: Vec<Vec<String>> = passwd.lines().map(fields).collect();
    let mut of_group = users.iter().filter(|user| user.get(3) == Some(&id));
    let own = |user: &&Vec<String>| user.get(2) == Some(&id);
    let (Some(owner), None) = (of_group.next().filter(own), of_group.next()) else {
        return false;
    };
    let mut lists = groups
        .lines()
        .map(fields)
        .filter(|it| it.get(2) == Some(&id));
    let (Some(list), None) = (lists.next(), lists.next()) else {
        return false;
    };
    let members = list.get(3).map_or("", String::as_str);
    let mut members = members.split(',').filter(|name| !name.trim().is_empty());
    members.all(|name| Some(name) == owner.first().map(String::as_str))
}

/// Returns whether an access control list lets users or groups write that it names; also where it cannot be read.
fn names_writers(path: &Path) -> bool {
    let mut value = vec![0; ACL_BYTES_MAX];
    match lgetxattr(path, c"system.posix_acl_access", &mut value[..]) {
        Ok(length) => has_named_writer(&value[..length]),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => false,
        Err(_) => true,
    }
}

/// The same, by the value: a version and then entries of a tag, permissions and an id (`posix_acl_xattr.h`).
fn has_named_writer(acl: &[u8]) -> bool {
    const NAMED: [u16; 2] = [0x02, 0x08];
    const WRITE: u16 = 0x02;
    let number = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let (entries, rest) = acl.get(4..).unwrap_or_default().as_chunks::<8>();
    let is_named =
        |entry: &[u8; 8]| NAMED.contains(&number(entry, 0)) && number(entry, 2) & WRITE != 0;
    !rest.is_empty() || entries.iter().any(is_named)
}

/// Returns whether this user namespace has all ids: what another one does not have is [`OVERFLOW_ID`]'s here, root of
/// the host among them.
fn has_every_id() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<&str> = map.split_whitespace().collect();
    fields == ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use rustix::fs::{XattrFlags, lsetxattr};

    use super::*;

    #[test]
    fn transactions_lie_where_nobody_else_can_rename_them() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("directory");
        fs::create_dir(&directory).unwrap();
        assert!(is_trusted(&directory));
        let open_to = |mode| {
            fs::set_permissions(above.path(), fs::Permissions::from_mode(mode)).unwrap();
            is_trusted(&directory)
        };
        assert!(!open_to(0o777), "somebody else can rename it");
        assert!(open_to(0o1777), "they cannot, as in /tmp");
        assert!(open_to(0o755));
        if rustix::process::geteuid().is_root() {
            chown(above.path(), Some(1234), None).unwrap();
            assert!(!is_trusted(&directory), "its owner can");
            chown(above.path(), Some(0), Some(100)).unwrap();
            assert!(!open_to(0o775), "its group can");
            assert!(open_to(0o1775) && open_to(0o755));
        }
    }

    #[test]
    fn who_is_named_in_an_access_control_list_can_rename() {
        let directory = tempfile::tempdir().unwrap();
        let entry = |tag: u16, permissions: u16, id: u32| {
            let parts = [tag.to_le_bytes(), permissions.to_le_bytes()].concat();
            [parts, id.to_le_bytes().to_vec()].concat()
        };
        let nobody = u32::MAX;
        let list = |permissions| {
            let entries = [
                entry(0x01, 7, nobody),
                entry(0x02, permissions, 1234),
                entry(0x04, 5, nobody),
                entry(0x10, 7, nobody),
                entry(0x20, 5, nobody),
            ];
            [2_u32.to_le_bytes().to_vec(), entries.concat()].concat()
        };
        assert!(has_named_writer(&list(7)) && !has_named_writer(&list(5)));
        assert!(has_named_writer(&list(5)[..9]), "not understood");
        let name = c"system.posix_acl_access";
        let set = |list: &[u8]| lsetxattr(directory.path(), name, list, XattrFlags::empty());
        assert!(!names_writers(directory.path()));
        if set(&list(7)) != Err(Errno::OPNOTSUPP) {
            assert!(names_writers(directory.path()));
            assert!(!is_trusted(directory.path()));
        }
    }

    #[test]
    fn a_group_is_private_if_nobody_else_is_in_it() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let groups = "root:x:0:\nann:x:1000:\nstaff:x:50:ann\n";
        assert!(is_private_in(1000, passwd, groups) && is_private_in(0, passwd, groups));
        assert!(is_private_in(
            1000,
            passwd,
            &groups.replace("1000:", "1000:ann")
        ));
        assert!(!is_private_in(
            1000,
            passwd,
            &groups.replace("1000:", "1000:ann,bob")
        ));
        let shared = format!("{passwd}bob:x:1001:1000::/home/bob:/bin/sh\n");
        assert!(!is_private_in(1000, &shared, groups), "bob's first group");
        assert!(!is_private_in(1002, passwd, groups), "nobody knows it");
        assert!(!is_private_in(1000, passwd, "") && !is_private_in(50, passwd, groups));
        assert!(!is_private_group(1000, 50));
    }
}
