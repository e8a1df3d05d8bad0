//! Hostile clients of several sorts at once, every packet of which a server has to judge.
//!
//! Owns the threads and their pace. What each sort sends is in `clients`, `datagrams` and
//! `packets`; what came back is counted in `counts` and printed. Never sends a packet that a server
//! should act on, but the greetings and tokens that malformed packets come after.

mod clients;
mod counts;
mod datagrams;
mod pace;
mod packets;
mod talk;

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::connect::raise_descriptor_limit;
use crate::failure::Failure;
use crate::flood::clients::{Door, Player};
use crate::flood::counts::Counts;
use crate::flood::datagrams::Identity;
use crate::flood::pace::Pace;
use crate::flood::packets::Chance;
use crate::options::{Options, bytes_from_hex};

const OPTIONS: [&str; 11] = [
    "addresses",
    "logins",
    "hello",
    "datagrams",
    "players",
    "identities",
    "for",
    "connections-per-s",
    "datagrams-per-s",
    "threads",
    "seed",
];

/// Everything one flood is made of.
struct Flood {
    doors: Vec<Door>,
    hello: Vec<u8>,
    players: Vec<Player>,
    servers: Vec<SocketAddr>,
    identities: Vec<Identity>,
    time: Duration,
    connections_per_s: f64,
    datagrams_per_s: f64,
    threads: u64,
    seed: u64,
}

/// Floods for a while, prints what was sent and what came of it.
pub fn run(options: &Options) -> Result<(), Failure> {
    raise_descriptor_limit()?;
    let flood = Flood::read(options)?;
    let counts = Counts::default();
    let begun = Instant::now();
    flood.send(begun, &counts)?;
    println!("{}", counts.told(begun.elapsed().as_secs_f64()));
    Ok(())
}

impl Flood {
    fn read(options: &Options) -> Result<Self, Failure> {
        options.only(&OPTIONS)?;
        let door = |takes_passwords| {
            move |address| Door {
                address,
                takes_passwords,
            }
        };
        let others = list::<SocketAddr>(options, "addresses")?;
        let logins = list::<SocketAddr>(options, "logins")?;
        let doors = others.into_iter().map(door(false));
        let time = options.seconds("for")?;
        Ok(Self {
            doors: doors.chain(logins.into_iter().map(door(true))).collect(),
            hello: bytes_from_hex(options.required("hello")?)?,
            players: lines(options, "players", Player::parse)?,
            servers: list(options, "datagrams")?,
            identities: lines(options, "identities", Identity::parse)?,
            time: time.ok_or_else(|| Failure::Usage("--for is missing".to_owned()))?,
            connections_per_s: options.required_number("connections-per-s")?,
            datagrams_per_s: options.required_number("datagrams-per-s")?,
            threads: options.number("threads")?.unwrap_or(8).max(1),
            seed: options.number("seed")?.unwrap_or(1),
        })
    }

    /// Runs every thread to its end. Gives the first failure of any.
    fn send(&self, begun: Instant, counts: &Counts) -> Result<(), Failure> {
        let fault: Mutex<Option<Failure>> = Mutex::new(None);
        let note = |ended: Result<(), Failure>| {
            if let (Err(failure), Ok(mut kept)) = (ended, fault.lock()) {
                kept.get_or_insert(failure);
            }
        };
        let dials = Pace::new(begun, self.time, self.connections_per_s);
        let datagrams = Pace::new(begun, self.time, self.datagrams_per_s);
        std::thread::scope(|scope| {
            let (note, dials, datagrams) = (&note, &dials, &datagrams);
            for thread in 0..self.threads {
                let chance = Chance::new(self.seed, thread);
                scope.spawn(move || note(self.strangers(counts, dials, chance)));
            }
            for (number, player) in (self.threads..).zip(&self.players) {
                let mut chance = Chance::new(self.seed, number);
                let until = begun + self.time;
                scope.spawn(move || note(player.visit(counts, until, &mut chance)));
            }
            if !self.servers.is_empty() {
                let mut chance = Chance::new(self.seed, u64::from(u32::MAX));
                let (servers, known) = (&self.servers, &self.identities);
                scope.spawn(move || {
                    note(datagrams::send(
                        counts,
                        servers,
                        known,
                        datagrams,
                        &mut chance,
                    ));
                });
            }
        });
        fault.into_inner().ok().flatten().map_or(Ok(()), Err)
    }

    fn strangers(&self, counts: &Counts, pace: &Pace, chance: Chance) -> Result<(), Failure> {
        let mut chance = chance;
        while pace.wait(1) {
            clients::stranger(counts, &self.doors, &self.hello, &mut chance)?;
        }
        Ok(())
    }
}

/// Values between commas; none where the option is not given.
fn list<T: FromStr>(options: &Options, name: &str) -> Result<Vec<T>, Failure> {
    let text = options.text(name).unwrap_or_default();
    let wrong = || Failure::Usage(format!("--{name}: {text}"));
    text.split(',')
        .filter(|one| !one.is_empty())
        .map(|one| one.parse().map_err(|_| wrong()))
        .collect()
}

/// What each line of a file says; nothing where the option is not given.
fn lines<T>(
    options: &Options,
    name: &str,
    parse: fn(&str) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let Some(path) = options.text(name) else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path)?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(parse)
        .collect()
}
