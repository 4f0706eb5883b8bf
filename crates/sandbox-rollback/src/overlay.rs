//! Facts about overlayfs: what its marks in the upper layer mean.
//!
//! Source: `Documentation/filesystems/overlayfs.rst` of Linux. The transactions are mounted with
//! `userxattr`, so the marks are `user.overlay.*`, and an attribute `user.overlay.x` that the guest
//! sets arrives escaped as `user.overlay.overlay.x`.

use crate::{stat::Stat, xattr::Xattrs};

const PRIVATE: &[u8] = b"user.overlay.";
const ESCAPED: &[u8] = b"user.overlay.overlay.";
const OPAQUE: &[u8] = b"user.overlay.opaque";
const WHITEOUT: &[u8] = b"user.overlay.whiteout";
const ORIGIN: &[u8] = b"user.overlay.origin";

/// Returns whether the overlay keeps this attribute for itself and hides it from the guest.
pub(crate) fn is_private(name: &[u8]) -> bool {
    name.starts_with(PRIVATE) && !name.starts_with(ESCAPED)
}

/// Returns whether the directory hides what the lower layer has there.
pub(crate) fn is_opaque(xattrs: &Xattrs) -> bool {
    xattrs.get(OPAQUE).is_some_and(|value| value == b"y")
}

/// Returns whether empty files in this directory may be whiteouts.
pub(crate) fn holds_xattr_whiteouts(xattrs: &Xattrs) -> bool {
    xattrs.get(OPAQUE).is_some_and(|value| value == b"x")
}

/// Returns whether the entry says that its name is deleted, in the usual form: a device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    stat.kind() == rustix::fs::FileType::CharacterDevice && stat.rdev == (0, 0)
}

/// Returns whether an empty file is a whiteout by its attribute.
pub(crate) fn is_xattr_whiteout(stat: &Stat, xattrs: &Xattrs) -> bool {
    stat.is_file() && stat.size == 0 && xattrs.contains_key(WHITEOUT)
}

/// Returns whether the entry was copied up from the lower layer.
pub(crate) fn is_copied_up(xattrs: &Xattrs) -> bool {
    xattrs.contains_key(ORIGIN)
}

/// Returns the attributes as the guest saw them: marks hidden, escaped names as they were set.
pub(crate) fn visible(xattrs: &Xattrs) -> Xattrs {
    let shown = xattrs.iter().filter(|(name, _)| !is_private(name));
    shown
        .map(|(name, value)| (unescaped(name), value.clone()))
        .collect()
}

fn unescaped(name: &[u8]) -> Vec<u8> {
    match name.strip_prefix(ESCAPED) {
        Some(rest) => [PRIVATE, rest].concat(),
        None => name.to_vec(),
    }
}

/// Returns the attributes to remove from an entry before it enters the workspace: the marks, and the
/// escaped names too, which would be live marks for a later overlay if they came as they were set.
pub(crate) fn marks(xattrs: &Xattrs) -> Xattrs {
    let marks = xattrs.iter().filter(|(name, _)| name.starts_with(PRIVATE));
    pairs(marks)
}

/// Returns whether the guest set marks that the entry below has not.
pub(crate) fn has_forged_marks(upper: &Xattrs, lower: &Xattrs) -> bool {
    let mut escaped = upper.iter().filter(|(name, _)| name.starts_with(ESCAPED));
    escaped.any(|(name, value)| lower.get(name) != Some(value))
}

/// Returns the attributes of a merged directory after the commit: what the guest saw, with the marks
/// that the workspace itself has.
pub(crate) fn merged(upper: &Xattrs, lower: &Xattrs) -> Xattrs {
    let mut merged = marks(lower);
    let plain = upper.iter().filter(|(name, _)| !name.starts_with(PRIVATE));
    merged.extend(pairs(plain));
    merged
}

fn pairs<'a>(xattrs: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> Xattrs {
    xattrs
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(names: &[&str]) -> Xattrs {
        let pair = |name: &&str| (name.as_bytes().to_vec(), b"y".to_vec());
        names.iter().map(pair).collect()
    }

    #[test]
    fn a_forged_mark_is_only_an_attribute() {
        let forged = xattrs(&["user.overlay.overlay.opaque", "user.overlay.origin"]);
        assert!(!is_opaque(&forged));
        assert_eq!(visible(&forged), xattrs(&["user.overlay.opaque"]));
        assert_eq!(marks(&forged), forged, "it never enters the workspace");
        assert!(has_forged_marks(&forged, &Xattrs::new()));
        assert!(!has_forged_marks(&forged, &forged));
        assert!(merged(&forged, &Xattrs::new()).is_empty());
    }

    #[test]
    fn an_untouched_directory_keeps_its_attributes() {
        let lower = xattrs(&["user.overlay.origin", "user.a"]);
        let upper = xattrs(&["user.overlay.impure", "user.a"]);
        assert_eq!(merged(&upper, &lower), lower);
        let changed = merged(&xattrs(&["user.b"]), &lower);
        assert_eq!(changed, xattrs(&["user.overlay.origin", "user.b"]));
    }
}
