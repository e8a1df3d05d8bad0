//! Waking the other thread, only when it said that it sleeps.
//!
//! Owns the sleeping flag and the eventfd. Never carries data: that is in `queue`. The producer
//! calls [`Wake::ring`] after it published; the consumer calls [`Wake::sleep`] when it found
//! nothing more. A fence on both sides makes it impossible that the producer sees "awake" while
//! the consumer sees "empty".

use std::os::fd::{AsRawFd, RawFd};

use crate::sync::{AtomicBool, Ordering, fence};

/// How a sleeper is woken.
pub trait Signal {
    /// Wakes it, now or when it goes to sleep next.
    fn raise(&self);
    /// Takes the signal back before sleeping.
    fn clear(&self);
}

/// One sleeper and the signal that wakes it.
#[derive(Debug)]
pub struct Wake<S> {
    sleeping: AtomicBool,
    signal: S,
}

impl<S: Signal> Wake<S> {
    /// A sleeper that sleeps from the start.
    pub fn new(signal: S) -> Self {
        Self {
            sleeping: AtomicBool::new(true),
            signal,
        }
    }

    /// The signal.
    pub fn signal(&self) -> &S {
        &self.signal
    }

    /// Producer: something was published; wake the consumer if it sleeps. Says whether it did.
    #[inline]
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            self.signal.raise();
            return true;
        }
        false
    }

    /// Consumer: nothing found, going to sleep. `has_work` looks once more, after the flag is up.
    pub fn sleep(&self, has_work: impl FnOnce() -> bool) {
        self.signal.clear();
        // Whoever takes the flag down raises the signal after it was cleared here. A swap, like
        // there, so that each takes down the flag of the one sleep that it saw.
        self.sleeping.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if has_work() && self.sleeping.swap(false, Ordering::AcqRel) {
            self.signal.raise();
        }
    }

    /// Consumer: awake for another reason; producers need not signal.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }
}

/// An eventfd, readable while raised.
#[derive(Debug)]
pub struct EventSignal(nix::sys::eventfd::EventFd);

impl EventSignal {
    /// A lowered eventfd, non-blocking and closed on exec.
    ///
    /// # Errors
    /// What the system says when it gives no descriptor.
    pub fn new() -> std::io::Result<Self> {
        use nix::sys::eventfd::{EfdFlags, EventFd};
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }
}

impl Signal for EventSignal {
    fn raise(&self) {
        // Fails only when the counter is full, and then it is readable already.
        let _ = self.0.write(1);
    }

    fn clear(&self) {
        // Fails only when the counter is zero, and then it is clear already.
        let _ = self.0.read();
    }
}

impl AsRawFd for EventSignal {
    fn as_raw_fd(&self) -> RawFd {
        use std::os::fd::AsFd;
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[derive(Default)]
    struct Count(Cell<i32>);

    impl Signal for Count {
        fn raise(&self) {
            self.0.set(self.0.get() + 1);
        }
        fn clear(&self) {
            self.0.set(0);
        }
    }

    #[test]
    fn ring_signals_once_until_the_sleeper_sleeps_again() {
        let wake = Wake::new(Count::default());
        assert!(wake.ring() && !wake.ring());
        assert_eq!(wake.signal().0.get(), 1);
        wake.sleep(|| false);
        assert_eq!(wake.signal().0.get(), 0);
        assert!(wake.ring());
        wake.sleep(|| true);
        assert_eq!(
            wake.signal().0.get(),
            1,
            "work seen on the way to sleep keeps it raised"
        );
    }
}
