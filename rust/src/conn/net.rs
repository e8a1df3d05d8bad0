//! What all connections of a node share on the network thread, and the pass that moves mail.
//!
//! Owns pools and the registry of one core. Never waits. Called by every task of the network
//! thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::bucket::Bucket;
use crate::config::Settings;
use crate::conn::crossing::Crossing;
use crate::conn::places::Places;
use crate::conn::{Connection, Peer};
use crate::error::{CloseReason, CoreError};
use crate::gate::{Gate, GateRules};
use crate::ids::{ConnId, opcode};
use crate::outbox::{Outbox, OutboxPool};
use crate::pool::SlotPool;
use crate::queue::{Body, Event};
use crate::registry::{Command, Order, Post, Registry, Slots};
use crate::ring::RingPool;
use crate::stats::{Record, Stats};

/// Everything of one core that lives on the network thread.
pub struct Net {
    /// What the other thread sees too.
    pub crossing: Arc<Crossing>,
    /// What was configured.
    pub settings: Settings,
    rules: GateRules,
    pub(super) registry: RefCell<Registry<Rc<Connection>>>,
    pub(super) rings: RefCell<RingPool>,
    pub(super) bodies: RefCell<SlotPool>,
    pub(super) scratch: RefCell<Box<[u8]>>,
    outboxes: RefCell<OutboxPool>,
    pub(super) stopped_readers: RefCell<Vec<Waker>>,
    /// Someone was ended for his ring, or nobody could be, since readers were last woken.
    pub(super) ring_sought: Cell<bool>,
    dirty: RefCell<Vec<Rc<Connection>>>,
    post: RefCell<Post>,
    orders: RefCell<VecDeque<Order>>,
    order_came: Notify,
    /// Told whenever a connection slot may have become free, or a link went down.
    pub freed: Rc<Notify>,
    /// The places of clients.
    pub places: Rc<Places>,
    check_at_ns: RefCell<Vec<u64>>,
    since_pass: Cell<usize>,
    record_bucket: RefCell<Bucket>,
    pub(super) lingering: Cell<usize>,
    stopping: Cell<bool>,
}

impl Net {
    /// The network side of `crossing`.
    ///
    /// # Errors
    /// When a token key is unusable.
    pub fn new(
        settings: Settings,
        crossing: Arc<Crossing>,
        bodies: SlotPool,
    ) -> Result<Self, CoreError> {
        let freed = Rc::new(Notify::new());
        let places = Places::new(&settings, Arc::clone(&crossing), Rc::clone(&freed));
        Ok(Self {
            rules: GateRules::new(&settings)?,
            registry: RefCell::new(Registry::new(Arc::clone(&crossing.slots))),
            rings: RefCell::new(RingPool::new(
                settings.ring_bytes as usize,
                settings.rings_max as usize,
            )),
            bodies: RefCell::new(bodies),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            outboxes: RefCell::default(),
            stopped_readers: RefCell::default(),
            ring_sought: Cell::new(false),
            dirty: RefCell::default(),
            post: RefCell::default(),
            orders: RefCell::default(),
            order_came: Notify::new(),
            freed,
            places: Rc::new(places),
            check_at_ns: RefCell::default(),
            since_pass: Cell::new(0),
            record_bucket: RefCell::default(),
            lingering: Cell::new(0),
            stopping: Cell::new(false),
            crossing,
            settings,
        })
    }

    /// The rules of the gate.
    #[inline]
    #[must_use]
    pub fn rules(&self) -> &GateRules {
        &self.rules
    }

    /// The counters.
    #[inline]
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.crossing.stats
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.crossing.slots
    }

    /// The core's clock.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.crossing.now_ns()
    }

    /// Whether the core accepts and reads no more.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(super) fn close_flush_ns(&self) -> u64 {
        self.settings.close_flush_ms * NS_PER_MS
    }

    pub(super) fn frame_ns(&self) -> u64 {
        self.settings.frame_ms * NS_PER_MS
    }

    pub(super) fn heartbeat_ns(&self) -> u64 {
        self.settings.heartbeat_ms * NS_PER_MS
    }

    /// Keeps a log record, if sampling allows.
    pub fn record(&self, conn: i64, text: impl FnOnce() -> String) {
        let bucket = &mut *self.record_bucket.borrow_mut();
        self.crossing
            .records
            .add(bucket, self.crossing.now_ns(), self.stats(), || Record {
                unix_ms: unix_ms(),
                conn,
                text: text(),
            });
    }

    /// Registers a connection and emits its first event. Room for its two lifecycle events was
    /// reserved before. `None` when no slot is free.
    pub fn open(
        &self,
        peer: Peer,
        gate: Gate,
        writer: Option<tokio::net::tcp::OwnedWriteHalf>,
        first: (u16, String),
    ) -> Option<Rc<Connection>> {
        let is_link = matches!(peer, Peer::Server);
        let user = gate.user();
        let mut registry = self.registry.borrow_mut();
        let id = registry.open(is_link, |id| {
            Rc::new(Connection::new(id, peer, gate, writer))
        })?;
        let connection = Rc::clone(registry.get(id)?);
        drop(registry);
        let stats = self.stats();
        if is_link {
            stats.links.add(1);
        } else {
            stats.connections.add(1);
        }
        self.check_soon(id);
        let (opcode, text) = first;
        self.tell(
            id,
            user,
            opcode,
            0,
            Body::Heap(text.into_bytes().into_boxed_slice()),
        );
        Some(connection)
    }

    /// Emits the last event of a connection and frees its slot, once.
    pub fn end(&self, connection: &Connection) {
        if connection.ended.replace(true) {
            return;
        }
        self.registry.borrow_mut().close(connection.id);
        let reason = connection.closing.get().unwrap_or(CloseReason::IoError);
        let stats = self.stats();
        stats.closed(reason);
        let user = connection.user();
        let opcode = match &connection.peer {
            Peer::Server => {
                stats.links.set(stats.links.get() - 1);
                opcode::PEER_DOWN
            }
            Peer::Client(_) => {
                stats.connections.set(stats.connections.get() - 1);
                opcode::CLOSED
            }
        };
        if reason != CloseReason::PeerClosed {
            self.record(connection.id.as_i64(), || {
                format!("closed {}", reason.name())
            });
        }
        self.tell(
            connection.id,
            user,
            opcode,
            u32::from(reason.number()),
            Body::Empty,
        );
        self.freed.notify_waiters();
    }

    fn tell(&self, id: ConnId, user: i64, opcode: u16, seq: u32, body: Body) {
        let is_lifecycle = true;
        let conn = id.as_i64();
        self.crossing.inbound.push(Event {
            conn,
            user,
            seq,
            opcode,
            is_lifecycle,
            body,
        });
    }

    /// Emits the very last event.
    pub fn tell_stopped(&self) {
        let (opcode, body) = (opcode::STOPPED, Body::Empty);
        let event = Event {
            conn: 0,
            user: 0,
            seq: 0,
            opcode,
            is_lifecycle: true,
            body,
        };
        self.crossing.inbound.push(event);
        self.crossing.python.ring();
    }

    pub(super) fn take_outbox(&self) -> Box<Outbox> {
        self.outboxes.borrow_mut().take()
    }

    pub(super) fn give_back_outbox(&self, outbox: Box<Outbox>) {
        self.outboxes.borrow_mut().give_back(outbox);
    }

    pub(super) fn note_dirty(&self, connection: &Rc<Connection>) {
        self.dirty.borrow_mut().push(Rc::clone(connection));
    }

    /// Has the sweep look at this connection at its next tick.
    pub(super) fn check_soon(&self, id: ConnId) {
        let mut check_at_ns = self.check_at_ns.borrow_mut();
        if check_at_ns.len() <= id.slot() {
            check_at_ns.resize(id.slot() + 1, u64::MAX);
        }
        check_at_ns[id.slot()] = 0;
    }

    /// Looks at every connection whose time has come.
    pub fn sweep(&self) {
        let now_ns = self.now_ns();
        self.seek_ring_again();
        let connections: Vec<Rc<Connection>> = {
            let check_at_ns = self.check_at_ns.borrow();
            let due = check_at_ns.iter().any(|at_ns| *at_ns <= now_ns);
            if !due {
                return;
            }
            let registry = self.registry.borrow();
            let is_due = |c: &&Rc<Connection>| check_at_ns[c.id.slot()] <= now_ns;
            registry.iter().filter(is_due).cloned().collect()
        };
        // Slots without a connection are not looked at again before one opens there.
        for at_ns in self
            .check_at_ns
            .borrow_mut()
            .iter_mut()
            .filter(|at_ns| **at_ns <= now_ns)
        {
            *at_ns = u64::MAX;
        }
        for connection in connections {
            let next_ns = connection.check(self, now_ns);
            let mut check_at_ns = self.check_at_ns.borrow_mut();
            let at_ns = &mut check_at_ns[connection.id.slot()];
            *at_ns = next_ns.min(*at_ns);
        }
    }

    /// One pass: takes mail, writes every connection that has something once, lets readers go
    /// on, wakes Python. Called when Python wakes the thread, at every tick of the sweep and, as a
    /// thread that always finds work never waits, after every [`WORK_A_PASS`].
    pub fn pass(&self) {
        self.since_pass.set(0);
        {
            let mut bodies = self.bodies.borrow_mut();
            bodies.reclaim();
            self.stats().body_slots_made.set(bodies.made() as u64);
        }
        let mut post = self.post.take();
        while self.crossing.mailbox.take(&mut post) {
            self.apply(&mut post);
            post.clear();
        }
        self.post.replace(post);
        self.flush_dirty();
        if self.crossing.resume.swap(false, Ordering::AcqRel) {
            self.wake_readers();
            self.freed.notify_waiters();
        }
        if !self.crossing.inbound.is_empty() && self.crossing.python.ring() {
            self.stats().python_wakes_total.add(1);
        }
    }

    /// Counts work that was done: frames, reads, accepted connections, steps of a handshake,
    /// datagrams, looks at those who linger.
    #[inline]
    pub fn note_work(&self, count: usize) {
        self.since_pass.set(self.since_pass.get() + count);
    }

    /// A pass, when enough was done since the last.
    #[inline]
    pub fn pass_if_due(&self) {
        if self.since_pass.get() >= WORK_A_PASS {
            self.pass();
        }
    }

    /// Counts one piece of work; a pass, when enough was done.
    pub fn worked(&self) {
        self.note_work(1);
        self.pass_if_due();
    }

    /// Writes every connection that has something, once.
    pub fn flush_dirty(&self) {
        let mut dirty = self.dirty.take();
        for connection in dirty.drain(..) {
            connection.flush(self);
        }
        let mut now = self.dirty.borrow_mut();
        if now.is_empty() {
            *now = dirty;
        }
    }

    fn apply(&self, post: &mut Post) {
        let mut begin = 0;
        for command in post.commands.drain(..) {
            match command {
                Command::Send(id, bytes) => {
                    let frames = &post.frames[begin..begin + bytes];
                    begin += bytes;
                    if let Some(connection) = self.sendable(id) {
                        connection.add_posted(self, frames);
                    }
                }
                Command::Share(ids, frame) => {
                    for connection in ids.into_iter().filter_map(|id| self.sendable(id)) {
                        connection.add_shared(self, &frame);
                    }
                }
                Command::Close(id, reason) => {
                    if let Some(connection) = self.get(id) {
                        connection.begin_close(self, reason);
                    }
                }
                Command::SetUser(id, user) => {
                    if let Some(connection) = self.get(id) {
                        connection.set_user(self, user);
                    }
                }
                Command::Order(order) => {
                    self.orders.borrow_mut().push_back(*order);
                    self.order_came.notify_one();
                }
            }
        }
    }

    /// The next rare request, once there is one.
    pub async fn next_order(&self) -> Order {
        loop {
            if let Some(order) = self.orders.borrow_mut().pop_front() {
                return order;
            }
            self.order_came.notified().await;
        }
    }

    /// The connection of `id`, if it lives.
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<Rc<Connection>> {
        self.registry.borrow().get(id).cloned()
    }

    fn sendable(&self, id: ConnId) -> Option<Rc<Connection>> {
        self.get(id).filter(|connection| !connection.is_closing())
    }

    /// How many connections live, links included.
    #[must_use]
    pub fn live(&self) -> usize {
        self.registry.borrow().live()
    }

    /// How many peers were closed here and have not closed yet.
    #[must_use]
    pub fn lingering(&self) -> usize {
        self.lingering.get()
    }

    /// Stops accepting and reading; every connection flushes for at most `grace_ms` and closes.
    pub fn begin_stop(&self, grace_ms: u64) {
        self.stopping.set(true);
        let all: Vec<_> = self.registry.borrow().iter().cloned().collect();
        let grace_ns = grace_ms.saturating_mul(NS_PER_MS);
        let close_by_ns = self.now_ns().saturating_add(grace_ns);
        for connection in all {
            connection.begin_close(self, CloseReason::ServerStopping);
            connection.close_by_ns.set(close_by_ns);
        }
        self.flush_dirty();
        self.freed.notify_waiters();
    }

    /// Gives up on every connection that still flushes.
    pub fn break_off_all(&self) {
        let all: Vec<_> = self.registry.borrow().iter().cloned().collect();
        for connection in all {
            connection.break_off(self);
        }
    }
}

/// Unix time in milliseconds.
#[must_use]
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// Nanoseconds of a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;
/// How much work may be done before mail is looked after.
const WORK_A_PASS: usize = 256;
/// One read takes at most this much; shared by all connections of the thread.
const SCRATCH_BYTES: usize = 64 * 1024;
