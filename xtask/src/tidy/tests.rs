//! The tree is tidy, and every planted defect is found.

use super::{problems, rules};
use crate::process;

#[test]
fn the_tree_is_tidy() {
    assert_eq!(problems(&process::root()).unwrap(), Vec::<String>::new());
}

/// Asserts that `body` below a good header has exactly one problem, which says `what`.
#[track_caller]
fn finds(path: &str, body: &str, what: &str) {
    let text = format!("//! What this file is for.\n{body}\n");
    let found = rules::check(path, &text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains(what), "{found:?}");
}

#[track_caller]
fn accepts(path: &str, body: &str) {
    let text = format!("//! What this file is for.\n{body}\n");
    assert_eq!(rules::check(path, &text), []);
}

const PATH: &str = "crates/sandbox-core/src/run.rs";

#[test]
fn a_file_without_a_header_is_found() {
    for text in ["", "use std::fs;\n", "//!\n", "/// Not a header.\n"] {
        assert_eq!(rules::check(PATH, text).len(), 1, "{text:?}");
    }
}

#[test]
fn a_long_file_is_found_and_tests_do_not_count() {
    let long = "fn f() {}\n".repeat(500);
    finds(PATH, &long, "at most 500");
    accepts("crates/sandbox-core/src/run/tests.rs", &long);
    accepts("tests/it/run.rs", &long);
    let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}");
    accepts(PATH, &tested);
}

#[test]
fn a_name_that_says_nothing_is_found() {
    finds(PATH, "pub struct RunManager;", "RunManager");
    finds(PATH, "pub(crate) trait ErrorHandler<T> {}", "ErrorHandler");
    finds("crates/sandbox-core/src/utils.rs", "", "utils.rs");
    accepts(
        PATH,
        "pub struct StateManager;\n// struct FooHelper\nlet x = \"struct FooHelper\";",
    );
}

#[test]
fn misplaced_code_is_found() {
    let block = concat!("let x = un", "safe { read() };");
    finds(PATH, block, "sys.rs");
    finds("crates/sandbox-isolation/src/launch.rs", block, "sys.rs");
    accepts("crates/sandbox-isolation/src/sys.rs", block);
    accepts("crates/sandbox-isolation/src/sys/clone.rs", block);
    accepts(
        PATH,
        concat!("// un", "safe is not here\n#![deny(unsafe_code)]"),
    );
    finds("crates/sandbox-core/src/lib.rs", "", "forbid");
    accepts("crates/sandbox-isolation/src/lib.rs", "");
}

#[test]
fn unfinished_code_is_found() {
    finds(PATH, concat!("// TO", "DO: later"), "unfinished");
    finds(PATH, concat!("fn f() { to", "do!() }"), "unfinished");
    finds(PATH, concat!("// FIX", "ME"), "unfinished");
}

#[test]
fn a_path_out_of_the_repository_is_found() {
    finds(PATH, concat!("let x = \"/wo", "rk/main\";"), "outside");
    let found = rules::check("README.md", concat!("see ../sha", "red/design.md"));
    assert_eq!(found.len(), 1);
    accepts(PATH, "let x = \"/workspace/main\";");
}

#[test]
fn a_suppression_without_a_reason_is_found() {
    finds(PATH, "#[expect(clippy::exit)]", "reason");
    finds(
        PATH,
        "#![expect(\n    clippy::exit,\n    clippy::panic\n)]",
        "reason",
    );
    accepts(PATH, "#[expect(clippy::exit, reason = \"main ends here\")]");
    accepts(
        PATH,
        "#![expect(\n    clippy::exit,\n    reason = \"main\"\n)]\n// #[expect(x)]",
    );
}
