//! Tokens: strict verification of a JWT signed with Ed25519.
//!
//! Owns what a token must look like to be believed. Never reads a clock, never panics on any
//! bytes, and never judges whether a token was used before: that is the store's. Called by `conn`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::config::Settings;
use crate::error::{CloseReason, CoreError};

/// What tokens must show at this node.
#[derive(Debug)]
pub struct TokenRules {
    keys: Vec<(String, VerifyingKey)>,
    issuer: String,
    audiences: Vec<String>,
    types: Vec<String>,
    leeway_s: i64,
    bytes_max: usize,
}

/// A token that was believed.
#[derive(Debug, Eq, PartialEq)]
pub struct Proof {
    /// The user it names, 1..2**63-1.
    pub user: i64,
    /// `{"typ":"…","claims":{…}}`, the claims as they were signed.
    pub claims: Vec<u8>,
}

impl TokenRules {
    /// Takes the rules out of checked settings.
    ///
    /// # Errors
    /// `CoreError::Setting` when a key is no Ed25519 public key.
    pub fn new(settings: &Settings) -> Result<Self, CoreError> {
        let wrong = |name: &str| CoreError::Setting {
            field: "token_keys",
            why: format!("{name} is no usable Ed25519 public key"),
        };
        let mut keys = Vec::new();
        for (name, bytes) in &settings.token_keys {
            let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| wrong(name))?;
            let key = VerifyingKey::from_bytes(&bytes).map_err(|_| wrong(name))?;
            if key.is_weak() {
                return Err(wrong(name));
            }
            keys.push((name.clone(), key));
        }
        Ok(Self {
            keys,
            issuer: settings.token_issuer.clone(),
            audiences: settings.token_audiences.clone(),
            types: settings.token_types.clone(),
            leeway_s: i64::try_from(settings.token_leeway_s).unwrap_or(i64::MAX),
            bytes_max: settings.token_bytes_max as usize,
        })
    }

    /// Whether this node takes tokens at all.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        !self.types.is_empty()
    }

    /// Believes `token` at `now_s` (Unix time), or says why not.
    ///
    /// # Errors
    /// `TokenExpired` for a sound token after its `exp`, `TokenInvalid` for everything else.
    pub fn verify(&self, token: &[u8], now_s: i64) -> Result<Proof, CloseReason> {
        let parts = self.split(token).ok_or(CloseReason::TokenInvalid)?;
        let (kind, key) = self.header(parts.header).ok_or(CloseReason::TokenInvalid)?;
        let signature = signature(parts.signature).ok_or(CloseReason::TokenInvalid)?;
        key.verify_strict(parts.signed, &signature)
            .map_err(|_| CloseReason::TokenInvalid)?;
        let claims = decode(parts.claims).ok_or(CloseReason::TokenInvalid)?;
        let user = self.claims(&claims, now_s)?;
        // The type is one of the configured words, which need no escaping.
        let mut body = format!("{{\"typ\":\"{kind}\",\"claims\":").into_bytes();
        body.extend_from_slice(&claims);
        body.push(b'}');
        Ok(Proof { user, claims: body })
    }

    fn split<'a>(&self, token: &'a [u8]) -> Option<Parts<'a>> {
        if token.len() > self.bytes_max {
            return None;
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let signed = &token[..header.len() + 1 + claims.len()];
        Some(Parts {
            signed,
            header,
            claims,
            signature,
        })
    }

    /// The token's type and key, when the header names a known one of each and nothing unknown.
    fn header(&self, text: &[u8]) -> Option<(&str, &VerifyingKey)> {
        let Strict::Map(members) = parse(&decode(text)?)? else {
            return None;
        };
        let known = ["alg", "kid", "typ"];
        // No extension is understood here, so "crit", "jku", "jwk" and the like are all refused.
        if members
            .iter()
            .any(|(name, _)| !known.contains(&name.as_str()))
        {
            return None;
        }
        if text_of(&members, "alg")? != "EdDSA" {
            return None;
        }
        let kind = text_of(&members, "typ")?;
        let kind = self.types.iter().find(|known| *known == kind)?;
        let name = text_of(&members, "kid")?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == name)?;
        Some((kind, key))
    }

    fn claims(&self, text: &[u8], now_s: i64) -> Result<i64, CloseReason> {
        let Some(Strict::Map(members)) = parse(text) else {
            return Err(CloseReason::TokenInvalid);
        };
        let user = self
            .timeless_claims(&members)
            .ok_or(CloseReason::TokenInvalid)?;
        let begin_s = number_of(&members, "nbf").ok_or(CloseReason::TokenInvalid)?;
        let end_s = number_of(&members, "exp").ok_or(CloseReason::TokenInvalid)?;
        if begin_s > now_s.saturating_add(self.leeway_s) {
            return Err(CloseReason::TokenInvalid);
        }
        if end_s.saturating_add(self.leeway_s) <= now_s {
            return Err(CloseReason::TokenExpired);
        }
        Ok(user)
    }

    fn timeless_claims(&self, members: &[(String, Strict)]) -> Option<i64> {
        if text_of(members, "iss")? != self.issuer {
            return None;
        }
        let is_ours = |name: &str| self.audiences.iter().any(|ours| ours == name);
        let meant_for_us = match member(members, "aud")? {
            Strict::Text(name) => is_ours(name),
            Strict::List(names) => names
                .iter()
                .any(|name| matches!(name, Strict::Text(name) if is_ours(name))),
            _ => false,
        };
        let jti = text_of(members, "jti")?;
        if !meant_for_us || jti.is_empty() || jti.len() > JTI_BYTES_MAX {
            return None;
        }
        user_of(text_of(members, "sub")?)
    }
}

struct Parts<'a> {
    signed: &'a [u8],
    header: &'a [u8],
    claims: &'a [u8],
    signature: &'a [u8],
}

/// JSON in which no object names a member twice.
#[derive(Debug)]
enum Strict {
    Text(String),
    Number(i64),
    List(Vec<Strict>),
    Map(Vec<(String, Strict)>),
    /// Null, booleans, fractions and numbers beyond 64 bits: nothing here reads them.
    Other,
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without duplicate names")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict::Other)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Strict, E> {
        Ok(Strict::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Strict, E> {
        Ok(i64::try_from(number).map_or(Strict::Other, Strict::Number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Strict, E> {
        Ok(Strict::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Strict, E> {
        Ok(Strict::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Strict::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
        let mut members: Vec<(String, Strict)> = Vec::new();
        while let Some((name, value)) = entries.next_entry::<String, Strict>()? {
            if members.len() == MEMBERS_MAX || members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a name twice, or too many"));
            }
            members.push((name, value));
        }
        Ok(Strict::Map(members))
    }
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

fn parse(text: &[u8]) -> Option<Strict> {
    serde_json::from_slice(text).ok()
}

fn decode(part: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn signature(part: &[u8]) -> Option<Signature> {
    Signature::from_slice(&decode(part)?).ok()
}

fn member<'a>(members: &'a [(String, Strict)], name: &str) -> Option<&'a Strict> {
    members
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

fn text_of<'a>(members: &'a [(String, Strict)], name: &str) -> Option<&'a str> {
    match member(members, name)? {
        Strict::Text(text) => Some(text),
        _ => None,
    }
}

fn number_of(members: &[(String, Strict)], name: &str) -> Option<i64> {
    match member(members, name)? {
        Strict::Number(number) => Some(*number),
        _ => None,
    }
}

/// A user id in plain decimal: no sign, no leading zero, 1..2**63-1.
fn user_of(text: &str) -> Option<i64> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

const JTI_BYTES_MAX: usize = 128;
/// Members of one object; more is no token of ours.
const MEMBERS_MAX: usize = 64;
