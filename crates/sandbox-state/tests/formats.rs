//! Files of each format as they were written: read, continued, or refused with the reason.
//!
//! The journals were made by a program that knows `docs/reference/journal-format.md` and nothing of this crate.

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use jiff::Timestamp;
    use sandbox_state::{
        AppendError, Fault, KeySource, Put, ReadError, Secrecy, StateManager, When, Zeroizing, hex,
    };
    use tempfile::TempDir;

    /// Copies a journal to a directory of its own.
    fn copied(fixture: &str) -> (TempDir, StateManager) {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("box");
        drop(StateManager::open(&directory).store().unwrap());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        for entry in fs::read_dir(fixtures.join(fixture)).unwrap() {
            let entry = entry.unwrap();
            let copy = directory.join(entry.file_name());
            fs::copy(entry.path(), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        }
        (home, StateManager::open(&directory))
    }

    fn files(home: &TempDir) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(home.path().join("box")).unwrap().flatten();
        let named = entries.map(|it| {
            let name = it.file_name().to_string_lossy().into_owned();
            (name, fs::read(it.path()).unwrap())
        });
        let mut files: Vec<_> = named.filter(|it| it.0.starts_with("journal")).collect();
        files.sort();
        files
    }

    #[test]
    fn a_journal_of_one_file_is_read_and_continued() {
        let (_home, state) = copied("journal-1");
        let journal = state.journal();
        let records: Vec<_> = journal.records().unwrap().map(Result::unwrap).collect();
        assert_eq!(records[0].payload["name"], "box");
        assert_eq!(records[1].payload, "héllo \n\u{1b}[31m");
        assert_eq!(records[2].payload[3]["deep"], true);
        let head = "db14ca92a38a477b7bb0d2ddf000de0f6dad21a48e79516e1d690c1847a1f8c7";
        assert_eq!(hex(&records[2].hash), head);
        let found = journal.verify().unwrap();
        assert_eq!((found.records, found.damage), (3, None));
        assert_eq!(found.head.as_deref(), Some(head));
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(journal.append("note", at, &4).unwrap().sequence, 4);
        assert_eq!(journal.verify().unwrap().damage, None);
        // It goes on in a new file when it is full, and stays one journal.
        let small = state.with_segment_bytes(1);
        small.journal().append("note", at, &5).unwrap();
        let found = small.journal().verify().unwrap();
        assert_eq!((found.records, found.damage), (6, None));
    }

    #[test]
    fn a_journal_of_several_files_is_read_and_continued() {
        let (home, state) = copied("journal-2");
        let journal = state.journal();
        let found = journal.verify().unwrap();
        assert_eq!((found.records, found.damage), (8, None));
        assert_eq!(
            found.head.as_deref(),
            Some("6da5b4b10c801b93853895f220772287f7e615599e88428fe80413daaf6600f3")
        );
        let receipt = journal.append("note", Timestamp::UNIX_EPOCH, &9).unwrap();
        assert_eq!(receipt.sequence, 9);
        assert_eq!(journal.verify().unwrap().records, 9);
        // The first file is missed by the number that the last one has.
        fs::remove_file(home.path().join("box/journal-000001.log")).unwrap();
        let damage = journal.verify().unwrap().damage.unwrap();
        assert_eq!(damage.what, Fault::Missing);
        assert_eq!(damage.file, "journal-000001.log");
    }

    #[test]
    fn a_journal_of_a_newer_program_is_left_as_it_is() {
        let (home, state) = copied("journal-3");
        let before = files(&home);
        let refused = state.journal().append("note", Timestamp::UNIX_EPOCH, &3);
        let refused = refused.unwrap_err();
        assert!(matches!(refused, AppendError::Newer { .. }));
        assert!(refused.to_string().contains("a newer program"), "{refused}");
        let read: Vec<_> = state.journal().records().unwrap().collect();
        assert!(matches!(
            read[1],
            Err(ReadError::Damaged {
                source: Fault::Version,
                ..
            })
        ));
        assert_eq!(files(&home), before);
    }

    /// What `sandbox state set token --secret` left with a passphrase: the salt of the key is in the store.
    #[test]
    fn a_store_with_a_passphrase_opens_with_it_and_with_no_other() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("box");
        drop(StateManager::open(&directory).store().unwrap());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let packed = fs::read(fixtures.join("state-1-passphrase.redb.zst")).unwrap();
        let file = zstd::bulk::decompress(&packed, 16 * 1024 * 1024).unwrap();
        fs::write(directory.join("state.redb"), file).unwrap();
        let with = |text: &str| {
            StateManager::open(&directory).with_keys(KeySource::Passphrase {
                text: Zeroizing::new(text.to_owned()),
                origin: "the test".to_owned(),
            })
        };
        let state = with("four random words");
        let token = state.get("state", "token", &When::Newest).unwrap().unwrap();
        assert_eq!(&*token.value, b"correct horse");
        let other = with("four other words");
        other.get("state", "token", &When::Newest).unwrap_err();
        let open = other.get("state", "open", &When::Newest).unwrap().unwrap();
        assert_eq!(&*open.value, b"value");
        let put = Put {
            at: Timestamp::UNIX_EPOCH,
            secrecy: Secrecy::Secret,
            expected: Some(1),
        };
        let version = state.set("state", "token", b"another", put).unwrap();
        assert_eq!(version.version, 2);
        state.verify().unwrap();
    }
}
