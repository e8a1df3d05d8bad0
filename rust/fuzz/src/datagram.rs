//! Any bytes as a client's datagram: none without the key proves an address, a true one does once.

use hmac::{Hmac, KeyInit, Mac};
use mmo_core::datagram::{Identity, MAC_BYTES, PROOF_BYTES, named};
use mmo_core::ids::ConnId;
use sha2::Sha256;

const KEY: [u8; 16] = [7; 16];
const OTHER_KEY: [u8; 16] = [8; 16];
const SAID_BYTES: usize = PROOF_BYTES - MAC_BYTES;

/// Judges the bytes as they are, then what they say with the true MAC. True when they name an
/// identity.
pub fn holds(bytes: &[u8]) -> bool {
    let found = named(bytes);
    assert_eq!(
        found.is_some(),
        bytes.len() == PROOF_BYTES,
        "a proof has one length"
    );
    if let Some((_, datagram)) = found {
        let (mut ours, mut stranger) = (identity(&KEY), identity(&OTHER_KEY));
        assert!(
            !(ours.prove(datagram) && stranger.prove(datagram)),
            "two keys, one MAC"
        );
        assert!(!ours.prove(datagram), "a repeated datagram proves nothing");
    }
    if let Some(said) = bytes.first_chunk::<SAID_BYTES>() {
        genuine(said);
    }
    found.is_some()
}

/// What an owner of the key says proves once, when it is counted.
fn genuine(said: &[u8; SAID_BYTES]) {
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).expect("any key length");
    mac.update(said);
    let mut whole = said.to_vec();
    whole.extend_from_slice(&mac.finalize().into_bytes()[..MAC_BYTES]);
    let (number, datagram) = named(&whole).expect("a whole datagram names an identity");
    assert_eq!(number.to_le_bytes(), said[..8], "the one that it says");
    let has_counter = said[8..] != [0; 8];
    let mut ours = identity(&KEY);
    assert_eq!(
        ours.prove(datagram),
        has_counter,
        "a true datagram with a counter proves"
    );
    assert!(!ours.prove(datagram), "and only once");
    assert!(
        !identity(&OTHER_KEY).prove(datagram),
        "and not for another key"
    );
}

fn identity(key: &[u8; 16]) -> Identity {
    Identity::new(ConnId::new(1, 1), 1, key).expect("a key of 16 bytes")
}
