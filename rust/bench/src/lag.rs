//! How late an open loop sends, so that its own limit is never taken for the server's.
//!
//! Owns the counting. A message is late by the time from when it was due to when it is handed to
//! its connection. One whose connection takes no more (it has its depth unanswered, or its socket
//! is full) waits for the server: it is counted as held, and what comes behind it may be late by
//! its wait. So without held messages all lag is the generator's own. Used by `generate`.

use crate::histogram::Histogram;

/// The lag of one window.
pub struct Lag {
    late: Histogram,
    held_total: u64,
    held_last: u64,
}

impl Lag {
    /// Nothing was sent yet.
    pub fn new() -> Self {
        Self {
            late: Histogram::new(),
            held_total: 0,
            held_last: 0,
        }
    }

    /// A message that was due at `due_ns` is sent at `now_ns`.
    pub fn sent(&mut self, due_ns: u64, now_ns: u64) {
        self.late.record(now_ns.saturating_sub(due_ns));
    }

    /// The message of this number, 1 or more, waits for its connection; counted once however often
    /// it is tried again.
    pub fn held(&mut self, message: u64) {
        if message != self.held_last {
            self.held_last = message;
            self.held_total += 1;
        }
    }

    /// How late all messages were.
    pub fn late(&self) -> &Histogram {
        &self.late
    }

    /// Messages that waited for their connections.
    pub fn held_total(&self) -> u64 {
        self.held_total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_the_due_time_and_is_never_negative() {
        let mut lag = Lag::new();
        for late_ns in 0..99 {
            lag.sent(1_000_000, 1_000_000 + late_ns);
        }
        lag.sent(1_000_000, 41_000_000);
        lag.sent(1_000_000, 999_999);
        assert!(lag.late().percentile_ms(500) < 0.000_1);
        assert!((lag.late().longest_ms() - 40.0).abs() < 1e-9);
    }

    #[test]
    fn a_message_that_waits_is_held_once() {
        let mut lag = Lag::new();
        for message in [7, 7, 7, 8] {
            lag.held(message);
        }
        assert_eq!(lag.held_total(), 2);
    }
}
