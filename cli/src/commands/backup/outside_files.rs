//! The files that a relay host needs and that are not in a backup: the configuration, and the keys and secrets that it names.

use std::collections::BTreeSet;
use std::path::Path;

/// The configuration file, and every path that it gives to a setting of a file.
///
/// Read from the text, because the settings hold the contents of secrets and not their paths.
pub(super) fn named_in(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut paths = BTreeSet::new();
    for line in text.lines() {
        paths.extend(paths_in(line));
    }
    let mut files = vec![file.display().to_string()];
    files.extend(paths);
    files
}

/// The values of settings of this line whose names end in `_file`, and of `known_hosts`.
fn paths_in(line: &str) -> impl Iterator<Item = String> {
    let line = line.split(" #").next().unwrap_or_default();
    let settings = line.split(['{', ',', '}']);
    settings.filter_map(|setting| {
        let (key, value) = setting.trim().trim_start_matches("- ").split_once(':')?;
        let value = value.trim().trim_matches(['"', '\'']);
        let is_file = key.ends_with("_file") || key == "known_hosts";
        (is_file && value.contains('/')).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_keys_and_secrets_are_found_in_both_notations() {
        for (line, expected) in [
            (
                "      key_file: /etc/logferry/id   # a key",
                &["/etc/logferry/id"][..],
            ),
            (
                "  tls: {cert_file: \"/a/b.pem\", key_file: '/a/b.key'}",
                &["/a/b.pem", "/a/b.key"],
            ),
            (
                "    - known_hosts: /etc/logferry/known_hosts",
                &["/etc/logferry/known_hosts"],
            ),
            ("  password_file: null", &[]),
            ("# key_file", &[]),
            ("  path: /app/log/access.log", &[]),
        ] {
            assert_eq!(paths_in(line).collect::<Vec<_>>(), expected, "{line}");
        }
    }
}
