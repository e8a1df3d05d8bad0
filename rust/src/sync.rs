//! The one switch between the real atomics and loom's model of them.
//!
//! Owns no logic. `queue`, `pool` and `wake` take their atomics, mutexes and queue from here, so
//! `RUSTFLAGS="--cfg loom"` checks the very code that runs.

#[cfg(not(loom))]
pub use crossbeam_queue::ArrayQueue;
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
pub use std::sync::{Arc, Mutex};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::{Arc, Mutex};

/// A model of `crossbeam_queue::ArrayQueue` with its guarantees and no more: a length read
/// without a fence may be old.
#[cfg(loom)]
pub struct ArrayQueue<T> {
    items: Mutex<std::collections::VecDeque<T>>,
    length: AtomicUsize,
    capacity: usize,
}

#[cfg(loom)]
impl<T> ArrayQueue<T> {
    /// A queue of `capacity` items.
    pub fn new(capacity: usize) -> Self {
        let items = Mutex::new(std::collections::VecDeque::new());
        Self {
            items,
            length: AtomicUsize::new(0),
            capacity,
        }
    }

    /// Adds at the back, or hands the value back when full.
    pub fn push(&self, value: T) -> Result<(), T> {
        let mut items = lock(&self.items);
        if items.len() == self.capacity {
            return Err(value);
        }
        items.push_back(value);
        self.length.store(items.len(), Ordering::Release);
        Ok(())
    }

    /// Takes from the front.
    pub fn pop(&self) -> Option<T> {
        let mut items = lock(&self.items);
        let value = items.pop_front();
        self.length.store(items.len(), Ordering::Release);
        value
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.length.load(Ordering::Acquire)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Locks, going on with the value when another holder panicked: no state here is left half-made
/// by a panic, and in release a panic ends the process.
#[cfg(not(loom))]
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Locks in the model.
#[cfg(loom)]
pub fn lock<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
