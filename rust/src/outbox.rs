//! The outbox: bytes that wait to be sent on one connection.
//!
//! Owns their order. Small frames lie contiguous, long bodies shared by many connections are
//! kept once and sent by a vectored write. Never writes to a socket and never waits; how much may
//! wait is asked before by whoever adds. Called by `conn`.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Slices of one vectored write.
pub const SLICES_MAX: usize = 32;

#[derive(Debug)]
enum Segment {
    Own(usize),
    Shared(Arc<[u8]>, usize),
}

/// Bytes in the order in which they will be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    own: Vec<u8>,
    own_sent: usize,
    /// Empty while all bytes are own.
    segments: VecDeque<Segment>,
    waiting: usize,
}

impl Outbox {
    /// How many bytes wait.
    #[inline]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds a copy of `bytes`: one or more whole frames.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        self.own.extend_from_slice(bytes);
        self.note_own(bytes.len());
    }

    /// Adds one frame; `false` when the body is too long for a frame.
    #[inline]
    pub fn add_frame(&mut self, opcode: u16, seq: u32, body: &[u8]) -> bool {
        let before = self.own.len();
        let added = crate::frame::encode(&mut self.own, opcode, seq, body);
        self.note_own(self.own.len() - before);
        added
    }

    /// Adds a whole frame that other connections send too.
    pub fn add_shared(&mut self, frame: &Arc<[u8]>) {
        if frame.len() < SHARED_BYTES_MIN {
            self.add(frame);
            return;
        }
        let own_waiting = self.own.len() - self.own_sent;
        if self.segments.is_empty() && own_waiting > 0 {
            self.segments.push_back(Segment::Own(own_waiting));
        }
        self.segments
            .push_back(Segment::Shared(Arc::clone(frame), 0));
        self.waiting += frame.len();
    }

    /// The bytes to send next when they are one run.
    #[inline]
    #[must_use]
    pub fn as_single(&self) -> Option<&[u8]> {
        self.segments.is_empty().then(|| &self.own[self.own_sent..])
    }

    /// The bytes to send next as slices; gives how many slices are used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        if let Some(single) = self.as_single() {
            slices[0] = IoSlice::new(single);
            return 1;
        }
        let mut own_begin = self.own_sent;
        let mut used = 0;
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            *slice = match segment {
                Segment::Own(bytes) => {
                    let own = &self.own[own_begin..own_begin + bytes];
                    own_begin += bytes;
                    IoSlice::new(own)
                }
                Segment::Shared(frame, sent) => IoSlice::new(&frame[*sent..]),
            };
            used += 1;
        }
        used
    }

    /// Forgets the first `bytes`, which were sent.
    pub fn sent(&mut self, mut bytes: usize) {
        assert!(bytes <= self.waiting, "more sent than waited");
        self.waiting -= bytes;
        if self.waiting == 0 {
            self.segments.clear();
            self.own.clear();
            self.own_sent = 0;
            return;
        }
        if self.segments.is_empty() {
            self.own_sent += bytes;
        }
        while bytes > 0 {
            let Some(segment) = self.segments.front_mut() else {
                break;
            };
            let left = match segment {
                Segment::Own(left) => *left,
                Segment::Shared(frame, sent) => frame.len() - *sent,
            };
            let step = bytes.min(left);
            match segment {
                Segment::Own(left) => {
                    *left -= step;
                    self.own_sent += step;
                }
                Segment::Shared(_, sent) => *sent += step,
            }
            if step == left {
                self.segments.pop_front();
            }
            bytes -= step;
        }
        self.compact();
    }

    /// Forgets everything, and memory above what one connection may keep.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.own.clear();
        self.own_sent = 0;
        self.waiting = 0;
        self.own.shrink_to(KEPT_BYTES_MAX);
    }

    #[inline]
    fn note_own(&mut self, bytes: usize) {
        self.waiting += bytes;
        match self.segments.back_mut() {
            None => {}
            Some(Segment::Own(waiting)) => *waiting += bytes,
            Some(Segment::Shared(..)) => self.segments.push_back(Segment::Own(bytes)),
        }
    }

    /// Drops the sent front of the own bytes once it is longer than the rest.
    fn compact(&mut self) {
        if self.own_sent > COMPACT_BYTES_MIN && self.own_sent * 2 > self.own.len() {
            self.own.drain(..self.own_sent);
            self.own_sent = 0;
        }
    }
}

/// Boxes that went empty, for the next connection that has something to send: an idle
/// connection holds none.
#[derive(Debug, Default)]
pub struct OutboxPool {
    #[allow(clippy::vec_box)] // Boxes move in and out of connections; the outboxes stay put.
    idle: Vec<Box<Outbox>>,
}

impl OutboxPool {
    /// An empty outbox.
    #[must_use]
    pub fn take(&mut self) -> Box<Outbox> {
        self.idle.pop().unwrap_or_default()
    }

    /// Takes an outbox back, whatever is in it.
    pub fn give_back(&mut self, mut outbox: Box<Outbox>) {
        if self.idle.len() < IDLE_OUTBOXES_MAX {
            outbox.clear();
            self.idle.push(outbox);
        }
    }
}

/// Below this a copy is cheaper than a slice of a vectored write.
const SHARED_BYTES_MIN: usize = 1024;
const COMPACT_BYTES_MIN: usize = 16 * 1024;
const KEPT_BYTES_MAX: usize = 16 * 1024;
const IDLE_OUTBOXES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let used = outbox.slices(&mut slices);
            let flat: Vec<u8> = slices[..used]
                .iter()
                .flat_map(|s| s.iter().copied())
                .collect();
            let sent = step.min(flat.len());
            all.extend_from_slice(&flat[..sent]);
            outbox.sent(sent);
        }
        all
    }

    #[test]
    fn outbox_keeps_order_over_own_and_shared_bytes_for_any_write_size() {
        let shared: Arc<[u8]> = vec![7; SHARED_BYTES_MIN + 3].into();
        for step in [7, 1000, 4096, usize::MAX] {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for round in 0..20u8 {
                outbox.add(&[round; 9]);
                expected.extend_from_slice(&[round; 9]);
                if round % 3 == 0 {
                    outbox.add_shared(&shared);
                    expected.extend_from_slice(&shared);
                }
            }
            assert_eq!(outbox.waiting(), expected.len());
            assert_eq!(drain(&mut outbox, step), expected, "step {step}");
            assert!(outbox.as_single().is_some_and(<[u8]>::is_empty));
        }
    }

    #[test]
    fn outbox_adds_while_partly_sent() {
        let mut outbox = Outbox::default();
        outbox.add(b"abcdef");
        outbox.sent(4);
        outbox.add(b"gh");
        assert_eq!(outbox.as_single(), Some(&b"efgh"[..]));
        let shared: Arc<[u8]> = vec![1; SHARED_BYTES_MIN].into();
        outbox.add_shared(&shared);
        outbox.sent(1);
        outbox.add(b"ij");
        let all = drain(&mut outbox, 3);
        assert!(all.starts_with(b"fgh\x01") && all.ends_with(b"\x01ij"));
        assert_eq!(all.len(), 3 + SHARED_BYTES_MIN + 2);
    }
}
