//! Paths in the documents for contributors: each file or folder that they name exists.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const DOCUMENTS: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Paths in backquotes that begin with a folder of the tree and lead nowhere.
pub(crate) fn faults(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document)).context(document)?;
        for (number, line) in text.lines().enumerate() {
            let quoted = line.split('`').skip(1).step_by(2);
            let lost = quoted.filter(|path| is_path(path, files) && !root.join(path).exists());
            faults.extend(lost.map(|path| format!("{document}:{}: there is no {path}", number + 1)));
        }
    }
    Ok(faults)
}

/// Whether it is meant as a path: it begins with a folder that git knows, and has no placeholder in it.
fn is_path(quoted: &str, files: &[PathBuf]) -> bool {
    let is_plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "/._-".contains(letter);
    let folder = quoted.split('/').next().unwrap_or_default();
    quoted.contains('/') && quoted.chars().all(is_plain) && files.iter().any(|file| file.starts_with(folder))
}
