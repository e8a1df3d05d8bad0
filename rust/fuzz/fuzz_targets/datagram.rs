//! Any bytes as a client's datagram: none without the key proves an address, a true one does once.

#![no_main]

use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use mmo_core::datagram::{Identity, named};
use mmo_core::ids::ConnId;
use sha2::Sha256;

const KEY: [u8; 16] = [7; 16];
const SAID_BYTES: usize = 16;
const MAC_BYTES: usize = 8;

fn identity(key: &[u8; 16]) -> Identity {
    Identity::new(ConnId::new(1, 1), 1, key).expect("a key of 16 bytes")
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((_, datagram)) = named(bytes) {
        let (mut ours, mut stranger) = (identity(&KEY), identity(&[8; 16]));
        assert!(
            !(ours.prove(datagram) && stranger.prove(datagram)),
            "two keys, one MAC"
        );
        assert!(!ours.prove(datagram), "a repeated datagram proves nothing");
    }
    let Some(said) = bytes.first_chunk::<SAID_BYTES>() else {
        return;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).expect("any key length");
    mac.update(said);
    let mut genuine = said.to_vec();
    genuine.extend_from_slice(&mac.finalize().into_bytes()[..MAC_BYTES]);
    let Some((_, datagram)) = named(&genuine) else {
        panic!("a whole datagram names an identity");
    };
    let has_counter = said[8..] != [0; 8];
    let mut ours = identity(&KEY);
    assert_eq!(
        ours.prove(datagram),
        has_counter,
        "a true datagram with a counter proves"
    );
    assert!(!ours.prove(datagram), "and only once");
});
