//! Finds the files of a log: the live ones, and for each the rotated ones that belong to it, oldest first.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::files::{FileStat, FileSystem};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileRole {
    /// It was deleted, or moved to a name that does not match, and is still open here.
    Gone,
    Rotated,
    /// It has the live name, which the writer uses.
    Live,
}

#[derive(Debug)]
pub(crate) struct FoundFile {
    /// The live path that the file belongs to. A file at that path need not exist.
    pub(crate) live_path: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) role: FileRole,
    pub(crate) stat: FileStat,
}

#[derive(Debug, Clone)]
pub(crate) struct LogPatterns {
    live: String,
    /// `live`, if it is a glob.
    glob: Option<glob::Pattern>,
    rotated: Vec<String>,
}

impl LogPatterns {
    pub(crate) fn new(live: &str, rotated: &[String]) -> Self {
        let is_glob = live.contains(['*', '?', '[']);
        Self {
            live: live.to_owned(),
            glob: is_glob.then(|| glob::Pattern::new(live).ok()).flatten(),
            rotated: rotated.to_vec(),
        }
    }

    /// The folders that the patterns name without a glob. They are watched even if they are empty.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        let patterns = std::iter::once(&self.live).chain(&self.rotated);
        let folders = patterns.filter_map(|pattern| Path::new(pattern).parent());
        folders.filter(|folder| !folder.to_string_lossy().contains(['*', '?', '[']))
    }

    /// Finds the present files, each once even if it has several names, oldest first, live files last.
    pub(crate) fn scan(&self, files: &impl FileSystem) -> Vec<FoundFile> {
        let live: Vec<PathBuf> = match self.glob {
            Some(_) => files.matching(&self.live),
            None => vec![PathBuf::from(&self.live)],
        };
        let rotated = self.rotated.iter().flat_map(|pattern| files.matching(pattern));
        let paths = live.iter().cloned().chain(rotated);
        let mut found_files: Vec<FoundFile> = paths
            .filter_map(|path| {
                let stat = files.stat(&path)?;
                let (live_path, role) = self.assign(&path, &live);
                Some(FoundFile {
                    live_path,
                    path,
                    role,
                    stat,
                })
            })
            .collect();
        // Of the names of one file, a live one counts.
        found_files.sort_by_key(|found| Reverse(found.role));
        let mut seen = BTreeSet::new();
        found_files.retain(|found| seen.insert(found.stat.key));
        found_files.sort_by(oldest_first);
        found_files
    }

    fn assign(&self, path: &Path, live: &[PathBuf]) -> (PathBuf, FileRole) {
        let Some(glob) = &self.glob else {
            let is_live = path == Path::new(&self.live);
            let role = if is_live {
                FileRole::Live
            } else {
                FileRole::Rotated
            };
            return (PathBuf::from(&self.live), role);
        };
        // Rotation appends to the name after a dot or a dash, so the rotated name starts with the live name. Existing live
        // files are compared first, because a glob like `access*` matches rotated names too.
        let shorter = shorter_names(path);
        if let Some(found) = shorter.iter().find(|shorter| live.contains(shorter)) {
            return (found.clone(), FileRole::Rotated);
        }
        if live.iter().any(|live| live == path) {
            return (path.to_owned(), FileRole::Live);
        }
        let named = shorter.into_iter().find(|shorter| glob.matches_path(shorter));
        (named.unwrap_or_else(|| path.to_owned()), FileRole::Rotated)
    }
}

/// The paths that end before a dot or dash of the file's name, shortest first.
fn shorter_names(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Vec::new();
    };
    let ends = name.match_indices(['.', '-']).map(|(end, _)| end);
    let shorter = ends.filter(|&end| end > 0);
    shorter.map(|end| path.with_file_name(&name[..end])).collect()
}

fn oldest_first(a: &FoundFile, b: &FoundFile) -> Ordering {
    let live = (a.role == FileRole::Live).cmp(&(b.role == FileRole::Live));
    live.then_with(|| by_age((&a.stat, &a.path), (&b.stat, &b.path)))
}

/// The file with the older last write comes first.
pub(crate) fn by_age((a, a_path): (&FileStat, &Path), (b, b_path): (&FileStat, &Path)) -> Ordering {
    a.modified.cmp(&b.modified).then_with(|| by_name(a_path, b_path))
}

/// Files with the same time: `.2` is older than `.1`, but `-20261120` is older than `-20261121`.
fn by_name(a: &Path, b: &Path) -> Ordering {
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
        let digits = name.rsplit(['.', '-']).find(is_number)?;
        // Rotation numbers are short, dates and times are long.
        (digits.len() <= 4).then(|| digits.parse::<u16>().ok())?
    };
    match (number(a), number(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::files::RealFileSystem;

    /// Creates empty files in order of age and scans for them. Returns the name, live name and role of each found file.
    fn scan(live: &str, names: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a folder");
        for (age, name) in names.iter().enumerate() {
            let file = File::create(dir.path().join(name)).expect("a file");
            let seconds = 1_700_000_000 + age as u64;
            let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(modified).expect("its time");
        }
        let live = dir.path().join(live).display().to_string();
        let patterns = LogPatterns::new(&live, &[format!("{live}.*"), format!("{live}-*")]);
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        let found = patterns.scan(&RealFileSystem).into_iter();
        let text =
            |file: FoundFile| format!("{} {} {:?}", name(&file.path), name(&file.live_path), file.role);
        found.map(text).collect()
    }

    #[test]
    fn rotated_files_come_oldest_first_and_the_live_one_last() {
        let names = [
            "a.log",
            "a.log.2",
            "a.log.1",
            "a.log-20261121",
            "b.log",
            "a.log.1.gz",
        ];
        let expected = [
            "a.log.2 a.log Rotated",
            "a.log.1 a.log Rotated",
            "a.log-20261121 a.log Rotated",
            "a.log.1.gz a.log Rotated",
            "a.log a.log Live",
        ];
        assert_eq!(scan("a.log", &names), expected);
    }

    #[test]
    fn each_match_of_a_glob_is_a_log_with_its_own_rotated_files() {
        let expected = [
            "gone-x.log.1 gone-x.log Rotated",
            "a.log.1 a.log Rotated",
            "a.log a.log Live",
            "b.log b.log Live",
        ];
        let names = ["gone-x.log.1", "a.log.1", "a.log", "b.log"];
        assert_eq!(scan("*.log", &names), expected);
    }

    #[test]
    fn a_rotated_name_that_the_glob_matches_too_is_a_rotated_file() {
        let expected = ["access.log.1 access.log Rotated", "access.log access.log Live"];
        assert_eq!(scan("access*", &["access.log.1", "access.log"]), expected);
    }

    #[test]
    fn a_file_with_two_names_is_found_once() {
        let dir = tempfile::tempdir().expect("a folder");
        File::create(dir.path().join("v1.log")).expect("a file");
        std::os::unix::fs::symlink("v1.log", dir.path().join("now.log")).expect("a link");
        let live = dir.path().join("*.log").display().to_string();
        assert_eq!(LogPatterns::new(&live, &[]).scan(&RealFileSystem).len(), 1);
    }

    #[test]
    fn of_files_with_the_same_time_the_name_decides_which_is_older() {
        for (older, newer) in [
            ("a.log.2", "a.log.1"),
            ("a.log.10", "a.log.9"),
            ("a.log-20261120", "a.log-20261121"),
            ("a.log-20261120", "a.log-20261120.1"),
        ] {
            let order = by_name(Path::new(older), Path::new(newer));
            assert_eq!(order, Ordering::Less, "{older}");
        }
    }
}
