//! How a destination's batches are to appear there.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use logferry_config::{Config, ConfigError, FileCompression, Publishing, VerifyMode};

fn parse(settings: &str) -> Result<Config, ConfigError> {
    let text = format!(
        "forwarder:\n  destinations:\n    - name: d\n      host: h\n      user: u\n      directory: /in\n      \
         password: p\n{settings}"
    );
    logferry_config::parse(&text, Path::new("c.yaml"), &|_| None)
}

fn publishing(settings: &str) -> Publishing {
    let config = parse(settings).unwrap();
    config.forwarder.unwrap().destinations.remove(0).publish
}

#[test]
fn batches_appear_plain_and_alone_unless_more_is_asked_for() {
    let plain = Publishing {
        verify: VerifyMode::Size,
        compress: FileCompression::None,
        manifest: false,
        marker: None,
    };
    assert_eq!(publishing(""), plain);
    let full = Publishing {
        verify: VerifyMode::ReadBack,
        compress: FileCompression::Zstd,
        manifest: true,
        marker: Some(".ok".to_owned()),
    };
    let settings = "      verify: read-back\n      compress: zstd\n      manifest: json\n      marker: .ok\n";
    assert_eq!(publishing(settings), full);
}

#[test]
fn wrong_publishing_is_explained() {
    let settings = "      verify: md5\n      compress: bzip2\n      manifest: xml\n      marker: .part\n";
    let error = parse(settings).unwrap_err();
    let said = error.to_string();
    for expected in [
        "verify: `md5` is not a valid value; write one of size, hash, read-back",
        "compress: `bzip2` is not a valid value; write one of none, gzip, zstd",
        "manifest: `xml` is not a valid value; write one of json",
        "marker: `.part` is `temp_suffix` too; write another, such as .ok",
    ] {
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
    let error = parse("      marker: /ok\n").unwrap_err();
    assert!(error.to_string().contains("`/ok` is not a suffix"), "{error}");
}
