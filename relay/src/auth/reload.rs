//! Reloading of files while the relay runs: certificates, keys, tokens.
//!
//! The files are small and are read completely every few seconds. So every change is noticed: in place, by rename, and
//! within one tick of the file system's clock.
//!
//! Invariant: the value in use was made from valid files. An invalid change is logged once, and the old value stays in
//! use.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logferry_durable::ContentDigest;
use tokio::sync::watch;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CredentialFile {
    pub(crate) setting: &'static str,
    pub(crate) path: PathBuf,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {} cannot be used: {reason}", path.display())]
pub struct CredentialFileError {
    /// The setting that names the file, such as `relay.tls.cert_file`.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The fault and its cure; never a part of a secret.
    pub reason: String,
}

impl CredentialFile {
    pub(crate) fn new(setting: &'static str, path: &Path) -> Self {
        Self {
            setting,
            path: path.to_owned(),
        }
    }

    pub(crate) fn unusable(&self, reason: impl Display) -> CredentialFileError {
        CredentialFileError {
            setting: self.setting,
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }
}

/// Builds the value from the contents of the files, in the order of the files.
type BuildValue<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, CredentialFileError> + Send + Sync>;

pub(crate) type CurrentValue<T> = watch::Receiver<Arc<T>>;

/// Files that are read again when they change.
pub(crate) struct ReloadedFiles<T> {
    kind: &'static str,
    files: Vec<CredentialFile>,
    build: BuildValue<T>,
    digest: ContentDigest,
    current: watch::Sender<Arc<T>>,
}

impl<T> fmt::Debug for ReloadedFiles<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReloadedFiles").field(&self.files).finish()
    }
}

impl<T> ReloadedFiles<T> {
    /// Reads the files for the first time. The log names their `kind`, such as `certificates`.
    pub(crate) fn load(
        kind: &'static str,
        files: Vec<CredentialFile>,
        build: impl Fn(&[Vec<u8>]) -> Result<T, CredentialFileError> + Send + Sync + 'static,
    ) -> Result<Self, CredentialFileError> {
        let (digest, contents) = read(&files);
        let first = build(&contents?)?;
        Ok(Self {
            kind,
            files,
            build: Box::new(build),
            digest,
            current: watch::Sender::new(Arc::new(first)),
        })
    }

    /// The current value, which changes with the files.
    pub(crate) fn current(&self) -> CurrentValue<T> {
        self.current.subscribe()
    }

    /// Reads the files and uses a valid change; returns whether there was one. Blocks while it reads.
    pub(crate) fn reload_changed(&mut self) -> bool {
        let (digest, contents) = read(&self.files);
        if digest == self.digest {
            return false;
        }
        self.digest = digest;
        let what = self.kind;
        match contents.and_then(|contents| (self.build)(&contents)) {
            Ok(new) => {
                self.current.send_replace(Arc::new(new));
                tracing::info!(what, "files have changed and are in use: {what}");
                true
            }
            Err(error) => {
                tracing::error!(
                    what,
                    error = &error as &dyn std::error::Error,
                    "files have changed and cannot be used: {what}; the previous ones stay in use"
                );
                false
            }
        }
    }
}

/// The contents of all files, or the first error; and a digest of contents and errors.
fn read(files: &[CredentialFile]) -> (ContentDigest, Result<Vec<Vec<u8>>, CredentialFileError>) {
    let (digest, contents) = ContentDigest::read(files.iter().map(|file| &file.path));
    let contents = files.iter().zip(contents).map(|(file, content)| {
        content.map_err(|error| {
            file.unusable(format!(
                "it cannot be read ({error}); check its path and permissions"
            ))
        })
    });
    (digest, contents.collect())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_used_and_a_broken_file_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let source = CredentialFile::new("relay.number_file", &dir.path().join("number"));
        let write = |text: &str| std::fs::write(dir.path().join("number"), text).expect("room");
        let load = || {
            let source = source.clone();
            ReloadedFiles::load("number", vec![source.clone()], move |files: &[Vec<u8>]| {
                let text = String::from_utf8_lossy(&files[0]).into_owned();
                text.parse::<u32>().map_err(|error| source.unusable(error))
            })
        };
        let said = load().expect_err("no file").to_string();
        assert!(
            said.starts_with("relay.number_file: ") && said.contains("cannot be read"),
            "{said}"
        );
        write("one");
        assert!(load().is_err());

        write("1");
        let mut files = load().expect("a number");
        let current = files.current();
        let now = || **current.borrow();
        assert_eq!(now(), 1);
        for (text, is_taken, expected) in [
            (Some("2"), true, 2),
            (Some("two"), false, 2),
            (None, false, 2),
            (Some("3"), true, 3),
        ] {
            match text {
                Some(text) => write(text),
                None => std::fs::remove_file(dir.path().join("number")).expect("ours"),
            }
            assert_eq!(files.reload_changed(), is_taken, "{text:?}");
            assert_eq!(now(), expected, "{text:?}");
            assert!(!files.reload_changed(), "nothing has changed since");
        }
    }
}
