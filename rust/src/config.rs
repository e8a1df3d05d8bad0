//! The settings of one core and their check.
//!
//! Owns the list of fields, which `mmo.config.CoreSettings` mirrors, and the relations between
//! them. Holds no defaults: every value comes from the configuration. Called by `server` before
//! anything is allocated.

use crate::error::CoreError;
use crate::ids::{ConnId, LENGTH_BYTES, LENGTH_MIN, opcode};

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// What one core is told. Ports: 0 lets the system pick, -1 means no such listener.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($(#[$doc])* pub $field: $type,)*
        }

        /// Names of all fields, in order.
        pub const SETTINGS_FIELDS: &[&str] = &[$(stringify!($field),)*];
    };
}

settings! {
    /// Unique number of this node, 1..65535.
    server_number: u16,
    /// What this node is; peers are told.
    role: String,
    /// Unique per process start; peers are told.
    incarnation: u64,
    /// Address of the client and datagram listeners.
    host: String,
    /// Port of the client listener.
    client_port: i32,
    /// Port of the datagram socket.
    datagram_port: i32,
    /// Address of the link listener.
    link_host: String,
    /// Port of the link listener.
    link_port: i32,
    /// PEM file of the certificate chain; empty: plain TCP.
    tls_certificate_file: String,
    /// PEM file of the private key; empty: plain TCP.
    tls_key_file: String,
    /// Client connections at once; at the limit accepting waits.
    connections_max: u32,
    /// Client connections that showed no token yet; above it new ones are closed.
    connections_unproved_max: u32,
    /// Client connections of one address, of IPv6 one network of 64 bits; 0: no limit.
    connections_per_address_max: u32,
    /// New client connections a second of one address, counted likewise; 0: no limit.
    connects_per_address_per_s_max: u32,
    /// New client connections of one address at once.
    connects_per_address_burst_max: u32,
    /// Server links at once, and as many that dialled us and still shake hands.
    links_max: u32,
    /// Connections the system keeps waiting for `accept`.
    accept_backlog: u32,
    /// Largest `length` of a client's frame.
    frame_bytes_max: u32,
    /// Largest `length` of a client's frame before its token.
    frame_unproved_bytes_max: u32,
    /// Largest `length` of a frame on a link.
    link_frame_bytes_max: u32,
    /// Receive ring of a client connection.
    ring_bytes: u32,
    /// Rings in the pool; when it is empty only long frames wait, and the oldest incomplete ends.
    rings_max: u32,
    /// Bytes of a pooled body slot.
    body_slot_bytes: u32,
    /// Body slots in the pool.
    body_slots_max: u32,
    /// Messages the inbound queue can hold.
    inbound_events_max: u32,
    /// Readers stop when so many wait.
    inbound_high_water: u32,
    /// Readers go on when so few wait.
    inbound_low_water: u32,
    /// Bytes that may wait for one client.
    outbox_bytes_max: u32,
    /// Bytes that may wait for one link.
    link_outbox_bytes_max: u32,
    /// Time to show a token, the TLS handshake included.
    prove_ms: u64,
    /// Life of a connection to a server without tokens.
    open_ms: u64,
    /// Time to complete a begun frame.
    frame_ms: u64,
    /// Time without a complete frame.
    idle_ms: u64,
    /// Time to flush before closing.
    close_flush_ms: u64,
    /// Time between two heartbeats on a link.
    heartbeat_ms: u64,
    /// Silence that ends a link.
    heartbeat_lost_ms: u64,
    /// What the pause before dialling again begins with; chance takes up to half of a pause away.
    redial_ms_min: u64,
    /// Longest pause before dialling again.
    redial_ms_max: u64,
    /// Time for connecting and shaking hands.
    dial_ms: u64,
    /// Rate classes: name, messages a second, burst.
    rate_classes: Vec<(String, f64, u32)>,
    /// Inbound bytes a second of one client.
    bytes_per_s_max: u64,
    /// Inbound bytes of one client at once.
    bytes_burst_max: u64,
    /// Client opcodes: opcode, state (0 open, 1 user, 2 both), index of the rate class.
    client_opcodes: Vec<(u16, u8, u32)>,
    /// Requests answered by the core with an unchanged body: request, reply.
    core_echo_opcodes: Vec<(u16, u16)>,
    /// Opcodes that a peer of a role may send: role, opcode.
    link_opcodes: Vec<(String, u16)>,
    /// Public keys of tokens: key id, Ed25519 key of 32 bytes.
    token_keys: Vec<(String, Vec<u8>)>,
    /// Required `iss`.
    token_issuer: String,
    /// Accepted `aud`.
    token_audiences: Vec<String>,
    /// Accepted `typ`; empty: this node takes no tokens.
    token_types: Vec<String>,
    /// Leeway for `exp` and `nbf`.
    token_leeway_s: u64,
    /// Longest token.
    token_bytes_max: u32,
    /// The cluster's secret, 32 bytes or more.
    link_secret: Vec<u8>,
    /// Life of a proved datagram address.
    datagram_proof_ms: u64,
    /// Longest datagram.
    datagram_bytes_max: u32,
    /// Log records a second, at most.
    log_records_per_s: u32,
}

impl Settings {
    /// Whether clients show tokens here.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        !self.token_types.is_empty()
    }

    /// Checks every limit and every relation between limits.
    ///
    /// # Errors
    /// `CoreError::Setting` naming the first wrong field.
    pub fn check(&self) -> Result<(), CoreError> {
        self.check_places()?;
        self.check_bytes()?;
        self.check_times()?;
        self.check_opcodes()?;
        self.check_tokens()
    }

    fn check_places(&self) -> Result<(), CoreError> {
        need(self.server_number > 0, "server_number", "must be 1..65535")?;
        need(
            is_word(&self.role),
            "role",
            "must be 1..32 letters, digits, '-' or '_'",
        )?;
        let incarnation_fits = i64::try_from(self.incarnation).is_ok();
        need(incarnation_fits, "incarnation", "must be below 2**63")?;
        let ports = [
            ("client_port", self.client_port),
            ("datagram_port", self.datagram_port),
            ("link_port", self.link_port),
        ];
        for (field, port) in ports {
            need((-1..=65535).contains(&port), field, "must be -1..65535")?;
        }
        let tls_whole = self.tls_certificate_file.is_empty() == self.tls_key_file.is_empty();
        need(tls_whole, "tls_key_file", "certificate and key go together")?;
        positive("connections_max", self.connections_max)?;
        positive("connections_unproved_max", self.connections_unproved_max)?;
        let burst = self.connects_per_address_burst_max;
        positive("connects_per_address_burst_max", burst)?;
        positive("accept_backlog", self.accept_backlog)?;
        let slots = u64::from(self.connections_max) + u64::from(self.links_max);
        let slots_fit = slots <= u64::from(ConnId::SLOTS_MAX);
        need(slots_fit, "connections_max", "with links_max above 2**24")?;
        let secret_long = self.link_secret.len() >= LINK_SECRET_BYTES_MIN;
        need(secret_long, "link_secret", "must be 32 bytes or more")
    }

    fn check_bytes(&self) -> Result<(), CoreError> {
        let frames = [
            ("frame_bytes_max", self.frame_bytes_max),
            ("frame_unproved_bytes_max", self.frame_unproved_bytes_max),
            ("link_frame_bytes_max", self.link_frame_bytes_max),
        ];
        for (field, bytes) in frames {
            need(
                (LENGTH_MIN..=FRAME_BYTES_CAP).contains(&bytes),
                field,
                "must be 6..2**26",
            )?;
        }
        let ring_fits = self.ring_bytes as usize >= LENGTH_BYTES + self.frame_bytes_max as usize;
        need(
            ring_fits,
            "ring_bytes",
            "must be 4 + frame_bytes_max or more",
        )?;
        need(
            self.ring_bytes <= 2 * FRAME_BYTES_CAP,
            "ring_bytes",
            "must be 2**27 or less",
        )?;
        let unproved_fits = self.frame_unproved_bytes_max <= self.frame_bytes_max;
        need(
            unproved_fits,
            "frame_unproved_bytes_max",
            "must be frame_bytes_max or less",
        )?;
        let counts = [
            ("rings_max", self.rings_max),
            ("body_slot_bytes", self.body_slot_bytes),
            ("body_slots_max", self.body_slots_max),
            ("inbound_events_max", self.inbound_events_max),
            ("inbound_high_water", self.inbound_high_water),
            ("outbox_bytes_max", self.outbox_bytes_max),
            ("link_outbox_bytes_max", self.link_outbox_bytes_max),
            ("log_records_per_s", self.log_records_per_s),
        ];
        for (field, count) in counts {
            positive(field, count)?;
        }
        let high_fits = self.inbound_high_water <= self.inbound_events_max;
        need(
            high_fits,
            "inbound_high_water",
            "must be inbound_events_max or less",
        )?;
        let low_fits = self.inbound_low_water < self.inbound_high_water;
        need(
            low_fits,
            "inbound_low_water",
            "must be below inbound_high_water",
        )?;
        let datagram_fits = (64..=65_507).contains(&self.datagram_bytes_max);
        need(datagram_fits, "datagram_bytes_max", "must be 64..65507")
    }

    fn check_times(&self) -> Result<(), CoreError> {
        let times = [
            ("prove_ms", self.prove_ms),
            ("open_ms", self.open_ms),
            ("frame_ms", self.frame_ms),
            ("idle_ms", self.idle_ms),
            ("close_flush_ms", self.close_flush_ms),
            ("heartbeat_ms", self.heartbeat_ms),
            ("heartbeat_lost_ms", self.heartbeat_lost_ms),
            ("redial_ms_min", self.redial_ms_min),
            ("redial_ms_max", self.redial_ms_max),
            ("dial_ms", self.dial_ms),
            ("datagram_proof_ms", self.datagram_proof_ms),
        ];
        for (field, time_ms) in times {
            need(
                (1..=TIME_MS_CAP).contains(&time_ms),
                field,
                "must be 1 ms..1 year",
            )?;
        }
        let beats = self.heartbeat_lost_ms > self.heartbeat_ms;
        need(beats, "heartbeat_lost_ms", "must be above heartbeat_ms")?;
        let redials = self.redial_ms_min <= self.redial_ms_max;
        need(redials, "redial_ms_max", "must be redial_ms_min or more")
    }

    fn check_opcodes(&self) -> Result<(), CoreError> {
        need(
            self.rate_classes.len() <= 255,
            "rate_classes",
            "must be 255 or fewer",
        )?;
        for (_, per_s, burst) in &self.rate_classes {
            let sound = per_s.is_finite() && *per_s > 0.0 && *burst > 0;
            need(
                sound,
                "rate_classes",
                "rate must be above 0 and burst 1 or more",
            )?;
        }
        need(
            self.bytes_per_s_max > 0,
            "bytes_per_s_max",
            "must be above 0",
        )?;
        let frame_wire = u64::from(self.frame_bytes_max) + LENGTH_BYTES as u64;
        let burst_fits = self.bytes_burst_max >= frame_wire;
        need(
            burst_fits,
            "bytes_burst_max",
            "must hold one frame of frame_bytes_max",
        )?;
        let mut seen = std::collections::HashSet::new();
        for (number, state, class) in &self.client_opcodes {
            let field = "client_opcodes";
            need(
                seen.insert(*number),
                field,
                &format!("{number} is listed twice"),
            )?;
            let of_game = *number > opcode::LINK_LAST;
            need(
                of_game,
                field,
                &format!("{number} is no client opcode (100 and above)"),
            )?;
            need(
                *state <= 2,
                field,
                &format!("state of {number} must be 0, 1 or 2"),
            )?;
            let class_known = (*class as usize) < self.rate_classes.len();
            need(class_known, field, &format!("{number} names no rate class"))?;
        }
        for (request, _) in &self.core_echo_opcodes {
            let listed = seen.contains(request);
            need(
                listed,
                "core_echo_opcodes",
                &format!("{request} is no client opcode"),
            )?;
        }
        for (_, number) in &self.link_opcodes {
            // Lifecycle and the handshake's opcodes are read by the core itself.
            let own = opcode::LINK_HELLO..=opcode::LINK_LAST;
            let free = *number >= opcode::LINK_FIRST && !own.contains(number);
            need(
                free,
                "link_opcodes",
                &format!("{number} is reserved by the core"),
            )?;
        }
        Ok(())
    }

    fn check_tokens(&self) -> Result<(), CoreError> {
        if !self.takes_tokens() {
            return Ok(());
        }
        need(
            !self.token_keys.is_empty(),
            "token_keys",
            "must not be empty with token_types",
        )?;
        let mut names = std::collections::HashSet::new();
        for (name, key) in &self.token_keys {
            need(
                names.insert(name),
                "token_keys",
                &format!("{name} is listed twice"),
            )?;
            need(
                key.len() == 32,
                "token_keys",
                &format!("{name} is not 32 bytes"),
            )?;
        }
        need(
            !self.token_issuer.is_empty(),
            "token_issuer",
            "must not be empty",
        )?;
        need(
            !self.token_audiences.is_empty(),
            "token_audiences",
            "must not be empty",
        )?;
        positive("token_bytes_max", self.token_bytes_max)?;
        let unproved_body_max = self.frame_unproved_bytes_max - LENGTH_MIN;
        let token_fits = self.token_bytes_max <= unproved_body_max;
        need(
            token_fits,
            "token_bytes_max",
            "must fit in frame_unproved_bytes_max - 6",
        )
    }
}

fn need(sound: bool, field: &'static str, why: &str) -> Result<(), CoreError> {
    if sound {
        Ok(())
    } else {
        Err(CoreError::Setting {
            field,
            why: why.to_owned(),
        })
    }
}

fn positive(field: &'static str, value: u32) -> Result<(), CoreError> {
    need(value > 0, field, "must be above 0")
}

fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=32).contains(&text.len()) && text.chars().all(plain)
}

const LINK_SECRET_BYTES_MIN: usize = 32;
const FRAME_BYTES_CAP: u32 = 1 << 26;
const TIME_MS_CAP: u64 = 366 * 24 * 3600 * 1000;
