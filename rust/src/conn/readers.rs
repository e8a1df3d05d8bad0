//! Readers that stop for want of room, and the rings that they wait for.
//!
//! Owns who waits and whom an empty pool of rings costs his connection. Never reads. Called by the
//! tasks of connections and by the passes and ticks of [`super::net`].

use std::rc::Rc;
use std::task::Waker;

use crate::conn::net::Net;
use crate::error::CloseReason;
use crate::ring::Ring;

impl Net {
    pub(super) fn give_back_ring(&self, ring: Ring) {
        let mut rings = self.rings.borrow_mut();
        let was_empty = !rings.has_one();
        rings.give_back(ring);
        self.stats().rings_lent.set(rings.lent() as u64);
        drop(rings);
        if was_empty {
            self.wake_readers();
        }
    }

    /// A reader stops for want of room; it is woken when there may be some.
    pub(super) fn stop_reader(&self, waker: &Waker) {
        self.stopped_readers.borrow_mut().push(waker.clone());
    }

    /// Every ring is lent and one is wanted: ends the client whose frame is incomplete for longest.
    pub(super) fn seek_ring(&self) {
        if self.ring_sought.replace(true) {
            return;
        }
        let oldest = {
            let registry = self.registry.borrow();
            let holders = registry
                .iter()
                .filter_map(|holder| Some((holder.lends_since_ns()?, holder)));
            let oldest = holders.min_by_key(|(since_ns, _)| *since_ns);
            oldest.map(|(_, holder)| Rc::clone(holder))
        };
        if let Some(oldest) = oldest {
            oldest.begin_close(self, CloseReason::FrameTimeout);
        }
    }

    pub(super) fn wake_readers(&self) {
        self.ring_sought.set(false);
        let stopped = std::mem::take(&mut *self.stopped_readers.borrow_mut());
        for waker in stopped {
            waker.wake();
        }
    }

    /// Seeks once more at a tick: who was held back here before may be the one to blame by now.
    pub(super) fn seek_ring_again(&self) {
        let is_sought = self.ring_sought.get() && !self.rings.borrow().has_one();
        if is_sought && self.crossing.inbound.room() > 0 {
            self.ring_sought.set(false);
            self.seek_ring();
        }
    }
}
