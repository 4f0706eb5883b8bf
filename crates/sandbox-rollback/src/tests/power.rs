//! Power cuts, as ALICE plays them (Pillai et al., OSDI 2014): what a commit, an undo, a snapshot …
//! does to the disk is recorded; then the disk is made as any cut could leave it, and opened.
//!
//! Of what was not made durable by a sync any part may be there: names and contents of different
//! files in any order, contents in sectors. A rename is whole, and two changes of one name keep
//! their order; file systems promise no more. The recorder compares pictures of the disk before
//! each announced change, so nothing is missed that a change did. Recovery is cut off in the same
//! way again.

mod image;
mod place;
pub(crate) mod planted;
mod scenarios;
mod states;

use std::{collections::BTreeMap, path::PathBuf, rc::Rc};

use proptest::test_runner::Config;

pub(crate) use scenarios::chain;
pub(crate) use states::Tally;
use states::{Recording, States};

use super::{Lab, Manifest};
use crate::{
    RollbackManager,
    step::{returned, set_doubles, watched},
};

/// What a scenario promises, noted while it ran.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) before: Manifest,
    pub(crate) after: Manifest,
    /// What each snapshot holds.
    pub(crate) snapshots: BTreeMap<String, Manifest>,
    pub(crate) changes: Vec<String>,
}

/// What is done, and what must hold after a power cut.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) prepare: fn(&Lab),
    /// Calls [`returned`] after each call that promises something.
    pub(crate) run: fn(&Lab, &mut Facts),
    /// Opens what the cut left after so many calls had returned, calls [`returned`], and looks.
    pub(crate) check: fn(&Lab, &Facts, usize) -> Result<(), String>,
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// States for each moment of the recording.
    pub(crate) per_moment: usize,
    /// Every how many of them one is tried.
    pub(crate) one_in: usize,
    /// Of how many of these the recovery is cut off as well, and then the same again.
    pub(crate) compound_one_in: usize,
    pub(crate) compound: (usize, usize),
    /// Whether one that is broken is enough.
    pub(crate) until_broken: bool,
}

impl Effort {
    /// A second's worth, or with `PROPTEST_CASES` that many states a moment.
    pub(crate) fn asked() -> Self {
        let cases = usize::try_from(Config::default().cases).unwrap();
        let short = Self {
            per_moment: 8,
            one_in: 7,
            compound_one_in: 20,
            compound: (2, 7),
            until_broken: false,
        };
        if cases == 256 {
            return short;
        }
        Self {
            per_moment: cases,
            one_in: 1,
            compound: (3, 2),
            ..short
        }
    }

    /// For scenarios whose states take longer to look at.
    pub(crate) fn for_large(self) -> Self {
        if self.one_in == 1 {
            return self;
        }
        Self {
            one_in: self.one_in * 12,
            compound_one_in: 4,
            compound: (2, 20),
            ..self
        }
    }

    /// Whether `PROPTEST_CASES` asks for more than a second's worth.
    pub(crate) fn is_long() -> bool {
        Config::default().cases != 256
    }

    /// As much as it takes to find what was planted.
    pub(crate) fn to_find() -> Self {
        Self {
            per_moment: 12,
            one_in: 1,
            compound_one_in: usize::MAX,
            compound: (2, 1),
            until_broken: true,
        }
    }
}

impl Lab {
    /// As [`Lab::new`], on a file system that forgets no inode number: none is given twice.
    pub(crate) fn in_memory() -> Self {
        let root = Self::directory_in_memory();
        std::fs::create_dir(root.path().join("ws")).unwrap();
        Self::over(root)
    }

    fn directory_in_memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    fn over(root: tempfile::TempDir) -> Self {
        let (ws, layers) = (root.path().join("ws"), root.path().join("layers"));
        let manager = RollbackManager::open(&ws, &layers).unwrap();
        Self { root, manager }
    }
}

/// Runs a scenario once, watched.
pub(crate) fn recorded(scenario: &Scenario) -> (Recording, Facts) {
    set_doubles(None);
    let lab = Lab::in_memory();
    (scenario.prepare)(&lab);
    let recorder = states::Recorder::start(lab.root.path());
    let mut facts = Facts {
        before: lab.manifest(),
        ..Facts::default()
    };
    let tell = Rc::clone(&recorder);
    watched(Rc::new(move |event| tell.tell(event)), || {
        (scenario.run)(&lab, &mut facts);
    });
    facts.after = lab.manifest();
    (recorder.recording().until_last_returned(), facts)
}

/// Opens the disk in every chosen state; counts those that break a promise.
pub(crate) fn tried(
    scenario: &Scenario,
    recording: &Recording,
    facts: &Facts,
    effort: Effort,
) -> Tally {
    let mut tally = Tally::default();
    let mut states = States::of(recording, effort.per_moment);
    let mut number = 0;
    while let Some(state) = states.next() {
        number += 1;
        if number % effort.one_in != 0 {
            continue;
        }
        tally.states += 1;
        let known = |error: &String| format!("{}: {} — {error}", scenario.name, state.told);
        let verdict = opened(&state.image, 1, |lab| {
            (scenario.check)(lab, facts, state.returned)
        });
        tally.broken.extend(verdict.as_ref().err().map(known));
        if effort.until_broken && verdict.is_err() {
            return tally;
        }
        if verdict.is_ok() && tally.states % effort.compound_one_in == 0 {
            compound(scenario, &state, facts, effort, &mut tally);
        }
    }
    tally
}

/// Cuts off the recovery of a state, too.
fn compound(
    scenario: &Scenario,
    state: &states::State,
    facts: &Facts,
    effort: Effort,
    tally: &mut Tally,
) {
    let recording = opened(&state.image, 1, |lab| {
        let recorder = states::Recorder::start(lab.root.path());
        let tell = Rc::clone(&recorder);
        // Whatever it finds: that was judged above.
        let _judged = watched(Rc::new(move |event| tell.tell(event)), || {
            (scenario.check)(lab, facts, state.returned)
        });
        recorder.recording()
    });
    // The check goes on after the recovery; only what recovery does is cut off.
    let recording = recording.until_returned();
    let (per_moment, one_in) = effort.compound;
    let mut again = States::of(&recording, per_moment);
    let mut number = 0;
    while let Some(second) = again.next() {
        number += 1;
        if number % one_in != 0 {
            continue;
        }
        tally.compound += 1;
        let verdict = opened(&second.image, 2, |lab| {
            (scenario.check)(lab, facts, state.returned)
        });
        tally.broken.extend(verdict.err().map(|error| {
            let (first, second) = (&state.told, &second.told);
            format!("{}: {first}, then {second} — {error}", scenario.name)
        }));
    }
}

/// Puts a state on disk and looks at it.
fn opened<T>(image: &image::Image, generation: u64, look: impl FnOnce(&Lab) -> T) -> T {
    let root = Lab::directory_in_memory();
    place::place(image, root.path(), generation);
    let lab = Lab::over(root);
    let result = look(&lab);
    set_doubles(None);
    result
}

/// Fails with the paths that differ.
pub(crate) fn same(wanted: &Manifest, found: &Manifest, what: &str) -> Result<(), String> {
    let all: std::collections::BTreeSet<&PathBuf> = wanted.keys().chain(found.keys()).collect();
    let differs = |path: &&&PathBuf| wanted.get(**path) != found.get(**path);
    let differing: Vec<_> = all.iter().filter(differs).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let first = differing[0];
    let (a, b) = (wanted.get(*first), found.get(*first));
    Err(format!("{what}: {differing:?} differ; {a:?} is {b:?}"))
}

/// Fails with `what` unless `holds`.
pub(crate) fn ensure(holds: bool, what: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.into()) }
}
