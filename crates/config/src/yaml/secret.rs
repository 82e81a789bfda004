//! Passwords and passphrases, kept out of logs and mails; and the files that settings name.
//!
//! Invariant: a process of one role reads no file and no secret of another role. The file may be for the other role's user alone,
//! and a section that is refused for that would be missing here.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::ownership;
use crate::yaml::field::ConfigField;
use crate::yaml::yaml_locate::Step;

/// Stands for a secret of another role. It passes every check of a secret: it is a web address too, of a host that cannot exist
/// (RFC 2606).
const SECRET_OF_ANOTHER_ROLE: &str = "https://not-read.invalid/";

/// A text that is never shown: `Debug` prints `***`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the code that sends it to the other side.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl ConfigField<'_> {
    /// Whether the setting is in the section of a role that this process does not run.
    fn is_of_another_role(&self) -> bool {
        match (self.diagnostics.role, self.path.first()) {
            (Some(role), Some(Step::Key(section))) => *section != role,
            _ => false,
        }
    }

    /// A secret of this mapping, given as `key` or in the file that `file_key` names.
    #[expect(clippy::option_option, reason = "outer: no problem; inner: there is a secret")]
    pub(crate) fn secret(
        &self,
        (key, inline): (&'static str, Option<&str>),
        (file_key, file): (&'static str, Option<&str>),
    ) -> Option<Option<Secret>> {
        match (inline, file) {
            (None, None) => Some(None),
            (Some(_), None) if self.is_of_another_role() => Some(Some(Secret::new(SECRET_OF_ANOTHER_ROLE))),
            (Some(inline), None) => {
                let setting = self.key(key);
                if !inline.contains("${") {
                    setting.warn_if_world_readable(self.diagnostics.file);
                }
                setting.filled(inline).map(|text| Some(Secret::new(text)))
            }
            (None, Some(file)) => self.key(file_key).secret_file(file).map(Some),
            (Some(_), Some(_)) => self.key(file_key).refuse(format!(
                "cannot be used together with `{key}`; remove one of them"
            )),
        }
    }

    /// A file that can be read now. That of another role is not opened.
    pub(crate) fn readable(&self, raw: &str) -> Option<PathBuf> {
        let path = self.path(raw)?;
        if !self.is_of_another_role() {
            self.read(&path, |path| std::fs::File::open(path))?;
        }
        Some(path)
    }

    fn read<T>(&self, path: &Path, read: impl FnOnce(&Path) -> io::Result<T>) -> Option<T> {
        let (at, result) = (path.display(), read(path));
        self.accept(result.map_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                return format!("{at} {}", ownership::refusal(path));
            }
            let cause = cause(&error);
            format!("{at} cannot be read: {cause}; check its path and permissions")
        }))
    }

    /// A readable file that other users should not be able to read.
    pub(crate) fn secret_path(&self, raw: &str) -> Option<PathBuf> {
        let path = self.readable(raw)?;
        self.warn_if_world_readable(&path);
        Some(path)
    }

    /// The secret in a file. That of another role is not read.
    pub(crate) fn secret_file(&self, raw: &str) -> Option<Secret> {
        let path = self.path(raw)?;
        if self.is_of_another_role() {
            return Some(Secret::new(SECRET_OF_ANOTHER_ROLE));
        }
        let text = self.read(&path, |path| std::fs::read_to_string(path))?;
        self.warn_if_world_readable(&path);
        match text.trim_end_matches(['\r', '\n']) {
            "" => self.refuse(format!(
                "the file {} is empty; put the secret in its first line",
                path.display()
            )),
            secret => Some(Secret::new(secret)),
        }
    }

    /// Warns when users other than its owner and group can read a file that holds a secret of this role.
    pub(crate) fn warn_if_world_readable(&self, path: &Path) {
        const READABLE_BY_OTHERS: u32 = 0o004;
        if self.is_of_another_role() {
            return;
        }
        let readable =
            std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & READABLE_BY_OTHERS != 0);
        if readable {
            let path = path.display();
            self.warn(&format!(
                "{path} holds a secret and every user can read it; run chmod o-r {path}"
            ));
        }
    }
}

/// The error of the system, without its number.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    }
}
