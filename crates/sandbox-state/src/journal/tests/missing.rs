//! A journal of several files of which one is gone, or that was copied at a bad moment, or that cannot have several.

use super::{
    segments::{fill, full_files, small},
    *,
};
use crate::files::storage::{Change, Watch, watch};

/// What verification finds, in words.
fn found(journal: &Journal) -> String {
    let found = journal.verify().unwrap();
    found.damage.map_or("nothing".to_owned(), |it| {
        format!("{} {} {:?}", it.sequence, it.file, it.what)
    })
}

/// Reads from the newest record back to the first that cannot be read.
fn newest(journal: &Journal) -> (Vec<u64>, Option<String>) {
    let mut numbers = Vec::new();
    for record in journal.records_newest_first().unwrap() {
        match record {
            Ok(record) => numbers.push(record.sequence),
            Err(error) => return (numbers, Some(error.to_string())),
        }
    }
    (numbers, None)
}

#[test]
fn a_removed_full_file_is_named_and_its_number_is_not_used_again() {
    for gone in [0, 1] {
        let lab = tempfile::tempdir().unwrap();
        let journal = small(lab.path());
        fill(&journal, 60);
        let known = journal.verify().unwrap().checkpoint().unwrap();
        let full = full_files(lab.path());
        assert_eq!(found(&journal), "nothing", "the control");
        let kept = fs::read(&full[gone]).unwrap();
        fs::remove_file(&full[gone]).unwrap();
        let name = format!("journal-{:06}.log", gone + 1);

        let said = found(&journal);
        assert!(said.ends_with(&format!("{name} Missing")), "{said}");
        assert_eq!(said.starts_with("1 "), gone == 0, "{said}");
        let since = journal.verify_since(&known).unwrap().damage.unwrap();
        assert_eq!((since.file, since.what), (name.clone(), Fault::Missing));
        // What is after it is read, and goes on with the next numbers.
        let (numbers, error) = newest(&journal);
        assert!(error.unwrap().contains(&name));
        let last = numbers[0];
        assert_eq!(numbers.len() as u64, last + 1 - numbers[numbers.len() - 1]);
        fill(&journal, 40);
        assert!(!full[gone].exists(), "the number was used again");
        let begun = full_files(lab.path()).len() - (full.len() - 1);
        assert!(begun > 0);
        // Each new file begins with an anchor.
        assert_eq!(newest(&journal).0[0], last + 40 + begun as u64);
        assert!(found(&journal).ends_with(&format!("{name} Missing")));
        // Whoever puts it back has the whole journal.
        fs::write(&full[gone], kept).unwrap();
        assert_eq!(found(&journal), "nothing");
        assert_eq!(newest(&journal).1, None);
    }
}

#[test]
fn a_removed_newest_file_is_noticed_and_numbers_go_on() {
    let lab = tempfile::tempdir().unwrap();
    let journal = small(lab.path());
    fill(&journal, 60);
    let before = newest(&journal).0[0];
    let kept = fs::read(journal.path()).unwrap();
    fs::remove_file(journal.path()).unwrap();
    assert!(found(&journal).ends_with("journal.log Missing"));
    assert!(newest(&journal).1.unwrap().contains("journal.log"));
    journal.append("n", at(), &1).unwrap();
    let (numbers, error) = newest(&journal);
    assert_eq!(error, None);
    assert!(numbers[0] > 2 && numbers[0] <= before + 2);
    assert!(
        found(&journal).ends_with("MovedAside"),
        "{}",
        found(&journal)
    );
    // The control: with the file there is nothing to be said.
    fs::write(journal.path(), kept).unwrap();
    assert_eq!(found(&journal), "nothing");
}

#[test]
fn a_copy_made_while_the_newest_file_had_two_names_is_whole() {
    let lab = tempfile::tempdir().unwrap();
    let journal = small(lab.path());
    fill(&journal, 60);
    let last = newest(&journal).0[0];
    // What `cp -r` makes of two names of one file, the second of them a little later.
    let copy = fs::read(journal.path()).unwrap();
    let number = full_files(lab.path()).len() + 1;
    let second = lab.path().join(format!("journal-{number:06}.log"));
    fs::write(&second, &copy).unwrap();
    fs::set_permissions(&second, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(found(&journal), "nothing");
    fill(&journal, 30);
    assert_eq!(found(&journal), "nothing");
    let all: Vec<u64> = sequences(journal.records().unwrap());
    let anchors = u64::try_from(full_files(lab.path()).len() + 1 - number).unwrap();
    assert_eq!(all, (1..=last + 30 + anchors).collect::<Vec<u64>>());

    // The control: a file that is something else is not touched, and the journal grows in one file.
    let number = full_files(lab.path()).len() + 1;
    let other = lab.path().join(format!("journal-{number:06}.log"));
    fs::write(&other, "something else").unwrap();
    fill(&journal, 30);
    assert_eq!(fs::read(&other).unwrap(), b"something else");
    assert_eq!(found(&journal), "nothing");
}

#[test]
fn without_hard_links_one_file_grows_and_nothing_waits_for_it() {
    let lab = tempfile::tempdir().unwrap();
    let journal = small(lab.path());
    fill(&journal, 1);
    let syncs = |has_no_links| {
        watch(Some(Watch {
            has_no_links,
            ..Watch::default()
        }));
        fill(&journal, 60);
        let changes = watch(None).unwrap().changes;
        let waits = |it: &&Change| matches!(it, Change::Sync { .. } | Change::SyncNames);
        changes.iter().filter(waits).count()
    };
    assert_eq!(syncs(true), 0);
    assert_eq!(full_files(lab.path()).len(), 0);
    assert_eq!(found(&journal), "nothing");
    // The control: with hard links a new file is begun, which waits.
    assert!(syncs(false) > 0);
    assert!(!full_files(lab.path()).is_empty());
    assert_eq!(found(&journal), "nothing");
}
