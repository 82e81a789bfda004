//! The names of the store's files. Pure.

use std::path::{Path, PathBuf};

/// What a file of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SegmentFile {
    Frames,
    Words,
    Index,
    Tail,
}

impl SegmentFile {
    const ALL: [Self; 4] = [Self::Frames, Self::Words, Self::Index, Self::Tail];

    const fn extension(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Words => "words",
            Self::Index => "index",
            Self::Tail => "tail",
        }
    }

    /// The number and the kind of the file with this name.
    pub(crate) fn split(name: &str) -> Option<(u64, Self)> {
        let (number, extension) = name.split_once('.')?;
        let kind = Self::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        Some((number.parse().ok()?, kind))
    }
}

/// The folder of the segments.
#[derive(Debug, Clone)]
pub(crate) struct StoreFolder(PathBuf);

impl StoreFolder {
    pub(crate) fn new(store_dir: &Path) -> Self {
        Self(store_dir.join("segments"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, number: u64, kind: SegmentFile) -> PathBuf {
        self.0.join(format!("{number:010}.{}", kind.extension()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_file_says_what_it_is() {
        let folder = StoreFolder::new(Path::new("/s"));
        for kind in SegmentFile::ALL {
            let path = folder.file(7, kind);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(SegmentFile::split(name), Some((7, kind)));
        }
        assert_eq!(
            folder.file(7, SegmentFile::Frames),
            Path::new("/s/segments/0000000007.frames")
        );
        for name in ["gaps", "7", "7.frames.tmp", "x.frames", "7.index.tmp"] {
            assert_eq!(SegmentFile::split(name), None, "{name}");
        }
    }
}
