//! Transactions: the workspace stays as it was, the changes are in the upper layer.

use std::{fs, os::unix::fs::MetadataExt as _};

use sandbox_isolation::WorkspaceMode;

use crate::lab::{Collect, Lab, is_root, needs};

#[test]
fn changes_go_to_the_upper_layer() {
    let mut lab = Lab::new()
        .file("workspace/kept", "old")
        .file("workspace/deleted", "old")
        .overlay();
    let (workspace, upper) = (lab.workspace(), lab.upper());
    let outcome = lab.sh("echo new > kept; rm deleted; mkdir d; echo made > d/made; cat kept; ls");
    assert_eq!(outcome.output(), "new\nd\nkept");
    assert_eq!(fs::read_to_string(workspace.join("kept")).unwrap(), "old");
    assert!(workspace.join("deleted").exists() && !workspace.join("d").exists());
    assert_eq!(fs::read_to_string(upper.join("kept")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(upper.join("d/made")).unwrap(), "made\n");
    assert_eq!(
        fs::symlink_metadata(upper.join("deleted")).unwrap().rdev(),
        0
    );
    let owner = |path: &std::path::Path| {
        fs::metadata(path)
            .map(|found| (found.uid(), found.gid()))
            .unwrap()
    };
    assert_eq!(
        owner(&upper.join("d/made")),
        owner(&workspace),
        "the workspace's owner owns what is made"
    );
}

#[test]
fn owners_on_disk_are_the_real_ones() {
    if !needs(is_root(), "root") {
        return;
    }
    let mut lab = Lab::new()
        .file("workspace/roots", "0")
        .file("workspace/users", "1000")
        .overlay();
    let chown = |path| std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
    chown(lab.workspace().join("users"));
    chown(lab.workspace());
    chown(lab.upper());
    let outcome = lab.sh("id -u; stat -c %u roots users; echo more > made; rm users");
    assert_eq!(outcome.output(), "1000\n0\n1000");
    let made = fs::metadata(lab.upper().join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 1000));
}

#[test]
fn files_of_root_are_copied_up_as_roots() {
    if !needs(is_root(), "root") {
        return;
    }
    let mut lab = Lab::new()
        .file("workspace/roots", "0")
        .file("workspace/users", "1000")
        .overlay();
    let users = lab.workspace().join("users");
    std::os::unix::fs::chown(&users, Some(1000), Some(1000)).unwrap();
    fs::set_permissions(&users, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    assert_eq!(
        lab.sh("echo x >> roots; echo x >> users; cat roots users")
            .output(),
        "0x\n1000x"
    );
    let owner = |name| fs::metadata(lab.upper().join(name)).unwrap().uid();
    assert_eq!((owner("roots"), owner("users")), (0, 1000));
}

#[test]
fn hidden_and_protected_parts_stay_so_in_a_transaction() {
    let mut lab = Lab::new()
        .file("workspace/.env", "canary")
        .file("workspace/.git/config", "kept")
        .overlay();
    let workspace = lab.workspace();
    lab = lab.with(|plan| {
        plan.view.hide = vec![workspace.join(".env"), workspace.join("absent")];
        plan.view.read = vec![workspace.join(".git")];
    });
    let outcome = lab.sh(
        "cat .env .git/config; echo x > .git/config || echo refused; echo x > .env || echo refused",
    );
    assert_eq!(outcome.output(), "keptrefused\nrefused");
}

#[test]
fn a_read_only_workspace_cannot_be_changed() {
    let mut lab = Lab::new()
        .file("workspace/a", "old")
        .with(|plan| plan.workspace_mode = WorkspaceMode::ReadOnly);
    assert_eq!(
        lab.sh("cat a; echo x > a || echo refused; touch b || echo refused")
            .output(),
        "oldrefused\nrefused"
    );
}

#[test]
fn layers_in_different_directories_are_an_error() {
    let lab = Lab::new();
    let base = lab.base();
    fs::create_dir(base.join("elsewhere")).unwrap();
    let mode = WorkspaceMode::Overlay {
        upper: base.join("layers/upper"),
        work: base.join("elsewhere"),
    };
    let mut lab = lab.with(|plan| plan.workspace_mode = mode);
    let error = lab.try_run(&["true"], Collect::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot mount the transaction over the workspace"
    );
}

#[test]
fn programs_run_from_the_workspace() {
    let mut lab = Lab::new().overlay();
    let outcome = lab.sh("printf '#!/bin/sh\\necho ran\\n' > p; chmod +x p; ./p");
    assert_eq!(outcome.output(), "ran");
}
