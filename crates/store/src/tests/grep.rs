//! Hits beside those of a plain grep: a second, simple reading of every query.

use logferry_testkit::SimDisk;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::fixture::{
    Collector, CursorForm, MIDNIGHT_MS, TestLine, hits_of, ids, lines, pages_of, random, searcher, store_of,
};
use crate::{Query, SearchPage, Searcher};

/// A part of a query, and what it says.
#[derive(Debug, Clone)]
enum Wanted {
    Text(String, bool, bool),
    Pattern(String),
    Source(String),
    Log(String),
    Level(&'static str),
    Status(u16, u16),
    City(String),
}

/// One letter in one case.
fn lower(text: &str) -> Vec<char> {
    let one = |character: char| {
        let mut lower = character.to_lowercase();
        let first = lower.next().unwrap_or(character);
        if lower.next().is_none() { first } else { character }
    };
    text.chars().map(one).collect()
}

fn is_of_word(character: Option<&char>) -> bool {
    character.is_some_and(|character| character.is_alphanumeric() || *character == '_')
}

fn has_text(line: &[u8], text: &str, from_border: bool, to_border: bool) -> bool {
    let (wanted, raw): (Vec<char>, Vec<char>) = (lower(text), text.chars().collect());
    let line = String::from_utf8_lossy(line);
    let (line, original) = (lower(&line), line.chars().collect::<Vec<_>>());
    (0..line.len()).any(|start| {
        let end = start + wanted.len();
        // The Kelvin sign is no K.
        let is_same = |(at, wanted): (usize, &char)| {
            line[start + at] == *wanted && original[start + at].is_ascii() == raw[at].is_ascii()
        };
        end <= line.len()
            && wanted.iter().enumerate().all(is_same)
            && !(from_border
                && is_of_word(wanted.first())
                && start > 0
                && is_of_word(original.get(start - 1)))
            && !(to_border && is_of_word(wanted.last()) && is_of_word(original.get(end)))
    })
}

impl Wanted {
    fn is_of(&self, line: &TestLine) -> bool {
        let same = |a: &str, b: &str| lower(a) == lower(b);
        match self {
            Self::Text(text, from, to) => has_text(&line.bytes, text, *from, *to),
            Self::Pattern(text) => line.bytes.windows(text.len()).any(|part| part == text.as_bytes()),
            Self::Source(source) => *source == line.source,
            Self::Log(log) => line.log.as_deref().unwrap_or("") == log,
            Self::Level(level) => line.level == Some(level),
            Self::Status(from, to) => line.status.is_some_and(|status| (*from..=*to).contains(&status)),
            Self::City(city) => line.field.as_ref().is_some_and(|(_, value)| same(value, city)),
        }
    }

    fn any(random: &mut StdRng, lines: &[TestLine]) -> Self {
        let line = lines.choose(random).expect("lines");
        match random.random_range(0..15) {
            0..=6 => Self::text(random, line),
            7 => Self::Source(line.source.clone()),
            8 => Self::Log(line.log.clone().unwrap_or_else(|| "nolog".to_owned())),
            9 => Self::Level(["error", "warn", "debug"].choose(random).expect("some")),
            10 => {
                let status = line.status.unwrap_or(301);
                let class = status / 100 * 100;
                if random.random_bool(0.5) {
                    Self::Status(status, status)
                } else {
                    Self::Status(class, class + 99)
                }
            }
            _ => match &line.field {
                Some((_, city)) if !city.contains(['"', '*']) => Self::City(city.clone()),
                _ => Self::Pattern("ti".to_owned()),
            },
        }
    }

    /// A text of a line, from anywhere to anywhere, perhaps in another case.
    fn text(random: &mut StdRng, line: &TestLine) -> Self {
        let text = String::from_utf8_lossy(&line.bytes);
        let characters: Vec<char> = text.chars().collect();
        let start = random.random_range(0..=characters.len());
        let end = random.random_range(start..=characters.len().min(start + 12));
        let mut text: String = characters[start..end].iter().collect();
        text = text.replace(['\u{fffd}', '"', '\0', '\n'], " ");
        if random.random_bool(0.3) {
            text = text.to_uppercase();
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        if random.random_bool(0.5) {
            text = words
                .first()
                .map_or_else(|| "error".to_owned(), |word| (*word).to_owned());
        }
        if text.trim().is_empty() {
            text = "timeout".to_owned();
        }
        Self::Text(text, random.random_bool(0.7), random.random_bool(0.7))
    }

    /// Adds itself to a query, by one of its ways.
    fn text_of(&self, is_negated: bool) -> String {
        let minus = if is_negated { "-" } else { "" };
        let star = |is_border: bool| if is_border { "" } else { "*" };
        match self {
            Self::Text(text, from, to) => format!("{minus}{}\"{text}\"{}", star(*from), star(*to)),
            Self::Pattern(_) => String::new(),
            Self::Source(source) => format!("{minus}source:{source}"),
            Self::Log(log) if log.is_empty() => String::new(),
            Self::Log(log) => format!("{minus}log:{log}"),
            Self::Level(level) => format!("{minus}level:{level}"),
            Self::Status(from, to) if from == to => format!("{minus}status:{from}"),
            Self::Status(from, _) => format!("{minus}status:{}xx", from / 100),
            Self::City(city) => format!("{minus}city:\"{city}\""),
        }
    }
}

/// One query over the lines, page by page and counted, beside the plain reading. Returns the number of hits.
fn check_query(random: &mut StdRng, lines: &[TestLine], search: &Searcher<SimDisk>) -> usize {
    let parts: Vec<(Wanted, bool)> = (0..random.random_range(0..4))
        .map(|_| (Wanted::any(random, lines), random.random_bool(0.2)))
        .collect();
    let text: Vec<String> = parts
        .iter()
        .map(|(part, is_negated)| part.text_of(*is_negated))
        .collect();
    let text = text.join(" ");
    let mut query = Query::parse(&text).expect("a query");
    let is_pattern = |part: &Wanted| matches!(part, Wanted::Pattern(_));
    for (part, _) in &parts {
        if let Wanted::Pattern(pattern) = part {
            query.add_pattern(pattern).expect("a pattern");
        }
    }
    let time = |random: &mut StdRng| {
        let time = MIDNIGHT_MS + random.random_range(0..900) * 1000;
        random.random_bool(0.3).then_some(time)
    };
    (query.since_ms, query.until_ms) = (time(random), time(random));
    let is_hit = |line: &&TestLine| {
        let in_time = query.since_ms.is_none_or(|since| line.time_ms >= since)
            && query.until_ms.is_none_or(|until| line.time_ms < until);
        in_time
            && parts
                .iter()
                .all(|(part, is_negated)| part.is_of(line) != (*is_negated && !is_pattern(part)))
    };
    let mut expected: Vec<&TestLine> = lines.iter().filter(is_hit).collect();
    expected.sort_by_key(|line| std::cmp::Reverse((line.time_ms, line.batch.clone(), line.offset)));
    let expected: Vec<String> = expected.into_iter().map(TestLine::id).collect();
    let limit = *[1, 3, 1000].choose(random).expect("some");
    let stop = random.random_bool(0.3).then(|| random.random_range(1..6));
    let form = *[CursorForm::Text, CursorForm::Kept].choose(random).expect("some");
    let (hits, mut ends) = pages_of(search, None, &query, (limit, stop), form);
    let end = ends.pop().expect("a page");
    assert_eq!(
        ids(&hits),
        expected,
        "query {text:?}, limit {limit}, stop {stop:?}, {form:?}"
    );
    assert!(end.damage.is_empty() && end.is_complete, "{end:?}");
    let page = SearchPage {
        only_count: true,
        ..SearchPage::default()
    };
    let mut counter = Collector::default();
    let end = search
        .search(&query, &page, None, &mut counter)
        .expect("searched");
    assert_eq!(end.progress.hits, expected.len() as u64, "query {text:?}");
    counter.counted.sort();
    let mut shown: Vec<_> = hits.into_iter().map(|hit| (hit.time_ms, hit.line)).collect();
    shown.sort();
    assert_eq!(
        (counter.counted, counter.hits.len()),
        (shown, 0),
        "query {text:?}"
    );
    expected.len()
}

/// More by `LOGFERRY_QUERIES=100000`.
#[test]
fn hits_are_those_of_a_plain_grep_newest_first() {
    let wanted = std::env::var("LOGFERRY_QUERIES")
        .ok()
        .and_then(|count| count.parse().ok());
    let queries: u64 = wanted.unwrap_or(10_000);
    let mut with_hits = 0;
    for seed in 0..queries.div_ceil(50) {
        let mut random = random(seed);
        let count = random.random_range(1..300);
        let lines = lines(&mut random, count);
        let (disk, position) = store_of(&lines);
        let search = searcher(&disk, position);
        for _ in 0..50 {
            with_hits += u64::from(check_query(&mut random, &lines, &search) > 0);
        }
    }
    assert!(
        with_hits > queries / 4,
        "{with_hits} queries of {queries} have hits"
    );
}

#[test]
fn frames_without_the_word_stay_closed() {
    let mut lines = lines(&mut random(7), 2000);
    let (first, last) = (&mut lines[10], 1500);
    first.bytes = b"the Needle 192.0.2.77".to_vec();
    lines[last].bytes = b"a needle".to_vec();
    let (disk, position) = store_of(&lines);
    let search = searcher(&disk, position);
    let frames = |text: &str| {
        let (hits, end) = hits_of(&search, &Query::parse(text).expect("a query"), 5000, None);
        (hits.len(), end.progress.frames)
    };
    let (_, all) = frames("");
    // Those of the tail have no filter.
    let (_, tail) = frames("nothing");
    assert!(all > 30 && tail < 6, "{tail} of {all} frames");
    assert_eq!(frames("needle"), (2, tail + 2));
    assert_eq!(frames("192.0.2.77"), (1, tail + 1));
    assert_eq!(frames("needle -192.0.2.77"), (1, tail + 2));
    assert_eq!(frames("*eedl*"), (2, all));
    assert_eq!(frames("source:10.9.9.9"), (0, tail));
}

#[test]
fn field_whose_value_is_escaped_in_the_line_is_found() {
    let mut lines = lines(&mut random(8), 2000);
    for (at, value) in [
        (100, r"a17\u0026b17"),
        (200, r"a18\u003db18"),
        (300, r"it\u0027s"),
        (400, r"\u212a19"),
    ] {
        (lines[at].format, lines[at].bytes) = ("json", format!(r#"{{"town": "{value}"}}"#).into_bytes());
    }
    let (disk, position) = store_of(&lines);
    let search = searcher(&disk, position);
    for value in ["a17&b17", "a18=b18", "a18=*", "*=b18", "it's", "k19"] {
        let query = Query::parse(&format!("town:{value}")).expect("a query");
        let (hits, _) = hits_of(&search, &query, 5000, None);
        assert_eq!(hits.len(), 1, "{value}");
    }
}

#[test]
fn lines_of_a_place_in_a_batch_are_found_and_no_others() {
    let mut random = random(7);
    let lines = lines(&mut random, 400);
    let (disk, position) = store_of(&lines);
    let searcher = searcher(&disk, position);
    for line in lines.iter().step_by(37) {
        for reach in [0, 300] {
            let offsets = line.offset.saturating_sub(reach)..=line.offset + reach;
            let mut query = Query::default();
            query.add_offsets(&line.batch, offsets.clone());
            let (hits, _) = hits_of(&searcher, &query, 7, None);
            let mut found = ids(&hits);
            let is_wanted = |it: &&TestLine| it.batch == line.batch && offsets.contains(&it.offset);
            let mut wanted: Vec<_> = lines.iter().filter(is_wanted).map(TestLine::id).collect();
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{} {reach}", line.id());
        }
    }
}
