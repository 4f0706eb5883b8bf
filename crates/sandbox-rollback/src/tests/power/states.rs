//! Recording what happens to a disk, and the states in which a power cut can leave it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    rc::Rc,
};

use super::image::{Data, Image, Node, Op, between, shown};
use crate::step::Event;

/// What happened to a disk.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(super) base: Image,
    pub(super) ops: Vec<Op>,
}

/// Writes down what happens below a directory.
pub(crate) struct Recorder {
    root: PathBuf,
    inner: RefCell<(Image, Recording)>,
}

impl Recorder {
    pub(super) fn start(root: &Path) -> Rc<Self> {
        let base = Image::of(root);
        let recording = Recording {
            base: base.clone(),
            ops: Vec::new(),
        };
        Rc::new(Self {
            root: root.to_owned(),
            inner: RefCell::new((base, recording)),
        })
    }

    pub(super) fn tell(&self, event: Event) {
        let now = Image::of(&self.root);
        let (last, recording) = &mut *self.inner.borrow_mut();
        let ops = between(last, &now);
        let mut replayed = last.clone();
        for op in &ops {
            replayed.apply(op);
        }
        assert_eq!(
            replayed.without_the_nameless(),
            now,
            "the recorder understood what happened: {ops:?}"
        );
        recording.ops.extend(ops);
        recording.ops.extend(match event {
            Event::Change => None,
            Event::Sync(ino) => Some(Op::Sync(ino)),
            Event::SyncAll => Some(Op::SyncAll),
            Event::Returned => Some(Op::Returned),
        });
        *last = now;
    }

    pub(super) fn recording(&self) -> Recording {
        self.tell(Event::Change);
        self.inner.borrow().1.clone()
    }
}

impl Recording {
    /// The syncs in it, by their places.
    pub(super) fn syncs(&self) -> Vec<usize> {
        let is_sync = |op: &Op| matches!(op, Op::Sync(_) | Op::SyncAll);
        let all = self.ops.iter().enumerate();
        all.filter(|(_, op)| is_sync(op)).map(|it| it.0).collect()
    }

    /// Says what is synced there.
    pub(super) fn sync_shown(&self, place: usize) -> String {
        if let Op::Sync(ino) = self.ops[place] {
            return format!("sync of '{}'", self.name_of(ino, place));
        }
        "sync of the file system".to_owned()
    }

    fn name_of(&self, ino: u64, place: usize) -> String {
        let mut image = self.base.clone();
        for op in &self.ops[..place] {
            image.apply(op);
        }
        let mut path = Vec::new();
        let mut at = ino;
        while at != image.root {
            let holds = |(dir, node): (&u64, &Node)| {
                let Data::Names(names) = &node.data else {
                    return None;
                };
                let mut named = names.iter().filter(|(_, inner)| **inner == at);
                named.next().map(|(name, _)| (*dir, shown(name)))
            };
            let Some((dir, name)) = image.nodes.iter().find_map(holds) else {
                break;
            };
            path.insert(0, name);
            at = dir;
        }
        path.join("/")
    }

    pub(super) fn without(&self, places: &[usize]) -> Self {
        let kept = self.ops.iter().enumerate();
        let kept = kept.filter(|(place, _)| !places.contains(place));
        Self {
            base: self.base.clone(),
            ops: kept.map(|(_, op)| op.clone()).collect(),
        }
    }

    /// What was recorded until the last call returned.
    pub(super) fn until_last_returned(mut self) -> Self {
        let end = self.ops.iter().rposition(|op| matches!(op, Op::Returned));
        self.ops.truncate(end.map_or(self.ops.len(), |end| end + 1));
        self
    }

    /// What was recorded until the first call returned.
    pub(super) fn until_returned(mut self) -> Self {
        let end = self.ops.iter().position(|op| matches!(op, Op::Returned));
        self.ops.truncate(end.unwrap_or(self.ops.len()));
        self
    }
}

/// The disk after a power cut.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) image: Image,
    /// How many calls had returned.
    pub(super) returned: usize,
    /// In words.
    pub(super) told: String,
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) states: usize,
    pub(crate) compound: usize,
    pub(crate) broken: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.states += other.states;
        self.compound += other.compound;
        self.broken.extend(other.broken);
    }

    #[track_caller]
    pub(crate) fn assert_nothing_broken(&self) {
        let shown = &self.broken[..self.broken.len().min(12)];
        assert!(self.broken.is_empty(), "{self}:\n{}", shown.join("\n"));
        assert!(self.states > 20 && self.compound > 0, "{self}");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (states, compound, broken) = (self.states, self.compound, self.broken.len());
        write!(
            f,
            "{states} states, {compound} of recoveries, {broken} broken"
        )
    }
}

/// All chosen states of a recording, none twice.
pub(crate) struct States<'a> {
    recording: &'a Recording,
    per_moment: usize,
    moment: usize,
    waiting: Vec<Vec<bool>>,
    seen: BTreeSet<(usize, Vec<bool>)>,
    random: u64,
}

impl<'a> States<'a> {
    pub(super) fn of(recording: &'a Recording, per_moment: usize) -> Self {
        Self {
            recording,
            per_moment,
            moment: 0,
            waiting: Vec::new(),
            seen: BTreeSet::new(),
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    fn random(&mut self) -> u64 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// What a sync has made durable when the power is cut at this moment.
    fn durable(&self) -> Vec<bool> {
        let ops = &self.recording.ops[..self.moment];
        let mut durable = vec![false; ops.len()];
        let (mut all, mut inodes) = (false, BTreeSet::new());
        for (place, op) in ops.iter().enumerate().rev() {
            if let Op::Sync(ino) = op {
                inodes.insert(*ino);
            }
            all |= matches!(op, Op::SyncAll);
            let synced = |ino: &u64| inodes.contains(ino);
            durable[place] = all || op.is_free() || op.subjects().iter().any(synced);
        }
        durable
    }

    /// Adds what must be there because something later is: earlier changes of the same name.
    fn closed(&self, mut applied: Vec<bool>) -> Vec<bool> {
        let mut needed = BTreeSet::new();
        for place in (0..applied.len()).rev() {
            let names = self.recording.ops[place].names();
            applied[place] |= names.iter().any(|name| needed.contains(name));
            if applied[place] {
                needed.extend(names);
            }
        }
        applied
    }

    /// Chooses what of the rest is there: everything, nothing, all but one, one only, and at random.
    fn choose(&mut self) {
        let durable = self.durable();
        let loose: Vec<usize> = (0..durable.len()).filter(|it| !durable[*it]).collect();
        let with = |kept: &dyn Fn(usize) -> bool| {
            let mut applied = durable.clone();
            for (number, place) in loose.iter().enumerate() {
                applied[*place] = kept(number);
            }
            applied
        };
        let mut chosen = Vec::new();
        if loose.len() < 20 && 1 << loose.len() <= self.per_moment {
            chosen.extend((0..1_u32 << loose.len()).map(|bits| with(&|it| bits >> it & 1 == 1)));
        } else {
            chosen.push(with(&|_| true));
            chosen.push(with(&|_| false));
            while chosen.len() < self.per_moment.max(2) {
                let one = usize::try_from(self.random() >> 33).unwrap() % loose.len();
                let bits: Vec<u64> = loose.iter().map(|_| self.random() >> 40).collect();
                chosen.push(match self.random() >> 40 & 7 {
                    0 | 1 => with(&|it| it != one),
                    2 => with(&|it| it == one),
                    3 => with(&|it| it <= one),
                    4 => with(&|it| bits[it].is_multiple_of(8)),
                    5 => with(&|it| !bits[it].is_multiple_of(8)),
                    _ => with(&|it| bits[it] & 1 == 0),
                });
            }
        }
        self.waiting = chosen.into_iter().map(|it| self.closed(it)).collect();
    }

    fn state(&self, applied: &[bool], returned: usize) -> State {
        let mut image = self.recording.base.clone();
        let mut lost: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, op) in self.recording.ops[..self.moment].iter().enumerate() {
            if applied[place] {
                image.apply(op);
            } else {
                *lost.entry(kind(op)).or_default() += 1;
            }
        }
        let moment = self.moment;
        State {
            image: image.without_the_nameless(),
            returned,
            told: format!(
                "cut after {moment} of {} with {lost:?} lost",
                self.recording.ops.len()
            ),
        }
    }

    pub(super) fn next(&mut self) -> Option<State> {
        loop {
            while let Some(applied) = self.waiting.pop() {
                let ops = &self.recording.ops[..self.moment];
                let returned = ops.iter().filter(|op| matches!(op, Op::Returned)).count();
                if self.seen.insert((returned, trimmed(&applied))) {
                    return Some(self.state(&applied, returned));
                }
            }
            if self.moment == self.recording.ops.len() {
                return None;
            }
            self.moment += 1;
            let latest = &self.recording.ops[self.moment - 1];
            if !latest.is_free() || matches!(latest, Op::Returned) {
                self.choose();
            }
        }
    }
}

/// Without what was lost at the end: it is as if it had not been done.
fn trimmed(applied: &[bool]) -> Vec<bool> {
    let end = applied.iter().rposition(|it| *it).map_or(0, |it| it + 1);
    applied[..end].to_vec()
}

fn kind(op: &Op) -> &'static str {
    match op {
        Op::Make(..) => "file",
        Op::Link(..) => "name",
        Op::Unlink(..) => "removal",
        Op::Rename(..) => "rename",
        Op::Exchange(..) => "exchange",
        Op::Write(..) => "write",
        Op::Length(..) => "length",
        Op::Attributes(..) => "attributes",
        Op::Times(..) | Op::Sync(_) | Op::SyncAll | Op::Returned => "nothing",
    }
}
