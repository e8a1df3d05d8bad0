//! Any bytes as a token, raw or with a true signature over any header and claims, so that what lies
//! behind the signature is reached too. Only a token that names a user may be believed.

#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer;
use libfuzzer_sys::fuzz_target;
use mmo_core::token::TokenRules;
use mmo_fuzz::{NOW_S, settings, signing_key};

static RULES: LazyLock<TokenRules> =
    LazyLock::new(|| TokenRules::new(&settings()).expect("the fixed settings are sound"));

fn judge(token: &[u8]) {
    if let Ok(proof) = RULES.verify(token, NOW_S) {
        assert!(proof.user > 0, "a believed token names a user");
        assert!(
            proof
                .claims
                .starts_with(b"{\"typ\":\"session+jwt\",\"claims\":{")
        );
        assert!(proof.claims.ends_with(b"}}"));
    }
}

fuzz_target!(|bytes: &[u8]| {
    judge(bytes);
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    if let (Some(header), Some(claims)) = (parts.next(), parts.next()) {
        let said = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = signing_key().sign(said.as_bytes()).to_bytes();
        judge(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature)).as_bytes());
    }
});
