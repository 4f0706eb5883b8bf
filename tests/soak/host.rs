//! What a sandbox could leave on the host.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, WaitOptions};

/// What is there of one laboratory. Others may use the machine at the same time, so nothing else is counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    /// Processes that descend from this one, which all orphans fall to.
    pub(crate) processes: BTreeSet<String>,
    /// Namespaces of these processes that are not our own.
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) mounts: BTreeSet<String>,
    pub(crate) cgroups: BTreeSet<PathBuf>,
    pub(crate) sockets: BTreeSet<String>,
    pub(crate) files: BTreeSet<PathBuf>,
    /// Descriptors of our own.
    pub(crate) descriptors: usize,
}

impl Traces {
    /// Looks for what mentions `root`, lies in `directories`, or belongs to a control group that `callers` made.
    pub(crate) fn of(root: &Path, directories: &[PathBuf], callers: &BTreeSet<u32>) -> Self {
        let root = root.to_str().unwrap();
        let processes = descendants();
        let namespaces = processes.iter().flat_map(|pid| namespaces_of(*pid));
        Self {
            namespaces: namespaces.collect(),
            processes: processes.iter().map(|pid| words_of(*pid)).collect(),
            // Whoever bind mounts a namespace keeps it without a process.
            mounts: lines("/proc/self/mountinfo", |line| {
                line.contains(root) || line.contains(" - nsfs ")
            }),
            cgroups: cgroups_of(callers),
            sockets: lines("/proc/net/unix", |line| line.contains(root)),
            files: directories.iter().flat_map(|it| entries(it)).collect(),
            descriptors: descriptors_of(std::process::id()).unwrap(),
        }
    }
}

/// Returns how many descriptors a process has open; `None` if that is not ours to see.
pub(crate) fn descriptors_of(pid: u32) -> Option<usize> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(entries.count())
}

/// Waits for the dead orphans that fell to this process. Nobody else may wait for children meanwhile.
pub(crate) fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// Returns all processes below this one.
fn descendants() -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = vec![std::process::id()];
    while let Some(pid) = waiting.pop() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            let children = children
                .split_whitespace()
                .filter_map(|it| it.parse::<u32>().ok());
            waiting.extend(children.clone());
            found.extend(children);
        }
    }
    found
}

fn words_of(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    format!("{words}({stat})")
}

fn namespaces_of(pid: u32) -> Vec<String> {
    let all = fs::read_dir(format!("/proc/{pid}/ns"));
    let own = |name: &Path| fs::read_link(Path::new("/proc/self/ns").join(name)).ok();
    let all = all.into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let found = fs::read_link(entry.path()).ok()?;
        let name = PathBuf::from(entry.file_name());
        (own(&name) != Some(found.clone())).then(|| found.display().to_string())
    })
    .collect()
}

fn lines(file: &str, is_ours: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let ours = text.lines().filter(|line| is_ours(line));
    ours.map(str::to_owned).collect()
}

/// Their names begin with the process that made them.
fn cgroups_of(callers: &BTreeSet<u32>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = waiting.pop() {
        let inside = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in inside.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let caller = name
                .strip_prefix("sandbox-")
                .and_then(|it| it.split('-').next());
            let caller = caller.and_then(|it| it.parse().ok());
            if caller.is_some_and(|it| callers.contains(&it)) {
                found.insert(entry.path());
            }
            waiting.push(entry.path());
        }
    }
    found
}

/// Returns all paths below a directory.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                waiting.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

/// Returns the process of a number that a program told.
pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}
