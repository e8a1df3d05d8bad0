//! A token bucket in eight bytes.
//!
//! Owns the arithmetic of one rate limit. Never reads a clock: time is an argument. Called by
//! `gate`, by the places of clients and by the sampling of log records.
//!
//! Kept as the moment at which the bucket would be full again (the "generic cell rate
//! algorithm", ITU-T I.371), which admits exactly what a bucket of tokens admits.

/// What one bucket allows, shared by all connections.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    token_ns: u64,
    burst_ns: u64,
}

impl Rate {
    /// Nothing, ever.
    pub const NONE: Self = Self {
        token_ns: u64::MAX,
        burst_ns: 0,
    };

    /// `per_s` tokens a second (above 0), at most `burst` (1 or more) at once.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn new(per_s: f64, burst: u64) -> Self {
        // The bounds keep every sum below far from a wrap, at rates that nobody configures.
        let token_ns = (1e9 / per_s).clamp(1.0, TOKEN_NS_MAX) as u64;
        let burst_ns = token_ns.saturating_mul(burst).min(BURST_NS_MAX);
        Self { token_ns, burst_ns }
    }
}

/// The state of one rate limit of one connection; starts full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// Takes `tokens` at `now_ns` when there are as many; otherwise takes none.
    #[inline]
    pub fn take(&mut self, rate: Rate, tokens: u64, now_ns: u64) -> bool {
        self.take_late(rate, tokens, now_ns, 0)
    }

    /// As [`Self::take`], from a bucket that went on filling over its burst for the last `slack_ns`
    /// in which nobody looked. Since the bucket was new, and it must be older than `slack_ns`, no
    /// more is taken than its burst and its rate for all that time.
    #[inline]
    pub fn take_late(&mut self, rate: Rate, tokens: u64, now_ns: u64, slack_ns: u64) -> bool {
        let begin = self.full_at_ns.max(now_ns.saturating_sub(slack_ns));
        let full_at = begin.saturating_add(rate.token_ns.saturating_mul(tokens));
        if full_at.saturating_sub(now_ns) > rate.burst_ns {
            return false;
        }
        self.full_at_ns = full_at;
        true
    }

    /// Whether nothing is missing at `now_ns`, so that a new bucket would do as well.
    #[must_use]
    pub fn is_full(&self, now_ns: u64) -> bool {
        self.full_at_ns <= now_ns
    }
}

/// Thirteen days.
const TOKEN_NS_MAX: f64 = (1u64 << 50) as f64;
const BURST_NS_MAX: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn bucket_admits_its_burst_then_its_rate() {
        let rate = Rate::new(10.0, 5);
        let mut bucket = Bucket::default();
        let start = 3 * SECOND_NS;
        assert_eq!((0..20).filter(|_| bucket.take(rate, 1, start)).count(), 5);
        assert!(!bucket.take(rate, 1, start + SECOND_NS / 10 - 1));
        assert!(!bucket.is_full(start + SECOND_NS / 2 - 1));
        assert!(bucket.is_full(start + SECOND_NS / 2));
        assert!(bucket.take(rate, 1, start + SECOND_NS / 10));
        let later = start + 100 * SECOND_NS;
        assert_eq!((0..20).filter(|_| bucket.take(rate, 1, later)).count(), 5);
    }

    #[test]
    fn bucket_that_nobody_looked_at_admits_its_rate_of_that_time_once() {
        let rate = Rate::new(10.0, 5);
        let (start, slack) = (3 * SECOND_NS, 2 * SECOND_NS);
        let late = start + slack;
        let mut full = Bucket::default();
        let took = |bucket: &mut Bucket| {
            let taken = (0..99).filter(|_| bucket.take_late(rate, 1, late, slack));
            taken.count()
        };
        assert_eq!(took(&mut full), 20 + 5);
        assert_eq!(took(&mut full), 0);
        // An empty one filled up first, and only what came after that ran over.
        let mut empty = Bucket::default();
        assert!(empty.take(rate, 5, start));
        assert_eq!(took(&mut empty), 20);
        assert!(!Bucket::default().take_late(Rate::NONE, 1, late, slack));
    }

    #[test]
    fn bucket_refuses_more_than_its_burst_at_once_and_survives_extremes() {
        let mut bucket = Bucket::default();
        assert!(!bucket.take(Rate::new(1000.0, 10), 11, 0));
        assert!(bucket.take(Rate::new(1000.0, 10), 10, 0));
        let slow = Rate::new(f64::MIN_POSITIVE, 1);
        let mut bucket = Bucket::default();
        assert!(bucket.take(slow, 1, 0));
        assert!(!bucket.take(slow, 1, 1 << 49));
        assert!(bucket.take(slow, 1, 1 << 50));
        assert!(!Bucket::default().take(Rate::new(1.0, 1), u64::MAX, 7));
    }
}
