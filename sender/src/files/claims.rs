//! Which log a file is of, if several find it: the first in the configuration. No I/O beyond the search of the folders.
//!
//! Invariant: in one scan a file is of one log, however many names it has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use logferry_config::LogSettings;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::FileKey;

use crate::files::RealFileSystem;
use crate::files::discovery::{FoundFile, LogPatterns};

/// The files of one scan, each with the number of its log. Logs claim in the order of the configuration.
#[derive(Debug, Default)]
pub(crate) struct FileClaims(BTreeMap<FileKey, usize>);

impl FileClaims {
    /// Claims these files for a log. Takes away, and returns, those that an earlier log has claimed.
    pub(crate) fn claim(&mut self, log: usize, files: &mut Vec<FoundFile>) -> Vec<FoundFile> {
        let mut is_earlier = |file: &mut FoundFile| *self.0.entry(file.stat.key).or_insert(log) != log;
        files.extract_if(.., |file| is_earlier(file)).collect()
    }

    /// The log that has claimed the file.
    pub(crate) fn owner(&self, file: FileKey) -> Option<usize> {
        self.0.get(&file).copied()
    }
}

/// A file that two logs find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubleMatch {
    /// A path of the file.
    pub path: PathBuf,
    /// The log that ships it: the first in the configuration that finds it.
    pub log: LogName,
    /// Another log that finds it, and leaves it to the first.
    pub also: LogName,
}

/// The files that several logs find, for `logferry check`.
pub fn double_matches(logs: &[LogSettings]) -> Vec<DoubleMatch> {
    let mut claims = FileClaims::default();
    let mut found = Vec::new();
    for (index, log) in logs.iter().enumerate() {
        let mut files = LogPatterns::of_log(log).scan(&RealFileSystem).files;
        for file in claims.claim(index, &mut files) {
            let first = claims.owner(file.stat.key).and_then(|first| logs.get(first));
            found.extend(first.map(|first| DoubleMatch {
                path: file.path,
                log: first.name.clone(),
                also: log.name.clone(),
            }));
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_two_logs_find_is_named_with_both() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["access.log", "access.log.1", "shop.log"] {
            std::fs::write(dir.path().join(name), "line\n").expect("a file");
        }
        std::os::unix::fs::symlink("access.log", dir.path().join("now.log")).expect("a link");
        let first = &crate::tail::scenarios::simulation::config(4096, 100, 2048).logs[0];
        let log = |name: &str, pattern: &str| LogSettings {
            name: name.parse().expect("a name"),
            path: dir.path().join(pattern).display().to_string(),
            ..first.clone()
        };
        let logs = [
            log("first", "access.log"),
            log("all", "*.log"),
            log("link", "now.log"),
        ];
        let found = double_matches(&logs).into_iter().map(|double| {
            let name = double.path.file_name().expect("a name").to_string_lossy();
            format!("{name} {} {}", double.log, double.also)
        });
        let expected = [
            "access.log.1 first all",
            "access.log first all",
            "now.log first link",
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(double_matches(&logs[..1]), []);
    }
}
