//! Hostile clients: malformed packets in bursts, each connection thrown away afterwards.
//!
//! Owns the kinds of malformed packets and the counting of what came back. Every answer but a
//! refusal or the word of a closing server counts as accepted, of which there must be none. Never
//! sends a packet that a server should act on.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::connect::raise_descriptor_limit;
use crate::connection::dial;
use crate::failure::Failure;
use crate::frame::{CLOSING, ENTER, header, write};
use crate::options::Options;

/// A refusal: body `[code, detail]`.
const REFUSED: u16 = 104;
const HELLO: u16 = 100;
const REGISTER: u16 = 200;
const LOGIN: u16 = 202;
/// Kinds of malformed packets.
const KINDS: u64 = 8;
/// Longest wait for the end of a connection.
const END: Duration = Duration::from_secs(5);

/// What all threads count together.
#[derive(Default)]
struct Counts {
    packets: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
    closed: AtomicU64,
    accepted: AtomicU64,
    open: AtomicU64,
    away: AtomicU64,
}

/// Sends `packets`, prints what came of them.
pub fn run(options: &Options) -> Result<(), Failure> {
    options.only(&["addresses", "packets", "burst", "threads", "rate", "seed"])?;
    raise_descriptor_limit()?;
    let addresses: Vec<SocketAddr> = options
        .required("addresses")?
        .split(',')
        .map(|text| {
            text.parse()
                .map_err(|_| Failure::Usage(format!("no address: {text}")))
        })
        .collect::<Result<_, _>>()?;
    let packets: u64 = options.required_number("packets")?;
    let burst = options.number::<u64>("burst")?.unwrap_or(32).max(1);
    let threads = options.number::<u64>("threads")?.unwrap_or(8).max(1);
    let rate = options.number::<f64>("rate")?.unwrap_or(0.0);
    let seed = options.number::<u64>("seed")?.unwrap_or(1);
    let counts = Counts::default();
    let fault: Mutex<Option<Failure>> = Mutex::new(None);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (counts, addresses, fault) = (&counts, &addresses, &fault);
            scope.spawn(move || {
                let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (thread + 1));
                while counts.packets.fetch_add(burst, Ordering::Relaxed) < packets {
                    if let Err(failure) = one(addresses, burst, &mut chance, counts) {
                        if let Ok(mut kept) = fault.lock() {
                            kept.get_or_insert(failure);
                        }
                        return;
                    }
                    pace(begun, rate, counts);
                }
            });
        }
    });
    if let Some(failure) = fault.into_inner().ok().flatten() {
        return Err(failure);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let told = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let sent = told(&counts.connections).saturating_mul(burst);
    #[allow(clippy::cast_precision_loss)]
    let per_s = sent as f64 / seconds;
    println!(
        "{}",
        json!({
            "packets": sent, "connections": told(&counts.connections),
            "refused": told(&counts.refused), "closed": told(&counts.closed),
            "accepted": told(&counts.accepted), "open": told(&counts.open),
            "away": told(&counts.away), "seconds": seconds, "packets_per_s": per_s,
        })
    );
    Ok(())
}

/// Waits while more was sent than `rate` packets a second allow; 0: never.
#[allow(clippy::cast_precision_loss)]
fn pace(begun: Instant, rate: f64, counts: &Counts) {
    if rate > 0.0 {
        let due = counts.packets.load(Ordering::Relaxed) as f64 / rate;
        let ahead = due - begun.elapsed().as_secs_f64();
        if ahead > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(ahead.min(1.0)));
        }
    }
}

/// One connection: a burst, then everything that comes back until its end.
fn one(
    addresses: &[SocketAddr],
    burst: u64,
    chance: &mut Chance,
    counts: &Counts,
) -> Result<(), Failure> {
    let place = usize::try_from(chance.below(addresses.len() as u64)).unwrap_or(0);
    let address = *addresses
        .get(place)
        .ok_or_else(|| Failure::Usage("--addresses is empty".to_owned()))?;
    let octet = |number: u64| u8::try_from(number % 250 + 1).unwrap_or(1);
    let source = Ipv4Addr::new(
        127,
        octet(chance.next()),
        octet(chance.next()),
        octet(chance.next()),
    );
    let Ok(mut stream) = dial(address, Some(source)) else {
        counts.away.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    let mut bytes = Vec::new();
    for seq in 0..burst {
        malformed(&mut bytes, u32::try_from(seq).unwrap_or(0), chance)?;
    }
    counts.connections.fetch_add(1, Ordering::Relaxed);
    // A server that closed on the first of them need not take the others.
    let _ = stream
        .write_all(&bytes)
        .and_then(|()| stream.shutdown(Shutdown::Write));
    judge(&mut stream, counts)
}

/// Counts the frames that come back, to the end of the connection.
fn judge(stream: &mut TcpStream, counts: &Counts) -> Result<(), Failure> {
    stream.set_read_timeout(Some(END))?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => counts.closed.fetch_add(1, Ordering::Relaxed),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            counts.open.fetch_add(1, Ordering::Relaxed)
        }
        Err(_) => counts.closed.fetch_add(1, Ordering::Relaxed), // reset
    };
    let mut rest = answer.as_slice();
    while let Some(found) = header(rest) {
        match found.opcode {
            REFUSED | CLOSING => counts.refused.fetch_add(1, Ordering::Relaxed),
            _ => counts.accepted.fetch_add(1, Ordering::Relaxed),
        };
        rest = rest.get(found.frame_bytes..).unwrap_or(&[]);
    }
    Ok(())
}

/// Appends one malformed packet of any kind.
fn malformed(out: &mut Vec<u8>, seq: u32, chance: &mut Chance) -> Result<(), Failure> {
    let noise = chance.noise(60);
    let short = |number: u64| u16::try_from(number & 0xFFFF).unwrap_or(0);
    match chance.below(KINDS) {
        0 => {
            // Shorter than its own header, or longer than any frame may be.
            let length = match chance.below(2) {
                0 => chance.below(6),
                _ => 20_000 + chance.below(u64::from(u32::MAX) - 20_000),
            };
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(&noise);
        }
        1 => write(out, 9_000 + short(chance.below(50_000)), seq, &noise)?, // unknown
        2 => write(out, short(chance.below(100)), seq, &noise)?,            // lifecycle and links
        3 => write(out, HELLO, seq, &spoiled(noise))?,
        4 => write(out, LOGIN, seq, &spoiled(noise))?,
        5 => write(out, REGISTER, seq, &spoiled(noise))?,
        6 => write(out, ENTER, seq, &noise)?,
        _ => out.extend_from_slice(&noise),
    }
    Ok(())
}

/// A body that decodes as nothing: 0xC1 is never used by the encoding.
fn spoiled(mut noise: Vec<u8>) -> Vec<u8> {
    noise.insert(0, 0xC1);
    noise
}

/// xorshift64*, Marsaglia 2003 and Vigna 2014: the same seed sends the same bytes.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit.max(1)
    }

    fn noise(&mut self, bytes_max: u64) -> Vec<u8> {
        let count = self.below(bytes_max);
        (0..count)
            .map(|_| u8::try_from(self.next() >> 56).unwrap_or(0))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_sends_the_same_bytes_and_another_seed_others() {
        let burst = |seed| {
            let mut chance = Chance(seed);
            let mut out = Vec::new();
            for seq in 0..64 {
                assert!(malformed(&mut out, seq, &mut chance).is_ok());
            }
            out
        };
        assert_eq!(burst(7), burst(7));
        assert_ne!(burst(7), burst(8));
    }

    #[test]
    fn a_spoiled_body_begins_with_the_byte_that_no_message_has() {
        assert_eq!(spoiled(vec![1, 2]), vec![0xC1, 1, 2]);
    }
}
