//! Hostile clients over TCP: strangers who have nothing, and players who have a genuine token.
//!
//! Owns what one visit of each consists of: a few messages with malformed bodies where the server
//! refuses those and goes on, within the rates it grants, and one packet that ends the connection.
//! Never sends a packet that a server should act on, but greeting and token. Called by the flood.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::flood::counts::{Counts, State};
use crate::flood::packets::{Chance, Closer, HELLO, LOGIN, REGISTER};
use crate::flood::talk::Talk;
use crate::frame::ENTER;

/// The answer to HELLO.
const HELLO_OK: u16 = 101;
/// Answers to a token that was believed.
const ENTERED: [u16; 2] = [300, 301];
/// A connection may say so many of a class of messages at once, a greeting among them.
const BODIES_MAX: u64 = 4;
/// From the beginning of one visit of a player to that of the next one.
const VISIT_EVERY: Duration = Duration::from_secs(1);

/// A server that clients dial.
pub struct Door {
    /// Where.
    pub address: SocketAddr,
    /// Whether it takes names and passwords.
    pub takes_passwords: bool,
}

/// One connection that shows no token: closed at once, after malformed messages, or after a
/// greeting and malformed messages.
pub fn stranger(
    counts: &Counts,
    doors: &[Door],
    hello: &[u8],
    chance: &mut Chance,
) -> Result<(), Failure> {
    let door = chance.one_of(doors);
    let door = door.ok_or_else(|| Failure::Usage("--addresses is empty".to_owned()))?;
    let mut octet = || u8::try_from(chance.below(250) + 1).unwrap_or(1);
    let source = Ipv4Addr::new(127, octet(), octet(), octet());
    let state = if chance.below(3) == 0 {
        State::Greeted
    } else {
        State::Connected
    };
    let Some(mut talk) = Talk::open(counts, door.address, source, state)? else {
        return Ok(());
    };
    if matches!(state, State::Greeted) {
        match talk.ask(HELLO, hello)? {
            Some(found) if found.opcode == HELLO_OK => {}
            Some(_) => return Err(Failure::Server("a greeting was not answered".to_owned())),
            None => return Ok(()),
        }
    }
    if matches!(state, State::Greeted) || chance.below(2) == 0 {
        let count = chance.below(BODIES_MAX + 1);
        if !talk.bodies(&[HELLO], count, chance)? {
            return Ok(());
        }
        if door.takes_passwords {
            let count = chance.below(BODIES_MAX + 1);
            if !talk.bodies(&[LOGIN, REGISTER], count, chance)? {
                return Ok(());
            }
        }
    }
    let closer = Closer::any_of(&Closer::OF_STRANGERS, chance);
    talk.close(closer, chance)
}

/// A player with a token that may be shown again and again.
#[derive(Debug, PartialEq, Eq)]
pub struct Player {
    address: SocketAddr,
    source: Ipv4Addr,
    token: String,
    /// Opcodes that the server serves a player, and how many of each it takes at once.
    opcodes: Vec<(u16, u64)>,
}

impl Player {
    /// The player of a line `H:P SOURCE TOKEN OPCODE:COUNT,…`.
    pub fn parse(line: &str) -> Result<Self, Failure> {
        let wrong = || Failure::Usage("a line is H:P SOURCE TOKEN OPCODE:COUNT,…".to_owned());
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, source, token, opcodes] = words.as_slice() else {
            return Err(wrong());
        };
        let opcode = |text: &str| {
            let (opcode, count) = text.split_once(':')?;
            Some((opcode.parse().ok()?, count.parse().ok()?))
        };
        Ok(Self {
            address: address.parse().map_err(|_| wrong())?,
            source: source.parse().map_err(|_| wrong())?,
            token: (*token).to_owned(),
            opcodes: opcodes
                .split(',')
                .map(|text| opcode(text).ok_or_else(wrong))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Visits again and again `until` then.
    pub fn visit(
        &self,
        counts: &Counts,
        until: Instant,
        chance: &mut Chance,
    ) -> Result<(), Failure> {
        let mut next = Instant::now();
        while next < until {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += VISIT_EVERY;
            self.visit_once(counts, chance)?;
        }
        Ok(())
    }

    fn visit_once(&self, counts: &Counts, chance: &mut Chance) -> Result<(), Failure> {
        let opened = Talk::open(counts, self.address, self.source, State::Proved)?;
        let Some(mut talk) = opened else {
            return Ok(());
        };
        match talk.ask(ENTER, self.token.as_bytes())? {
            Some(found) if ENTERED.contains(&found.opcode) => {}
            Some(found) => {
                let text = format!("a genuine token was answered by opcode {}", found.opcode);
                return Err(Failure::Server(text));
            }
            None => return Ok(()),
        }
        for (opcode, count) in &self.opcodes {
            if !talk.bodies(&[*opcode], *count, chance)? {
                return Ok(());
            }
        }
        let closer = Closer::any_of(&Closer::OF_PLAYERS, chance);
        talk.close(closer, chance)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_read_from_his_line_or_refused() {
        let read = Player::parse("127.0.0.1:7000 127.3.2.1 a.b.c 408:30,402:20").unwrap();
        assert_eq!(read.address, "127.0.0.1:7000".parse().unwrap());
        assert_eq!(read.source, Ipv4Addr::new(127, 3, 2, 1));
        assert_eq!(read.token, "a.b.c");
        assert_eq!(read.opcodes, [(408, 30), (402, 20)]);
        for line in [
            "",
            "127.0.0.1:7000 127.3.2.1 a.b.c",
            "x 127.3.2.1 a.b.c 408:30",
        ] {
            assert!(Player::parse(line).is_err(), "{line}");
        }
        assert!(Player::parse("127.0.0.1:7000 127.3.2.1 a.b.c 408").is_err());
    }
}
