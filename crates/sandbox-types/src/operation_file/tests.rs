//! Every field read, and every way to get one wrong.

use expect_test::{Expect, expect};

use super::*;
use crate::{Action, AllowList, FileWork, NetworkAccess};

#[track_caller]
fn check(document: &str, expected: Expect) {
    let error = Operation::from_json(document).unwrap_err();
    expected.assert_eq(&crate::causes(&error).join("\n"));
}

#[test]
fn the_whole_document_is_read() {
    let operation = Operation::from_json(
        r#"{"type": "command", "id": "optional", "command": "echo hi > output.txt", "args": null, "cwd": "sub/dir",
            "env": {"K": "V"}, "files": ["output.txt"], "stdin": "text", "timeout": "30s",
            "limits": {"memory_mb": 256, "cpu_percent": 150, "processes": 20, "disk_mb": 1},
            "network": {"mode": "host"}, "on_failure": "discard", "hide": ["secrets", "/etc/passwd"]}"#,
    )
    .unwrap();
    let expected = Operation {
        hide: vec!["secrets".into(), "/etc/passwd".into()],
        id: "optional".parse().unwrap(),
        cwd: Some("sub/dir".into()),
        stdin: Some("text".to_owned()),
        limits: LimitsRequest {
            memory: Some(Bytes::mib(256)),
            cpu_percent: Some(150),
            processes: Some(20),
            disk: Some(Bytes::mib(1)),
            ..LimitsRequest::default()
        },
        network: Some(NetworkAccess::Host),
        on_failure: OnFailure::Discard,
        // Asked for, not granted.
        timeout: Some(Duration::from_secs(30)),
        ..Operation::shell("echo hi > output.txt")
            .env("K", "V")
            .files(["output.txt"])
    };
    assert_eq!(operation, expected);
}

#[test]
fn the_customers_document_is_read() {
    let operation = Operation::from_json(
        r#"{"type": "file_operation", "id": "demo_op", "command": "echo 'Hello, Sandbox!'", "files": ["output.txt"]}"#,
    )
    .unwrap();
    assert_eq!(operation.type_name, "file_operation");
    assert_eq!(operation.id.as_str(), "demo_op");
    assert_eq!(
        operation.action,
        Action::Shell("echo 'Hello, Sandbox!'".to_owned())
    );
    assert_eq!(operation.files, Some(vec!["output.txt".to_owned()]));
}

#[test]
fn allowed_hosts_are_read() {
    for (network, patterns) in [
        (
            r#"{"allow_hosts": ["Example.com:443", "[::1]:80"]}"#,
            vec!["example.com:443", "[::1]:80"],
        ),
        (r#"{"mode": "allow", "allow_hosts": []}"#, vec![]),
    ] {
        let document = format!(r#"{{"type": "command", "command": "ls", "network": {network}}}"#);
        let operation = Operation::from_json(&document).unwrap();
        let list = AllowList::parse(patterns).unwrap();
        assert_eq!(operation.network, Some(NetworkAccess::Allow(list)));
    }
}

#[test]
fn args_are_an_argv() {
    let operation =
        Operation::from_json(r#"{"type": "command", "args": ["echo", "a b", ""]}"#).unwrap();
    let argv = ["echo", "a b", ""].map(str::to_owned).to_vec();
    assert_eq!(operation.action, Action::Argv(argv));
    assert_eq!(operation.network, None);
    assert_eq!(operation.on_failure, OnFailure::Keep);
}

#[test]
fn what_is_not_a_document_is_refused() {
    check(
        "{",
        expect![[r"
            cannot read the operation document as JSON
            EOF while parsing an object at line 1 column 1"]],
    );
    check(
        "[]",
        expect!["cannot read `.`: expected an object, found a list"],
    );
    check(
        "{}",
        expect!["cannot read an operation without the field `type`"],
    );
}

#[test]
fn a_type_that_there_is_not_is_named() {
    check(
        r#"{"type": "explode", "path": "a", "content": "b"}"#,
        expect![
            "cannot run an operation of type `explode`; there are `command`, `file_operation`, `shell`, `script`, `file_write`, `file_delete`, `file_move`"
        ],
    );
    check(
        r#"{"type": "comand", "command": "ls"}"#,
        expect![
            "cannot run an operation of type `comand`; there are `command`, `file_operation`, `shell`, `script`, `file_write`, `file_delete`, `file_move`; did you mean `command`?"
        ],
    );
    check(
        r#"{"type": 3, "command": "ls"}"#,
        expect!["cannot read `type`: expected text, found 3"],
    );
}

#[test]
fn every_type_is_read() {
    let read = |document: &str| {
        let operation = Operation::from_json(document).unwrap();
        (operation.type_name.clone(), operation.action)
    };
    let write = |content: &[u8], mode| {
        let (path, content) = ("a/b".to_owned(), content.to_vec());
        let work = FileWork::Write {
            path,
            content,
            mode,
        };
        ("file_write".to_owned(), Action::File(work))
    };
    assert_eq!(
        read(r#"{"type": "file_write", "path": "a/b", "content": "x\u0000", "mode": "0755"}"#),
        write(b"x\0", Some(0o755))
    );
    assert_eq!(
        read(r#"{"type": "file_write", "path": "a/b", "content_base64": "/w\n=="}"#),
        write(&[0xff], None)
    );
    let gone = FileWork::Delete {
        path: "-rf".to_owned(),
        recursive: true,
    };
    assert_eq!(
        read(r#"{"type": "file_delete", "path": "-rf", "recursive": true}"#),
        ("file_delete".to_owned(), Action::File(gone))
    );
    let moved = Operation::file_move("a", "b").action;
    assert_eq!(
        read(r#"{"type": "file_move", "from": "a", "to": "b"}"#),
        ("file_move".to_owned(), moved)
    );
    let script = Operation::script("python3", "print(1)").action;
    assert_eq!(
        read(r#"{"type": "script", "interpreter": "python3", "source": "print(1)"}"#),
        ("script".to_owned(), script.clone())
    );
    assert_eq!(
        read(r#"{"type": "script", "interpreter": ["python3"], "source": "print(1)"}"#).1,
        script
    );
}

#[test]
fn work_on_a_file_that_fails_changes_nothing_unless_the_document_says_so() {
    let read = |document| Operation::from_json(document).unwrap().on_failure;
    let document = r#"{"type": "file_delete", "path": "a"}"#;
    assert_eq!(read(document), OnFailure::Discard);
    let document = r#"{"type": "file_delete", "path": "a", "on_failure": "keep"}"#;
    assert_eq!(read(document), OnFailure::Keep);
}

#[test]
fn a_field_of_another_type_is_named() {
    check(
        r#"{"type": "file_write", "path": "a", "content": "b", "cwd": "c"}"#,
        expect![
            "cannot accept the field `cwd` in an operation of type `file_write`, which has `path`, `content`, `content_base64`, `mode`"
        ],
    );
    check(
        r#"{"type": "file_write", "pth": "a", "content": "b"}"#,
        expect!["cannot accept the unknown field `pth`; did you mean `path`?"],
    );
    check(
        r#"{"type": "file_write", "path": "a"}"#,
        expect![
            "cannot tell what to write: a `file_write` has either `content` (text) or `content_base64`, and here is neither"
        ],
    );
    check(
        r#"{"type": "file_move", "from": "a"}"#,
        expect!["cannot read an operation without the field `to`"],
    );
    check(
        r#"{"type": "script", "source": "a"}"#,
        expect!["cannot read an operation without the field `interpreter`"],
    );
}

#[test]
fn values_of_files_and_scripts_are_checked() {
    for (document, field) in [
        (r#""file_write", "path": "../x", "content": """#, "path"),
        (r#""file_write", "path": "", "content": """#, "path"),
        (r#""file_write", "path": "a\u0000", "content": """#, "path"),
        (r#""file_write", "path": "a/", "content": """#, "path"),
        (
            r#""file_write", "path": "a", "content": "", "mode": "4755""#,
            "mode",
        ),
        (
            r#""file_write", "path": "a", "content": "", "mode": "9""#,
            "mode",
        ),
        (
            r#""file_write", "path": "a", "content": "", "mode": "+644""#,
            "mode",
        ),
        (
            r#""file_write", "path": "a", "content_base64": "%""#,
            "content_base64",
        ),
        (r#""file_delete", "path": "a/..""#, "path"),
        (r#""file_move", "from": "a", "to": "..""#, "to"),
        (
            r#""script", "interpreter": "", "source": "x""#,
            "interpreter[0]",
        ),
        (
            r#""script", "interpreter": [], "source": "x""#,
            "interpreter[0]",
        ),
        (r#""script", "interpreter": "sh", "source": " ""#, "source"),
    ] {
        let error = Operation::from_json(&format!("{{\"type\": {document}}}")).unwrap_err();
        assert!(matches!(error, OperationError::Value { .. }), "{error}");
        assert_eq!(error.field(), Some(field), "{error}");
    }
}

#[test]
fn a_program_adds_types() {
    let foreign = [ForeignType {
        name: "greet",
        fields: &["whom"],
        read: &|fields| match fields.get("whom").and_then(Value::as_str) {
            Some(whom) => Ok(Operation::command(["echo", whom]).env("A", "1")),
            None => Err("whom is greeted?".to_owned()),
        },
    }];
    let read = |document: &str| {
        Operation::from_document_with(serde_json::from_str(document).unwrap(), &foreign)
    };
    let operation = read(r#"{"type": "greet", "whom": "you", "id": "g1", "env": {"B": "2"}}"#);
    let operation = operation.unwrap();
    assert_eq!(operation.type_name, "greet");
    assert_eq!(operation.id.as_str(), "g1");
    assert_eq!(operation.action.argv(), ["echo", "you"]);
    assert_eq!(operation.env.len(), 2);
    let refused = read(r#"{"type": "greet"}"#).unwrap_err();
    assert!(matches!(refused, OperationError::Refused { .. }));
    let unknown = read(r#"{"type": "greet", "whon": "you"}"#).unwrap_err();
    assert!(unknown.to_string().contains("did you mean `whom`?"));
    let unsupported = read(r#"{"type": "gret"}"#).unwrap_err();
    assert!(unsupported.to_string().contains("did you mean `greet`?"));
}

#[test]
fn an_unknown_field_is_named_with_its_neighbour() {
    check(
        r#"{"type": "command", "comand": "ls"}"#,
        expect!["cannot accept the unknown field `comand`; did you mean `command`?"],
    );
    check(
        r#"{"type": "command", "command": "ls", "limits": {"memroy_mb": 5}}"#,
        expect!["cannot accept the unknown field `limits.memroy_mb`; did you mean `memory_mb`?"],
    );
    check(
        r#"{"type": "command", "command": "ls", "network": {"alow_hosts": []}}"#,
        expect![
            "cannot accept the unknown field `network.alow_hosts`; did you mean `allow_hosts`?"
        ],
    );
    check(
        r#"{"type": "command", "command": "ls", "zzz\u001b[31m": 1}"#,
        expect![[r"cannot accept the unknown field `zzz\u{1b}[31m`"]],
    );
}

#[test]
fn a_wrong_type_is_named() {
    check(
        r#"{"type": "command", "command": ["ls"]}"#,
        expect!["cannot read `command`: expected text, found a list"],
    );
    check(
        r#"{"type": "command", "args": "ls"}"#,
        expect!["cannot read `args`: expected a list of texts, found the text 'ls'"],
    );
    check(
        r#"{"type": "command", "args": ["ls", 3]}"#,
        expect!["cannot read `args[1]`: expected text, found 3"],
    );
    check(
        r#"{"type": "command", "command": "ls", "env": {"A": 1}}"#,
        expect!["cannot read `env.A`: expected text, found 1"],
    );
    check(
        r#"{"type": "command", "command": "ls", "env": {"A": null}}"#,
        expect!["cannot read `env.A`: expected text, found null"],
    );
    check(
        r#"{"type": "command", "command": "ls", "limits": {"memory_mb": 1.5}}"#,
        expect!["cannot read `limits.memory_mb`: expected a whole number, found 1.5"],
    );
    check(
        r#"{"type": "command", "command": "ls", "timeout": 30}"#,
        expect!["cannot read `timeout`: expected text, found 30"],
    );
    check(
        r#"{"type": "command", "command": "ls", "network": true}"#,
        expect!["cannot read `network`: expected an object, found true"],
    );
}

#[test]
fn command_or_args_and_not_both() {
    check(
        r#"{"type": "command", "command": "ls", "args": ["ls"]}"#,
        expect![
            "cannot tell what to run: an operation has either `command` (shell text) or `args` (a program and its arguments), and here is both"
        ],
    );
    check(
        r#"{"type": "command", "command": null}"#,
        expect![
            "cannot tell what to run: an operation has either `command` (shell text) or `args` (a program and its arguments), and here is neither"
        ],
    );
    check(
        r#"{"type": "command", "command": " \n"}"#,
        expect![[r"cannot use ' \n' for `command`: there is nothing to run"]],
    );
    check(
        r#"{"type": "command", "args": []}"#,
        expect!["cannot use '' for `args[0]`: the program has no name"],
    );
}

#[test]
fn values_are_checked() {
    for (fields, field) in [
        (r#""id": "a/b""#, "id"),
        (r#""cwd": "../x""#, "cwd"),
        (r#""cwd": "/srv/../etc""#, "cwd"),
        (r#""cwd": """#, "cwd"),
        (r#""cwd": "a\u0000b""#, "cwd"),
        (r#""env": {"A=B": "c"}"#, "env"),
        (r#""env": {"": "c"}"#, "env"),
        (r#""env": {"A": "c\u0000"}"#, "env.A"),
        (r#""files": ["a", ""]"#, "files[1]"),
        (r#""files": ["a\u0000"]"#, "files[0]"),
        (r#""timeout": "0s""#, "timeout"),
        (r#""timeout": "-1s""#, "timeout"),
        (r#""timeout": "9000h""#, "timeout"),
        (r#""limits": {"memory_mb": 0}"#, "limits.memory_mb"),
        (r#""limits": {"cpu_percent": -5}"#, "limits.cpu_percent"),
        (r#""limits": {"processes": 5000000}"#, "limits.processes"),
        (r#""limits": {"disk_mb": 0}"#, "limits.disk_mb"),
        (r#""network": "some""#, "network"),
        (r#""network": {"mode": "allow"}"#, "network.mode"),
        (r#""network": "allow""#, "network"),
        (
            r#""network": {"allow_hosts": ["ok.example", "a b"]}"#,
            "network.allow_hosts[1]",
        ),
        (
            r#""network": {"mode": "host", "allow_hosts": ["example.com"]}"#,
            "network.mode",
        ),
        (r#""on_failure": "explode""#, "on_failure"),
    ] {
        let document = format!(r#"{{"type": "command", "command": "ls", {fields}}}"#);
        let error = Operation::from_json(&document).unwrap_err();
        assert!(matches!(error, OperationError::Value { .. }), "{error}");
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(!error.to_string().contains('\0'), "{error:?}");
    }
    check(
        r#"{"type": "command", "command": "a\u0000b"}"#,
        expect![[
            r"cannot use 'a\0b' for `command`: must not contain a NUL byte: the kernel ends texts there"
        ]],
    );
    check(
        r#"{"type": "command", "command": "ls", "limits": {"memory_mb": -1}}"#,
        expect![
            "cannot use -1 for `limits.memory_mb`: must be at least 4 MiB (no program starts with less)"
        ],
    );
}

#[test]
fn a_document_hides_and_never_grants() {
    for hide in [r#"["../x"]"#, r#"[""]"#, r#"["a\u0000"]"#, r#""a""#] {
        let document = format!(r#"{{"type": "command", "command": "true", "hide": {hide}}}"#);
        Operation::from_json(&document).unwrap_err();
    }
    for grant in ["read", "write", "direct"] {
        let document = format!(r#"{{"type": "command", "command": "true", "{grant}": ["/etc"]}}"#);
        let error = Operation::from_json(&document).unwrap_err();
        let said = crate::causes(&error).join("\n");
        assert!(said.contains(&format!("unknown field `{grant}`")), "{said}");
    }
}
