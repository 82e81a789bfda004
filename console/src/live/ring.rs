//! The ticks of late. Pure.
//!
//! Numbers of ticks only grow, also from one process to the next: a number is the time of its tick in milliseconds. So a later
//! process knows from it since when a watcher has got nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use logferry_store::ReadLines;

/// Bytes of lines that are kept.
const BYTES_MAX: usize = 16 << 20;
/// Ticks that are kept: five minutes of a busy host.
const TICKS_MAX: usize = 1200;
/// Ticks whose times and numbers are known after they left: of an hour of a busy host.
const GONE_MAX: usize = 14_400;
/// What a new watcher is shown is not older.
const RECENT: SignedDuration = SignedDuration::from_mins(5);

/// Bytes of a batch that were not read in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostBytes {
    pub(crate) batch: String,
    pub(crate) bytes: u64,
}

/// The lines of a quarter of a second.
#[derive(Debug)]
pub(crate) struct Tick {
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) blocks: Vec<ReadLines>,
    pub(crate) lost: Vec<LostBytes>,
    /// When lines may be missing before this tick: the follower had to start anew.
    pub(crate) broken: Option<BrokenTime>,
    /// Lines of all ticks before this one.
    pub(crate) lines_before: u64,
}

impl Tick {
    pub(crate) fn lines(&self) -> u64 {
        let lines: usize = self.blocks.iter().map(ReadLines::len).sum();
        u64::try_from(lines).unwrap_or(u64::MAX)
    }

    fn bytes(&self) -> usize {
        self.blocks.iter().map(ReadLines::bytes).sum()
    }
}

/// A time in which nothing was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokenTime {
    pub(crate) since: Timestamp,
    /// What was written from then on is in the ticks.
    pub(crate) until: Timestamp,
}

/// A time whose lines a watcher did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Since when; `None`: nobody knows any more.
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Timestamp,
    /// How many lines of all kinds; `None`: nobody has counted them.
    pub(crate) lines: Option<u64>,
}

/// What came since a tick.
#[derive(Debug, Clone, Default)]
pub(crate) struct SinceTick {
    pub(crate) hole: Option<Hole>,
    pub(crate) ticks: Vec<Arc<Tick>>,
    /// The number of the newest tick: whoever has taken this has seen all up to it.
    pub(crate) newest: u64,
}

/// What is known of a tick that left.
#[derive(Debug, Clone, Copy)]
struct GoneTick {
    number: u64,
    at: Timestamp,
    /// Lines of all ticks up to it.
    lines: u64,
}

#[derive(Debug)]
pub(crate) struct TickRing {
    ticks: VecDeque<Arc<Tick>>,
    bytes: usize,
    /// The number before the first tick.
    start: u64,
    started_at: Timestamp,
    next: u64,
    lines: u64,
    /// The ticks that left, the last one at the end.
    gone: VecDeque<GoneTick>,
    /// The number of the first tick since lines are followed without a break.
    unbroken: u64,
}

impl TickRing {
    pub(crate) fn new(now: Timestamp) -> Self {
        let start = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Self {
            ticks: VecDeque::new(),
            bytes: 0,
            start,
            started_at: now,
            next: start + 1,
            lines: 0,
            gone: VecDeque::new(),
            unbroken: start + 1,
        }
    }

    /// The number of the newest tick.
    pub(crate) fn newest(&self) -> u64 {
        self.next - 1
    }

    /// Adds a tick, and removes those that are too many.
    pub(crate) fn push(
        &mut self,
        at: Timestamp,
        blocks: Vec<ReadLines>,
        lost: Vec<LostBytes>,
        broken: Option<BrokenTime>,
    ) -> Arc<Tick> {
        let number = self.next.max(u64::try_from(at.as_millisecond()).unwrap_or(0));
        let tick = Tick {
            number,
            at,
            blocks,
            lost,
            broken,
            lines_before: self.lines,
        };
        self.next = number + 1;
        self.lines += tick.lines();
        self.bytes += tick.bytes();
        let tick = Arc::new(tick);
        self.ticks.push_back(Arc::clone(&tick));
        while self.ticks.len() > TICKS_MAX || (self.bytes > BYTES_MAX && self.ticks.len() > 1) {
            let Some(oldest) = self.ticks.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            if self.gone.len() >= GONE_MAX {
                self.gone.pop_front();
            }
            self.gone.push_back(GoneTick {
                number: oldest.number,
                at: oldest.at,
                lines: oldest.lines_before + oldest.lines(),
            });
        }
        tick
    }

    /// What came after the tick of this number; what is not there any more is a hole.
    pub(crate) fn since(&self, number: u64, now: Timestamp) -> SinceTick {
        if number < self.start || number > self.newest() {
            // Of another process, or of none.
            let until = self.ticks.front().map_or(now, |tick| tick.at);
            return SinceTick {
                hole: Some(Hole {
                    since: before(number, now),
                    until: until.max(self.started_at),
                    lines: None,
                }),
                ticks: self.ticks.iter().cloned().collect(),
                newest: self.newest(),
            };
        }
        let first = self.ticks.partition_point(|tick| tick.number <= number);
        let ticks: Vec<_> = self.ticks.range(first..).cloned().collect();
        let last = self.gone.back().filter(|last| last.number > number);
        SinceTick {
            hole: last.map(|last| self.hole(number, last)),
            ticks,
            newest: self.newest(),
        }
    }

    /// What a watcher that had the tick of this number has not got of the ticks up to `last`, which left.
    fn hole(&self, number: u64, last: &GoneTick) -> Hole {
        let had = if number == self.start {
            Some((self.started_at, 0))
        } else {
            let index = self.gone.partition_point(|gone| gone.number < number);
            let had = self.gone.get(index).filter(|gone| gone.number == number);
            had.map(|had| (had.at, had.lines))
        };
        Hole {
            since: had.map(|(at, _)| at),
            until: last.at,
            lines: had.map(|(_, lines)| last.lines - lines),
        }
    }

    /// Following begins or ends: what was before is no part of what comes.
    pub(crate) fn break_off(&mut self) {
        self.unbroken = self.next;
    }

    /// The ticks of late that are followed without a break, for one who begins to watch.
    pub(crate) fn recent(&self, now: Timestamp) -> SinceTick {
        let oldest = now.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
        let is_recent = |tick: &&Arc<Tick>| tick.number >= self.unbroken && tick.at >= oldest;
        SinceTick {
            hole: None,
            ticks: self.ticks.iter().filter(is_recent).cloned().collect(),
            newest: self.newest(),
        }
    }
}

/// The time of the tick of this number of another process.
fn before(number: u64, now: Timestamp) -> Option<Timestamp> {
    /// 2026. What is smaller is the number of no process.
    const FIRST_MS: i64 = 1_767_225_600_000;
    let ms = i64::try_from(number).ok().filter(|ms| *ms >= FIRST_MS)?;
    Timestamp::from_millisecond(ms).ok().filter(|at| *at <= now)
}

#[cfg(test)]
mod tests {
    use logferry_fields::Format;
    use logferry_store::LineOrigin;

    use super::*;

    pub(crate) fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_000_000_000 + milliseconds).unwrap()
    }

    fn block(text: &[u8]) -> ReadLines {
        let (source, group) = ("198.51.100.1".parse().unwrap(), "web-1".parse().unwrap());
        let origin = LineOrigin {
            source: &source,
            group: &group,
            log: None,
            batch: "a",
            format: "",
        };
        ReadLines::read(origin, 0, text, &Format::default(), 0)
    }

    fn push(ring: &mut TickRing, milliseconds: i64, text: &[u8]) -> u64 {
        ring.push(at(milliseconds), vec![block(text)], Vec::new(), None)
            .number
    }

    #[test]
    fn watcher_gets_each_tick_once() {
        let mut ring = TickRing::new(at(0));
        let start = ring.newest();
        let first = push(&mut ring, 250, b"a\nb\n");
        let second = push(&mut ring, 500, b"c\n");
        let numbers = |since: SinceTick| since.ticks.iter().map(|tick| tick.number).collect::<Vec<_>>();
        assert_eq!(numbers(ring.since(start, at(600))), [first, second]);
        assert_eq!(numbers(ring.since(first, at(600))), [second]);
        assert_eq!(numbers(ring.since(second, at(600))), [0; 0]);
        assert_eq!(ring.since(first, at(600)).hole, None);
    }

    #[test]
    fn ticks_that_left_the_ring_are_a_hole() {
        let mut ring = TickRing::new(at(0));
        let start = ring.newest();
        let huge = vec![b'x'; 3 << 20];
        for number in 1..=10 {
            push(&mut ring, number * 250, &huge);
        }
        assert!(ring.bytes <= BYTES_MAX);
        let since = ring.since(start, at(3000));
        let hole = since.hole.expect("a hole");
        assert_eq!(hole.until, at(5 * 250));
        assert_eq!((hole.lines, since.ticks.len()), (Some(5), 5));
        assert_eq!(hole.since, Some(at(0)));
        assert_eq!(ring.since(start + 5 * 250, at(3000)).hole, None);
        // One that has seen some of them knows since when.
        let hole = ring.since(start + 2 * 250, at(3000)).hole.expect("a hole");
        assert_eq!(
            (hole.since, hole.until, hole.lines),
            (Some(at(2 * 250)), at(5 * 250), Some(3))
        );
    }

    #[test]
    fn what_is_known_of_gone_ticks_has_a_bound() {
        let mut ring = TickRing::new(at(0));
        let start = ring.newest();
        let count = i64::try_from(GONE_MAX + TICKS_MAX).unwrap() + 10;
        for number in 1..=count {
            push(&mut ring, number * 250, b"a\n");
        }
        assert_eq!(ring.gone.len(), GONE_MAX);
        let hole = |number| ring.since(number, at(count * 250)).hole.expect("a hole");
        let forgotten = hole(start + 5 * 250);
        assert_eq!((forgotten.since, forgotten.lines), (None, None));
        assert_eq!(
            hole(start + 20 * 250).lines,
            Some(u64::try_from(GONE_MAX).unwrap() - 10)
        );
    }

    #[test]
    fn new_watcher_is_shown_what_is_recent_and_without_a_break() {
        let mut ring = TickRing::new(at(0));
        push(&mut ring, 0, b"old\n");
        push(&mut ring, 400_000, b"new\n");
        let ticks = |ring: &TickRing| ring.recent(at(400_250)).ticks.len();
        assert_eq!(ticks(&ring), 1);
        ring.break_off();
        assert_eq!(ticks(&ring), 0);
        push(&mut ring, 400_250, b"newer\n");
        assert_eq!(ticks(&ring), 1);
    }

    #[test]
    fn number_of_another_process_is_a_hole() {
        let mut ring = TickRing::new(at(0));
        push(&mut ring, 250, b"a\n");
        for number in [0, ring.start - 1, ring.newest() + 1, u64::MAX] {
            let since = ring.since(number, at(300));
            assert!(since.hole.is_some_and(|hole| hole.lines.is_none()), "{number}");
            assert_eq!(since.ticks.len(), 1);
        }
        // What it tells of its time is not later than it was.
        let of_other = ring.since(ring.start - 5000, at(300)).hole.expect("a hole");
        assert_eq!(
            (of_other.since, ring.since(7, at(300)).hole.unwrap().since),
            (Some(at(-5000)), None)
        );
        // A process that starts later has only larger numbers, and knows when the last tick was.
        push(&mut ring, 1500, b"b\n");
        let later = TickRing::new(at(2000));
        assert!(later.start > ring.newest());
        let hole = later.since(ring.newest(), at(2000)).hole.expect("a hole");
        assert_eq!((hole.since, hole.until), (Some(at(1500)), at(2000)));
    }
}
