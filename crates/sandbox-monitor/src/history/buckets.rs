//! How often values of about the same size occurred: half octaves, as a histogram.

/// How many there are. The last takes everything larger.
pub(crate) const BUCKETS: usize = 54;

/// One histogram. Bucket 0 has what is below one unit; bucket `n` has values from `2^((n-1)/2)` units
/// to `2^(n/2)`. A count stops at 65,535.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Buckets([u16; BUCKETS]);

impl Default for Buckets {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Buckets {
    pub(super) const fn of_counts(counts: [u16; BUCKETS]) -> Self {
        Self(counts)
    }

    pub(crate) const fn counts(&self) -> &[u16; BUCKETS] {
        &self.0
    }

    pub(super) fn count(&mut self, units: u64) {
        let count = &mut self.0[index(units)];
        *count = count.saturating_add(1);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }
}

fn index(units: u64) -> usize {
    let Some(octave) = units.checked_ilog2() else {
        return 0;
    };
    let units = u128::from(units);
    let is_upper_half = units * units >= 1 << (2 * octave + 1);
    let index = 1 + 2 * octave as usize + usize::from(is_upper_half);
    index.min(BUCKETS - 1)
}

/// Returns the value, in units, that stands for a bucket: its geometric middle.
pub(crate) fn middle(index: usize) -> f64 {
    if index == 0 {
        return 0.5;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 54")]
    let halves = (2 * index - 1) as f64;
    (halves / 4.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_at_most_a_fifth_off() {
        for units in [1, 2, 3, 5, 9, 100, 1000, 54_321, 7_000_000, 60_000_000_u64] {
            let middle = middle(index(units));
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let ratio = middle / units as f64;
            assert!((0.8..1.2).contains(&ratio), "{units}: {middle}");
        }
        assert_eq!(index(0), 0);
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }
}
