//! The network core: every socket of one node and every limit on it.
//!
//! Owns framing, the gate, queues, links and datagrams. Never runs game code and never calls into
//! Python from a thread of its own. Called by `mmo._core` (the `bridge` module) and by Rust tests.
//!
//! Modules point one way: `ids error config sync` ← `frame ring pool queue wake bucket token
//! stats` ← `gate outbox` ← `registry` ← `conn` ← `listener peer datagram` ← `server` ← `bridge`.
//! Left of `conn` everything is sans-IO: bytes and time are arguments.

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod bucket;
pub mod config;
pub mod error;
pub mod frame;
pub mod ids;
pub mod outbox;
pub mod pool;
pub mod queue;
pub mod registry;
pub mod ring;
pub mod stats;
pub mod sync;
pub mod wake;

#[cfg(not(loom))]
pub mod conn;
#[cfg(not(loom))]
pub mod datagram;
#[cfg(not(loom))]
pub mod gate;
#[cfg(not(loom))]
pub mod listener;
#[cfg(not(loom))]
pub mod peer;
#[cfg(not(loom))]
pub mod server;
#[cfg(not(loom))]
pub mod token;

#[cfg(feature = "python")]
mod bridge;
