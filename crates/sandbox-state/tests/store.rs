//! The store as other programs see it: several processes, kills, the example, and old files.
//!
//! The workers are this program again, told by a variable what to do.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests start processes, which are told by the environment what to do"
)]

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        io::{BufRead as _, BufReader, Read as _, Write as _},
        path::{Path, PathBuf},
        process::{Child, Command, Stdio},
        time::Duration,
    };

    use jiff::Timestamp;
    use sandbox_state::{
        KeySource, LookupError, Put, Secrecy, StateError, StateManager, StoreReadError,
        StoreWriteError, When,
    };

    const WORK: &str = "SANDBOX_STATE_TEST_WORK";
    const DIRECTORY: &str = "SANDBOX_STATE_TEST_DIRECTORY";

    const PUT: Put = Put {
        at: Timestamp::UNIX_EPOCH,
        secrecy: Secrecy::Open,
        expected: None,
    };

    fn state(directory: &Path) -> StateManager {
        StateManager::open(&directory.join("box"))
            .with_keys(KeySource::File(directory.join("keys/state.key")))
            .with_versions_kept(1_000_000)
            .with_busy_wait(Duration::from_secs(60))
    }

    /// Starts this program as a worker.
    fn worker(directory: &Path, work: &str) -> Child {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "tests::the_work_of_a_worker", "--nocapture"])
            .env(WORK, work)
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Does nothing unless a test started it as a worker.
    #[test]
    fn the_work_of_a_worker() {
        let Ok(work) = env::var(WORK) else {
            return;
        };
        let directory = PathBuf::from(env::var_os(DIRECTORY).unwrap());
        match work.split_once(' ') {
            Some(("count", times)) => count(&directory, times.parse().unwrap()),
            Some(("put", name)) => put_for_ever(&directory, name),
            _ => panic!("{work}"),
        }
    }

    /// Counts a shared key up, each time from the version that was read, and stores keys of its own.
    fn count(directory: &Path, times: u64) {
        let state = state(directory);
        let own = std::process::id().to_string();
        for number in 1..=times {
            state.set("own", &own, &number.to_le_bytes(), PUT).unwrap();
            loop {
                let seen = state.get("all", "count", &When::Newest).unwrap();
                let (version, value) = seen.map_or((0, 0), |it| {
                    let bytes: [u8; 8] = it.value[..].try_into().unwrap();
                    (it.version.version, u64::from_le_bytes(bytes))
                });
                let put = Put {
                    expected: Some(version),
                    ..PUT
                };
                match state.set("all", "count", &(value + 1).to_le_bytes(), put) {
                    Ok(_) => break,
                    Err(StateError::Write(StoreWriteError::Conflict { .. })) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    }

    fn put_for_ever(directory: &Path, name: &str) {
        let state = state(directory);
        let mut out = std::io::stdout().lock();
        for number in 0_u64.. {
            let secrecy = if number % 3 == 0 {
                Secrecy::Secret
            } else {
                Secrecy::Open
            };
            let key = format!("{name}-{number}");
            let put = Put { secrecy, ..PUT };
            let stored = state.set("kills", &key, key.as_bytes(), put).unwrap();
            writeln!(out, "ack {key} {}", stored.sequence).unwrap();
            out.flush().unwrap();
        }
    }

    #[test]
    fn processes_at_once_lose_no_update() {
        let (processes, times) = match env::var("SANDBOX_STATE_TEST_LARGE") {
            Ok(_) => (8_u64, 200_u64),
            Err(_) => (8, 10),
        };
        let home = tempfile::tempdir().unwrap();
        let workers: Vec<Child> = (0..processes)
            .map(|_| worker(home.path(), &format!("count {times}")))
            .collect();
        for worker in workers {
            let ended = worker.wait_with_output().unwrap();
            assert!(
                ended.status.success(),
                "{}",
                String::from_utf8_lossy(&ended.stdout)
            );
        }
        let store = state(home.path()).store().unwrap();
        let total = processes * times;
        let count = store.get("all", "count", &When::Newest).unwrap().unwrap();
        assert_eq!(*count.value, total.to_le_bytes(), "an update was lost");
        // Numbers are unique and without a gap, those of commits and those of versions.
        let changes = store.changes(0).unwrap();
        let sequences: Vec<u64> = changes.iter().map(|it| it.version.sequence).collect();
        assert_eq!(sequences, (1..=2 * total).collect::<Vec<u64>>());
        let versions = store.history("all", "count").unwrap();
        let versions: Vec<u64> = versions.iter().map(|it| it.version).collect();
        assert_eq!(versions, (1..=total).collect::<Vec<u64>>());
        assert_eq!(store.list("own", "").unwrap().len() as u64, processes);
        store.verify().unwrap();
    }

    #[test]
    fn what_was_acknowledged_before_a_kill_is_there() {
        let kills = if env::var("SANDBOX_STATE_TEST_LARGE").is_ok() {
            200
        } else {
            15
        };
        let home = tempfile::tempdir().unwrap();
        let mut acknowledged = Vec::new();
        for kill in 0..kills {
            let mut child = worker(home.path(), &format!("put {kill}"));
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            // Killed somewhere after a certain number of them, while it does the next.
            let before = lines.by_ref().map(Result::unwrap);
            let acks = before.filter(|it| it.contains("ack ")).take(1 + kill % 4);
            acknowledged.extend(acks);
            let pause = Duration::from_micros(kill as u64 * 7_919 % 40_000);
            std::thread::park_timeout(pause);
            child.kill().unwrap();
            child.wait().unwrap();
            // What it still said before it died.
            acknowledged.extend(
                lines
                    .map_while(Result::ok)
                    .filter(|it| it.ends_with(char::is_numeric)),
            );
        }
        let store = state(home.path()).store().unwrap();
        store.verify().unwrap();
        assert!(acknowledged.len() >= kills);
        for line in &acknowledged {
            let (_, said) = line.split_once("ack ").unwrap();
            let (key, sequence) = said.split_once(' ').unwrap();
            let entry = store.get("kills", key, &When::Newest).unwrap();
            let entry = entry.unwrap_or_else(|| panic!("{key} was acknowledged and is lost"));
            assert_eq!(&*entry.value, key.as_bytes());
            assert_eq!(entry.version.sequence.to_string(), sequence);
        }
    }

    #[test]
    fn the_example_runs() {
        let home = tempfile::tempdir().unwrap();
        let mut example = env::current_exe().unwrap();
        example.pop();
        example.pop();
        let ended = Command::new(example.join("examples/state"))
            .arg(home.path().join("kept"))
            .output()
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let said = String::from_utf8(ended.stdout).unwrap();
        assert!(said.contains("counter: gone in version 6"), "{said}");
        assert!(said.contains("greeting: restored in version 3"), "{said}");
    }

    /// What the example left in `fixtures/state-1` when format 1 was made.
    #[test]
    fn a_file_of_format_1_is_read() {
        let home = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let packed = fs::read(fixtures.join("state-1.redb.zst")).unwrap();
        let file = zstd::bulk::decompress(&packed, 16 * 1024 * 1024).unwrap();
        let mut key = String::new();
        let text = fs::File::open(fixtures.join("state-1.key")).unwrap();
        text.take(100).read_to_string(&mut key).unwrap();
        let directory = home.path().join("box");
        drop(StateManager::open(&directory).store().unwrap());
        fs::write(directory.join("state.redb"), file).unwrap();
        let state = StateManager::open(&directory).with_keys(KeySource::Text {
            text: sandbox_state::Zeroizing::new(key),
            origin: "the fixture".to_owned(),
        });
        let value = |key: &str, when: &When| {
            let entry = state.get("app", key, when).unwrap();
            entry.map(|it| it.value.into_bytes())
        };
        assert_eq!(value("greeting", &When::Newest), Some(b"hello".to_vec()));
        assert_eq!(value("greeting", &When::Version(2)), Some(vec![b'x'; 5000]));
        assert_eq!(
            value("token", &When::Newest),
            Some(b"correct horse".to_vec())
        );
        assert_eq!(value("token", &When::Sequence(9)), None);
        assert_eq!(value("counter", &When::Newest), None);
        assert_eq!(value("counter", &When::Sequence(7)), Some(b"5".to_vec()));
        assert!(matches!(
            state.get("app", "counter", &When::Version(1)),
            Err(StateError::Read(StoreReadError::Lookup(
                LookupError::NotKept { .. }
            )))
        ));
        let pins = state.store().unwrap().pins().unwrap();
        assert_eq!((pins[0].name.as_str(), pins[0].sequence), ("before", 2));
        let found = state.verify().unwrap();
        assert_eq!((found.sequence, found.keys, found.versions), (10, 3, 9));
        // And it can be continued.
        state.set("app", "greeting", b"hello again", PUT).unwrap();
        assert_eq!(state.sequence().unwrap(), 11);
    }
}
