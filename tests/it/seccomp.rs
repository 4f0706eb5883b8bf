//! System call profiles from the command line and from configurations.

use crate::lab::Lab;

const PERSONALITY: &str = "python3 -c \"import ctypes; \
                           print(ctypes.CDLL(None).personality(0x40000) >= 0)\"";

/// Without the caller's own Python, which may be a shim of a version manager.
fn lab() -> Lab {
    Lab::new().env("PATH", "/usr/local/bin:/usr/bin:/bin")
}

#[test]
fn profiles_are_chosen_by_name_and_by_file() {
    let lab = lab();
    let custom = lab.root().join("outside/mine.yaml");
    std::fs::write(&custom, "base: default\nallow: [personality]\n").unwrap();
    let custom = custom.to_str().unwrap();
    for (profile, expected) in [
        ("default", "False\n"),
        ("permissive", "True\n"),
        ("strict", "False\n"),
        (custom, "True\n"),
    ] {
        let report = lab.run_with(&["--seccomp", profile], PERSONALITY);
        assert_eq!(report["stdout"]["text"], expected, "{profile}: {report:#}");
    }
}

#[test]
fn a_profile_that_cannot_be_used_is_refused_with_its_place() {
    let lab = Lab::new();
    let file = lab.root().join("outside/mine.yaml");
    for (text, told) in [
        ("base: default\nallow:\n  - mount\n", "mine.yaml:3:5"),
        (
            "base: default\nrefuse: [ptarce]\n",
            "did you mean `ptrace`?",
        ),
        (
            "base: lax\n",
            "known here are walls, permissive, default, strict",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        lab.sandbox(&["run", "--seccomp", file.to_str().unwrap(), "true"])
            .code(2)
            .says(told);
    }
    lab.sandbox(&["run", "--seccomp", "defualt", "true"])
        .code(2)
        .says("did you mean default?");
}

#[test]
fn a_profile_in_the_workspace_only_tightens() {
    let lab = Lab::new()
        .file("loose.yaml", "base: permissive\n")
        .file("tight.yaml", "base: default\nrefuse: [personality]\n");
    lab.sandbox(&["run", "--seccomp", "loose.yaml", "true"])
        .code(2)
        .says("may only tighten");
    lab.sandbox(&["run", "--seccomp", "tight.yaml", "true"])
        .code(0);
}

#[test]
fn the_configuration_chooses_a_profile() {
    let lab = lab().env("SANDBOX_ISOLATION__SECCOMP", "permissive");
    let report = lab.run(PERSONALITY);
    assert_eq!(report["stdout"]["text"], "True\n", "{report:#}");
    let lab = Lab::new().env("SANDBOX_ISOLATION__SECCOMP", "lax");
    lab.sandbox(&["run", "true"])
        .code(2)
        .says("isolation.seccomp");
}
