//! Destroying a sandbox never loses more than it was told to.

use tempfile::TempDir;

use super::*;
use crate::initializer::MissingWorkspace;

struct Lab {
    root: TempDir,
    home: Home,
    record: SandboxRecord,
}

impl Lab {
    /// `None` where the file system has no place for transactions.
    fn new() -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let workspace = root.path().join("work");
        fs::create_dir(&workspace).unwrap();
        let host = Host::from_variables(vec![(
            "SANDBOX_HOME".into(),
            root.path().join("data").into(),
        )]);
        let home = Home::new(host);
        let record = home
            .create(NewSandbox {
                name: None,
                workspace: &workspace,
                missing: MissingWorkspace::Refuse,
                config: &SandboxConfig::default(),
            })
            .unwrap();
        record
            .layers
            .is_some()
            .then_some(Self { root, home, record })
    }

    fn layers(&self) -> PathBuf {
        self.record.layers.clone().unwrap()
    }

    /// An operation that waits for review, as the layers have it on disk.
    fn hold(&self) -> PathBuf {
        RollbackManager::open(&self.record.workspace, &self.layers()).unwrap();
        let set = self.layers().join("tx/op_00000000000000000000000001");
        fs::create_dir(&set).unwrap();
        fs::write(set.join("lock"), "{}").unwrap();
        fs::write(set.join("held"), "").unwrap();
        set
    }

    fn destroy(&self, fate: WorkspaceFate, held: HeldChanges) -> Result<(), DestroyError> {
        self.home.destroy(&self.record, fate, held)
    }
}

#[test]
fn held_changes_are_not_lost_with_the_workspace() {
    let Some(lab) = Lab::new() else { return };
    let set = lab.hold();
    fs::remove_dir(&lab.record.workspace).unwrap();
    let refused = lab.destroy(WorkspaceFate::Keep, HeldChanges::Keep);
    assert!(matches!(refused, Err(DestroyError::Held { held, .. }) if held.len() == 1));
    assert!(set.exists());
    lab.destroy(WorkspaceFate::Keep, HeldChanges::Lose).unwrap();
    assert!(!lab.layers().exists());
}

#[test]
fn transactions_that_cannot_be_read_are_only_removed_by_force() {
    let Some(lab) = Lab::new() else { return };
    let set = lab.hold();
    // The record of its beginning is damaged: `pending` fails.
    let refused = lab.destroy(WorkspaceFate::Keep, HeldChanges::Keep);
    assert!(matches!(refused, Err(DestroyError::Rollback { .. })));
    assert!(set.exists());

    let Some(lab) = Lab::new() else { return };
    let set = lab.hold();
    let exposed = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(lab.layers(), exposed).unwrap();
    let refused = lab.destroy(WorkspaceFate::Keep, HeldChanges::Keep);
    assert!(matches!(refused, Err(DestroyError::Open { .. })));
    assert!(set.exists());
    lab.destroy(WorkspaceFate::Keep, HeldChanges::Lose).unwrap();
    assert!(!lab.layers().exists());
}

/// Who may rename what lies above the transactions puts a link there, and removes the workspace.
#[test]
fn a_link_in_the_place_of_transactions_is_not_followed() {
    for is_above in [false, true] {
        let Some(lab) = Lab::new() else { return };
        let name = lab.record.name.as_str();
        let precious = lab.root.path().join("elsewhere").join(name);
        fs::create_dir_all(&precious).unwrap();
        fs::write(precious.join("file"), "").unwrap();
        let layers = lab.layers();
        let (link, to) = if is_above {
            (layers.parent().unwrap(), precious.parent().unwrap())
        } else {
            (layers.as_path(), precious.as_path())
        };
        fs::rename(link, lab.root.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(to, link).unwrap();
        fs::remove_dir(&lab.record.workspace).unwrap();
        let refused = lab.destroy(WorkspaceFate::Keep, HeldChanges::Lose);
        let is_refused = matches!(&refused, Err(DestroyError::Remove { path, .. }) if path == link);
        // A link alone can be removed; what it leads to stays in any case.
        assert!(is_refused, "{refused:?}");
        assert!(precious.join("file").exists());
    }
}

#[test]
fn another_directory_in_place_of_the_workspace_is_not_deleted() {
    let Some(lab) = Lab::new() else { return };
    fs::rename(&lab.record.workspace, lab.root.path().join("moved")).unwrap();
    fs::create_dir(&lab.record.workspace).unwrap();
    fs::write(lab.record.workspace.join("precious"), "").unwrap();
    let refused = lab.destroy(WorkspaceFate::Delete, HeldChanges::Lose);
    assert!(matches!(refused, Err(DestroyError::OtherWorkspace { .. })));
    assert!(lab.record.workspace.join("precious").exists());
    lab.home.find(&lab.record.name).unwrap();
    lab.destroy(WorkspaceFate::Keep, HeldChanges::Keep).unwrap();
    assert!(lab.record.workspace.join("precious").exists());
}

#[test]
fn a_directory_born_later_with_the_same_inode_is_another_one() {
    let Some(lab) = Lab::new() else { return };
    let mut record = lab.record.clone();
    assert_eq!(record.find_workspace(), Found::Workspace);
    record.workspace_born = Some(Timestamp::UNIX_EPOCH);
    let kept = fs::metadata(&record.workspace).unwrap().created().is_ok();
    let expected = if kept { Found::Other } else { Found::Workspace };
    assert_eq!(record.find_workspace(), expected);
}

#[test]
fn a_sandbox_in_use_is_not_destroyed_and_a_destroyed_one_not_used() {
    let Some(lab) = Lab::new() else { return };
    let opened = lab.home.open(lab.record.clone(), &Overrides::default());
    let rollback = rollback(&lab.record).unwrap();
    drop(opened.unwrap());
    let sandbox = lab
        .home
        .assemble(lab.record.clone(), rollback, &Overrides::default())
        .unwrap();
    let in_use = sandbox.in_use().unwrap();
    let together = sandbox.in_use().unwrap();
    let refused = lab.destroy(WorkspaceFate::Keep, HeldChanges::Lose);
    assert!(matches!(refused, Err(DestroyError::Running { .. })));
    drop((in_use, together));
    lab.destroy(WorkspaceFate::Keep, HeldChanges::Keep).unwrap();
    sandbox.in_use().unwrap_err();
    sandbox
        .journal()
        .append("late", Timestamp::UNIX_EPOCH, &1)
        .unwrap_err();
    assert!(!lab.root.path().join("data/sandboxes/work").exists());
}

#[test]
fn reading_needs_no_workspace_and_waits_for_nobody() {
    let Some(lab) = Lab::new() else { return };
    let read = || {
        lab.home
            .open_to_read(lab.record.clone(), &Overrides::default())
            .unwrap()
            .0
    };
    assert_eq!(read().status().unwrap().state, crate::State::Created);
    let lock = fs::File::create(lab.layers().join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    assert_eq!(read().status().unwrap().state, crate::State::Created);
    fs::remove_dir(&lab.record.workspace).unwrap();
    let status = read().status().unwrap();
    assert_eq!(status.state, crate::State::Broken);
    assert!(status.no_transactions_because.unwrap().contains("removed"));
    assert!(read().log(1).unwrap().is_empty() && read().audit().is_ok());
}
