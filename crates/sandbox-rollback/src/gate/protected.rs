//! Files that make other programs run something, or that tell agents and editors what to do: by their names.

use std::{collections::BTreeMap, os::unix::ffi::OsStrExt as _, path::Path, sync::LazyLock};

mod table;

use table::PROTECTED;
pub(super) use table::{GIT_CONFIG, GIT_ELSEWHERE, GIT_HOOK, SANDBOX};

/// The class of links that lead to protected files.
const LINK: &str = "a link on the way to files that run or configure programs";

/// The class of new links that lead out of the workspace.
pub(super) const LINK_OUT: &str = "a link that leads out of the workspace";

/// One row of the table, taken apart.
struct Pattern {
    /// The place in the table: the first that matches counts.
    order: usize,
    names: Vec<&'static str>,
    class: &'static str,
}

/// The table by the first name of each pattern: a command may change a million paths.
struct Index {
    by_name: BTreeMap<Vec<u8>, Vec<Pattern>>,
    /// The first name has a `*` in it.
    others: Vec<Pattern>,
}

static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

impl Index {
    fn new() -> Self {
        let mut index = Self {
            by_name: BTreeMap::new(),
            others: Vec::new(),
        };
        let rows = PROTECTED.iter();
        let rows = rows.flat_map(|(class, patterns)| patterns.iter().map(|it| (*class, *it)));
        for (order, (class, pattern)) in rows.enumerate() {
            let names: Vec<_> = pattern.split('/').collect();
            let first = names[0].as_bytes().to_ascii_lowercase();
            let place = if first.contains(&b'*') {
                &mut index.others
            } else {
                index.by_name.entry(first).or_default()
            };
            place.push(Pattern {
                order,
                names,
                class,
            });
        }
        index
    }

    /// Returns the class of the first pattern for which `meets` says yes, of those that `parts` may match.
    fn first(&self, parts: &[&[u8]], meets: impl Fn(&Pattern) -> bool) -> Option<&'static str> {
        let named = parts
            .iter()
            .filter_map(|part| self.by_name.get(&part.to_ascii_lowercase()));
        named
            .flatten()
            .chain(&self.others)
            .filter(|it| meets(it))
            .min_by_key(|it| it.order)
            .map(|it| it.class)
    }
}

/// Returns the names of all classes, each once.
pub(super) fn classes() -> Vec<&'static str> {
    let mut classes: Vec<_> = PROTECTED.iter().map(|(class, _)| *class).collect();
    classes.extend([LINK, LINK_OUT]);
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Returns what kind of protected file `path` is, if any.
pub(super) fn class(path: &Path) -> Option<&'static str> {
    let parts = parts(path);
    INDEX.first(&parts, |it| matches(&it.names, &parts))
}

/// As [`class`], for a link: one in the place of a directory brings all that its target holds.
pub(super) fn class_of_link(path: &Path) -> Option<&'static str> {
    let parts = parts(path);
    let leads = |it: &Pattern| (1..it.names.len()).any(|end| matches(&it.names[..end], &parts));
    class(path).or_else(|| INDEX.first(&parts, leads).map(|_| LINK))
}

fn parts(path: &Path) -> Vec<&[u8]> {
    path.components()
        .map(|component| component.as_os_str().as_bytes())
        .collect()
}

fn matches(wanted: &[&str], parts: &[&[u8]]) -> bool {
    if let Some(middle) = wanted.iter().position(|name| *name == "**") {
        let (above, last) = (&wanted[..middle], &wanted[middle + 1..]);
        // At least one name is between the two.
        let Some(end) = parts.len().checked_sub(last.len() + 1) else {
            return false;
        };
        return equal(last, &parts[end + 1..])
            && parts[..end]
                .windows(above.len())
                .any(|window| equal(above, window));
    }
    let Some(start) = parts.len().checked_sub(wanted.len()) else {
        return false;
    };
    equal(wanted, &parts[start..])
}

/// Compares names without regard to case: there are file systems that do so too.
fn equal(wanted: &[&str], parts: &[&[u8]]) -> bool {
    let same = |(wanted, part): (&&str, &&[u8])| match wanted.split_once('*') {
        None => wanted.as_bytes().eq_ignore_ascii_case(part),
        Some((head, tail)) => {
            let middle = part.len().checked_sub(head.len() + tail.len());
            middle.is_some()
                && part[..head.len()].eq_ignore_ascii_case(head.as_bytes())
                && part[part.len() - tail.len()..].eq_ignore_ascii_case(tail.as_bytes())
        }
    };
    wanted.iter().zip(parts).all(same)
}

#[cfg(test)]
mod tests;
