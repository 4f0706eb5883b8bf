//! The built-in profiles are what their files say, and a wrong file says where.

use std::fs;

use sandbox_types::causes;

use super::*;

const FILES: [(BaseProfile, &str); 3] = [
    (
        BaseProfile::Permissive,
        include_str!("../../../../../config/profiles/permissive.yaml"),
    ),
    (
        BaseProfile::Default,
        include_str!("../../../../../config/profiles/default.yaml"),
    ),
    (
        BaseProfile::Strict,
        include_str!("../../../../../config/profiles/strict.yaml"),
    ),
];

#[test]
fn the_files_are_the_built_in_profiles() {
    for (base, text) in FILES {
        let profile = SeccompProfile::built_in(base);
        // A custom profile has set-user-id bits taken away only if it starts from `strict`.
        let read = seccomp_from_text(text, "file").unwrap();
        assert!(read.refuses_as(&profile), "{base:?}: {read:?}");
        assert_eq!(read.name(), profile.name());
    }
}

#[test]
fn a_wrong_profile_says_where_and_what() {
    for (text, expected) in [
        ("", "f:1:1: expected a section, found nothing"),
        ("base: [", "f:"),
        (
            "refuse: []",
            "f:1:1: `base` is missing: walls, permissive, default or strict",
        ),
        (
            "base: defualt",
            "f:1:7: unknown `defualt`; known here are walls, permissive, default, strict",
        ),
        (
            "base: default\nrefues: []",
            "f:2:1: unknown key `refues`; did you mean `refuse`?",
        ),
        (
            "base: default\nrefuse: mount",
            "f:2:9: expected a list of system calls, found the text 'mount'",
        ),
        (
            "base: default\nrefuse:\n  - tee\n  - ptarce",
            "f:4:5: there is no system call `ptarce`; did you mean `ptrace`?",
        ),
        (
            "base: default\nallow: [ptrace, mount]",
            "f:2:17: `mount` cannot be allowed further than it is: the view is finished",
        ),
        (
            "base: default\nallow: [7]",
            "f:2:9: expected a text, found 7",
        ),
        (
            "base: default\nallow: [ptrace]\nrefuse: [ptrace]",
            "f:3:10: `ptrace` has two rules that contradict each other",
        ),
        (
            "base: default\nrefuse: [{call: kill, argument: 1}]",
            "f:2:10: a condition is `argument` with one of `equals`, `unless` and `any_bit`",
        ),
        (
            "base: default\nrefuse: [{call: kill, argument: 1, equals: 9, unless: 9}]",
            "f:2:10: a condition is",
        ),
        (
            "base: default\nrefuse: [{call: kill, argument: 1, equals: -9}]",
            "f:2:44: expected a number of at least 0, found -9",
        ),
        (
            "base: default\nrefuse: [{call: kill, argument: 1, equals: 0x100000000}]",
            "f:2:10: argument 1 of `kill` has 32 bits",
        ),
        (
            "base: default\nrefuse: [{call: read, argument: 1, equals: 9}]",
            "f:2:10: argument 1 of `read` cannot be compared",
        ),
        (
            "base: default\nrefuse: [{call: tee, with: EIO}]",
            "f:2:28: unknown `EIO`; known here are EPERM, ENOSYS, EAFNOSUPPORT",
        ),
        (
            "base: default\nrefuse: [{with: EPERM}]",
            "f:2:10: `call` is missing",
        ),
    ] {
        let error = seccomp_from_text(text, "f").unwrap_err();
        let told = causes(&error).join(": ");
        assert!(told.contains(expected), "{text:?}: {told}");
    }
}

#[test]
fn a_file_in_the_workspace_may_only_tighten() {
    let directory = tempfile::tempdir().unwrap();
    let workspace = directory.path().canonicalize().unwrap();
    let outside = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("base: default\nrefuse: [tee]", true),
        ("base: strict", true),
        ("base: permissive", false),
        ("base: default\nallow: [ptrace]", false),
        ("base: strict\nallow: [tee]", false),
    ] {
        for (place, may_loosen) in [(&*workspace, false), (outside.path(), true)] {
            let file = place.join("profile.yaml");
            fs::write(&file, text).unwrap();
            let read = seccomp_profile(file.to_str().unwrap(), &workspace);
            assert_eq!(read.is_ok(), expected || may_loosen, "{text:?} {read:?}");
        }
    }
    let link = outside.path().join("link.yaml");
    std::os::unix::fs::symlink(workspace.join("profile.yaml"), &link).unwrap();
    let read = seccomp_profile(link.to_str().unwrap(), &workspace);
    assert!(
        matches!(read, Err(SeccompError::Loosens { .. })),
        "{read:?}"
    );
}

#[test]
fn a_name_or_a_readable_file() {
    let workspace = Path::new("/nonexistent");
    for name in ["strict", "default", "permissive"] {
        assert_eq!(seccomp_profile(name, workspace).unwrap().name(), name);
    }
    for name in ["walls", "no-such-file", "/dev/null", "/"] {
        let read = seccomp_profile(name, workspace);
        assert!(
            matches!(read, Err(SeccompError::Read { .. })),
            "{name}: {read:?}"
        );
    }
}
