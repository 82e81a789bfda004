//! Two senders whose disks were one: their files have the same beginning, and so the same stream.

use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{FileQuery, KnownStream, ResolveRequest};
use logferry_protocol::sender::SenderId;
use proptest::prelude::*;

use super::*;

/// A sender reduced to what the relay relies on: it asks, compares the end of a stream with its file, and posts from there.
struct MiniSender {
    id: Option<SenderId>,
    file: Vec<u8>,
    /// Of its stream; counts on when the stream parts from the file.
    generation: u32,
    acked: usize,
    /// Posted, not answered yet.
    posted: usize,
    is_sure: bool,
    written: u32,
}

fn prefix() -> Vec<u8> {
    let lines = (0..3).map(|number| String::from_utf8(line(0, &format!("both {number}"))).expect("text"));
    lines.collect::<String>().into_bytes()
}

fn source() -> SourceId {
    "198.51.100.1".parse().expect("valid")
}

fn stream_of(file: &[u8], generation: u32) -> (FileKey, Head, StreamId) {
    let (key, head) = (FileKey { dev: 1, inode: 7 }, Head::of(file).expect("a line"));
    (key, head, StreamId::derive(key, head, generation))
}

impl MiniSender {
    fn new(id: Option<u128>, acked: usize) -> Self {
        Self {
            id: id.map(SenderId::new),
            file: prefix(),
            generation: 0,
            acked,
            posted: acked,
            is_sure: false,
            written: 0,
        }
    }

    /// All lines have the same length, so that the ends of two senders' chunks meet.
    fn write(&mut self, name: char) {
        self.written += 1;
        self.file.extend(line(0, &format!("{name} {:03}", self.written)));
    }

    fn holds(&self, known: &KnownStream) -> bool {
        let end = usize::try_from(known.committed.get()).expect("small");
        self.file
            .get(..end)
            .is_some_and(|before| known.tail.matches(before))
    }

    fn ask(&mut self, fixture: &mut CommitterFixture) {
        let (_, head, own) = stream_of(&self.file, self.generation);
        let query = FileQuery {
            is_continued: false,
            log: "access".parse().expect("valid"),
            head,
            acknowledged: None,
            files: Vec::new(),
        };
        let request = ResolveRequest { files: vec![query] };
        let answer = fixture.committer().resolve(&(source(), self.id), &request, now());
        let known = answer.expect("the ledger works").candidates.remove(0);
        match known.iter().find(|known| known.stream == own) {
            Some(known) if self.holds(known) => {
                self.acked = usize::try_from(known.committed.get()).expect("small");
            }
            Some(_) => self.part(&known, fixture),
            None => self.acked = 0,
        }
        (self.posted, self.is_sure) = (self.acked, true);
    }

    /// Another sender has gone on with the stream: a new one begins after the acknowledged bytes.
    fn part(&mut self, known: &[KnownStream], fixture: &mut CommitterFixture) {
        let is_known = |generation| {
            let (.., id) = stream_of(&self.file, generation);
            known.iter().any(|known| known.stream == id)
        };
        self.generation = (0..100)
            .find(|generation| !is_known(*generation))
            .expect("one is free");
        let mut skip = self.chunk(0, 0);
        skip.header.range = ByteRange::new(Offset::ZERO, Offset::new(self.acked as u64)).expect("forwards");
        skip.header.tail = Tail::of(&self.file[..self.acked]);
        let reply = fixture.send(vec![skip]).remove(&0);
        assert!(
            matches!(reply, Some(ChunkReply::Receipt(receipt)) if receipt.outcome == ChunkOutcome::Stored),
            "{reply:?}"
        );
    }

    fn chunk(&self, start: usize, end: usize) -> ReceivedChunk<Vec<u8>> {
        let (.., id) = stream_of(&self.file, self.generation);
        let mut chunk = chunk(7, start as u64, &self.file[start..end]);
        (chunk.header.file, chunk.header.head, _) = stream_of(&self.file, self.generation);
        chunk.header.stream = id;
        chunk.header.tail = Tail::of(&self.file[..end]);
        chunk.sender = self.id;
        chunk
    }

    /// The next line, as a chunk.
    fn post(&mut self) -> Option<(usize, ReceivedChunk<Vec<u8>>)> {
        let rest = self.is_sure.then(|| &self.file[self.posted..])?;
        let end = self.posted + memchr::memchr(b'\n', rest)? + 1;
        let chunk = self.chunk(self.posted, end);
        self.posted = end;
        Some((end, chunk))
    }

    fn answered(&mut self, end: usize, reply: Option<&ChunkReply>) {
        match reply {
            Some(ChunkReply::Receipt(receipt)) if receipt.outcome != ChunkOutcome::OffsetMismatch => {
                self.acked = self.acked.max(end);
            }
            _ => self.is_sure = false,
        }
    }

    fn settle(&mut self, fixture: &mut CommitterFixture) {
        for _ in 0..100 {
            if !self.is_sure {
                self.ask(fixture);
            }
            let Some((end, chunk)) = self.post() else { return };
            let replies = fixture.send(vec![chunk]);
            self.answered(end, replies.get(&0));
        }
        panic!("it does not come to an end");
    }
}

fn stored_lines(fixture: &CommitterFixture) -> Vec<String> {
    let stored = String::from_utf8(fixture.stored()).expect("text");
    let mut lines: Vec<String> = stored.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn expected(senders: &[MiniSender]) -> Vec<String> {
    let both = prefix();
    let own = senders
        .iter()
        .flat_map(|sender| sender.file[both.len()..].to_vec());
    let text = String::from_utf8(both.iter().copied().chain(own).collect()).expect("text");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A relay that has the common beginning from the first sender, and the two after the copy.
fn after_the_copy(ids: [Option<u128>; 2]) -> (CommitterFixture, [MiniSender; 2]) {
    let mut fixture = CommitterFixture::new(u64::MAX);
    let mut first = MiniSender::new(ids[0], 0);
    first.settle(&mut fixture);
    let second = MiniSender::new(ids[1], first.acked);
    (fixture, [first, second])
}

#[test]
fn a_range_that_another_sender_stored_is_no_repeat() {
    let (mut fixture, mut senders) = after_the_copy([Some(1), Some(2)]);
    senders[0].write('a');
    senders[0].settle(&mut fixture);
    // The second has not asked since, and its line has the same length.
    senders[1].write('b');
    senders[1].is_sure = true;
    let (_, chunk) = senders[1].post().expect("a line");
    let reply = fixture.send(vec![chunk]).remove(&0);
    assert!(
        matches!(reply, Some(ChunkReply::Receipt(receipt)) if receipt.outcome == ChunkOutcome::OffsetMismatch),
        "{reply:?}"
    );
    senders[1].is_sure = false;
    senders[1].settle(&mut fixture);
    assert_eq!(stored_lines(&fixture), expected(&senders));
}

#[test]
fn the_second_chunk_of_a_refused_first_is_refused_too() {
    let (mut fixture, mut senders) = after_the_copy([Some(1), Some(2)]);
    senders[1].ask(&mut fixture);
    senders[1].write('b');
    senders[1].write('b');
    let (first, second) = (
        senders[1].post().expect("a line"),
        senders[1].post().expect("a line"),
    );
    senders[0].write('a');
    senders[0].settle(&mut fixture);
    // Now the stream ends where the second chunk begins, after another line.
    for (end, chunk) in [second, first] {
        let reply = fixture.send(vec![chunk]).remove(&0);
        senders[1].answered(end, reply.as_ref());
    }
    assert!(!senders[1].is_sure);
    senders[1].settle(&mut fixture);
    assert_eq!(stored_lines(&fixture), expected(&senders));
}

#[test]
fn the_writer_of_a_stream_is_known_after_a_restart() {
    let (mut fixture, mut senders) = after_the_copy([Some(1), Some(2)]);
    senders[0].write('a');
    senders[0].settle(&mut fixture);
    fixture.restart();
    senders[1].write('b');
    senders[1].is_sure = true;
    let (end, chunk) = senders[1].post().expect("a line");
    let reply = fixture.send(vec![chunk]).remove(&0);
    senders[1].answered(end, reply.as_ref());
    assert!(!senders[1].is_sure, "{reply:?}");
    senders[1].settle(&mut fixture);
    assert_eq!(stored_lines(&fixture), expected(&senders));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever two senders do in whatever order, with lost answers and restarts of the relay: each line is there once.
    #[test]
    fn two_senders_of_one_stream_lose_and_double_nothing(
        steps in prop::collection::vec((0_usize..2, 0_u8..6), 0..40),
        second_is_old in any::<bool>(),
    ) {
        let second = (!second_is_old).then_some(2);
        let (mut fixture, mut senders) = after_the_copy([Some(1), second]);
        let mut on_the_way: [Vec<(usize, ReceivedChunk<Vec<u8>>)>; 2] = [Vec::new(), Vec::new()];
        for (who, step) in steps {
            let sender = &mut senders[who];
            match step {
                0 | 1 => sender.write(['a', 'b'][who]),
                2 => on_the_way[who].extend(sender.post()),
                3 if on_the_way[who].is_empty() && !sender.is_sure => sender.ask(&mut fixture),
                3 | 4 => {
                    // The relay parks a chunk that has no predecessor, and no clock runs here.
                    for (end, chunk) in on_the_way[who].drain(..) {
                        let replies = fixture.send(vec![chunk]);
                        // Some answers are lost.
                        sender.answered(end, replies.get(&0).filter(|_| step == 3));
                    }
                }
                _ => fixture.restart(),
            }
        }
        for (who, on_the_way) in on_the_way.into_iter().enumerate() {
            for (end, chunk) in on_the_way {
                let replies = fixture.send(vec![chunk]);
                senders[who].answered(end, replies.get(&0));
            }
        }
        // Chunks that still wait for a predecessor may come in between.
        for _ in 0..3 {
            for sender in &mut senders {
                sender.settle(&mut fixture);
            }
        }
        prop_assert_eq!(stored_lines(&fixture), expected(&senders));
    }
}
