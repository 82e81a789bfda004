//! Checks the shape of the source tree. `./test` runs it; `cargo run -p tidy` runs it alone.
//!
//! - A folder holds at most a dozen files, and a Rust file at most 500 lines (`sizes`).
//! - The modules of a crate depend on each other one way, files and folders alike (`modules`, `circles`).
//! - Each folder of a crate's sources says what is in it (`modules`).
//! - No module or type is named with a word that docs/glossary.md lists as given up (`names`).
//! - A type's name means one thing in the workspace (`names`).
//! - A path that ARCHITECTURE.md or CONTRIBUTING.md names exists (`documents`).
//! - A link in a Markdown file leads to a file and a heading that are there (`links`).
//!
//! It prints one line for each fault, and exits with 1 if there is any.

mod circles;
mod documents;
mod links;
mod modules;
mod names;
mod sizes;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use modules::Crate;

#[expect(clippy::print_stdout, reason = "its output is for people")]
fn main() -> Result<ExitCode> {
    // At run time: a binary that is kept while the checkout moves must not check the old place.
    let tidy = std::env::var_os("CARGO_MANIFEST_DIR").context("run tidy by `cargo run -p tidy`")?;
    let root = Path::new(&tidy).parent().context("tidy has no parent folder")?;
    let faults = faults(root)?;
    for fault in &faults {
        println!("{fault}");
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("tidy: {} faults", faults.len());
        ExitCode::FAILURE
    })
}

/// Everything that is wrong with the tree below `root`, one line each.
fn faults(root: &Path) -> Result<Vec<String>> {
    let files = files(root)?;
    let mut faults = sizes::faults(root, &files)?;
    faults.extend(documents::faults(root, &files)?);
    faults.extend(links::faults(root, &files)?);
    let roots = crate_roots(root, &files).into_iter();
    let crates: Vec<_> = roots
        .map(|source| Crate::read(root, &source))
        .collect::<Result<_>>()?;
    for one in &crates {
        faults.extend(one.undocumented());
        faults.extend(circles::faults(one));
    }
    match std::fs::read_to_string(root.join("docs/glossary.md")) {
        Ok(glossary) => faults.extend(names::faults(&crates, &names::given_up(&glossary))),
        Err(error) => faults.push(format!("docs/glossary.md: {error}; it lists the words for names")),
    }
    Ok(faults)
}

/// The files that git tracks or would track, relative to `root`.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let git = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("tidy lists the files by git, and git does not start")?;
    let stderr = String::from_utf8_lossy(&git.stderr);
    ensure!(git.status.success(), "git ls-files: {stderr}");
    let listed = String::from_utf8(git.stdout).context("a file name is not UTF-8")?;
    let paths = listed.split_terminator('\0').map(PathBuf::from);
    // A file that was removed and not yet staged is still listed.
    Ok(paths.filter(|path| root.join(path).exists()).collect())
}

/// `src/lib.rs` and `src/main.rs` of each crate.
fn crate_roots(root: &Path, files: &[PathBuf]) -> Vec<PathBuf> {
    let manifests = files.iter().filter(|path| path.ends_with("Cargo.toml"));
    manifests
        .flat_map(|manifest| ["lib.rs", "main.rs"].map(|name| manifest.with_file_name("src").join(name)))
        .filter(|source| root.join(source).exists())
        .collect()
}
