//! How a sender reaches its relay: read as documented, and explained where it is wrong.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use logferry_config::{ChunkCompression, ClientIdentity, ClientTls, Config, ConfigError, parse};
use tempfile::TempDir;

fn read(relay: &str, settings: &str) -> Result<Config, ConfigError> {
    let text = format!("sender:\n  relay: {relay}\n  logs: [{{path: /a.log}}]\n{settings}");
    parse(&text, Path::new("c.yaml"), &|_| None)
}

fn check(relay: &str, settings: &str, expected: &[&str]) {
    let said = read(relay, settings).expect_err(relay).to_string();
    let said: Vec<_> = said
        .lines()
        .map(|line| line.strip_prefix("c.yaml:").expect("the file"))
        .collect();
    assert_eq!(said, expected, "{relay} {settings}");
}

/// A folder with files that only their owner can read.
fn files(names: &[&str]) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().expect("a folder");
    let paths = names.iter().map(|name| {
        let path = dir.path().join(name);
        std::fs::write(&path, "content\n").expect("room");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
        path
    });
    let paths = paths.collect();
    (dir, paths)
}

#[test]
fn a_relay_may_have_one_address_or_several() {
    for (relay, expected) in [
        ("https://r:5001", &["https://r:5001"][..]),
        ("[http://a:1, 'https://b:2/']", &["http://a:1", "https://b:2"][..]),
    ] {
        let sender = read(relay, "").expect(relay).sender.expect("a sender");
        let addresses: Vec<_> = sender.relay.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, expected);
    }
}

#[test]
fn wrong_relay_addresses_are_explained() {
    let right = "is not a relay's address; write it like http://192.0.2.10:5001";
    check(
        "[]",
        "",
        &["2: sender.relay: has no entry; write at least one address, such as [http://192.0.2.10:5001]"],
    );
    check(
        "[http://a:1, a:2, 'http://a:1/']",
        "",
        &[
            &format!("2: sender.relay[1]: `a:2` {right}"),
            "2: sender.relay[2]: `http://a:1` is in the list twice; remove one of them",
        ],
    );
    check(
        "5001",
        "",
        &[
            "2: sender.relay: is `5001`; write a relay's address like http://192.0.2.10:5001, or a list of them",
        ],
    );
    check(
        "null",
        "",
        &["2: sender.relay: is missing; write for example `http://192.0.2.10:5001`"],
    );
}

#[test]
fn compression_tls_and_a_token_are_read_as_documented() {
    let (_dir, paths) = files(&["ca", "cert", "key", "token"]);
    let [ca, cert, key, token] = &paths[..] else {
        panic!("four files")
    };
    let settings = format!(
        "  compression: gzip\n  token_file: {}\n  tls: {{ca_file: {}, cert_file: {}, key_file: {}}}\n",
        token.display(),
        ca.display(),
        cert.display(),
        key.display()
    );
    let config = read("https://r:5001", &settings).expect("valid");
    assert_eq!(config.warnings, [""; 0]);
    let sender = config.sender.expect("a sender");
    assert_eq!(sender.compression, ChunkCompression::Gzip);
    assert_eq!(sender.token_file.as_ref(), Some(token));
    let identity = ClientIdentity {
        cert_file: cert.clone(),
        key_file: key.clone(),
    };
    let expected = ClientTls {
        ca_file: Some(ca.clone()),
        identity: Some(identity),
    };
    assert_eq!(sender.tls, expected);
}

#[test]
fn a_token_in_the_clear_is_warned_about() {
    let (_dir, paths) = files(&["token"]);
    let settings = format!("  token_file: {}\n", paths[0].display());
    let config = read("[https://r:5001, http://r:5002]", &settings).expect("valid");
    assert_eq!(
        config.warnings,
        ["sender.token_file: the token goes over http and can be read on the network; use https"]
    );
}

#[test]
fn wrong_files_of_tls_are_explained() {
    let (dir, paths) = files(&["cert"]);
    let (cert, none) = (paths[0].display(), dir.path().join("none"));
    let none = none.display();
    check(
        "https://r:5001",
        &format!("  token_file: {none}\n  tls:\n    ca_file: {none}\n"),
        &[
            &format!(
                "4: sender.token_file: {none} cannot be read: there is no such file; check its path and permissions"
            ),
            &format!(
                "6: sender.tls.ca_file: {none} cannot be read: there is no such file; check its path and permissions"
            ),
        ],
    );
    check(
        "https://r:5001",
        &format!("  tls: {{cert_file: {cert}}}\n"),
        &["4: sender.tls: has only one of cert_file and key_file; write both or neither"],
    );
    check(
        "http://r:5001",
        &format!("  tls: {{ca_file: {cert}}}\n"),
        &[
            "4: sender.tls: is for https, and no address in `relay` is; write https:// there, or leave this out",
        ],
    );
}
