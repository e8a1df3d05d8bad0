//! The gate: which frames of one connection are believed, and which end it.
//!
//! Owns the state of a peer (open, user, link), its rates and its deadlines. Sans-IO: time is an
//! argument, sockets and queues are elsewhere. Never raises: every verdict is a value. Called by
//! `conn` for each frame and each deadline.

use crate::bucket::{Bucket, Rate};
use crate::config::Settings;
use crate::error::{CloseReason, CoreError};
use crate::ids::opcode;
use crate::token::TokenRules;

/// What to do with one frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Hand it to Python.
    Deliver,
    /// Send the same body back under this opcode.
    Echo(u16),
    /// The body is a token: verify it.
    Verify,
    /// Nothing more to do.
    Ignore,
    /// End the connection.
    Close(CloseReason),
}

/// What one opcode means on the client port.
#[derive(Clone, Copy, Debug)]
struct OpcodeRule {
    /// Bit 0: while open; bit 1: as a user; 0: no such opcode here.
    states: u8,
    class: u8,
    echo: Option<u16>,
    rate: Rate,
}

/// What all client connections and links of a node have in common.
#[derive(Debug)]
pub struct GateRules {
    opcodes: Vec<OpcodeRule>,
    classes: usize,
    bytes_rate: Rate,
    /// How tokens are verified.
    pub tokens: TokenRules,
    frame_bytes_max: u32,
    frame_unproved_bytes_max: u32,
    link_frame_bytes_max: u32,
    unproved_bytes_max: u32,
    open_for_ns: u64,
    open_reason: CloseReason,
    frame_ns: u64,
    idle_ns: u64,
    heartbeat_lost_ns: u64,
    link_opcodes: Vec<(String, Vec<bool>)>,
}

impl GateRules {
    /// Takes the rules out of checked settings.
    ///
    /// # Errors
    /// `CoreError::Setting` when a token key is unusable.
    pub fn new(settings: &Settings) -> Result<Self, CoreError> {
        let takes_tokens = settings.takes_tokens();
        let (open_for_ms, open_reason) = if takes_tokens {
            (settings.prove_ms, CloseReason::ProveTimeout)
        } else {
            (settings.open_ms, CloseReason::OpenTimeout)
        };
        #[allow(clippy::cast_precision_loss)]
        let bytes_rate = Rate::new(settings.bytes_per_s_max as f64, settings.bytes_burst_max);
        Ok(Self {
            opcodes: opcode_rules(settings),
            classes: settings.rate_classes.len(),
            bytes_rate,
            tokens: TokenRules::new(settings)?,
            frame_bytes_max: settings.frame_bytes_max,
            frame_unproved_bytes_max: settings.frame_unproved_bytes_max,
            link_frame_bytes_max: settings.link_frame_bytes_max,
            unproved_bytes_max: if takes_tokens {
                settings
                    .frame_unproved_bytes_max
                    .saturating_mul(UNPROVED_FRAMES)
            } else {
                u32::MAX
            },
            open_for_ns: ns(open_for_ms),
            open_reason,
            frame_ns: ns(settings.frame_ms),
            idle_ns: ns(settings.idle_ms),
            heartbeat_lost_ns: ns(settings.heartbeat_lost_ms),
            link_opcodes: link_rules(settings),
        })
    }

    #[inline]
    fn opcode(&self, number: u16) -> &OpcodeRule {
        self.opcodes.get(usize::from(number)).unwrap_or(&NO_OPCODE)
    }

    fn link_may_send(&self, role: u16, number: u16) -> bool {
        let allowed = self.link_opcodes.get(usize::from(role));
        allowed.is_some_and(|(_, opcodes)| opcodes.get(usize::from(number)) == Some(&true))
    }

    /// The index of a peer's role, to be kept in its gate.
    #[must_use]
    pub fn link_role(&self, role: &str) -> u16 {
        let index = self
            .link_opcodes
            .iter()
            .position(|(known, _)| known == role);
        index
            .and_then(|index| u16::try_from(index).ok())
            .unwrap_or(u16::MAX)
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Peer {
    Open { unproved_bytes: u32 },
    User,
    Link { role: u16 },
}

/// The state of one connection at the gate.
#[derive(Debug)]
pub struct Gate {
    peer: Peer,
    user: i64,
    buckets: Box<[Bucket]>,
    bytes: Bucket,
    open_since_ns: u64,
    heard_ns: u64,
    /// No frame is a sign of life any more.
    is_deaf: bool,
    /// When the frame that is incomplete now was begun; 0: none is.
    frame_since_ns: u64,
    /// Since when it is not read for want of room here; 0: it is read.
    held_since_ns: u64,
    /// For how long it was not read, until all that came meanwhile is judged.
    slack_ns: u64,
}

impl Gate {
    /// The gate of a client that came at `now_ns` and said nothing yet.
    #[must_use]
    pub fn for_client(rules: &GateRules, now_ns: u64) -> Self {
        Self {
            peer: Peer::Open { unproved_bytes: 0 },
            user: 0,
            buckets: vec![Bucket::default(); rules.classes].into_boxed_slice(),
            bytes: Bucket::default(),
            open_since_ns: now_ns,
            heard_ns: now_ns,
            is_deaf: false,
            frame_since_ns: 0,
            held_since_ns: 0,
            slack_ns: 0,
        }
    }

    /// The gate of an authenticated server link: its server number and the index of its role.
    #[must_use]
    pub fn for_link(number: u16, role: u16, now_ns: u64) -> Self {
        Self {
            peer: Peer::Link { role },
            user: i64::from(number),
            buckets: Box::default(),
            bytes: Bucket::default(),
            open_since_ns: now_ns,
            heard_ns: now_ns,
            is_deaf: false,
            frame_since_ns: 0,
            held_since_ns: 0,
            slack_ns: 0,
        }
    }

    /// The user or server number this connection proved; 0 before that.
    #[inline]
    #[must_use]
    pub fn user(&self) -> i64 {
        self.user
    }

    /// Whether this is a client that proved nothing yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.peer, Peer::Open { .. })
    }

    /// Largest `length` this peer may announce now.
    #[inline]
    #[must_use]
    pub fn length_max(&self, rules: &GateRules) -> u32 {
        match self.peer {
            Peer::Open { .. } => rules.frame_unproved_bytes_max,
            Peer::User => rules.frame_bytes_max,
            Peer::Link { .. } => rules.link_frame_bytes_max,
        }
    }

    /// Judges one whole frame.
    #[inline]
    pub fn judge(
        &mut self,
        rules: &GateRules,
        number: u16,
        wire_bytes: usize,
        now_ns: u64,
    ) -> Verdict {
        if !self.is_deaf {
            self.heard_ns = now_ns;
        }
        match self.peer {
            Peer::User => self.judge_client(rules, number, wire_bytes, STATE_USER, now_ns),
            Peer::Open { unproved_bytes } => {
                self.judge_open(rules, number, wire_bytes, unproved_bytes, now_ns)
            }
            Peer::Link { role } => judge_link(rules, role, number),
        }
    }

    fn judge_open(
        &mut self,
        rules: &GateRules,
        number: u16,
        wire_bytes: usize,
        unproved_bytes: u32,
        now_ns: u64,
    ) -> Verdict {
        let more = u32::try_from(wire_bytes).unwrap_or(u32::MAX);
        let unproved_bytes = unproved_bytes.saturating_add(more);
        if unproved_bytes > rules.unproved_bytes_max {
            return Verdict::Close(CloseReason::UnprovedBytes);
        }
        self.peer = Peer::Open { unproved_bytes };
        if number == opcode::ENTER && rules.tokens.takes_tokens() {
            return if self.take_bytes(rules, wire_bytes, now_ns) {
                Verdict::Verify
            } else {
                Verdict::Close(CloseReason::RateLimited)
            };
        }
        self.judge_client(rules, number, wire_bytes, STATE_OPEN, now_ns)
    }

    #[inline]
    fn judge_client(
        &mut self,
        rules: &GateRules,
        number: u16,
        wire_bytes: usize,
        state: u8,
        now_ns: u64,
    ) -> Verdict {
        let rule = rules.opcode(number);
        if rule.states & state == 0 {
            return Verdict::Close(refusal(rules, rule, number));
        }
        let bucket = &mut self.buckets[usize::from(rule.class)];
        let enough = bucket.take_late(rule.rate, 1, now_ns, self.slack_ns);
        if !(enough && self.take_bytes(rules, wire_bytes, now_ns)) {
            return Verdict::Close(CloseReason::RateLimited);
        }
        match rule.echo {
            None => Verdict::Deliver,
            Some(reply) => Verdict::Echo(reply),
        }
    }

    #[inline]
    fn take_bytes(&mut self, rules: &GateRules, wire_bytes: usize, now_ns: u64) -> bool {
        let rate = rules.bytes_rate;
        self.bytes
            .take_late(rate, wire_bytes as u64, now_ns, self.slack_ns)
    }

    /// A token was believed, or the node vouches: from now on a user. 0 makes it open again.
    pub fn set_user(&mut self, user: i64, now_ns: u64) {
        if matches!(self.peer, Peer::Link { .. }) {
            return;
        }
        if user > 0 {
            self.peer = Peer::User;
            self.user = user;
        } else {
            self.peer = Peer::Open { unproved_bytes: 0 };
            self.user = 0;
            self.open_since_ns = now_ns;
        }
    }

    /// Notes that a read left a frame incomplete, `fresh` when other frames were completed by it.
    #[inline]
    pub fn frame_begun(&mut self, fresh: bool, now_ns: u64) {
        if fresh || self.frame_since_ns == 0 {
            self.frame_since_ns = now_ns;
        }
    }

    /// Notes that no frame is incomplete, or that its completion does not depend on the peer.
    #[inline]
    pub fn frame_done(&mut self) {
        self.frame_since_ns = 0;
    }

    /// Notes whether the peer is not read for want of room here. That time counts against none of
    /// his deadlines, his silence begins after it, and what he sent meanwhile at his rate is not
    /// too much although it is judged at one moment.
    pub fn hold(&mut self, held: bool, now_ns: u64) {
        if self.is_held() {
            let held_ns = now_ns.saturating_sub(self.held_since_ns);
            self.heard_ns = now_ns;
            self.slack_ns += held_ns;
            self.open_since_ns += held_ns;
            if self.frame_since_ns > 0 {
                self.frame_since_ns += held_ns;
            }
        }
        self.held_since_ns = if held { now_ns } else { 0 };
    }

    /// Whether the peer is not read for want of room here.
    #[inline]
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_since_ns > 0
    }

    /// From now on the time without a frame runs whatever comes: nothing reaches the peer any more,
    /// and he must not stay for what he says.
    pub fn stop_hearing(&mut self) {
        self.is_deaf = true;
    }

    /// Notes that all is judged that came from the peer, unless he is not read now.
    #[inline]
    pub fn caught_up(&mut self) {
        if !self.is_held() {
            self.slack_ns = 0;
        }
    }

    /// When the frame was begun that the peer has to complete now.
    #[must_use]
    pub fn frame_since_ns(&self) -> Option<u64> {
        let waits_for_peer = self.frame_since_ns > 0 && !self.is_held();
        waits_for_peer.then_some(self.frame_since_ns)
    }

    /// When this connection ends if nothing more is heard, and why.
    #[must_use]
    pub fn deadline(&self, rules: &GateRules) -> (u64, CloseReason) {
        let mut first = match self.peer {
            Peer::Link { .. } => (
                self.heard_ns + rules.heartbeat_lost_ns,
                CloseReason::LinkLost,
            ),
            Peer::User => (self.heard_ns + rules.idle_ns, CloseReason::Idle),
            Peer::Open { .. } => {
                let idle = (self.heard_ns + rules.idle_ns, CloseReason::Idle);
                let open = (self.open_since_ns + rules.open_for_ns, rules.open_reason);
                if open.0 <= idle.0 { open } else { idle }
            }
        };
        if self.frame_since_ns > 0 && !matches!(self.peer, Peer::Link { .. }) {
            let frame_end_ns = self.frame_since_ns + rules.frame_ns;
            if frame_end_ns < first.0 {
                first = (frame_end_ns, CloseReason::FrameTimeout);
            }
        }
        first
    }
}

fn judge_link(rules: &GateRules, role: u16, number: u16) -> Verdict {
    match number {
        opcode::LINK_PING => Verdict::Echo(opcode::LINK_PONG),
        opcode::LINK_PONG => Verdict::Ignore,
        _ if rules.link_may_send(role, number) => Verdict::Deliver,
        _ => Verdict::Close(CloseReason::ForbiddenOpcode),
    }
}

#[cold]
fn refusal(rules: &GateRules, rule: &OpcodeRule, number: u16) -> CloseReason {
    let is_enter = number == opcode::ENTER && rules.tokens.takes_tokens();
    let is_link = (opcode::LINK_FIRST..=opcode::LINK_LAST).contains(&number)
        || rules
            .link_opcodes
            .iter()
            .any(|(_, all)| all.get(usize::from(number)) == Some(&true));
    if rule.states != 0 || is_enter || is_link {
        CloseReason::ForbiddenOpcode
    } else {
        CloseReason::UnknownOpcode
    }
}

fn opcode_rules(settings: &Settings) -> Vec<OpcodeRule> {
    let mut rules = Vec::new();
    for (number, state, class) in &settings.client_opcodes {
        let index = usize::from(*number);
        if rules.len() <= index {
            rules.resize(index + 1, NO_OPCODE);
        }
        let states = match state {
            0 => STATE_OPEN,
            1 => STATE_USER,
            _ => STATE_OPEN | STATE_USER,
        };
        let echoes = settings.core_echo_opcodes.iter();
        let echo = echoes
            .filter(|(request, _)| request == number)
            .map(|(_, reply)| *reply)
            .next();
        let (_, per_s, burst) = &settings.rate_classes[*class as usize];
        let rate = Rate::new(*per_s, u64::from(*burst));
        // The check of the settings holds the number of classes to a byte.
        let class = u8::try_from(*class).unwrap_or(u8::MAX);
        rules[index] = OpcodeRule {
            states,
            class,
            echo,
            rate,
        };
    }
    rules
}

fn link_rules(settings: &Settings) -> Vec<(String, Vec<bool>)> {
    let mut rules: Vec<(String, Vec<bool>)> = Vec::new();
    for (role, number) in &settings.link_opcodes {
        let index = rules
            .iter()
            .position(|(known, _)| known == role)
            .unwrap_or_else(|| {
                rules.push((role.clone(), Vec::new()));
                rules.len() - 1
            });
        let allowed = &mut rules[index].1;
        if allowed.len() <= usize::from(*number) {
            allowed.resize(usize::from(*number) + 1, false);
        }
        allowed[usize::from(*number)] = true;
    }
    rules
}

fn ns(time_ms: u64) -> u64 {
    time_ms.saturating_mul(1_000_000)
}

const NO_OPCODE: OpcodeRule = OpcodeRule {
    states: 0,
    class: 0,
    echo: None,
    rate: Rate::NONE,
};
const STATE_OPEN: u8 = 1;
const STATE_USER: u8 = 2;
/// A client needs a greeting and a token before it is proved: some frames of the largest size.
const UNPROVED_FRAMES: u32 = 4;
