//! The files to deliver, and the check of what was delivered.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use logferry_ledger::BatchContents;

use crate::testbed::relay_testbed::{WrongResult, add_file};
use crate::testbed::source_log::count_line;

/// A file to deliver.
#[derive(Debug)]
pub(super) struct PayloadFile {
    pub(super) path: PathBuf,
    /// Its name at the destination.
    pub(super) name: String,
    pub(super) contents: BatchContents,
}

/// All files of one case.
#[derive(Debug)]
pub(super) struct Payload {
    folder: PathBuf,
    pub(super) files: Vec<PayloadFile>,
}

impl Payload {
    /// Writes `files` files of `bytes` bytes each, all different.
    pub(super) fn write(folder: &Path, files: u32, bytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let make = |number: u32| {
            let name = format!("accessLog_{number:05}.log");
            let path = folder.join(&name);
            let contents =
                fill(&path, number, bytes).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(PayloadFile { path, name, contents })
        };
        Ok(Self {
            folder: folder.to_owned(),
            files: (0..files).map(make).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Checks that `drop` holds exactly these files, byte for byte.
    pub(super) fn check(&self, drop: &Path) -> anyhow::Result<()> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(drop).with_context(|| format!("cannot list {}", drop.display()))? {
            let path = entry?.path();
            let mut contents = BatchContents::default();
            add_file(&path, &mut contents).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            found.insert(name.into_owned(), contents);
        }
        let expected = self.files.iter().map(|file| (file.name.clone(), file.contents));
        let expected: BTreeMap<_, _> = expected.collect();
        if found != expected {
            let mut files = found.iter();
            let wrong = files.find(|(name, contents)| expected.get(*name) != Some(contents));
            bail!(WrongResult::Delivered {
                found: found.len(),
                expected: expected.len(),
                example: wrong.map_or("none is wrong".to_owned(), |(name, _)| name.clone()),
            });
        }
        Ok(())
    }

    /// Removes the files.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }
}

/// Writes a file of lines that no other file has; returns its contents.
fn fill(path: &Path, number: u32, bytes: u64) -> io::Result<BatchContents> {
    let mut file = io::BufWriter::new(new_file(path)?);
    let mut contents = BatchContents::default();
    // A xorshift generator: fast, and the bytes cannot be compressed.
    let mut state = u64::from(number) + 1;
    while contents.bytes < bytes {
        let mut line = Vec::with_capacity(256);
        while line.len() < 255 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            line.extend(state.to_le_bytes().map(|byte| b' ' + byte % 64));
        }
        let left = usize::try_from(bytes - contents.bytes).unwrap_or(256).min(256);
        line.truncate(left - 1);
        line.push(b'\n');
        file.write_all(&line)?;
        count_line(&mut contents, &line);
    }
    file.flush()?;
    Ok(contents)
}

/// Writes a file for one run.
pub(super) fn write(path: &Path, contents: &str) -> anyhow::Result<()> {
    let written = new_file(path).and_then(|mut file| file.write_all(contents.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Creates or empties a file for one run, which need not survive a power loss.
fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).open(path)
}
