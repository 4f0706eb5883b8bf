//! Repositories that are no `.git`, and files that lead git to another one.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use super::super::{Gate, GateAction, GateOutcome, GateRule};
use crate::tests::{Lab, commit, whiteout, write};

const RUNS: &str = "[core]\n\tfsmonitor = touch x\n";

/// What stands in a workspace: a path with a text, or with `-> TARGET` a link, with `/` at its end a directory.
type Files<'a> = &'a [(&'a str, &'a str)];

fn make(root: &Path, files: Files<'_>) {
    for (path, text) in files {
        let at = root.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        match text.strip_prefix("-> ") {
            Some(target) => symlink(target, &at).unwrap(),
            None if path.ends_with('/') => fs::create_dir_all(&at).unwrap(),
            None if *text == "deleted" => whiteout(&at),
            None => write(&at, text),
        }
    }
}

/// What the gate says of each operation, one after the other.
fn notices(before: Files<'_>, operations: &[Files<'_>]) -> Vec<Vec<String>> {
    let lab = Lab::new();
    make(&lab.ws(), before);
    let mut all = Vec::new();
    for (number, files) in operations.iter().enumerate() {
        let tx = lab.begin(&format!("op{number}"));
        make(tx.upper(), files);
        let survey = tx.survey().unwrap();
        let mut said = Gate::open().examine(&survey, &tx).unwrap().notices;
        // Links that lead out are told by themselves.
        said.retain(|it| !it.starts_with("the link"));
        all.push(said);
        commit(tx);
    }
    all
}

fn is_told(before: Files<'_>, files: Files<'_>) -> bool {
    !notices(before, &[files])[0].is_empty()
}

const MARKS: Files<'_> = &[
    ("r/HEAD", "ref: refs/heads/x"),
    ("r/objects/", ""),
    ("r/refs/", ""),
];

#[test]
fn the_configuration_of_a_worktree_counts_too() {
    let config = (
        "r/config",
        "[core]\n\tbare = true\n[extensions]\n\tworktreeConfig = true\n",
    );
    let all = [MARKS, &[config]].concat();
    assert!(!is_told(&[], &all), "control: nothing runs");
    let worktree = ("r/config.worktree", RUNS);
    assert!(is_told(&[], &[&*all, &[worktree]].concat()));
    assert!(is_told(&all, &[worktree]));
    assert!(is_told(&[worktree], &all));
    // Deleted before it was a repository.
    assert!(!is_told(
        &[worktree],
        &[&*all, &[("r/config.worktree", "deleted")]].concat()
    ));
}

#[test]
fn hooks_that_lie_elsewhere_count() {
    let link = ("r/hooks", "-> ../tools");
    assert!(is_told(&[], &[MARKS, &[link]].concat()));
    assert!(is_told(MARKS, &[link]));
    assert!(is_told(&[link], MARKS));
    assert!(!is_told(&[], &[link]), "control: no repository");
}

#[test]
fn a_repository_in_two_directories_counts() {
    let store = &[("store/objects/", ""), ("store/refs/", "")];
    let evil = [store.as_slice(), &[("store/config", RUNS)]].concat();
    assert!(is_told(&[], &evil));
    assert!(is_told(
        &[],
        &[("r/HEAD", "x"), ("r/commondir", "../store")]
    ));
    let both = &[("r/HEAD", "x"), ("r/commondir", "../store")];
    assert!(is_told(
        &[both.as_slice(), store].concat(),
        &[("store/config", RUNS)]
    ));
    assert!(!is_told(&[], store), "control: nothing runs");
}

#[test]
fn a_repository_that_several_operations_make_counts() {
    let hooks: Files<'_> = &[("r/hooks/post-checkout", "")];
    let sample: Files<'_> = &[("r/hooks/post-checkout.sample", "")];
    let [head, rest] = [&MARKS[..1], &MARKS[1..]];
    let told = |operations: &[Files<'_>]| {
        let said = notices(&[], operations);
        said.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(told(&[hooks, rest, head]), [0, 2, 1]);
    assert_eq!(told(&[head, hooks, rest]), [0, 0, 2]);
    assert_eq!(told(&[sample, rest, head]), [0, 0, 0]);
    let config: Files<'_> = &[("r/config.worktree", RUNS)];
    assert_eq!(told(&[config, head, rest]), [0, 0, 2]);
    // What stood there before and is complete is not told again.
    let said = notices(
        &[MARKS, hooks].concat(),
        &[&[("r/packed-refs", "x"), ("r/refs/heads/x", "x")]],
    );
    assert_eq!(said, [Vec::<String>::new()]);
}

#[test]
fn files_that_lead_git_elsewhere_are_told() {
    for (path, text) in [
        ("sub/.git", "gitdir: ../elsewhere\n"),
        ("sub/.git", "gitdir: /srv/elsewhere\n"),
        ("sub/.git", "gitdir: ../.git/modules/../../elsewhere\n"),
        ("sub/.git", "gitdir: ../.git/modules\n"),
        ("sub/.git", "gitdir: ../link/modules/x\n"),
        ("sub/.git", "gitdir: ../../.git/modules/x\n"),
        ("sub/.git", "gitdir: ../.git/modules/x/.git\n"),
        ("sub/.git", "gitdir: ../.git/modules/x\r\n"),
        ("sub/.git", "-> ../.git/modules/x"),
        ("a/commondir", "../.."),
        ("a/gitdir", "../sub/.git"),
        (".git/commondir", "../store"),
        (".git/worktrees/w/commondir", "../../../store"),
        (".git/worktrees/w/gitdir", "/etc/.git"),
        (".git/worktrees/w/config.worktree", RUNS),
        (".git/worktrees/w/config", RUNS),
        (
            ".git/modules/x/config",
            "[core]\n\tworktree = ../../../../out\n",
        ),
        (
            ".git/modules/x/config",
            "[core]\n\tworktree = ../../hooks\n",
        ),
        (
            ".git/modules/x/config",
            "[core]\n\tworktree = ../../../link\n",
        ),
        (".git/config", "[core]\n\tworktree = sub\n"),
        (".git/modules/x/hooks", "-> ../../../tools"),
        (".git/modules/x/hooks/post-checkout", ""),
        (".git/remotes/origin", "URL: ext::sh"),
    ] {
        let before = &[(".git/HEAD", "x"), ("link", "-> .git")];
        assert!(is_told(before, &[(path, text)]), "{path}: {text}");
    }
    for (path, text) in [
        ("sub/.git", "gitdir: ../.git/modules/x\n"),
        ("sub/.git", "gitdir: ../.git/worktrees/x\n"),
        ("sub/.git", "gitdir: ../.git/modules/x/worktrees/y\n"),
        (".git/worktrees/w/commondir", "../..\n"),
        (".git/worktrees/w/gitdir", "../../../wt/.git\n"),
        (
            ".git/modules/x/config",
            "[core]\n\tworktree = ../../../sub\n",
        ),
        (".git/hooks/pre-commit.sample", ""),
        (".git/hooks/", ""),
    ] {
        assert!(
            !is_told(&[(".git/HEAD", "x")], &[(path, text)]),
            "{path}: {text}"
        );
    }
}

/// The workspace's own repository may say that files among the sources are hooks.
#[test]
fn what_the_repository_leads_to_is_looked_at() {
    let config = "[core]\n\thooksPath = tools/hooks\n[include]\n\tpath = ../common.ini\n";
    let before: Files<'_> = &[
        (".git/config", config),
        (".git/hooks/pre-push", "-> ../../scripts/push.sh"),
    ];
    for path in ["tools/hooks/pre-commit", "common.ini", "scripts/push.sh"] {
        assert!(is_told(before, &[(path, RUNS)]), "{path}");
        assert!(!is_told(&[], &[(path, RUNS)]), "control: {path}");
    }
    assert!(!is_told(before, &[("tools/x", ""), ("scripts/x", "")]));
    // A link that leads nowhere hides none of the others.
    let nowhere = format!("-> {}", "a".repeat(300));
    let hidden: Files<'_> = &[(".git/hooks/x.sample", &nowhere), ("scripts/push.sh", RUNS)];
    assert!(is_told(before, hidden));
}

/// Names that lead elsewhere are as many as a command likes to make them.
#[test]
fn endless_leads_are_held() {
    let config = (0..20_000).fold("[include]\n".to_owned(), |mut text, number| {
        use std::fmt::Write as _;
        writeln!(text, "\tpath = ../f{number}").unwrap();
        text
    });
    let lab = Lab::new();
    make(&lab.ws(), &[(".git/config", &config)]);
    let tx = lab.begin("op");
    make(tx.upper(), &[("x", "")]);
    let survey = tx.survey().unwrap();
    let error = Gate::open().examine(&survey, &tx).unwrap_err();
    assert!(format!("{error:?}").contains("too many files"), "{error:?}");
}

/// What cannot be read is held alone, with the reason, and a rule of its path decides on it.
#[test]
fn what_cannot_be_read_is_held_alone() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root reads everything");
        return;
    }
    let lab = Lab::new();
    make(&lab.ws(), &[MARKS, &[("r/config", "[core]\n")]].concat());
    let closed = lab.ws().join("r/config");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    let tx = lab.begin("op");
    make(
        tx.upper(),
        &[
            ("r/HEAD", "new"),
            ("a/config", ""),
            ("a/hooks/x", ""),
            ("b", ""),
        ],
    );
    let survey = tx.survey().unwrap();
    let decide = |gate: Gate| {
        let decision = gate.examine(&survey, &tx).unwrap();
        (decision.outcome, decision.reasons)
    };
    let (outcome, reasons) = decide(Gate::open());
    assert_eq!(outcome, GateOutcome::Hold);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].starts_with("'r/HEAD' changed and cannot be examined: cannot read"),
        "{reasons:?}"
    );
    assert!(reasons[0].contains("Permission denied"), "{reasons:?}");
    let rule = GateRule {
        paths: vec!["r".to_owned()],
        classes: Vec::new(),
        action: GateAction::Allow,
        reason: "mine".to_owned(),
    };
    let rules = vec![rule];
    assert_eq!(
        decide(Gate {
            rules,
            ..Gate::open()
        }),
        (GateOutcome::Commit, Vec::new())
    );
}
