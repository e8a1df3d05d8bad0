//! Why connections end, and why the core refuses a caller.
//!
//! Owns the list of close reasons, whose numbers are on the wire and therefore never reused, and
//! the caller's error. Never logs. Used by every other module.

use thiserror::Error;

/// The core cannot do what its caller asked.
#[derive(Debug, Error)]
pub enum CoreError {
    /// A setting is out of range or contradicts another.
    #[error("setting {field}: {why}")]
    Setting {
        /// Name of the setting.
        field: &'static str,
        /// What is wrong with its value.
        why: String,
    },
    /// An address cannot be bound or understood.
    #[error("address {address}: {source}")]
    Address {
        /// `host:port` as asked.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused a descriptor or a thread.
    #[error("{what}: {source}")]
    System {
        /// What was asked of the system.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
    /// `start` may be called once.
    #[error("the core was started before")]
    StartedBefore,
    /// The call needs a running core.
    #[error("the core is not running")]
    NotRunning,
    /// The process was forked after the core was made; the child has none of its threads.
    #[error("the core was made in another process (before a fork)")]
    Forked,
}

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $counter:literal;)*) => {
        /// Why a connection ended. Numbers are on the wire and never reused.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u16)]
        pub enum CloseReason {
            $($(#[$doc])* $variant = $number,)*
        }

        impl CloseReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that Python and the logs use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The name of the counter of this reason in `stats`.
            #[must_use]
            pub fn counter_name(self) -> &'static str {
                match self { $(Self::$variant => $counter,)* }
            }

            /// The reason of a wire number, if there is one.
            #[must_use]
            pub fn from_number(number: i64) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

close_reasons! {
    /// The peer closed or reset the connection.
    PeerClosed = 1, "PEER_CLOSED", "closed_peer_closed_total";
    /// The bytes are not a frame.
    ProtocolError = 2, "PROTOCOL_ERROR", "closed_protocol_error_total";
    /// A frame announced more bytes than its sender may send.
    FrameTooLarge = 3, "FRAME_TOO_LARGE", "closed_frame_too_large_total";
    /// An opcode that nobody handles here.
    UnknownOpcode = 4, "UNKNOWN_OPCODE", "closed_unknown_opcode_total";
    /// An opcode that exists, but not for this peer in its present state.
    ForbiddenOpcode = 5, "FORBIDDEN_OPCODE", "closed_forbidden_opcode_total";
    /// The token is malformed, forged, or meant for someone else.
    TokenInvalid = 6, "TOKEN_INVALID", "closed_token_invalid_total";
    /// The token was good once.
    TokenExpired = 7, "TOKEN_EXPIRED", "closed_token_expired_total";
    /// More messages or bytes a second than allowed.
    RateLimited = 8, "RATE_LIMITED", "closed_rate_limited_total";
    /// The peer does not read what is sent to it.
    SlowConsumer = 9, "SLOW_CONSUMER", "closed_slow_consumer_total";
    /// No token within `prove_ms`.
    ProveTimeout = 10, "PROVE_TIMEOUT", "closed_prove_timeout_total";
    /// A frame was begun and not completed within `frame_ms`.
    FrameTimeout = 11, "FRAME_TIMEOUT", "closed_frame_timeout_total";
    /// No frame within `idle_ms`.
    Idle = 12, "IDLE", "closed_idle_total";
    /// Too many connections from one address, at once or a second.
    AddressLimit = 13, "ADDRESS_LIMIT", "closed_address_limit_total";
    /// Too many connections without a token.
    ServerFull = 14, "SERVER_FULL", "closed_server_full_total";
    /// The node is shutting down.
    ServerStopping = 15, "SERVER_STOPPING", "closed_server_stopping_total";
    /// The node lost its lease and may not serve.
    NodeFenced = 16, "NODE_FENCED", "closed_node_fenced_total";
    /// The account logged in elsewhere.
    SessionTaken = 17, "SESSION_TAKEN", "closed_session_taken_total";
    /// An operator or the game removed the player.
    Kicked = 18, "KICKED", "closed_kicked_total";
    /// The player logged out.
    LoggedOut = 19, "LOGGED_OUT", "closed_logged_out_total";
    /// A server link fell silent or was replaced by a newer one.
    LinkLost = 20, "LINK_LOST", "closed_link_lost_total";
    /// A server link was not accepted: wrong proof, wrong number, or a duplicate.
    LinkRefused = 21, "LINK_REFUSED", "closed_link_refused_total";
    /// The TLS handshake failed.
    TlsFailed = 22, "TLS_FAILED", "closed_tls_failed_total";
    /// The system reported an error on the socket.
    IoError = 23, "IO_ERROR", "closed_io_error_total";
    /// The player's place is now another server.
    Moved = 24, "MOVED", "closed_moved_total";
    /// A body that does not decode as its message.
    BadMessage = 25, "BAD_MESSAGE", "closed_bad_message_total";
    /// More bytes before a token than a token needs.
    UnprovedBytes = 26, "UNPROVED_BYTES", "closed_unproved_bytes_total";
    /// A visit to a server without tokens lasted longer than `open_ms`.
    OpenTimeout = 27, "OPEN_TIMEOUT", "closed_open_timeout_total";
    /// Client and server do not speak the same protocol.
    ProtocolMismatch = 28, "PROTOCOL_MISMATCH", "closed_protocol_mismatch_total";
}

impl CloseReason {
    /// The wire number.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_round_trip() {
        for (index, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(usize::from(reason.number()), index + 1);
            assert!(reason.number() < 128, "a MessagePack fixint on the wire");
            assert_eq!(
                CloseReason::from_number(i64::from(reason.number())),
                Some(*reason)
            );
            let counter = format!("closed_{}_total", reason.name().to_lowercase());
            assert_eq!(counter, reason.counter_name());
        }
        assert_eq!(CloseReason::from_number(0), None);
        assert_eq!(CloseReason::from_number(-1), None);
    }
}
