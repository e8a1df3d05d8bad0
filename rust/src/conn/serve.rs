//! The task of one connection: reads, judges, writes, ends.
//!
//! Owns the reading half and, while a frame is incomplete or held back, a receive ring: one of the
//! pool, or a small block of its own for a client without a token and where the pool is empty. So
//! strangers cannot empty it, and only long frames wait for it. Reads into the thread's shared
//! scratch, so an idle connection holds no buffer. Never waits for Python: where there is no room
//! it stops reading, and TCP pushes back.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::conn::net::{Net, unix_ms};
use crate::conn::stream::{Stream, linger, poll_stream, write_to};
use crate::conn::{Connection, reason_of};
use crate::error::CloseReason;
use crate::frame::{self, Frame, HEADER_BYTES, LENGTH_BYTES};
use crate::gate::{Gate, Verdict};
use crate::pool::SlotPool;
use crate::queue::{Body, Event};
use crate::ring::Ring;

/// Serves `connection` until it ended, calls `ended`, and lingers. `early` are bytes that were read
/// before. Holds the connection, and so a client's place, until the socket is dropped.
pub async fn serve(
    net: Rc<Net>,
    connection: Rc<Connection>,
    stream: Stream,
    early: Option<Ring>,
    ended: impl FnOnce(),
) {
    let held_back = early.is_some();
    let mut task = Serving {
        net,
        connection,
        stream,
        ring: early,
        held_back,
        stopped: false,
        write_waits: false,
    };
    poll_fn(|context| task.poll(context)).await;
    task.drop_ring();
    let broken = task.connection.broken.get();
    let by_peer = task.connection.closing.get() == Some(CloseReason::PeerClosed);
    let writer = task.connection.writer.borrow_mut().take();
    if broken && !by_peer && !task.net.is_stopping() {
        // The next one gets its place, so nothing of it may stay with the system either.
        task.stream.forget_unsent();
        if let Some(writer) = writer {
            writer.forget();
        }
    } else {
        drop(writer);
    }
    task.net.end(&task.connection);
    ended();
    if !broken {
        // Boxed: this part of the future would otherwise cost every idle connection its size.
        let time = Duration::from_millis(task.net.settings.close_flush_ms);
        task.net.lingering.update(|count| count + 1);
        let net = Rc::clone(&task.net);
        Box::pin(linger(task.stream, time, move || net.worked())).await;
        task.net.lingering.update(|count| count - 1);
        task.net.freed.notify_waiters();
    }
}

struct Serving {
    net: Rc<Net>,
    connection: Rc<Connection>,
    stream: Stream,
    ring: Option<Ring>,
    /// Bytes in the ring wait for room towards Python, not for the peer.
    held_back: bool,
    /// Nothing is read for want of room here.
    stopped: bool,
    /// The last write had to wait for the socket.
    write_waits: bool,
}

/// What a look at received bytes found.
enum Step {
    /// All whole frames are done.
    Done,
    /// There is no room for the next frame.
    HeldBack,
    /// The connection ends.
    Close(CloseReason),
}

impl Serving {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.note_waker(context);
        loop {
            if self.connection.broken.get() {
                return Poll::Ready(());
            }
            let written = self.poll_write(context);
            if self.connection.is_closing() {
                // Nothing more is read, and others may wait for the ring.
                self.drop_ring();
                return match written {
                    Poll::Ready(Ok(())) => self.poll_shutdown(context),
                    Poll::Ready(Err(_)) => Poll::Ready(()),
                    Poll::Pending => Poll::Pending,
                };
            }
            if let Poll::Ready(Err(error)) = written {
                self.connection.fall_mute(&self.net, &error);
            }
            match self.poll_read(context) {
                Poll::Pending => {
                    self.connection.gate.borrow_mut().caught_up();
                    // A record of TLS may come byte by byte: each is a look, and none is a read.
                    if matches!(self.stream, Stream::Any(_)) {
                        self.net.worked();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Step::Done | Step::HeldBack) => self.stopped = false,
                Poll::Ready(Step::Close(reason)) => {
                    self.connection.begin_close(&self.net, reason);
                }
            }
            self.net.pass_if_due();
        }
    }

    fn note_waker(&self, context: &Context<'_>) {
        let mut waker = self.connection.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if self.held_back {
            if !self.has_room() {
                self.stop(context);
                if self.net.crossing.inbound.stop_reading(|| self.has_room()) {
                    return Poll::Pending;
                }
            }
            return Poll::Ready(self.read_held());
        }
        if self.ring.is_some() {
            return self.poll_read_ring(context);
        }
        self.poll_read_scratch(context)
    }

    /// All rings are lent: stops reading until one comes back, and sees to it that one does.
    fn wait_for_ring(&mut self, context: &Context<'_>) -> Poll<Step> {
        self.stop(context);
        // While Python has to make room, those who hold rings may do so for want of it.
        let inbound = &self.net.crossing.inbound;
        if self.has_room() || !inbound.stop_reading(|| self.has_room()) {
            self.net.seek_ring();
        }
        Poll::Pending
    }

    /// Stops reading. Counted once until something is read again, as it may be polled for other
    /// things meanwhile.
    fn stop(&mut self, context: &Context<'_>) {
        self.connection.hold(&self.net, true);
        self.net.stop_reader(context.waker());
        if !std::mem::replace(&mut self.stopped, true) {
            self.net.stats().reader_waits_total.add(1);
        }
    }

    fn has_room(&self) -> bool {
        self.net.crossing.inbound.room() > 0 && self.net.bodies.borrow_mut().has_one()
    }

    /// Reads into the scratch that all connections share.
    fn poll_read_scratch(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let net = Rc::clone(&self.net);
        let mut scratch = net.scratch.borrow_mut();
        // Whatever a read leaves over must find its place.
        let pooled = self.is_proved_client() && self.net.rings.borrow().has_one();
        let most = scratch.len().min(self.ring_bytes(pooled));
        let got = match poll_stream(&mut self.stream, context, &mut scratch[..most]) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Step::Close(reason_of(&error))),
            Poll::Ready(Ok(0)) => return Poll::Ready(Step::Close(CloseReason::PeerClosed)),
            Poll::Ready(Ok(got)) => got,
        };
        net.stats().received_bytes_total.add(got as u64);
        let (used, step) = self.judge_all(&scratch[..got]);
        if used < got && !matches!(step, Step::Close(_)) {
            let Some(mut ring) = self.take_ring(pooled) else {
                return Poll::Ready(Step::Close(CloseReason::IoError));
            };
            ring.hold(&scratch[used..got]);
            self.ring = Some(ring);
        }
        self.after(&step, used > 0);
        Poll::Ready(step)
    }

    /// Reads behind what the ring holds.
    fn poll_read_ring(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let is_full = self.ring.as_mut().is_some_and(|r| r.room().is_empty());
        if is_full && !self.is_proved_client() {
            return Poll::Ready(self.read_held());
        }
        if is_full && !self.connection.lends.get() {
            // A block is too short for this frame.
            let Some(mut ring) = self.take_ring(true) else {
                return self.wait_for_ring(context);
            };
            if let Some(block) = self.ring.take() {
                ring.hold(block.readable());
            }
            self.ring = Some(ring);
            self.connection.hold(&self.net, false);
        }
        let Some(ring) = self.ring.as_mut() else {
            return Poll::Ready(Step::Done);
        };
        let got = match poll_stream(&mut self.stream, context, ring.room()) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Step::Close(reason_of(&error))),
            Poll::Ready(Ok(0)) => return Poll::Ready(Step::Close(CloseReason::PeerClosed)),
            Poll::Ready(Ok(got)) => got,
        };
        ring.fill(got);
        self.net.stats().received_bytes_total.add(got as u64);
        Poll::Ready(self.read_held())
    }

    /// Judges what the ring holds.
    fn read_held(&mut self) -> Step {
        let Some(mut ring) = self.ring.take() else {
            return Step::Done;
        };
        let (used, step) = self.judge_all(ring.readable());
        ring.consume(used);
        if ring.is_empty() {
            self.give_back(ring);
        } else {
            self.ring = Some(ring);
        }
        self.after(&step, used > 0);
        step
    }

    fn after(&mut self, step: &Step, completed: bool) {
        self.held_back = matches!(step, Step::HeldBack);
        self.connection.hold(&self.net, self.held_back);
        let mut gate = self.connection.gate.borrow_mut();
        if self.ring.is_none() || self.held_back {
            gate.frame_done();
        } else {
            gate.frame_begun(completed, self.net.now_ns());
        }
    }

    fn is_proved_client(&self) -> bool {
        !self.connection.is_link() && !self.connection.gate.borrow().is_open()
    }

    fn ring_bytes(&self, pooled: bool) -> usize {
        let settings = &self.net.settings;
        if pooled {
            settings.ring_bytes as usize
        } else if self.connection.is_link() {
            LENGTH_BYTES + settings.link_frame_bytes_max as usize
        } else {
            LENGTH_BYTES + settings.frame_unproved_bytes_max as usize
        }
    }

    fn outbox_bytes_max(&self) -> usize {
        let settings = &self.net.settings;
        let is_link = self.connection.is_link();
        (if is_link {
            settings.link_outbox_bytes_max
        } else {
            settings.outbox_bytes_max
        }) as usize
    }

    fn take_ring(&self, pooled: bool) -> Option<Ring> {
        if !pooled {
            return Some(Ring::new(self.ring_bytes(pooled)));
        }
        let mut rings = self.net.rings.borrow_mut();
        let ring = rings.take()?;
        self.net.stats().rings_lent.set(rings.lent() as u64);
        self.connection.lends.set(true);
        Some(ring)
    }

    fn drop_ring(&mut self) {
        if let Some(ring) = self.ring.take() {
            self.give_back(ring);
        }
    }

    fn give_back(&self, ring: Ring) {
        if self.connection.lends.replace(false) {
            self.net.give_back_ring(ring);
        }
    }

    /// Judges every whole frame in `bytes`; gives how many bytes are done.
    fn judge_all(&self, bytes: &[u8]) -> (usize, Step) {
        let net = &*self.net;
        let now_ns = net.now_ns();
        let mut gate = self.connection.gate.borrow_mut();
        if gate.is_held() {
            gate.hold(true, now_ns);
        }
        let mut bodies = net.bodies.borrow_mut();
        let mut waiting = self.connection.outbox.borrow_mut();
        let outbox_bytes_max = self.outbox_bytes_max();
        let mut room = net.crossing.inbound.room();
        let mut used = 0;
        let (mut delivered, mut echoed) = (0, 0);
        let step = loop {
            let next = match frame::decode(&bytes[used..], gate.length_max(net.rules())) {
                Ok(Some(frame)) => frame,
                Ok(None) => break Step::Done,
                Err(reason) => break Step::Close(reason),
            };
            if room == 0 || !bodies.has_one() {
                break Step::HeldBack;
            }
            used += next.wire_bytes();
            match gate.judge(net.rules(), next.opcode, next.wire_bytes(), now_ns) {
                Verdict::Deliver => {
                    self.deliver(&mut bodies, gate.user(), next);
                    room -= 1;
                    delivered += 1;
                }
                Verdict::Echo(_) if self.connection.is_mute() => {}
                Verdict::Echo(reply) => {
                    let outbox = waiting.get_or_insert_with(|| net.take_outbox());
                    outbox.add_frame(reply, next.seq, next.body);
                    echoed += 1;
                    if outbox.waiting() > outbox_bytes_max {
                        break Step::Close(CloseReason::SlowConsumer);
                    }
                }
                Verdict::Verify => match self.verify(&mut gate, next, now_ns) {
                    Ok(()) => {
                        room -= 1;
                        delivered += 1;
                    }
                    Err(reason) => break Step::Close(reason),
                },
                Verdict::Ignore => {}
                Verdict::Close(reason) => break Step::Close(reason),
            }
        };
        if echoed > 0 {
            net.stats().echoed_messages_total.add(echoed as u64);
        }
        if delivered > 0 {
            net.stats().received_messages_total.add(delivered as u64);
        }
        // A read that completes nothing took its time too.
        net.note_work((delivered + echoed).max(1));
        (used, step)
    }

    #[inline]
    fn deliver(&self, bodies: &mut SlotPool, user: i64, frame: Frame<'_>) {
        let net = &*self.net;
        let body = if frame.body.is_empty() {
            Body::Empty
        } else if frame.body.len() > bodies.slot_bytes() {
            net.stats().heap_bodies_total.add(1);
            Body::Heap(frame.body.into())
        } else {
            bodies
                .store(frame.body)
                .map_or_else(|| Body::Heap(frame.body.into()), Body::Slot)
        };
        net.crossing.inbound.push(Event {
            conn: self.connection.id.as_i64(),
            user,
            seq: frame.seq,
            opcode: frame.opcode,
            is_lifecycle: false,
            body,
        });
    }

    #[cold]
    fn verify(&self, gate: &mut Gate, frame: Frame<'_>, now_ns: u64) -> Result<(), CloseReason> {
        let net = &*self.net;
        let verified = net.rules().tokens.verify(frame.body, unix_ms() / 1000);
        let proof = verified.inspect_err(|_| net.stats().tokens_refused_total.add(1))?;
        net.stats().tokens_accepted_total.add(1);
        gate.set_user(proof.user, now_ns);
        self.connection.set_unproved(false);
        net.crossing.inbound.push(Event {
            conn: self.connection.id.as_i64(),
            user: proof.user,
            seq: frame.seq,
            opcode: frame.opcode,
            is_lifecycle: false,
            body: Body::Heap(proof.claims.into_boxed_slice()),
        });
        Ok(())
    }

    /// Writes all that waits; pending with the task to be woken when the socket takes more.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_mute() {
            return Poll::Ready(Ok(()));
        }
        if let Some(written) = self.write_at_once() {
            return Poll::Ready(written);
        }
        let outcome = loop {
            let mut waiting = self.connection.outbox.borrow_mut();
            let Some(outbox) = waiting.as_mut() else {
                break Poll::Ready(Ok(()));
            };
            if outbox.is_empty() {
                if let Some(outbox) = waiting.take() {
                    self.net.give_back_outbox(outbox);
                }
                break Poll::Ready(Ok(()));
            }
            let written = match &mut self.stream {
                Stream::Any(stream) => write_to(stream.as_mut(), context, outbox),
                Stream::Tcp(_) => match self.connection.writer.borrow_mut().as_mut() {
                    Some(writer) => write_to(writer, context, outbox),
                    None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                },
            };
            match written {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => {
                    self.net.stats().sent_bytes_total.add(bytes as u64);
                    outbox.sent(bytes);
                }
            }
        };
        let flushed = match (&mut self.stream, outcome) {
            (Stream::Any(stream), Poll::Ready(Ok(()))) => {
                Pin::new(stream.as_mut()).poll_flush(context)
            }
            (_, outcome) => outcome,
        };
        let waits = flushed.is_pending();
        if waits && !self.write_waits {
            self.net.stats().write_waits_total.add(1);
        }
        self.write_waits = waits;
        self.connection.blocked.set(waits);
        self.connection.release(&self.net);
        flushed
    }

    /// The common case, without the cost of registering for readiness: nothing waits, or the
    /// socket takes all of it now. `None` when the socket has to be waited for.
    fn write_at_once(&self) -> Option<io::Result<()>> {
        let connection = &*self.connection;
        if connection.blocked.get() || !matches!(self.stream, Stream::Tcp(_)) {
            return None;
        }
        if connection.outbox.borrow().is_none() {
            return Some(Ok(()));
        }
        let written = connection.write_now(&self.net);
        connection.release(&self.net);
        match written {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            // Dropping the writing half, which follows, is the shutdown.
            Stream::Tcp(_) => Poll::Ready(()),
            Stream::Any(stream) => Pin::new(stream.as_mut()).poll_shutdown(context).map(|_| ()),
        }
    }
}

const _: () = assert!(HEADER_BYTES > LENGTH_BYTES);
