//! The manifest of a batch: JSON for the program that loads the batch at the destination. Pure. The same batch always
//! gives the same bytes, so that a manifest left by a crash is recognised.

use jiff::Timestamp;
use jiff::tz::Offset;
use logferry_ledger::{Batch, PublishedBatch, Window};
use serde::Serialize;

#[derive(Serialize)]
struct BatchManifestJson<'a> {
    /// Name, size and hash of the file beside the manifest.
    file: &'a str,
    file_bytes: u64,
    file_sha256: &'a str,
    /// The lines in it, with size and hash uncompressed.
    lines: u64,
    bytes: u64,
    sha256: &'a str,
    source: &'a str,
    group: &'a str,
    /// Set if the batch has the lines of one log only.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a str>,
    window: BatchWindowJson,
    part: u32,
}

/// A window, in its lines' offset from UTC.
#[derive(Serialize)]
struct BatchWindowJson {
    /// RFC 3339.
    start: String,
    /// The first second after it.
    end: String,
}

/// A second as RFC 3339, in the window's offset from UTC.
pub(crate) fn rfc3339_in(window: Window, second: i64) -> String {
    let offset = Offset::from_seconds(window.utc_offset).unwrap_or(Offset::UTC);
    let at = Timestamp::from_second(second).unwrap_or_default();
    at.display_with_offset(offset).to_string()
}

/// The manifest of a published batch.
pub(crate) fn text(batch: &Batch, published: &PublishedBatch) -> Vec<u8> {
    let file = published.path.rsplit('/').next().unwrap_or_default();
    let manifest = BatchManifestJson {
        file,
        file_bytes: published.bytes,
        file_sha256: &published.file_sha256,
        lines: batch.contents.lines,
        bytes: batch.contents.bytes,
        sha256: &published.sha256,
        source: batch.source.as_str(),
        group: batch.group.as_str(),
        log: batch.log.as_ref().map(logferry_protocol::names::LogName::as_str),
        window: BatchWindowJson {
            start: rfc3339_in(batch.window, batch.window.start),
            end: rfc3339_in(batch.window, batch.window.end()),
        },
        part: batch.part,
    };
    let mut text = serde_json::to_vec_pretty(&manifest).expect("texts and numbers are JSON");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::plan::tests::batches;

    #[test]
    fn manifest_has_the_values_that_a_loader_checks() {
        let mut batch = batches(&[1_790_000_400]).remove(0);
        batch.window.utc_offset = 7200;
        (batch.contents.lines, batch.contents.bytes) = (2, 12);
        let published = PublishedBatch {
            certainty: logferry_ledger::DeliveryCertainty::Published,
            path: "/drop/batch-00.log.gz".to_owned(),
            bytes: 7,
            sha256: "ab".to_owned(),
            file_sha256: "cd".to_owned(),
        };
        assert_eq!(
            String::from_utf8(text(&batch, &published)).unwrap(),
            r#"{
  "file": "batch-00.log.gz",
  "file_bytes": 7,
  "file_sha256": "cd",
  "lines": 2,
  "bytes": 12,
  "sha256": "ab",
  "source": "198.51.100.1",
  "group": "web-1",
  "window": {
    "start": "2026-09-21T16:20:00+02:00",
    "end": "2026-09-21T16:40:00+02:00"
  },
  "part": 1
}
"#
        );
    }
}
