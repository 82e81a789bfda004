//! Finds the files of a log: the live ones, and for each the rotated ones that belong to it, oldest first.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use logferry_config::{LogSettings, RotatedNames};

use crate::files::path_check::is_glob;
use crate::files::rotated_name::{is_rotation_of, possible_live_names, rotation_number};
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

/// The files of a log that are present.
#[derive(Debug, Default)]
pub(crate) struct FoundFiles {
    /// Each once even if it has several names, oldest first, live files last.
    pub(crate) files: Vec<FoundFile>,
    /// Files beside a live file whose names begin like its name, but which rotation did not make.
    pub(crate) neighbours: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone)]
pub(crate) struct LogPatterns {
    live: String,
    /// `live`, if it is a glob.
    glob: Option<glob::Pattern>,
    rotated: RotatedNames,
}

impl LogPatterns {
    pub(crate) fn of_log(log: &LogSettings) -> Self {
        let glob = is_glob(&log.path).then(|| glob::Pattern::new(&log.path).ok());
        Self {
            live: log.path.clone(),
            glob: glob.flatten(),
            rotated: log.rotated.clone(),
        }
    }

    /// The path or glob, as configured.
    pub(crate) fn live(&self) -> &str {
        &self.live
    }

    pub(crate) fn is_glob(&self) -> bool {
        self.glob.is_some()
    }

    /// Globs that find all rotated files, and other files too if the names are `auto`.
    fn rotated_globs(&self) -> Vec<String> {
        let live = match &self.rotated {
            RotatedNames::Globs(globs) => return globs.clone(),
            RotatedNames::Auto => &self.live,
        };
        let mut globs = vec![format!("{live}[._-]*")];
        let name_at = live.rfind('/').map_or(0, |slash| slash + 1);
        if let Some(dot) = live.rfind('.').filter(|&dot| dot > name_at) {
            let (stem, extension) = live.split_at(dot);
            globs.push(format!("{stem}[._-]*{extension}*"));
        }
        globs
    }

    /// The folders that the patterns name without a glob. They are watched even if they are empty.
    pub(crate) fn folders(&self) -> BTreeSet<PathBuf> {
        let rotated = self.rotated_globs();
        let patterns = std::iter::once(&self.live).chain(&rotated);
        let folders = patterns.filter_map(|pattern| Path::new(pattern).parent());
        let named = folders.filter(|folder| !is_glob(&folder.to_string_lossy()));
        named.map(PathBuf::from).collect()
    }

    /// Whether a file at this path, which need not exist, is one of the log's.
    pub(crate) fn includes(&self, path: &Path) -> bool {
        let matches = |pattern: &str, path: &Path| {
            let pattern = glob::Pattern::new(pattern);
            pattern.is_ok_and(|pattern| finds(&pattern, path))
        };
        matches(&self.live, path)
            || match &self.rotated {
                RotatedNames::Globs(globs) => globs.iter().any(|glob| matches(glob, path)),
                RotatedNames::Auto => possible_live_paths(path)
                    .iter()
                    .any(|live| matches(&self.live, live)),
            }
    }

    pub(crate) fn scan(&self, files: &impl FileSystem) -> FoundFiles {
        let live: BTreeSet<PathBuf> = match self.glob {
            Some(_) => files.matching(&self.live).into_iter().collect(),
            None => BTreeSet::from([PathBuf::from(&self.live)]),
        };
        let rotated = self.rotated_globs();
        let rotated: BTreeSet<PathBuf> = rotated
            .iter()
            .flat_map(|pattern| files.matching(pattern))
            .collect();
        let mut neighbours = BTreeSet::new();
        let mut found_files = Vec::new();
        for path in live.iter().chain(rotated.difference(&live)).cloned() {
            let Some(stat) = files.stat(&path) else { continue };
            let Some((live_path, role)) = self.assign(&path, &live) else {
                let begins_alike = |live: &PathBuf| {
                    path.as_os_str()
                        .as_bytes()
                        .starts_with(live.as_os_str().as_bytes())
                };
                if live.iter().any(begins_alike) {
                    neighbours.insert(path);
                }
                continue;
            };
            found_files.push(FoundFile {
                live_path,
                path,
                role,
                stat,
            });
        }
        // Of the names of one file, a live one counts.
        found_files.sort_by_key(|found| Reverse(found.role));
        let mut seen = BTreeSet::new();
        found_files.retain(|found| seen.insert(found.stat.key));
        found_files.sort_by(oldest_first);
        FoundFiles {
            files: found_files,
            neighbours,
        }
    }

    /// The live path that the file belongs to, and its role; `None` for a neighbour.
    fn assign(&self, path: &Path, live: &BTreeSet<PathBuf>) -> Option<(PathBuf, FileRole)> {
        let is_auto = self.rotated == RotatedNames::Auto;
        let Some(glob) = &self.glob else {
            if path == Path::new(&self.live) {
                return Some((path.to_owned(), FileRole::Live));
            }
            let is_rotated = !is_auto || is_rotated_path(Path::new(&self.live), path);
            return is_rotated.then(|| (PathBuf::from(&self.live), FileRole::Rotated));
        };
        // Existing live files are compared first, because a glob like `access*` matches rotated names too.
        let possible = if is_auto {
            possible_live_paths(path)
        } else {
            shorter_paths(path)
        };
        if let Some(found) = possible.iter().find(|possible| live.contains(*possible)) {
            return Some((found.clone(), FileRole::Rotated));
        }
        if live.contains(path) {
            return Some((path.to_owned(), FileRole::Live));
        }
        let named = possible.into_iter().find(|possible| finds(glob, possible));
        let named = named.or_else(|| (!is_auto).then(|| path.to_owned()));
        named.map(|live_path| (live_path, FileRole::Rotated))
    }
}

/// Whether a search with this glob would find the path: as there, `*` stands for no slash.
pub(crate) fn finds(glob: &glob::Pattern, path: &Path) -> bool {
    let options = glob::MatchOptions {
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    glob.matches_path_with(path, options)
}

fn is_rotated_path(live: &Path, path: &Path) -> bool {
    let names = (file_name(live), file_name(path));
    live.parent() == path.parent() && matches!(names, (Some(live), Some(name)) if is_rotation_of(live, name))
}

fn possible_live_paths(path: &Path) -> Vec<PathBuf> {
    let names = file_name(path).map(possible_live_names).unwrap_or_default();
    names.iter().map(|name| path.with_file_name(name)).collect()
}

/// The paths that end before a dot or dash of the file's name, shortest first.
fn shorter_paths(path: &Path) -> Vec<PathBuf> {
    let name = file_name(path).unwrap_or_default();
    let ends = name.match_indices(['.', '-']).map(|(end, _)| end);
    let shorter = ends.filter(|&end| end > 0);
    shorter.map(|end| path.with_file_name(&name[..end])).collect()
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
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
    // One key for each name: a comparison that depends on both names is no order, and `sort_by` may panic.
    let key = |path: &Path| file_name(path).and_then(rotation_number).map(Reverse);
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::files::RealFileSystem;

    fn patterns(live: &str, rotated: RotatedNames) -> LogPatterns {
        let mut settings = crate::tail::scenarios::simulation::config(4096, 100, 2048);
        let mut log = settings.logs.remove(0);
        (log.path, log.rotated) = (live.to_owned(), rotated);
        LogPatterns::of_log(&log)
    }

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
        let patterns = patterns(&live, RotatedNames::Auto);
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        let found = patterns.scan(&RealFileSystem).files.into_iter();
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
    fn neighbours_are_left_alone_and_named() {
        let names = [
            "access.log.offset",
            "access.log.1~",
            "access-api.log",
            "access-20261128.log",
            "access.log.1",
            "access.log",
        ];
        let dir = tempfile::tempdir().expect("a folder");
        for name in names {
            File::create(dir.path().join(name)).expect("a file");
        }
        let live = dir.path().join("access.log").display().to_string();
        let found = patterns(&live, RotatedNames::Auto).scan(&RealFileSystem);
        assert_eq!(found.files.len(), 3);
        let neighbours = [
            dir.path().join("access.log.1~"),
            dir.path().join("access.log.offset"),
        ];
        assert_eq!(found.neighbours, BTreeSet::from(neighbours));
        let globs = RotatedNames::Globs(vec![format!("{live}.*")]);
        let found = patterns(&live, globs).scan(&RealFileSystem);
        assert_eq!(
            (found.files.len(), found.neighbours.len()),
            (4, 0),
            "what globs name is meant"
        );
    }

    #[test]
    fn a_log_includes_its_live_and_rotated_paths_only() {
        for (live, path, expected) in [
            ("/log/access.log", "/log/access.log", true),
            ("/log/access.log", "/log/access.log.7.gz", true),
            ("/log/access.log", "/other/access.log.1", false),
            ("/log/access.log", "/log/access.log.offset", false),
            ("/log/*.log", "/log/a.log.1", true),
            ("/log/*.log", "/log/a.log.html", false),
            ("/log/*.log", "/log/nginx/a.log", false),
            ("/log/*.log", "/log/nginx/a.log.1", false),
            ("/log/**/*.log", "/log/nginx/a.log", true),
        ] {
            let patterns = patterns(live, RotatedNames::Auto);
            assert_eq!(patterns.includes(Path::new(path)), expected, "{live} {path}");
        }
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
        let found = patterns(&live, RotatedNames::Auto).scan(&RealFileSystem);
        assert_eq!(found.files.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn files_have_one_order_whatever_their_names(
            names in proptest::collection::vec("(access|zabbix|app)\\.log([.-](1|2|20261128|2026-11-28)){0,2}", 3),
        ) {
            let [a, b, c] = [0, 1, 2].map(|index| Path::new(&names[index]));
            proptest::prop_assert_eq!(by_name(a, b), by_name(b, a).reverse());
            proptest::prop_assert_eq!(by_name(a, b).is_eq(), a == b);
            let is_cycle = by_name(a, b).is_lt() && by_name(b, c).is_lt() && by_name(c, a).is_lt();
            proptest::prop_assert!(!is_cycle, "{:?}", names);
        }
    }

    #[test]
    fn of_files_with_the_same_time_the_name_decides_which_is_older() {
        for (older, newer) in [
            ("a.log.2", "a.log.1"),
            ("a.log.10", "a.log.9"),
            ("a.log-20261120", "a.log-20261121"),
            ("a.log-20261120", "a.log-20261120.1"),
            ("a.log.2026-11-27", "a.log.2026-11-28"),
            ("a.log.1", "a.log.1.gz"),
        ] {
            let order = by_name(Path::new(older), Path::new(newer));
            assert_eq!(order, Ordering::Less, "{older}");
        }
    }
}
