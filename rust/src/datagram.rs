//! Datagrams: lossy messages to clients that proved an address.
//!
//! Owns the datagram socket, the identities and their MACs. What does not fit now is dropped and
//! counted: a newer one follows. An address that the system refuses is forgotten, and its client is
//! told by TCP again. A datagram from a client only ever proves its address; it never reaches
//! Python. Called by `server`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use hmac::{Hmac, KeyInit, Mac};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use sha2::Sha256;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::conn::Peer;
use crate::conn::net::{NS_PER_MS, Net};
use crate::error::CoreError;
use crate::ids::ConnId;
use crate::listener::{resolve, subscriber};

/// Bytes of the MAC at the end of each datagram.
pub const MAC_BYTES: usize = 8;
/// Bytes of a client's datagram: identity, counter, MAC.
pub const PROOF_BYTES: usize = 16 + MAC_BYTES;

/// The datagram side of a node.
pub struct Datagrams {
    net: Rc<Net>,
    socket: UdpSocket,
    identities: RefCell<HashMap<u64, Identity>>,
    numbers: RefCell<HashMap<ConnId, u64>>,
    /// Identities of gone connections are forgotten when there are so many.
    forget_at: Cell<usize>,
}

/// What one connection may be sent, and where.
#[derive(Debug)]
pub struct Identity {
    id: ConnId,
    room: u32,
    mac: Hmac<Sha256>,
    counter: u64,
    sequence: u32,
    address: Option<SocketAddr>,
    until_ns: u64,
}

impl Identity {
    /// An identity of `id` in `room` that proved nothing yet.
    #[must_use]
    pub fn new(id: ConnId, room: u32, key: &[u8; 16]) -> Option<Self> {
        let mac = Hmac::new_from_slice(key).ok()?;
        let (counter, sequence, address, until_ns) = (0, 0, None, 0);
        Some(Self {
            id,
            room,
            mac,
            counter,
            sequence,
            address,
            until_ns,
        })
    }

    /// Whether `datagram`, which names this identity, is genuine and newer than all before.
    pub fn prove(&mut self, datagram: &[u8; PROOF_BYTES]) -> bool {
        let (said, mac) = datagram.split_at(PROOF_BYTES - MAC_BYTES);
        let Some(counter) = said.last_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return false;
        };
        let mut own = self.mac.clone();
        own.update(said);
        if counter <= self.counter || own.verify_truncated_left(mac).is_err() {
            return false;
        }
        self.counter = counter;
        true
    }

    /// Appends the next datagram to `target`.
    fn write(&mut self, target: &mut Vec<u8>, opcode: u16, body: &[u8]) {
        let begin = target.len();
        self.sequence = self.sequence.wrapping_add(1);
        target.extend_from_slice(&self.room.to_le_bytes());
        target.extend_from_slice(&self.sequence.to_le_bytes());
        target.extend_from_slice(&opcode.to_le_bytes());
        target.extend_from_slice(body);
        let mut mac = self.mac.clone();
        mac.update(&target[begin..]);
        target.extend_from_slice(&mac.finalize().into_bytes()[..MAC_BYTES]);
    }
}

/// The identity that a client's datagram names.
#[must_use]
pub fn named(datagram: &[u8]) -> Option<(u64, &[u8; PROOF_BYTES])> {
    let whole = <&[u8; PROOF_BYTES]>::try_from(datagram).ok()?;
    Some((u64::from_le_bytes(*whole.first_chunk()?), whole))
}

impl Datagrams {
    /// Binds the socket when a port is configured.
    ///
    /// # Errors
    /// `CoreError::Address` when it is taken.
    pub async fn bind(net: Rc<Net>) -> Result<Option<Rc<Self>>, CoreError> {
        let Ok(port) = u16::try_from(net.settings.datagram_port) else {
            return Ok(None);
        };
        let host = &net.settings.host;
        let wrong = |source| CoreError::Address {
            address: format!("{host}:{port}/udp"),
            source,
        };
        let address = resolve(host, port).map_err(wrong)?;
        let socket = UdpSocket::bind(address).await.map_err(wrong)?;
        Ok(Some(Rc::new(Self {
            net,
            socket,
            identities: RefCell::default(),
            numbers: RefCell::default(),
            forget_at: Cell::new(FORGET_AT_MIN),
        })))
    }

    /// The bound port.
    ///
    /// # Errors
    /// What the system says.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Takes proofs for ever; `server` aborts it when the core stops.
    pub async fn receive(self: Rc<Self>) {
        // One byte more than a proof: what is longer is seen to be longer.
        let mut datagram = [0; PROOF_BYTES + 1];
        loop {
            // Errors here are of single datagrams that were sent, not of the socket.
            let Ok((bytes, from)) = self.socket.recv_from(&mut datagram).await else {
                tokio::task::yield_now().await;
                continue;
            };
            self.net.worked();
            let stats = self.net.stats();
            if self.prove(&datagram[..bytes], from) {
                stats.datagrams_proved_total.add(1);
            } else {
                stats.datagrams_refused_total.add(1);
            }
        }
    }

    /// Whether `datagram`, which came from `from`, proves that address.
    pub fn prove(&self, datagram: &[u8], from: SocketAddr) -> bool {
        // Nothing can be sent to port 0, but anyone who may forge sources can come from it.
        if from.port() == 0 {
            return false;
        }
        let Some((number, proof)) = named(datagram) else {
            return false;
        };
        let mut identities = self.identities.borrow_mut();
        let Some(identity) = identities.get_mut(&number) else {
            return false;
        };
        let Some(connection) = self.net.get(identity.id) else {
            return false;
        };
        // Whoever holds the key could else have the stream sent to a third party.
        let is_own = match &connection.peer {
            Peer::Client(place) => place.address() == subscriber(from.ip()),
            Peer::Server => false,
        };
        if !is_own || !identity.prove(proof) {
            return false;
        }
        identity.address = Some(from);
        let life_ns = self
            .net
            .settings
            .datagram_proof_ms
            .saturating_mul(NS_PER_MS);
        identity.until_ns = self.net.now_ns().saturating_add(life_ns);
        self.net
            .crossing
            .slots
            .set_datagram_until(identity.id, identity.until_ns);
        true
    }

    /// Gives connection `id` the identity `number` in `room`; the former one is void.
    pub fn add(&self, id: ConnId, room: u32, number: u64, key: [u8; 16]) {
        let Some(identity) = Identity::new(id, room, &key) else {
            return;
        };
        if self.net.get(id).is_none() {
            return;
        }
        self.forget_gone();
        let former = self.numbers.borrow_mut().insert(id, number);
        let mut identities = self.identities.borrow_mut();
        if let Some(former) = former {
            identities.remove(&former);
        }
        identities.insert(number, identity);
        // The address must be proved again with the new key.
        self.net.crossing.slots.set_datagram_until(id, 0);
    }

    fn forget_gone(&self) {
        let mut numbers = self.numbers.borrow_mut();
        if numbers.len() < self.forget_at.get() {
            return;
        }
        let mut identities = self.identities.borrow_mut();
        numbers.retain(|id, number| {
            let lives = self.net.get(*id).is_some();
            if !lives {
                identities.remove(number);
            }
            lives
        });
        self.forget_at.set((numbers.len() * 2).max(FORGET_AT_MIN));
    }

    /// Sends one body to all of `ids` that have a proved address; the rest is dropped.
    pub fn send(&self, ids: &[ConnId], opcode: u16, body: &[u8]) {
        for some in ids.chunks(DATAGRAMS_A_CALL) {
            let sent = self.send_some(some, opcode, body);
            self.net.stats().datagrams_sent_total.add(sent as u64);
            self.net
                .stats()
                .datagrams_dropped_total
                .add((some.len() - sent) as u64);
        }
    }

    fn send_some(&self, ids: &[ConnId], opcode: u16, body: &[u8]) -> usize {
        let now_ns = self.net.now_ns();
        let numbers = self.numbers.borrow();
        let mut identities = self.identities.borrow_mut();
        let mut bytes = Vec::new();
        let mut addresses = Vec::new();
        let mut receivers = Vec::new();
        for id in ids {
            let identity = numbers
                .get(id)
                .and_then(|number| identities.get_mut(number));
            let Some(identity) = identity.filter(|identity| identity.until_ns > now_ns) else {
                continue;
            };
            let Some(address) = identity.address else {
                continue;
            };
            identity.write(&mut bytes, opcode, body);
            addresses.push(Some(SockaddrStorage::from(address)));
            receivers.push(*id);
        }
        if addresses.is_empty() {
            return 0;
        }
        let slices: Vec<[IoSlice<'_>; 1]> = bytes
            .chunks(bytes.len() / addresses.len())
            .map(|one| [IoSlice::new(one)])
            .collect();
        let (mut next, mut sent) = (0, 0);
        while next < slices.len() {
            match self.send_now(&slices[next..], &addresses[next..]) {
                Ok(count) => {
                    sent += count;
                    next += count.max(1);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Full: the rest is dropped, newer ones follow.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The first of them has an address that cannot be sent to; those behind have not.
                Err(_) => {
                    let id = receivers[next];
                    let number = numbers.get(&id);
                    if let Some(identity) = number.and_then(|number| identities.get_mut(number)) {
                        identity.address = None;
                    }
                    // The slot of a gone connection may be another's by now.
                    if self.net.get(id).is_some() {
                        self.net.crossing.slots.set_datagram_until(id, 0);
                    }
                    next += 1;
                }
            }
        }
        sent
    }

    fn send_now(
        &self,
        slices: &[[IoSlice<'_>; 1]],
        addresses: &[Option<SockaddrStorage>],
    ) -> io::Result<usize> {
        let descriptor = self.socket.as_raw_fd();
        self.socket.try_io(Interest::WRITABLE, || {
            let mut headers = MultiHeaders::preallocate(slices.len(), None);
            let flags = MsgFlags::MSG_DONTWAIT;
            let sent = sendmmsg(descriptor, &mut headers, slices, addresses, [], flags)?;
            Ok(sent.count())
        })
    }
}

const DATAGRAMS_A_CALL: usize = 256;
const FORGET_AT_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(number: u64, counter: u64, key: &[u8; 16]) -> [u8; PROOF_BYTES] {
        let mut bytes = [0; PROOF_BYTES];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..16].copy_from_slice(&counter.to_le_bytes());
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(&bytes[..16]);
        bytes[16..].copy_from_slice(&mac.finalize().into_bytes()[..MAC_BYTES]);
        bytes
    }

    #[test]
    fn attack_replayed_or_forged_proof_proves_nothing() {
        let key = [5; 16];
        let mut identity = Identity::new(ConnId::new(1, 1), 7, &key).unwrap();
        assert!(!identity.prove(&proof(9, 0, &key)), "counters begin at 1");
        assert!(identity.prove(&proof(9, 3, &key)));
        assert!(!identity.prove(&proof(9, 3, &key)), "replayed");
        assert!(!identity.prove(&proof(9, 2, &key)), "older");
        assert!(!identity.prove(&proof(9, 4, &[6; 16])), "another key");
        let genuine = proof(9, 4, &key);
        for bit in 0..PROOF_BYTES * 8 {
            let mut altered = genuine;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(!identity.prove(&altered), "bit {bit}");
        }
        assert!(identity.prove(&genuine));
        assert_eq!(named(&genuine).map(|(number, _)| number), Some(9));
        assert!(named(&genuine[1..]).is_none());
    }
}
