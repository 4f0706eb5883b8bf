//! Rule packs and commit policies that cannot be used, and what a rule drops.

use std::fs;

use crate::lab::Lab;

/// A lab whose sandbox has an operation in its log, then a rule pack that is not there, and a commit
/// policy with a typo.
fn broken(variable: &str, text: Option<&str>) -> Lab {
    let lab = Lab::new().file("a", "old");
    lab.sandbox(&["run", "--shell", "echo new > a"]).code(0);
    lab.sandbox(&["run", "--review", "--shell", "echo held > b"])
        .code(0);
    let path = lab.root().join("outside/policy.yaml");
    if let Some(text) = text {
        fs::write(&path, text).unwrap();
    }
    let path = path.to_str().unwrap();
    let is_list = variable.ends_with("RULES");
    let value = if is_list {
        format!("[{path}]")
    } else {
        path.to_owned()
    };
    lab.env(variable, value)
}

#[test]
fn a_policy_that_cannot_be_used_locks_only_what_judges_or_commits() {
    let rules = "SANDBOX_SAFETY_CONSTRAINTS__RULES";
    let commit = "SANDBOX_SAFETY_CONSTRAINTS__COMMIT_POLICY";
    for (variable, text) in [(rules, None), (commit, Some("rulez: []\n"))] {
        let lab = broken(variable, text);
        for args in [
            &["run", "--", "true"][..],
            &["run", "--direct", "--", "true"],
            &["run", "--shell", "rm -rf /"],
            &["commit"],
        ] {
            lab.sandbox(args).code(2).says("policy.yaml");
        }
        assert_eq!(lab.read("b"), None);
        for args in [
            &["ps"][..],
            &["log"],
            &["status"],
            &["diff"],
            &["audit", "verify"],
            &["state", "list"],
            &["snapshot", "create"],
            &["discard"],
            &["undo"],
            &["redo"],
            &["destroy", "--keep-workspace"],
        ] {
            lab.sandbox(args).code(0);
        }
    }
}

#[test]
fn a_policy_that_cannot_be_used_is_refused_before_a_sandbox_has_it() {
    let lab = Lab::new();
    let policy = lab.root().join("outside/policy.yaml");
    let config = lab.root().join("outside/config.yaml");
    let config_name = config.to_str().unwrap();
    for (key, value) in [("rules", "[PATH]"), ("commit_policy", "PATH")] {
        let value = value.replace("PATH", policy.to_str().unwrap());
        fs::write(&config, format!("safety_constraints: {{{key}: {value}}}\n")).unwrap();
        fs::write(&policy, "denny: []\n").unwrap();
        for args in [
            &["config", "validate", config_name][..],
            &["create", "--dry-run", "-c", config_name],
            &["create", "-c", config_name],
        ] {
            lab.sandbox(args).code(2).says("policy.yaml:1:1");
        }
        lab.sandbox(&["status"]).code(1);
        let valid = if key == "rules" {
            "pack: p\n"
        } else {
            "rules: []\n"
        };
        fs::write(&policy, valid).unwrap();
        lab.sandbox(&["config", "validate", config_name]).code(0);
        lab.sandbox(&["create", "-c", config_name]).code(0);
        lab.sandbox(&["destroy", "--keep-workspace"]).code(0);
    }
}

#[test]
fn changes_that_a_rule_drops_are_no_success() {
    let lab = Lab::new();
    let policy = lab.root().join("outside/policy.yaml");
    let text = "rules: [{paths: [keys], action: discard, reason: they are not written here}]\n";
    fs::write(&policy, text).unwrap();
    let command = ["run", "--shell", "echo x > keys; echo y > other"];
    // Control: without the policy the same command is a success.
    lab.sandbox(&command).code(0);
    lab.sandbox(&["undo"]).code(0);
    let name = "SANDBOX_SAFETY_CONSTRAINTS__COMMIT_POLICY";
    let lab = lab.env(name, policy.to_str().unwrap());
    lab.sandbox(&command)
        .code(126)
        .says("the command succeeded, but its changes are not in the workspace")
        .says("'keys' changed: they are not written here");
    assert_eq!(lab.read("other"), None);
    lab.sandbox(&["run", "--shell", "echo x > keys; exit 3"])
        .code(3);
}

/// What the page shows is taken as it stands.
#[test]
fn the_example_of_the_page_holds() {
    const PAGE: &str = include_str!("../../docs/reference/rule-packs.md");
    let mut blocks = PAGE.split("```yaml\n").skip(1).map(|it| {
        let (block, _) = it.split_once("```").unwrap();
        block
    });
    let lab = Lab::new();
    let (pack, expected) = (
        lab.root().join("pack.yaml"),
        lab.root().join("expected.yaml"),
    );
    fs::write(&pack, blocks.next().unwrap()).unwrap();
    fs::write(&expected, blocks.next().unwrap()).unwrap();
    let (pack, expected) = (pack.to_str().unwrap(), expected.to_str().unwrap());
    lab.sandbox(&["policy", "validate", pack])
        .code(0)
        .prints("acme: 1 rule, and");
    lab.sandbox(&["policy", "test", expected, "--rules", pack])
        .code(0)
        .prints("4 of 4 as expected");
    let wrong = lab.root().join("wrong.yaml");
    fs::write(&wrong, "- {command: git push, decision: deny}\n").unwrap();
    lab.sandbox(&["policy", "test", wrong.to_str().unwrap(), "--rules", pack])
        .code(1)
        .prints("git push\n");
}
