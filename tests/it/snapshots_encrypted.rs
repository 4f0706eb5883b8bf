//! Encrypted snapshots: what lies on disk, who can read it, and another key.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::lab::{Lab, tree};

const WORDS: &[&str] = &[
    "confidential-name",
    "the quick brown fox",
    "telltale-message",
];

fn lab() -> Lab {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    let lab = lab.file("confidential-name", &"the quick brown fox\n".repeat(2));
    fs::write(lab.workspace().join("noise"), [0xA5_u8; 5000]).unwrap();
    lab
}

fn repository(lab: &Lab) -> PathBuf {
    let sandboxes = lab.data().join("sandboxes");
    let only = fs::read_dir(sandboxes).unwrap().next().unwrap().unwrap();
    only.path().join("repository")
}

fn words_in(directory: &Path) -> Vec<&'static str> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(words_in(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let is_in = |word: &&&str| bytes.windows(word.len()).any(|it| it == word.as_bytes());
        found.extend(WORDS.iter().filter(is_in));
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn take(lab: &Lab) -> String {
    let taken = lab.sandbox(&["snapshot", "create", "-m", "telltale-message", "--json"]);
    taken.code(0);
    taken.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_encrypted_is_read_with_the_key_alone() {
    let lab = lab();
    let id = take(&lab);
    assert!(
        !words_in(&repository(&lab)).is_empty(),
        "the control shows them"
    );
    lab.sandbox(&["snapshot", "encrypt"])
        .code(0)
        .says("are encrypted: 1 packs");
    lab.sandbox(&["snapshot", "encrypt"])
        .code(0)
        .says("encrypted already");
    assert_eq!(words_in(&repository(&lab)), Vec::<&str>::new());
    let lab = lab.file("more", "telltale-message\n");
    take(&lab);
    assert_eq!(words_in(&repository(&lab)), Vec::<&str>::new());
    lab.sandbox(&["snapshot", "diff", &id[..8]])
        .code(0)
        .prints("more");
    lab.sandbox(&["snapshot", "verify", "--read-data"]).code(0);
    lab.sandbox(&["snapshot", "prune"]).code(0);
    let before = lab.tree();
    let key = lab.data().join("keys/snapshots.key");
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let old = fs::read(&key).unwrap();
    lab.sandbox(&["snapshot", "rekey"])
        .code(0)
        .says("have the new key");
    assert_ne!(fs::read(&key).unwrap(), old);
    lab.sandbox(&["snapshot", "repair"]).code(0);
    lab.sandbox(&["snapshot", "restore", &id]).code(0);
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before);
    fs::write(&key, &old).unwrap();
    lab.sandbox(&["snapshot", "list"])
        .code(1)
        .says("encrypted with the key")
        .says("SANDBOX_SNAPSHOT_KEY");
    fs::remove_file(&key).unwrap();
    lab.sandbox(&["snapshot", "create"])
        .code(1)
        .says("snapshots.key");
    assert!(!key.exists(), "no other key is made in its place");
    lab.sandbox(&["audit", "verify"]).code(0);
}

#[test]
fn a_passphrase_opens_them_and_an_export_elsewhere() {
    let passphrase = ("SANDBOX_SNAPSHOT_PASSPHRASE", "correct horse battery");
    let lab = lab();
    let lab = lab
        .env("SANDBOX_SAFETY_CONSTRAINTS__ENCRYPT_SNAPSHOTS", "true")
        .env(passphrase.0, passphrase.1);
    let id = take(&lab);
    assert_eq!(words_in(&repository(&lab)), Vec::<&str>::new());
    assert!(!lab.data().join("keys/snapshots.key").exists());
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("export");
    let name = file.to_str().unwrap();
    lab.sandbox(&["snapshot", "export", &id, name]).code(0);
    assert_eq!(words_in(place.path()), Vec::<&str>::new());
    let to = Lab::new();
    to.sandbox(&["create"]).code(0);
    to.sandbox(&["snapshot", "import", name])
        .code(1)
        .says("key");
    let to = to.env(passphrase.0, passphrase.1);
    let imported = to.sandbox(&["snapshot", "import", name, "--json"]);
    imported.code(0);
    let out = place.path().join("out");
    let id = imported.json()["id"].as_str().unwrap().to_owned();
    to.sandbox(&["snapshot", "restore", &id, "--to", out.to_str().unwrap()])
        .code(0);
    assert_eq!(tree(&out), lab.tree());
    let to = to.env(passphrase.0, "another passphrase");
    to.sandbox(&["snapshot", "import", name])
        .code(1)
        .says("encrypted with the key");
}
