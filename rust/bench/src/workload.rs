//! What a load is told to send, and at what pace.
//!
//! Owns the reading of these options and their limits. Never sends anything: `generate` does.

use crate::connection::Plan;
use crate::failure::Failure;
use crate::frame::{Body, Count, HEADER_BYTES};
use crate::options::{Options, bytes_from_hex};

/// Open loop: more than this unanswered on one connection and messages wait, still due.
const OPEN_IN_FLIGHT_MAX: u32 = 1_024;

/// What makes the next message due.
pub enum Pace {
    /// A reply on the same connection.
    Closed { depth: u32 },
    /// A reply on any connection.
    Chosen { in_flight: u32, depth: u32 },
    /// The clock.
    Open { rate_per_s: f64 },
}

impl Pace {
    /// The pace that the options name.
    pub fn read(options: &Options) -> Result<Self, Failure> {
        match options.number::<f64>("rate")? {
            Some(rate_per_s) if rate_per_s > 0.0 => Ok(Self::Open { rate_per_s }),
            Some(_) => Err(Failure::Usage("--rate must be above 0".to_owned())),
            None => {
                let depth = options.required_number("depth")?;
                Ok(match options.number("in-flight")? {
                    Some(in_flight) => Self::Chosen { in_flight, depth },
                    None => Self::Closed { depth },
                })
            }
        }
    }
}

/// What every connection sends, and how much of it may be unanswered.
pub fn read_plan(options: &Options, pace: &Pace) -> Result<Plan, Failure> {
    let opcode = options.number("opcode")?.unwrap_or(102);
    let body = match options.text("body") {
        Some(text) => Body::Fixed(bytes_from_hex(text)?, read_count(options)?),
        None => {
            let frame_bytes: usize = options.required_number("bytes")?;
            let least = "--bytes counts the 10-byte header";
            let body_bytes = frame_bytes.checked_sub(HEADER_BYTES);
            Body::Pattern(body_bytes.ok_or_else(|| Failure::Usage(least.to_owned()))?)
        }
    };
    let in_flight_max = match pace {
        Pace::Closed { depth } | Pace::Chosen { depth, .. } if (1..=4_096).contains(depth) => {
            depth.next_power_of_two()
        }
        Pace::Closed { .. } | Pace::Chosen { .. } => {
            return Err(Failure::Usage("--depth is outside 1..4096".to_owned()));
        }
        Pace::Open { .. } => match options.number::<u32>("depth")? {
            Some(depth) => depth.clamp(1, OPEN_IN_FLIGHT_MAX).next_power_of_two(),
            None => OPEN_IN_FLIGHT_MAX,
        },
    };
    Ok(Plan {
        opcode,
        reply_opcode: options.number("reply-opcode")?.unwrap_or(opcode),
        body,
        in_flight_max,
    })
}

/// Where the number of a message stands in its body, and how far it counts.
fn read_count(options: &Options) -> Result<Option<Count>, Failure> {
    let Some(at) = options.number("count-at")? else {
        return Ok(None);
    };
    let to = options.number::<u32>("count-to")?;
    if to == Some(0) {
        return Err(Failure::Usage("--count-to must be above 0".to_owned()));
    }
    Ok(Some(Count { at, to }))
}

/// Frames that every connection sends and has answered before the load: `OPCODE:HEX,…`.
pub fn read_setup(options: &Options) -> Result<Vec<(u16, Vec<u8>)>, Failure> {
    let text = options.text("setup").unwrap_or("");
    let wrong = || Failure::Usage(format!("--setup is not OPCODE:HEX,…: {text:?}"));
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (opcode, body) = part.split_once(':').ok_or_else(wrong)?;
            Ok((opcode.parse().map_err(|_| wrong())?, bytes_from_hex(body)?))
        })
        .collect()
}

/// Process ids: `PID,PID,…`.
pub fn read_watched(options: &Options) -> Result<Vec<u32>, Failure> {
    let text = options.text("watch").unwrap_or("");
    let wrong = || Failure::Usage(format!("--watch is not PID,PID,…: {text:?}"));
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().map_err(|_| wrong()))
        .collect()
}
