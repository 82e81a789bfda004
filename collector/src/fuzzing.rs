//! Checks for arbitrary posted bodies and commit logs, used by the fuzz target `posted_body` and by the test of its corpus.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::line_record::fit;
use crate::source::http::parse::{BodyOrigin, PostPath, records};

/// Reads a body: its first byte says where it is posted. Each record of a body that is taken becomes one line of JSON that fits
/// and has the five keys; a body that is refused gets one line of reason.
#[expect(clippy::missing_panics_doc, reason = "it reports a violation by a panic")]
pub fn posted_body(data: &[u8]) {
    const MAX: usize = 4096;
    let (kind, body) = data.split_first().unwrap_or((&0, data));
    let path = [PostPath::Log, PostPath::ApiLogs, PostPath::Lines];
    let path = path
        .get(usize::from(kind % 3))
        .copied()
        .unwrap_or(PostPath::Lines);
    let origin = BodyOrigin {
        arrival: Timestamp::UNIX_EPOCH,
        zone: &TimeZone::UTC,
        source: "192.0.2.7",
        is_json: kind & 0x80 != 0,
    };
    match records(path, body, &origin) {
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
        Ok(records) => {
            for mut record in records {
                fit(&mut record, 0, MAX);
                let mut line = Vec::new();
                record.write_line(&mut line);
                assert!(
                    line.len() <= MAX && line.ends_with(b"}\n"),
                    "{} bytes",
                    line.len()
                );
                let value: serde_json::Value = serde_json::from_slice(&line).expect("a line is JSON");
                let has_keys = ["time", "level", "source", "id", "message"]
                    .iter()
                    .all(|key| value.get(key).is_some());
                assert!(has_keys, "{value}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_testkit::corpus;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn corpus_of_posted_bodies_holds() {
        for entry in corpus::entries("posted_body") {
            posted_body(&entry);
        }
    }

    proptest! {
        #[test]
        fn changed_corpus_of_posted_bodies_holds(dice: [u16; 6]) {
            posted_body(&corpus::mutant("posted_body", dice));
        }
    }
}
