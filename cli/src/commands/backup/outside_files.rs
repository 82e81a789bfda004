//! The files that a relay host needs and that are not in a backup: the configuration, the keys and secrets that it names, and the
//! folders of roles that keep something of their own.

use std::collections::BTreeSet;
use std::path::Path;

use logferry_config::Config;

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

/// Folders whose contents are nowhere else.
pub(super) fn folders(config: &Config) -> Vec<String> {
    let console = config.console.as_ref().map(|console| {
        format!(
            "{} (users, notes and saved searches)",
            console.state_dir.display()
        )
    });
    let collector = config.collector.as_ref().map(|collector| {
        format!(
            "{} (records that are not shipped yet, and how far the sources were read; copy it while the collector is stopped)",
            collector.state_dir.display()
        )
    });
    console.into_iter().chain(collector).collect()
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
    fn folders_of_console_and_collector_are_named_with_what_is_in_them() {
        let text = "collector:\n  state_dir: /srv/captures\n  sources:\n    - {type: tcp, name: apps, listen: \"127.0.0.1:5170\"}\n\
                    console:\n  listen: 127.0.0.1:8080\n  data_dir: /srv/relay\n  state_dir: /srv/console\n";
        let config = logferry_config::parse(text, Path::new("logferry.yaml"), &|_| None).expect("valid");
        let [console, collector] = &folders(&config)[..] else {
            panic!("two folders");
        };
        assert!(console.starts_with("/srv/console (users"), "{console}");
        assert!(
            collector.starts_with("/srv/captures (records that are not shipped yet"),
            "{collector}"
        );
    }

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
