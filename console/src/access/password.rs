//! Passwords: argon2id with the crate's parameters (19 MiB, two passes: the OWASP minimum), one salt each.
//!
//! A check takes some 20 ms of a core and 19 MiB, so it runs on a thread for blocking work, and few at a time.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use rand::TryRngCore;
use rand::rngs::OsRng;

/// Characters of a password, at least (NIST SP 800-63B, section 5.1.1.2, asks for eight).
pub(crate) const LENGTH_MIN: usize = 10;
/// Bytes of a password, at most.
pub(crate) const LENGTH_MAX: usize = 1024;

/// Checks run at the same time, at most.
pub(crate) const CHECKS_MAX: usize = 2;

/// Why a password is not taken; `None` if it is.
pub(crate) fn refusal(password: &str) -> Option<String> {
    let length = password.chars().count();
    if length < LENGTH_MIN {
        return Some(format!(
            "a password has at least {LENGTH_MIN} characters; this one has {length}"
        ));
    }
    (password.len() > LENGTH_MAX).then(|| format!("a password has at most {LENGTH_MAX} bytes"))
}

/// The hash that is kept, in the PHC string format.
pub(crate) fn hash(password: &str) -> Result<String, String> {
    let mut salt = [0; 16];
    OsRng
        .try_fill_bytes(&mut salt)
        .map_err(|error| format!("the system has no random numbers: {error}"))?;
    let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    Ok(hashed.map_err(|error| error.to_string())?.to_string())
}

/// Whether it is the password of this hash. Without a hash it takes as long: nobody learns whether the user exists.
pub(crate) fn is_right(password: &str, kept: Option<&str>) -> bool {
    // Nobody has such a password: it is refused before anything depends on the user.
    if password.len() > LENGTH_MAX {
        return false;
    }
    let Some(hash) = kept.and_then(|kept| PasswordHash::new(kept).ok()) else {
        let _ = hash(password);
        return false;
    };
    Argon2::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_kept_as_argon2id_and_only_the_same_one_is_right() {
        let kept = hash("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, hash("correct horse").unwrap(), "each has a salt of its own");
        assert!(is_right("correct horse", Some(&kept)));
        for wrong in ["correct hors", "correct horse ", "", "Correct horse"] {
            assert!(!is_right(wrong, Some(&kept)), "{wrong}");
        }
        assert!(!is_right("correct horse", None));
        assert!(!is_right("correct horse", Some("no hash")));
    }

    #[test]
    fn endless_password_is_wrong_before_it_is_hashed() {
        let endless = "x".repeat(LENGTH_MAX + 1);
        let kept = hash(&endless).unwrap();
        assert!(!is_right(&endless, Some(&kept)) && !is_right(&endless, None));
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert!(refusal("123456789").is_some_and(|text| text.contains("at least 10")));
        assert_eq!(refusal("äöüäöüäöüä"), None);
        assert!(refusal(&"x".repeat(LENGTH_MAX + 1)).is_some());
    }
}
