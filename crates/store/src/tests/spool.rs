//! Lines that are not in the store yet: found in the spool's files, each once, in the order of the store.

use std::path::Path;

use jiff::Timestamp;
use logferry_durable::{Disk, RealDisk};
use logferry_fields::Format;
use logferry_ledger::{Batch, BatchState, Ledger};
use logferry_spool::Spool;
use logferry_testkit::batches::{add_batch, new_batch, put_file};

use super::fixture::{CursorForm, SMALL, TestLine, append, ids, pages_of};
use crate::writer::open_with;
use crate::{Query, Searcher, SpoolLines, StorePosition, UnindexedBatch};

/// Second `second` of the window of `new_batch`.
fn line_at(second: u32, status: u16) -> String {
    format!(
        "192.0.2.7 - - [21/Nov/2026:02:{:02}:{:02} +0000] \"GET /a HTTP/1.1\" {status} 5 \"-\" \"-\"\n",
        20 + second / 60,
        second % 60
    )
}

fn time_ms(second: u32) -> i64 {
    (1_795_227_600 + i64::from(second)) * 1000
}

/// A data folder with one batch in each state; the sent one is compressed.
fn batches(data_dir: &Path) -> Vec<Batch> {
    let mut ledger = Ledger::open_or_create(data_dir).expect("a ledger");
    let spool = Spool::new(RealDisk, data_dir);
    let mut batches = Vec::new();
    for (number, state) in (0_u32..).zip(BatchState::ALL) {
        let mut text: String = (0..10)
            .map(|at| line_at(number + at * 7, if at == 3 { 500 } else { 200 }))
            .collect();
        text.push_str("a line without a time\n");
        let new = new_batch(&format!("10.0.0.{number}"), &format!("b{number}"));
        let batch = add_batch(&mut ledger, &new, text.as_bytes(), state, Timestamp::UNIX_EPOCH);
        let mut path = spool.path(&batch, state);
        let mut bytes = text.into_bytes();
        if state == BatchState::Sent {
            path.set_extension("log.gz");
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, &bytes).expect("compressed");
            bytes = gzip.finish().expect("compressed");
        }
        put_file(&RealDisk, &path, &bytes);
        batches.push(batch);
    }
    batches
}

/// The ids of the hits, from the store and the spool.
fn found(
    data_dir: &Path,
    position: Option<StorePosition>,
    batches: &[(Batch, u64)],
    text: &str,
) -> (Vec<String>, crate::SearchEnd) {
    let spool = Spool::new(RealDisk, data_dir);
    let batches = batches.iter().cloned();
    let lines = SpoolLines {
        spool: &spool,
        batches: batches
            .map(|(batch, indexed)| UnindexedBatch { batch, indexed })
            .collect(),
        format_of: &|_| Format::default(),
    };
    let searcher = Searcher::new(RealDisk, &data_dir.join("index"), position);
    let query = Query::parse(text).expect("a query");
    let (hits, _) = pages_of(&searcher, Some(&lines), &query, (7, None), CursorForm::Kept);
    assert!(hits.is_sorted_by_key(|hit| std::cmp::Reverse(hit.time_ms)));
    let (again, mut ends) = pages_of(&searcher, Some(&lines), &query, (7, None), CursorForm::Text);
    assert_eq!(again, hits);
    (ids(&hits), ends.pop().expect("a page"))
}

#[test]
fn without_a_store_the_spool_is_searched_in_every_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let batches: Vec<(Batch, u64)> = batches(folder.path())
        .into_iter()
        .map(|batch| (batch, 0))
        .collect();
    let (all, end) = found(folder.path(), None, &batches, "");
    assert_eq!(all.len(), 44);
    assert!(end.damage.is_empty(), "{:?}", end.damage);
    assert_eq!(
        found(folder.path(), None, &batches, "status:5xx level:error path:/a")
            .0
            .len(),
        4
    );
    assert_eq!(
        found(folder.path(), None, &batches, "source:10.0.0.2 02*")
            .0
            .len(),
        10
    );
    // It has the time of the line before it.
    let (timeless, _) = found(folder.path(), None, &batches, "\"without a time\"");
    assert_eq!(timeless.len(), 4);
    assert_eq!(all[0], timeless[0]);
}

#[test]
fn lines_of_store_and_spool_are_found_once_in_one_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut batches: Vec<(Batch, u64)> = batches(folder.path())
        .into_iter()
        .map(|batch| (batch, 0))
        .collect();
    let (expected, _) = found(folder.path(), None, &batches, "200");
    let mut writer = open_with(RealDisk, &folder.path().join("index"), None, time_ms(0), SMALL)
        .expect("opened")
        .writer;
    let len = line_at(0, 200).len() as u64;
    for (number, (batch, indexed)) in (0_u32..).zip(&mut batches) {
        // The first is not in the store at all, the last one up to its line without a time.
        for at in 0..number * 3 + u32::from(number == 3) {
            append(
                &mut writer,
                &TestLine {
                    source: batch.source.to_string(),
                    log: None,
                    batch: batch.name(),
                    format: "combined",
                    offset: *indexed,
                    time_ms: time_ms(number + at * 7),
                    level: None,
                    status: Some(200),
                    field: None,
                    bytes: line_at(number + at * 7, if at == 3 { 500 } else { 200 }).into_bytes(),
                },
            )
            .expect("added");
            *indexed += len;
        }
    }
    let position = writer.sync(time_ms(0)).expect("synced");
    let (hits, end) = found(folder.path(), Some(position), &batches, "200");
    assert_eq!(hits, expected);
    assert_eq!(hits.len(), 36);
    assert!(end.damage.is_empty(), "{:?}", end.damage);
}

#[test]
fn batch_whose_file_is_gone_or_damaged_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let batches: Vec<(Batch, u64)> = batches(folder.path())
        .into_iter()
        .map(|batch| (batch, 0))
        .collect();
    let spool = Spool::new(RealDisk, folder.path());
    RealDisk
        .remove(&spool.path(&batches[0].0, BatchState::Open))
        .expect("removed");
    let sent = spool
        .path(&batches[2].0, BatchState::Sent)
        .with_extension("log.gz");
    put_file(&RealDisk, &sent, b"no gzip");
    let (hits, end) = found(folder.path(), None, &batches, "200");
    assert_eq!(hits.len(), 18);
    assert_eq!(end.damage.len(), 2, "{:?}", end.damage);
    assert!(
        end.damage
            .iter()
            .any(|it| it == "lines of b0 are not found: its file is gone from the spool")
    );
}
