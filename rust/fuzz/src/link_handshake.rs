//! Any bytes as each message of a link's handshake: nobody without the secret is believed, and what
//! one side says is never taken for what the other says. With true proofs, made here by hand, the
//! bytes behind a proof are reached too.

use hmac::{Hmac, KeyInit, Mac};
use mmo_core::peer::handshake::{Acceptor, Dialler, Identity, NONCE_BYTES, PROOF_BYTES};
use sha2::Sha256;

const SECRET: &[u8] = &[7; 32];
const OTHER_SECRET: &[u8] = &[8; 32];
const DIALLED: &[u8] = b"mmo link: dialler";
const ACCEPTED: &[u8] = b"mmo link: acceptor";
const ROLE_BYTES_MAX: usize = 32;

/// Speaks the bytes to both sides. True when a hello or the identity in a challenge was believed.
pub fn holds(bytes: &[u8]) -> bool {
    let (channel, center) = (identity(11, "channel"), identity(2, "center"));
    let dialler = Dialler::new(SECRET, &channel, center.number, &[1; NONCE_BYTES]);
    let stranger = Dialler::new(OTHER_SECRET, &channel, center.number, &[1; NONCE_BYTES]);
    assert!(
        dialler.answer(bytes).is_err(),
        "a challenge without the secret is refused"
    );
    assert!(
        dialler.answer(dialler.hello()).is_err(),
        "a reflection is refused"
    );
    guessed(&dialler, &center, bytes);
    let greeted = greeting(&stranger, &center, bytes);
    proved(&dialler, &stranger, &center, bytes) || greeted
}

/// The bytes as the last message of a true handshake.
fn guessed(dialler: &Dialler<'_>, center: &Identity, bytes: &[u8]) {
    let (acceptor, challenge) =
        Acceptor::new(SECRET, center, dialler.hello(), &[2; NONCE_BYTES]).expect("our own hello");
    let (peer, proof) = dialler.answer(&challenge).expect("the true challenge");
    assert_eq!(peer, *center, "the true challenge names its server");
    // The fuzzer may find the secret's proof in its corpus: that is the true one.
    assert_eq!(
        acceptor.finish(bytes).is_ok(),
        bytes == proof,
        "a guessed proof is refused"
    );
}

/// The bytes as a hello, then the true proof of who sent it.
fn greeting(stranger: &Dialler<'_>, center: &Identity, bytes: &[u8]) -> bool {
    let accept = || Acceptor::new(SECRET, center, bytes, &[2; NONCE_BYTES]);
    let (Ok((acceptor, challenge)), Ok((second, _))) = (accept(), accept()) else {
        return false;
    };
    assert!(
        stranger.answer(&challenge).is_err(),
        "another cluster's challenge is refused"
    );
    assert!(acceptor.finish(bytes).is_err(), "a hello is no proof");
    let proof = proof(SECRET, DIALLED, bytes, &challenge[PROOF_BYTES..]);
    let peer = second.finish(&proof).expect("the true proof");
    assert_ne!(peer.number, center.number, "nobody else bears our number");
    sound(&peer);
    true
}

/// The bytes as a challenge whose proof is the true one.
fn proved(dialler: &Dialler<'_>, stranger: &Dialler<'_>, center: &Identity, bytes: &[u8]) -> bool {
    let Some(said) = bytes.get(PROOF_BYTES..) else {
        return false;
    };
    let mut challenge = proof(SECRET, ACCEPTED, dialler.hello(), said);
    challenge.extend_from_slice(said);
    assert!(
        stranger.answer(&challenge).is_err(),
        "the proof of another secret is refused"
    );
    let Ok((peer, _)) = dialler.answer(&challenge) else {
        return false;
    };
    assert_eq!(peer.number, center.number, "only the wanted server answers");
    sound(&peer);
    true
}

fn sound(peer: &Identity) {
    assert!(peer.number > 0, "numbers begin at 1");
    assert!(
        (1..=ROLE_BYTES_MAX).contains(&peer.role.len()),
        "a role has a name, and no endless one"
    );
    assert!(peer.role.is_ascii(), "which is a plain word");
}

fn identity(number: u16, role: &str) -> Identity {
    Identity {
        number,
        incarnation: 3,
        role: role.to_owned(),
    }
}

/// What a side that knows `secret` proves over what both said: each part with its length first.
fn proof(secret: &[u8], label: &[u8], hello: &[u8], said: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any key length");
    for part in [label, hello, said] {
        let length = u32::try_from(part.len()).expect("a short message");
        mac.update(&length.to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}
