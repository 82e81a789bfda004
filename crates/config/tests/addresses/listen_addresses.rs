//! Groups, TLS and tokens of the relay: valid settings are read, and each error is explained.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use logferry_config::{Config, ConfigError, ServerTls, parse};
use tempfile::TempDir;

fn read(settings: &str) -> Result<Config, ConfigError> {
    let text =
        format!("relay:\n  groups: [{{name: a, listen: '127.0.0.1:0', sources: [web-1]}}]\n{settings}");
    parse(&text, Path::new("c.yaml"), &|_| None)
}

fn check(settings: &str, expected: &[&str]) {
    let said = read(settings).expect_err(settings).to_string();
    let said: Vec<_> = said
        .lines()
        .map(|line| line.strip_prefix("c.yaml:").expect("the file"))
        .collect();
    assert_eq!(said, expected, "{settings}");
}

/// A file that only its owner can read, or everybody.
fn file(dir: &TempDir, name: &str, mode: u32) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, "content\n").expect("room");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
    path
}

#[test]
fn tls_and_tokens_are_read_as_documented_and_let_sources_be_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let [cert, ca] = ["cert", "ca"].map(|name| file(&dir, name, 0o644));
    let [key, tokens] = ["key", "tokens"].map(|name| file(&dir, name, 0o600));
    let (cert_at, key_at) = (cert.display(), key.display());
    let settings = format!(
        "  tls: {{cert_file: {cert_at}, key_file: {key_at}, client_ca_file: {}}}\n  tokens_file: {}\n",
        ca.display(),
        tokens.display()
    );
    let config = read(&settings).expect("valid");
    assert_eq!(config.warnings, [""; 0]);
    let relay = config.relay.expect("a relay");
    let expected = ServerTls {
        cert_file: cert,
        key_file: key,
        client_ca_file: Some(ca),
    };
    assert_eq!((relay.tls, relay.tokens_file), (Some(expected), Some(tokens)));
}

#[test]
fn secrets_that_everybody_can_read_draw_a_warning() {
    let dir = tempfile::tempdir().expect("a folder");
    let paths = ["cert", "key", "tokens"].map(|name| file(&dir, name, 0o644));
    let [cert, key, tokens] = paths.each_ref().map(|path| path.display());
    let settings = format!("  tls: {{cert_file: {cert}, key_file: {key}}}\n  tokens_file: {tokens}\n");
    let expected = [
        format!("relay.tls.key_file: {key} holds a secret and every user can read it; run chmod o-r {key}"),
        format!(
            "relay.tokens_file: {tokens} holds a secret and every user can read it; run chmod o-r {tokens}"
        ),
    ];
    assert_eq!(read(&settings).expect("valid").warnings, expected);

    let tokens = file(&dir, "tokens", 0o600);
    let settings = format!("  tokens_file: {}\n", tokens.display());
    let expected = ["relay.tokens_file: without `tls`, tokens can be read on the network; set tls too"];
    assert_eq!(read(&settings).expect("valid").warnings, expected);
}

#[test]
fn what_is_missing_or_halved_is_explained() {
    let dir = tempfile::tempdir().expect("a folder");
    let (cert, none) = (file(&dir, "cert", 0o644), dir.path().join("none"));
    let (cert, none) = (cert.display(), none.display());
    check(
        &format!("  tokens_file: {none}\n  tls:\n    cert_file: {none}\n    key_file: {cert}\n"),
        &[
            &format!(
                "3: relay.tokens_file: {none} cannot be read: there is no such file; check its path and permissions"
            ),
            &format!(
                "5: relay.tls.cert_file: {none} cannot be read: there is no such file; check its path and permissions"
            ),
        ],
    );
    let name_counts = "2: relay.groups[0].sources[0]: `web-1` is a host name, which counts only with \
                       `trust_source: true`, tokens or client certificates; write its address";
    check(
        &format!("  tls: {{cert_file: {cert}}}\n"),
        &[
            name_counts,
            "3: relay.tls: has only one of cert_file and key_file; write both or neither",
        ],
    );
    check(
        &format!("  tls: {{client_ca_file: {cert}}}\n"),
        &["3: relay.tls: has client_ca_file, which counts with TLS only; write cert_file and key_file too"],
    );
}
