//! Reads of the pages of windows: from the ledger, and from the files of the spool.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use logferry_durable::RealDisk;
use logferry_ledger::{Batch, BatchFilter, Ledger, LedgerError, SourceReach};
use logferry_protocol::names::SourceId;
use logferry_spool::Spool;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::grid::{DayFacts, GridDay};
use super::silent_times::SilentTime;
use super::window_view::WindowFacts;
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::host::blocking;
use crate::pages::parts::times::of_second;

/// Bytes of a download that are read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// Blocks of a download that wait for the browser.
const BLOCKS_WAITING: usize = 4;

/// A browser that takes no block for so long gets no more: others wait for its turn.
const SEND_WAIT: Duration = Duration::from_mins(1);

/// All batches, gaps and sources of a day.
pub(crate) async fn day(state: &AppState, day: &GridDay) -> Result<DayFacts, Problem> {
    let filter = BatchFilter {
        source: None,
        since: Some(of_second(day.from)),
        until: Some(of_second(day.until)),
    };
    let (from, until) = (day.from, day.until);
    let expected = state.settings.shared.expected_sources.clone();
    let read = move |ledger: &Ledger| -> Result<DayFacts, LedgerError> {
        let mut gaps = ledger.gaps()?;
        gaps.retain(|gap| gap.bytes() > 0 && (from..until).contains(&gap.noticed_at.as_second()));
        let progress = ledger.source_progress()?.into_iter();
        let reached: BTreeMap<_, _> = progress.map(|it| (it.source, it.reached)).collect();
        let known = ledger.sources()?;
        let mut sources: Vec<_> = known
            .iter()
            .map(|source| {
                let reached = reached.get(&source.source).copied().flatten();
                let reach = SourceReach::new(source, reached);
                (source.source.to_string(), source.group.to_string(), reach)
            })
            .collect();
        let never = expected
            .iter()
            .filter(|name| !known.iter().any(|source| source.source == **name));
        sources.extend(never.map(|name| {
            let (name, group) = (name.to_string(), "expected, never seen".to_owned());
            (name, group, SourceReach::default())
        }));
        let incidents = ledger.incidents(of_second(from))?.into_iter();
        Ok(DayFacts {
            silent_times: incidents.filter_map(SilentTime::of).collect(),
            batches: ledger.outlines(&filter)?,
            gaps,
            sources,
        })
    };
    state.host.ledger(read).await
}

/// The batches of one source on a day; none, if that is no source.
pub(super) async fn batches_of(state: &AppState, source: &str, day: &GridDay) -> Result<Vec<Batch>, Problem> {
    let Ok(source) = source.parse::<SourceId>() else {
        return Ok(Vec::new());
    };
    let filter = BatchFilter {
        source: Some(source),
        since: Some(of_second(day.from)),
        until: Some(of_second(day.until)),
    };
    state.host.ledger(move |ledger| ledger.batches(&filter)).await
}

/// The batches of the windows in so many seconds with all that is known of them, and the last window's end.
pub(super) async fn window(
    state: &AppState,
    source: &str,
    start: i64,
    seconds: i64,
) -> Result<(WindowFacts, i64), Problem> {
    let source: SourceId = source
        .parse()
        .map_err(|_| Problem::not_found(format!("`{source}` is no source")))?;
    let destinations: Vec<_> = state
        .settings
        .shared
        .host
        .destinations
        .iter()
        .map(|it| it.name.clone())
        .collect();
    let spool = Spool::new(RealDisk, state.host.data_dir());
    let read = move |ledger: &Ledger| -> Result<(WindowFacts, i64), LedgerError> {
        let filter = BatchFilter {
            source: Some(source),
            since: Some(of_second(start)),
            until: Some(of_second(start.saturating_add(seconds))),
        };
        let batches = ledger.batches(&filter)?;
        let mut starts: Vec<_> = batches
            .iter()
            .map(|batch| batch.window.start)
            .chain([start])
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let records = starts.into_iter().map(|start| ledger.window_records_at(start));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let end = batches.iter().map(|batch| batch.window.end()).max();
        let mut facts = WindowFacts {
            records: records.into_iter().flatten().collect(),
            ..WindowFacts::default()
        };
        for destination in &destinations {
            let paths = ledger.delivered_manifests(destination, &filter)?.into_iter();
            facts
                .manifests
                .extend(paths.map(|path| (destination.to_string(), path)));
        }
        for batch in batches {
            // A folder that cannot be read now only costs the link to the file.
            let file = spool.find(&batch).ok().flatten();
            let deliveries = ledger.deliveries(batch.id)?;
            facts.batches.push((batch, deliveries, file.is_some()));
        }
        facts
            .batches
            .sort_by_key(|(batch, ..)| (batch.window.start, batch.base_name.clone(), batch.part));
        facts.records.retain(|record| {
            facts
                .batches
                .iter()
                .any(|(batch, ..)| record.covers.after < batch.id && batch.id <= record.covers.last)
        });
        Ok((facts, end.unwrap_or(start.saturating_add(1200))))
    };
    state.host.ledger(read).await
}

/// A batch by its name.
pub(crate) async fn batch(state: &AppState, name: String) -> Result<Batch, Problem> {
    let wanted = name.trim_end_matches(".log").to_owned();
    let found = state
        .host
        .ledger(move |ledger| ledger.batch_named(&wanted))
        .await?;
    found.ok_or_else(|| {
        Problem::not_found("the ledger has no batch of this name; it is kept for `housekeeper.keep_ledger`")
    })
}

/// The lines of a batch as a stream: read on a thread of its own, no faster than the browser takes them.
pub(crate) async fn lines(state: &AppState, batch: Batch) -> Result<BlockStream, Problem> {
    let turn = state.download_turn().await?;
    let spool = Spool::new(RealDisk, state.host.data_dir());
    let length = batch.contents.bytes;
    let opened = blocking(move || Ok(spool.find_and_open(&batch)?)).await?;
    let Some((_, reader)) = opened else {
        return Err(Problem::not_found(
            "the file of this batch is not in the spool any more; its lines are at the destinations, and in /search while the index keeps them",
        ));
    };
    let (send, receive) = mpsc::channel(BLOCKS_WAITING);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let take = |block| {
            let sending = async { send.send_timeout(block, SEND_WAIT).await };
            runtime.block_on(sending).is_ok()
        };
        if let Err(error) = send_blocks(reader, length, |block| take(Ok(block))) {
            take(Err(error));
        }
    });
    Ok(BlockStream {
        blocks: receive,
        left: length,
    })
}

/// Sends so many bytes; an error if there are fewer, so that a cut file is no whole download.
fn send_blocks(reader: impl Read, length: u64, mut take: impl FnMut(Bytes) -> bool) -> io::Result<()> {
    let mut reader = reader.take(length);
    while reader.limit() > 0 {
        let mut block = vec![0; BLOCK_BYTES];
        let read = reader.read(&mut block)?;
        if read == 0 {
            let missing = reader.limit();
            let text = format!("the file of this batch is {missing} bytes shorter than the ledger says");
            return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
        }
        block.truncate(read);
        if !take(Bytes::from(block)) {
            // The browser went away, or takes nothing.
            return Ok(());
        }
    }
    Ok(())
}

/// Blocks of a download.
#[derive(Debug)]
pub(crate) struct BlockStream {
    blocks: mpsc::Receiver<io::Result<Bytes>>,
    /// Bytes to come.
    left: u64,
}

impl Body for BlockStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.blocks.poll_recv(context).map(|block| match block {
            Some(Ok(block)) => {
                self.left = self.left.saturating_sub(block.len() as u64);
                Some(Ok(Frame::data(block)))
            }
            Some(Err(error)) => Some(Err(error)),
            // An end without an error would make a part a whole download.
            None if self.left > 0 => {
                self.left = 0;
                let text = "the browser took nothing for too long";
                Some(Err(io::Error::new(ErrorKind::TimedOut, text)))
            }
            None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_download_that_nobody_takes_ends_as_a_failed_one() {
        let (mut calls, text) = (0, vec![b'x'; 3 * BLOCK_BYTES]);
        let take = |_| {
            calls += 1;
            calls < 2
        };
        send_blocks(&text[..], 3 * BLOCK_BYTES as u64, take).expect("read");
        assert_eq!(calls, 2, "nothing is read behind a block that is not taken");
        for (left, is_whole) in [(4, true), (5, false)] {
            let (send, blocks) = mpsc::channel(BLOCKS_WAITING);
            send.try_send(Ok(Bytes::from_static(b"one\n"))).expect("room");
            drop(send);
            let body = BlockStream { blocks, left }.collect().await;
            assert_eq!(body.is_ok(), is_whole);
        }
    }

    #[test]
    fn a_download_of_a_file_that_is_too_short_fails() {
        let mut taken = Vec::new();
        let mut take = |block| {
            taken.push(block);
            true
        };
        send_blocks(&b"one\ntwo\n"[..], 4, &mut take).expect("whole");
        let error = send_blocks(&b"one\n"[..], 8, &mut take).expect_err("cut");
        assert_eq!(taken[0], "one\n");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("4 bytes shorter"), "{error}");
    }
}
