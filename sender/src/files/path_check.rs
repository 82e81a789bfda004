//! Why the path or glob of a log does not lead to files that can be read: for the sender's log, its reports, and `check`.
//!
//! Only looks. The texts name the path, the reason and the remedy, and may be changed here without looking elsewhere.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use logferry_config::ownership::{group_name, user_name};
use logferry_protocol::heartbeat::{LogProblemKind, PROBLEMS_MAX};
use logferry_text::nearest;
use nix::unistd::{Gid, Uid};

/// Most links that are followed for one message.
const LINKS_MAX: usize = 8;
/// Most names in a folder that are compared with one that does not exist.
const NAMES_MAX: usize = 10_000;

/// One thing that is wrong with the path of a log, or with a file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFinding {
    /// The path or glob, or the folder or file on the way.
    pub path: PathBuf,
    /// Its kind.
    pub kind: LogProblemKind,
    /// What is wrong and what to do; it reads on after the path and a colon.
    pub reason: String,
}

impl PathFinding {
    fn new(path: &Path, kind: LogProblemKind, reason: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            reason: reason.into(),
        }
    }
}

/// What the path or glob of a log finds.
#[derive(Debug, Default)]
struct PathWalk {
    findings: Vec<PathFinding>,
    /// Regular files.
    files: usize,
}

/// What is wrong with the path or glob of a log; nothing if it leads to a regular file, or to several.
pub(crate) fn check_pattern(pattern: &str) -> Vec<PathFinding> {
    let mut walk = PathWalk::default();
    if pattern.contains("**") {
        walk.search(pattern);
    } else {
        walk.follow(pattern);
    }
    if walk.findings.is_empty()
        && let Some(folder) = Path::new(pattern)
            .parent()
            .filter(|folder| !is_glob(&folder.to_string_lossy()))
        && let Err(error) = fs::read_dir(folder)
    {
        walk.refused(folder, &error, "list this folder, so rotated files are not found");
    }
    if walk.files == 0 && walk.findings.is_empty() {
        let path = Path::new(pattern);
        let reason = no_match_reason(pattern);
        walk.findings
            .push(PathFinding::new(path, LogProblemKind::NoMatch, reason));
    }
    walk.findings
}

/// Why a regular file cannot be read; `None` if it can, or is gone.
pub(crate) fn check_file(path: &Path) -> Option<PathFinding> {
    let read = File::open(path).and_then(|mut file| file.read(&mut [0]));
    let reason = match read {
        Ok(_) => return None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused_reason(path, "read it"),
        Err(error) => format!("cannot be read: {error}"),
    };
    Some(PathFinding::new(path, LogProblemKind::Unreadable, reason))
}

impl PathWalk {
    fn follow(&mut self, pattern: &str) {
        let is_name = |part: &Component<'_>| !matches!(part, Component::RootDir | Component::CurDir);
        let parts = Path::new(pattern).components().filter(is_name);
        let parts: Vec<&OsStr> = parts.map(Component::as_os_str).collect();
        let start = if pattern.starts_with('/') { "/" } else { "." };
        self.step(Path::new(start), &parts, is_glob(pattern));
    }

    /// Of a glob over folders of any depth only the folders that may not be listed are told.
    fn search(&mut self, pattern: &str) {
        for found in glob::glob(pattern).into_iter().flatten() {
            match found {
                Ok(path) => self.files += usize::from(path.is_file()),
                Err(error) => self.refused(error.path(), error.error(), "list this folder"),
            }
        }
    }

    /// Goes on from `folder`, which exists, along the rest of the pattern.
    fn step(&mut self, folder: &Path, parts: &[&OsStr], of_glob: bool) {
        let Some((part, rest)) = parts.split_first() else {
            return;
        };
        match part.to_str().filter(|part| is_glob(part)) {
            Some(part) => self.list(folder, part, rest),
            None => self.enter(&folder.join(part), rest, of_glob),
        }
    }

    fn list(&mut self, folder: &Path, part: &str, rest: &[&OsStr]) {
        let Ok(pattern) = glob::Pattern::new(part) else {
            return;
        };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.refused(folder, &error, "list this folder"),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !pattern.matches(&name.to_string_lossy()) {
                continue;
            }
            if name.to_str().is_none() {
                self.not_text(&entry.path(), rest);
                continue;
            }
            let file_type = entry.file_type().ok();
            if rest.is_empty() && file_type.is_some_and(|found| found.is_file()) {
                self.files += 1;
            } else {
                self.enter(&entry.path(), rest, true);
            }
        }
    }

    /// A name that is no UTF-8: no log can have it, in no configuration and no report.
    fn not_text(&mut self, path: &Path, rest: &[&OsStr]) {
        let is_meant = fs::metadata(path).is_ok_and(|found| found.is_dir() != rest.is_empty());
        if is_meant {
            let reason = "its name is no UTF-8, so its lines are not shipped; rename it";
            self.push(PathFinding::new(path, LogProblemKind::Unreadable, reason));
        }
    }

    /// Looks at a path that the pattern names. What a glob matches beside files is meant only if a log could be in it.
    fn enter(&mut self, path: &Path, rest: &[&OsStr], of_glob: bool) {
        match fs::metadata(path) {
            Ok(metadata) if !rest.is_empty() && metadata.is_dir() => self.step(path, rest, of_glob),
            Ok(metadata) if rest.is_empty() && metadata.is_file() => self.files += 1,
            Ok(_) if !rest.is_empty() => {}
            Ok(metadata) if of_glob && metadata.is_dir() => {}
            Ok(metadata) => {
                let reason = not_a_file_reason(path, &metadata);
                self.push(PathFinding::new(path, LogProblemKind::NotAFile, reason));
            }
            Err(error) => self.refused(&refusing_folder(path), &error, "enter this folder"),
        }
    }

    fn refused(&mut self, folder: &Path, error: &io::Error, verb: &str) {
        if error.kind() == io::ErrorKind::PermissionDenied {
            let reason = refused_reason(folder, verb);
            self.push(PathFinding::new(folder, LogProblemKind::FolderRefused, reason));
        }
    }

    fn push(&mut self, finding: PathFinding) {
        if self.findings.len() < PROBLEMS_MAX && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// The folder that keeps this process from looking at the path, which may be a link to a path elsewhere.
fn refusing_folder(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(&path).join(target);
    }
    let seen = path
        .ancestors()
        .skip(1)
        .find(|folder| fs::metadata(folder).is_ok());
    seen.unwrap_or(&path).to_owned()
}

pub(crate) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn no_match_reason(pattern: &str) -> String {
    let path = Path::new(pattern);
    if let Ok(target) = fs::read_link(path) {
        return format!(
            "links to {}, and there is no such file; correct the link, unless the file comes later: it is shipped once it is there",
            target.display()
        );
    }
    let plain: PathBuf = path
        .components()
        .take_while(|part| !part.as_os_str().to_str().is_some_and(is_glob))
        .collect();
    let folder = if is_glob(pattern) {
        plain.as_path()
    } else {
        path.parent().unwrap_or(path)
    };
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        let (folder, near) = (missing_folder(folder), nearest_entry(&missing_folder(folder)));
        let near = near.map_or_else(String::new, |near| {
            format!("; {} has a similar name", near.display())
        });
        return format!(
            "the folder {} does not exist{near}; correct the path, or make the folder",
            folder.display()
        );
    }
    if is_glob(pattern) {
        return "no file matches; correct the pattern, unless its files come later: each is shipped once it is there".to_owned();
    }
    let near = nearest_entry(path);
    let near = near.map_or_else(String::new, |near| format!("; is {} meant?", near.display()));
    format!("there is no such file yet; it is shipped once it is there{near}")
}

/// The uppermost folder of a path that does not exist.
fn missing_folder(folder: &Path) -> PathBuf {
    let missing = folder.ancestors().take_while(|ancestor| !ancestor.exists());
    missing.last().unwrap_or(folder).to_owned()
}

/// What beside this path has a name like it.
fn nearest_entry(path: &Path) -> Option<PathBuf> {
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    let entries = fs::read_dir(folder).ok()?.flatten().take(NAMES_MAX);
    let names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let near = nearest(name, names.iter().map(String::as_str))?;
    logferry_text::is_similar(name, near).then(|| folder.join(near))
}

fn not_a_file_reason(path: &Path, metadata: &Metadata) -> String {
    let file_type = metadata.file_type();
    let kind = match () {
        () if file_type.is_dir() => {
            return format!("is a folder; write {}/*.log for the logs in it", path.display());
        }
        () if file_type.is_char_device() => "a character device",
        () if file_type.is_block_device() => "a block device",
        () if file_type.is_fifo() => "a pipe",
        () if file_type.is_socket() => "a socket",
        () => "something else",
    };
    let link = fs::read_link(path).map_or_else(
        |_| String::new(),
        |target| format!(" (it links to {})", target.display()),
    );
    format!(
        "is {kind}{link}, and what was written to it cannot be read again; let the web server write this log to a regular file"
    )
}

/// Who may not do it, what stands in the way, and what would help.
fn refused_reason(path: &Path, verb: &str) -> String {
    let user = user_name(Uid::effective());
    let Ok(metadata) = fs::metadata(path) else {
        return format!("user {user} may not {verb}");
    };
    let group = group_name(Gid::from_raw(metadata.gid()));
    let mode = metadata.mode() & 0o7777;
    let needed = if metadata.is_dir() { 0o050 } else { 0o040 };
    let shown = path.display();
    let remedy = if mode & needed == needed && metadata.gid() != 0 {
        format!("add the user to that group (`usermod -aG {group} {user}`) and restart the role")
    } else if metadata.is_dir() {
        format!("let it in (`setfacl -m u:{user}:rx,d:u:{user}:r {shown}`)")
    } else {
        let folder = path.parent().unwrap_or(path).display();
        format!(
            "let it (`setfacl -m u:{user}:r {shown}`), and for the files to come (`setfacl -m d:u:{user}:r {folder}`)"
        )
    };
    let owner = user_name(Uid::from_raw(metadata.uid()));
    format!("user {user} may not {verb}: it belongs to {owner}:{group} with mode {mode:04o}; {remedy}")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The findings for a pattern below a folder with `access.log`, `nginx/a.log` and links; the folder is shown as `DIR`.
    fn told(pattern: &str) -> Vec<(LogProblemKind, String)> {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::write(root.join("access.log"), "line\n").expect("a file");
        fs::create_dir(root.join("nginx")).expect("a folder");
        fs::write(root.join("nginx/a.log"), "line\n").expect("a file");
        symlink("/dev/null", root.join("stdout.log")).expect("a link");
        symlink("gone", root.join("dangling.log")).expect("a link");
        let shown = root.display().to_string();
        let findings = check_pattern(&format!("{shown}/{pattern}"));
        let text = |found: &PathFinding| {
            format!("{}: {}", found.path.display(), found.reason).replace(&shown, "DIR")
        };
        findings.iter().map(|found| (found.kind, text(found))).collect()
    }

    #[test]
    fn a_path_or_glob_that_leads_to_a_file_has_no_finding() {
        for pattern in ["access.log", "acc*.log", "*/a.log", "n*/a.*", "**/a.log"] {
            assert_eq!(told(pattern), [], "{pattern}");
        }
    }

    #[test]
    fn a_path_without_a_file_is_told_with_what_is_near() {
        for (pattern, reason) in [
            (
                "acces.log",
                "DIR/acces.log: there is no such file yet; it is shipped once it is there; is DIR/access.log meant?",
            ),
            (
                "error.log",
                "DIR/error.log: there is no such file yet; it is shipped once it is there",
            ),
            (
                "ngnix/a.log",
                "DIR/ngnix/a.log: the folder DIR/ngnix does not exist; DIR/nginx has a similar name; correct the path, or \
                 make the folder",
            ),
            (
                "*.err",
                "DIR/*.err: no file matches; correct the pattern, unless its files come later: each is shipped once it is there",
            ),
            (
                "**/*.err",
                "DIR/**/*.err: no file matches; correct the pattern, unless its files come later: each is shipped once it is there",
            ),
            (
                "dangling.log",
                "DIR/dangling.log: links to gone, and there is no such file; correct the link, unless the file comes later: it is \
                 shipped once it is there",
            ),
        ] {
            let expected = [(LogProblemKind::NoMatch, reason.to_owned())];
            assert_eq!(told(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_told_and_a_glob_may_match_folders() {
        let [(kind, text)] = &told("stdout.log")[..] else {
            panic!("one finding")
        };
        assert_eq!(*kind, LogProblemKind::NotAFile);
        assert!(
            text.starts_with("DIR/stdout.log: is a character device (it links to /dev/null), "),
            "{text}"
        );
        let [(kind, text)] = &told("nginx")[..] else {
            panic!("one finding")
        };
        assert_eq!(*kind, LogProblemKind::NotAFile);
        assert_eq!(
            text,
            "DIR/nginx: is a folder; write DIR/nginx/*.log for the logs in it"
        );
        let kinds: Vec<_> = told("*").into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [LogProblemKind::NotAFile], "only the link to a device");
    }

    #[test]
    fn a_name_that_is_no_text_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let odd = |name: &[u8]| dir.path().join(OsStr::from_bytes(name));
        fs::write(odd(b"caf\xe9.log"), "line\n").expect("a file");
        fs::write(odd(b"caf\xe9.txt"), "line\n").expect("a file");
        fs::create_dir(odd(b"\xe9")).expect("a folder");
        fs::write(dir.path().join("a.log"), "line\n").expect("a file");
        let told = |pattern: &str| {
            let findings = check_pattern(&format!("{}/{pattern}", dir.path().display()));
            let told = findings.iter().map(|found| (found.path.clone(), found.kind));
            told.collect::<Vec<_>>()
        };
        let unread = LogProblemKind::Unreadable;
        assert_eq!(told("*.log"), [(odd(b"caf\xe9.log"), unread)]);
        assert_eq!(told("*/*.log"), [(odd(b"\xe9"), unread)]);
        assert_eq!(told("a*.log"), []);
    }

    #[test]
    fn a_file_that_can_be_read_or_is_gone_has_no_finding() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(check_file(file.path()), None);
        assert_eq!(check_file(Path::new("/no/such/file")), None);
    }
}
