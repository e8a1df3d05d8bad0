//! Server links: dialling, accepting, handshake, and which link to a server stands.
//!
//! Owns the table of links by server number and the tasks that keep them. Frames on a link that
//! stands are `conn`'s. Links have a port, a handshake and a gate of their own: a client can never
//! become one. Called by `server`.

pub mod handshake;
mod lookup;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

use crate::conn::net::Net;
use crate::conn::serve::serve;
use crate::conn::stream::Stream;
use crate::conn::{Connection, Peer};
use crate::error::CloseReason;
use crate::frame::{self, HEADER_BYTES, LENGTH_BYTES, LENGTH_MIN};
use crate::gate::Gate;
use crate::ids::{ConnId, opcode};
use crate::ring::Ring;
use handshake::{Acceptor, BODY_BYTES_MAX, Dialler, Identity, NONCE_BYTES};
use lookup::Lookup;

/// All links of a node.
pub struct Links {
    net: Rc<Net>,
    own: Identity,
    up: RefCell<HashMap<u16, Link>>,
    keepers: RefCell<HashMap<u16, Keeper>>,
    /// Servers that are being dialled at this moment.
    dialling: RefCell<HashSet<u16>>,
    went_down: Notify,
}

struct Link {
    connection: Rc<Connection>,
    incarnation: u64,
}

struct Keeper {
    address: String,
    task: JoinHandle<()>,
}

/// What becomes of a proved peer.
#[derive(Debug, Eq, PartialEq)]
enum Decision {
    Stands,
    Replaces,
    Refused,
    /// There is, or is about to be, another link to the very same server.
    Redundant,
}

impl Links {
    /// No links yet.
    #[must_use]
    pub fn new(net: Rc<Net>) -> Rc<Self> {
        let own = Identity {
            number: net.settings.server_number,
            incarnation: net.settings.incarnation,
            role: net.settings.role.clone(),
        };
        Rc::new(Self {
            net,
            own,
            up: RefCell::default(),
            keepers: RefCell::default(),
            dialling: RefCell::default(),
            went_down: Notify::new(),
        })
    }

    /// Keeps a link to server number `peer` at `address`; a new address replaces the old.
    pub fn dial(self: &Rc<Self>, peer: u16, address: String) {
        let known = self
            .keepers
            .borrow()
            .get(&peer)
            .map(|keeper| keeper.address == address);
        match known {
            Some(true) => return,
            Some(false) => self.undial(peer),
            None => {}
        }
        let task = spawn_local(Rc::clone(self).keep(peer, address.clone()));
        self.keepers
            .borrow_mut()
            .insert(peer, Keeper { address, task });
    }

    /// Stops keeping the link to `peer` and closes it.
    pub fn undial(&self, peer: u16) {
        let Some(keeper) = self.keepers.borrow_mut().remove(&peer) else {
            return;
        };
        keeper.task.abort();
        self.dialling.borrow_mut().remove(&peer);
        let connection = self
            .up
            .borrow()
            .get(&peer)
            .map(|link| Rc::clone(&link.connection));
        if let Some(connection) = connection {
            connection.begin_close(&self.net, CloseReason::LinkLost);
        }
    }

    /// Dials no more.
    pub fn stop(&self) {
        for (_, keeper) in self.keepers.borrow_mut().drain() {
            keeper.task.abort();
        }
    }

    /// Accepts links for ever; `server` aborts it when the core stops.
    pub async fn accept(self: Rc<Self>, listener: TcpListener) {
        // Handshakes of those who dialled us, the oldest first.
        let mut shaking: VecDeque<(SocketAddr, JoinHandle<()>)> = VecDeque::new();
        loop {
            self.net.pass_if_due();
            let Ok((stream, address)) = listener.accept().await else {
                self.net.stats().accept_errors_total.add(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            self.net.note_work(1);
            shaking.retain(|(_, task)| !task.is_finished());
            // Strangers use up handshakes, never the places of those who proved themselves. Who
            // knows the secret is done in a moment, so it is the oldest that makes room.
            if shaking.len() >= self.links_max()
                && let Some((oldest, task)) = shaking.pop_front()
            {
                task.abort();
                self.refuse(|| format!("link from {oldest}: links_max handshakes"));
            }
            let links = Rc::clone(&self);
            let task = spawn_local(async move {
                let time = Duration::from_millis(links.net.settings.dial_ms);
                let shaken = tokio::time::timeout(time, links.clone().shake_accepted(stream));
                let outcome = shaken
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                if let Err(error) = outcome {
                    links.refuse(|| format!("link from {address}: {error}"));
                }
            });
            shaking.push_back((address, task));
        }
    }

    async fn shake_accepted(self: Rc<Self>, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let secret = &self.net.settings.link_secret;
        let mut greeting = Greeting::default();
        let hello = greeting.read(&mut stream, opcode::LINK_HELLO).await?;
        let shaken = match Acceptor::new(secret, &self.own, &hello, &nonce()?) {
            Ok((acceptor, challenge)) => {
                write(&mut stream, opcode::LINK_CHALLENGE, &challenge).await?;
                let proof = greeting.read(&mut stream, opcode::LINK_PROOF).await?;
                acceptor.finish(&proof)
            }
            Err(reason) => Err(reason),
        };
        let decision = shaken
            .as_ref()
            .map_or(Decision::Refused, |peer| self.decide(peer, false));
        match (shaken, decision) {
            (Ok(peer), Decision::Stands | Decision::Replaces) => {
                self.stand(peer, stream, greeting.rest(&self.net), true)
            }
            (_, decision) => {
                let is_redundant = decision == Decision::Redundant;
                write(&mut stream, opcode::LINK_REFUSED, &[u8::from(is_redundant)]).await?;
                if is_redundant { Ok(()) } else { Err(refused()) }
            }
        }
    }

    /// Dials `peer` again and again while there is no link to it.
    async fn keep(self: Rc<Self>, peer: u16, address: String) {
        let settings = &self.net.settings;
        let (shortest, longest) = (settings.redial_ms_min, settings.redial_ms_max);
        let mut pause_ms = shortest;
        let mut lookup = Lookup::default();
        loop {
            self.down(peer).await;
            self.dialling.borrow_mut().insert(peer);
            self.net.stats().link_dials_total.add(1);
            let time = Duration::from_millis(settings.dial_ms);
            let dial = self.shake_dialled(peer, &address, &mut lookup);
            let dialled = tokio::time::timeout(time, dial).await;
            self.dialling.borrow_mut().remove(&peer);
            match dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(()) => {
                    pause_ms = shortest;
                    self.down(peer).await;
                }
                Err(error) => {
                    self.net.stats().link_dial_failures_total.add(1);
                    self.net
                        .record(0, || format!("link to {peer} at {address}: {error}"));
                    pause_ms = (pause_ms * 2).min(longest);
                }
            }
            // Servers that lost the same peer must not all come back at the same moment.
            tokio::time::sleep(Duration::from_millis(jittered(pause_ms))).await;
        }
    }

    async fn shake_dialled(
        self: &Rc<Self>,
        peer: u16,
        address: &str,
        lookup: &mut Lookup,
    ) -> io::Result<()> {
        let addresses = lookup.find(address).await?;
        let mut stream = TcpStream::connect(&addresses[..]).await?;
        stream.set_nodelay(true)?;
        let secret = &self.net.settings.link_secret;
        let dialler = Dialler::new(secret, &self.own, peer, &nonce()?);
        write(&mut stream, opcode::LINK_HELLO, dialler.hello()).await?;
        let mut greeting = Greeting::default();
        let challenge = greeting.read(&mut stream, opcode::LINK_CHALLENGE).await?;
        let (identity, proof) = dialler.answer(&challenge).map_err(|_| refused())?;
        write(&mut stream, opcode::LINK_PROOF, &proof).await?;
        match greeting.read(&mut stream, opcode::LINK_READY).await {
            Ok(_) => {}
            Err(error) if greeting.is_redundant => {
                // The peer's own dial won; its link is there at once.
                self.net.record(0, || format!("link to {peer}: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        match self.decide(&identity, true) {
            Decision::Stands | Decision::Replaces => {
                self.stand(identity, stream, greeting.rest(&self.net), false)
            }
            Decision::Refused | Decision::Redundant => Err(refused()),
        }
    }

    /// What becomes of the proved `peer`, which we dialled or which dialled us.
    fn decide(&self, peer: &Identity, dialled: bool) -> Decision {
        if self.net.is_stopping() {
            return Decision::Refused;
        }
        let up = self.up.borrow();
        let standing = up.get(&peer.number).map(|link| link.incarnation);
        match standing {
            None if up.len() >= self.links_max() => Decision::Refused,
            Some(standing) if standing > peer.incarnation => Decision::Refused,
            Some(standing) if standing < peer.incarnation => Decision::Replaces,
            // The acceptor already took the new link, so it knows the old one to be dead.
            Some(_) if dialled => Decision::Replaces,
            Some(_) => Decision::Redundant,
            None => {
                // Both dial at the same moment: the dial of the lower number wins, on both sides.
                let both = !dialled && self.dialling.borrow().contains(&peer.number);
                if both && self.own.number < peer.number {
                    Decision::Redundant
                } else {
                    Decision::Stands
                }
            }
        }
    }

    /// Makes the link stand, ending the one it replaces first.
    fn stand(
        self: &Rc<Self>,
        peer: Identity,
        stream: TcpStream,
        early: Option<Ring>,
        tell_ready: bool,
    ) -> io::Result<()> {
        if !self.net.crossing.inbound.reserve_lifecycle(2) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let replaced = self.up.borrow_mut().remove(&peer.number);
        if let Some(old) = replaced {
            old.connection.begin_close(&self.net, CloseReason::LinkLost);
            old.connection.break_off(&self.net);
            self.net.end(&old.connection);
        }
        let role = self.net.rules().link_role(&peer.role);
        let gate = Gate::for_link(peer.number, role, self.net.now_ns());
        let first = (
            opcode::PEER_UP,
            format!("{}:{}", peer.role, peer.incarnation),
        );
        let (reader, writer) = stream.into_split();
        let opened = self.net.open(Peer::Server, gate, Some(writer), first);
        let Some(connection) = opened else {
            self.net.crossing.inbound.release_lifecycle(2);
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        if tell_ready {
            // Through the outbox: it leaves before anything that PEER_UP makes Python send.
            connection.add_own(&self.net, opcode::LINK_READY, 0, &[]);
            connection.flush(&self.net);
        }
        let link = Link {
            connection: Rc::clone(&connection),
            incarnation: peer.incarnation,
        };
        self.up.borrow_mut().insert(peer.number, link);
        let (links, id) = (Rc::clone(self), connection.id);
        let ended = move || links.leave(peer.number, id);
        let stream = Stream::Tcp(reader);
        spawn_local(serve(
            Rc::clone(&self.net),
            connection,
            stream,
            early,
            ended,
        ));
        Ok(())
    }

    /// The link of `id` to `peer` ended. It may linger, but the next one need not wait for that.
    fn leave(&self, peer: u16, id: ConnId) {
        let mut up = self.up.borrow_mut();
        if up.get(&peer).is_some_and(|link| link.connection.id == id) {
            up.remove(&peer);
        }
        drop(up);
        self.went_down.notify_waiters();
    }

    /// Waits until there is no link to `peer`.
    async fn down(&self, peer: u16) {
        loop {
            let went_down = self.went_down.notified();
            if !self.up.borrow().contains_key(&peer) {
                return;
            }
            went_down.await;
        }
    }

    fn links_max(&self) -> usize {
        self.net.settings.links_max as usize
    }

    fn refuse(&self, text: impl FnOnce() -> String) {
        self.net.stats().links_refused_total.add(1);
        self.net.record(0, text);
    }
}

/// Frames of a handshake as they come in.
#[derive(Default)]
struct Greeting {
    bytes: Vec<u8>,
    is_redundant: bool,
}

impl Greeting {
    /// The body of the next frame, which must be of `wanted`.
    async fn read(&mut self, stream: &mut TcpStream, wanted: u16) -> io::Result<Vec<u8>> {
        let most = u32::try_from(BODY_BYTES_MAX).unwrap_or(u32::MAX) + LENGTH_MIN;
        loop {
            // Behind the last frame of a handshake longer frames of the link may follow at once.
            if let Some(next) = frame::decode(&self.bytes, most).map_err(|_| refused())? {
                let (body, used) = (next.body.to_vec(), next.wire_bytes());
                self.is_redundant = next.opcode == opcode::LINK_REFUSED && next.body == [1];
                let is_wanted = next.opcode == wanted;
                self.bytes.drain(..used);
                return if is_wanted { Ok(body) } else { Err(refused()) };
            }
            let mut chunk = [0; HEADER_BYTES + BODY_BYTES_MAX];
            let got = stream.read(&mut chunk).await?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.bytes.extend_from_slice(&chunk[..got]);
        }
    }

    /// What came behind the handshake.
    fn rest(&self, net: &Net) -> Option<Ring> {
        if self.bytes.is_empty() {
            return None;
        }
        let ring_bytes = LENGTH_BYTES + net.settings.link_frame_bytes_max as usize;
        let mut ring = Ring::new(ring_bytes.max(self.bytes.len()));
        ring.hold(&self.bytes);
        Some(ring)
    }
}

async fn write(stream: &mut TcpStream, opcode: u16, body: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    frame::encode(&mut bytes, opcode, 0, body);
    stream.write_all(&bytes).await
}

fn nonce() -> io::Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

/// Between half of `pause_ms` and all of it.
fn jittered(pause_ms: u64) -> u64 {
    let mut random = [0; 8];
    // Without randomness the pause is only less scattered.
    let _ = getrandom::fill(&mut random);
    let half = pause_ms / 2;
    pause_ms - half + u64::from_le_bytes(random) % (half + 1)
}

fn refused() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionRefused,
        CloseReason::LinkRefused.name(),
    )
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
