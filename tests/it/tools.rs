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

/// Toolchains are found through the caller's own home, not the lab's.
#[expect(clippy::disallowed_methods, reason = "the test passes its own home on")]
fn with_toolchains(lab: Lab) -> Lab {
    match std::env::var("HOME") {
        Ok(home) => lab.env("HOME", home),
        Err(_) => lab,
    }
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
    let lab = with_toolchains(lab);
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

#[test]
fn a_c_project_is_made_and_checked_inside() {
    if !has("make") || !has("cc") {
        return;
    }
    let lab = Lab::new()
        .file(
            "Makefile",
            "all: two\ntwo: two.c\n\tcc -o $@ $<\ncheck: all\n\t./two > out && test \"$$(cat out)\" = 2\n",
        )
        .file(
            "two.c",
            "#include <stdio.h>\nint main(void) { return puts(\"2\") < 0; }\n",
        );
    let before = lab.tree();
    let report = lab.run("make -s -j2 && make -s check");
    assert_eq!(report["outcome"], "completed", "{report:#}");
    assert_eq!(lab.read("out").as_deref(), Some("2\n"));
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before);
}

#[test]
fn python_runs_processes_threads_and_sockets_inside() {
    if !has("python3") {
        return;
    }
    let lab = with_toolchains(Lab::new()).file(
        "test_it.py",
        "import multiprocessing, socket, subprocess, sys, tempfile, unittest\n\
         def square(x): return x * x\n\
         class T(unittest.TestCase):\n\
         \x20   def test_pool(self):\n\
         \x20       with multiprocessing.Pool(2) as pool: self.assertEqual(pool.map(square, [2, 3]), [4, 9])\n\
         \x20   def test_child(self):\n\
         \x20       self.assertEqual(subprocess.check_output([sys.executable, '-c', 'print(1)']), b'1\\n')\n\
         \x20   def test_socket(self):\n\
         \x20       server = socket.create_server(('127.0.0.1', 0))\n\
         \x20       socket.create_connection(server.getsockname()).close()\n\
         \x20   def test_file(self):\n\
         \x20       with tempfile.NamedTemporaryFile() as file: file.write(b'x')\n",
    );
    let report = lab.run("python3 -m unittest -q test_it");
    assert_eq!(report["outcome"], "completed", "{report:#}");
    let said = report["stderr"]["text"].as_str().unwrap();
    assert!(said.contains("Ran 4 tests"), "{said}");
}
