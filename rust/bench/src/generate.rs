//! The load generator: many connections, one thread, every reply checked.
//!
//! Owns the pace: closed loop (a fixed number in flight, a reply buys the next message) or open
//! loop (a fixed rate; latency counts from the time a message was due, so a stalled server cannot
//! hide its stall, and the lag behind that time is told, so that the generator's own stall is not
//! taken for the server's). Connections take turns, or with `--choice` a law draws the connection
//! of each message; one for a connection that has `--depth` in flight waits for it, still due. What
//! was due before the window ended is sent and answered too, however late. Never allocates per
//! message. Run against the floor and against the core with the same bytes, so that its own cost is
//! in both. Prints one JSON line.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use serde_json::json;

use crate::choice::Choice;
use crate::connect::{raise_descriptor_limit, read_tokens};
use crate::connection::{Connection, Plan, Tally, ask, dial, enter_all};
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::lag::Lag;
use crate::meter::Edge;
use crate::options::Options;
use crate::workload::{Pace, read_plan, read_setup, read_watched};

const SCRATCH_BYTES: usize = 262_144;
const EVENTS: usize = 1_024;
/// After the window, what is in flight must be answered, and no answer may take longer than this
/// after the one before.
const DRAIN: Duration = Duration::from_secs(10);
/// Open loop: after so many messages in a row the replies are looked at, however many are due.
const BURST: usize = 256;
/// Connections that show their tokens before the first of them is waited for.
const ENTERING: usize = 64;

struct Load {
    plan: Plan,
    connections: Vec<Connection>,
    epoll: OwnedFd,
    scratch: Vec<u8>,
    tally: Tally,
    /// Of an open loop alone: a closed one has no time at which a message is due.
    lag: Option<Lag>,
    begun: Instant,
    sent: u64,
    sent_max: u64,
    choice: Option<Choice>,
    /// Due times of what waits for its connection, by connection.
    owed: Vec<VecDeque<u64>>,
    /// Processes whose processor time is told beside the server's.
    watched: Vec<u32>,
}

/// Runs one load.
pub fn run(options: &Options) -> Result<(), Failure> {
    options.only(&[
        "address",
        "connections",
        "depth",
        "bytes",
        "for",
        "warm",
        "enter",
        "setup",
        "opcode",
        "reply-opcode",
        "body",
        "count-at",
        "count-to",
        "rate",
        "messages",
        "server-pid",
        "choice",
        "in-flight",
        "watch",
    ])?;
    raise_descriptor_limit()?;
    let pace = Pace::read(options)?;
    let server_pid = options.number::<u32>("server-pid")?;
    let mut load = Load::open(options, &pace)?;
    let (begin, end, counted) = match options.number::<u64>("messages")? {
        Some(messages) => load.run_count(&pace, messages, server_pid)?,
        None => {
            let warm = options.seconds("warm")?.unwrap_or(Duration::ZERO);
            let length = options.seconds("for")?;
            let length = length.ok_or_else(|| Failure::Usage("--for is missing".to_owned()))?;
            load.run_window(&pace, warm, length, server_pid)?
        }
    };
    let received_total = load.tally.received;
    load.report(&begin, &end, counted, received_total);
    Ok(())
}

fn elapsed_ns(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// All connections, each let in when there are tokens.
fn dial_all(
    address: SocketAddr,
    count: u32,
    tokens: Option<&[String]>,
) -> Result<Vec<TcpStream>, Failure> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if tokens.is_some_and(|tokens| tokens.len() < count) {
        return Err(Failure::Usage("fewer tokens than connections".to_owned()));
    }
    let mut streams = Vec::with_capacity(count);
    for first in (0..count).step_by(ENTERING) {
        for _ in first..count.min(first + ENTERING) {
            streams.push(dial(address, None)?);
        }
        if let Some(tokens) = tokens {
            enter_all(&mut streams[first..], &tokens[first..])?;
        }
    }
    Ok(streams)
}

impl Load {
    fn open(options: &Options, pace: &Pace) -> Result<Self, Failure> {
        let address: SocketAddr = options.required_number("address")?;
        let count: u32 = options.required_number("connections")?;
        let tokens = options.text("enter").map(read_tokens).transpose()?;
        let setup = read_setup(options)?;
        let plan = read_plan(options, pace)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let choice = match (options.text("choice"), pace) {
            (Some(law), _) => Some(Choice::parse(law, count)?),
            (None, Pace::Chosen { .. }) => {
                return Err(Failure::Usage("--in-flight needs --choice".to_owned()));
            }
            (None, _) => None,
        };
        let mut connections = Vec::new();
        for (index, mut stream) in (0..count).zip(dial_all(address, count, tokens.as_deref())?) {
            let mut seq = 2;
            for (opcode, body) in &setup {
                ask(&mut stream, *opcode, seq, body)?;
                seq += 1;
            }
            let connection = Connection::new(stream, index, seq, &plan)?;
            let data = EventData::new_u64(u64::from(index));
            epoll::add(&epoll, &connection.stream, data, EventFlags::IN)?;
            connections.push(connection);
        }
        let owed = connections.iter().map(|_| VecDeque::new()).collect();
        let tally = Tally {
            received: 0,
            pushes: 0,
            latencies: Histogram::new(),
        };
        Ok(Self {
            plan,
            connections,
            epoll,
            scratch: vec![0; SCRATCH_BYTES],
            tally,
            lag: matches!(pace, Pace::Open { .. }).then(Lag::new),
            begun: Instant::now(),
            sent: 0,
            sent_max: u64::MAX,
            choice,
            owed,
            watched: read_watched(options)?,
        })
    }

    fn now_ns(&self) -> u64 {
        elapsed_ns(self.begun)
    }

    /// Warm-up, then a window of time. Returns its edges and the replies between them.
    fn run_window(
        &mut self,
        pace: &Pace,
        warm: Duration,
        length: Duration,
        server_pid: Option<u32>,
    ) -> Result<(Edge, Edge, u64), Failure> {
        self.begun = Instant::now();
        self.run_until(pace, |load| load.begun.elapsed() >= warm)?;
        let begin = Edge::take_with(server_pid, &self.watched)?;
        let before = self.tally.received;
        self.tally.latencies = Histogram::new();
        self.lag = self.lag.as_ref().map(|_| Lag::new());
        let until = begin.at + length;
        self.run_until(pace, |_| Instant::now() >= until)?;
        let end = Edge::take_with(server_pid, &self.watched)?;
        let counted = self.tally.received - before;
        self.catch_up(pace, until)?;
        self.drain()?;
        Ok((begin, end, counted))
    }

    /// An exact number of messages, for counting instructions.
    fn run_count(
        &mut self,
        pace: &Pace,
        messages: u64,
        server_pid: Option<u32>,
    ) -> Result<(Edge, Edge, u64), Failure> {
        self.sent_max = messages;
        self.begun = Instant::now();
        let begin = Edge::take_with(server_pid, &self.watched)?;
        self.run_until(pace, |load| load.sent >= load.sent_max)?;
        self.drain()?;
        let end = Edge::take_with(server_pid, &self.watched)?;
        Ok((begin, end, self.tally.received))
    }

    fn run_until(&mut self, pace: &Pace, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        match pace {
            Pace::Closed { depth } => {
                for at in 0..self.connections.len() {
                    let missing = depth.saturating_sub(self.connections[at].in_flight());
                    self.send(at, missing)?;
                }
                while !done(self) {
                    self.pass(Duration::from_millis(1), true)?;
                }
            }
            Pace::Chosen { in_flight, .. } => {
                let missing = u64::from(*in_flight).saturating_sub(self.sent - self.tally.received);
                for _ in 0..missing {
                    self.issue(self.now_ns())?;
                }
                while !done(self) {
                    self.pass(Duration::from_millis(1), true)?;
                }
            }
            Pace::Open { rate_per_s } => {
                while !done(self) {
                    let wait = self.issue_due(*rate_per_s, u64::MAX)?;
                    self.pass(wait.unwrap_or(Duration::ZERO), false)?;
                }
            }
        }
        Ok(())
    }

    /// Open loop: makes known all that was due before `until` and was not yet, so that what a
    /// stall at the end of the window kept back is sent, answered and measured as well.
    fn catch_up(&mut self, pace: &Pace, until: Instant) -> Result<(), Failure> {
        let Pace::Open { rate_per_s } = pace else {
            return Ok(());
        };
        let until_ns = (until - self.begun).as_nanos();
        let until_ns = u64::try_from(until_ns).unwrap_or(u64::MAX);
        while let Some(wait) = self.issue_due(*rate_per_s, until_ns)? {
            self.pass(wait, false)?;
        }
        Ok(())
    }

    /// Stops sending and waits for every answer: a lost message is an error, not a statistic.
    fn drain(&mut self) -> Result<(), Failure> {
        let mut deadline = Instant::now() + DRAIN;
        let mut received = self.tally.received;
        while self.tally.received < self.sent {
            if self.tally.received > received {
                received = self.tally.received;
                deadline = Instant::now() + DRAIN;
            }
            if Instant::now() > deadline {
                let lost = self.sent - self.tally.received;
                return Err(Failure::Server(format!(
                    "{lost} messages were never answered"
                )));
            }
            self.pass(Duration::from_millis(1), false)?;
        }
        Ok(())
    }

    /// Sends up to `count` messages due now on one connection, in one write.
    fn send(&mut self, at: usize, count: u32) -> Result<(), Failure> {
        let due_ns = self.now_ns();
        let connection = &mut self.connections[at];
        for _ in 0..count {
            if self.sent >= self.sent_max {
                break;
            }
            connection.queue(&self.plan, due_ns);
            self.sent += 1;
        }
        self.flush(at)
    }

    /// One message for the connection that the law draws or whose turn it is; it waits while that
    /// one has enough.
    fn issue(&mut self, due_ns: u64) -> Result<(), Failure> {
        let at = match &mut self.choice {
            Some(choice) => choice.draw(),
            None => usize::try_from(self.sent % self.connections.len() as u64).unwrap_or(0),
        };
        self.sent += 1;
        self.owed[at].push_back(due_ns);
        if self.connections[at].in_flight() >= self.plan.in_flight_max {
            self.hold(self.sent);
        }
        self.pay(at)
    }

    /// Sends what waits for one connection, as far as it may.
    fn pay(&mut self, at: usize) -> Result<(), Failure> {
        while self.connections[at].in_flight() < self.plan.in_flight_max {
            let Some(due_ns) = self.owed[at].pop_front() else {
                break;
            };
            self.hand_over(at, due_ns);
        }
        self.flush(at)
    }

    /// One message that was due at `due_ns` goes to its connection, to be written now.
    fn hand_over(&mut self, at: usize, due_ns: u64) {
        if let Some(lag) = &mut self.lag {
            lag.sent(due_ns, elapsed_ns(self.begun));
        }
        self.connections[at].queue(&self.plan, due_ns);
    }

    /// The message of this number is due and waits for its connection.
    fn hold(&mut self, message: u64) {
        if let Some(lag) = &mut self.lag {
            lag.held(message);
        }
    }

    fn flush(&mut self, at: usize) -> Result<(), Failure> {
        let whole = self.connections[at].flush()?;
        if !whole {
            self.hold(self.sent);
            let data = EventData::new_u64(at as u64);
            let both = EventFlags::IN | EventFlags::OUT;
            epoll::modify(&self.epoll, &self.connections[at].stream, data, both)?;
        }
        Ok(())
    }

    /// Open loop: sends what is due, up to a burst. Returns the time until the next is; none when
    /// that is due at `until_ns` or later.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    fn issue_due(&mut self, rate_per_s: f64, until_ns: u64) -> Result<Option<Duration>, Failure> {
        let gap_ns = 1e9 / rate_per_s;
        for _ in 0..BURST {
            let due_ns = (self.sent as f64 * gap_ns) as u64;
            if due_ns >= until_ns || self.sent >= self.sent_max {
                return Ok(None);
            }
            let now_ns = self.now_ns();
            if due_ns > now_ns {
                let wait = Duration::from_nanos(due_ns - now_ns);
                return Ok(Some(wait.min(Duration::from_millis(1))));
            }
            self.issue(due_ns)?;
        }
        Ok(Some(Duration::ZERO))
    }

    /// One wait on all sockets; with `refill` each reply buys the next message.
    fn pass(&mut self, wait: Duration, refill: bool) -> Result<(), Failure> {
        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let (ready, _) = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            other => other?,
        };
        for event in ready {
            let at = usize::try_from(event.data.u64()).unwrap_or(0);
            let now_ns = self.now_ns();
            let flags = event.flags;
            if flags.contains(EventFlags::OUT) && self.connections[at].flush()? {
                let data = EventData::new_u64(at as u64);
                epoll::modify(
                    &self.epoll,
                    &self.connections[at].stream,
                    data,
                    EventFlags::IN,
                )?;
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                let connection = &mut self.connections[at];
                let scratch = &mut self.scratch;
                let replies = connection.receive(&self.plan, scratch, now_ns, &mut self.tally)?;
                if replies > 0 && !self.owed[at].is_empty() {
                    self.pay(at)?;
                }
                if refill && self.choice.is_some() {
                    for _ in 0..replies {
                        self.issue(now_ns)?;
                    }
                } else if refill && replies > 0 {
                    self.send(at, replies)?;
                }
            }
        }
        Ok(())
    }

    #[allow(clippy::cast_precision_loss)]
    fn report(&self, begin: &Edge, end: &Edge, counted: u64, received_total: u64) {
        let window = begin.until(end);
        let per_message_us = window
            .server_cpu_s
            .map(|cpu_s| cpu_s * 1e6 / counted.max(1) as f64);
        let line = json!({
            "messages": counted,
            "seconds": window.seconds,
            "messages_per_s": counted as f64 / window.seconds,
            "server_us_per_message": per_message_us,
            "server_busy": window.server_busy(),
            "server_cpu_s": window.server_cpu_s,
            "server_main_cpu_s": window.main_cpu_s,
            "watched_cpu_s": window.watched_cpu_s,
            "generator_busy": window.own_busy(),
            "lag_p50_ms": self.lag.as_ref().map(|lag| lag.late().percentile_ms(500)),
            "lag_p99_ms": self.lag.as_ref().map(|lag| lag.late().percentile_ms(990)),
            "lag_longest_ms": self.lag.as_ref().map(|lag| lag.late().longest_ms()),
            "held": self.lag.as_ref().map(Lag::held_total),
            "void": window.is_void(),
            "sent_total": self.sent,
            "received_total": received_total,
            "pushes_total": self.tally.pushes,
            "p50_ms": self.tally.latencies.percentile_ms(500),
            "p99_ms": self.tally.latencies.percentile_ms(990),
            "p999_ms": self.tally.latencies.percentile_ms(999),
            "longest_ms": self.tally.latencies.longest_ms(),
        });
        println!("{line}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A load on one connection, whose server repeats every byte until it ends.
    fn load(words: &[&str]) -> (Load, Pace) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::copy(&mut stream.try_clone().unwrap(), &mut stream)
        });
        let fixed = ["--address", &address, "--connections", "1", "--bytes", "64"];
        let given = fixed.iter().chain(words).map(|word| (*word).to_owned());
        let options = Options::parse(given).unwrap();
        let pace = Pace::read(&options).unwrap();
        (Load::open(&options, &pace).unwrap(), pace)
    }

    #[test]
    fn what_was_due_before_the_window_ended_is_sent_and_answered_late() {
        for law in [&[][..], &["--choice", "uniform"]] {
            let (mut load, pace) = load(&[&["--rate", "1000", "--depth", "1"], law].concat());
            load.begun -= Duration::from_millis(50);
            let until = load.begun + Duration::from_millis(40);
            load.catch_up(&pace, until).unwrap();
            load.drain().unwrap();
            assert_eq!((load.sent, load.tally.received), (40, 40));
            assert!(load.tally.latencies.longest_ms() >= 50.0);
        }
    }

    #[test]
    fn a_window_leaves_nothing_due_unsent() {
        let (mut load, pace) = load(&["--rate", "1000000", "--depth", "2"]);
        load.run_window(&pace, Duration::ZERO, Duration::ZERO, None)
            .unwrap();
        assert!(load.sent > 0 && load.tally.received == load.sent);
    }
}
