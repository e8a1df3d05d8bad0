//! Many connections that do nothing: what an idle player costs.
//!
//! Owns the opening from several source addresses (one address has some 28,000 ports) and the
//! check that every connection is still there at the end. Never sends anything after the token.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::connection::{dial, enter};
use crate::failure::Failure;
use crate::options::Options;

/// Opens all, prints `{"connected", "seconds"}`, holds, prints `{"alive"}`.
#[allow(clippy::cast_precision_loss)]
pub fn run(options: &Options) -> Result<(), Failure> {
    options.only(&["address", "connections", "hold", "enter", "sources"])?;
    raise_descriptor_limit()?;
    let address: SocketAddr = options.required_number("address")?;
    let count: usize = options.required_number("connections")?;
    let hold = options.seconds("hold")?;
    let hold = hold.ok_or_else(|| Failure::Usage("--hold is missing".to_owned()))?;
    let sources = options.number::<u8>("sources")?.unwrap_or(4).clamp(1, 200);
    let tokens = options.text("enter").map(read_tokens).transpose()?;
    let begun = Instant::now();
    let mut streams = Vec::with_capacity(count);
    for (index, octet) in (0..count).zip((2..2 + sources).cycle()) {
        let mut stream = dial(address, Some(Ipv4Addr::new(127, 0, 0, octet)))?;
        if let Some(tokens) = &tokens {
            let short = || Failure::Usage("fewer tokens than connections".to_owned());
            enter(&mut stream, tokens.get(index).ok_or_else(short)?)?;
        }
        streams.push(stream);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let per_s = count as f64 / seconds;
    println!(
        "{}",
        json!({"connected": count, "seconds": seconds, "connections_per_s": per_s})
    );
    let ended = watch(&streams, hold)?;
    println!("{}", json!({"alive": count - ended}));
    Ok(())
}

/// Waits for `hold`; returns how many connections the server ended or spoke on meanwhile.
fn watch(streams: &[std::net::TcpStream], hold: Duration) -> Result<usize, Failure> {
    let until = Instant::now() + hold;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut watched: Vec<_> = streams
            .iter()
            .map(|stream| PollFd::new(stream, PollFlags::IN | PollFlags::RDHUP))
            .collect();
        match poll(&mut watched, Some(&timeout)) {
            Ok(0) => return Ok(0),
            Ok(ended) => return Ok(ended),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// One token a line.
pub fn read_tokens(path: &str) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path)?;
    Ok(text
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// As many descriptors as the system allows.
pub fn raise_descriptor_limit() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}
