//! Makes confinements that wait for their operations, and drops them.

use std::rc::Rc;

use super::{Keeper, Seen, Spare, layers, start};
use crate::launch::LaunchError;

impl Keeper<'_> {
    /// Starts to build one; returns whether it is on its way.
    pub(super) fn build(&mut self) -> bool {
        // What the others show may be covered now. What changes from here on is found when it is handed over.
        if self.mounts_have_changed() && self.seen.is_some() {
            self.rebuild();
        }
        let built = self.try_build();
        let is_built = built.is_ok();
        match built {
            Ok(spare) => self.spares.push(spare),
            Err(_) if self.seen.is_some() => self.rebuild(),
            Err(_) => self.end(),
        }
        is_built
    }

    fn try_build(&mut self) -> Result<Spare, LaunchError> {
        let layers = layers::supply(&mut self.plan, self.layers)?;
        // Whether it is still so is asked when it is handed over.
        let seen = match &self.seen {
            Some(seen) => Rc::clone(seen),
            None => Rc::new(Seen::for_building(&self.plan)?),
        };
        let is_first = self.seen.is_none();
        let built = start::prepare_ahead(&self.plan, seen.layout())?;
        self.seen = Some(Rc::clone(&seen));
        Ok(Spare {
            built,
            seen,
            layers,
            sockets: Vec::new(),
            is_ready: false,
            is_first,
        })
    }

    /// Drops all spares but the first ones.
    pub(super) fn drop_spares_behind(&mut self, kept: usize) {
        let kept = kept.min(self.spares.len());
        for mut spare in self.spares.drain(kept..) {
            // As long as only its builder knows init, nobody would wait for it.
            let built = &mut spare.built;
            built.tree.await_birth(&mut built.status).ok();
        }
    }
}
