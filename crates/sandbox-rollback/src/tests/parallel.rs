//! Operations that run at the same time, against a serial model: the first commit of a path wins, and who comes second
//! is held with all of its changes.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::CommitError;

const PATHS: [&str; 6] = ["a", "b", "c", "d/a", "d/b", "e/a"];

#[derive(Clone, Debug)]
enum Act {
    Begin,
    /// The path gets this content, or goes.
    Edit(usize, usize, Option<u8>),
    Commit(usize),
    Discard(usize),
    Undo(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let content = prop::option::weighted(0.7, any::<u8>());
    prop_oneof![
        2 => Just(Act::Begin),
        6 => (0..4_usize, 0..PATHS.len(), content).prop_map(|(tx, path, to)| Act::Edit(tx, path, to)),
        3 => (0..4_usize).prop_map(Act::Commit),
        1 => (0..4_usize).prop_map(Act::Discard),
        1 => (0..4_usize).prop_map(Act::Undo),
    ]
}

/// The workspace as it must be: each path with its content, and when it changed last.
#[derive(Clone, Default)]
struct Model {
    contents: BTreeMap<usize, u8>,
    changed: BTreeMap<usize, usize>,
    commits: usize,
}

struct Open {
    tx: Transaction,
    begun: usize,
    edits: BTreeMap<usize, Option<u8>>,
}

/// What an operation replaced, and when.
struct Done {
    name: String,
    before: BTreeMap<usize, Option<u8>>,
    commit: usize,
}

impl Model {
    /// The paths that somebody else changed meanwhile; `None` if the edits may be either.
    fn conflicts(&self, open: &Open) -> Option<BTreeSet<usize>> {
        let mut found = BTreeSet::new();
        for (path, to) in &open.edits {
            let later = self.changed.get(path).is_some_and(|it| *it > open.begun);
            match (later, self.contents.contains_key(path), to) {
                (false, ..) | (true, false, None) => {}
                (true, true, _) => drop(found.insert(*path)),
                // Written here, deleted there: nothing is overwritten.
                (true, false, Some(_)) => return None,
            }
        }
        Some(found)
    }

    fn commit(&mut self, edits: &BTreeMap<usize, Option<u8>>) -> BTreeMap<usize, Option<u8>> {
        self.commits += 1;
        let mut before = BTreeMap::new();
        for (path, to) in edits {
            let was = self.contents.get(path).copied();
            if was.is_none() && to.is_none() {
                continue;
            }
            before.insert(*path, was);
            self.changed.insert(*path, self.commits);
            match to {
                Some(byte) => drop(self.contents.insert(*path, *byte)),
                None => drop(self.contents.remove(path)),
            }
        }
        before
    }
}

fn found(lab: &Lab) -> BTreeMap<usize, u8> {
    let read = |(number, path): (usize, &&str)| {
        let bytes = fs::read(lab.ws().join(path)).ok()?;
        Some((number, bytes[0]))
    };
    PATHS.iter().enumerate().filter_map(read).collect()
}

fn edit(open: &mut Open, path: usize, to: Option<u8>) {
    let at = open.tx.upper().join(PATHS[path]);
    drop(fs::remove_file(&at));
    match to {
        Some(byte) => {
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(&at, [byte; 3]).unwrap();
        }
        None => whiteout(&at),
    }
    open.edits.insert(path, to);
}

/// Commits, and compares what happened with the model.
fn settle(lab: &Lab, model: &mut Model, open: Open) -> Result<Option<Done>, TestCaseError> {
    let expected = model.conflicts(&open);
    let name = open.tx.id().to_string();
    let survey = open.tx.survey().unwrap();
    match (open.tx.commit(survey), expected) {
        (Ok(committed), None) => prop_assert!(committed.left_alone.is_empty()),
        (Ok(_), Some(conflicts)) => prop_assert!(conflicts.is_empty(), "{name}: {conflicts:?}"),
        (Err(CommitError::Conflict { paths }), expected) => {
            for path in expected.unwrap_or_default() {
                let named = paths
                    .iter()
                    .any(|it| Path::new(PATHS[path]).starts_with(it));
                prop_assert!(named, "{name}: {} is not in {paths:?}", PATHS[path]);
            }
            prop_assert!(!paths.is_empty());
            prop_assert!(
                lab.manager.pending().unwrap().contains(&id(&name)),
                "it is held"
            );
            return Ok(None);
        }
        (Err(error), _) => prop_assert!(false, "{name}: {error}"),
    }
    let before = model.commit(&open.edits);
    let commit = model.commits;
    Ok((!before.is_empty()).then_some(Done {
        name,
        before,
        commit,
    }))
}

fn undo(lab: &Lab, model: &mut Model, done: &Done) -> Result<bool, TestCaseError> {
    let later = |(path, was): (&usize, &Option<u8>)| {
        let changed = model.changed.get(path).is_some_and(|it| *it > done.commit);
        // What the operation made and somebody else deleted is as the undo would leave it.
        changed && (was.is_some() || model.contents.contains_key(path))
    };
    let free = !done.before.iter().any(later);
    let undone = lab.manager.undo(&id(&done.name), OnConflict::Refuse);
    if let Err(error) = &undone {
        prop_assert!(!free, "{}: {error}", done.name);
        return Ok(false);
    }
    prop_assert!(free, "{} was undone over a later change", done.name);
    model.commit(&done.before);
    Ok(true)
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn operations_at_the_same_time_are_as_one_after_the_other(acts in vec(act(), 1..40)) {
        let lab = Lab::new();
        for directory in ["d", "e"] {
            fs::create_dir(lab.ws().join(directory)).unwrap();
        }
        let (mut model, mut open, mut done) = (Model::default(), Vec::<Open>::new(), Vec::new());
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Begin if open.len() < 4 => open.push(Open {
                    tx: lab.begin(&format!("op{number}")),
                    begun: model.commits,
                    edits: BTreeMap::new(),
                }),
                Act::Edit(tx, path, to) if tx < open.len() => edit(&mut open[tx], path, to),
                Act::Commit(tx) if tx < open.len() => {
                    let tx = open.remove(tx);
                    done.extend(settle(&lab, &mut model, tx)?);
                }
                Act::Discard(tx) if tx < open.len() => drop(open.remove(tx).tx.discard().unwrap()),
                Act::Undo(which) if which < done.len() => {
                    if undo(&lab, &mut model, &done[which])? {
                        done.remove(which);
                    }
                }
                Act::Begin
                | Act::Edit(..)
                | Act::Commit(_)
                | Act::Discard(_)
                | Act::Undo(_) => {}
            }
            prop_assert_eq!(found(&lab), model.contents.clone());
        }
    }
}
