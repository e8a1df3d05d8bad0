//! Hand-over between the network thread and the Python thread, both ways.
//!
//! Owns the bounded inbound queue with its water marks and reserved room, and the outbound
//! mailbox. Never touches a socket or an interpreter. `conn` pushes and takes mail, `server` pops
//! and posts.

use crate::pool::Slot;
use crate::sync::{ArrayQueue, AtomicBool, AtomicUsize, Mutex, Ordering, fence, lock};

/// The body of an event.
#[derive(Debug)]
pub enum Body {
    /// No bytes.
    Empty,
    /// A pooled slot.
    Slot(Slot),
    /// A block of its own: longer than a slot, or of a rare event.
    Heap(Box<[u8]>),
}

impl Body {
    /// The bytes.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Slot(slot) => slot.as_slice(),
            Self::Heap(bytes) => bytes,
        }
    }
}

/// One thing that happened, on its way to Python.
#[derive(Debug)]
pub struct Event {
    /// Connection id as it crosses the seam.
    pub conn: i64,
    /// User id, server number of a link, or 0.
    pub user: i64,
    /// The peer's own number, or a close reason.
    pub seq: u32,
    /// What it is.
    pub opcode: u16,
    /// Whether this is a lifecycle event, which uses reserved room.
    pub is_lifecycle: bool,
    /// The message.
    pub body: Body,
}

/// Water marks and room of the inbound queue.
#[derive(Clone, Copy, Debug)]
pub struct InboundLimits {
    /// Messages it can hold.
    pub events_max: usize,
    /// Readers stop at so many.
    pub high_water: usize,
    /// Readers go on at so few.
    pub low_water: usize,
    /// Room kept for lifecycle events, one of it for STOPPED.
    pub lifecycle_max: usize,
}

/// The bounded queue towards Python.
pub struct Inbound {
    events: ArrayQueue<Event>,
    limits: InboundLimits,
    lifecycle_held: AtomicUsize,
    readers_wait: AtomicBool,
}

impl Inbound {
    /// An empty queue.
    #[must_use]
    pub fn new(limits: InboundLimits) -> Self {
        Self {
            events: ArrayQueue::new(limits.events_max + limits.lifecycle_max),
            limits,
            // Room for STOPPED, which nobody reserves and which must come in last.
            lifecycle_held: AtomicUsize::new(1),
            readers_wait: AtomicBool::new(false),
        }
    }

    /// How many events wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.events.len()
    }

    /// Whether no event waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many messages readers may push before the high water mark.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.limits.high_water.saturating_sub(self.events.len())
    }

    /// Reserves room for `count` lifecycle events that will come; `false` when there is none.
    /// Each is released when it is popped.
    pub fn reserve_lifecycle(&self, count: usize) -> bool {
        // Only the network thread reserves, so nothing can take the room in between.
        let held = self.lifecycle_held.load(Ordering::Acquire);
        if held + count > self.limits.lifecycle_max {
            return false;
        }
        self.lifecycle_held.fetch_add(count, Ordering::AcqRel);
        true
    }

    /// Whether [`Self::reserve_lifecycle`] would succeed.
    #[must_use]
    pub fn has_lifecycle(&self, count: usize) -> bool {
        self.lifecycle_held.load(Ordering::Acquire) + count <= self.limits.lifecycle_max
    }

    /// Gives back reserved room of a lifecycle event that will not come.
    pub fn release_lifecycle(&self, count: usize) {
        self.lifecycle_held.fetch_sub(count, Ordering::AcqRel);
    }

    /// Adds an event, for which [`Self::room`] or [`Self::reserve_lifecycle`] was asked before.
    #[inline]
    pub fn push(&self, event: Event) {
        let pushed = self.events.push(event);
        assert!(
            pushed.is_ok(),
            "the inbound queue has room for all that was reserved"
        );
    }

    /// Takes the oldest event.
    #[inline]
    pub fn pop(&self) -> Option<Event> {
        let event = self.events.pop()?;
        if event.is_lifecycle {
            self.lifecycle_held.fetch_sub(1, Ordering::AcqRel);
        }
        Some(event)
    }

    /// A reader stops: asks for a wake at low water. `false` when there is room by now, so that
    /// it need not stop.
    pub fn stop_reading(&self, has_room: impl FnOnce() -> bool) -> bool {
        self.readers_wait.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !has_room()
    }

    /// The consumer made room: whether readers are to be woken, once for all that stopped.
    #[inline]
    pub fn resume_reading(&self) -> bool {
        fence(Ordering::SeqCst);
        self.readers_wait.load(Ordering::Relaxed)
            && self.events.len() <= self.limits.low_water
            && self.readers_wait.swap(false, Ordering::AcqRel)
    }
}

/// A box of things posted by one thread and taken by another all at once.
///
/// The poster fills a box of its own and swaps it in, the taker swaps an empty one back, so the
/// lock is held for a few instructions and both boxes keep their capacity.
#[derive(Debug, Default)]
pub struct Mailbox<T> {
    full: AtomicBool,
    mail: Mutex<T>,
}

impl<T> Mailbox<T> {
    /// An empty mailbox around an empty box.
    pub fn new(empty: T) -> Self {
        Self {
            full: AtomicBool::new(false),
            mail: Mutex::new(empty),
        }
    }

    /// Whether mail waits.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Lets `fill` add to the box.
    pub fn post(&self, fill: impl FnOnce(&mut T)) {
        let mut mail = lock(&self.mail);
        fill(&mut mail);
        self.full.store(true, Ordering::Release);
    }

    /// Swaps the box with `empty` when mail waits.
    pub fn take(&self, empty: &mut T) -> bool {
        if !self.has_mail() {
            return false;
        }
        let mut mail = lock(&self.mail);
        self.full.store(false, Ordering::Release);
        std::mem::swap(&mut *mail, empty);
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn event(is_lifecycle: bool) -> Event {
        Event {
            conn: 1,
            user: 0,
            seq: 0,
            opcode: 500,
            is_lifecycle,
            body: Body::Empty,
        }
    }

    #[test]
    fn lifecycle_has_room_when_messages_have_none() {
        let limits = InboundLimits {
            events_max: 2,
            high_water: 2,
            low_water: 1,
            lifecycle_max: 3,
        };
        let inbound = Inbound::new(limits);
        assert!(inbound.reserve_lifecycle(2) && !inbound.reserve_lifecycle(1));
        inbound.push(event(false));
        inbound.push(event(false));
        assert_eq!(inbound.room(), 0);
        inbound.push(event(true));
        inbound.push(event(true));
        // STOPPED has its room without asking.
        inbound.push(event(true));
        assert_eq!(inbound.waiting(), 5);
        assert!(inbound.stop_reading(|| inbound.room() > 0));
        assert!(!inbound.resume_reading());
        while inbound.pop().is_some() {}
        assert!(inbound.resume_reading() && !inbound.resume_reading());
        assert!(inbound.reserve_lifecycle(2));
    }

    #[test]
    fn mailbox_gives_everything_once() {
        let mailbox = Mailbox::new(Vec::new());
        let mut taken = Vec::new();
        assert!(!mailbox.take(&mut taken));
        mailbox.post(|mail| mail.push(1));
        mailbox.post(|mail| mail.push(2));
        assert!(mailbox.take(&mut taken) && !mailbox.has_mail());
        assert_eq!(taken, [1, 2]);
    }
}
