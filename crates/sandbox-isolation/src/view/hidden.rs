//! What is covered: secrets, what was to be hidden, and sockets that somebody listens to.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Entry, Layout};
use crate::{
    plan::{LaunchPlan, WorkspaceMode},
    secrets, toolchains,
};

/// Files in `/proc` that tell about the host; the rest of it is about the guest's own processes. (What can only
/// be written is covered too: all of `/proc` is read-only.)
const PROC_SECRETS: [&str; 10] = [
    "/proc/acpi",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];
/// The listening sockets of this network namespace.
const SOCKETS: &str = "/proc/net/unix";

impl Layout {
    /// A path may be visible by the name that was given and by the one that links lead to: both are hidden.
    pub(super) fn add_hidden(&mut self, plan: &LaunchPlan) {
        let mut secrets = BTreeSet::new();
        for path in self.secrets(plan).into_iter().chain(self.sockets(plan)) {
            secrets.extend(self.real_forms(&path));
            secrets.insert(path);
        }
        let mut paths = self.without_granted(secrets);
        for path in &plan.view.hide {
            paths.extend(self.real_forms(path));
            paths.insert(path.clone());
        }
        let aliases = self.aliases(&paths);
        paths.extend(aliases);
        paths.retain(|path| match self.holder(path) {
            // A workspace may change until the launch: it is looked at then.
            Some((_, Entry::Workspace)) => true,
            Some((_, Entry::Bind { .. } | Entry::File(_))) => self.paths.looks.lstat(path).is_ok(),
            // Links lead to what has another name in the list.
            _ => false,
        });
        self.hidden.extend(paths);
        self.hidden.extend(PROC_SECRETS.iter().map(PathBuf::from));
    }

    fn secrets(&mut self, plan: &LaunchPlan) -> Vec<PathBuf> {
        let own = &plan.view.home;
        let mut homes = BTreeSet::from([own.clone()]);
        homes.extend(self.paths.of(own));
        if let Some(Entry::File(passwd)) = self.entries.get(Path::new("/etc/passwd")) {
            let others = secrets::homes(passwd).into_iter();
            homes.extend(others.filter(|home| self.shows_of(home)));
        }
        let of_homes = homes
            .iter()
            .flat_map(|home| self.named(home, secrets::OF_A_HOME));
        let granted = self.granted.iter().skip(1);
        let of_granted = granted.flat_map(|path| self.named(path, secrets::ANYWHERE));
        let of_the_system = secrets::OF_THE_SYSTEM.iter().map(PathBuf::from);
        // Some name `/dev/null`, to have none.
        let of_variables = plan.view.secrets.iter().cloned();
        let of_variables = of_variables.filter(|path| !toolchains::is_system(path));
        of_homes
            .chain(of_granted)
            .chain(of_the_system)
            .chain(of_variables)
            .collect()
    }

    /// Returns whether anything in `directory` may be visible.
    fn shows_of(&self, directory: &Path) -> bool {
        let is_shown = |entry: &Entry| matches!(entry, Entry::Bind { .. } | Entry::Workspace);
        let held = self.holder(directory).is_some_and(|(_, it)| is_shown(it));
        let mut below = self.entries.below(directory);
        held || below.any(|(_, entry)| is_shown(entry))
    }

    /// Returns the paths with these names that may be in `directory`.
    fn named(&self, directory: &Path, names: &[&str]) -> Vec<PathBuf> {
        // A workspace may change until the launch.
        let there = match self.holder(directory) {
            Some((_, Entry::Workspace)) => None,
            _ => toolchains::names_in(&self.paths.looks, directory),
        };
        let names = names.iter().map(Path::new);
        let may_be = names.filter(|name| toolchains::may_be_in(there.as_ref(), name));
        may_be.map(|name| directory.join(name)).collect()
    }

    /// Returns the sockets that somebody listens to, where the guest sees the host's own ones: an overlay's are files
    /// of its own.
    fn sockets(&mut self, plan: &LaunchPlan) -> Vec<PathBuf> {
        let is_overlay = matches!(plan.workspace_mode, WorkspaceMode::Overlay { .. });
        let of_the_host_alone = is_overlay && self.granted.len() == 1;
        let table = self.paths.looks.read(Path::new(SOCKETS));
        let mut found = table.map_or_else(|_no_proc| Vec::new(), |table| secrets::sockets(&table));
        // Most lie in `/run`, which nobody sees; each one that is looked at has to be looked at again before a start.
        found.retain(|path| !of_the_host_alone || self.shows_any_form(path));
        found
    }

    /// Returns whether the guest sees the host's `path`, by this name or by one that the links above it lead to:
    /// programs bind sockets by the names that they were given.
    fn shows_any_form(&mut self, path: &Path) -> bool {
        let is_shown =
            |it: &Self, path: &Path| matches!(it.holder(path), Some((_, Entry::Bind { .. })));
        if is_shown(self, path) {
            return true;
        }
        let above = path.parent().and_then(|it| self.paths.as_far_as_there(it));
        let real = above
            .zip(path.file_name())
            .map(|(above, name)| above.join(name));
        real.is_some_and(|real| is_shown(self, &real))
    }

    /// What was asked for by its own name is no secret. What was asked for in the directory of a secret stands in an
    /// empty one.
    fn without_granted(&mut self, secrets: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let mut hidden = BTreeSet::new();
        for secret in secrets {
            if self.granted.contains(&secret) {
                continue;
            }
            let has_granted = self.granted.iter().any(|path| path.starts_with(&secret));
            let is_directory = self
                .paths
                .looks
                .lstat(&secret)
                .is_ok_and(|found| found.is_dir());
            let in_bind = matches!(self.holder(&secret), Some((_, Entry::Bind { .. })));
            if has_granted && is_directory && in_bind {
                self.add(secret, Entry::Temporary { mode: 0o755 });
            } else {
                hidden.insert(secret);
            }
        }
        hidden
    }

    /// Returns `path` without the links above it, and without any: what is not there (yet) keeps its name.
    fn real_forms(&mut self, path: &Path) -> [PathBuf; 2] {
        let whole = self.paths.as_far_as_there(path);
        let above = path
            .parent()
            .and_then(|above| self.paths.as_far_as_there(above));
        let link = above.zip(path.file_name());
        [
            link.map_or_else(|| path.to_owned(), |(above, name)| above.join(name)),
            whole.unwrap_or_else(|| path.to_owned()),
        ]
    }

    /// Returns where else these paths of the host are visible: below what is mounted at another place than its own.
    fn aliases(&self, paths: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let elsewhere = self.entries.iter().filter_map(|(at, entry)| {
            let Entry::Bind { source, .. } = entry else {
                return None;
            };
            (source.as_os_str() != at.as_os_str()).then_some((at, source))
        });
        let below = |(at, source): (&Path, &PathBuf)| -> Vec<PathBuf> {
            let rests = paths
                .iter()
                .filter_map(|path| path.strip_prefix(source).ok());
            rests
                .map(|rest| at.components().chain(rest.components()).collect())
                .collect()
        };
        elsewhere.flat_map(below).collect()
    }
}
