//! Transactions: what they do, and what must hold after a power cut.

use super::{
    super::{basic::fill, *},
    Effort, Facts, Scenario, Tally, ensure, recorded, returned, same, tried,
};

/// Begins on a workspace with a bit of everything.
fn workspace(lab: &Lab) {
    lab.file("keep", "same")
        .file("edit", "old")
        .file("gone", "deleted")
        .file("dir/inner", "one")
        .file("dir/other", "two")
        .file("replaced/old", "old")
        .file("replaced/both", "old")
        .file("tree/a/b/c", "deep")
        .file("becomes-dir", "file");
    std::os::unix::fs::symlink("keep", lab.ws().join("link")).unwrap();
    fs::hard_link(lab.ws().join("keep"), lab.ws().join("keep2")).unwrap();
}

/// Changes all of it, as a guest does: nothing of it is synced.
fn changed(lab: &Lab) -> Transaction {
    let tx = lab.begin("op");
    fill(lab, &tx);
    tx
}

fn committed(lab: &Lab) {
    workspace(lab);
    commit(changed(lab));
}

fn undone(lab: &Lab) {
    committed(lab);
    lab.undo("op");
}

fn held(lab: &Lab) {
    workspace(lab);
    changed(lab).hold().unwrap();
}

fn redo(lab: &Lab) {
    lab.manager.redo(&id("op"), OnConflict::Refuse).unwrap();
}

/// Opens the layers after a power cut.
fn recovered(lab: &Lab) -> Result<(), String> {
    let recovery = lab.manager.recover().map_err(|error| chain(&error))?;
    returned();
    let well = recovery.failed.is_empty() && recovery.left_alone.is_empty();
    ensure(well, format!("{recovery:?}"))
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn undoable(lab: &Lab) -> Result<bool, String> {
    let ids = lab.manager.undoable().map_err(|error| chain(&error))?;
    ensure(ids.len() < 2, "more than one can be undone")?;
    Ok(!ids.is_empty())
}

fn undo(lab: &Lab, name: &str) -> Result<(), String> {
    let done = lab.manager.undo(&id(name), OnConflict::Refuse);
    done.map(drop).map_err(|error| chain(&error))
}

/// The workspace is before or after; what is after can be undone exactly.
fn before_or_after(lab: &Lab, facts: &Facts, acknowledged: bool) -> Result<(), String> {
    recovered(lab)?;
    if undoable(lab)? {
        same(&facts.after, &lab.manifest(), "after")?;
        let name = lab.manager.undoable().unwrap()[0].to_string();
        undo(lab, &name)?;
        same(&facts.before, &lab.manifest(), "undone")
    } else {
        ensure(!acknowledged, "what was acknowledged is lost")?;
        same(&facts.before, &lab.manifest(), "before")
    }
}

fn check_undo(lab: &Lab, facts: &Facts, calls: usize) -> Result<(), String> {
    recovered(lab)?;
    if undoable(lab)? {
        ensure(calls == 0, "what was acknowledged is lost")?;
        same(&facts.before, &lab.manifest(), "not undone")?;
        undo(lab, "op")?;
    }
    same(&facts.after, &lab.manifest(), "undone")?;
    let redoable = lab.manager.redoable().map_err(|error| chain(&error))?;
    ensure(redoable == [id("op")], "it cannot be redone")
}

fn check_redo(lab: &Lab, facts: &Facts, calls: usize) -> Result<(), String> {
    recovered(lab)?;
    if !undoable(lab)? {
        ensure(calls == 0, "what was acknowledged is lost")?;
        same(&facts.before, &lab.manifest(), "not redone")?;
        return Ok(());
    }
    same(&facts.after, &lab.manifest(), "redone")?;
    undo(lab, "op")?;
    same(&facts.before, &lab.manifest(), "undone again")
}

fn check_hold(lab: &Lab, facts: &Facts, calls: usize) -> Result<(), String> {
    recovered(lab)?;
    same(&facts.before, &lab.manifest(), "nothing is committed")?;
    let pending = lab.manager.pending().map_err(|error| chain(&error))?;
    if pending.is_empty() {
        return ensure(calls == 0, "what was held is lost");
    }
    if calls == 0 {
        // What is held without anybody having been told may be a part.
        return Ok(());
    }
    let tx = lab
        .manager
        .resume(&id("op"))
        .map_err(|error| chain(&error))?;
    ensure(listed(&tx) == facts.changes, "other changes are held")
}

fn check_held_commit(lab: &Lab, facts: &Facts, calls: usize) -> Result<(), String> {
    recovered(lab)?;
    if undoable(lab)? {
        same(&facts.after, &lab.manifest(), "after")?;
        undo(lab, "op")?;
        return same(&facts.before, &lab.manifest(), "undone");
    }
    ensure(calls == 0, "what was acknowledged is lost")?;
    same(&facts.before, &lab.manifest(), "before")?;
    let tx = lab
        .manager
        .resume(&id("op"))
        .map_err(|error| chain(&error))?;
    ensure(listed(&tx) == facts.changes, "other changes are held")
}

fn check_discard(lab: &Lab, facts: &Facts, _calls: usize) -> Result<(), String> {
    recovered(lab)?;
    same(&facts.before, &lab.manifest(), "nothing is committed")?;
    ensure(!undoable(lab)?, "what was discarded can be undone")?;
    let begun = lab.manager.begin(&id("next"));
    drop(begun.map_err(|error| chain(&error))?);
    Ok(())
}

/// What transactions do.
pub(super) const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "commit",
        prepare: workspace,
        run: |lab, _| {
            commit(changed(lab));
            returned();
        },
        check: |lab, facts, calls| before_or_after(lab, facts, calls > 0),
    },
    Scenario {
        name: "undo",
        prepare: committed,
        run: |lab, _| {
            lab.undo("op");
            returned();
        },
        check: check_undo,
    },
    Scenario {
        name: "redo",
        prepare: undone,
        run: |lab, _| {
            redo(lab);
            returned();
        },
        check: check_redo,
    },
    Scenario {
        name: "hold",
        prepare: workspace,
        run: |lab, facts| {
            let tx = changed(lab);
            facts.changes = listed(&tx);
            tx.hold().unwrap();
            returned();
        },
        check: check_hold,
    },
    Scenario {
        name: "commit of what was held",
        prepare: held,
        run: |lab, facts| {
            let tx = lab.manager.resume(&id("op")).unwrap();
            facts.changes = listed(&tx);
            commit(tx);
            returned();
        },
        check: check_held_commit,
    },
    Scenario {
        name: "discard",
        prepare: workspace,
        run: |lab, _| {
            drop(changed(lab).discard().unwrap());
            lab.manager.empty_trash().unwrap();
            returned();
        },
        check: check_discard,
    },
    Scenario {
        name: "undo of one of two",
        prepare: |lab| {
            committed(lab);
            let tx = lab.begin("other");
            write(&tx.upper().join("apart"), "other");
            commit(tx);
        },
        run: |lab, _| {
            lab.undo("op");
            returned();
        },
        check: |lab, facts, calls| {
            recovered(lab)?;
            let ids = lab.manager.undoable().map_err(|error| chain(&error))?;
            if ids.len() == 2 {
                ensure(calls == 0, "what was acknowledged is lost")?;
                same(&facts.before, &lab.manifest(), "not undone")?;
                undo(lab, "op")?;
            }
            same(&facts.after, &lab.manifest(), "undone")?;
            undo(lab, "other")
        },
    },
];

/// Tries each of them; each must lose something when syncs do nothing.
#[test]
fn a_power_cut_leaves_transactions_before_or_after() {
    let mut all = Tally::default();
    for scenario in &SCENARIOS {
        let (recording, facts) = recorded(scenario);
        let tally = tried(scenario, &recording, &facts, Effort::asked());
        println!("{}: {tally}", scenario.name);
        all.add(tally);
    }
    println!("transactions: {all}");
    all.assert_nothing_broken();
}
