//! What must be taken off an entry of the upper layer before it may enter the workspace.

use std::path::Path;

use super::{Entry, Walk};
use crate::{
    apply::is_privileged,
    overlay,
    plan::Cleaning,
    stat::{SETID_BITS, Stat},
    survey::{Strip, Stripped, compare::Comparison},
    xattr::{self, Xattrs},
};

impl Walk<'_> {
    /// Leaves out set-id bits and file capabilities, unless the same program had them before.
    pub(super) fn strip_identity(
        &mut self,
        entry: &Entry<'_>,
        compared: Comparison,
        remove: &mut Xattrs,
    ) -> Option<(u32, u32)> {
        let before = entry.lower.filter(|_| compared.same_content);
        let owner = |stat: &Stat| (stat.uid, stat.gid, stat.mode & SETID_BITS);
        let had_bits = before.is_some_and(|(_, lower)| owner(&lower) == owner(&entry.stat));
        if let Some(value) = entry.xattrs.get(xattr::CAPABILITY)
            && !(before.is_some() && compared.same_capabilities)
        {
            remove.insert(xattr::CAPABILITY.to_vec(), value.clone());
            self.strip(&entry.path, Stripped::Capabilities);
        }
        let mode = entry.stat.permissions();
        if entry.stat.is_file() && mode & SETID_BITS != 0 && !had_bits {
            self.strip(&entry.path, Stripped::SetId);
            return Some((mode, mode & !SETID_BITS));
        }
        None
    }

    /// Leaves out all marks of an overlay: the overlay's own, and those that the guest set, which
    /// would mislead the next overlay on the workspace.
    pub(super) fn strip_marks(&mut self, entry: &Entry<'_>) -> Xattrs {
        if overlay::has_forged_marks(&entry.xattrs, &Xattrs::new()) {
            self.strip(&entry.path, Stripped::OverlayMarks);
        }
        overlay::marks(&entry.xattrs)
    }

    pub(super) fn strip(&mut self, path: &Path, what: Stripped) {
        self.survey.strips.push(Strip {
            path: path.to_owned(),
            what,
        });
    }

    pub(super) fn clean(&mut self, entry: &Entry<'_>, remove: Xattrs, mode: Option<(u32, u32)>) {
        if remove.is_empty() && mode.is_none() {
            return;
        }
        // Attributes of a read-only file can only be removed after making it writable.
        let current = entry.stat.permissions();
        let writable = is_privileged() || current & 0o600 == 0o600 || entry.stat.is_symlink();
        self.survey.plan.cleanings.push(Cleaning::Attributes {
            path: entry.path.clone(),
            ino: entry.stat.ino,
            remove,
            set: Xattrs::new(),
            mode: mode.or((!writable).then_some((current, current))),
        });
    }
}
