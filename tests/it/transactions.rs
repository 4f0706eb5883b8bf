//! What was undone comes back, and what is kept for undoing is limited.

use std::fs;

use crate::lab::Lab;

/// A workspace in which three operations wrote a file each.
fn three() -> Lab {
    let lab = Lab::new().file("a", "a0").file("b", "b0").file("c", "c0");
    for path in ["a", "b", "c"] {
        let text = format!("printf {path}1 > {path}");
        lab.sandbox(&["run", "--shell", &text]).code(0);
    }
    lab
}

fn contents(lab: &Lab) -> [String; 3] {
    ["a", "b", "c"].map(|path| lab.read(path).unwrap_or_default())
}

/// Returns the names of the operations, newest first.
fn names(lab: &Lab) -> Vec<String> {
    let log = lab.sandbox(&["log", "--json"]).code(0).json();
    let entries = log.as_array().unwrap().iter();
    entries
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_undo_is_taken_back() {
    let lab = three();
    let after = lab.tree();
    lab.sandbox(&["redo"]).code(1).says("nothing to redo");
    lab.sandbox(&["undo"]).code(0);
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(contents(&lab), ["a1", "b0", "c0"]);
    let plan = lab.sandbox(&["redo", "--dry-run"]);
    plan.code(0).prints("M b").says("nothing was done");
    assert_eq!(contents(&lab), ["a1", "b0", "c0"]);
    lab.sandbox(&["redo"]).code(0).says("redid");
    assert_eq!(contents(&lab), ["a1", "b1", "c0"]);
    lab.sandbox(&["redo"]).code(0);
    assert_eq!(lab.tree(), after);
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(contents(&lab), ["a1", "b1", "c0"]);
    let events = lab.sandbox(&["events"]);
    events.code(0).prints("operation.redone");
}

/// Moves the set of `id` back to where it lay before the last step of its undo or redo.
fn not_filed(lab: &Lab, id: &str, (now, before): (&str, &str)) {
    let layers = lab.data().join("layers/workspace");
    fs::rename(layers.join(now).join(id), layers.join(before).join(id)).unwrap();
}

#[test]
fn what_was_interrupted_is_said_to_be_finished() {
    let lab = three();
    let newest = names(&lab).remove(0);
    lab.sandbox(&["undo"]).code(0);
    not_filed(&lab, &newest, ("undone", "undo"));
    let finished = format!("the undo of {newest} was interrupted; it is finished now");
    lab.sandbox(&["status"]).code(0).says(&finished);
    assert_eq!(contents(&lab), ["a1", "b1", "c0"]);
    lab.sandbox(&["redo"]).code(0);
    not_filed(&lab, &newest, ("undo", "undone"));
    fs::write(lab.data().join("layers/workspace/redo"), "").unwrap();
    let finished = format!("the redo of {newest} was interrupted; it is finished now");
    let ended = lab.sandbox(&["redo"]);
    ended.code(1).says(&finished).says("nothing to redo");
    assert_eq!(contents(&lab), ["a1", "b1", "c1"]);
    // It is said once.
    let ended = lab.sandbox(&["redo"]);
    ended.code(1);
    assert!(!ended.stderr.contains("interrupted"), "{}", ended.stderr);
}

#[test]
fn an_operation_in_the_middle_is_undone_and_redone() {
    let lab = three();
    let middle = names(&lab)[1].clone();
    lab.sandbox(&["undo", &middle]).code(0);
    assert_eq!(contents(&lab), ["a1", "b0", "c1"]);
    lab.sandbox(&["undo", &middle])
        .code(1)
        .says("nothing to undo");
    lab.sandbox(&["redo", &middle]).code(0);
    assert_eq!(contents(&lab), ["a1", "b1", "c1"]);
    lab.sandbox(&["redo", &middle])
        .code(1)
        .says("nothing to redo");
}

#[test]
fn what_was_edited_since_the_undo_is_refused_or_moved_aside() {
    let lab = three();
    lab.sandbox(&["undo"]).code(0);
    fs::write(lab.workspace().join("c"), "mine").unwrap();
    let refused = lab.sandbox(&["redo"]);
    refused.code(1).says("c").says("`sandbox redo --force`");
    assert!(!refused.stderr.contains("undo"), "{}", refused.stderr);
    assert_eq!(lab.read("c").unwrap(), "mine");
    lab.sandbox(&["redo", "--dry-run"])
        .code(0)
        .prints("--force");
    let done = lab.sandbox(&["redo", "--force", "--json"]).code(0).json();
    assert_eq!(done["conflicts"][0], "c");
    assert_eq!(lab.read("c").unwrap(), "c1");
}

#[test]
fn what_is_kept_for_undoing_is_limited() {
    let lab = Lab::new()
        .file("a", "0")
        .env("SANDBOX_SAFETY_CONSTRAINTS__UNDO_KEEP_MB", "1");
    for size in ["900K", "800K", "10"] {
        let text = format!("head -c {size} /dev/zero > a");
        lab.sandbox(&["run", "--shell", &text]).code(0);
    }
    // What the last two replaced is more than 1 MiB together; the newest stays.
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.read("a").unwrap().len(), 800 << 10);
    lab.sandbox(&["undo"]).code(1).says("nothing to undo");
    let lab = lab.env("SANDBOX_SAFETY_CONSTRAINTS__UNDO_KEEP_AGE", "soon");
    lab.sandbox(&["run", "--", "true"])
        .code(2)
        .says("undo_keep_age");
}

const POLICY: &str = "
protected: hold
rules:
  - paths: [secrets, '**/*.pem']
    action: discard
    reason: keys are not written by commands
  - paths: [Jenkinsfile]
    action: allow
    reason: it is generated here
  - classes: [a CI workflow]
    action: report
    reason: it runs on other machines
";

#[test]
fn a_policy_decides_by_paths_and_says_why() {
    let lab = Lab::new().file("secrets/old", "s");
    let policy = lab.root().join("outside/commit.yaml");
    fs::write(&policy, POLICY).unwrap();
    let run = |lab: &Lab, text: &str| {
        let report = lab.run(text);
        let changes = &report["changes"];
        let because = changes["held_because"].to_string();
        let notices = changes["notices"].to_string();
        let settlement = changes["settlement"].as_str().unwrap().to_owned();
        (settlement, because, notices)
    };
    let hook = "mkdir -p .husky && echo x > .husky/pre-commit";
    // Control: without the policy both are committed, and the hook is reported.
    let (settlement, _, notices) = run(&lab, &format!("{hook}; rm secrets/old"));
    assert_eq!(settlement, "committed");
    assert!(notices.contains("a git hook"), "{notices}");
    lab.sandbox(&["undo"]).code(0);

    let named = policy.to_str().unwrap().to_owned();
    let lab = lab.env("SANDBOX_SAFETY_CONSTRAINTS__COMMIT_POLICY", named);
    let (settlement, because, _) = run(&lab, hook);
    assert_eq!(settlement, "pending");
    assert!(
        because.contains("'.husky/pre-commit' changed: a git hook"),
        "{because}"
    );
    assert_eq!(lab.read(".husky/pre-commit"), None);
    let (settlement, because, _) = run(&lab, "echo x > fine; rm secrets/old");
    assert_eq!(settlement, "discarded");
    let expected = "'secrets/old' changed: keys are not written by commands";
    assert!(because.contains(expected), "{because}");
    assert_eq!(
        (lab.read("fine"), lab.read("secrets/old").as_deref()),
        (None, Some("s"))
    );
    let (settlement, _, notices) = run(&lab, "echo x > Jenkinsfile");
    assert_eq!(
        (settlement.as_str(), notices.contains("Jenkinsfile")),
        ("committed", false)
    );
    let (settlement, _, notices) = run(&lab, "echo x > .gitlab-ci.yml");
    assert_eq!(settlement, "committed");
    assert!(
        notices.contains("'.gitlab-ci.yml' changed: it runs on other machines"),
        "{notices}"
    );

    // A command could write its own.
    fs::copy(&policy, lab.workspace().join("commit.yaml")).unwrap();
    let inside = lab
        .workspace()
        .join("commit.yaml")
        .to_str()
        .unwrap()
        .to_owned();
    let lab = lab.env("SANDBOX_SAFETY_CONSTRAINTS__COMMIT_POLICY", inside);
    lab.sandbox(&["run", "--", "true"])
        .code(2)
        .says("inside of the workspace");
    fs::write(&policy, "rules:\n  - path: x\n").unwrap();
    let named = policy.to_str().unwrap().to_owned();
    let lab = lab.env("SANDBOX_SAFETY_CONSTRAINTS__COMMIT_POLICY", named);
    let refused = lab.sandbox(&["run", "--", "true"]);
    refused
        .code(2)
        .says(":2:5: unknown key `path`; did you mean `paths`?");
}

#[test]
fn held_changes_are_settled_in_parts() {
    let lab = Lab::new()
        .file("src/a", "a0")
        .file("src/b", "b0")
        .file("c", "c0");
    let before = lab.tree();
    let text = "for f in src/a src/b c; do echo new > $f; done; mkdir -p d && echo d > d/in && echo d > d/more";
    lab.sandbox(&["run", "--review", "--shell", text]).code(0);
    let missed = lab.sandbox(&["commit", "--path", "nowhere"]);
    missed.code(1).says("nothing that waits matches nowhere");
    let cut = lab.sandbox(&["commit", "--path", "d/in"]);
    cut.code(1).says("'d'");
    assert_eq!(lab.tree(), before);

    let done = lab
        .sandbox(&["commit", "--path", "src/a", "--json"])
        .code(0)
        .json();
    let paths = done["changes"]["paths"].to_string();
    assert_eq!(done["changes"]["paths"][0]["path"], "src/a", "{paths}");
    assert!(done["part_of"].is_string(), "{done:#}");
    assert_eq!(lab.read("src/a").unwrap(), "new\n");
    assert_eq!(lab.read("src/b").unwrap(), "b0");
    let dropped = lab.sandbox(&["discard", done["part_of"].as_str().unwrap(), "--path", "d"]);
    dropped.code(0).says("wait on");
    lab.sandbox(&["commit"]).code(0);
    assert_eq!(
        [lab.read("src/b").unwrap(), lab.read("c").unwrap()],
        ["new\n", "new\n"]
    );
    assert_eq!(lab.read("d/in"), None);
    lab.sandbox(&["undo"]).code(0);
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before);
}
