//! What files say, kept up to date while the relay runs: certificates, keys, tokens.
//!
//! Files are small and are read whole every few seconds, so that a change is seen however it was made: in place, by a
//! rename, within one tick of the file system's clock.
//!
//! Invariant: what is in force came from files that could be used. What cannot be used is named once, and what was
//! there before stays in force.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// A setting and the file that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) setting: &'static str,
    pub(crate) path: PathBuf,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {} cannot be used: {reason}", path.display())]
pub struct FileError {
    /// The setting that names it, such as `relay.tls.cert_file`.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what would be right; never a part of a secret.
    pub reason: String,
}

impl Source {
    pub(crate) fn new(setting: &'static str, path: &Path) -> Self {
        Self {
            setting,
            path: path.to_owned(),
        }
    }

    /// The error that says so of this file.
    pub(crate) fn unusable(&self, reason: impl Display) -> FileError {
        FileError {
            setting: self.setting,
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }
}

/// Makes a `T` of the files' bytes, in the order of the sources.
type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync>;

/// What the files last said that could be used.
pub(crate) type Current<T> = watch::Receiver<Arc<T>>;

/// Files that are looked at again and again.
pub(crate) struct Renewal<T> {
    what: &'static str,
    sources: Vec<Source>,
    make: Make<T>,
    seen: Seen,
    current: watch::Sender<Arc<T>>,
}

/// A mark of what was read, so that no secret is kept.
type Seen = [u8; 32];

impl<T> fmt::Debug for Renewal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Renewal").field(&self.sources).finish()
    }
}

impl<T> Renewal<T> {
    /// Reads the files for the first time. `what` they are is for the log, such as `certificate`.
    pub(crate) fn load(
        what: &'static str,
        sources: Vec<Source>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let (seen, read) = read(&sources);
        let first = make(&read?)?;
        Ok(Self {
            what,
            sources,
            make: Box::new(make),
            seen,
            current: watch::Sender::new(Arc::new(first)),
        })
    }

    /// What they say, from now on.
    pub(crate) fn current(&self) -> Current<T> {
        self.current.subscribe()
    }

    /// Looks at the files, and takes what has changed; whether there is something new. Blocks for as long as reading
    /// takes.
    pub(crate) fn look(&mut self) -> bool {
        let (seen, read) = read(&self.sources);
        if seen == self.seen {
            return false;
        }
        self.seen = seen;
        let what = self.what;
        match read.and_then(|read| (self.make)(&read)) {
            Ok(new) => {
                self.current.send_replace(Arc::new(new));
                tracing::info!(what, "files have changed and are in force");
                true
            }
            Err(error) => {
                tracing::error!(
                    what,
                    error = &error as &dyn std::error::Error,
                    "files have changed and cannot be used, what was there before stays in force"
                );
                false
            }
        }
    }
}

/// All of the files' bytes, or the first that cannot be read; and a mark of what was found.
fn read(sources: &[Source]) -> (Seen, Result<Vec<Vec<u8>>, FileError>) {
    let mut mark = Sha256::new();
    let mut files = Ok(Vec::new());
    for source in sources {
        match std::fs::read(&source.path) {
            Ok(bytes) => {
                mark.update(Sha256::digest(&bytes));
                if let Ok(files) = &mut files {
                    files.push(bytes);
                }
            }
            Err(error) => {
                mark.update(error.to_string());
                files = files.and_then(|_| Err(source.unusable(in_words(&error))));
            }
        }
    }
    (mark.finalize().into(), files)
}

fn in_words(error: &io::Error) -> String {
    format!("it cannot be read ({error}); check path and rights")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_taken_and_what_is_broken_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let source = Source::new("relay.number_file", &dir.path().join("number"));
        let write = |text: &str| std::fs::write(dir.path().join("number"), text).expect("room");
        let load = || {
            let source = source.clone();
            Renewal::load("number", vec![source.clone()], move |files: &[Vec<u8>]| {
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
        let mut renewal = load().expect("a number");
        let current = renewal.current();
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
            assert_eq!(renewal.look(), is_taken, "{text:?}");
            assert_eq!(now(), expected, "{text:?}");
            assert!(!renewal.look(), "nothing has changed since");
        }
    }
}
