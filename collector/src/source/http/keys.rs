//! The keys of clients: a file with one a line, read again when it changes.
//!
//! A line is a key, and after a space whose it is, for people. Empty lines and lines that begin with `#` are left out.
//!
//! Invariant: what is compared is compared in a time that does not depend on where it differs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use subtle::ConstantTimeEq;

/// Shorter keys are refused: they can be guessed.
const KEY_MIN: usize = 8;

/// The keys of a file.
#[derive(Debug)]
pub(super) struct ClientKeys {
    path: PathBuf,
    loaded: Mutex<LoadedKeys>,
}

#[derive(Debug)]
struct LoadedKeys {
    contents: Vec<u8>,
    keys: Arc<Vec<ClientKey>>,
}

/// A key, and whose it is.
#[derive(PartialEq, Eq)]
pub(super) struct ClientKey {
    key: Vec<u8>,
    name: Option<String>,
}

impl std::fmt::Debug for ClientKey {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientKey({:?})", self.name)
    }
}

/// Why the file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("keys_file: {} cannot be used: {reason}", .path.display())]
pub(crate) struct KeysFileError {
    path: PathBuf,
    reason: String,
}

impl ClientKeys {
    /// Reads the file.
    pub(super) fn load(path: &Path) -> Result<Self, KeysFileError> {
        let (contents, keys) = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            loaded: Mutex::new(LoadedKeys { contents, keys }),
        })
    }

    /// Reads the file again; whether it has changed. After an error the keys that were read before stay in use.
    pub(super) fn renew(&self) -> Result<bool, KeysFileError> {
        let (contents, keys) = read(&self.path)?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = loaded.contents != contents;
        *loaded = LoadedKeys { contents, keys };
        Ok(has_changed)
    }

    /// Whose key this is: a name, or nothing if the file has none for it; `None` if it is no key.
    #[expect(clippy::option_option, reason = "outer: it is a key; inner: it has a name")]
    pub(super) fn owner(&self, given: &[u8]) -> Option<Option<String>> {
        let keys = Arc::clone(&self.loaded.lock().unwrap_or_else(PoisonError::into_inner).keys);
        let mut found = None;
        for key in keys.iter() {
            if bool::from(key.key.ct_eq(given)) {
                found = Some(key.name.clone());
            }
        }
        found
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Arc<Vec<ClientKey>>), KeysFileError> {
    let unusable = |reason: String| KeysFileError {
        path: path.to_owned(),
        reason,
    };
    let contents = std::fs::read(path).map_err(|error| {
        unusable(format!(
            "it cannot be read ({error}); check its path and permissions"
        ))
    })?;
    let text = std::str::from_utf8(&contents)
        .map_err(|_| unusable("it is not text; write a key a line".to_owned()))?;
    // Editors of Windows begin a file with a mark of its coding (BOM). It is not part of the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if key.len() < KEY_MIN {
            return Err(unusable(format!(
                "the key in line {} has fewer than {KEY_MIN} characters; make one with `openssl rand -hex 20`",
                index + 1
            )));
        }
        let name = Some(name.trim())
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        keys.push(ClientKey {
            key: key.as_bytes().to_vec(),
            name,
        });
    }
    if keys.is_empty() {
        return Err(unusable(
            "there is no key in it, so nobody could post; write a key a line".to_owned(),
        ));
    }
    Ok((contents, Arc::new(keys)))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_again_and_a_broken_file_changes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let write = |text: &str| std::fs::write(&path, text).expect("room");
        assert!(ClientKeys::load(&path).is_err());
        write("# ours\nfirst-key shop\n\nsecond-key\n");
        let keys = ClientKeys::load(&path).expect("keys");
        assert_eq!(keys.owner(b"first-key"), Some(Some("shop".to_owned())));
        assert_eq!(keys.owner(b"second-key"), Some(None));
        assert_eq!(keys.owner(b"third-key"), None);
        assert!(!keys.renew().expect("readable"));
        for (text, expected) in [
            ("short\n", "the key in line 1 has fewer than 8 characters"),
            ("# none\n", "there is no key in it"),
        ] {
            write(text);
            let error = keys.renew().expect_err("unusable").to_string();
            assert!(error.contains(expected), "{error}");
            assert!(keys.owner(b"first-key").is_some());
        }
        write("\u{feff}third-key\n");
        assert!(keys.renew().expect("readable"));
        assert_eq!(
            (keys.owner(b"first-key"), keys.owner(b"third-key")),
            (None, Some(None))
        );
        assert!(!format!("{keys:?}").contains("third-key"));
    }
}
