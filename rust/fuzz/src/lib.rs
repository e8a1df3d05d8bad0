//! What must hold for any bytes: one body a fuzz target.
//!
//! Owns the claims. Never makes the bytes: cargo-fuzz does in the programs of `fuzz_targets`, and
//! `rust/tests/corpus.rs`, which includes this file by its path, replays the kept corpus and
//! mutations of it in every `cargo test`. A body panics where a claim fails, and tells whether the
//! bytes came past the first door, so that a corpus that reaches nothing any more is noticed.

#![allow(clippy::expect_used)]

pub mod datagram;
pub mod frame;
pub mod link_handshake;
mod settings;
pub mod token;

/// What one target does with any bytes.
pub type Body = fn(&[u8]) -> bool;

/// Every target by the name of its program and of its corpus.
pub const TARGETS: [(&str, Body); 4] = [
    ("datagram", datagram::holds),
    ("frame", frame::holds),
    ("link_handshake", link_handshake::holds),
    ("token", token::holds),
];
