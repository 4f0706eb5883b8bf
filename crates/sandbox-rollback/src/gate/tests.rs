//! What the gate lets pass.

use std::path::Path;

use super::{compile, leads_to, leaves};

#[test]
fn declared_globs_cover_what_is_below_them() {
    let globs = ["out/*.txt".to_owned(), "./build/".to_owned()];
    let set = compile(&globs).unwrap();
    let covered = |path: &str| Path::new(path).ancestors().any(|path| set.is_match(path));
    assert!(covered("out/a.txt"));
    assert!(covered("build/deep/down.o"));
    assert!(!covered("out/deep/a.txt"));
    assert!(!covered("other"));
    assert!(leads_to(&globs, Path::new("out")));
    assert!(!leads_to(&globs, Path::new("outer")));
}

#[test]
fn links_are_followed_by_their_text_only() {
    let leaves =
        |link: &str, target: &str| leaves(Path::new(link), Path::new(target), Path::new("/work"));
    assert!(!leaves("a/b", "../c"));
    assert!(leaves("a/b", "../../c"));
    assert!(leaves("b", "/etc/passwd"));
    assert!(!leaves("b", "/work/x"));
    assert!(leaves("b", "/work/../etc"));
    assert!(leaves("b", "x/../../y"));
}
