//! One hostile connection: what it writes, and every frame that comes back.
//!
//! Owns the socket and the judgement of each frame as a refusal, the word of a closing server, or
//! what must not come. Never decides what to send. Used by strangers and by players.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::connection::dial;
use crate::failure::Failure;
use crate::flood::counts::{Counts, Oddity, State};
use crate::flood::packets::{Body, Chance, Closer};
use crate::frame::{CLOSING, HEADER_BYTES, header, write};

/// A refusal: body `[code, detail]`.
const REFUSED: u16 = 104;
/// The code of a body that does not decode.
const BAD_MESSAGE: u8 = 5;
/// Refusals that are no final answer: a store is away, too much waits, it took too long.
const COME_AGAIN: [u8; 3] = [2, 3, 11];
/// Longest wait for an answer or for the end of a connection, and for a final answer. A server may
/// stand for some seconds on a busy machine; one that says nothing for so long says nothing at all.
const END: Duration = Duration::from_secs(30);
/// Until a request that found no final answer is sent again.
const AGAIN: Duration = Duration::from_millis(100);

/// A frame that came.
pub struct Heard {
    /// Kind of message.
    pub opcode: u16,
    /// Number of the request it answers; 0: none.
    pub seq: u32,
    /// Its second byte: the code of a refusal, the reason of a closing server.
    number: u8,
}

impl Heard {
    fn asks_again(&self) -> bool {
        self.opcode == REFUSED && COME_AGAIN.contains(&self.number)
    }
}

/// One connection.
pub struct Talk<'a> {
    counts: &'a Counts,
    stream: TcpStream,
    heard: Vec<u8>,
    seq: u32,
    out: Vec<u8>,
}

impl<'a> Talk<'a> {
    /// Dials; none when nobody is there, which is counted.
    pub fn open(
        counts: &'a Counts,
        address: SocketAddr,
        source: Ipv4Addr,
        state: State,
    ) -> Result<Option<Self>, Failure> {
        let Ok(stream) = dial(address, Some(source)) else {
            counts.note(Oddity::Away);
            return Ok(None);
        };
        stream.set_read_timeout(Some(END))?;
        counts.connections.add(state as usize);
        Ok(Some(Self {
            counts,
            stream,
            heard: Vec::new(),
            seq: 0,
            out: Vec::new(),
        }))
    }

    /// Sends a proper message and waits for its answer, again while it is told to come again. None
    /// when the connection is over, which is counted.
    pub fn ask(&mut self, opcode: u16, body: &[u8]) -> Result<Option<Heard>, Failure> {
        let until = Instant::now() + END;
        loop {
            let found = self.ask_once(opcode, body)?;
            if !found.as_ref().is_some_and(Heard::asks_again) || Instant::now() > until {
                return Ok(found);
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn ask_once(&mut self, opcode: u16, body: &[u8]) -> Result<Option<Heard>, Failure> {
        self.seq += 1;
        write(&mut self.out, opcode, self.seq, body)?;
        if !self.flush() {
            return Ok(None);
        }
        while let Some(found) = self.next() {
            if found.seq == self.seq {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Sends `count` messages of an opcode with malformed bodies, and waits until all are refused.
    /// False when the connection is over.
    pub fn bodies(
        &mut self,
        opcodes: &[u16],
        count: u64,
        chance: &mut Chance,
    ) -> Result<bool, Failure> {
        let mut sent = Vec::new();
        for _ in 0..count {
            let (Some(opcode), body) = (chance.one_of(opcodes), Body::any(chance)) else {
                break;
            };
            self.seq += 1;
            write(&mut self.out, *opcode, self.seq, &body.bytes(chance))?;
            sent.push(body);
        }
        if !self.flush() {
            return Ok(false);
        }
        sent.iter()
            .for_each(|body| self.counts.bodies.add(*body as usize));
        let mut wanted = sent.len();
        while wanted > 0 {
            let Some(found) = self.next() else {
                return Ok(false);
            };
            match found.opcode {
                REFUSED if found.number == BAD_MESSAGE => {
                    self.counts.refused.add(0);
                    wanted -= 1;
                }
                _ if found.seq == 0 => {} // pushed
                _ => {
                    self.counts.note(Oddity::Accepted);
                    wanted -= 1;
                }
            }
        }
        Ok(true)
    }

    /// Sends a packet that ends the connection, and reads all that still comes.
    pub fn close(mut self, closer: Closer, chance: &mut Chance) -> Result<(), Failure> {
        self.seq += 1;
        closer.write(&mut self.out, self.seq, chance)?;
        if !self.flush() {
            return Ok(());
        }
        self.counts.closers.add(closer as usize);
        while let Some(found) = self.next() {
            if found.seq != 0 {
                self.counts.note(Oddity::Accepted);
            }
        }
        Ok(())
    }

    /// The next frame; none when the connection is over, and how it ended is counted.
    fn next(&mut self) -> Option<Heard> {
        match self.hear() {
            Ok(found) if found.opcode == CLOSING => {
                self.counts.closed.add(usize::from(found.number));
                if let Err(Oddity::Open) = self.hear() {
                    self.counts.note(Oddity::Open);
                }
                None
            }
            Ok(found) => Some(found),
            Err(oddity) => {
                self.counts.note(oddity);
                None
            }
        }
    }

    fn flush(&mut self) -> bool {
        let written = self.stream.write_all(&self.out).is_ok();
        self.out.clear();
        if !written {
            self.counts.note(Oddity::Unexplained);
        }
        written
    }

    fn hear(&mut self) -> Result<Heard, Oddity> {
        let mut chunk = [0; 2_048];
        loop {
            if let Some(found) = header(&self.heard)
                && self.heard.len() >= found.frame_bytes
            {
                let frame: Vec<u8> = self.heard.drain(..found.frame_bytes).collect();
                return Ok(Heard {
                    opcode: found.opcode,
                    seq: found.seq,
                    number: frame.get(HEADER_BYTES + 1).copied().unwrap_or(0),
                });
            }
            match self.stream.read(&mut chunk) {
                Ok(got) if got > 0 => self.heard.extend_from_slice(&chunk[..got]),
                Err(error) if is_silence(&error) => return Err(Oddity::Open),
                _ => return Err(Oddity::Unexplained),
            }
        }
    }
}

fn is_silence(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use serde_json::Value;

    use super::*;

    /// What is counted of a connection whose server answers every byte it gets by `answer`, and
    /// ends it.
    fn judged(answer: Vec<u8>) -> Value {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let counts = Counts::default();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = server.accept().unwrap();
                stream.write_all(&answer).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            });
            let talk = Talk::open(&counts, address, Ipv4Addr::LOCALHOST, State::Connected);
            let mut chance = Chance::new(1, 1);
            let closer = Closer::OpcodeUnknown;
            talk.unwrap().unwrap().close(closer, &mut chance).unwrap();
        });
        counts.told(0.0)
    }

    fn framed(opcode: u16, seq: u32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, opcode, seq, body).unwrap();
        out
    }

    #[test]
    fn a_request_that_is_told_to_come_again_is_sent_again() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let counts = Counts::default();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = server.accept().unwrap();
                let answers = [
                    framed(REFUSED, 1, &[0x92, 2, 0xa0]),
                    framed(REFUSED, 2, &[0x92, 3, 0xa0]),
                    framed(300, 3, &[0x90]),
                ];
                let mut request = [0; HEADER_BYTES];
                for answer in answers {
                    stream.read_exact(&mut request).unwrap();
                    stream.write_all(&answer).unwrap();
                }
            });
            let talk = Talk::open(&counts, address, Ipv4Addr::LOCALHOST, State::Proved);
            let found = talk.unwrap().unwrap().ask(105, &[]).unwrap().unwrap();
            assert_eq!((found.opcode, found.seq), (300, 3));
        });
    }

    #[test]
    fn a_refusal_that_is_final_is_an_answer() {
        let refused = |code| Heard {
            opcode: REFUSED,
            seq: 1,
            number: code,
        };
        assert!(COME_AGAIN.iter().all(|code| refused(*code).asks_again()));
        assert!(!refused(BAD_MESSAGE).asks_again());
    }

    #[test]
    fn a_reason_that_is_told_is_counted_by_its_number() {
        let told = judged(framed(CLOSING, 0, &[0x91, 4]));
        assert_eq!(told["closed"]["4"], 1);
        assert_eq!(told["odd"]["unexplained"], 0);
    }

    #[test]
    fn an_end_without_a_word_is_no_rejection() {
        let told = judged(Vec::new());
        assert_eq!(told["odd"]["unexplained"], 1);
        assert!(told["closed"].as_object().unwrap().is_empty());
    }

    #[test]
    fn an_answer_is_no_rejection() {
        let told = judged(framed(101, 1, &[0x90]));
        assert_eq!(told["odd"]["accepted"], 1);
    }
}
