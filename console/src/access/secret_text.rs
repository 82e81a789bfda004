//! Random secrets of sessions and tokens. Only their hashes are kept.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

/// Bytes of a secret: nobody guesses them, so that a fast hash is enough (unlike for a password).
const SECRET_BYTES: usize = 32;

/// The beginning of a token, by which scanners of secrets and people know it.
pub(crate) const TOKEN_PREFIX: &str = "lfct_";

/// SHA-256 of a secret, as it is kept.
pub(crate) type SecretHash = [u8; 32];

/// A new random secret in letters, digits, `-` and `_`; an error if the system has no random numbers.
pub(crate) fn new_secret() -> Result<String, String> {
    let mut bytes = [0; SECRET_BYTES];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| format!("the system has no random numbers: {error}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of a secret. A secret is looked up by its hash, so the time of the search says nothing of it.
pub(crate) fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}
