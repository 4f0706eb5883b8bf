//! `run --secret`: an operation has the value, and nothing else does: not the output, not the journal, no file.

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::lab::Lab;

const SECRET: &str = "pl4nted/secret v+lue";

/// A lab with a secret `TOKEN`.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab.sandbox_with_input(
        &["state", "set", "TOKEN", "--secret", "-"],
        &format!("{SECRET}\n"),
    )
    .code(0);
    lab
}

/// Returns the files below `root` that have the secret in them or in their name, in one of the forms.
fn leaks(root: &Path) -> Vec<PathBuf> {
    let digits = SECRET.bytes().map(|it| format!("{it:02x}"));
    let hex = digits.collect::<Vec<_>>().concat();
    let forms = [
        SECRET.to_owned(),
        BASE64_STANDARD.encode(SECRET),
        hex,
        "pl4nted%2Fsecret%20v%2Blue".to_owned(),
    ];
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir());
        let mut bytes = path.as_os_str().as_bytes().to_vec();
        if is_directory {
            left.extend(
                fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|it| it.path()),
            );
        } else {
            bytes.extend(fs::read(&path).unwrap_or_default());
        }
        let has = |form: &String| bytes.windows(form.len()).any(|it| it == form.as_bytes());
        if forms.iter().any(has) {
            found.push(path);
        }
    }
    found
}

/// Prints the secret in its variable in every form, in pieces too.
const PRINTS: &str = "printf '%s\\n' \"$TOKEN\"; printf %s \"$TOKEN\" | base64 >&2; \
    printf %s \"$TOKEN\" | od -An -v -tx1 | tr -d ' \\n'; printf '\\npl4nted/sec'; sleep 0.05; \
    printf 'ret v+lue\\npl4nted%%2Fsecret%%20v%%2Blue\\n'; [ ${#TOKEN} = 20 ] && echo has it";

#[test]
fn an_operation_has_a_secret_that_nobody_else_sees() {
    let lab = lab();
    let ended = lab.sandbox(&["run", "--secret", "TOKEN", "--json", "--shell", PRINTS]);
    let report = ended.code(0).json();
    assert_eq!(
        report["stdout"]["text"],
        "[redacted]\n[redacted]\n[redacted]\n[redacted]\nhas it\n"
    );
    assert_eq!(report["stderr"]["text"], "[redacted]\n");
    assert_eq!(report["operation"]["secrets"][0], "TOKEN");
    assert_eq!(leaks(lab.root()), Vec::<PathBuf>::new());
    // The control: what is given as any other variable is in the journal.
    let variable = format!("TOKEN={SECRET}");
    lab.sandbox(&["run", "--env", &variable, "--shell", PRINTS])
        .code(0)
        .prints(SECRET);
    assert!(
        leaks(lab.root())
            .iter()
            .any(|it| it.ends_with("journal.log"))
    );
}

#[test]
fn a_secret_is_a_private_file_byte_for_byte() {
    let lab = lab();
    let bytes: Vec<u8> = (0..=255).collect();
    let path = lab.root().join("binary");
    fs::write(&path, &bytes).unwrap();
    lab.sandbox(&[
        "state",
        "set",
        "binary",
        "--secret",
        "--file",
        path.to_str().unwrap(),
    ])
    .code(0);
    fs::remove_file(&path).unwrap();
    let script = "cd /run/secrets; stat -c '%n %a %s' .  binary t; cat t; od -An -v -tu1 binary | tr -s ' \\n' ' '; \
        env | grep -c SANDBOX_SECRET; tr '\\0' ' ' < /proc/$$/cmdline | grep -c pl4[n]ted";
    let ended = lab.sandbox(&[
        "run",
        "--secret-file",
        "binary",
        "--secret-file",
        "TOKEN=t",
        "--shell",
        script,
    ]);
    let numbers: Vec<String> = bytes.iter().map(ToString::to_string).collect();
    ended
        .prints(". 700 80\nbinary 600 256\nt 600 21\n[redacted]\n")
        .prints(&format!(" {} ", numbers.join(" ")))
        .prints("0\n0\n");
    lab.sandbox(&["run", "--", "ls", "/run/secrets"]).code(2);
    assert_eq!(leaks(lab.root()), Vec::<PathBuf>::new());
}

#[test]
fn a_detached_operation_keeps_it_out_of_its_log_even_if_it_is_killed() {
    let lab = lab();
    let script = format!("{PRINTS}; sleep 100");
    let started = lab.sandbox(&["run", "--detach", "--secret", "TOKEN", "--shell", &script]);
    let id = started.code(0).stdout.trim().to_owned();
    let until = Instant::now() + Duration::from_secs(20);
    while !lab.sandbox(&["logs", &id]).stdout.contains("has it") {
        assert!(Instant::now() < until, "it never said so");
        std::thread::yield_now();
    }
    assert_eq!(leaks(lab.root()), Vec::<PathBuf>::new());
    lab.sandbox(&["kill", &id]).code(0);
    lab.sandbox(&["wait", &id]);
    assert_eq!(leaks(lab.root()), Vec::<PathBuf>::new());
    // One whose process is killed where it stands.
    let mut child = lab
        .command(&["run", "--secret", "TOKEN", "--shell", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while lab
        .sandbox(&["ps", "--json"])
        .json()
        .as_array()
        .is_none_or(Vec::is_empty)
    {
        assert!(Instant::now() < until, "it never ran");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lab.sandbox(&["status"]).code(0);
    assert_eq!(leaks(lab.root()), Vec::<PathBuf>::new());
}

#[test]
fn a_request_that_waits_has_the_name_and_not_the_value() {
    let lab = lab();
    let text = format!("git push --force; {PRINTS}");
    let ended = lab.sandbox(&[
        "run", "--secret", "TOKEN", "--net", "host", "--json", "--shell", &text,
    ]);
    let report = ended.code(126).json();
    let request = report["approval"]["request"].as_str().unwrap();
    assert_eq!(leaks(lab.root()), Vec::<PathBuf>::new());
    lab.sandbox(&["approvals", "approve", request])
        .prints("[redacted]\n[redacted]\n")
        .prints("has it");
    assert_eq!(leaks(lab.root()), Vec::<PathBuf>::new());
}

#[test]
fn what_cannot_be_given_is_refused_before_anything_runs() {
    let lab = lab();
    lab.sandbox(&["state", "set", "short", "--secret", "abc"])
        .code(0);
    lab.sandbox(&["state", "set", "other", "--secret", "long enough"])
        .code(0);
    let refused = |args: &[&str], why: &str| {
        let args = [&["run"], args, &["--", "touch", "ran"]].concat();
        lab.sandbox(&args).code(2).says(why);
    };
    refused(&["--secret", "tokn"], "there is no such key in the state");
    refused(&["--secret", "short"], "less than 4 bytes");
    refused(&["--secret", "TOKEN=a-b"], "no digit first");
    refused(&["--secret-file", "TOKEN=../x"], "its file has letters");
    refused(
        &["--secret", "TOKEN", "--secret", "other=TOKEN"],
        "the same place",
    );
    let key = lab.data().join("keys/state.key");
    fs::write(&key, "0".repeat(64)).unwrap();
    lab.sandbox(&["run", "--secret", "TOKEN", "--", "touch", "ran"])
        .code(125)
        .says("secrets here are sealed with the key");
    assert_eq!(lab.read("ran"), None);
}
