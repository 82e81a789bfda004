//! The folder the SFTP server shows: remote paths are resolved inside it and cannot leave it.
//!
//! Only names count: a symbolic link that somebody else puts into the folder is followed. The server makes none.

use std::io;
use std::path::{Path, PathBuf};

use russh_sftp::protocol::{File, FileAttributes};

/// A remote path, absolute and without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemotePath(Vec<String>);

impl RemotePath {
    /// Resolves `path` as seen from the root. `..` at the root stays there.
    pub(crate) fn parse(path: &str) -> Self {
        let mut parts = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                name => parts.push(name.to_owned()),
            }
        }
        Self(parts)
    }

    /// Where it is on this machine.
    pub(crate) fn below(&self, root: &Path) -> PathBuf {
        root.join(self.0.join("/"))
    }
}

impl std::fmt::Display for RemotePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.0.join("/"))
    }
}

/// Moves a file to a name that must be free, as OpenSSH's server does for the plain rename: a second name, then
/// the first one removed, so that no instant exists at which another file could be replaced.
pub(crate) async fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    tokio::fs::hard_link(from, to).await?;
    tokio::fs::remove_file(from).await
}

/// The entries of a folder, in order of their names.
pub(crate) async fn list(folder: &Path) -> io::Result<Vec<File>> {
    let mut entries = Vec::new();
    let mut reader = tokio::fs::read_dir(folder).await?;
    while let Some(entry) = reader.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        // A file may vanish between being listed and being looked at.
        if let Ok(metadata) = entry.metadata().await {
            entries.push(File::new(name, FileAttributes::from(&metadata)));
        }
    }
    entries.sort_by(|a, b| a.filename.cmp(&b.filename));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_folder() {
        let shown = |path: &str| RemotePath::parse(path).to_string();
        assert_eq!(shown("/drop/./a//b"), "/drop/a/b");
        assert_eq!(shown("drop/../../../etc/passwd"), "/etc/passwd");
        assert_eq!(shown(""), "/");
        assert_eq!(
            RemotePath::parse("../../x").below(Path::new("/root")),
            Path::new("/root/x")
        );
    }
}
