//! The state of a sandbox through its front door, and what the journal says of it.

use std::path::Path;

use sandbox_monitor::HealthState;
use sandbox_types::SandboxConfig;
use tempfile::TempDir;

use super::*;
use crate::{SandboxCore, event::EventKind};

const OPEN: StatePut = StatePut {
    secrecy: Secrecy::Open,
    expected: None,
};
const SECRET: StatePut = StatePut {
    secrecy: Secrecy::Secret,
    expected: None,
};

async fn sandbox(directory: &Path, more: &[(&str, &str)]) -> SandboxCore {
    let path = |name: &str| directory.join(name).into_os_string();
    let mut variables = vec![
        ("HOME".into(), path("home")),
        ("SANDBOX_HOME".into(), path("data")),
    ];
    variables.extend(more.iter().map(|(key, value)| (key.into(), value.into())));
    let config = SandboxConfig::builder("bench")
        .workspace(directory.join("workspace"))
        .build()
        .unwrap();
    SandboxCore::open_on(Host::from_variables(variables), config)
        .await
        .unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

/// The changes of the state that the journal has: kind, key, version, sequence.
fn recorded(core: &SandboxCore) -> Vec<String> {
    let records = core.records(100).unwrap().into_iter().rev();
    records
        .map(|record| EventKind::new(&record.kind, record.payload))
        .filter_map(|event| {
            let (EventKind::StateSet(it)
            | EventKind::StateDeleted(it)
            | EventKind::StateRolledBack(it)) = &event
            else {
                return None;
            };
            let secret = if it.secret { " secret" } else { "" };
            let (key, version, sequence) = (&it.key, it.version, it.sequence);
            Some(format!(
                "{} {key} {version} {sequence}{secret}",
                event.name()
            ))
        })
        .collect()
}

#[test]
fn a_store_that_lacks_recorded_changes_is_unhealthy() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(directory.path(), &[]).await;
        let health = async || {
            let report = core.health().await;
            let found = report.checks.iter().find(|it| it.name == "store");
            found.unwrap().health.state
        };
        assert_eq!(health().await, HealthState::Healthy);
        core.state_set("a", "one", OPEN).await.unwrap();
        assert_eq!(health().await, HealthState::Healthy);
        let path = directory.path().join("data/sandboxes/bench/state.redb");
        let older = directory.path().join("older");
        std::fs::copy(&path, &older).unwrap();
        core.state_set("a", "two", OPEN).await.unwrap();
        assert_eq!(health().await, HealthState::Healthy);
        std::fs::copy(&older, &path).unwrap();
        assert_eq!(health().await, HealthState::Failed);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(health().await, HealthState::Failed);
    });
}

#[test]
fn every_change_is_recorded_and_no_value_is() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(directory.path(), &[]).await;
        core.state_set("a", "one", OPEN).await.unwrap();
        core.state_set("token", "hush-hush", SECRET).await.unwrap();
        let pin = core.pin_state("snapshot").await.unwrap();
        assert_eq!(pin.sequence, core.state_sequence().await.unwrap());
        core.state_set("a", "two", OPEN).await.unwrap();
        core.state_delete("token").await.unwrap().unwrap();
        assert_eq!(core.state_delete("token").await.unwrap(), None);
        let then = core.state_get("token", When::Pin("snapshot".to_owned()));
        assert_eq!(&*then.await.unwrap().unwrap().value, b"hush-hush");
        core.state_rollback("a", 1).await.unwrap();
        core.rollback_state_to(pin.sequence).await.unwrap();
        assert_eq!(core.state_list("").await.unwrap().len(), 2);
        assert!(core.unpin_state("snapshot").await.unwrap());
        assert_eq!(
            recorded(&core),
            [
                "state.set a 1 1",
                "state.set token 1 2 secret",
                "state.set a 2 3",
                "state.deleted token 2 4",
                "state.rolled_back a 3 5",
                "state.rolled_back token 3 6 secret",
            ]
        );
    });
    for file in ["journal.log", "state.redb"] {
        let file = directory.path().join("data/sandboxes/bench").join(file);
        let bytes = std::fs::read(file).unwrap();
        assert!(!bytes.windows(9).any(|it| it == b"hush-hush"));
    }
}

/// A process that was killed between the commit and its record.
#[test]
fn a_change_that_was_not_recorded_is_recorded_by_the_next() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(directory.path(), &[]).await;
        core.state_set("a", "1", OPEN).await.unwrap();
        let put = Put {
            at: Timestamp::UNIX_EPOCH,
            secrecy: Secrecy::Open,
            expected: None,
        };
        let state = &core.sandbox().state;
        state.set(NAMESPACE, "lost", b"2", put).unwrap();
        state.set("another namespace", "k", b"3", put).unwrap();
        core.state_set("a", "4", OPEN).await.unwrap();
        core.state_set("a", "5", OPEN).await.unwrap();
        assert_eq!(
            recorded(&core),
            [
                "state.set a 1 1",
                "state.set lost 1 2",
                "state.set a 2 4",
                "state.set a 3 5",
            ]
        );
    });
}

#[test]
fn the_key_comes_from_the_callers_surroundings() {
    let directory = TempDir::new().unwrap();
    let digits = "0f".repeat(32);
    let variable = [(KEY_VARIABLE, digits.as_str())];
    block_on(async {
        let core = sandbox(directory.path(), &variable).await;
        core.state_set("token", "x", SECRET).await.unwrap();
        assert!(!directory.path().join("data/keys").exists());
        let without = sandbox(directory.path(), &[]).await;
        let refused = without.state_get("token", When::Newest).await.unwrap_err();
        let chain = sandbox_types::causes(&refused).join(": ");
        assert!(chain.contains("data/keys/state.key"), "{chain}");
        assert!(!format!("{core:?}").contains(&digits), "printed");
    });
}

#[test]
fn what_is_not_there_is_an_error_or_nothing() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let core = sandbox(directory.path(), &[]).await;
        assert_eq!(core.state_get("a", When::Newest).await.unwrap(), None);
        assert!(core.state_history("a").await.unwrap().is_empty());
        assert!(core.state_list("").await.unwrap().is_empty());
        let store = directory.path().join("data/sandboxes/bench/state.redb");
        assert!(!store.exists(), "reading makes no store");
        let missing = core.state_rollback("a", 1).await.unwrap_err();
        let chain = sandbox_types::causes(&missing).join(": ");
        assert!(chain.contains("there is no version 1 of 'a'"), "{chain}");
        core.clone().cleanup().await.unwrap();
        let gone = core.state_set("a", "1", OPEN).await.unwrap_err();
        assert!(matches!(gone, StateAccessError::Gone(_)));
        assert!(!store.parent().unwrap().exists());
    });
}
