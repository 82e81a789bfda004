//! Tests of lines that have no time of their own.

use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{BatchSettings as Rules, TimestampFormat};
use logferry_ledger::{Batch, BatchFilter};

use super::{CommitterFixture, chunk, line, now, rules, split};
use crate::chunk::ChunkReply;

const MINUTE: Duration = Duration::from_mins(1);

/// A stream that sends one chunk after the other.
struct Sending {
    fixture: CommitterFixture,
    rules: Rules,
    sent: u64,
}

impl Sending {
    fn new(timestamp: TimestampFormat) -> Self {
        let rules = Rules {
            timestamp,
            ..rules(1 << 30)
        };
        let mut fixture = CommitterFixture::new(1 << 30);
        fixture.committer().rules = rules.clone();
        Self {
            fixture,
            rules,
            sent: 0,
        }
    }

    fn send(&mut self, body: &[u8], clock: Timestamp) {
        let mut chunk = chunk(1, self.sent, body);
        chunk.split = split(body, &self.rules);
        let answers = self.fixture.committer().group_commit(vec![(chunk, 0)], clock);
        assert!(
            matches!(answers[..], [(_, ChunkReply::Receipt(_))]),
            "{answers:?}"
        );
        self.sent += u64::try_from(body.len()).expect("small");
    }

    fn restart(&mut self) {
        self.fixture.restart();
        self.fixture.committer().rules = self.rules.clone();
    }

    /// Name and number of lines of each batch.
    fn batches(&self) -> Vec<(String, u64)> {
        let batches = self.fixture.ledger().batches(&BatchFilter::default());
        let shape = |batch: Batch| (batch.name(), batch.contents.lines);
        batches.expect("a ledger").into_iter().map(shape).collect()
    }
}

fn expected(batches: &[(&str, u64)]) -> Vec<(String, u64)> {
    let name = |minute: &str| format!("a_261121{minute}_198-51-100-1");
    batches
        .iter()
        .map(|(minute, lines)| (name(minute), *lines))
        .collect()
}

#[test]
fn lines_without_time_count_with_their_arrival_and_are_sealed_on_time() {
    for timestamp in [TimestampFormat::Auto, TimestampFormat::Arrival] {
        let mut sending = Sending::new(timestamp);
        let mut sealed = Vec::new();
        for minute in 0..4 {
            let clock = now() + minute * MINUTE;
            sending.send(b"no time\nneither\n", clock);
            // The stream itself shows that the window before is over; nobody waits until it is quiet.
            let due = sending.fixture.seal_due(clock);
            sealed.extend(due.iter().map(Batch::name));
        }
        let all = expected(&[("02_21-21", 2), ("02_22-22", 2), ("02_23-23", 2), ("02_24-24", 2)]);
        assert_eq!(sending.batches(), all, "{timestamp:?}");
        let names: Vec<_> = all.into_iter().map(|(name, _)| name).take(3).collect();
        assert_eq!(sealed, names, "{timestamp:?}");
    }
}

#[test]
fn lines_whose_time_is_not_wanted_count_with_their_arrival() {
    let mut sending = Sending::new(TimestampFormat::Arrival);
    sending.send(&line(20, "a"), now());
    sending.send(&line(20, "b"), now() + MINUTE);
    assert_eq!(sending.batches(), expected(&[("02_21-21", 1), ("02_22-22", 1)]));
}

#[test]
fn stack_trace_in_a_chunk_of_its_own_goes_with_its_line_while_that_arrived_lately() {
    let mut sending = Sending::new(TimestampFormat::Auto);
    let seal_after = sending.rules.seal_after;
    sending.send(&line(20, "a"), now());
    sending.send(b"  at some.Class\n", now() + MINUTE);
    sending.restart();
    sending.send(
        b"  at another.Class\n",
        now() + seal_after - Duration::from_secs(1),
    );
    assert_eq!(sending.batches(), expected(&[("08_20-20", 3)]));
    // From here on the stream has no times.
    sending.send(b"a line without time\n", now() + seal_after + MINUTE);
    sending.restart();
    sending.send(b"another\n", now() + seal_after + 2 * MINUTE);
    assert_eq!(
        sending.batches(),
        expected(&[("08_20-20", 3), ("02_24-24", 1), ("02_25-25", 1)])
    );
    // And here it has them again.
    sending.send(
        &[line(30, "b"), b"  at x\n".to_vec()].concat(),
        now() + 10 * MINUTE,
    );
    sending.send(b"  at y\n", now() + 10 * MINUTE);
    assert_eq!(sending.batches().len(), 4);
}

#[test]
fn lines_of_old_times_after_lines_without_time_are_not_sealed_one_by_one() {
    let mut sending = Sending::new(TimestampFormat::Auto);
    sending.send(b"# a header\n", now());
    for minute in 1..4 {
        sending.send(&line(minute, "an hour ago"), now());
        sending.fixture.seal_due(now());
        sending.send(&line(minute, "more of it"), now());
    }
    let parts: Vec<_> = sending
        .batches()
        .into_iter()
        .filter(|(name, _)| name.contains(".2"))
        .collect();
    assert_eq!(parts, []);
}

#[test]
fn rest_of_a_long_line_without_time_leaves_its_stream_without_times() {
    use logferry_protocol::chunk::{LineEnd, StreamEnd};
    let mut sending = Sending::new(TimestampFormat::Auto);
    let beginning = b"the beginning of a long line";
    let open = super::chunk_ending(1, 0, beginning, LineEnd::Open, StreamEnd::Live);
    sending.fixture.committer().group_commit(vec![(open, 0)], now());
    sending.sent = u64::try_from(beginning.len()).expect("small");
    sending.send(b" and its end\n", now() + MINUTE);
    sending.send(b"the next\n", now() + MINUTE);
    assert_eq!(sending.batches(), expected(&[("02_21-21", 1), ("02_22-22", 1)]));
}
