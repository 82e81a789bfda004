//! A store of generated lines.

use std::path::Path;
use std::time::Duration;

use logferry_durable::Disk;
use logferry_fields::LineReader;
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_testkit::SimDisk;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::error::StoreError;
use crate::writer::{SegmentLimits, open_with};
use crate::{
    Hit, LineOrigin, LineRecord, MatchedLine, Query, SearchEnd, SearchObserver, SearchPage, SearchProgress,
    Searcher, SpoolLines, StoreOpened, StorePosition, StoreWriter,
};

pub(super) const STORE: &str = "/store";

/// 21 November 2026, 00:00 UTC.
pub(super) const MIDNIGHT_MS: i64 = 1_795_219_200_000;

/// Frames of a KiB, segments of four frames.
pub(super) const SMALL: SegmentLimits = SegmentLimits {
    frame_bytes: 1 << 10,
    bytes: 1 << 20,
    frames: 4,
    age: Duration::from_hours(1),
    tail_bytes: 2 << 10,
};

/// A line with everything that a query can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestLine {
    pub(super) source: String,
    pub(super) log: Option<String>,
    pub(super) batch: String,
    pub(super) format: &'static str,
    pub(super) offset: u64,
    pub(super) time_ms: i64,
    pub(super) level: Option<&'static str>,
    pub(super) status: Option<u16>,
    /// A field of the line, beside those above.
    pub(super) field: Option<(&'static str, String)>,
    pub(super) bytes: Vec<u8>,
}

impl TestLine {
    pub(super) fn id(&self) -> String {
        format!("{}@{}", self.batch, self.offset)
    }
}

const WORDS: [&str; 28] = [
    "GET",
    "get",
    "error",
    "Error",
    "timeout",
    "connection",
    "refused",
    "order_7",
    "naïve",
    "GRÖSSE",
    "größe",
    "東京",
    "10.0.0.7",
    "110.0.0.7",
    "10.0.0.77",
    "/api/orders",
    "/api",
    "a-b",
    "x=1",
    "“q”",
    "\u{212a}",
    "0x1F",
    "err",
    "_",
    "a&b=err",
    "<err>get",
    "it's",
    "x+/api",
];

/// Some lines of several batches and logs, in the order in which the indexer reads them.
pub(super) fn lines(random: &mut StdRng, count: usize) -> Vec<TestLine> {
    let mut offsets = [0_u64; 6];
    let mut time_ms = MIDNIGHT_MS;
    let mut line = || {
        let batch = random.random_range(0..6_usize);
        time_ms += random.random_range(0..3) * 1000;
        // Some lines are late.
        let late = if random.random_bool(0.1) {
            random.random_range(0..600) * 1000
        } else {
            0
        };
        let words: Vec<&str> = (0..random.random_range(0..6))
            .filter_map(|_| WORDS.choose(random).copied())
            .collect();
        let mut text = words
            .join([" ", ",", ": "].choose(random).copied().unwrap_or(" "))
            .into_bytes();
        if random.random_bool(0.05) {
            text.extend([0xff, 0xc3, 0, 0x1b, b'[', b'2', b'J']);
        }
        if random.random_bool(0.1) {
            text.extend(format!(" id{:05}", random.random_range(0..40_000)).bytes());
        }
        let status = random
            .random_bool(0.5)
            .then(|| *[200, 204, 404, 500, 503].choose(random).unwrap_or(&200));
        let (format, bytes, field) = if batch % 2 == 0 {
            ("text", text, None)
        } else {
            let mut city = (*WORDS.choose(random).unwrap_or(&"")).to_owned();
            if random.random_bool(0.5) {
                // Words that no other line has.
                let rare = random.random_range(0..40_000);
                let text = ["c&d", "c=d", "c/d", "c d"].choose(random).copied().unwrap_or("");
                city = text
                    .replace('d', &format!("{rare}"))
                    .replace('c', &format!("a{rare}"));
            }
            let text = String::from_utf8_lossy(&text).replace('\0', "");
            let mut line = format!("{{\"city\": {}, \"m\": {}}}", json(&city), json(&text));
            line = escaped(&line, ["&<>'", "", "&<>'=+/\u{212a}"][batch / 2]);
            ("json", line.into_bytes(), Some(("city", city)))
        };
        let offset = offsets[batch];
        offsets[batch] += u64::try_from(bytes.len()).unwrap_or(0) + 1;
        TestLine {
            source: format!("10.0.0.{}", batch / 2),
            log: (batch < 4).then(|| format!("log{}", batch % 3)),
            batch: format!("b{batch}.2"),
            format,
            offset,
            time_ms: time_ms - late,
            level: [None, Some("error"), Some("warn"), Some("info")]
                .choose(random)
                .copied()
                .flatten(),
            status,
            field,
            bytes,
        }
    };
    (0..count).map(|_| line()).collect()
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// The line as a writer of JSON has it that escapes these characters.
fn escaped(line: &str, characters: &str) -> String {
    let escape = |character: char| {
        if characters.contains(character) {
            format!("\\u{:04x}", u32::from(character))
        } else {
            character.to_string()
        }
    };
    line.chars().map(escape).collect()
}

pub(super) fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

pub(super) fn open(
    disk: &SimDisk,
    recorded: Option<StorePosition>,
) -> Result<StoreOpened<SimDisk>, StoreError> {
    open_with(disk.clone(), Path::new(STORE), recorded, MIDNIGHT_MS, SMALL)
}

pub(super) fn append<D: Disk>(writer: &mut StoreWriter<D>, line: &TestLine) -> Result<(), StoreError> {
    let source: SourceId = line.source.parse().expect("a source");
    let group: GroupName = "web-1".parse().expect("a group");
    let log: Option<LogName> = line.log.as_ref().map(|log| log.parse().expect("a log"));
    writer.append(&LineRecord {
        origin: LineOrigin {
            source: &source,
            group: &group,
            log: log.as_ref(),
            batch: &line.batch,
            format: line.format,
        },
        offset: line.offset,
        time_ms: line.time_ms,
        level: line.level,
        status: line.status,
        line: &line.bytes,
    })
}

/// A store with these lines.
pub(super) fn store_of(lines: &[TestLine]) -> (SimDisk, StorePosition) {
    let disk = SimDisk::new();
    let mut writer = open(&disk, None).expect("opened").writer;
    let mut position = StorePosition::default();
    for (number, line) in lines.iter().enumerate() {
        append(&mut writer, line).expect("added");
        if number % 7 == 6 || number + 1 == lines.len() {
            position = writer.sync(line.time_ms).expect("synced");
            writer.recorded().expect("removed");
        }
    }
    (disk, position)
}

/// Collects hits; ends the search at the `stop`th call of `progress`.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pub(super) hits: Vec<Hit>,
    /// The lines that were counted, with their times.
    pub(super) counted: Vec<(i64, Vec<u8>)>,
    pub(super) stop: Option<usize>,
    pub(super) calls: usize,
}

impl SearchObserver for Collector {
    fn hit(&mut self, hit: &Hit) -> bool {
        self.hits.push(hit.clone());
        true
    }

    fn matched(&mut self, line: &MatchedLine<'_>, _: &mut LineReader<'_>) {
        self.counted.push((line.time_ms, line.line.to_vec()));
    }

    fn progress(&mut self, _progress: &SearchProgress) -> bool {
        self.calls += 1;
        self.stop.is_none_or(|stop| self.calls < stop)
    }
}

pub(super) fn searcher(disk: &SimDisk, position: StorePosition) -> Searcher<SimDisk> {
    Searcher::new(disk.clone(), Path::new(STORE), Some(position))
}

/// All hits of a query and the last end, page by page, each from the text of the cursor.
pub(super) fn hits_of(
    searcher: &Searcher<SimDisk>,
    query: &Query,
    limit: usize,
    stop: Option<usize>,
) -> (Vec<Hit>, SearchEnd) {
    let (hits, mut ends) = pages_of(searcher, None, query, (limit, stop), CursorForm::Text);
    (hits, ends.pop().expect("a page"))
}

/// How a page gets the cursor of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorForm {
    /// As a text, as people give it.
    Text,
    /// As it is returned, with what it knows of the parts that were read.
    Kept,
}

/// All hits of a query, and the end of each page.
pub(super) fn pages_of<D: Disk>(
    searcher: &Searcher<D>,
    spool: Option<&SpoolLines<'_, D>>,
    query: &Query,
    (limit, stop): (usize, Option<usize>),
    form: CursorForm,
) -> (Vec<Hit>, Vec<SearchEnd>) {
    let (mut hits, mut ends, mut after): (Vec<Hit>, Vec<SearchEnd>, _) = (Vec::new(), Vec::new(), None);
    // A search that always ends before it has done anything would never end.
    let mut stop = stop;
    loop {
        let page = SearchPage {
            limit,
            after,
            ..SearchPage::default()
        };
        let mut collector = Collector {
            stop,
            ..Collector::default()
        };
        let end = searcher
            .search(query, &page, spool, &mut collector)
            .expect("searched");
        hits.append(&mut collector.hits);
        after = match (end.next.clone(), form) {
            (next, CursorForm::Kept) => next,
            (next, CursorForm::Text) => next.map(|next| next.to_string().parse().expect("a cursor")),
        };
        ends.push(end);
        if after.is_none() {
            return (hits, ends);
        }
        stop = stop.map(|stop| stop + 3);
    }
}

pub(super) fn ids(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(Hit::id).collect()
}
