//! The receive ring of a connection, and the pool it comes from.
//!
//! Owns bytes of a frame that has begun and not ended, or that back-pressure holds. A connection
//! without such bytes holds no ring. Never reads a socket. Called by `conn` and `peer`, on one
//! thread.

/// Bytes in the order they arrived, contiguous, in a fixed block: what is consumed at the front
/// makes room at the back by one move, which happens at most once a read.
#[derive(Debug)]
pub struct Ring {
    block: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl Ring {
    /// An empty ring of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            block: vec![0; bytes].into_boxed_slice(),
            begin: 0,
            end: 0,
        }
    }

    /// What has arrived and is not consumed.
    #[must_use]
    pub fn readable(&self) -> &[u8] {
        &self.block[self.begin..self.end]
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// The room behind the held bytes, after moving them to the front.
    pub fn room(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.block.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        &mut self.block[self.end..]
    }

    /// Notes that `bytes` of [`Self::room`] were filled.
    pub fn fill(&mut self, bytes: usize) {
        assert!(
            bytes <= self.block.len() - self.end,
            "more filled than there was room"
        );
        self.end += bytes;
    }

    /// Forgets `bytes` at the front.
    pub fn consume(&mut self, bytes: usize) {
        assert!(
            bytes <= self.end - self.begin,
            "more consumed than was held"
        );
        self.begin += bytes;
        if self.begin == self.end {
            self.begin = 0;
            self.end = 0;
        }
    }

    /// Copies `bytes` in; they must fit.
    pub fn hold(&mut self, bytes: &[u8]) {
        self.room()[..bytes.len()].copy_from_slice(bytes);
        self.fill(bytes.len());
    }
}

/// A bounded pool of rings of one size; a ring is made on first need and kept for reuse.
#[derive(Debug)]
pub struct RingPool {
    idle: Vec<Ring>,
    ring_bytes: usize,
    lent: usize,
    rings_max: usize,
}

impl RingPool {
    /// A pool that lends at most `rings_max` rings of `ring_bytes`.
    #[must_use]
    pub fn new(ring_bytes: usize, rings_max: usize) -> Self {
        Self {
            idle: Vec::new(),
            ring_bytes,
            lent: 0,
            rings_max,
        }
    }

    /// Whether [`Self::take`] would give one.
    #[must_use]
    pub fn has_one(&self) -> bool {
        self.lent < self.rings_max
    }

    /// Bytes of each ring.
    #[must_use]
    pub fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    /// How many rings are lent.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// An empty ring, or `None` when all are lent.
    pub fn take(&mut self) -> Option<Ring> {
        if !self.has_one() {
            return None;
        }
        self.lent += 1;
        Some(
            self.idle
                .pop()
                .unwrap_or_else(|| Ring::new(self.ring_bytes)),
        )
    }

    /// Takes a ring back and forgets its bytes.
    pub fn give_back(&mut self, mut ring: Ring) {
        self.lent -= 1;
        ring.begin = 0;
        ring.end = 0;
        if self.idle.len() < IDLE_RINGS_MAX {
            self.idle.push(ring);
        }
    }
}

/// Rings kept for reuse; more than this at once is a burst whose memory is given back.
const IDLE_RINGS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_keeps_order_over_moves() {
        let mut ring = Ring::new(8);
        ring.hold(b"abcdef");
        ring.consume(4);
        ring.hold(b"ghijkl");
        assert_eq!(ring.readable(), b"efghijkl");
        assert!(ring.room().is_empty());
        ring.consume(8);
        assert!(ring.is_empty());
        assert_eq!(ring.room().len(), 8);
    }

    #[test]
    fn pool_lends_its_limit_and_no_ring_shows_old_bytes() {
        let mut pool = RingPool::new(8, 2);
        let mut first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert!(pool.take().is_none() && !pool.has_one());
        first.hold(b"secret");
        pool.give_back(first);
        assert!(pool.take().unwrap().readable().is_empty());
        pool.give_back(second);
        assert_eq!(pool.lent(), 1);
    }
}
