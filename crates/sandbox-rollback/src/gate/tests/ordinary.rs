//! What ordinary work with git is told, with git itself.

use std::{fs, path::Path, process::Command};

use super::super::Gate;
use crate::tests::Lab;

const START: &str = "git init -q -b main && git config user.name x && git config user.email x@y && echo a > a && \
                     git add a && git commit -qm a";

const LFS: &str = "git config filter.lfs.clean 'git-lfs clean -- %f' && \
                   git config filter.lfs.smudge 'git-lfs smudge -- %f' && \
                   git config filter.lfs.process 'git-lfs filter-process' && git config filter.lfs.required true && \
                   git config lfs.repositoryformatversion 0";

/// What a person does in an empty workspace, and what is told of it.
const WORK: &[(&str, &str, &[&str])] = &[
    ("init", "true", &[]),
    (
        "branch",
        "git checkout -qb b && git tag t && git stash -q && git gc -q && git config pull.rebase true",
        &[],
    ),
    (
        "remote",
        "git remote add -t main origin https://h/x.git && git config branch.main.remote origin",
        &[],
    ),
    (
        "ssh",
        "git remote add origin git@h:x/y.git && git remote set-url --push origin ssh://git@h/x",
        &[],
    ),
    (
        "clone",
        "git clone -q . copy && cd copy && git pull -q && echo b > b && git add b",
        &[],
    ),
    (
        "bare",
        "git clone -q --bare . r.git && git push -q r.git main:other",
        &[],
    ),
    (
        "worktree",
        "git worktree add -q tree && cd tree && echo b > b && git add b",
        &[],
    ),
    ("sparse", "git sparse-checkout set d", &[]),
    (
        "submodule",
        "git -c protocol.file.allow=always submodule --quiet add ./ sub && git -C sub checkout -q main",
        &["'.gitmodules' changed: git submodules"],
    ),
    ("lfs", LFS, &[]),
    (
        "lfs hook",
        "echo 'git lfs pre-push \"$@\"' > .git/hooks/pre-push",
        &["'.git/hooks/pre-push' changed: a git hook"],
    ),
    (
        "husky",
        "git config core.hooksPath .husky/_ && mkdir -p .husky/_ && echo x > .husky/_/h && echo x > .husky/pre-commit",
        &[
            "'.git/config' changed: git configuration that runs programs",
            "'.husky/_/h' changed: a git hook",
            "'.husky/pre-commit' changed: a git hook",
        ],
    ),
    (
        "attributes",
        "git config filter.x.clean evil && echo '* filter=x' > .gitattributes",
        &[
            "'.git/config' changed: git configuration that runs programs",
            "'.gitattributes' changed: git attributes, which may name filters",
        ],
    ),
    (
        "alias",
        "git config alias.st status",
        &["'.git/config' changed: git configuration that runs programs"],
    ),
];

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "git itself says what it reads and writes"
)]
fn ordinary_work_is_told_only_where_it_runs_something() {
    for (name, script, expected) in WORK {
        let lab = Lab::new();
        let script = format!("{START} && {script}");
        let run = Command::new("sh")
            .args(["-ec", &script])
            .current_dir(lab.ws())
            .env("HOME", lab.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_DIR")
            .output()
            .unwrap();
        if run.status.code() == Some(127) {
            println!("skipped: git is not installed");
            return;
        }
        assert!(
            run.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
        // As if it had been done in the transaction: git wrote the workspace's path into some files.
        let aside = lab.root.path().join("aside");
        fs::create_dir(&aside).unwrap();
        move_all(&lab.ws(), &aside);
        let tx = lab.begin("op");
        move_all(&aside, tx.upper());
        let survey = tx.survey().unwrap();
        let mut notices = Gate::open().examine(&survey, &tx).unwrap().notices;
        notices.sort();
        assert_eq!(notices, *expected, "{name}");
    }
}

fn move_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
