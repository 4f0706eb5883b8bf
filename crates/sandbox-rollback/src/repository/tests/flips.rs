//! Single flipped bits, and whole files that are cut, zeroed, swapped, copied over or gone: each is found and named,
//! nothing wrong is ever restored, what is not named returns; `repair` makes nothing worse.

use std::{collections::BTreeSet, os::unix::fs::FileExt as _};

use super::{damage::files, *};
use crate::tests::{Manifest, cases, power::chain};

const BLOCK: usize = 512;

/// A repository with two snapshots; the second one needs a pack of its own.
struct Target {
    lab: Lab,
    wanted: Vec<(SnapshotId, Manifest)>,
    good: Vec<(PathBuf, Vec<u8>)>,
    random: u64,
}

impl Target {
    fn new() -> Self {
        let lab = Lab::in_memory();
        fill(&lab);
        let mut wanted = vec![(lab.take().snapshot.id, lab.manifest())];
        lab.file("a", "second")
            .file("dir/more", "of the second one");
        wanted.push((lab.take().snapshot.id, lab.manifest()));
        let read = |path: PathBuf| {
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        };
        let good = files(&lab.root.path().join("repo"))
            .into_iter()
            .map(read)
            .collect();
        Self {
            lab,
            wanted,
            good,
            random: 0x2545_F491_4F6C_DD1D,
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 20).unwrap() % below
    }

    fn put_back(&self) {
        drop(fs::remove_dir_all(self.lab.root.path().join("repo")));
        fs::create_dir_all(self.lab.root.path().join("repo/packs")).unwrap();
        for (path, bytes) in &self.good {
            fs::write(path, bytes).unwrap();
        }
    }

    /// Restores a snapshot beside the workspace; `None` if that is refused.
    fn restored(&self, id: &SnapshotId) -> Option<Manifest> {
        let away = self.lab.root.path().join("away");
        let to = RestoreOptions {
            to: Destination::Directory(away.clone()),
            ..options("away")
        };
        let restored = self.lab.repository().restore(id, &to).is_ok();
        let found = restored.then(|| manifest(&away));
        drop(fs::remove_dir_all(&away));
        found
    }

    /// The damage is found; what is restored is right, and all that is not named is restored.
    fn judge(&self, what: &str, restore: bool) {
        let checked = self.lab.repository().verify(VerifyDepth::Data);
        let named: BTreeSet<String> = match &checked {
            Ok(checked) => {
                assert!(!checked.ok, "{what}: not found");
                let named = checked.problems.iter().flat_map(|it| &it.snapshots);
                named.map(ToString::to_string).collect()
            }
            Err(error) => panic!("{what}: {}", chain(error)),
        };
        if !restore {
            return;
        }
        // What lies in the index is only trusted after `repair`.
        let format_is_wrong = what.contains("format.json");
        let in_packs = what.contains(".pack") && !format_is_wrong;
        for (id, wanted) in &self.wanted {
            match self.restored(id) {
                Some(found) => assert_same(wanted, &found, what),
                None => assert!(
                    !in_packs || named.contains(&id.to_string()),
                    "{what}: {id} is refused and not named in {:?}",
                    checked.as_ref().unwrap().problems
                ),
            }
        }
    }
}

/// How many flips; `PROPTEST_CASES` asks for that many thousands.
fn flips() -> (usize, usize) {
    let asked = cases(1).cases;
    if asked == 1 {
        (250, 10)
    } else {
        (usize::try_from(asked).unwrap() * 1000, 50)
    }
}

#[test]
fn flipped_bits_are_found_and_nothing_wrong_is_restored() {
    let mut target = Target::new();
    let (count, restore_every) = flips();
    // Most of the index is empty pages: the packs and the small files get half of the flips.
    let large = target
        .good
        .iter()
        .position(|(path, _)| path.ends_with("index.redb"))
        .unwrap();
    let small: Vec<usize> = (0..target.good.len()).filter(|it| *it != large).collect();
    let mut bits: Vec<(usize, usize)> = small
        .iter()
        .flat_map(|file| (0..target.good[*file].1.len() * 8).map(|bit| (*file, bit)))
        .collect();
    while bits.len() > count / 2 {
        let one = target.random(bits.len());
        bits.swap_remove(one);
    }
    let exhaustive = bits.len();
    while bits.len() < count {
        let bit = target.random(target.good[large].1.len() * 8);
        bits.push((large, bit));
    }
    for (number, (file, bit)) in bits.into_iter().enumerate() {
        let (path, good) = &target.good[file];
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        let opened = fs::File::options().write(true).open(path).unwrap();
        opened.write_all_at(&[good[at] ^ mask], at as u64).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        target.judge(&format!("bit {bit} of {name}"), number % restore_every == 0);
        opened.write_all_at(&good[at..=at], at as u64).unwrap();
    }
    let checked = target.lab.repository().verify(VerifyDepth::Data).unwrap();
    assert!(checked.ok, "nothing is left of the flips: {checked:?}");
    println!("{count} flipped bits, {exhaustive} of them in packs and small files: all found");
}

/// The page that lists the tables: what is read first may be whole, and what is read later not.
#[test]
fn flipped_bits_in_the_list_of_tables_are_found() {
    let target = Target::new();
    let is_index = |(path, _): &&(PathBuf, Vec<u8>)| path.ends_with("index.redb");
    let (path, good) = target.good.iter().find(is_index).unwrap();
    let opened = fs::File::options().write(true).open(path).unwrap();
    let lists = |page: &[u8]| page.windows(9).any(|it| it == b"snapshots");
    let mut count = 0;
    for (number, _) in good
        .chunks(4096)
        .enumerate()
        .filter(|(_, page)| lists(page))
    {
        for bit in (number * 4096 * 8..(number * 4096 + 64) * 8).step_by(2) {
            let (at, mask) = (bit / 8, 1 << (bit % 8));
            opened.write_all_at(&[good[at] ^ mask], at as u64).unwrap();
            target.judge(&format!("bit {bit} of index.redb"), false);
            opened.write_all_at(&good[at..=at], at as u64).unwrap();
            count += 1;
        }
    }
    assert!(count > 0, "there is such a page");
}

#[test]
fn damaged_files_are_found_and_nothing_wrong_is_restored() {
    let target = Target::new();
    let mut count = 0;
    let judge = |what: String| {
        target.judge(&what, true);
        target.put_back();
    };
    for (number, (path, good)) in target.good.iter().enumerate() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let blocks = good.len().div_ceil(BLOCK);
        for block in (0..blocks).step_by((blocks / 16).max(1)) {
            fs::write(path, &good[..block * BLOCK]).unwrap();
            judge(format!("{name} cut at block {block}"));
            count += 1;
        }
        fs::write(path, vec![0; good.len()]).unwrap();
        judge(format!("{name} zeroed"));
        // A lost seal is no damage: it says that the index is to be checked whole.
        if name != "index.seal" {
            fs::remove_file(path).unwrap();
            judge(format!("{name} deleted"));
        }
        let (other, bytes) = &target.good[(number + 1) % target.good.len()];
        fs::write(path, bytes).unwrap();
        let beside = other.file_name().unwrap().to_string_lossy();
        judge(format!("{beside} copied over {name}"));
        fs::write(path, bytes).unwrap();
        fs::write(other, good).unwrap();
        judge(format!("{name} and {beside} swapped"));
        count += 4;
    }
    println!("{count} damaged files: all found");
}

#[test]
fn repair_makes_nothing_worse_and_twice_is_once() {
    let mut target = Target::new();
    let count = cases(12).cases;
    let mut kept = 0;
    for number in 0..count {
        let mut what = Vec::new();
        for _ in 0..=target.random(3) {
            what.push(damaged(&mut target));
        }
        let what = format!("{number}: {what:?}");
        let restorable = |target: &Target| -> Vec<bool> {
            let right = |(id, wanted): &(SnapshotId, Manifest)| match target.restored(id) {
                Some(found) => {
                    assert_same(wanted, &found, &what);
                    true
                }
                None => false,
            };
            target.wanted.iter().map(right).collect()
        };
        let before = restorable(&target);
        let repository = target.lab.repository();
        let first = repository.rebuild_index().map_err(|error| chain(&error));
        let after = restorable(&target);
        for (before, after) in before.iter().zip(&after) {
            assert!(*after || !before, "{what}: repair lost a snapshot");
            kept += usize::from(*after);
        }
        let listed = |repository: &Repository| {
            let all = repository.snapshots().map_err(|error| chain(&error));
            let checked = repository
                .verify(VerifyDepth::Data)
                .map_err(|error| chain(&error));
            let problems = checked.map(|it| {
                it.problems
                    .into_iter()
                    .map(|it| it.what)
                    .collect::<Vec<_>>()
            });
            (
                all.map(|all| all.into_iter().map(|it| it.id).collect::<Vec<_>>()),
                problems,
            )
        };
        let once = listed(&repository);
        let second = repository.rebuild_index().map_err(|error| chain(&error));
        let removed =
            |it: &Result<Rebuilt, String>| it.as_ref().is_ok_and(|it| it.removed_packs > 0);
        let mended = removed(&first);
        if mended {
            assert_eq!(once.1, Ok(Vec::new()), "{what}: damaged still");
        }
        let twice = listed(&repository);
        if removed(&second) {
            // What it knew to be lost the first time is nobody's now.
            assert_eq!(once.0, twice.0, "{what}: repaired twice");
        } else {
            assert_eq!(once, twice, "{what}: repaired twice");
        }
        let problems = |rebuilt: Result<Rebuilt, String>| rebuilt.map(|it| it.problems);
        if mended {
            assert_eq!(problems(second), Ok(Vec::new()), "{what}");
        } else {
            assert_eq!(problems(first), problems(second), "{what}");
        }
        target.put_back();
    }
    println!("{count} random damages repaired; {kept} snapshots could be restored afterwards");
}

/// Damages one file at random.
fn damaged(target: &mut Target) -> String {
    let which = target.random(target.good.len());
    let (path, length) = (target.good[which].0.clone(), target.good[which].1.len());
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let Ok(mut bytes) = fs::read(&path) else {
        return format!("{name} is gone already");
    };
    let at = target.random(length).min(bytes.len().saturating_sub(1));
    let done = match target.random(5) {
        _ if bytes.is_empty() => "empty",
        0 => {
            fs::remove_file(&path).unwrap();
            return format!("{name} deleted");
        }
        1 => {
            bytes.truncate(at);
            "cut"
        }
        2 => {
            let end = bytes.len().min(at + 64);
            bytes[at..end].fill(0);
            "zeroed"
        }
        _ => {
            bytes[at] ^= 1 << (at % 8);
            "flipped"
        }
    };
    fs::write(&path, &bytes).unwrap();
    format!("{name} {done} at {at}")
}
