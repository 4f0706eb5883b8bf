//! Pins of snapshots as kills and other users leave them, and what the way back refuses.

use std::fs;

use sandbox_monitor::{Health, HealthCheck, HealthState};
use sandbox_state::Secrecy;
use sandbox_types::SandboxConfig;
use tempfile::TempDir;

use super::*;
use crate::{
    home::Home,
    host::Host,
    plugins::Plugins,
    state::{StateAccessError, StatePut},
};

const OPEN: StatePut = StatePut {
    secrecy: Secrecy::Open,
    expected: None,
};

async fn sandbox(directory: &TempDir, plugins: Plugins) -> SandboxCore {
    let path = |name: &str| directory.path().join(name).into_os_string();
    let host = Host::from_variables(vec![
        ("HOME".into(), path("home")),
        ("SANDBOX_HOME".into(), path("data")),
    ]);
    let config = SandboxConfig::builder("bench")
        .workspace(directory.path().join("workspace"))
        .build()
        .unwrap();
    let home = Home::new(host).with_plugins(plugins);
    SandboxCore::open_in(home, config).await.unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

fn pins(core: &SandboxCore) -> Vec<String> {
    let store = core.sandbox().state.existing_store().unwrap().unwrap();
    store
        .pins()
        .unwrap()
        .into_iter()
        .map(|pin| pin.name)
        .collect()
}

/// What a kill between the pin and its snapshot leaves is gone after the next change; what others
/// pinned stays.
#[test]
fn a_pin_without_a_snapshot_is_removed() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(&directory, Plugins::new()).await;
        core.state_set("k", "v", OPEN).await.unwrap();
        let stray = "0f".repeat(32);
        core.pin_state(&stray).await.unwrap();
        core.pin_state("mine").await.unwrap();
        let taken = core.snapshot(SnapshotRequest::default()).await.unwrap();
        assert_eq!(taken.state_sequence, Some(1));
        let id = taken.id.to_string();
        let mut expected = vec![id.clone(), "mine".to_owned()];
        expected.sort();
        assert_eq!(pins(&core), expected);
        core.pin_state(&stray).await.unwrap();
        core.prune_snapshots(true).await.unwrap();
        assert!(pins(&core).contains(&stray), "a dry run changes nothing");
        core.prune_snapshots(false).await.unwrap();
        assert_eq!(pins(&core), expected);
        core.delete_snapshot(&id).await.unwrap();
        assert_eq!(pins(&core), ["mine"]);
    });
}

#[test]
fn retention_removes_the_pins_too() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(&directory, Plugins::new()).await;
        let mut taken = Vec::new();
        for number in 0..12 {
            let value = number.to_string();
            core.state_set("k", value, OPEN).await.unwrap();
            let report = core.snapshot(SnapshotRequest::default()).await.unwrap();
            taken.push(report.id.to_string());
        }
        let mut kept: Vec<String> = core
            .snapshots()
            .unwrap()
            .into_iter()
            .map(|it| it.id.to_string())
            .collect();
        assert!(kept.len() < taken.len());
        kept.sort();
        assert_eq!(pins(&core), kept);
        // The safety snapshot drops no other one, the oldest is the target here.
        let oldest = core.snapshots().unwrap()[0].clone();
        let options = RollbackOptions {
            state: true,
            ..RollbackOptions::default()
        };
        let done = core
            .roll_back(&oldest.id.to_string(), options)
            .await
            .unwrap();
        assert_eq!(done.state.unwrap().keys.len(), 1);
        assert_eq!(pins(&core).len(), kept.len() + 1);
    });
}

/// A workspace that fails leaves the state as it was.
#[test]
fn a_damaged_snapshot_changes_no_state() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(&directory, Plugins::new()).await;
        let file = core.workspace().join("file");
        fs::write(&file, "kept").unwrap();
        core.state_set("k", "then", OPEN).await.unwrap();
        let taken = core.snapshot(SnapshotRequest::default()).await.unwrap();
        core.state_set("k", "now", OPEN).await.unwrap();
        fs::write(&file, "changed").unwrap();
        let pack = core.sandbox().directory();
        let pack = pack.join("repository/packs/00000001.pack");
        let mut bytes = fs::read(&pack).unwrap();
        // In the first frame, which holds the file.
        bytes[16 + 36 + 36 + 16] ^= 1;
        fs::write(&pack, bytes).unwrap();
        let options = RollbackOptions {
            state: true,
            ..RollbackOptions::default()
        };
        let failed = core.roll_back(&taken.id.to_string(), options).await;
        let error = failed.unwrap_err();
        assert!(matches!(error, SnapshotError::Restore { .. }), "{error:?}");
        let now = core.state_get("k", When::Newest).await.unwrap().unwrap();
        assert_eq!(&*now.value, b"now");
        let versions = core.state_history("k").await.unwrap();
        let restored: Vec<_> = versions.iter().map(|it| it.restores).collect();
        assert_eq!(restored, [None, None], "it comes after the workspace");
        assert_eq!(fs::read_to_string(&file).unwrap(), "changed");
    });
}

/// A rollback is killed between workspace and state while another process has the sandbox open: whatever that one does
/// next to the state comes after the rollback.
#[test]
fn who_had_it_open_finishes_a_killed_rollback_before_the_next_change() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(&directory, Plugins::new()).await;
        let value = async |key: &str| {
            let entry = core.state_get(key, When::Newest).await.unwrap();
            entry.map(|it| String::from_utf8(it.value.to_vec()).unwrap())
        };
        core.state_set("k", "then", OPEN).await.unwrap();
        core.state_set("k", "now", OPEN).await.unwrap();
        let intent = core.sandbox().directory().join("rollback.json");
        // What it had written down when it was killed; the workspace is as it should be.
        let left = r#"{"target":"t","way":"Nothing","safety":null,"state":{"before":2,"to":1}}"#;
        // Another process has the lock, and not the store: it is about to finish this. Nobody changes the state before.
        let lock = core.sandbox().rollback_lock().unwrap().unwrap();
        fs::write(&intent, left).unwrap();
        let early = core.state_set("other", "1", OPEN).await.unwrap_err();
        assert!(matches!(early, StateAccessError::RollbackLeft), "{early:?}");
        assert_eq!(value("k").await.as_deref(), Some("now"));
        // The control: the state of this one is back, and only its end is to be told.
        fs::write(&intent, left.replace("\"before\":2", "\"before\":1")).unwrap();
        core.state_set("other", "1", OPEN).await.unwrap();
        assert!(intent.exists(), "nobody else does its work");
        fs::write(&intent, left.replace("\"before\":2", "\"before\":3")).unwrap();
        drop(lock);
        core.state_set("other", "2", OPEN).await.unwrap();
        assert!(!intent.exists());
        assert_eq!(value("k").await.as_deref(), Some("then"));
        assert_eq!(value("other").await.as_deref(), Some("2"), "it came after");
        let kinds: Vec<String> = core
            .records(3)
            .unwrap()
            .into_iter()
            .map(|it| it.kind)
            .collect();
        assert_eq!(kinds, ["state.set", "rollback.done", "state.deleted"]);
    });
}

/// Several processes find a killed rollback at once: one finishes it, and the changes of all come after.
#[test]
fn many_who_finish_a_killed_rollback_lose_no_state() {
    let directory = TempDir::new().unwrap();
    let core = block_on(sandbox(&directory, Plugins::new()));
    for round in 0..10 {
        block_on(core.state_set("k", "then", OPEN)).unwrap();
        let to = core.sandbox().state_sequence().unwrap();
        block_on(core.state_set("k", "now", OPEN)).unwrap();
        let left = format!(
            r#"{{"target":"t","way":"Nothing","safety":null,"state":{{"before":{},"to":{to}}}}}"#,
            to + 1
        );
        let intent = core.sandbox().directory().join("rollback.json");
        fs::write(&intent, left).unwrap();
        std::thread::scope(|scope| {
            for key in ["p1", "p2", "p3"] {
                let core = &core;
                scope.spawn(move || block_on(core.state_set(key, "1", OPEN)).unwrap());
            }
        });
        assert!(!intent.exists());
        let entry = block_on(core.state_get("k", When::Newest)).unwrap();
        assert_eq!(&*entry.unwrap().value, b"then", "round {round}");
    }
}

/// A snapshot of the workspace as it is back has the state that is back.
#[test]
fn a_snapshot_comes_after_a_killed_rollback() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(&directory, Plugins::new()).await;
        core.state_set("k", "then", OPEN).await.unwrap();
        core.state_set("k", "now", OPEN).await.unwrap();
        let intent = core.sandbox().directory().join("rollback.json");
        let left = r#"{"target":"t","way":"Nothing","safety":null,"state":{"before":2,"to":1}}"#;
        fs::write(&intent, left).unwrap();
        let taken = core.snapshot(SnapshotRequest::default()).await.unwrap();
        assert!(!intent.exists());
        assert_eq!(taken.state_sequence, Some(3));
    });
}

/// A check of a plugin that has a built-in's name.
#[derive(Debug)]
struct Impostor;

impl HealthCheck for Impostor {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn check(&self) -> Health {
        Health::degraded("of the plugin")
    }
}

#[test]
fn a_check_of_a_plugin_hides_no_other() {
    let directory = TempDir::new().unwrap();
    let plugins = Plugins::new().health_check(Impostor).health_check(Impostor);
    let core = block_on(sandbox(&directory, plugins));
    let report = core.health_monitor().examine();
    let of = |name: &str| {
        let found = report.checks.iter().find(|it| it.name == name);
        found.expect("a check of that name").health.state
    };
    assert_eq!(of("journal"), HealthState::Healthy);
    assert_eq!(of("journal (plugin)"), HealthState::Degraded);
    assert_eq!(of("journal (plugin 2)"), HealthState::Degraded);
}
