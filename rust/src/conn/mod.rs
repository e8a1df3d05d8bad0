//! One live connection and the task that serves it.
//!
//! Owns a connection's gate, outbox and end. What all connections of a node share is in [`net`],
//! the task that reads and writes in [`serve`]. Never touches Python. Called by `listener`, `peer`
//! and `server`, all on the network thread.

pub mod crossing;
pub mod net;
pub mod places;
mod readers;
pub mod serve;
pub mod stream;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::Waker;

use tokio::net::tcp::OwnedWriteHalf;

use crate::error::CloseReason;
use crate::gate::Gate;
use crate::ids::{ConnId, opcode};
use crate::outbox::{Outbox, SLICES_MAX};
use net::Net;
use places::Place;

/// Who is at the other end.
#[derive(Debug)]
pub enum Peer {
    /// A client, who holds this place.
    Client(Place),
    /// A server.
    Server,
}

/// One live connection. Shared by its task, the registry and whoever flushes it.
#[derive(Debug)]
pub struct Connection {
    /// Its id.
    pub id: ConnId,
    /// Who is at the other end.
    pub peer: Peer,
    gate: RefCell<Gate>,
    /// None while nothing waits to be sent.
    outbox: RefCell<Option<Box<Outbox>>>,
    /// The half that anyone may write to; None when only the task can (TLS).
    writer: RefCell<Option<OwnedWriteHalf>>,
    /// Wakes the task.
    waker: RefCell<Option<Waker>>,
    /// Bytes that came through the sender.
    posted: Cell<u64>,
    /// When to give up flushing, once closing.
    close_by_ns: Cell<u64>,
    pinged_ns: Cell<u64>,
    closing: Cell<Option<CloseReason>>,
    /// The socket takes no more now; the task waits for it.
    blocked: Cell<bool>,
    dirty: Cell<bool>,
    /// Why a write failed, if one did: nothing more is sent, and what came is still read.
    mute: Cell<Option<CloseReason>>,
    /// It is neither read nor written any more.
    broken: Cell<bool>,
    /// Its last event was emitted.
    ended: Cell<bool>,
    /// Its ring is of the shared pool.
    lends: Cell<bool>,
}

impl Connection {
    /// A connection before its first byte.
    #[must_use]
    pub fn new(id: ConnId, peer: Peer, gate: Gate, writer: Option<OwnedWriteHalf>) -> Self {
        Self {
            id,
            peer,
            gate: RefCell::new(gate),
            outbox: RefCell::new(None),
            writer: RefCell::new(writer),
            waker: RefCell::new(None),
            posted: Cell::new(0),
            close_by_ns: Cell::new(0),
            pinged_ns: Cell::new(0),
            closing: Cell::new(None),
            blocked: Cell::new(false),
            dirty: Cell::new(false),
            mute: Cell::new(None),
            broken: Cell::new(false),
            ended: Cell::new(false),
            lends: Cell::new(false),
        }
    }

    /// Whether this is a link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        matches!(self.peer, Peer::Server)
    }

    /// The user or server number that was proved, or 0.
    #[must_use]
    pub fn user(&self) -> i64 {
        self.gate.borrow().user()
    }

    /// Whether it is on its way out.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.get().is_some()
    }

    /// Lets the node vouch for a user, or for none.
    pub fn set_user(&self, net: &Net, user: i64) {
        if self.is_link() || self.is_closing() {
            return;
        }
        self.gate.borrow_mut().set_user(user, net.now_ns());
        self.set_unproved(user <= 0);
        net.check_soon(self.id);
    }

    fn set_unproved(&self, unproved: bool) {
        if let Peer::Client(place) = &self.peer {
            place.set_unproved(unproved);
        }
    }

    /// Notes whether it is not read for want of room here.
    fn hold(&self, net: &Net, held: bool) {
        let mut gate = self.gate.borrow_mut();
        if held || gate.is_held() {
            gate.hold(held, net.now_ns());
        }
    }

    /// Since when its peer keeps a ring of the pool by a frame that he does not complete.
    fn lends_since_ns(&self) -> Option<u64> {
        let lends = self.lends.get() && !self.is_closing();
        self.gate.borrow().frame_since_ns().filter(|_| lends)
    }

    /// Adds whole frames that came through the sender.
    pub fn add_posted(self: &Rc<Self>, net: &Net, frames: &[u8]) {
        self.posted.set(self.posted.get() + frames.len() as u64);
        self.with_outbox(net, |outbox| outbox.add(frames));
        self.note_dirty(net);
    }

    /// Adds a frame shared with other connections, which came through the sender.
    pub fn add_shared(self: &Rc<Self>, net: &Net, frame: &std::sync::Arc<[u8]>) {
        self.posted.set(self.posted.get() + frame.len() as u64);
        self.with_outbox(net, |outbox| outbox.add_shared(frame));
        self.note_dirty(net);
    }

    /// Adds a frame of the core's own, which is on the sender's account only while it waits; the
    /// caller flushes.
    pub fn add_own(&self, net: &Net, opcode: u16, seq: u32, body: &[u8]) {
        self.with_outbox(net, |outbox| {
            outbox.add_frame(opcode, seq, body);
        });
    }

    fn with_outbox(&self, net: &Net, add: impl FnOnce(&mut Outbox)) {
        if !self.broken.get() && !self.is_mute() {
            add(self
                .outbox
                .borrow_mut()
                .get_or_insert_with(|| net.take_outbox()));
        }
    }

    fn note_dirty(self: &Rc<Self>, net: &Net) {
        if !self.dirty.replace(true) {
            net.note_dirty(self);
        }
    }

    /// How many bytes wait to be sent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outbox
            .borrow()
            .as_ref()
            .map_or(0, |outbox| outbox.waiting())
    }

    /// Flushes what waits for at most `close_flush_ms`, then closes. The first reason counts.
    pub fn begin_close(self: &Rc<Self>, net: &Net, reason: CloseReason) {
        if self.is_closing() {
            return;
        }
        // Reading only finds that the stream is over; the write that failed knows why.
        let reason = match (reason, self.mute.get()) {
            (CloseReason::PeerClosed, Some(failed)) => failed,
            _ => reason,
        };
        let can_tell = !matches!(
            reason,
            CloseReason::PeerClosed
                | CloseReason::SlowConsumer
                | CloseReason::IoError
                | CloseReason::TlsFailed
        );
        if can_tell && !self.is_link() {
            self.add_own(net, opcode::CLOSING, 0, &closing_body(reason));
        }
        self.closing.set(Some(reason));
        if !can_tell {
            self.break_off(net);
        }
        self.close_by_ns.set(net.now_ns() + net.close_flush_ns());
        net.check_soon(self.id);
        self.wake();
    }

    /// Gives up on sending, and on what came and was not handed on.
    pub fn break_off(&self, net: &Net) {
        self.broken.set(true);
        self.drop_outbox(net);
        self.wake();
    }

    /// A write failed: sends no more, but still reads what came before, which may wait for room
    /// here. The end of reading ends the connection, and so does its time without a frame, which
    /// no frame begins anew from now on.
    fn fall_mute(&self, net: &Net, error: &io::Error) {
        self.mute.set(Some(reason_of(error)));
        self.blocked.set(false);
        self.gate.borrow_mut().stop_hearing();
        self.drop_outbox(net);
        self.release(net);
    }

    fn is_mute(&self) -> bool {
        self.mute.get().is_some()
    }

    fn drop_outbox(&self, net: &Net) {
        if let Some(outbox) = self.outbox.borrow_mut().take() {
            net.give_back_outbox(outbox);
        }
    }

    /// Writes what waits, as far as the socket takes it, without waiting.
    pub fn flush(self: &Rc<Self>, net: &Net) {
        self.dirty.set(false);
        if self.blocked.get() || self.broken.get() {
            return;
        }
        let outcome = self.write_now(net);
        self.release(net);
        match outcome {
            Ok(true) => {}
            Ok(false) => {
                self.blocked.set(true);
                self.wake();
            }
            Err(_) if self.is_closing() => self.break_off(net),
            Err(error) => self.fall_mute(net, &error),
        }
    }

    /// `Ok(true)` when nothing waits any more.
    fn write_now(&self, net: &Net) -> io::Result<bool> {
        let writer = self.writer.borrow();
        let mut waiting = self.outbox.borrow_mut();
        let Some(outbox) = waiting.as_mut() else {
            return Ok(true);
        };
        let Some(writer) = writer.as_ref() else {
            return Ok(outbox.is_empty());
        };
        while !outbox.is_empty() {
            let written = match outbox.as_single() {
                Some(bytes) => writer.try_write(bytes),
                None => {
                    let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
                    let used = outbox.slices(&mut slices);
                    writer.try_write_vectored(&slices[..used])
                }
            };
            match written {
                Ok(bytes) => {
                    net.stats().sent_bytes_total.add(bytes as u64);
                    outbox.sent(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(outbox) = waiting.take() {
            net.give_back_outbox(outbox);
        }
        Ok(true)
    }

    /// Tells the sender how much of what it posted does not wait any more.
    fn release(&self, net: &Net) {
        if !self.ended.get() {
            let posted = self.posted.get();
            net.slots()
                .release(self.id, posted.saturating_sub(self.waiting() as u64));
        }
    }

    /// Looks at the clock: closes, pings, and says when to look again.
    pub fn check(self: &Rc<Self>, net: &Net, now_ns: u64) -> u64 {
        if self.is_closing() {
            let close_by_ns = self.close_by_ns.get();
            if now_ns >= close_by_ns && !self.broken.get() {
                self.break_off(net);
            }
            return close_by_ns.max(now_ns);
        }
        let mut gate = self.gate.borrow_mut();
        if gate.is_held() {
            gate.hold(true, now_ns);
        }
        let (deadline_ns, reason) = gate.deadline(net.rules());
        drop(gate);
        if now_ns >= deadline_ns {
            self.begin_close(net, reason);
            return self.close_by_ns.get();
        }
        if !self.is_link() {
            // A frame may begin right after this look, and its time is shorter than idleness.
            return deadline_ns.min(now_ns + net.frame_ns());
        }
        let ping_ns = self.pinged_ns.get() + net.heartbeat_ns();
        if now_ns < ping_ns {
            return deadline_ns.min(ping_ns);
        }
        self.pinged_ns.set(now_ns);
        self.add_own(net, opcode::LINK_PING, 0, &[]);
        self.flush(net);
        deadline_ns.min(now_ns + net.heartbeat_ns())
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// The body of CLOSING: a MessagePack array of one small number.
#[must_use]
pub fn closing_body(reason: CloseReason) -> [u8; 2] {
    [0x91, reason.number().to_le_bytes()[0]]
}

/// What an error of a socket means.
#[must_use]
pub fn reason_of(error: &io::Error) -> CloseReason {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => CloseReason::PeerClosed,
        _ => CloseReason::IoError,
    }
}
