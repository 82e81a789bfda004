//! The command that has a server's shell hash files, and what it prints. Pure.

use crate::source::Sha256Hash;

/// The command for these files. It prints one line for each, whatever becomes of the others.
pub(crate) fn command(paths: &[String]) -> String {
    let quoted: Vec<_> = paths.iter().map(|path| quote(path)).collect();
    format!(
        "for f in {}; do sha256sum < \"$f\" || echo -; done",
        quoted.join(" ")
    )
}

/// So that a shell takes it for one word and nothing in it for anything else (POSIX.1-2024, XCU 2.2.2).
fn quote(path: &str) -> String {
    // What begins with a `-` or not, is behind a `<` all the same.
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// The hashes in what was printed; `None`: no shell that knows `sha256sum` has printed that.
pub(crate) fn hashes(printed: &[u8], files: usize) -> Option<Vec<Option<Sha256Hash>>> {
    let text = str::from_utf8(printed).ok()?;
    let hashes: Vec<_> = text.lines().map(hash).collect();
    (hashes.len() == files && hashes.iter().any(Option::is_some)).then_some(hashes)
}

fn hash(line: &str) -> Option<Sha256Hash> {
    let hex = line.split_ascii_whitespace().next()?;
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Sha256Hash::from(bytes))
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
    fn what_no_shell_prints_is_no_hash() {
        assert_eq!(hashes(b"This service allows sftp connections only.\n", 1), None);
        assert_eq!(hashes(b"-\n", 1), None);
        assert_eq!(hashes(&[b'0'; 64], 2), None);
        assert_eq!(hashes(&[0xff; 64], 1), None);
        let odd = "+1".repeat(32);
        assert_eq!(hashes(odd.as_bytes(), 1), None);
    }
}
