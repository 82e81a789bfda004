//! The shell command that hashes files on the server, and the parser of its output. Pure.

use logferry_spool::FileHash;
use logferry_text::bytes_of_hex;

/// The command for these files. It prints one line for each file, also if others fail.
pub(crate) fn command(paths: &[String]) -> String {
    let quoted: Vec<_> = paths.iter().map(|path| quote(path)).collect();
    format!(
        "for f in {}; do sha256sum < \"$f\" || echo -; done",
        quoted.join(" ")
    )
}

/// Quotes a path as one literal word of a POSIX shell (POSIX.1-2024, XCU 2.2.2).
fn quote(path: &str) -> String {
    // A leading `-` does no harm after `<`.
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// The hashes in the output; `None` if it is not the output of a shell that has `sha256sum`.
pub(crate) fn hashes(printed: &[u8], files: usize) -> Option<Vec<Option<FileHash>>> {
    let text = str::from_utf8(printed).ok()?;
    let hashes: Vec<_> = text.lines().map(hash).collect();
    (hashes.len() == files && hashes.iter().any(Option::is_some)).then_some(hashes)
}

fn hash(line: &str) -> Option<FileHash> {
    let digits = line.split_ascii_whitespace().next()?;
    bytes_of_hex::<32>(digits).map(FileHash::from)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests lay out files")]
    fn shell_hashes_each_file_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["plain", "it's $(touch here) \"x\" `y`\\", "-n", "missing"];
        for name in &names[..3] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let command = command(&names.map(str::to_owned));
        let printed = Command::new("sh")
            .args(["-c", &command])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let hashes = hashes(&printed.stdout, names.len()).unwrap();
        for (name, hash) in names.iter().zip(hashes).take(3) {
            let mut file = crate::source::SourceFile::from_bytes(name, name.as_bytes().to_vec());
            assert_eq!(hash, Some(file.read_whole().unwrap()));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn output_of_anything_else_gives_no_hash() {
        assert_eq!(hashes(b"This service allows sftp connections only.\n", 1), None);
        assert_eq!(hashes(b"-\n", 1), None);
        assert_eq!(hashes(&[b'0'; 64], 2), None);
        assert_eq!(hashes(&[0xff; 64], 1), None);
        let odd = "+1".repeat(32);
        assert_eq!(hashes(odd.as_bytes(), 1), None);
    }
}
