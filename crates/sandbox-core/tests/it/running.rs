//! Operations as other programs see them: listed, followed, ended.

use std::time::Duration;

use sandbox_core::{
    Host, KeepsOutput, Kill, KillError, KillSignal, OutputError, SandboxCore, Unattended, Who,
    types::{Operation, Outcome, SandboxConfig, Stream},
};
use tempfile::TempDir;

use crate::operations::take_turn;

async fn open(root: &TempDir) -> SandboxCore {
    let path = |name: &str| root.path().join(name).display().to_string();
    let host = Host::from_variables(vec![
        ("SANDBOX_HOME".into(), path("data").into()),
        ("HOME".into(), path("home").into()),
        ("PATH".into(), "/usr/bin:/bin".into()),
    ]);
    let config = SandboxConfig::builder("box").workspace(root.path().join("workspace"));
    SandboxCore::open_on(host, config.build().unwrap())
        .await
        .unwrap()
}

#[test]
fn an_operation_is_followed_and_killed_by_whoever_has_the_sandbox_open() {
    let _alone = take_turn();
    let root = tempfile::Builder::new()
        .prefix("sandbox-core-it-")
        .tempdir()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Each opens it for itself, as two programs do.
        let (ours, theirs) = (open(&root).await, open(&root).await);
        let operation =
            Operation::shell("echo up; trap \'echo bye; exit\' TERM; while :; do sleep 0.05; done");
        let id = operation.id.to_string();
        let keeper = ours.keep_output(&operation.id).unwrap();
        // One log an operation.
        ours.keep_output(&operation.id).unwrap_err();
        let caller = KeepsOutput::new(Unattended, keeper);
        let core = ours.clone();
        let run = tokio::spawn(async move { core.execute_with(operation, caller).await });
        let mut output = loop {
            // Its name is known as soon as its start is in the journal.
            match theirs.follow_output(&id) {
                Ok(output) => break output,
                Err(OutputError::History(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let first = output.next().await.unwrap().unwrap();
        assert_eq!(first.bytes, b"up\n");
        let running = theirs.running().unwrap();
        assert_eq!((running.len(), running[0].detached), (1, true));

        let waiting = {
            let core = theirs.clone();
            let id = id.clone();
            tokio::spawn(async move { core.wait(&id).await })
        };
        let how = Kill {
            signal: KillSignal::Term,
            grace: Duration::from_secs(60),
        };
        let killed = theirs
            .kill(&id[id.len() - 8..], how, Who::api())
            .await
            .unwrap();
        assert_eq!(
            (killed.report.outcome, killed.report.signal),
            (Outcome::Killed, Some(15))
        );
        let report = run.await.unwrap().unwrap();
        assert_eq!(report.outcome, Outcome::Killed);
        assert!(report.error[0].contains("SIGTERM"), "{:?}", report.error);
        assert_eq!(
            waiting.await.unwrap().unwrap().report.outcome,
            Outcome::Killed
        );
        // Its `sleep` gets the signal too, and the shell may say so before the trap: on standard error.
        let mut rest = Vec::new();
        while let Some(piece) = output.next().await.unwrap() {
            if piece.stream == Stream::Stdout {
                rest.extend(piece.bytes);
            }
        }
        assert_eq!(rest, b"bye\n");

        let again = theirs.kill(&id, how, Who::api()).await;
        assert!(
            matches!(again, Err(KillError::NotRunning { .. })),
            "{again:?}"
        );
        check_that_a_refused_one_leaves_no_log(&ours).await;
        drop(theirs);
        ours.cleanup().await.unwrap();
    });
}

async fn check_that_a_refused_one_leaves_no_log(core: &SandboxCore) {
    let refused = Operation::shell("rm -rf /");
    let (name, keeper) = (refused.id.clone(), core.keep_output(&refused.id).unwrap());
    let caller = KeepsOutput::new(Unattended, keeper);
    let report = core.execute_with(refused, caller).await.unwrap();
    assert_eq!(report.outcome, Outcome::Denied);
    let log = core.output(name.as_str());
    assert!(matches!(log, Err(OutputError::NotKept { .. })), "{log:?}");
}
