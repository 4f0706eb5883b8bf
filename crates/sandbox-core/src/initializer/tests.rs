//! What a sandbox that is being made may use, and what a killed process leaves.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use tempfile::TempDir;

use super::*;

struct Lab {
    root: TempDir,
    layout: Layout,
    config: SandboxConfig,
}

impl Lab {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(&root.path().join("data"));
        fs::create_dir(root.path().join("work")).unwrap();
        Self {
            root,
            layout,
            config: SandboxConfig::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn plan(&self, name: Option<&str>, place: &Path) -> Result<InitializationPlan, CreateError> {
        let request = NewSandbox {
            name: name.map(|name| name.parse().unwrap()),
            workspace: place,
            missing: MissingWorkspace::Create,
            config: &self.config,
        };
        SandboxInitializer::new(&self.layout).plan(request, Timestamp::UNIX_EPOCH)
    }

    fn create(&self, name: &str, place: &str) -> Result<SandboxRecord, CreateError> {
        let _lock = lock(&self.layout)?;
        let initializer = SandboxInitializer::new(&self.layout);
        initializer.remove_leftovers()?;
        initializer.apply(self.plan(Some(name), &self.path(place))?)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.layout.sandboxes())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn names_come_from_the_directory() {
    let name = |path: &str| derived_name(Path::new(path), &[]).to_string();
    assert_eq!(name("/home/u/my project"), "my-project");
    assert_eq!(name("/home/u/.hidden"), "hidden");
    assert_eq!(name("/"), "sandbox");
}

#[test]
fn what_a_killed_process_left_is_removed_and_its_name_is_free() {
    let lab = Lab::new();
    for leftover in [".new-1", "one"] {
        let path = lab.layout.sandboxes().join(leftover);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("config.yaml"), "{}").unwrap();
    }
    private_modes(&lab);
    lab.create("one", "work").unwrap();
    assert_eq!(lab.names(), ["one"]);
}

/// `create_dir_all` follows the umask.
fn private_modes(lab: &Lab) {
    use std::os::unix::fs::PermissionsExt as _;
    for path in [lab.layout.home(), &lab.layout.sandboxes()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_sandbox_without_index_entry_is_found_and_gets_one() {
    let lab = Lab::new();
    let record = lab.create("one", "work").unwrap();
    let entry = lab.layout.index_entry(&record.workspace);
    fs::remove_file(&entry).unwrap();
    let found = registry::by_directory(&lab.layout, &record.workspace.join("below")).unwrap();
    assert_eq!(found.name, record.name);
    assert!(entry.exists());

    fs::remove_file(&entry).unwrap();
    let refused = lab.create("two", "work").unwrap_err();
    assert!(matches!(refused, CreateError::WorkspaceTaken { .. }));
}

#[test]
fn a_failed_step_takes_back_only_what_was_made() {
    let lab = Lab::new();
    lab.create("one", "work").unwrap();
    let layers = lab.layout.layers(&"two".parse().unwrap());
    private::make(&layers).unwrap();
    fs::create_dir(layers.join("tx")).unwrap();
    let refused = lab.create("two", "new").unwrap_err();
    assert!(matches!(refused, CreateError::Step { .. }), "{refused}");
    assert!(layers.join("tx").exists() && !lab.path("new").exists());
    assert_eq!(lab.names(), ["one"]);
}

/// Another version's, or with ids that are not ours: what it takes is another's all the same.
#[test]
fn a_record_that_cannot_be_used_keeps_what_is_its_own() {
    let lab = Lab::new();
    let one = lab.create("one", "work").unwrap();
    fs::create_dir(lab.path("parent")).unwrap();
    let mut newer = serde_json::to_value(&one).unwrap();
    newer["format"] = (RECORD_FORMAT + 1).into();
    newer["layers"] = lab.path("parent/beside/one").to_str().into();
    fs::write(lab.layout.record(&one.name), newer.to_string()).unwrap();
    assert!(registry::all(&lab.layout).unwrap().is_empty());
    let two = lab.create("two", "new").unwrap();
    assert_ne!(two.host_ids, one.host_ids);
    let refused = lab.plan(Some("third"), &one.workspace).unwrap_err();
    assert!(matches!(refused, CreateError::WorkspaceTaken { .. }));
    let refused = lab.plan(Some("third"), &lab.path("parent")).unwrap_err();
    assert!(matches!(refused, CreateError::Unsuitable { .. }));
}

#[test]
fn a_damaged_record_is_no_obstacle_for_those_that_are_there() {
    let lab = Lab::new();
    let one = lab.create("one", "work").unwrap();
    lab.create("two", "new").unwrap();
    let whole = fs::read_to_string(lab.layout.record(&one.name)).unwrap();
    fs::write(lab.layout.record(&one.name), "").unwrap();
    // What is its own cannot be known: nobody else can be kept from it.
    let refused = lab.create("third", "third").unwrap_err();
    assert!(matches!(
        refused,
        CreateError::Registry(FindError::Damaged { .. })
    ));
    let all = registry::all(&lab.layout).unwrap();
    assert_eq!(all.len(), 1);
    let refused = registry::by_name(&lab.layout, &one.name).unwrap_err();
    assert!(matches!(refused, FindError::Damaged { .. }));
    let refused = lab.plan(Some("one"), &lab.path("third")).unwrap_err();
    assert!(matches!(refused, CreateError::Registry(_)));
    fs::write(lab.layout.record(&one.name), whole).unwrap();
    // A derived name avoids it.
    fs::create_dir(lab.path("x")).unwrap();
    let plan = lab.plan(None, &lab.path("x/one")).unwrap();
    assert_eq!(plan.record.name.as_str(), "one-2");
}

#[test]
fn a_workspace_must_be_text_also_when_it_is_missing() {
    let lab = Lab::new();
    let path = lab.root.path().join(OsStr::from_bytes(b"bad\xff"));
    let refused = lab.plan(None, &path).unwrap_err();
    assert!(matches!(refused, CreateError::NotUnicode { .. }));
    fs::create_dir(&path).unwrap();
    let refused = lab.plan(None, &path).unwrap_err();
    assert!(matches!(refused, CreateError::NotUnicode { .. }));
}

#[test]
fn transactions_of_another_sandbox_lie_in_no_workspace() {
    let lab = Lab::new();
    fs::create_dir(lab.path("parent")).unwrap();
    let mut record = lab.create("one", "work").unwrap();
    record.layers = Some(lab.path("parent/.sandbox-layers-0-12345678/one"));
    let text = serde_json::to_string(&record).unwrap();
    fs::write(lab.layout.record(&record.name), text).unwrap();
    let refused = lab.plan(None, &lab.path("parent")).unwrap_err();
    assert!(matches!(refused, CreateError::Unsuitable { .. }));
    lab.plan(None, &lab.path("parent/below")).unwrap();
}

#[test]
fn two_homes_do_not_share_a_directory_for_layers() {
    let lab = Lab::new();
    let other = Layout::new(&lab.path("other"));
    let name = "one".parse().unwrap();
    let beside = |layout: &Layout| layout.layers_beside(Path::new("/mnt"), &name);
    assert_ne!(beside(&lab.layout), beside(&other));
    assert_eq!(beside(&lab.layout), beside(&lab.layout));
}

#[test]
fn layers_beside_a_workspace_lie_in_no_workspace_and_where_one_may_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    let name = "inner".parse().unwrap();
    // Another file system than the home, where there is one.
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let outer = other.path().join("outer");
    let inner = outer.join("inner");
    fs::create_dir_all(&inner).unwrap();
    let Ok(beside) = place::layers(&lab.layout, &name, &inner, &[]) else {
        return;
    };
    if beside.starts_with(lab.layout.home()) {
        return;
    }
    assert_eq!(beside, lab.layout.layers_beside(&outer, &name));

    let mut record = lab.create("outer", "work").unwrap();
    record.workspace.clone_from(&outer);
    let claims = serde_json::from_value(serde_json::to_value(record).unwrap()).unwrap();
    let above = place::layers(&lab.layout, &name, &inner, &[claims]).unwrap();
    assert_eq!(above, lab.layout.layers_beside(other.path(), &name));

    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o500)).unwrap();
        let above = place::layers(&lab.layout, &name, &inner, &[]).unwrap();
        assert_eq!(above, lab.layout.layers_beside(other.path(), &name));
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    let lab = Lab::new();
    drop(lock(&lab.layout).unwrap());
    let workspace = lab.path("new");
    let steps = lab.plan(Some("box"), &workspace).unwrap().steps().to_vec();
    let acts: Vec<_> = steps.iter().map(|step| step.act).collect();
    assert_eq!(acts.len(), 8, "{acts:?}");
    for failing in acts {
        let plan = lab.plan(Some("box"), &workspace).unwrap();
        let mut seen = Vec::new();
        let error = SandboxInitializer::new(&lab.layout)
            .apply_after(plan, |it| {
                seen.push(it.act);
                if it.act == failing {
                    return Err(step("test", &it.path, io::ErrorKind::StorageFull.into()));
                }
                Ok(())
            })
            .unwrap_err();
        assert!(error.to_string().contains("cannot test"), "{error}");
        assert_eq!(seen.last(), Some(&failing));
        assert!(!workspace.exists(), "{failing:?}");
        for directory in [
            lab.layout.sandboxes(),
            lab.layout.index(),
            lab.path("data/layers"),
        ] {
            let left = fs::read_dir(&directory).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{} after {failing:?}", directory.display());
        }
    }
    lab.create("box", "new").unwrap();
}
