//! What is interrupted: each command, how to come to where it can be given, and how to come back.

/// One command of the program.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Given once.
    pub(super) prepare: &'static [&'static [&'static str]],
    /// Given before each attempt. What they change in the workspace must be the same each time.
    pub(super) before: &'static [&'static [&'static str]],
    /// `SNAPSHOT` stands for the oldest snapshot.
    pub(super) command: &'static [&'static str],
    /// Given when it was done.
    pub(super) back: &'static [&'static [&'static str]],
    /// Given when it was not, whether it succeeds or not.
    pub(super) otherwise: &'static [&'static [&'static str]],
}

const EDIT: &str =
    "for i in 1 2 3 4; do echo new > f$i; echo x > n$i; done; rm f5; mkdir -p d/e; echo y > d/e/z";
const RUN: &[&str] = &["run", "-q", "--shell", EDIT];
const REVIEW: &[&str] = &["run", "-q", "--review", "--shell", EDIT];

/// Everything that changes a workspace or a repository.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "run",
        prepare: &[],
        before: &[],
        command: RUN,
        back: &[&["undo"]],
        otherwise: &[],
    },
    Case {
        name: "undo",
        prepare: &[RUN],
        before: &[],
        command: &["undo"],
        back: &[&["redo"]],
        otherwise: &[],
    },
    Case {
        name: "redo",
        prepare: &[RUN, &["undo"]],
        before: &[],
        command: &["redo"],
        back: &[&["undo"]],
        otherwise: &[],
    },
    Case {
        name: "commit",
        prepare: &[],
        before: &[REVIEW],
        command: &["commit"],
        back: &[&["undo"]],
        otherwise: &[&["discard"]],
    },
    Case {
        name: "discard",
        prepare: &[],
        before: &[REVIEW],
        command: &["discard"],
        back: &[],
        otherwise: &[&["discard"]],
    },
    Case {
        name: "snapshot create",
        prepare: &[&["create"]],
        before: &[],
        command: &["snapshot", "create"],
        back: &[],
        otherwise: &[],
    },
    Case {
        name: "snapshot restore",
        prepare: &[&["create"], &["snapshot", "create"], RUN],
        before: &[],
        command: &["snapshot", "restore", "SNAPSHOT"],
        back: &[&["undo"]],
        otherwise: &[],
    },
    Case {
        name: "rollback",
        prepare: &[&["create"], &["snapshot", "create"], RUN],
        before: &[],
        command: &["rollback", "SNAPSHOT"],
        back: &[&["undo"]],
        otherwise: &[],
    },
    Case {
        name: "snapshot prune",
        prepare: &[&["create"], &["snapshot", "create"]],
        before: &[&["snapshot", "create"]],
        command: &["snapshot", "prune", "--keep-last", "1"],
        back: &[],
        otherwise: &[],
    },
];
