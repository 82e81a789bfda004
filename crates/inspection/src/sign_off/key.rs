//! The key that signs windows and pages: Ed25519 (RFC 8032). Made once, in the relay's data folder.

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::LAST_RECORD_FILE;
use logferry_text::{bytes_of_hex, hex};

/// The secret key's file in the data folder.
pub const KEY_FILE: &str = "audit.key";

/// The public key's file in the data folder.
pub const PUBLIC_KEY_FILE: &str = "audit.pub";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the audit's key cannot be used")]
    Disk(#[from] DiskError),
    /// The file is something else.
    #[error(
        "{} is no key: one line of 64 hexadecimal digits is expected. Restore it from a backup; or move it, {PUBLIC_KEY_FILE} and \
         {LAST_RECORD_FILE} away, and the monitor makes a new key, with which old records do not verify", .0.display()
    )]
    NoKey(PathBuf),
}

/// The secret key.
pub struct SigningKeyFile(SigningKey);

impl SigningKeyFile {
    /// The key of a data folder, made now if there is none.
    pub fn open_or_create(data_dir: &Path) -> Result<Self, KeyError> {
        let path = data_dir.join(KEY_FILE);
        if RealDisk.read(&path)?.is_none() {
            let secret: [u8; 32] = rand::random();
            // A crash before the second file leaves the key; the next start writes its public half.
            RealDisk.create_secret(&path, (hex(&secret) + "\n").as_bytes())?;
        }
        // The monitor and the audit may have made one at the same time: the first one counts for both.
        let text = RealDisk.read(&path)?.unwrap_or_default();
        let key = SigningKey::from_bytes(&bytes_of(&text).ok_or(KeyError::NoKey(path))?);
        let (public, path) = (PublicKey(key.verifying_key()), data_dir.join(PUBLIC_KEY_FILE));
        let text = format!("{public}\n");
        match RealDisk.read(&path)? {
            Some(known) if known == text.as_bytes() => {}
            Some(_) => RealDisk.replace(&path, text.as_bytes())?,
            None => drop(RealDisk.create(&path, text.as_bytes())?),
        }
        Ok(Self(key))
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, text: &[u8]) -> String {
        hex(&self.0.sign(text).to_bytes())
    }
}

impl fmt::Debug for SigningKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret key of {}", self.public())
    }
}

/// A public key. Its text has 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The public key of a data folder; `None` if it has none yet.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, KeyError> {
        let path = data_dir.join(PUBLIC_KEY_FILE);
        let text = RealDisk.read(&path)?;
        text.map(|text| Self::of_text(&text).ok_or(KeyError::NoKey(path)))
            .transpose()
    }

    /// The key with this text.
    pub fn of_text(text: &[u8]) -> Option<Self> {
        VerifyingKey::from_bytes(&bytes_of(text)?).ok().map(Self)
    }

    pub(super) fn has_signed(&self, text: &[u8], signature: &str) -> bool {
        let signature = bytes_of(signature.as_bytes()).map(|bytes| Signature::from_bytes(&bytes));
        signature.is_some_and(|signature| self.0.verify_strict(text, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

/// The bytes of a text of hexadecimal digits, which may end with spaces or a newline.
fn bytes_of<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    bytes_of_hex(str::from_utf8(text).ok()?.trim_end())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn first_users_at_the_same_moment_get_one_key() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().expect("a folder");
            let begin = Barrier::new(4);
            let open = || {
                begin.wait();
                let key = SigningKeyFile::open_or_create(dir.path()).expect("a key");
                key.public().to_string()
            };
            let keys: Vec<_> = std::thread::scope(|scope| {
                let users: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
                let keys = users.into_iter().map(|user| user.join().expect("no panic"));
                keys.collect()
            });
            let public = PublicKey::read(dir.path()).expect("read").expect("there");
            assert_eq!(keys, vec![public.to_string(); 4]);
            let files = RealDisk.list(dir.path()).expect("listed");
            assert_eq!(files.len(), 2, "{files:?}");
        }
    }
}
