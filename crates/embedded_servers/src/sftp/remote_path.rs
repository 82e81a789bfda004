//! Remote paths, resolved inside the served folder: no path leaves it.
//!
//! Only names are checked. A symbolic link that another program puts into the folder is followed; the server makes
//! none.

use std::path::{Path, PathBuf};

/// A remote path, absolute and without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemotePath(Vec<String>);

impl RemotePath {
    /// Resolves `path` from the root. `..` at the root stays at the root.
    pub(super) fn parse(path: &str) -> Self {
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

    pub(super) fn below(&self, root: &Path) -> PathBuf {
        root.join(self.0.join("/"))
    }
}

impl std::fmt::Display for RemotePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.0.join("/"))
    }
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
        let below = RemotePath::parse("../../x").below(Path::new("/root"));
        assert_eq!(below, Path::new("/root/x"));
    }
}
