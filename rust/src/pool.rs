//! Body slots: blocks of one size in which message bodies cross to Python.
//!
//! Owns the blocks. The network thread takes them, the Python thread gives them back a batch at a
//! time; in steady state nothing is allocated and the blocks that moved last are used first, so
//! they are still in the cache. Never waits. Called by `conn` and `server`.

use crate::sync::{Arc, Mutex, lock};

/// A body in a pooled block.
#[derive(Debug)]
pub struct Slot {
    block: Box<[u8]>,
    bytes: usize,
}

impl Slot {
    /// The body.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.block[..self.bytes]
    }
}

/// Where the Python thread gives slots back.
#[derive(Debug, Default)]
pub struct SlotReturns {
    spent: Mutex<Vec<Slot>>,
}

impl SlotReturns {
    /// Takes back all of `spent`, leaving it empty with its capacity.
    pub fn give_back(&self, spent: &mut Vec<Slot>) {
        if !spent.is_empty() {
            lock(&self.spent).append(spent);
        }
    }
}

/// The taking side, owned by the network thread.
#[derive(Debug)]
pub struct SlotPool {
    returns: Arc<SlotReturns>,
    idle: Vec<Slot>,
    arrived: Vec<Slot>,
    made: usize,
    slots_max: usize,
    slot_bytes: usize,
}

impl SlotPool {
    /// A pool of at most `slots_max` blocks of `slot_bytes`, made on first need.
    #[must_use]
    pub fn new(slot_bytes: usize, slots_max: usize) -> Self {
        Self {
            returns: Arc::new(SlotReturns::default()),
            idle: Vec::new(),
            arrived: Vec::new(),
            made: 0,
            slots_max,
            slot_bytes,
        }
    }

    /// The other side.
    #[must_use]
    pub fn returns(&self) -> Arc<SlotReturns> {
        Arc::clone(&self.returns)
    }

    /// Bytes of a slot.
    #[must_use]
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Blocks in existence.
    #[must_use]
    pub fn made(&self) -> usize {
        self.made
    }

    /// Whether [`Self::store`] would succeed.
    #[inline]
    pub fn has_one(&mut self) -> bool {
        if !self.idle.is_empty() || self.made < self.slots_max {
            return true;
        }
        self.reclaim();
        !self.idle.is_empty()
    }

    /// Copies `body`, at most [`Self::slot_bytes`] long, into a slot; `None` when all are taken.
    #[inline]
    pub fn store(&mut self, body: &[u8]) -> Option<Slot> {
        let mut slot = match self.idle.pop() {
            Some(slot) => slot,
            None => self.take_slowly()?,
        };
        slot.block[..body.len()].copy_from_slice(body);
        slot.bytes = body.len();
        Some(slot)
    }

    /// Fetches what the other side gave back.
    pub fn reclaim(&mut self) {
        std::mem::swap(&mut *lock(&self.returns.spent), &mut self.arrived);
        self.idle.append(&mut self.arrived);
    }

    #[cold]
    fn take_slowly(&mut self) -> Option<Slot> {
        self.reclaim();
        if let Some(slot) = self.idle.pop() {
            return Some(slot);
        }
        if self.made == self.slots_max {
            return None;
        }
        self.made += 1;
        Some(Slot {
            block: vec![0; self.slot_bytes].into_boxed_slice(),
            bytes: 0,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn pool_stops_at_its_limit_and_goes_on_with_what_came_back() {
        let mut pool = SlotPool::new(8, 2);
        let returns = pool.returns();
        let first = pool.store(b"first").unwrap();
        let mut spent = vec![pool.store(b"second").unwrap()];
        assert!(!pool.has_one());
        assert!(pool.store(b"third").is_none());
        returns.give_back(&mut spent);
        assert!(spent.is_empty() && pool.has_one());
        assert_eq!(pool.store(b"3").unwrap().as_slice(), b"3");
        assert_eq!(first.as_slice(), b"first");
        assert_eq!(pool.made(), 2);
    }
}
