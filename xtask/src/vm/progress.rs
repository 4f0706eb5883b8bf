//! What is running in the machine: the test programs say only what has ended.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::guest;

/// Tests that run at the same time.
const AT_ONCE: usize = 2;

/// How far the machine has come.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    title: String,
    /// In the order in which they are started.
    listed: Vec<String>,
    ended: BTreeSet<String>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            title: "starting".to_owned(),
            listed: Vec::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Takes a line of the machine; returns whether it is for us only.
    pub(super) fn take(&mut self, line: &str) -> bool {
        if let Some(title) = line.strip_prefix(guest::PASS) {
            title.clone_into(&mut self.title);
            self.listed.clear();
            self.ended.clear();
        } else if let Some(listed) = line.strip_prefix(guest::LISTED) {
            self.listed
                .extend(listed.strip_suffix(": test").map(str::to_owned));
            return true;
        } else if let Some((name, _result)) = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... "))
        {
            let name = name.trim_end_matches(" - should panic");
            self.ended.insert(name.to_owned());
        }
        false
    }

    pub(super) fn took(&self) -> Duration {
        self.start.elapsed()
    }

    /// Says what runs now.
    pub(super) fn says(&self) -> String {
        let seconds = self.took().as_secs();
        let (ended, all) = (self.ended.len(), self.listed.len());
        let running = self.listed.iter().filter(|it| !self.ended.contains(*it));
        let running: Vec<&str> = running.take(AT_ONCE).map(String::as_str).collect();
        format!(
            "    {:02}:{:02} {}: {ended} of {all}, now {}",
            seconds / 60,
            seconds % 60,
            self.title,
            running.join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_ended_runs() {
        let mut progress = Progress::new();
        let lines = [
            ("VM-PASS cli as root", false),
            ("VM-TEST a::one: test", true),
            ("VM-TEST a::two: test", true),
            ("VM-TEST b: test", true),
            ("VM-TEST 3 tests, 0 benchmarks", true),
            ("test a::two ... ok", false),
        ];
        for (line, is_ours) in lines {
            assert_eq!(progress.take(line), is_ours, "{line}");
        }
        let said = progress.says();
        assert!(
            said.ends_with("cli as root: 1 of 3, now a::one, b"),
            "{said}"
        );
        progress.take("VM-PASS escapes as root");
        assert!(progress.says().ends_with("0 of 0, now "));
    }
}
