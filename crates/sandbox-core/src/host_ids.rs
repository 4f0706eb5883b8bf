//! The user and group ids of the host that guests of a root caller run with.

use crate::registry::Claims;

/// The first host id that guests of a root caller may get. Above the ranges that useradd(8) hands
/// out in /etc/subuid and that systemd-nspawn(1) picks from, so that no container shares them.
const FIRST: u32 = 0x7000_0000;
/// How many ids each sandbox has.
const EACH: u32 = 0x1_0000;
/// The most sandboxes of one home directory.
pub(crate) const SANDBOXES_MAX: u32 = 4096;

fn all() -> impl Iterator<Item = u32> {
    (0..SANDBOXES_MAX).map(|n| FIRST + n * EACH)
}

/// Returns the first id of a range that no sandbox has; `None` if there are too many.
pub(crate) fn free(existing: &[Claims]) -> Option<u32> {
    all().find(|first| existing.iter().all(|claims| claims.host_ids != *first))
}

/// Returns whether a range begins with `first`. A record that says anything else was not written by us: with 0, guests
/// would be root.
pub(crate) fn are_ours(first: u32) -> bool {
    all().any(|ours| ours == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_ranges_are_ours() {
        assert_eq!(free(&[]), Some(FIRST));
        assert!(are_ours(FIRST) && are_ours(FIRST + 5 * EACH));
        for other in [0, 1, 1000, FIRST + 1, FIRST - EACH, u32::MAX] {
            assert!(!are_ours(other), "{other}");
        }
    }
}
