//! How two servers prove to each other that they know the cluster's secret.
//!
//! Owns the three messages and their MACs. Sans-IO: nonces are arguments, bytes go in and out.
//! Called by `peer`.
//!
//! Each side's proof is an HMAC-SHA-256 over a label of its own direction and over everything
//! that both sides said: numbers, roles, incarnations, whom the dialler wanted, both nonces. A
//! proof sent back is of the wrong direction, an old one is over other nonces, and one made for
//! another server names that server.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::CloseReason;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;
/// Bytes of a proof.
pub const PROOF_BYTES: usize = 32;
/// No message of a handshake has a longer body.
pub const BODY_BYTES_MAX: usize = 256;

/// Who a server says it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Its unique number, 1 or more.
    pub number: u16,
    /// Which start of it.
    pub incarnation: u64,
    /// What it is.
    pub role: String,
}

/// The side that dialled.
pub struct Dialler<'a> {
    secret: &'a [u8],
    wanted: u16,
    hello: Vec<u8>,
}

impl<'a> Dialler<'a> {
    /// Begins a handshake as `own` with server number `wanted`.
    #[must_use]
    pub fn new(secret: &'a [u8], own: &Identity, wanted: u16, nonce: &[u8; NONCE_BYTES]) -> Self {
        let mut hello = vec![VERSION];
        hello.extend_from_slice(&wanted.to_le_bytes());
        write_identity(&mut hello, own, nonce);
        Self {
            secret,
            wanted,
            hello,
        }
    }

    /// The first message.
    #[must_use]
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// Believes the acceptor's challenge: who it is, and the proof to send.
    ///
    /// # Errors
    /// `LinkRefused` when it does not know the secret or is not the wanted server.
    pub fn answer(&self, challenge: &[u8]) -> Result<(Identity, [u8; PROOF_BYTES]), CloseReason> {
        let refused = CloseReason::LinkRefused;
        let (proof, said) = challenge.split_at_checked(PROOF_BYTES).ok_or(refused)?;
        let own_proof = mac(self.secret, ACCEPTOR, &self.hello, said).ok_or(refused)?;
        own_proof.verify_slice(proof).map_err(|_| refused)?;
        let peer = read_identity(said).ok_or(refused)?;
        if peer.number != self.wanted {
            return Err(refused);
        }
        let proof = mac(self.secret, DIALLER, &self.hello, said).ok_or(refused)?;
        Ok((peer, proof.finalize().into_bytes().into()))
    }
}

/// The side that was dialled, after it read the first message.
#[derive(Debug)]
pub struct Acceptor {
    proof_wanted: Hmac<Sha256>,
    peer: Identity,
}

impl Acceptor {
    /// Answers `hello` as `own`: the state to finish with, and the challenge to send.
    ///
    /// # Errors
    /// `LinkRefused` for nonsense, another version, a dialler that wants someone else or bears
    /// our own number.
    pub fn new(
        secret: &[u8],
        own: &Identity,
        hello: &[u8],
        nonce: &[u8; NONCE_BYTES],
    ) -> Result<(Self, Vec<u8>), CloseReason> {
        let refused = CloseReason::LinkRefused;
        let [VERSION, wanted_low, wanted_high, identity @ ..] = hello else {
            return Err(refused);
        };
        let peer = read_identity(identity).ok_or(refused)?;
        let wanted = u16::from_le_bytes([*wanted_low, *wanted_high]);
        if wanted != own.number || peer.number == own.number {
            return Err(refused);
        }
        let mut said = Vec::new();
        write_identity(&mut said, own, nonce);
        let proof = mac(secret, ACCEPTOR, hello, &said).ok_or(refused)?;
        let mut challenge = proof.finalize().into_bytes().to_vec();
        challenge.extend_from_slice(&said);
        let proof_wanted = mac(secret, DIALLER, hello, &said).ok_or(refused)?;
        Ok((Self { proof_wanted, peer }, challenge))
    }

    /// Believes the dialler's proof: who it is.
    ///
    /// # Errors
    /// `LinkRefused` when it does not know the secret.
    pub fn finish(self, proof: &[u8]) -> Result<Identity, CloseReason> {
        self.proof_wanted
            .verify_slice(proof)
            .map_err(|_| CloseReason::LinkRefused)?;
        Ok(self.peer)
    }
}

fn write_identity(target: &mut Vec<u8>, who: &Identity, nonce: &[u8; NONCE_BYTES]) {
    target.extend_from_slice(&who.number.to_le_bytes());
    target.extend_from_slice(&who.incarnation.to_le_bytes());
    target.extend_from_slice(nonce);
    target.extend_from_slice(who.role.as_bytes());
}

/// Number, incarnation and role out of bytes that hold exactly these and a nonce.
fn read_identity(bytes: &[u8]) -> Option<Identity> {
    let (number, rest) = bytes.split_first_chunk()?;
    let (incarnation, rest) = rest.split_first_chunk()?;
    let (_nonce, role) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let number = u16::from_le_bytes(*number);
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if number == 0 || role.is_empty() || role.len() > ROLE_BYTES_MAX || !role.iter().all(is_word) {
        return None;
    }
    let role = String::from_utf8(role.to_vec()).ok()?;
    let incarnation = u64::from_le_bytes(*incarnation);
    Some(Identity {
        number,
        incarnation,
        role,
    })
}

fn mac(secret: &[u8], label: &[u8], hello: &[u8], said: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    // Lengths first: no other pair of messages gives the same bytes.
    for part in [label, hello, said] {
        mac.update(&u32::try_from(part.len()).ok()?.to_le_bytes());
        mac.update(part);
    }
    Some(mac)
}

const VERSION: u8 = 1;
const ROLE_BYTES_MAX: usize = 32;
const DIALLER: &[u8] = b"mmo link: dialler";
const ACCEPTOR: &[u8] = b"mmo link: acceptor";

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = &[7; 32];

    fn identity(number: u16) -> Identity {
        Identity {
            number,
            incarnation: 9,
            role: "center".to_owned(),
        }
    }

    #[test]
    fn both_sides_learn_who_the_other_is() {
        let dialler = Dialler::new(SECRET, &identity(1), 2, &[1; 32]);
        let (acceptor, challenge) =
            Acceptor::new(SECRET, &identity(2), dialler.hello(), &[2; 32]).unwrap();
        let (peer, proof) = dialler.answer(&challenge).unwrap();
        assert_eq!(peer, identity(2));
        assert_eq!(acceptor.finish(&proof), Ok(identity(1)));
    }

    #[test]
    fn attack_reflected_replayed_or_altered_messages_are_refused() {
        let dialler = Dialler::new(SECRET, &identity(1), 2, &[1; 32]);
        let accept = |nonce| Acceptor::new(SECRET, &identity(2), dialler.hello(), nonce).unwrap();
        let (acceptor, challenge) = accept(&[2; 32]);
        assert!(
            acceptor.finish(&challenge[..PROOF_BYTES]).is_err(),
            "its own proof, reflected"
        );
        let (_, proof) = dialler.answer(&challenge).unwrap();
        assert!(
            accept(&[3; 32]).0.finish(&proof).is_err(),
            "a proof for another nonce"
        );
        for place in 0..challenge.len() {
            let mut altered = challenge.clone();
            altered[place] ^= 1;
            assert!(dialler.answer(&altered).is_err(), "byte {place}");
        }
        let stranger = Dialler::new(&[8; 32], &identity(1), 2, &[1; 32]);
        assert!(stranger.answer(&challenge).is_err());
        let other = Dialler::new(SECRET, &identity(1), 3, &[1; 32]);
        assert!(Acceptor::new(SECRET, &identity(2), other.hello(), &[2; 32]).is_err());
        let twin = Dialler::new(SECRET, &identity(2), 2, &[1; 32]);
        assert!(Acceptor::new(SECRET, &identity(2), twin.hello(), &[2; 32]).is_err());
        for cut in 0..dialler.hello().len() {
            let _ = Acceptor::new(SECRET, &identity(2), &dialler.hello()[..cut], &[2; 32]);
        }
    }
}
