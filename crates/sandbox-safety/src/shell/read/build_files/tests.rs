//! What files say is found, for each tool.

use super::{just, manifests, python, rust};

#[test]
fn the_scripts_of_manifests() {
    let text = r#"{"name": "x", "scripts": {"preinstall": "a", "build": "b", "test": "c", "prepack": "d"}}"#;
    assert_eq!(manifests::package(text, &["install"]), ["a"]);
    assert_eq!(manifests::package(text, &[]), ["a"]);
    assert_eq!(manifests::package(text, &["run", "build"]), ["b"]);
    assert_eq!(manifests::package(text, &["t"]), ["c"]);
    assert_eq!(manifests::package(text, &["publish"]), ["d"]);
    assert!(manifests::package("{", &["t"]).is_empty());
    let text = r#"{"scripts": {"post-install-cmd": ["@x", "b"], "x": "a", "loop": "@loop"}}"#;
    assert_eq!(manifests::composer(text, &["install"]), ["a", "b"]);
    assert_eq!(manifests::composer(text, &["run", "x"]), ["a"]);
    assert!(manifests::composer(text, &["loop"]).is_empty());
    let text = r#"{"tasks": {"go": "a", "long": {"command": "b"}}}"#;
    assert_eq!(manifests::deno(text, &["task", "go", "long"]), ["a", "b"]);
    assert!(manifests::deno(text, &["run", "go"]).is_empty());
    let text = "version: '3'\ntasks:\n  default:\n    deps: [x]\n    cmds: [a, {cmd: b}, {task: last}]\n  x: c\n  last: {cmds: [d]}\n";
    assert_eq!(manifests::taskfile(text, &[]), ["c", "a", "b", "d"]);
}

#[test]
fn the_recipes_of_a_justfile() {
    let text = "dir := \"/etc\"\nalias b := build\nset shell := ['sh']\n\nbuild target='x': clean\n    @echo {{target}}\n\n\
                clean:\n    -rm -rf {{ dir }}\n\nscript:\n    #!/bin/sh\n    a\n    b\n";
    assert_eq!(just::recipes(text, &[]), ["echo ${just}", "rm -rf /etc"]);
    assert_eq!(just::recipes(text, &["b"]).len(), 2);
    assert_eq!(just::recipes(text, &["script"]), ["#!/bin/sh\na\nb"]);
    assert!(just::recipes("a: b\n x\nb: a\n y\n", &["a"]).len() == 2);
}

#[test]
fn what_cargo_runs() {
    let code = "fn main() {\n  Command::new(\"sh\").arg(\"-c\")\n    .args([\"a; b\"]).status();\n  std::fs::remove_dir_all(\"/x\").ok();\n}";
    let found = rust::cargo("build.rs", code, &["build"]);
    assert_eq!(found, ["'sh' '-c' 'a; b'", "rm -rf '/x'"]);
    assert!(rust::cargo("build.rs", code, &["fmt"]).is_empty());
    assert!(rust::cargo("build.rs", code, &[]).is_empty());
    let text = "[alias]\nx = \"run\"\n[target.'cfg(unix)']\nrunner = [\"a\", \"b c\"]\n[build]\nrustc-wrapper = \"w\"\n";
    let found = rust::cargo(".cargo/config.toml", text, &["+nightly", "t"]);
    assert_eq!(found, ["'a' 'b c'", "w"]);
}

#[test]
fn what_tools_of_python_run() {
    let text = "[tox]\ncommands = no\n[testenv:a]\ndeps =\n    x\ncommands =\n    -a b \\\n      c\n    d\n[flake8]\ncommands = e\n";
    assert_eq!(python::tox(text), ["a b        c", "d"]);
    let text = "@nox.session\ndef x(session):\n    session.run('a', \"b c\", external=True)\n    os.system('d')\n";
    assert_eq!(python::nox(text), ["'a' 'b c'", "d"]);
    let text = "[project]\nx = \"no\"\n[tool.poe.tasks]\nx = \"a\"\ny = {shell = \"b\"}\n";
    assert_eq!(python::tasks(text, &["run", "x"]), ["a"]);
    assert_eq!(python::tasks(text, &["y"]), ["b"]);
}
