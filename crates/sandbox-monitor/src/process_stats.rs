//! The figures of a tree of processes from `/proc`, for hosts without a usable cgroup.
//!
//! Memory is the sum of the resident sets (RSS). Pages that processes share count once for each: the
//! sum is too high rather than too low. The proportional set (PSS) would be exact and makes the
//! kernel walk every page table, a hundred times dearer.

use std::{collections::BTreeSet, time::Duration};

use procfs::{
    ProcError,
    process::{self, Process, Stat},
};

use crate::{cgroup_stats::Io, history::GuestProcess};

/// The most processes that one sample looks at.
const PROCESSES_MAX: usize = 4096;

/// What a tree of processes uses now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct TreeStats {
    pub(crate) memory_bytes: u64,
    /// Processes and threads.
    pub(crate) tasks: u64,
    /// Of the living and of the descendants that they have waited for.
    pub(crate) cpu: Duration,
    /// Of the living and of the descendants that they have waited for.
    pub(crate) io: Io,
}

/// A process and all its descendants.
#[derive(Debug)]
pub(crate) struct Tree {
    root: i32,
    /// In clock ticks after boot: tells the root from a later process with the same number.
    started: u64,
}

impl Tree {
    /// Returns the tree below `root`; `None` if there is no such process.
    pub(crate) fn of(root: u32) -> Option<Self> {
        let root = i32::try_from(root).ok()?;
        let started = Process::new(root).ok()?.stat().ok()?.starttime;
        Some(Self { root, started })
    }

    /// Returns the process that the tree begins with.
    pub(crate) fn root(&self) -> Option<GuestProcess> {
        let pid = u32::try_from(self.root).ok()?;
        let started = self.started;
        Some(GuestProcess { pid, started })
    }

    /// Reads the figures of the tree. Processes that end meanwhile are left out.
    pub(crate) fn stats(&self) -> TreeStats {
        let mut stats = TreeStats::default();
        let Some(root) = Member::open(self.root).filter(|it| it.stat.starttime == self.started)
        else {
            return stats;
        };
        let members = if root.has_child_lists() {
            below_by_children(root)
        } else {
            below_by_parents(root)
        };
        for member in members {
            stats.add(&member);
        }
        stats
    }
}

impl TreeStats {
    fn add(&mut self, member: &Member) {
        let stat = &member.stat;
        self.memory_bytes += stat.rss.saturating_mul(procfs::page_size());
        self.tasks += u64::try_from(stat.num_threads).unwrap_or(0);
        let waited_for = stat.cutime.saturating_add(stat.cstime);
        let ticks = (stat.utime + stat.stime).saturating_add_signed(waited_for);
        let ms = ticks.saturating_mul(1000) / procfs::ticks_per_second();
        self.cpu += Duration::from_millis(ms);
        // Needs the rights of a debugger; without them, 0.
        if let Ok(io) = member.process.io() {
            self.io.read_bytes += io.read_bytes;
            self.io.write_bytes += io.write_bytes;
        }
    }
}

struct Member {
    process: Process,
    stat: Stat,
}

impl Member {
    fn open(pid: i32) -> Option<Self> {
        let process = Process::new(pid).ok()?;
        let stat = process.stat().ok()?;
        Some(Self { process, stat })
    }

    /// Says whether the kernel has lists of children (`CONFIG_PROC_CHILDREN`).
    fn has_child_lists(&self) -> bool {
        let list = self
            .process
            .task_main_thread()
            .and_then(|task| task.children());
        !matches!(list, Err(ProcError::NotFound(_)))
    }
}

/// Returns the tree by following the lists of children.
fn below_by_children(root: Member) -> Vec<Member> {
    let mut members = vec![root];
    let mut next = 0;
    while next < members.len() {
        let parent = &members[next];
        let pid = parent.process.pid;
        let mut children = Vec::new();
        // Each thread has a list of its own.
        for task in parent.process.tasks().into_iter().flatten().flatten() {
            children.extend(task.children().unwrap_or_default());
        }
        for child in children {
            if members.len() == PROCESSES_MAX {
                return members;
            }
            let child = i32::try_from(child).ok().and_then(Member::open);
            // A number that was given to another process meanwhile has another parent.
            members.extend(child.filter(|child| child.stat.ppid == pid));
        }
        next += 1;
    }
    members
}

/// Returns the tree by asking every process of the host for its parent.
fn below_by_parents(root: Member) -> Vec<Member> {
    let mut others: Vec<Member> = process::all_processes()
        .into_iter()
        .flatten()
        .filter_map(|process| {
            let process = process.ok()?;
            let stat = process.stat().ok()?;
            Some(Member { process, stat })
        })
        .collect();
    let mut pids = BTreeSet::from([root.process.pid]);
    let mut members = vec![root];
    loop {
        let (found, rest): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|other| pids.contains(&other.stat.ppid));
        if found.is_empty() || members.len() >= PROCESSES_MAX {
            return members;
        }
        pids.extend(found.iter().map(|member| member.process.pid));
        members.extend(found);
        others = rest;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::Stdio,
        time::Instant,
    };

    use super::*;

    #[test]
    fn both_ways_find_the_same_tree() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a real tree of processes, of fixed text, is what is measured"
        )]
        let mut command = std::process::Command::new("/bin/sh");
        let mut shell = command
            .args(["-c", "exec 3<&0; (cat <&3 & cat <&3; :) & echo ready; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = shell.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let pids = |below: fn(Member) -> Vec<Member>| -> BTreeSet<i32> {
            let root = Member::open(shell.id().cast_signed()).unwrap();
            assert!(root.has_child_lists());
            let members = below(root);
            members.iter().map(|member| member.process.pid).collect()
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while pids(below_by_children).len() < 4 {
            assert!(Instant::now() < deadline, "the shell starts its children");
            std::thread::yield_now();
        }
        assert_eq!(pids(below_by_children), pids(below_by_parents));
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn another_process_with_the_same_number_is_not_the_root() {
        let tree = Tree::of(std::process::id()).unwrap();
        assert!(tree.stats().tasks > 0);
        let other = Tree {
            started: tree.started + 1,
            ..tree
        };
        assert_eq!(other.stats(), TreeStats::default());
        assert!(Tree::of(u32::MAX).is_none());
    }
}
