//! Counts the lines of a block, and says what the store shall know of each. Pure but for what is given to `store`.

use logferry_config::{CounterRule, CounterSettings};
use logferry_fields::{Format, LineFacts, LineReader};
use logferry_numbers::{CountClock, CountedLine, CounterId, NumbersKept, SeriesKey, Tally};
use logferry_store::{LineOrigin, LineRecord};
use memchr::memchr_iter;
use memchr::memmem::Finder;

/// A named counter.
pub(crate) struct NamedCounter {
    id: CounterId,
    rule: CounterRule,
    text: Option<Finder<'static>>,
}

impl NamedCounter {
    pub(crate) fn new(id: CounterId, settings: &CounterSettings) -> Self {
        let rule = settings.rule.clone();
        let text = rule.text.as_ref();
        Self {
            id,
            text: text.map(|text| Finder::new(text.as_bytes()).into_owned()),
            rule,
        }
    }

    /// Whether it can count lines of this origin.
    fn wants(&self, origin: &LineOrigin<'_>) -> bool {
        let log = origin.log.map_or("", |log| log.as_str());
        let rule = &self.rule;
        let of = [
            (&rule.source, origin.source.as_str()),
            (&rule.group, origin.group.as_str()),
            (&rule.log, log),
        ];
        of.into_iter().all(|(pattern, name)| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.matches(name.as_bytes()))
        })
    }

    fn counts(&self, line: &[u8], facts: &LineFacts<'_>, reader: &LineReader<'_>) -> bool {
        let rule = &self.rule;
        let is_status = |statuses: &std::ops::RangeInclusive<u16>| {
            facts.status.is_some_and(|status| statuses.contains(&status))
        };
        let is_method = |method: &String| {
            facts
                .method
                .as_deref()
                .is_some_and(|found| found.eq_ignore_ascii_case(method.as_bytes()))
        };
        rule.status.as_ref().is_none_or(is_status)
            && rule.level.is_none_or(|level| facts.level == Some(level))
            && rule.method.as_ref().is_none_or(is_method)
            && rule
                .path
                .as_ref()
                .is_none_or(|path| facts.path.as_deref().is_some_and(|found| path.matches(found)))
            && self.text.as_ref().is_none_or(|text| text.find(line).is_some())
            && rule.fields.iter().all(|(name, value)| {
                let found = reader.field(line, name.as_bytes());
                found.is_some_and(|found| value.matches(&found))
            })
    }
}

/// The lines of a text, each with its newline; the last may have none.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let newlines = memchr_iter(b'\n', text).map(|at| at + 1);
    let ends = newlines.chain((!text.ends_with(b"\n")).then_some(text.len()));
    let mut start = 0;
    ends.filter_map(move |end| {
        let line = text.get(start..end)?;
        start = end;
        (!line.is_empty()).then_some(line)
    })
}

/// A block of whole lines of one batch.
pub(crate) struct LineBlock<'a> {
    pub(crate) origin: LineOrigin<'a>,
    pub(crate) format: &'a Format,
    /// The first byte of the block in its batch.
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
    /// The time of a line that has none, and has none before it: in seconds since 1970.
    pub(crate) time: i64,
}

/// What a block held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockCounts {
    pub(crate) lines: u64,
    pub(crate) unparsed: u64,
    /// The time of its last line.
    pub(crate) time: i64,
}

/// When a block is read, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CountTimes {
    clock: CountClock,
    /// Lines of this time and older ones are too old for the numbers: they share one row, which is not recorded. Else each
    /// line with a time of its own would be a row.
    too_old: i64,
}

impl CountTimes {
    pub(crate) fn new(clock: CountClock, kept: NumbersKept) -> Self {
        Self {
            clock,
            too_old: kept.too_old(clock.earliest()),
        }
    }

    /// The time by which a line of this time counts.
    pub(crate) fn counted(self, time: i64) -> i64 {
        self.clock.counted(time)
    }
}

/// The time of the last line of a text that has one. `near`: a time near it.
pub(crate) fn last_time(text: &[u8], format: &Format, near: i64) -> Option<i64> {
    let mut reader = LineReader::new(format, near);
    let found = lines(text).filter_map(|line| reader.read(line).time.map(|time| time.unix));
    found.last()
}

/// Counts the lines of a block, and gives each to `store`.
pub(crate) fn count_block<E>(
    block: &LineBlock<'_>,
    counters: &[NamedCounter],
    tally: &mut Tally,
    times: CountTimes,
    mut store: impl FnMut(&LineRecord<'_>) -> Result<(), E>,
) -> Result<BlockCounts, E> {
    let origin = block.origin;
    let series = tally.series(SeriesKey {
        source: origin.source.as_str().to_owned(),
        group: origin.group.as_str().to_owned(),
        log: origin.log.map(|log| log.as_str().to_owned()),
    });
    let counters: Vec<_> = counters.iter().filter(|counter| counter.wants(&origin)).collect();
    let mut reader = LineReader::new(block.format, block.time);
    let (mut offset, mut counts) = (
        block.offset,
        BlockCounts {
            lines: 0,
            unparsed: 0,
            time: block.time,
        },
    );
    for line in lines(block.bytes) {
        let facts = reader.read(line);
        if let Some(time) = facts.time {
            counts.time = times.counted(time.unix);
        }
        let bytes = u64::try_from(line.len()).unwrap_or(0);
        let minute = tally.minute(counts.time.max(times.too_old), series);
        minute.count(&CountedLine {
            bytes,
            status: facts.status,
            level: facts.level,
            is_parsed: facts.is_parsed,
            request_micros: facts.request_micros,
        });
        for counter in &counters {
            if counter.counts(line, &facts, &reader) {
                minute.count_named(counter.id);
            }
        }
        store(&LineRecord {
            origin,
            offset,
            time_ms: counts.time.saturating_mul(1000),
            level: facts.level.map(logferry_fields::Level::as_str),
            status: facts.status,
            line,
        })?;
        counts.lines += 1;
        counts.unparsed += u64::from(!facts.is_parsed);
        offset = offset.saturating_add(bytes);
    }
    Ok(counts)
}
