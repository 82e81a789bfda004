//! What must hold for any query and any line; for the fuzz target `query` and the test of its corpus.

use logferry_fields::{Format, LineReader};

use crate::query::Query;
use crate::record::{LineOrigin, LineRecord};
use crate::search::check_frame;

const FORMATS: [&str; 8] = [
    "auto",
    "text",
    "combined",
    "json",
    "ltsv",
    "logfmt",
    "$remote_addr|$status|$request_time",
    "${request_time}ms$host$request",
];

/// Reads the first line as a query and as a pattern, and asks the other lines in each format. A hit's frame is never left out by
/// its filter: that would lose the hit. What is highlighted is in the line.
#[expect(clippy::missing_panics_doc, reason = "that is how it says what does not hold")]
pub fn query(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let text = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let _ = Query::default().add_pattern(&text);
    let Ok(query) = Query::parse(&text) else {
        return;
    };
    let (source, group) = (
        "192.0.2.1".parse().expect("an address"),
        "web-1".parse().expect("a name"),
    );
    for line in lines {
        let mut end = 0;
        for range in query.highlights(line) {
            assert!(
                range.start >= end && line.get(range.clone()).is_some(),
                "{range:?}"
            );
            end = range.end;
        }
        for name in FORMATS {
            let format = Format::parse(name).expect("a format");
            let facts = LineReader::new(&format, 0).read(line);
            let origin = LineOrigin {
                source: &source,
                group: &group,
                log: None,
                batch: "b1",
                format: name,
            };
            let record = LineRecord {
                origin,
                offset: 0,
                time_ms: 0,
                level: facts.level.map(logferry_fields::Level::as_str),
                status: facts.status,
                line,
            };
            check_frame(&query, &record, &format);
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_testkit::corpus;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn corpus_of_queries_holds() {
        for entry in corpus::entries("query") {
            query(&entry);
        }
    }

    #[test]
    fn changed_corpus_of_queries_holds() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..500 {
            query(&corpus::mutant("query", random.random()));
        }
    }
}
