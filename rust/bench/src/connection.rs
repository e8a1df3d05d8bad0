//! One client connection of a load: what it sent, what it must receive, byte for byte.
//!
//! Owns the socket, its unsent bytes, its incomplete tail and the due time of every message in
//! flight; allocates nothing after it is made. Never decides when to send: `generate` does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::failure::Failure;
use crate::frame::{self, Body, CLOSING, ENTER, HEADER_BYTES, Template};
use crate::histogram::Histogram;

/// A server that does not answer a first frame within this is broken.
const ANSWER: Duration = Duration::from_secs(10);
const REPLY_BYTES_MAX: usize = 65_536;

/// What every connection of a load sends.
pub struct Plan {
    /// Opcode of each message.
    pub opcode: u16,
    /// Opcode that answers it.
    pub reply_opcode: u16,
    /// The bodies.
    pub body: Body,
    /// Most messages in flight on one connection; a power of two.
    pub in_flight_max: u32,
}

/// What all connections of a load received.
pub struct Tally {
    /// Checked replies.
    pub received: u64,
    /// Frames without a request.
    pub pushes: u64,
    /// From due time to reply.
    pub latencies: Histogram,
}

/// One connection.
pub struct Connection {
    /// The socket, for the epoll set.
    pub stream: TcpStream,
    template: Template,
    next_seq: u32,
    next_reply: u32,
    out: Vec<u8>,
    written_bytes: usize,
    tail: Vec<u8>,
    due_ns: Box<[u64]>,
}

/// Dials `address`, from `source` when given (each source address has ports of its own).
pub fn dial(address: SocketAddr, source: Option<Ipv4Addr>) -> Result<TcpStream, Failure> {
    let stream = match source {
        None => TcpStream::connect(address)?,
        Some(source) => {
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            bind(&socket, &SocketAddrV4::new(source, 0))?;
            connect(&socket, &address)?;
            TcpStream::from(socket)
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends one frame and waits for the frame that repeats its seq, reading nothing past it.
pub fn ask(stream: &mut TcpStream, opcode: u16, seq: u32, body: &[u8]) -> Result<(), Failure> {
    tell(stream, opcode, seq, body)?;
    hear(stream, seq)
}

fn tell(stream: &mut TcpStream, opcode: u16, seq: u32, body: &[u8]) -> Result<(), Failure> {
    let mut out = Vec::new();
    frame::write(&mut out, opcode, seq, body)?;
    stream.write_all(&out)?;
    Ok(())
}

fn hear(stream: &mut TcpStream, seq: u32) -> Result<(), Failure> {
    stream.set_read_timeout(Some(ANSWER))?;
    loop {
        let mut head = [0_u8; HEADER_BYTES];
        stream.read_exact(&mut head)?;
        let Some(header) = frame::header(&head) else {
            continue;
        };
        let mut rest = vec![0_u8; header.frame_bytes.saturating_sub(HEADER_BYTES)];
        stream.read_exact(&mut rest)?;
        if header.opcode == CLOSING {
            return Err(closing(&rest));
        }
        if header.seq == seq {
            return Ok(());
        }
    }
}

/// Shows the token and waits for the welcome. The seq is 1, so that a push cannot be taken for it.
pub fn enter(stream: &mut TcpStream, token: &str) -> Result<(), Failure> {
    ask(stream, ENTER, 1, token.as_bytes())
}

/// Shows a token on each stream, then waits for all welcomes: a server that claims players in
/// groups is not made to claim them one by one.
pub fn enter_all(streams: &mut [TcpStream], tokens: &[String]) -> Result<(), Failure> {
    for (stream, token) in streams.iter_mut().zip(tokens) {
        tell(stream, ENTER, 1, token.as_bytes())?;
    }
    streams.iter_mut().try_for_each(|stream| hear(stream, 1))
}

fn closing(body: &[u8]) -> Failure {
    // The body is the MessagePack array `[reason]`, a number below 128.
    let reason = body.get(1).copied().unwrap_or(0);
    Failure::Server(format!("the server closes: reason {reason}"))
}

impl Connection {
    /// Takes over a greeted stream. `seq_first` is the seq of its first message of the load.
    pub fn new(
        stream: TcpStream,
        index: u32,
        seq_first: u32,
        plan: &Plan,
    ) -> Result<Self, Failure> {
        stream.set_nonblocking(true)?;
        let in_flight_max = usize::try_from(plan.in_flight_max).unwrap_or(usize::MAX);
        Ok(Self {
            stream,
            template: Template::new(&plan.body, plan.opcode, index, seq_first)?,
            next_seq: seq_first,
            next_reply: seq_first,
            out: Vec::with_capacity(in_flight_max * (plan.body.len() + HEADER_BYTES)),
            written_bytes: 0,
            tail: Vec::with_capacity(REPLY_BYTES_MAX.min(plan.body.len() + 4_096)),
            due_ns: vec![0; in_flight_max].into_boxed_slice(),
        })
    }

    /// Messages sent and not answered.
    pub fn in_flight(&self) -> u32 {
        self.next_seq.wrapping_sub(self.next_reply)
    }

    /// Appends one message that was due at `due_ns`.
    pub fn queue(&mut self, plan: &Plan, due_ns: u64) {
        let place = place(self.next_seq, plan);
        self.due_ns[place] = due_ns;
        self.template.append(&mut self.out, self.next_seq);
        self.next_seq = self.next_seq.wrapping_add(1);
    }

    /// Writes what is queued in one call. False while the socket takes no more.
    pub fn flush(&mut self) -> Result<bool, Failure> {
        while self.written_bytes < self.out.len() {
            match self.stream.write(&self.out[self.written_bytes..]) {
                Ok(0) => return Err(Failure::Server("the server takes no bytes".to_owned())),
                Ok(length) => self.written_bytes += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written_bytes = 0;
        Ok(true)
    }

    /// One read; every whole frame in it is checked and counted. Returns the replies.
    pub fn receive(
        &mut self,
        plan: &Plan,
        scratch: &mut [u8],
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<u32, Failure> {
        let kept = self.tail.len();
        scratch[..kept].copy_from_slice(&self.tail);
        let end = match self.stream.read(&mut scratch[kept..]) {
            Ok(0) => return Err(Failure::Server("the server ended a connection".to_owned())),
            Ok(length) => kept + length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut at = 0;
        let mut replies = 0;
        while let Some(header) = frame::header(&scratch[at..end]) {
            if header.frame_bytes > REPLY_BYTES_MAX || header.frame_bytes < HEADER_BYTES {
                return Err(Failure::Server(
                    "a frame of an impossible length".to_owned(),
                ));
            }
            if end - at < header.frame_bytes {
                break;
            }
            let body = &scratch[at + HEADER_BYTES..at + header.frame_bytes];
            replies += self.check(plan, &header, body, now_ns, tally)?;
            at += header.frame_bytes;
        }
        self.tail.clear();
        self.tail.extend_from_slice(&scratch[at..end]);
        Ok(replies)
    }

    fn check(
        &mut self,
        plan: &Plan,
        header: &frame::Header,
        body: &[u8],
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<u32, Failure> {
        if header.opcode == CLOSING {
            return Err(closing(body));
        }
        if header.seq == 0 && header.opcode != plan.reply_opcode {
            tally.pushes += 1;
            return Ok(0);
        }
        let expected = self.next_reply;
        if header.opcode != plan.reply_opcode || header.seq != expected || self.in_flight() == 0 {
            return Err(Failure::Server(format!(
                "expected opcode {} seq {expected}, received opcode {} seq {}",
                plan.reply_opcode, header.opcode, header.seq
            )));
        }
        if !self.template.is_echo(body, expected) {
            return Err(Failure::Server(format!(
                "the body of seq {expected} is another one"
            )));
        }
        tally
            .latencies
            .record(now_ns.saturating_sub(self.due_ns[place(expected, plan)]));
        tally.received += 1;
        self.next_reply = expected.wrapping_add(1);
        Ok(1)
    }
}

fn place(seq: u32, plan: &Plan) -> usize {
    usize::try_from(seq & (plan.in_flight_max - 1)).unwrap_or(0)
}
