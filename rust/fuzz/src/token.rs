//! Any bytes as a token, raw or with a true signature over any header and claims, so that what lies
//! behind the signature is reached too. Only a token that names a user may be believed.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use mmo_core::token::TokenRules;

use super::settings::{NOW_S, settings, signing_key};

static RULES: LazyLock<TokenRules> =
    LazyLock::new(|| TokenRules::new(&settings()).expect("the fixed settings are sound"));
static KEY: LazyLock<SigningKey> = LazyLock::new(signing_key);

/// Judges the bytes as they are, then header and claims on both sides of their first zero byte.
/// True when a token was believed.
pub fn holds(bytes: &[u8]) -> bool {
    let mut believed = judge(bytes);
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    if let (Some(header), Some(claims)) = (parts.next(), parts.next()) {
        let said = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = KEY.sign(said.as_bytes()).to_bytes();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        believed |= judge(format!("{said}.{signature}").as_bytes());
    }
    believed
}

fn judge(token: &[u8]) -> bool {
    let Ok(proof) = RULES.verify(token, NOW_S) else {
        return false;
    };
    assert!(proof.user > 0, "a believed token names a user");
    let head = b"{\"typ\":\"session+jwt\",\"claims\":{";
    assert!(proof.claims.starts_with(head), "the claims are an object");
    assert!(proof.claims.ends_with(b"}}"), "which ends");
    true
}
