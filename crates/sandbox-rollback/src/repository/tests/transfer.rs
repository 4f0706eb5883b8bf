//! One snapshot in one file, and what damage to that file does.

use super::*;

fn file(lab: &Lab) -> PathBuf {
    lab.root.path().join("export")
}

fn export(lab: &Lab, taken: &Taken) -> Exported {
    let exported = lab.repository().export(&taken.snapshot.id, &file(lab));
    exported.unwrap()
}

#[test]
fn a_snapshot_moves_to_another_repository() {
    let lab = rich();
    lab.file("large", &"some text, again and again\n".repeat(200_000));
    let before = lab.manifest();
    let taken = lab.take();
    let exported = export(&lab, &taken);
    assert_eq!(exported.bytes, fs::metadata(file(&lab)).unwrap().len());

    let other = Lab::new();
    other.file("else", "here before");
    other.take();
    let imported = other.repository().take_in(&file(&lab)).unwrap();
    assert_eq!(imported.exported, taken.snapshot.id);
    assert_eq!(imported.snapshot.number, 2);
    let place = other.root.path().join("out");
    let elsewhere = RestoreOptions {
        to: Destination::Directory(place.clone()),
        ..options("back")
    };
    other
        .repository()
        .restore(&imported.snapshot.id, &elsewhere)
        .unwrap();
    assert_same(&manifest(&place), &before, "imported");
    // The index can be made again with it, and nothing is stored twice.
    assert!(
        other
            .repository()
            .rebuild_index()
            .unwrap()
            .problems
            .is_empty()
    );
    assert!(other.repository().verify(VerifyDepth::Data).unwrap().ok);
    let again = other.repository().take_in(&file(&lab)).unwrap();
    assert_eq!(again.snapshot.new_bytes, 0);
    assert_eq!(other.repository().snapshots().unwrap().len(), 3);
}

#[test]
fn a_file_that_is_there_is_not_replaced() {
    let lab = rich();
    let taken = lab.take();
    export(&lab, &taken);
    let again = lab.repository().export(&taken.snapshot.id, &file(&lab));
    assert!(matches!(again, Err(ExportError::Exists { .. })));
    let nowhere = lab.root.path().join("no/such/directory");
    let failed = lab.repository().export(&taken.snapshot.id, &nowhere);
    assert!(matches!(failed, Err(ExportError::Write { .. })));
}

#[test]
fn a_changed_byte_or_a_cut_imports_nothing() {
    let lab = rich();
    export(&lab, &lab.take());
    let whole = fs::read(file(&lab)).unwrap();
    let other = Lab::new();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(file(&other), bytes).unwrap();
        let imported = other.repository().take_in(&file(&other));
        assert!(
            matches!(imported, Err(ImportError::Damaged { .. })),
            "{what}"
        );
    };
    for at in (0..whole.len()).step_by(7) {
        let mut bad = whole.clone();
        bad[at] ^= 1 << (at % 8);
        refused(&bad, &format!("byte {at}"));
        refused(&whole[..at], &format!("cut at {at}"));
    }
    assert!(other.repository().snapshots().unwrap().is_empty());
    fs::write(file(&other), &whole).unwrap();
    other.repository().take_in(&file(&other)).unwrap();
}

#[test]
fn a_file_without_all_parts_imports_nothing() {
    // Everything right but for one frame that is left out.
    let lab = rich();
    let taken = lab.take();
    export(&lab, &taken);
    let from = fs::File::open(file(&lab)).unwrap();
    let whole = fs::read(file(&lab)).unwrap();
    let mut frames = Vec::new();
    pack::examine(
        &from,
        pack::Form::new(0, None),
        pack::Depth::Headers,
        |found| {
            let start = usize::try_from(found.offset).unwrap();
            let end = start + usize::try_from(found.bytes).unwrap();
            frames.push((whole[start..end].to_vec(), found.header.check));
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(frames.len(), 3, "content, directories, record");
    for left_out in 0..frames.len() {
        let other = Lab::new();
        let path = other.root.path().join("part");
        let mut draft = pack::Draft::over(fs::File::create_new(&path).unwrap(), 0, None).unwrap();
        for (at, (frame, check)) in frames.iter().enumerate() {
            if at != left_out {
                draft.append(frame, *check).unwrap();
            }
        }
        draft.finish().unwrap();
        let imported = other.repository().take_in(&path);
        assert!(
            matches!(imported, Err(ImportError::Damaged { .. })),
            "without frame {left_out}: {imported:?}"
        );
        assert!(other.repository().snapshots().unwrap().is_empty());
    }
}

#[test]
fn a_snapshot_goes_through_a_pipe_and_no_file_is_lost() {
    let lab = rich();
    let taken = lab.take();
    fs::write(lab.root.path().join("export.part"), "mine").unwrap();
    export(&lab, &taken);
    let kept = fs::read_to_string(lab.root.path().join("export.part"));
    assert_eq!(kept.unwrap(), "mine");
    let (mut from, to) = std::io::pipe().unwrap();
    let repository = lab.repository();
    let id = taken.snapshot.id;
    let to = fs::File::from(std::os::fd::OwnedFd::from(to));
    let writer = std::thread::spawn(move || repository.export_to(&id, to).unwrap());
    let other = Lab::new();
    let imported = other.repository().take_in_from(&mut from).unwrap();
    assert_eq!(imported.exported, writer.join().unwrap().snapshot);
    let cut = other.repository().take_in_from(&mut b"SBPACK".as_slice());
    assert!(matches!(cut, Err(ImportError::Damaged { .. })));
    assert_eq!(other.repository().snapshots().unwrap().len(), 1);
}

#[test]
fn an_older_snapshot_that_comes_in_is_not_the_newest() {
    let lab = rich();
    let taken = lab.take();
    export(&lab, &taken);
    let other = Lab::new();
    let later = NewSnapshot {
        created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        ..new()
    };
    let own = other.repository().snapshot(&later).unwrap().snapshot.id;
    let imported = other.repository().take_in(&file(&lab)).unwrap().snapshot;
    assert_eq!(imported.parent, None);
    let all = other.repository().snapshots().unwrap();
    let ids: Vec<_> = all.iter().map(|it| it.id).collect();
    assert_eq!(ids, [imported.id, own]);
    let keep = KeepPolicy {
        last: 1,
        ..KeepPolicy::default()
    };
    other.repository().forget(&keep, false).unwrap();
    let all = other.repository().snapshots().unwrap();
    assert_eq!(all.iter().map(|it| it.id).collect::<Vec<_>>(), [own]);
    let next = other.repository().snapshot(&NewSnapshot {
        created_at: "2026-01-02T00:00:00Z".parse().unwrap(),
        ..new()
    });
    assert_eq!(next.unwrap().snapshot.parent, Some(own));
}
