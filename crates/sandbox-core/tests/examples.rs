//! Every example of a plugin is run, and says what it should.
#![expect(
    clippy::disallowed_methods,
    reason = "examples are started as their users do"
)]

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use expect_test::{Expect, expect};

    /// Runs an example, which cargo builds before the tests of its package.
    #[track_caller]
    fn check(example: &str, expected: &Expect) {
        let tests = env::current_exe().unwrap();
        let built = tests
            .ancestors()
            .nth(2)
            .unwrap()
            .join("examples")
            .join(example);
        assert!(
            built.exists(),
            "build it: cargo build -p sandbox-core --examples"
        );
        let home = tempfile::tempdir().unwrap();
        let workspace = format!("/tmp/sandbox-example-{}", example.replace('_', "-"));
        let ended = Command::new(built)
            .env("SANDBOX_HOME", home.path().join("data"))
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .unwrap();
        // The sandbox is gone by then; its workspace is left.
        let _already_gone = std::fs::remove_dir_all(workspace);
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{example}: {errors}");
        expected.assert_eq(&String::from_utf8_lossy(&ended.stdout));
    }

    #[test]
    fn a_validator_denies() {
        check(
            "validator",
            &expect![[r#"
                echo build: Completed []
                echo deploy: Denied ["acme.no-friday-deploys"]
            "#]],
        );
    }

    #[test]
    fn an_operation_type_is_read_and_run() {
        check(
            "operation",
            &expect![[r"
                note: file_write notes/today.md: Completed
                cannot accept the operation at document:1:1: cannot read the operation of type `note`: a note has a `text`, which is text
                cannot accept the operation at document:1:27: cannot accept the unknown field `titel`; did you mean `title`?
            "]],
        );
    }

    #[test]
    fn an_approver_answers_or_leaves_it_to_later() {
        check(
            "approver",
            &expect![[r"
                Denied
                Completed
                ApprovalRequired
                approved: Completed, 1 created
            "]],
        );
    }

    #[test]
    fn a_health_check_finds_and_repairs() {
        check(
            "health_check",
            &expect![[r"
                acme.cache: Failed: /tmp/sandbox-example-health-check/cache is not there
                acme.cache: Healthy: /tmp/sandbox-example-health-check/cache
            "]],
        );
    }

    #[test]
    fn an_event_handler_hears_what_happens() {
        check(
            "event_handler",
            &expect![[r"
                2 operation.started
                3 operation.finished
                4 operation.undone
            "]],
        );
    }

    /// The one without is the control: only a keeper makes a session.
    #[test]
    fn a_program_keeps_its_own_sessions() {
        check(
            "session",
            &expect![[r"
                without a keeper: on its own
                with one: in the session
            "]],
        );
    }
}
