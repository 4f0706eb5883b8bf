//! A held transaction is taken apart, and together it is what it was.

use super::{basic::rich, *};
use crate::{SplitError, step::with_steps};

fn globs(globs: &[&str]) -> Vec<String> {
    globs.iter().map(|&glob| glob.to_owned()).collect()
}

/// Returns the changed paths of all that waits.
fn waiting(lab: &Lab) -> Vec<String> {
    let mut all = Vec::new();
    for id in lab.manager.pending().unwrap() {
        let tx = lab.manager.resume(&id).unwrap();
        all.extend(listed(&tx));
        tx.hold().unwrap();
    }
    all.sort();
    all
}

#[test]
fn parts_committed_one_by_one_are_the_whole() {
    let (lab, tx) = rich("op");
    commit(tx);
    let after = lab.manifest();
    lab.undo("op");

    let (lab, tx) = rich("op");
    let before = lab.manifest();
    tx.hold().unwrap();
    let all = waiting(&lab);
    let tx = lab.manager.resume(&id("op")).unwrap();
    let part = tx.split(&globs(&["edit", "gone"]), &id("part")).unwrap();
    assert_eq!(listed(&part), ["M edit", "D gone"]);
    part.hold().unwrap();
    assert_eq!(waiting(&lab), all);
    assert_same(&before, &lab.manifest(), "only taken apart");
    commit(lab.manager.resume(&id("part")).unwrap());
    let text = |path: &str| fs::read_to_string(lab.ws().join(path)).ok();
    assert_eq!((text("edit").as_deref(), text("gone")), (Some("new"), None));
    assert_eq!(lab.manager.pending().unwrap(), [id("op")]);
    commit(lab.manager.resume(&id("op")).unwrap());
    let contents = |manifest: &Manifest| -> Vec<_> {
        let item = |(path, item): (&PathBuf, &Item)| {
            (
                path.clone(),
                item.mode,
                item.content.clone(),
                item.xattrs.clone(),
            )
        };
        manifest.iter().map(item).collect()
    };
    assert_eq!(contents(&after), contents(&lab.manifest()));
    lab.undo("op");
    lab.undo("part");
    assert_same(&before, &lab.manifest(), "both undone");
}

#[test]
fn what_moves_as_a_whole_is_not_cut() {
    let lab = Lab::new();
    lab.file("a", "1");
    let tx = lab.begin("op");
    write(&tx.upper().join("new/in"), "");
    write(&tx.upper().join("new/other"), "");
    write(&tx.upper().join("a"), "2");
    fs::hard_link(tx.upper().join("a"), tx.upper().join("b")).unwrap();
    tx.hold().unwrap();
    let split = |glob: &str| {
        let tx = lab.manager.resume(&id("op")).unwrap();
        let split = tx.split(&globs(&[glob]), &id("part"));
        split.map(|tx| tx.id().to_string())
    };
    assert!(matches!(split("new/in"), Err(SplitError::Whole { path }) if path == Path::new("new")));
    assert!(matches!(split("a"), Err(SplitError::HardLink { .. })));
    assert!(matches!(split("nothing"), Err(SplitError::Nothing { .. })));
    assert!(matches!(split("["), Err(SplitError::Glob(_))));
    assert_eq!(split("**").unwrap(), "op");
    assert_eq!(
        waiting(&lab),
        ["A b", "A new", "A new/in", "A new/other", "M a"]
    );
    assert_eq!(split("[ab]").unwrap(), "part");
    assert_eq!(
        waiting(&lab),
        ["A b", "A new", "A new/in", "A new/other", "M a"]
    );
}

/// To take only what came would leave two of them, to take only what went none.
#[test]
fn the_two_ends_of_a_rename_are_not_parted() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    lab.file("old", "content").file("dir/other", "1");
    let tx = lab.begin("op");
    whiteout(&tx.upper().join("old"));
    // With another mode it is no exact copy: the plan has two moves.
    write(&tx.upper().join("dir/old"), "content");
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(tx.upper().join("dir/old"), private).unwrap();
    write(&tx.upper().join("dir/other"), "2");
    tx.hold().unwrap();
    let split = |chosen: &[&str]| {
        let tx = lab.manager.resume(&id("op")).unwrap();
        let selected = tx.select(&globs(chosen)).map(|it| it.all);
        let split = tx.split(&globs(chosen), &id("part"));
        assert_eq!(selected.is_ok(), split.is_ok());
        split.map(|part| listed(&part))
    };
    for end in ["old", "dir/old"] {
        let Err(SplitError::Renamed { from, to }) = split(&[end]) else {
            panic!("{end} alone");
        };
        assert_eq!([from, to], ["old", "dir/old"].map(PathBuf::from));
    }
    assert_eq!(split(&["old", "dir/old"]).unwrap(), ["A dir/old", "D old"]);
}

/// `a/**` is all that is in `a`: of a new directory that is the directory, too.
#[test]
fn all_that_is_in_a_new_directory_is_the_directory() {
    for glob in ["new/**", "new/*", "new/[id]*"] {
        let lab = Lab::new();
        lab.file("a", "1");
        let tx = lab.begin("op");
        write(&tx.upper().join("new/in"), "");
        write(&tx.upper().join("new/deep/er"), "");
        write(&tx.upper().join("a"), "2");
        tx.hold().unwrap();
        let tx = lab.manager.resume(&id("op")).unwrap();
        let part = tx.split(&globs(&[glob]), &id("part")).unwrap();
        let new = ["A new", "A new/deep", "A new/deep/er", "A new/in"];
        assert_eq!(listed(&part), new, "{glob}");
        commit(part);
        assert!(lab.ws().join("new/deep/er").exists());
        // And so it is with the undo of a part.
        commit(lab.manager.resume(&id("op")).unwrap());
        lab.undo("part");
        assert!(!lab.ws().join("new").exists());
    }
}

#[test]
fn a_split_stopped_anywhere_loses_nothing() {
    for steps in 0..200 {
        let (lab, tx) = rich("op");
        let before = lab.manifest();
        tx.hold().unwrap();
        let all = waiting(&lab);
        let tx = lab.manager.resume(&id("op")).unwrap();
        let selected = globs(&["edit", "gone", "dir", "fresh"]);
        let (result, ran_out) = with_steps(steps, || tx.split(&selected, &id("part")).is_ok());
        lab.manager.recover().unwrap();
        let mut now = waiting(&lab);
        // A directory whose time alone moved may show in either part.
        now.retain(|line| all.contains(line));
        let mut wanted = all.clone();
        wanted.retain(|line| !line.starts_with('m') || now.contains(line));
        assert_eq!(now, wanted, "step {steps}");
        assert_same(&before, &lab.manifest(), &format!("step {steps}"));
        if !ran_out {
            assert!(result && steps > 8, "{steps}");
            return;
        }
    }
    panic!("the split takes more than 200 steps");
}
