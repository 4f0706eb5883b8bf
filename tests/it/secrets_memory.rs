//! A secret in memory: the operation that was given it has it, other operations and the processes around them have
//! not, and no process that has it can leave a core dump.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::lab::Lab;

const SECRET: &str = "pl4nted-1n-memory-XyZ";
const PATIENCE: Duration = Duration::from_secs(30);
/// More than one process of ours uses.
const MEMORY_READ_MAX: u64 = 256 * 1024 * 1024;

/// Starts an operation that waits until it may end.
fn start(lab: &Lab, options: &[&str], name: &str) -> Child {
    let script = format!("touch {name}; exec sleep 300");
    let mut args = vec!["run", "-q", "--direct"];
    args.extend(options);
    args.extend(["--shell", &script]);
    let child = lab
        .command(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    while !lab.workspace().join(name).exists() || operation_of(child.id()).is_none() {
        assert!(Instant::now() < until, "{name} never ran");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    child
}

fn stat_parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

/// All processes below `pid`, and itself.
fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let all: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        family.extend(all.iter().filter(|it| stat_parent(**it) == Some(parent)));
        at += 1;
    }
    family
}

/// The command itself, among the processes of an operation.
fn operation_of(pid: u32) -> Option<u32> {
    family(pid).into_iter().find(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "sleep"
    })
}

/// Whether the memory or the environment of a process has the secret; `None` if we may not look.
fn has_secret(pid: u32) -> Option<bool> {
    let contains = |bytes: &[u8]| {
        let needle = SECRET.as_bytes();
        bytes.windows(needle.len()).any(|it| it == needle)
    };
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    if contains(&environment) {
        return Some(true);
    }
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    for line in maps.lines() {
        let mut words = line.split(' ');
        let (range, mode) = (words.next()?, words.next()?);
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        // What cannot be written was not made by the program.
        if !mode.starts_with("rw") || end - start > MEMORY_READ_MAX {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        let read = memory
            .seek(SeekFrom::Start(start))
            .and_then(|_| memory.read_exact(&mut bytes));
        // Pages that are never there, as those at the end of the address space.
        if read.is_ok() && contains(&bytes) {
            return Some(true);
        }
    }
    Some(false)
}

#[test]
fn only_its_own_operation_and_its_supervisor_have_it_in_memory() {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab.sandbox_with_input(&["state", "set", "TOKEN", "--secret", "-"], SECRET)
        .code(0);
    let mut given = start(&lab, &["--secret", "TOKEN"], "given");
    let mut other = start(&lab, &[], "other");
    let (own, foreign) = (operation_of(given.id()), operation_of(other.id()));
    // The control: the operation that was given it has it, and we can see that.
    let own_has = has_secret(own.unwrap());
    let looked: Vec<(u32, Option<bool>)> = family(other.id())
        .into_iter()
        .map(|pid| (pid, has_secret(pid)))
        .collect();
    // Its supervisor has it, to take it out of the output; it can leave no core dump.
    let limits: Vec<String> = family(given.id())
        .into_iter()
        .map(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default())
        .collect();
    for child in [&mut given, &mut other] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // As an unprivileged user nobody may look into a process with other ids or without dumps.
    if let Some(own_has) = own_has {
        assert!(own_has, "the control does not hold");
        let seen = looked.iter().filter(|it| it.1.is_some()).count();
        assert!(seen > 0, "nothing was looked at: {looked:?}");
    }
    assert!(foreign.is_some());
    assert!(looked.iter().all(|it| it.1 != Some(true)), "{looked:?}");
    for text in limits.iter().filter(|it| !it.is_empty()) {
        let core = text.lines().find(|it| it.starts_with("Max core file size"));
        let core: Vec<&str> = core.unwrap().split_whitespace().collect();
        // 1 is too little for a dump, and holds for those that are piped to a program, too (core(5)).
        assert!(["0", "1"].contains(&core[4]), "{text}");
    }
}
