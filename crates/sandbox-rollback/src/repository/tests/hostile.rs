//! Names, kinds and depths that nobody expects.

use super::*;
use crate::{apply::is_privileged, tests::bytes_name};

#[test]
fn any_name_and_kind_returns() {
    use rustix::fs::{CWD, FileType, Mode};
    let lab = Lab::new();
    lab.file("plain", "x");
    for name in [
        &b"\xff\xfe"[..],
        b"new\nline",
        b" ",
        b"*",
        b"-rf",
        &[b'n'; 255],
    ] {
        fs::write(lab.ws().join(bytes_name(name)), name).unwrap();
    }
    let pipe = lab.ws().join("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    if is_privileged() {
        let device = rustix::fs::makedev(1, 3);
        let path = lab.ws().join("null");
        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, device).unwrap();
        std::os::unix::fs::chown(lab.ws().join("plain"), Some(1234), Some(4321)).unwrap();
    }
    let old = std::time::UNIX_EPOCH - std::time::Duration::new(1_000_000, 5);
    fs::File::open(lab.ws().join("plain"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let before = lab.manifest();
    let taken = lab.take();
    for entry in fs::read_dir(lab.ws()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    lab.restore(&taken, "back");
    assert_same(&before, &lab.manifest(), "restored");
}

#[test]
fn what_is_left_out_is_not_said_to_be_restored_elsewhere() {
    let lab = rich();
    let _socket = std::os::unix::net::UnixListener::bind(lab.ws().join("socket")).unwrap();
    let taken = lab.take();
    let to = |name: &str, globs: &[&str]| RestoreOptions {
        to: Destination::Directory(lab.root.path().join(name)),
        ..selected(name, globs)
    };
    let restore = |options: &RestoreOptions| {
        let restored = lab.repository().restore(&taken.snapshot.id, options);
        restored.unwrap()
    };
    let all = restore(&to("all", &[]));
    assert!(!listed(&all.changes).contains(&"Created socket".to_owned()));
    assert_eq!(all.notes.len(), 1, "{:?}", all.notes);
    assert_eq!(all.notes[0].0, Path::new("socket"));
    let part = restore(&to("part", &["a"]));
    assert_eq!(listed(&part.changes), ["Created a"]);
    assert!(part.notes.is_empty(), "{:?}", part.notes);
}

#[test]
fn files_of_the_repository_are_the_owners_alone() {
    let lab = rich();
    lab.take();
    let mut directories = vec![lab.repository().directory.clone()];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            assert_eq!(metadata.mode() & 0o077, 0, "{}", path.display());
            files += usize::from(metadata.is_file());
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    assert!(files >= 5, "{files}");
}

#[test]
fn sockets_are_left_out_and_left_alone() {
    let lab = rich();
    let path = lab.ws().join("dir/socket");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let taken = lab.take();
    assert_eq!(
        taken.omitted,
        [(PathBuf::from("dir/socket"), Omission::Socket)]
    );
    lab.file("a", "edited");
    lab.restore(&taken, "back");
    assert!(path.exists());
    drop(socket);
    fs::remove_file(&path).unwrap();
    let restored = lab.restore(&taken, "again");
    assert_eq!(restored.notes.len(), 1, "{:?}", restored.notes);
}

#[test]
fn depth_has_no_limit() {
    let lab = Lab::new();
    let name = "d".repeat(200);
    let mut path = PathBuf::new();
    // Longer than any path that a system call takes.
    let tree = crate::tree::Tree::open(&lab.ws()).unwrap();
    for _ in 0..60 {
        path.push(&name);
        let spot = tree.spot(&path).unwrap();
        rustix::fs::mkdirat(&spot.dir, &spot.name, rustix::fs::Mode::RWXU).unwrap();
    }
    let spot = tree.spot(&path.join("end")).unwrap();
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    rustix::fs::openat(&spot.dir, &spot.name, flags, rustix::fs::Mode::RUSR).unwrap();
    let before = lab.manifest();
    let taken = lab.take();
    assert_eq!((taken.snapshot.dirs, taken.snapshot.files), (60, 1));
    tree.forget();
    let inner = tree.spot(&path.join("end")).unwrap();
    rustix::fs::unlinkat(&inner.dir, &inner.name, rustix::fs::AtFlags::empty()).unwrap();
    lab.restore(&taken, "back");
    assert_same(&before, &lab.manifest(), "restored");
}

#[test]
fn what_cannot_be_read_is_said_and_left_alone() {
    if is_privileged() {
        println!("skipped: root reads everything");
        return;
    }
    let lab = rich();
    lab.file("closed/inside", "x").file("secret", "y");
    let mode = |path: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(lab.ws().join(path), mode).unwrap();
    };
    mode("closed", 0o000);
    mode("secret", 0o000);
    let taken = lab.take();
    let expected = [
        (PathBuf::from("secret"), Omission::Unreadable),
        (PathBuf::from("closed"), Omission::Unreadable),
    ];
    assert_eq!(taken.omitted, expected);
    lab.file("a", "edited");
    lab.restore(&taken, "back");
    mode("closed", 0o700);
    mode("secret", 0o600);
    assert!(lab.ws().join("closed/inside").exists() && lab.ws().join("secret").exists());
}

#[test]
fn a_repository_in_the_workspace_is_refused() {
    let lab = rich();
    let inside = lab.manager.repository(&lab.ws().join("repo"));
    let refused = inside.snapshot(&new());
    assert!(matches!(refused, Err(RepositoryError::Inside { .. })));
}

#[test]
fn a_mount_below_is_left_out() {
    let lab = rich();
    let point = lab.ws().join("dir/sub");
    let tested = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            crate::tests::private_mounts()?;
            rustix::mount::mount_bind(lab.ws().join("empty"), &point).unwrap();
            let taken = lab.take();
            let expected = [(PathBuf::from("dir/sub"), Omission::OtherFileSystem)];
            assert_eq!(taken.omitted, expected);
            lab.file("a", "edited");
            lab.restore(&taken, "back");
            Some(())
        });
        run.join().unwrap()
    });
    if tested.is_some() {
        assert!(point.join("c").exists(), "what it hides is not touched");
    }
}
