//! A core that takes tokens: its settings, the time, and the key that signs them.
//!
//! Owns fixed values only, so that a corpus keeps its meaning. Called by `token`.

use ed25519_dalek::SigningKey;
use mmo_core::config::Settings;

/// The time at which tokens are judged.
pub const NOW_S: i64 = 1_800_000_000;

/// The key that signs the tokens of the corpus.
pub fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// A channel server that believes `signing_key`.
pub fn settings() -> Settings {
    Settings {
        server_number: 11,
        role: "channel".to_owned(),
        incarnation: 1,
        host: "127.0.0.1".to_owned(),
        client_port: 0,
        datagram_port: -1,
        link_host: "127.0.0.1".to_owned(),
        link_port: -1,
        tls_certificate_file: String::new(),
        tls_key_file: String::new(),
        connections_max: 16,
        connections_unproved_max: 16,
        connections_per_address_max: 0,
        connects_per_address_per_s_max: 0,
        connects_per_address_burst_max: 1,
        links_max: 4,
        accept_backlog: 16,
        frame_bytes_max: 4_096,
        frame_unproved_bytes_max: 2_048,
        link_frame_bytes_max: 65_536,
        ring_bytes: 16_384,
        rings_max: 16,
        body_slot_bytes: 256,
        body_slots_max: 64,
        inbound_events_max: 1_024,
        inbound_high_water: 512,
        inbound_low_water: 128,
        outbox_bytes_max: 65_536,
        link_outbox_bytes_max: 65_536,
        prove_ms: 10_000,
        open_ms: 10_000,
        frame_ms: 10_000,
        idle_ms: 10_000,
        close_flush_ms: 1_000,
        heartbeat_ms: 1_000,
        heartbeat_lost_ms: 4_000,
        redial_ms_min: 100,
        redial_ms_max: 1_000,
        dial_ms: 1_000,
        rate_classes: vec![("any".to_owned(), 100.0, 100)],
        bytes_per_s_max: 1_000_000,
        bytes_burst_max: 1_000_000,
        client_opcodes: vec![(105, 2, 0)],
        core_echo_opcodes: Vec::new(),
        link_opcodes: Vec::new(),
        token_keys: vec![(
            "fuzz".to_owned(),
            signing_key().verifying_key().to_bytes().to_vec(),
        )],
        token_issuer: "mmo".to_owned(),
        token_audiences: vec!["channel".to_owned(), "11".to_owned(), "session".to_owned()],
        token_types: vec!["session+jwt".to_owned()],
        token_leeway_s: 2,
        token_bytes_max: 4_096,
        link_secret: vec![7; 32],
        datagram_proof_ms: 30_000,
        datagram_bytes_max: 1_200,
        log_records_per_s: 10,
    }
}
