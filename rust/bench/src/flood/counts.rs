//! What the hostile clients sent, by kind, and what came back.
//!
//! Owns the numbers that all threads count together and the form they are printed in. Judges
//! nothing: whoever started the flood compares them with what the servers counted.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use crate::flood::packets::{Body, Closer, Datagram};

/// Numbers by place.
pub struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Tally<N> {
    /// One more at `place`; nothing outside.
    pub fn add(&self, place: usize) {
        if let Some(count) = self.0.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn told(&self, names: &[&str; N]) -> Value {
        let each = self.0.iter().zip(names);
        let each = each.map(|(count, name)| ((*name).to_owned(), count.load(Ordering::Relaxed)));
        Value::Object(each.map(|(name, count)| (name, count.into())).collect())
    }

    fn told_by_number(&self) -> Value {
        let mut found = Map::new();
        for (number, count) in self.0.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                found.insert(number.to_string(), count.into());
            }
        }
        Value::Object(found)
    }
}

/// Who a connection comes from.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// It says nothing proper at all.
    Connected,
    /// It was greeted.
    Greeted,
    /// It showed a genuine token.
    Proved,
}

impl State {
    const NAMES: [&str; 3] = ["connected", "greeted", "proved"];
}

/// An end of a connection, or an answer, that no refusal is.
#[derive(Clone, Copy, Debug)]
pub enum Oddity {
    /// An answer that is no refusal of a malformed message.
    Accepted,
    /// The connection ended and nobody said why.
    Unexplained,
    /// The server neither answered nor ended the connection in time.
    Open,
    /// The server could not be dialled.
    Away,
}

impl Oddity {
    const NAMES: [&str; 4] = ["accepted", "unexplained", "open", "away"];
}

/// What all threads count together.
#[derive(Default)]
pub struct Counts {
    /// Packets that were written whole and end their connection.
    pub closers: Tally<{ Closer::NAMES.len() }>,
    /// Messages with a malformed body that were written whole.
    pub bodies: Tally<{ Body::NAMES.len() }>,
    /// Datagrams that the system took.
    pub datagrams: Tally<{ Datagram::NAMES.len() }>,
    /// Connections that were made.
    pub connections: Tally<3>,
    /// CLOSING frames that came, by the number of their reason.
    pub closed: Tally<128>,
    /// Malformed messages that were refused as such.
    pub refused: Tally<1>,
    /// What must not happen.
    pub odd: Tally<4>,
}

impl Counts {
    /// One thing that must not happen.
    pub fn note(&self, oddity: Oddity) {
        self.odd.add(oddity as usize);
    }

    /// All of it, for whoever compares.
    pub fn told(&self, seconds: f64) -> Value {
        json!({
            "closers": self.closers.told(&Closer::NAMES),
            "bodies": self.bodies.told(&Body::NAMES),
            "datagrams": self.datagrams.told(&Datagram::NAMES),
            "connections": self.connections.told(&State::NAMES),
            "closed": self.closed.told_by_number(),
            "refused": self.refused.told(&["bad_message"]),
            "odd": self.odd.told(&Oddity::NAMES),
            "seconds": seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_by_name_and_by_number() {
        let counts = Counts::default();
        counts.closers.add(Closer::Noise as usize);
        counts.closers.add(Closer::Noise as usize);
        counts.closed.add(3);
        counts.closed.add(1_000);
        counts.note(Oddity::Open);
        let told = counts.told(1.5);
        assert_eq!(told["closers"]["noise"], 2);
        assert_eq!(told["closers"]["length_short"], 0);
        assert_eq!(told["closed"], json!({"3": 1}));
        assert_eq!(told["odd"]["open"], 1);
    }
}
