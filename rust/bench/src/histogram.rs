//! Latencies in a fixed table: log-linear, 32 steps an octave, so a figure is right to 3 %.
//!
//! Owns counting and percentiles. Never allocates after `new`. Used by the load and the database
//! floor.

const STEPS_LOG2: u32 = 5;
const STEPS: u64 = 1 << STEPS_LOG2;
const ROWS: usize = 64;

/// Counts of durations in nanoseconds.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_ns: u64,
}

impl Histogram {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            counts: vec![0; ROWS << STEPS_LOG2],
            total: 0,
            longest_ns: 0,
        }
    }

    /// Counts one duration.
    pub fn record(&mut self, duration_ns: u64) {
        if let Some(count) = self.counts.get_mut(slot(duration_ns)) {
            *count += 1;
        }
        self.total += 1;
        self.longest_ns = self.longest_ns.max(duration_ns);
    }

    /// Adds all counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// The duration in milliseconds that `per_mille` of all counted do not exceed; 0 when empty.
    #[allow(clippy::cast_precision_loss)]
    pub fn percentile_ms(&self, per_mille: u64) -> f64 {
        let wanted = (self.total * per_mille).div_ceil(1_000);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return upper_ns(at).min(self.longest_ns) as f64 / 1e6;
            }
        }
        0.0
    }

    /// The longest duration in milliseconds.
    #[allow(clippy::cast_precision_loss)]
    pub fn longest_ms(&self) -> f64 {
        self.longest_ns as f64 / 1e6
    }
}

fn slot(duration_ns: u64) -> usize {
    if duration_ns < STEPS {
        return usize::try_from(duration_ns).unwrap_or(0);
    }
    let shift = duration_ns.ilog2() - STEPS_LOG2;
    let row = u64::from(shift + 1) << STEPS_LOG2;
    usize::try_from(row + (duration_ns >> shift) - STEPS).unwrap_or(usize::MAX)
}

fn upper_ns(slot: usize) -> u64 {
    let slot = slot as u64;
    if slot < STEPS {
        return slot;
    }
    let shift = (slot >> STEPS_LOG2) - 1;
    ((slot & (STEPS - 1)) + STEPS + 1)
        .checked_shl(u32::try_from(shift).unwrap_or(63))
        .unwrap_or(0)
        .wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_per_cent() {
        let mut table = Histogram::new();
        for micros in 1..=100_000_u64 {
            table.record(micros * 1_000);
        }
        for (per_mille, want) in [(500, 50.0), (990, 99.0), (999, 99.9)] {
            let got = table.percentile_ms(per_mille);
            assert!((got - want).abs() <= want * 0.032, "{got} for {want}");
        }
        assert!((table.longest_ms() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn any_duration_has_a_slot_below_its_upper_bound() {
        for duration in [0, 1, 31, 32, 33, 1_023, 1_024, 123_456_789, u64::MAX >> 1] {
            assert!(upper_ns(slot(duration)) >= duration, "{duration}");
            assert!(slot(duration) < ROWS << STEPS_LOG2);
        }
    }
}
