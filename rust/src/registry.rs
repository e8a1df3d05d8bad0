//! Live connections by id, seen from both threads.
//!
//! Owns slots and their generations. The network thread's [`Registry`] holds the connections, the
//! Python thread's [`Sender`] knows which ids live and how much waits for each; between them are
//! only the atomics of [`Slots`]. Sans-IO. Called by `conn` and `server`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::frame::{HEADER_BYTES, LENGTH_BYTES, encode};
use crate::ids::ConnId;

/// What both threads see of one slot.
#[derive(Debug, Default)]
struct Slot {
    /// Id of the live connection; 0: none.
    live: AtomicU64,
    /// Bytes posted by the sender that wait no more. Written by the network thread.
    released: AtomicU64,
    /// Until when lossy messages may leave as datagrams, in the core's clock; 0: not.
    datagram_until_ns: AtomicU64,
    is_link: AtomicBool,
}

/// The slots of all connections that can exist at once.
#[derive(Debug)]
pub struct Slots(Box<[Slot]>);

impl Slots {
    /// `count` free slots.
    #[must_use]
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self((0..count).map(|_| Slot::default()).collect()))
    }

    fn live(&self, id: ConnId) -> Option<&Slot> {
        let slot = self.0.get(id.slot())?;
        // A slot without a connection says 0, and so does whoever names none.
        let is_live = id.as_u64() != 0 && slot.live.load(Ordering::Acquire) == id.as_u64();
        is_live.then_some(slot)
    }

    /// Network thread: bytes posted for `id` since it opened that do not wait any more.
    pub fn release(&self, id: ConnId, bytes_total: u64) {
        self.0[id.slot()]
            .released
            .store(bytes_total, Ordering::Release);
    }

    /// Network thread: lossy messages to `id` may leave as datagrams until then.
    pub fn set_datagram_until(&self, id: ConnId, until_ns: u64) {
        self.0[id.slot()]
            .datagram_until_ns
            .store(until_ns, Ordering::Release);
    }

    /// Whether lossy messages to `id` may leave as datagrams at `now_ns`.
    #[must_use]
    pub fn takes_datagrams(&self, id: ConnId, now_ns: u64) -> bool {
        self.live(id)
            .is_some_and(|slot| slot.datagram_until_ns.load(Ordering::Acquire) > now_ns)
    }
}

/// The network thread's connections.
#[derive(Debug)]
pub struct Registry<T> {
    slots: Arc<Slots>,
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    live: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    connection: Option<T>,
}

impl<T> Registry<T> {
    /// A registry over `slots`.
    #[must_use]
    pub fn new(slots: Arc<Slots>) -> Self {
        Self {
            slots,
            entries: Vec::new(),
            free: Vec::new(),
            live: 0,
        }
    }

    /// How many connections live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Opens a connection made for the id it gets; `None` when no slot is free.
    pub fn open(&mut self, is_link: bool, make: impl FnOnce(ConnId) -> T) -> Option<ConnId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.grow()?,
        };
        let entry = &mut self.entries[index as usize];
        let id = ConnId::new(index, entry.generation);
        entry.connection = Some(make(id));
        let slot = &self.slots.0[index as usize];
        slot.released.store(0, Ordering::Relaxed);
        slot.datagram_until_ns.store(0, Ordering::Relaxed);
        slot.is_link.store(is_link, Ordering::Relaxed);
        slot.live.store(id.as_u64(), Ordering::Release);
        self.live += 1;
        Some(id)
    }

    /// The connection of `id`, if it lives.
    #[inline]
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.entries.get(id.slot())?;
        let is_current = ConnId::new(u32::try_from(id.slot()).ok()?, entry.generation) == id;
        entry.connection.as_ref().filter(|_| is_current)
    }

    /// Ends `id`; its slot goes to the next connection under another generation.
    pub fn close(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        let index = id.slot();
        self.slots.0[index].live.store(0, Ordering::Release);
        let entry = &mut self.entries[index];
        self.live -= 1;
        // A slot whose generations are used up is never used again: ids stay unique.
        if let Some(next) = entry.generation.checked_add(1) {
            entry.generation = next;
            self.free.push(u32::try_from(index).ok()?);
        }
        entry.connection.take()
    }

    /// All live connections.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries
            .iter()
            .filter_map(|entry| entry.connection.as_ref())
    }

    fn grow(&mut self) -> Option<u32> {
        let index = u32::try_from(self.entries.len()).ok()?;
        if self.entries.len() == self.slots.0.len() {
            return None;
        }
        self.entries.push(Entry {
            generation: 1,
            connection: None,
        });
        Some(index)
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The connection is gone or closing.
    Gone,
    /// More would wait for it than may; it is to be closed now.
    Full,
}

/// The Python thread's view: which ids it may send to, and how much waits for each.
#[derive(Debug)]
pub struct Sender {
    slots: Arc<Slots>,
    seen: Vec<Seen>,
    client_bytes_max: u64,
    link_bytes_max: u64,
}

/// What this thread posted for the connection that it last saw in a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    id: u64,
    posted: u64,
    closing: bool,
}

impl Sender {
    /// A view of `slots` with the two outbox limits.
    #[must_use]
    pub fn new(slots: Arc<Slots>, client_bytes_max: u64, link_bytes_max: u64) -> Self {
        let seen = vec![Seen::default(); slots.0.len()];
        Self {
            slots,
            seen,
            client_bytes_max,
            link_bytes_max,
        }
    }

    /// Counts a frame with `body_bytes` for `id`.
    ///
    /// # Errors
    /// Why it may not be posted.
    #[inline]
    pub fn count(&mut self, id: ConnId, body_bytes: usize) -> Result<(), Refusal> {
        let slot = self.slots.live(id).ok_or(Refusal::Gone)?;
        let seen = &mut self.seen[id.slot()];
        if seen.id != id.as_u64() {
            *seen = Seen {
                id: id.as_u64(),
                posted: 0,
                closing: false,
            };
        }
        if seen.closing {
            return Err(Refusal::Gone);
        }
        let is_link = slot.is_link.load(Ordering::Relaxed);
        let bytes_max = if is_link {
            self.link_bytes_max
        } else {
            self.client_bytes_max
        };
        let posted = seen.posted + (HEADER_BYTES + body_bytes) as u64;
        if posted.saturating_sub(slot.released.load(Ordering::Acquire)) > bytes_max {
            seen.closing = true;
            return Err(Refusal::Full);
        }
        seen.posted = posted;
        Ok(())
    }

    /// Notes that nothing more may be posted for `id`; `false` when that was so before.
    pub fn shut(&mut self, id: ConnId) -> bool {
        if self.slots.live(id).is_none() {
            return false;
        }
        let seen = &mut self.seen[id.slot()];
        if seen.id != id.as_u64() {
            *seen = Seen {
                id: id.as_u64(),
                posted: 0,
                closing: false,
            };
        }
        !std::mem::replace(&mut seen.closing, true)
    }

    /// Whether `id` lives and may be sent to.
    #[must_use]
    pub fn is_live(&self, id: ConnId) -> bool {
        let Some(seen) = self.seen.get(id.slot()) else {
            return false;
        };
        self.slots.live(id).is_some() && !(seen.id == id.as_u64() && seen.closing)
    }
}

/// What the Python thread asks of the network thread, in order.
#[derive(Debug)]
pub enum Command {
    /// The next `bytes` of the post's frames go to this connection.
    Send(ConnId, usize),
    /// One frame for many.
    Share(Vec<ConnId>, Arc<[u8]>),
    /// Flush and close with this reason number.
    Close(ConnId, crate::error::CloseReason),
    /// The node vouches for a user, or for none.
    SetUser(ConnId, i64),
    /// Something rare, for `server`.
    Order(Box<Order>),
}

/// Rare requests.
#[derive(Debug)]
pub enum Order {
    /// Keep a link to this server number at this address.
    Dial(u16, String),
    /// Stop keeping it.
    Undial(u16),
    /// A datagram identity for a connection in a room.
    DatagramKey(ConnId, u32, u64, [u8; 16]),
    /// One lossy body for those who proved an address.
    Lossy(Vec<ConnId>, u16, Vec<u8>),
    /// Stop within so many milliseconds.
    Stop(u64),
}

/// A batch of commands with the bytes they send.
#[derive(Debug, Default)]
pub struct Post {
    /// Whole frames, one after the other.
    pub frames: Vec<u8>,
    /// What to do, in order.
    pub commands: Vec<Command>,
}

impl Post {
    /// Adds a frame for `id`; frames in a row for one connection become one command.
    #[inline]
    pub fn add_frame(&mut self, id: ConnId, opcode: u16, seq: u32, body: &[u8]) -> bool {
        let before = self.frames.len();
        if !encode(&mut self.frames, opcode, seq, body) {
            return false;
        }
        let bytes = self.frames.len() - before;
        debug_assert!(bytes >= LENGTH_BYTES);
        match self.commands.last_mut() {
            Some(Command::Send(last, length)) if *last == id => *length += bytes,
            _ => self.commands.push(Command::Send(id, bytes)),
        }
        true
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Moves all of `other` behind what is here.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        self.frames.append(&mut other.frames);
        self.commands.append(&mut other.commands);
    }

    /// Empties it, keeping a sensible capacity.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.frames.shrink_to(KEPT_BYTES_MAX);
        self.commands.clear();
    }
}

const KEPT_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_reply_to_a_gone_connection_does_not_reach_the_next_in_its_slot() {
        let slots = Slots::new(1);
        let mut registry = Registry::new(Arc::clone(&slots));
        let mut sender = Sender::new(slots, 100, 100);
        let first = registry.open(false, |_| "first").unwrap();
        assert!(registry.open(false, |_| "none").is_none());
        assert_eq!(sender.count(first, 80), Ok(()));
        assert_eq!(registry.close(first), Some("first"));
        assert_eq!(registry.close(first), None);
        let second = registry.open(false, |_| "second").unwrap();
        assert_eq!(first.slot(), second.slot());
        assert_eq!(sender.count(first, 1), Err(Refusal::Gone));
        assert!(registry.get(first).is_none());
        assert_eq!(
            sender.count(second, 90),
            Ok(()),
            "nothing of the first is left"
        );
        assert_eq!(sender.count(second, 0), Err(Refusal::Full));
        assert_eq!(sender.count(second, 0), Err(Refusal::Gone));
    }

    #[test]
    fn nobody_is_sent_to_under_0_while_the_slot_is_free() {
        let slots = Slots::new(1);
        let mut registry = Registry::new(Arc::clone(&slots));
        let mut sender = Sender::new(Arc::clone(&slots), 100, 100);
        let none = ConnId::from_i64(0);
        assert_eq!(sender.count(none, 0), Err(Refusal::Gone));
        assert!(!sender.is_live(none) && !sender.shut(none));
        let only = registry.open(false, |_| ()).unwrap();
        slots.set_datagram_until(only, 9);
        registry.close(only);
        assert_eq!(sender.count(none, 0), Err(Refusal::Gone));
        assert!(!slots.takes_datagrams(none, 0));
    }

    #[test]
    fn sender_goes_on_when_bytes_were_released() {
        let slots = Slots::new(2);
        let mut registry = Registry::new(Arc::clone(&slots));
        let mut sender = Sender::new(Arc::clone(&slots), 20, 50);
        let client = registry.open(false, |_| ()).unwrap();
        let link = registry.open(true, |_| ()).unwrap();
        assert_eq!(sender.count(client, 10), Ok(()));
        slots.release(client, 20);
        assert_eq!(sender.count(client, 10), Ok(()));
        assert_eq!(sender.count(link, 40), Ok(()));
        assert!(sender.shut(client) && !sender.shut(client));
        assert_eq!(sender.count(client, 0), Err(Refusal::Gone));
        assert_eq!(sender.count(ConnId::from_i64(-5), 0), Err(Refusal::Gone));
        assert_eq!(sender.count(ConnId::from_i64(0), 0), Err(Refusal::Gone));
    }
}
