//! What the network thread and the Python thread share.
//!
//! Owns the two queues, the two wakes and the numbers; everything in it may be used from both
//! threads. Never touches a socket. Called by [`super::net`] and by `server`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Instant;

use crate::config::Settings;
use crate::error::CoreError;
use crate::pool::{SlotPool, SlotReturns};
use crate::queue::{Inbound, InboundLimits, Mailbox};
use crate::registry::{Post, Slots};
use crate::stats::{Records, Stats};
use crate::wake::{EventSignal, Signal, Wake};

/// Wakes the task that takes mail.
#[derive(Debug, Default)]
pub struct TaskSignal(OnceLock<Waker>);

impl TaskSignal {
    /// Names the task.
    pub fn set(&self, waker: &Waker) {
        // A task's waker stays the same task's, so the first is as good as any later one.
        let _ = self.0.set(waker.clone());
    }
}

impl Signal for TaskSignal {
    fn raise(&self) {
        if let Some(waker) = self.0.get() {
            waker.wake_by_ref();
        }
    }

    fn clear(&self) {}
}

/// What the network thread and the Python thread share.
pub struct Crossing {
    /// Events towards Python.
    pub inbound: Inbound,
    /// Wakes Python.
    pub python: Wake<EventSignal>,
    /// Commands towards the network.
    pub mailbox: Mailbox<Post>,
    /// Wakes the network thread.
    pub network: Wake<TaskSignal>,
    /// Readers that stopped may go on.
    pub resume: AtomicBool,
    /// Where spent body slots go.
    pub returns: Arc<SlotReturns>,
    /// Which ids live.
    pub slots: Arc<Slots>,
    /// Numbers counted by the network thread.
    pub stats: Stats,
    /// Log records.
    pub records: Records,
    /// Zero of the core's clock.
    pub started: Instant,
}

impl Crossing {
    /// Everything empty, sized by checked settings; and the pool whose returns it holds.
    ///
    /// # Errors
    /// When the system gives no eventfd.
    pub fn new(settings: &Settings) -> Result<(Arc<Self>, SlotPool), CoreError> {
        let signal = EventSignal::new().map_err(|source| CoreError::System {
            what: "eventfd",
            source,
        })?;
        let bodies = SlotPool::new(
            settings.body_slot_bytes as usize,
            settings.body_slots_max as usize,
        );
        let links = settings.links_max as usize;
        let slots = settings.connections_max as usize + links;
        let inbound = Inbound::new(InboundLimits {
            events_max: settings.inbound_events_max as usize,
            high_water: settings.inbound_high_water as usize,
            low_water: settings.inbound_low_water as usize,
            // Each connection begins once and ends once; and one STOPPED. What clients may never
            // take is kept for links, however many ends of clients Python has yet to hear of.
            lifecycle_max: 2 * (slots + links) + 1,
        });
        let crossing = Self {
            inbound,
            python: Wake::new(signal),
            mailbox: Mailbox::new(Post::default()),
            network: Wake::new(TaskSignal::default()),
            resume: AtomicBool::new(false),
            returns: bodies.returns(),
            slots: Slots::new(slots),
            stats: Stats::new(),
            records: Records::new(settings.log_records_per_s),
            started: Instant::now(),
        };
        Ok((Arc::new(crossing), bodies))
    }

    /// Nanoseconds of the core's clock; never 0.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX) + 1
    }

    /// Called right before the network thread waits for the system.
    pub fn parking(&self) {
        if !self.inbound.is_empty() && self.python.ring() {
            self.stats.python_wakes_total.add(1);
        }
        self.network
            .sleep(|| self.mailbox.has_mail() || self.resume.load(Ordering::Acquire));
    }
}
