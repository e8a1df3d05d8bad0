//! Any bytes from libFuzzer, judged by `mmo_fuzz::link_handshake`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    mmo_fuzz::link_handshake::holds(bytes);
});
