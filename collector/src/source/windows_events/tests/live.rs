//! Live files, as copy programs and mounted shares bring them: overwritten in place, cut short, replaced while they are read.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{CHUNK, Folder, HEADER, INTERVAL, chunk, evtx, numbers};
use crate::source::SourceContext;
use crate::source::testing::{context, until};
use crate::source::windows_events::follow::follow;
use crate::source::windows_events::read::{NumbersAndDamages, OpenEvents};

/// In units of Windows, 100 ns.
const HOUR: u64 = 36_000_000_000;

impl Folder {
    /// Overwrites a file in place, as a program does that copies without a temporary file.
    fn overwrite(&self, name: &str, contents: &[u8]) {
        #[expect(clippy::disallowed_methods, reason = "a test's file")]
        std::fs::write(self.path(name), contents).expect("written");
    }
}

#[tokio::test]
async fn file_that_is_copied_over_itself_again_and_again_gives_each_record_once() {
    let folder = Folder::new();
    let (context, kept) = context(None);
    let context = SourceContext {
        max_record: 64 << 10,
        ..context
    };
    let settings = folder.settings();
    let copies = async {
        let mut chunks = Vec::new();
        for copy in 0..6 {
            chunks.push(chunk(copy * 4 + 1, copy));
            let whole = evtx(&chunks);
            // The source looks now and then while the copy is not finished.
            for part in [0, 100, HEADER + 1000, whole.len() - CHUNK / 2, whole.len()] {
                folder.overwrite("live.evtx", &whole[..part]);
                tokio::time::sleep(2 * INTERVAL).await;
            }
            until(|| kept.records().len() >= chunks.len() * 4).await;
        }
        context.shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(follow(&settings, &context, INTERVAL), copies);
    ended.expect("stopped");
    assert_eq!(numbers(&kept.records()), (1..=24).collect::<Vec<_>>());
}

#[tokio::test]
async fn shorter_file_says_nothing_again_and_a_cleared_one_all() {
    let folder = Folder::new();
    folder.overwrite("live.evtx", &evtx(&[chunk(1, 0), chunk(5, 1), chunk(9, 2)]));
    let (records, position, _) = folder.follow(None, |_, kept| kept.records().len() == 12).await;
    assert_eq!(numbers(&records), (1..=12).collect::<Vec<_>>());
    folder.overwrite("live.evtx", &evtx(&[chunk(1, 0)]));
    folder.put(
        "whole.evtx",
        &evtx(&[chunk(1, 0), chunk(5, 1), chunk(9, 2), chunk(13, 3)]),
    );
    let (records, position, _) = folder.follow(position, |_, kept| kept.records().len() == 4).await;
    assert_eq!(numbers(&records), [13, 14, 15, 16]);
    // The log was cleared: its numbers begin again.
    folder.overwrite("live.evtx", &evtx(&[chunk(1, 50), chunk(5, 51)]));
    let (records, position, _) = folder.follow(position, |_, kept| kept.records().len() == 8).await;
    assert_eq!(numbers(&records), (1..=8).collect::<Vec<_>>());
    folder.overwrite("live.evtx", &evtx(&[chunk(1, 50), chunk(5, 51), chunk(9, 52)]));
    let (records, _, context) = folder.follow(position, |_, kept| kept.records().len() == 4).await;
    assert_eq!(numbers(&records), [9, 10, 11, 12]);
    assert_eq!(context.status.report().gaps, 0);
}

#[tokio::test]
async fn records_that_were_overwritten_between_two_copies_are_a_named_gap() {
    let folder = Folder::new();
    folder.put("live.evtx", &evtx(&[chunk(1, 0)]));
    let (_, position, _) = folder.follow(None, |_, kept| kept.records().len() == 4).await;
    folder.put("live.evtx", &evtx(&[chunk(21, 5 * HOUR), chunk(25, 6 * HOUR)]));
    let (records, position, context) = folder
        .follow(position, |context, _| context.status.report().gaps > 0)
        .await;
    assert_eq!(numbers(&records), (21..=28).collect::<Vec<_>>());
    let (_, text) = context.status.report().last_error.expect("told");
    assert!(
        text.contains("live.evtx: records are missing, by number: 5 to 20; copy the file more often"),
        "{text}"
    );
    // They come later, with an archive.
    folder.put(
        "archive.evtx",
        &evtx(&[
            chunk(5, HOUR),
            chunk(9, 2 * HOUR),
            chunk(13, 3 * HOUR),
            chunk(17, 4 * HOUR),
            chunk(21, 5 * HOUR),
        ]),
    );
    let (records, _, context) = folder
        .follow(position, |_, kept| kept.records().len() == 16)
        .await;
    assert_eq!(numbers(&records), (5..=20).collect::<Vec<_>>());
    assert_eq!(context.status.report().gaps, 0);
}

fn opened(folder: &Folder) -> (OpenEvents, NumbersAndDamages) {
    OpenEvents::open(&folder.path("live.evtx"), &CancellationToken::new()).expect("a file")
}

fn sent(events: OpenEvents, wanted: BTreeMap<u64, i128>) -> (Vec<u64>, Vec<String>) {
    let (batches, mut ready) = mpsc::channel(10);
    let damages = events.send(wanted, &batches);
    drop(batches);
    let mut found = Vec::new();
    while let Ok(batch) = ready.try_recv() {
        found.extend(batch.iter().map(|event| event.event_record_id));
    }
    (found, damages)
}

#[test]
fn file_that_is_replaced_while_it_is_read_is_read_to_its_end() {
    let folder = Folder::new();
    folder.put("live.evtx", &evtx(&[chunk(1, 0), chunk(5, 1)]));
    let (events, (wanted, _)) = opened(&folder);
    // Cleared: the same numbers are of other records.
    folder.put("live.evtx", &evtx(&[chunk(1, 50), chunk(5, 51)]));
    assert_eq!(sent(events, wanted), ((1..=8).collect(), Vec::new()));
}

#[test]
fn records_that_take_the_place_of_others_while_the_file_is_read_are_not_taken_for_them() {
    let folder = Folder::new();
    folder.put("live.evtx", &evtx(&[chunk(1, 0), chunk(5, 1)]));
    let (events, (wanted, _)) = opened(&folder);
    folder.overwrite("live.evtx", &evtx(&[chunk(1, 50), chunk(5, 1)]));
    assert_eq!(sent(events, wanted), ((5..=8).collect(), Vec::new()));
}

#[test]
fn record_that_a_file_has_twice_is_sent_once() {
    let folder = Folder::new();
    folder.put("live.evtx", &evtx(&[chunk(1, 0), chunk(1, 0)]));
    let (events, (wanted, _)) = opened(&folder);
    assert_eq!(sent(events, wanted).0, [1, 2, 3, 4]);
}

#[tokio::test]
async fn large_file_is_left_in_the_middle_when_the_collector_stops_and_read_on_by_the_next() {
    let folder = Folder::new();
    let chunks: Vec<_> = (0..400).map(|at| chunk(at * 4 + 1, at)).collect();
    folder.put("large.evtx", &evtx(&chunks));
    let (context, kept) = context(None);
    let context = SourceContext {
        max_record: 64 << 10,
        ..context
    };
    let settings = folder.settings();
    let stop = async {
        // Looked at whenever something was done: so at most two parts are captured.
        while kept.records().is_empty() {
            tokio::task::yield_now().await;
        }
        context.shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(follow(&settings, &context, INTERVAL), stop);
    ended.expect("stopped");
    let (first, position) = (kept.records(), context.capture.position());
    assert!(first.len() < 1600, "{}", first.len());
    let rest = 1600 - first.len();
    let (second, ..) = folder
        .follow(position, |_, kept| kept.records().len() >= rest)
        .await;
    assert_eq!(numbers(&[first, second].concat()), (1..=1600).collect::<Vec<_>>());
}

#[test]
fn nothing_more_is_looked_for_in_a_file_after_the_stop() {
    let folder = Folder::new();
    folder.put("live.evtx", &evtx(&[chunk(1, 0)]));
    let stop = CancellationToken::new();
    stop.cancel();
    let (_, (numbers, _)) = OpenEvents::open(&folder.path("live.evtx"), &stop).expect("a file");
    assert!(numbers.is_empty());
}
