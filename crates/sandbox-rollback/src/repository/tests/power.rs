//! Power cuts while a snapshot is taken, deleted, restored, while space is freed, and while the index is made again.

use super::*;
use crate::{
    step::returned,
    tests::power::{Effort, Facts, Scenario, Tally, chain, ensure, planted, recorded, same, tried},
};

fn edit(lab: &Lab) {
    lab.file("a", "edited").file("dir/new/x", "new");
    fs::remove_dir_all(lab.ws().join("dir/sub")).unwrap();
    fs::remove_file(lab.ws().join("nothing")).unwrap();
    fs::create_dir(lab.ws().join("nothing")).unwrap();
    set_xattr(&lab.ws().join("dir/b"), "user.note", "changed");
}

/// A snapshot, and a workspace that has changed since.
fn one(lab: &Lab) {
    fill(lab);
    lab.take();
    edit(lab);
}

/// Three snapshots; the second one holds what no other one needs.
fn three(lab: &Lab) {
    fill(lab);
    lab.take();
    fs::write(lab.ws().join("dir/b"), noise(40_000)).unwrap();
    lab.take();
    lab.file("dir/b", "third");
    lab.take();
}

fn ids(lab: &Lab) -> Result<Vec<SnapshotId>, String> {
    let all = lab
        .repository()
        .snapshots()
        .map_err(|error| chain(&error))?;
    Ok(all.into_iter().map(|it| it.id).collect())
}

/// Notes what each snapshot holds.
fn note(lab: &Lab, facts: &mut Facts) {
    for id in ids(lab).unwrap() {
        facts
            .snapshots
            .insert(id.to_string(), content(lab, id).unwrap());
    }
}

/// Restores a snapshot beside the workspace, and returns it.
fn content(lab: &Lab, id: SnapshotId) -> Result<crate::tests::Manifest, String> {
    let away = lab.root.path().join("away");
    // What an earlier look left, cut off as all else.
    drop(fs::remove_dir_all(&away));
    let options = RestoreOptions {
        to: Destination::Directory(away.clone()),
        ..options("away")
    };
    let restored = lab.repository().restore(&id, &options);
    restored.map_err(|error| chain(&error))?;
    let found = manifest(&away);
    fs::remove_dir_all(&away).unwrap();
    Ok(found)
}

/// The repository is whole, and holds at least `count` of the snapshots that are known, each as it was.
fn whole(lab: &Lab, facts: &Facts, count: usize) -> Result<(), String> {
    let recovery = lab.manager.recover().map_err(|error| chain(&error))?;
    ensure(recovery.failed.is_empty(), format!("{recovery:?}"))?;
    match lab.repository().verify(VerifyDepth::Data) {
        Err(RepositoryError::Empty) if count == 0 => {}
        checked => {
            let checked = checked.map_err(|error| chain(&error))?;
            ensure(checked.ok, format!("{:?}", checked.problems))?;
        }
    }
    let found = ids(lab)?;
    returned();
    ensure(found.len() >= count, "an acknowledged snapshot is lost")?;
    for id in &found {
        let known = facts.snapshots.contains_key(&id.to_string());
        ensure(known, "a snapshot that nobody took")?;
    }
    // The check above read every byte of the others.
    if let Some(id) = found.last() {
        let wanted = &facts.snapshots[&id.to_string()];
        same(wanted, &content(lab, *id)?, "the content of a snapshot")?;
    }
    // It can be used.
    let next = lab.repository().snapshot(&new());
    let next = next.map_err(|error| format!("the next snapshot: {}", chain(&error)))?;
    same(
        &lab.manifest(),
        &content(lab, next.snapshot.id)?,
        "the next snapshot",
    )?;
    let checked = lab.repository().verify(VerifyDepth::Data);
    let checked = checked.map_err(|error| chain(&error))?;
    ensure(
        checked.ok,
        format!("after the next one: {:?}", checked.problems),
    )
}

fn check_delete(lab: &Lab, facts: &Facts, calls: usize) -> Result<(), String> {
    whole(lab, facts, 2)?;
    let left = ids(lab)?.len();
    ensure(calls == 0 || left == 3, "a deleted snapshot is back")
}

fn check_restore(lab: &Lab, facts: &Facts, calls: usize) -> Result<(), String> {
    let recovery = lab.manager.recover().map_err(|error| chain(&error))?;
    returned();
    let well = recovery.failed.is_empty() && recovery.left_alone.is_empty();
    ensure(well, format!("{recovery:?}"))?;
    let undoable = lab.manager.undoable().map_err(|error| chain(&error))?;
    if undoable.is_empty() {
        ensure(calls == 0, "what was acknowledged is lost")?;
        return same(&facts.before, &lab.manifest(), "before");
    }
    same(&facts.after, &lab.manifest(), "restored")?;
    let undone = lab.manager.undo(&id("back"), OnConflict::Refuse);
    undone.map_err(|error| chain(&error))?;
    same(&facts.before, &lab.manifest(), "undone")
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "first snapshot",
        prepare: fill,
        run: |lab, facts| {
            lab.take();
            returned();
            note(lab, facts);
        },
        check: |lab, facts, calls| whole(lab, facts, calls),
    },
    Scenario {
        name: "next snapshot",
        prepare: one,
        run: |lab, facts| {
            lab.take();
            returned();
            note(lab, facts);
        },
        check: |lab, facts, calls| whole(lab, facts, 1 + calls),
    },
    Scenario {
        name: "delete",
        prepare: three,
        run: |lab, facts| {
            note(lab, facts);
            let second = ids(lab).unwrap()[1];
            lab.repository().delete(&second).unwrap();
            returned();
        },
        check: check_delete,
    },
    Scenario {
        name: "prune",
        prepare: |lab| {
            three(lab);
            let second = ids(lab).unwrap()[1];
            lab.repository().delete(&second).unwrap();
        },
        run: |lab, facts| {
            note(lab, facts);
            let pruned = lab.repository().prune().unwrap();
            assert!(pruned.removed_packs + pruned.rewritten_packs > 0);
            returned();
        },
        check: |lab, facts, _| whole(lab, facts, 2),
    },
    Scenario {
        name: "index made again",
        prepare: three,
        run: |lab, facts| {
            note(lab, facts);
            lab.repository().rebuild_index().unwrap();
            returned();
        },
        check: |lab, facts, _| {
            // It is for somebody who waits for it: they begin again.
            let again = lab.repository().rebuild_index();
            again.map_err(|error| chain(&error))?;
            whole(lab, facts, 3)
        },
    },
    Scenario {
        name: "restore in place",
        prepare: one,
        run: |lab, _| {
            let first = ids(lab).unwrap()[0];
            lab.repository().restore(&first, &options("back")).unwrap();
            returned();
        },
        check: check_restore,
    },
];

#[test]
fn a_power_cut_leaves_a_whole_repository() {
    let mut all = Tally::default();
    for scenario in &SCENARIOS {
        let (recording, facts) = recorded(scenario);
        let tally = tried(scenario, &recording, &facts, Effort::asked().for_large());
        println!("{}: {tally}", scenario.name);
        all.add(tally);
    }
    println!("snapshots: {all}");
    all.assert_nothing_broken();
}

#[test]
fn forgotten_syncs_and_packs_removed_early_are_found() {
    // Each takes seconds here: the long run has all of them.
    let count = if Effort::is_long() {
        SCENARIOS.len()
    } else {
        2
    };
    // An index that a cut took is made again once more: nothing is lost without its syncs.
    let promising = SCENARIOS[..count].iter().copied();
    let promising = promising.filter(|it| it.name != "index made again");
    planted::without_syncs(&promising.collect::<Vec<_>>());
    let prune = SCENARIOS.iter().find(|it| it.name == "prune").unwrap();
    planted::packs_removed_early(prune);
}
