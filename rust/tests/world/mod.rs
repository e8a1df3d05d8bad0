//! A core on loopback and the clients around it, for the tests of this folder.
//!
//! Owns real sockets on ports that the system picks. Waits only for events with a deadline.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use mmo_core::config::Settings;
use mmo_core::error::CloseReason;
use mmo_core::ids::{ConnId, opcode};
use mmo_core::server::{Ports, Server};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub const PATIENCE: Duration = Duration::from_secs(10);
pub const HELLO: u16 = 100;
pub const PING: u16 = 102;
pub const PONG: u16 = 106;
pub const ACT: u16 = 500;
pub const LINK_ACT: u16 = 30;
pub const LINK_OTHER: u16 = 31;
pub const SECRET: &[u8] = b"the cluster's secret, 32 bytes..";

/// An event as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub conn: i64,
    pub user: i64,
    pub opcode: u16,
    pub seq: u32,
    pub body: Vec<u8>,
}

pub fn settings() -> Settings {
    let key = signing_key();
    Settings {
        server_number: 11,
        role: "channel".into(),
        incarnation: 5,
        host: "127.0.0.1".into(),
        client_port: 0,
        datagram_port: 0,
        link_host: "127.0.0.1".into(),
        link_port: 0,
        tls_certificate_file: String::new(),
        tls_key_file: String::new(),
        connections_max: 300,
        connections_unproved_max: 250,
        connections_per_address_max: 0,
        connects_per_address_per_s_max: 0,
        connects_per_address_burst_max: 1,
        links_max: 8,
        accept_backlog: 128,
        frame_bytes_max: 16_000,
        frame_unproved_bytes_max: 2_048,
        link_frame_bytes_max: 200_000,
        ring_bytes: 16_384,
        rings_max: 256,
        body_slot_bytes: 128,
        body_slots_max: 4_096,
        inbound_events_max: 4_096,
        inbound_high_water: 2_048,
        inbound_low_water: 1_024,
        outbox_bytes_max: 1 << 20,
        link_outbox_bytes_max: 4 << 20,
        prove_ms: 60_000,
        open_ms: 60_000,
        frame_ms: 60_000,
        idle_ms: 60_000,
        close_flush_ms: 400,
        heartbeat_ms: 100,
        heartbeat_lost_ms: 60_000,
        redial_ms_min: 10,
        redial_ms_max: 50,
        dial_ms: 2_000,
        rate_classes: vec![("fast".into(), 1e7, 1_000_000), ("slow".into(), 1.0, 3)],
        bytes_per_s_max: 1 << 30,
        bytes_burst_max: 1 << 30,
        client_opcodes: vec![
            (HELLO, 2, 0),
            (PING, 1, 0),
            (ACT, 1, 0),
            (501, 1, 1),
            (200, 0, 0),
        ],
        core_echo_opcodes: vec![(PING, PONG)],
        link_opcodes: vec![("center".into(), LINK_ACT), ("channel".into(), LINK_ACT)],
        token_keys: vec![("key-1".into(), key.verifying_key().to_bytes().to_vec())],
        token_issuer: "mmo".into(),
        token_audiences: vec!["channel".into(), "11".into()],
        token_types: vec!["session+jwt".into(), "move+jwt".into()],
        token_leeway_s: 2,
        token_bytes_max: 1_024,
        link_secret: SECRET.to_vec(),
        datagram_proof_ms: 30_000,
        datagram_bytes_max: 1_200,
        log_records_per_s: 100,
    }
}

/// A running core.
pub struct World {
    pub server: Server,
    pub ports: Ports,
    pub seen: Vec<Seen>,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let server = Server::new(settings).unwrap();
        let ports = server.start().unwrap();
        Self {
            server,
            ports,
            seen: Vec::new(),
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.ports.client.unwrap())
    }

    pub fn link_client(&self) -> Client {
        Client::connect(self.ports.link.unwrap())
    }

    /// Takes what waits now, at most `limit`.
    pub fn pump(&mut self, limit: usize) -> usize {
        let seen = &mut self.seen;
        let take = |event: &mmo_core::queue::Event| {
            seen.push(Seen {
                conn: event.conn,
                user: event.user,
                opcode: event.opcode,
                seq: event.seq,
                body: event.body.as_slice().to_vec(),
            });
            true
        };
        self.server.pump(limit, take).unwrap()
    }

    /// Waits until the descriptor is readable and takes what waits; false at the deadline.
    pub fn pump_within(&mut self, patience: Duration) -> bool {
        readable(self.server.descriptor(), patience) && self.pump(10_000) < usize::MAX
    }

    /// The first event that `wanted` accepts, with those before it forgotten.
    pub fn until(&mut self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.seen.iter().position(&wanted) {
                return self.seen.drain(..=place).next_back().unwrap();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such event; seen {:?}", self.seen);
            self.pump_within(left);
        }
    }

    /// The next event, which must be `opcode`.
    pub fn next(&mut self, opcode: u16) -> Seen {
        let seen = self.until(|_| true);
        assert_eq!(seen.opcode, opcode, "{seen:?}");
        seen
    }

    /// The reason of the CLOSED of `conn`.
    pub fn closed(&mut self, conn: i64) -> CloseReason {
        let seen = self.until(|seen| seen.opcode == opcode::CLOSED && seen.conn == conn);
        CloseReason::from_number(i64::from(seen.seq)).unwrap()
    }

    pub fn send(&self, conn: i64, opcode: u16, seq: u32, body: &[u8]) -> Vec<ConnId> {
        let mut outbound = self.server.outbound().unwrap();
        outbound.push(ConnId::from_i64(conn), opcode, seq, body);
        outbound.finish()
    }

    /// A client that showed its token, and its conn.
    pub fn player(&mut self, user: i64) -> (Client, i64) {
        let mut client = self.client();
        client.send(opcode::ENTER, 1, &token(user));
        let entered = self.until(|seen| seen.opcode == opcode::ENTER);
        assert_eq!(entered.user, user);
        (client, entered.conn)
    }

    pub fn stat(&self, name: &str) -> u64 {
        self.server.stats()[name]
    }

    /// Waits until `held` by taking events and, at the latest every few ms, looking again.
    pub fn wait(&mut self, what: &str, held: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !held(self) {
            assert!(Instant::now() < deadline, "never: {what}");
            self.pump_within(Duration::from_millis(2));
        }
    }

    /// Still serves: a new player comes in and gets an answer.
    pub fn assert_serves(&mut self) {
        let (mut client, _) = self.player(4242);
        client.send(PING, 77, b"alive");
        assert_eq!(client.frame(), Some((PONG, 77, b"alive".to_vec())));
    }
}

/// A raw TCP client.
pub struct Client {
    pub stream: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    /// Sends raw bytes; a peer that closed meanwhile is no failure here.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub fn send(&mut self, opcode: u16, seq: u32, body: &[u8]) -> bool {
        self.raw(&frame(opcode, seq, body))
    }

    /// The next frame, or `None` when the stream ended.
    pub fn frame(&mut self) -> Option<(u16, u32, Vec<u8>)> {
        loop {
            if let Some(frame) = mmo_core::frame::decode(&self.bytes, u32::MAX - 1).unwrap() {
                let found = (frame.opcode, frame.seq, frame.body.to_vec());
                let used = frame.wire_bytes();
                self.bytes.drain(..used);
                return Some(found);
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(got) => self.bytes.extend_from_slice(&chunk[..got]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no frame: {error}"),
            }
        }
    }

    /// The reason of CLOSING, after which the stream ends.
    pub fn closing(&mut self) -> Option<CloseReason> {
        let mut reason = None;
        while let Some((opcode, _, body)) = self.frame() {
            assert!(reason.is_none(), "a frame after CLOSING");
            if opcode == opcode::CLOSING {
                assert_eq!(body[0], 0x91);
                reason = CloseReason::from_number(i64::from(body[1]));
            }
        }
        reason
    }
}

pub fn frame(opcode: u16, seq: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(mmo_core::frame::encode(&mut bytes, opcode, seq, body));
    bytes
}

pub fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

pub fn now_s() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap()
}

pub const HEADER: &str = r#"{"alg":"EdDSA","typ":"session+jwt","kid":"key-1"}"#;

pub fn claims(user: i64) -> String {
    let (nbf, exp) = (now_s(), now_s() + 60);
    format!(
        r#"{{"iss":"mmo","aud":"channel","sub":"{user}","exp":{exp},"nbf":{nbf},"jti":"j{user}"}}"#
    )
}

pub fn signed(header: &str, claims: &str) -> Vec<u8> {
    let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let said = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let signature = signing_key().sign(said.as_bytes());
    format!("{said}.{}", encode(&signature.to_bytes())).into_bytes()
}

pub fn token(user: i64) -> Vec<u8> {
    signed(HEADER, &claims(user))
}

pub fn udp(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .connect(SocketAddr::from(([127, 0, 0, 1], port)))
        .unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[allow(unsafe_code)]
fn readable(descriptor: i32, patience: Duration) -> bool {
    // SAFETY: the descriptor belongs to the server that the caller holds.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let mut waited = [PollFd::new(descriptor, PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    poll(&mut waited, timeout).is_ok_and(|ready| ready > 0)
}

/// Waits as `World::wait` does, but takes no events.
pub fn spin(held: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !held() {
        assert!(Instant::now() < deadline, "never");
        std::thread::yield_now();
    }
}
