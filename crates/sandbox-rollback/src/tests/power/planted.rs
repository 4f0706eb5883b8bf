//! The harness must find what is wrong: each scenario is tried as if the product had forgotten a sync, or had removed
//! something before what makes it superfluous is durable.

use super::{
    Effort, Facts, Recording, Scenario,
    image::{Data, Image, Name, Op},
    recorded, scenarios, tried,
};

/// Tries a changed recording; returns the first promise that it breaks.
fn finds(scenario: &Scenario, planted: &Recording, facts: &Facts) -> Option<String> {
    let tally = tried(scenario, planted, facts, Effort::to_find());
    tally.broken.into_iter().next()
}

/// Forgets all syncs of each scenario, and with `PROPTEST_CASES` each sync by itself.
pub(crate) fn without_syncs(all: &[Scenario]) {
    for scenario in all {
        let (recording, facts) = recorded(scenario);
        let syncs = recording.syncs();
        let found = finds(scenario, &recording.without(&syncs), &facts);
        let name = scenario.name;
        assert!(
            found.is_some(),
            "{name}: {} syncs are not missed",
            syncs.len()
        );
        if !Effort::is_long() {
            continue;
        }
        println!("{name}: all {} syncs forgotten: found", syncs.len());
        for place in syncs {
            let what = recording.sync_shown(place);
            match finds(scenario, &recording.without(&[place]), &facts) {
                Some(_) => println!("{name}: {what} (step {place}) forgotten: found"),
                None => println!("{name}: {what} (step {place}) forgotten: nothing is lost"),
            }
        }
    }
}

/// Removes packs before the index that does not need them is durable.
pub(crate) fn packs_removed_early(scenario: &Scenario) {
    let (recording, facts) = recorded(scenario);
    let mut image: Image = recording.base.clone();
    let mut is_pack = |op: &Op| {
        let is_there = |(dir, name): &Name| {
            let data = image.nodes.get(dir).map(|node| &node.data);
            matches!(data, Some(Data::Names(names)) if names.contains_key(name))
        };
        let named = |name: &Name| name.1.to_string_lossy().ends_with(".pack");
        let removed = matches!(op, Op::Unlink(name) if is_there(name) && named(name));
        image.apply(op);
        removed
    };
    let (early, mut rest): (Vec<Op>, Vec<Op>) =
        recording.ops.iter().cloned().partition(|op| is_pack(op));
    assert!(!early.is_empty(), "{} removes packs", scenario.name);
    let new_pack = |op: &Op| matches!(op, Op::Sync(_));
    let after_first_sync = rest.iter().position(new_pack).map_or(0, |place| place + 1);
    rest.splice(after_first_sync..after_first_sync, early);
    let planted = Recording {
        base: recording.base,
        ops: rest,
    };
    let found = finds(scenario, &planted, &facts);
    println!("{}: packs removed early: {found:?}", scenario.name);
    assert!(
        found.is_some(),
        "packs that are removed early are not missed"
    );
}

#[test]
fn forgotten_syncs_are_found() {
    // What is discarded promises nothing.
    let promising = scenarios::SCENARIOS
        .into_iter()
        .filter(|it| it.name != "discard");
    without_syncs(&promising.collect::<Vec<_>>());
}
