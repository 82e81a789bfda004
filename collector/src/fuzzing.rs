//! Checks for arbitrary posted bodies, bytes of connections and output of `journalctl`, used by the fuzz targets and by the tests of
//! their corpora.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::line_record::{RecordOrigin, fit, of_line};
use crate::record::Record;
use crate::source::framing::{Framer, Framing};
use crate::source::http::parse::{BodyOrigin, PostPath, records};
use crate::source::journal::exported_records;
use crate::source::syslog::message_record;

/// The longest line of a record here.
const MAX: usize = 4096;

/// Reads a body: its first byte says where it is posted. Each record of a body that is taken becomes one line of JSON that fits
/// and has the five keys; a body that is refused gets one line of reason.
#[expect(clippy::missing_panics_doc, reason = "it reports a violation by a panic")]
pub fn posted_body(data: &[u8]) {
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
                check_line(&record);
            }
        }
    }
}

/// A record that fits is one line of JSON with the five keys.
fn check_line(record: &Record) {
    let mut line = Vec::new();
    record.write_line(&mut line);
    let is_whole = line.len() <= MAX && line.ends_with(b"}\n");
    assert!(is_whole, "{} bytes", line.len());
    let value: serde_json::Value = serde_json::from_slice(&line).expect("a line is JSON");
    let keys = ["time", "level", "source", "id", "message"];
    assert!(keys.iter().all(|key| value.get(key).is_some()), "{value}");
}

/// Reads what came on a connection, once at one time and once byte by byte: the same records come out, none over the limit, and
/// each becomes a line, as text or JSON and as syslog. The first byte says how they are framed.
#[expect(clippy::missing_panics_doc, reason = "it reports a violation by a panic")]
pub fn received_bytes(data: &[u8]) {
    let (kind, bytes) = data.split_first().unwrap_or((&0, data));
    let framing = if kind & 1 == 0 {
        Framing::Newline
    } else {
        Framing::Syslog
    };
    let record_max = 4 + usize::from(kind >> 1);
    let framed = |reads: &mut dyn Iterator<Item = &[u8]>| {
        let mut framer = Framer::new(framing, record_max);
        let mut records = Vec::new();
        for read in reads {
            framer.push(read, |raw| records.push((raw.bytes.to_vec(), raw.lost)));
        }
        framer.finish(|raw| records.push((raw.bytes.to_vec(), raw.lost)));
        records
    };
    let records = framed(&mut [bytes].into_iter());
    assert_eq!(
        records,
        framed(&mut bytes.chunks(1)),
        "other reads, other records"
    );
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let origin = RecordOrigin {
        arrival: Timestamp::UNIX_EPOCH,
        zone: &TimeZone::UTC,
        source: "192.0.2.7",
    };
    for (record, lost) in records {
        assert!(!record.is_empty() && record.len() <= record_max, "{record:?}");
        let of_syslog = message_record(&record, peer, origin.arrival, origin.zone);
        for mut record in [of_line(&record, &origin), of_syslog] {
            let is_cut = fit(&mut record, lost, MAX);
            assert!(is_cut || lost == 0, "lost bytes that are not told");
            check_line(&record);
        }
    }
}

/// Reads output of `journalctl`: each entry becomes a record that fits.
pub fn journal_export(data: &[u8]) {
    for mut record in exported_records(data, MAX) {
        fit(&mut record, 0, MAX);
        check_line(&record);
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

    #[test]
    fn corpora_of_received_bytes_and_journals_hold() {
        for entry in corpus::entries("received_bytes") {
            received_bytes(&entry);
        }
        for entry in corpus::entries("journal_export") {
            journal_export(&entry);
        }
    }

    proptest! {
        #[test]
        fn changed_corpora_of_received_bytes_and_journals_hold(dice: [u16; 6]) {
            received_bytes(&corpus::mutant("received_bytes", dice));
            journal_export(&corpus::mutant("journal_export", dice));
        }

        #[test]
        fn changed_corpus_of_posted_bodies_holds(dice: [u16; 6]) {
            posted_body(&corpus::mutant("posted_body", dice));
        }
    }
}
