//! One core: its thread, its start, its stop, and what the other thread may ask of it.
//!
//! Owns the runtime. [`Server`] is the whole seam without Python: `bridge` and the Rust tests call
//! it from one thread. Never calls back.

mod thread;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::config::Settings;
use crate::conn::crossing::Crossing;
use crate::error::{CloseReason, CoreError};
use crate::frame;
use crate::gate::GateRules;
use crate::ids::ConnId;
use crate::pool::{Slot, SlotPool};
use crate::queue::{Body, Event};
use crate::registry::{Command, Order, Post, Refusal, Sender};
use crate::stats::{Count, Record};
use crate::sync::lock;

/// The ports that were bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// Of the client listener.
    pub client: Option<u16>,
    /// Of the link listener.
    pub link: Option<u16>,
    /// Of the datagram socket.
    pub datagram: Option<u16>,
}

/// One core.
pub struct Server {
    crossing: Arc<Crossing>,
    settings: Settings,
    process: u32,
    outgoing: Mutex<Outgoing>,
    spent: Mutex<Vec<Slot>>,
    network: Mutex<Network>,
    stopping: AtomicBool,
    counts: Counts,
}

/// What the Python thread posts, and knows about whom it may post to.
struct Outgoing {
    sender: Sender,
    post: Post,
}

/// The network thread before, during and after its life.
enum Network {
    New(Box<SlotPool>),
    Running(JoinHandle<()>),
    Finished,
}

/// Numbers counted by the Python thread.
#[derive(Default)]
struct Counts {
    /// Frames queued for sending.
    sent: Count,
    /// Frames of shared bodies queued for sending.
    fanned_out: Count,
    /// Messages that were not taken: the connection was gone or full, or the body too long.
    refused: Count,
    /// Wakes of the network thread.
    wakes: Count,
    /// Calls of `pump` that found events.
    pumps: Count,
}

impl Server {
    /// Checks every limit and allocates; binds nothing.
    ///
    /// # Errors
    /// `CoreError::Setting` naming the wrong field.
    pub fn new(settings: Settings) -> Result<Self, CoreError> {
        settings.check()?;
        GateRules::new(&settings)?;
        let (crossing, bodies) = Crossing::new(&settings)?;
        let sender = Sender::new(
            Arc::clone(&crossing.slots),
            u64::from(settings.outbox_bytes_max),
            u64::from(settings.link_outbox_bytes_max),
        );
        Ok(Self {
            crossing,
            settings,
            process: std::process::id(),
            outgoing: Mutex::new(Outgoing {
                sender,
                post: Post::default(),
            }),
            spent: Mutex::default(),
            network: Mutex::new(Network::New(Box::new(bodies))),
            stopping: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    /// Binds and serves. May be called once.
    ///
    /// # Errors
    /// When an address is taken, a certificate is unusable or it was started before.
    pub fn start(&self) -> Result<Ports, CoreError> {
        self.check_process()?;
        let mut network = lock(&self.network);
        let bodies = match std::mem::replace(&mut *network, Network::Finished) {
            Network::New(bodies) => *bodies,
            other => {
                *network = other;
                return Err(CoreError::StartedBefore);
            }
        };
        let (ports, thread) =
            thread::start(self.settings.clone(), Arc::clone(&self.crossing), bodies)?;
        *network = Network::Running(thread);
        Ok(ports)
    }

    /// The descriptor that is readable while events wait.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.crossing.python.signal().as_raw_fd()
    }

    /// How many events wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.crossing.inbound.waiting()
    }

    /// Hands up to `limit` waiting events to `each`, which returns false to take no more after
    /// this one. Gives how many were taken. After it, the descriptor is readable exactly while
    /// events wait.
    ///
    /// # Errors
    /// When the process was forked.
    pub fn pump(
        &self,
        limit: usize,
        mut each: impl FnMut(&Event) -> bool,
    ) -> Result<usize, CoreError> {
        self.check_process()?;
        let inbound = &self.crossing.inbound;
        let mut spent = lock(&self.spent);
        let mut taken = 0;
        while taken < limit {
            let Some(event) = inbound.pop() else { break };
            taken += 1;
            let goes_on = each(&event);
            if let Body::Slot(slot) = event.body {
                spent.push(slot);
            }
            if !goes_on {
                break;
            }
        }
        self.crossing.returns.give_back(&mut spent);
        if taken > 0 {
            self.counts.pumps.add(1);
            if inbound.resume_reading() {
                self.crossing.resume.store(true, Ordering::Release);
                self.ring();
            }
        }
        if inbound.is_empty() {
            self.crossing.python.sleep(|| !inbound.is_empty());
        }
        Ok(taken)
    }

    /// A batch of messages to post; nothing leaves before [`Outbound::finish`].
    ///
    /// # Errors
    /// When the process was forked.
    pub fn outbound(&self) -> Result<Outbound<'_>, CoreError> {
        self.check_process()?;
        Ok(Outbound {
            server: self,
            outgoing: lock(&self.outgoing),
            sent: 0,
            refused: Vec::new(),
        })
    }

    /// One body for many. With `lossy` it leaves as a datagram to those who proved an address.
    /// Gives how many took it.
    ///
    /// # Errors
    /// When the process was forked.
    pub fn fanout(
        &self,
        ids: impl Iterator<Item = ConnId>,
        opcode: u16,
        body: &[u8],
        lossy: bool,
    ) -> Result<usize, CoreError> {
        self.check_process()?;
        let mut outgoing = lock(&self.outgoing);
        let mut target = Vec::new();
        let mut datagrams = Vec::new();
        let now_ns = self.crossing.now_ns();
        let fits = body.len() + DATAGRAM_EXTRA_BYTES <= self.settings.datagram_bytes_max as usize;
        let Some(header) = frame::header(opcode, 0, body.len()) else {
            self.counts.refused.add(ids.count() as u64);
            return Ok(0);
        };
        for id in ids {
            if lossy && fits && self.crossing.slots.takes_datagrams(id, now_ns) {
                if outgoing.sender.is_live(id) {
                    datagrams.push(id);
                } else {
                    self.counts.refused.add(1);
                }
                continue;
            }
            match outgoing.sender.count(id, body.len()) {
                Ok(()) => target.push(id),
                Err(refusal) => {
                    self.counts.refused.add(1);
                    if refusal == Refusal::Full {
                        let close = Command::Close(id, CloseReason::SlowConsumer);
                        outgoing.post.commands.push(close);
                    }
                }
            }
        }
        let took = target.len() + datagrams.len();
        self.counts.fanned_out.add(took as u64);
        if !target.is_empty() {
            let frame: Arc<[u8]> = [&header, body].concat().into();
            outgoing.post.commands.push(Command::Share(target, frame));
        }
        if !datagrams.is_empty() {
            let order = Order::Lossy(datagrams, opcode, body.to_vec());
            outgoing.post.commands.push(Command::Order(Box::new(order)));
        }
        self.post(&mut outgoing);
        Ok(took)
    }

    /// Flushes and closes with `reason`. Idempotent.
    ///
    /// # Errors
    /// When the process was forked.
    pub fn close(&self, id: ConnId, reason: CloseReason) -> Result<(), CoreError> {
        self.check_process()?;
        let mut outgoing = lock(&self.outgoing);
        if outgoing.sender.shut(id) {
            outgoing.post.commands.push(Command::Close(id, reason));
            self.post(&mut outgoing);
        }
        Ok(())
    }

    /// Vouches for a user on an open connection; 0 demotes it.
    ///
    /// # Errors
    /// When the process was forked.
    pub fn set_user(&self, id: ConnId, user: i64) -> Result<(), CoreError> {
        self.command(Command::SetUser(id, user))
    }

    /// Keeps a link to server number `peer` at `address`.
    ///
    /// # Errors
    /// When the address has no port, or the process was forked.
    pub fn dial(&self, peer: u16, address: &str) -> Result<(), CoreError> {
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            let source = std::io::ErrorKind::InvalidInput.into();
            return Err(CoreError::Address {
                address: address.to_owned(),
                source,
            });
        }
        self.order(Order::Dial(peer, address.to_owned()))
    }

    /// Stops keeping the link to `peer`.
    ///
    /// # Errors
    /// When the process was forked.
    pub fn undial(&self, peer: u16) -> Result<(), CoreError> {
        self.order(Order::Undial(peer))
    }

    /// Makes a datagram identity for `id` in `room`.
    ///
    /// # Errors
    /// When the system gives no randomness, or the process was forked.
    pub fn datagram_key(&self, id: ConnId, room: u32) -> Result<(i64, [u8; 16]), CoreError> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|error| CoreError::System {
            what: "randomness",
            source: std::io::Error::other(error),
        })?;
        let (number, key) = random.split_at(8);
        let number = u64::from_le_bytes(number.try_into().unwrap_or_default()) >> 1;
        let key = key.try_into().unwrap_or_default();
        self.order(Order::DatagramKey(id, room, number, key))?;
        Ok((number.cast_signed(), key))
    }

    /// All counters and gauges.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        self.crossing.stats.visit(&mut |name, value| {
            all.insert(name, value);
        });
        all.insert("inbound_waiting", self.crossing.inbound.waiting() as u64);
        all.insert("sent_messages_total", self.counts.sent.get());
        all.insert("fanout_messages_total", self.counts.fanned_out.get());
        all.insert("send_refused_total", self.counts.refused.get());
        all.insert("network_wakes_total", self.counts.wakes.get());
        all.insert("pump_batches_total", self.counts.pumps.get());
        all
    }

    /// The oldest sampled log record.
    #[must_use]
    pub fn take_record(&self) -> Option<Record> {
        self.crossing.records.take()
    }

    /// Stops accepting and reading, flushes for up to `grace_ms`, closes all; STOPPED is the
    /// last event.
    ///
    /// # Errors
    /// When it is not running, or the process was forked.
    pub fn begin_shutdown(&self, grace_ms: u64) -> Result<(), CoreError> {
        self.check_process()?;
        if !matches!(*lock(&self.network), Network::Running(_)) {
            return Err(CoreError::NotRunning);
        }
        if self.stopping.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.order(Order::Stop(grace_ms))
    }

    /// Joins the network thread. Idempotent.
    ///
    /// # Errors
    /// When the process was forked.
    pub fn finish_shutdown(&self) -> Result<(), CoreError> {
        self.check_process()?;
        if !self.stopping.swap(true, Ordering::AcqRel) {
            self.order(Order::Stop(0))?;
        }
        let network = std::mem::replace(&mut *lock(&self.network), Network::Finished);
        if let Network::Running(thread) = network {
            // A panic of the thread was printed by its hook; in release it ends the process.
            let _ = thread.join();
        }
        Ok(())
    }

    fn order(&self, order: Order) -> Result<(), CoreError> {
        self.command(Command::Order(Box::new(order)))
    }

    fn command(&self, command: Command) -> Result<(), CoreError> {
        self.check_process()?;
        let mut outgoing = lock(&self.outgoing);
        outgoing.post.commands.push(command);
        self.post(&mut outgoing);
        Ok(())
    }

    fn post(&self, outgoing: &mut Outgoing) {
        if !outgoing.post.is_empty() {
            self.crossing
                .mailbox
                .post(|mail| mail.append(&mut outgoing.post));
            self.ring();
        }
    }

    fn ring(&self) {
        if self.crossing.network.ring() {
            self.counts.wakes.add(1);
        }
    }

    /// After a fork the child has the descriptors but not the thread: it would steal wakes.
    fn check_process(&self) -> Result<(), CoreError> {
        if std::process::id() == self.process {
            Ok(())
        } else {
            Err(CoreError::Forked)
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only a forked child fails here, and it has no thread to join.
        let _ = self.finish_shutdown();
    }
}

/// Messages on their way to the mailbox.
pub struct Outbound<'a> {
    server: &'a Server,
    outgoing: std::sync::MutexGuard<'a, Outgoing>,
    sent: u64,
    refused: Vec<ConnId>,
}

impl Outbound<'_> {
    /// Queues one message behind those before it.
    #[inline]
    pub fn push(&mut self, id: ConnId, opcode: u16, seq: u32, body: &[u8]) {
        let outgoing = &mut *self.outgoing;
        match outgoing.sender.count(id, body.len()) {
            Ok(()) => {
                if outgoing.post.add_frame(id, opcode, seq, body) {
                    self.sent += 1;
                } else {
                    self.refuse(id);
                }
            }
            Err(refusal) => {
                if refusal == Refusal::Full {
                    let close = Command::Close(id, CloseReason::SlowConsumer);
                    outgoing.post.commands.push(close);
                }
                self.refuse(id);
            }
        }
    }

    #[cold]
    fn refuse(&mut self, id: ConnId) {
        self.server.counts.refused.add(1);
        if !self.refused.contains(&id) {
            self.refused.push(id);
        }
    }

    /// Posts the batch; gives those that could not take theirs, each once.
    #[must_use]
    pub fn finish(mut self) -> Vec<ConnId> {
        self.server.counts.sent.add(self.sent);
        self.server.post(&mut self.outgoing);
        std::mem::take(&mut self.refused)
    }
}

/// What a datagram holds besides its body: room, sequence, opcode and MAC.
const DATAGRAM_EXTRA_BYTES: usize = 4 + 4 + 2 + 8;
