//! Any bytes as each message of a link's handshake: nobody without the secret is believed, and what
//! one side says is never taken for what the other says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mmo_core::peer::handshake::{Acceptor, Dialler, Identity, NONCE_BYTES};

const SECRET: &[u8] = &[7; 32];
const OTHER_SECRET: &[u8] = &[8; 32];

fn identity(number: u16, role: &str) -> Identity {
    Identity {
        number,
        incarnation: 3,
        role: role.to_owned(),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (channel, center) = (identity(11, "channel"), identity(2, "center"));
    let dialler = Dialler::new(SECRET, &channel, center.number, &[1; NONCE_BYTES]);
    assert!(
        dialler.answer(bytes).is_err(),
        "a challenge without the secret is refused"
    );
    assert!(
        dialler.answer(dialler.hello()).is_err(),
        "a reflection is refused"
    );

    if let Ok((acceptor, challenge)) = Acceptor::new(SECRET, &center, bytes, &[2; NONCE_BYTES]) {
        let stranger = Dialler::new(OTHER_SECRET, &channel, center.number, &[1; NONCE_BYTES]);
        assert!(
            stranger.answer(&challenge).is_err(),
            "another cluster's challenge is refused"
        );
        assert!(acceptor.finish(bytes).is_err(), "a hello is no proof");
    }
    let (acceptor, challenge) =
        Acceptor::new(SECRET, &center, dialler.hello(), &[2; NONCE_BYTES]).expect("our own hello");
    let (peer, proof) = dialler.answer(&challenge).expect("the true challenge");
    assert_eq!(peer.number, center.number);
    if bytes == proof {
        return; // the fuzzer found the secret's proof in its corpus: that is the true one
    }
    assert!(
        acceptor.finish(bytes).is_err(),
        "a guessed proof is refused"
    );
});
