//! Ordinary tools work inside as outside: git, and a build with cargo.

use std::{fs, path::Path, process::Command};

use crate::lab::Lab;

/// Returns whether this user has `program`; says loudly when a test is left out for it.
fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: this user has no working {program}");
    }
    found
}

fn git(directory: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*"])
        .args(args)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "git {args:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn a_git_repository_made_inside_is_whole() {
    if !has("git") {
        return;
    }
    let lab = Lab::new();
    let report = lab.run(
        "git init -q -b main . && git config user.email a@b && git config user.name n &&
         echo a > a && git add a && git commit -qm one &&
         git checkout -qb side && echo b > b && git add b && git commit -qm two &&
         git checkout -q main && echo c > c && git add c && git commit -qm three &&
         git merge -q side -m merged && git gc -q && git status --porcelain",
    );
    assert_eq!(report["outcome"], "completed", "{report:#}");
    assert_eq!(report["stdout"]["text"], "", "the work tree is clean");
    assert_eq!(git(&lab.workspace(), &["fsck", "--full"]), "");
    assert_eq!(
        git(&lab.workspace(), &["log", "--format=%s"])
            .lines()
            .count(),
        4
    );
    assert_eq!(git(&lab.workspace(), &["status", "--porcelain"]), "");
    assert_eq!(lab.read("b").as_deref(), Some("b\n"));
}

#[test]
fn a_crate_builds_inside_and_undo_takes_exactly_the_build_away() {
    if !has("cargo") {
        return;
    }
    let lab = Lab::new()
        .file(
            "Cargo.toml",
            "[package]\nname = \"inner\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        )
        .file("src/main.rs", "fn main() { println!(\"built inside\"); }\n")
        .file(
            "src/lib.rs",
            "pub fn two() -> i32 { 2 }\n#[test]\nfn it_is_two() { assert_eq!(two(), 2); }\n",
        );
    // The toolchain is found through the caller's own home, not the lab's.
    #[expect(clippy::disallowed_methods, reason = "the test passes its own home on")]
    let lab = match std::env::var("HOME") {
        Ok(home) => lab.env("HOME", home),
        Err(_) => lab,
    };
    let before = lab.tree();
    let report =
        lab.run("cargo build --offline -q && cargo test --offline -q && target/debug/inner");
    assert_eq!(report["outcome"], "completed", "{report:#}");
    assert!(
        report["stdout"]["text"]
            .as_str()
            .unwrap()
            .contains("built inside")
    );
    assert!(fs::exists(lab.workspace().join("target/debug/inner")).unwrap());
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before);
}
