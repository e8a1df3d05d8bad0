//! How fast, and for how long.
//!
//! Owns the due time of what several threads do together. Called by every thread of the flood.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many a second until a moment.
pub struct Pace {
    begun: Instant,
    until: Instant,
    per_s: f64,
    taken: AtomicU64,
}

impl Pace {
    /// `per_s` (above 0) for so long from `begun` on.
    pub fn new(begun: Instant, time: Duration, per_s: f64) -> Self {
        Self {
            begun,
            until: begun + time,
            per_s,
            taken: AtomicU64::new(0),
        }
    }

    /// Waits until the next `count` are due. False when the time is over.
    #[allow(clippy::cast_precision_loss)]
    pub fn wait(&self, count: u64) -> bool {
        let before = self.taken.fetch_add(count, Ordering::Relaxed);
        let after = Duration::try_from_secs_f64(before as f64 / self.per_s);
        let due = after.ok().and_then(|after| self.begun.checked_add(after));
        let Some(due) = due.filter(|due| *due < self.until) else {
            return false;
        };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        Instant::now() < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_grants_so_many_and_ends() {
        let pace = Pace::new(Instant::now(), Duration::from_millis(100), 200.0);
        let granted = (0..1_000).take_while(|_| pace.wait(1)).count();
        assert!((1..=20).contains(&granted), "{granted}");
        assert!(!pace.wait(1));
    }
}
