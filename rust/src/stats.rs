//! Counters and gauges of the core.
//!
//! Owns atomic numbers and their names. Never locks and never allocates while counting. The
//! network thread counts, any thread reads through `server`.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::bucket::{Bucket, Rate};
use crate::error::CloseReason;

/// One number.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `more`. Each count has one writing thread, so a load and a store do and are cheaper
    /// than a locked instruction.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Replaces the number, for gauges.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// All numbers of one core except those that queues and pools know themselves, and those
        /// that `server` counts on the other thread.
        #[derive(Debug)]
        pub struct Stats {
            $($(#[$doc])* pub $name: Count,)*
            closed: Vec<Count>,
        }

        impl Stats {
            /// All numbers at zero.
            #[must_use]
            pub fn new() -> Self {
                let closed = CloseReason::ALL.iter().map(|_| Count::default()).collect();
                Self { $($name: Count::default(),)* closed }
            }

            fn named(&self, visit: &mut dyn FnMut(&'static str, u64)) {
                $(visit(stringify!($name), self.$name.get());)*
            }
        }
    };
}

stats! {
    /// Client connections open now.
    connections,
    /// Client sockets without a token now, those that shake hands (TLS) or linger included.
    connections_unproved,
    /// Server links up now.
    links,
    /// Client connections accepted.
    accepted_total,
    /// Accepting failed, mostly for want of descriptors.
    accept_errors_total,
    /// Times that accepting waited for a free place, or for Python to take ends of earlier ones.
    accept_waits_total,
    /// Bytes read from clients and links.
    received_bytes_total,
    /// Frames handed to Python.
    received_messages_total,
    /// Frames answered by the core.
    echoed_messages_total,
    /// Bytes written to clients and links.
    sent_bytes_total,
    /// Times a connection had to wait for its socket to take more.
    write_waits_total,
    /// Tokens that were believed.
    tokens_accepted_total,
    /// Tokens that were not.
    tokens_refused_total,
    /// Times a reader stopped because the inbound queue or a pool was full.
    reader_waits_total,
    /// Bodies longer than a slot, which took a block of their own.
    heap_bodies_total,
    /// Body slots in existence.
    body_slots_made,
    /// Receive rings of the pool lent to connections now.
    rings_lent,
    /// Wakes of the Python thread.
    python_wakes_total,
    /// Links dialled.
    link_dials_total,
    /// Dials that failed; one that gave way to the peer's own did not.
    link_dial_failures_total,
    /// Handshakes of links refused here.
    links_refused_total,
    /// Datagrams sent.
    datagrams_sent_total,
    /// Lossy messages dropped because the datagram socket was full or the proof had ended.
    datagrams_dropped_total,
    /// Datagrams that proved or renewed an address.
    datagrams_proved_total,
    /// Datagrams that proved nothing.
    datagrams_refused_total,
    /// Log records dropped by sampling.
    log_records_dropped_total,
}

impl Stats {
    /// Counts one closed connection.
    pub fn closed(&self, reason: CloseReason) {
        self.closed[usize::from(reason.number()) - 1].add(1);
    }

    /// Calls `visit` with each name and number.
    pub fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.named(visit);
        for (reason, count) in CloseReason::ALL.iter().zip(&self.closed) {
            visit(reason.counter_name(), count.get());
        }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

/// One line for the log.
#[derive(Debug)]
pub struct Record {
    /// Unix time.
    pub unix_ms: i64,
    /// The connection it is about, or 0.
    pub conn: i64,
    /// What happened.
    pub text: String,
}

/// Log records on their way to Python, bounded and sampled.
#[derive(Debug)]
pub struct Records {
    waiting: ArrayQueue<Record>,
    rate: Rate,
}

impl Records {
    /// Keeps at most a few seconds' worth of `per_s` records.
    #[must_use]
    pub fn new(per_s: u32) -> Self {
        let per_s = per_s.max(1);
        let capacity = (per_s as usize).saturating_mul(4).min(RECORDS_MAX);
        let waiting = ArrayQueue::new(capacity);
        Self {
            waiting,
            rate: Rate::new(f64::from(per_s), u64::from(per_s)),
        }
    }

    /// Keeps `record` when the rate at `now_ns` allows; the writer owns `bucket`.
    pub fn add(
        &self,
        bucket: &mut Bucket,
        now_ns: u64,
        stats: &Stats,
        record: impl FnOnce() -> Record,
    ) {
        if !bucket.take(self.rate, 1, now_ns) || self.waiting.push(record()).is_err() {
            stats.log_records_dropped_total.add(1);
        }
    }

    /// Takes the oldest record.
    #[must_use]
    pub fn take(&self) -> Option<Record> {
        self.waiting.pop()
    }
}

const RECORDS_MAX: usize = 4096;
