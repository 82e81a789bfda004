//! Windows that are forgotten, on a real file.

use jiff::SignedDuration;

use super::*;
use crate::tests::{TestResult, ledger, now};
use crate::{
    BatchContents, BatchGrowth, BatchId, Commit, DeliveryCertainty, NewBatch, PublishedBatch, Window,
};

fn new(source: &str, start: i64) -> NewBatch {
    NewBatch {
        source: source.parse().expect("valid"),
        group: "web-1".parse().expect("valid"),
        log: None,
        window: Window {
            start,
            seconds: 1200,
            utc_offset: 0,
        },
        base_name: format!("accessLog_{start}_{source}"),
    }
}

/// A batch of two lines that was delivered, and whose file is deleted if `is_expired`.
fn sent(
    ledger: &mut Ledger,
    new: &NewBatch,
    is_expired: bool,
) -> Result<BatchId, Box<dyn std::error::Error>> {
    let batch = ledger.open_batch(new, now())?;
    let contents = BatchContents {
        lines: 2,
        bytes: 10,
        crc32c: 0,
    };
    ledger.commit(&Commit {
        batches: vec![BatchGrowth {
            batch: batch.id,
            contents,
        }],
        ..Commit::default()
    })?;
    ledger.seal(batch.id, now())?;
    let published = PublishedBatch {
        certainty: DeliveryCertainty::Published,
        path: "/in/x.log".to_owned(),
        bytes: 10,
        sha256: "e3".to_owned(),
        file_sha256: "e3".to_owned(),
    };
    ledger.record_delivery(batch.id, &"edw".parse()?, &published, true, now())?;
    if is_expired {
        assert!(ledger.mark_expired(batch.id, now())?);
    }
    Ok(batch.id)
}

fn later() -> Timestamp {
    now() + SignedDuration::from_hours(24 * 90)
}

/// Forgets all windows that may be, and returns their numbers of batches.
fn forget(ledger: &mut Ledger, before: Timestamp) -> Result<Vec<u64>, LedgerError> {
    let windows = ledger.windows_to_forget(before, u32::MAX)?;
    let forgotten = windows
        .into_iter()
        .map(|window| ledger.forget_window(window, before));
    forgotten.filter_map(Result::transpose).collect()
}

#[test]
fn window_that_got_a_part_since_it_was_found_is_not_forgotten() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let window = new("198.51.100.1", now().as_second() - 100_000);
    sent(&mut ledger, &window, true)?;
    sent(&mut ledger, &new("198.51.100.1", now().as_second()), false)?;
    let found = ledger.windows_to_forget(later(), 9)?;
    assert_eq!(found, [(window.window.start, window.window.seconds)]);
    assert_eq!(ledger.windows_to_forget(later(), 0)?, []);

    let late = ledger.open_batch(&window, now())?;
    ledger.open_batch(&new("198.51.100.2", now().as_second()), now())?;
    for window in found {
        assert_eq!(ledger.forget_window(window, later())?, None);
    }
    assert_eq!(
        ledger.batch(late.id)?,
        Some(late),
        "its lines are still to be sent"
    );
    assert_eq!(ledger.forgotten_sources()?, []);
    assert_eq!(
        ledger.forget_window((1, 2), later())?,
        None,
        "nothing of it is here"
    );
    Ok(())
}

#[test]
fn window_is_forgotten_as_a_whole_and_its_sums_and_names_stay() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let old = now().as_second() - 100_000;
    for source in ["198.51.100.1", "198.51.100.2"] {
        sent(&mut ledger, &new(source, old), true)?;
    }
    // Not forgotten: one of its batches has a file. And the newest batch.
    sent(&mut ledger, &new("198.51.100.1", old + 1200), true)?;
    sent(&mut ledger, &new("198.51.100.2", old + 1200), false)?;
    sent(&mut ledger, &new("198.51.100.1", old + 2400), true)?;
    let totals = ledger.source_line_totals()?;

    assert_eq!(
        forget(&mut ledger, now())?,
        [0_u64; 0],
        "too young: deleted just now"
    );
    assert_eq!(forget(&mut ledger, later())?, [2]);
    assert_eq!(forget(&mut ledger, later())?, [0_u64; 0]);
    assert_eq!(ledger.batches(&crate::BatchFilter::default())?.len(), 3);
    let one = ForgottenSums {
        batches: 1,
        lines: 2,
        bytes: 10,
    };
    let both = ForgottenSums {
        batches: 2,
        lines: 4,
        bytes: 20,
    };
    assert_eq!(
        ledger.forgotten_sources()?,
        [("198.51.100.1".to_owned(), one), ("198.51.100.2".to_owned(), one)]
    );
    assert_eq!(
        ledger.forgotten_windows(&BatchFilter::default())?,
        [((old, 1200), both)]
    );
    assert_eq!(
        ledger.source_line_totals()?,
        totals,
        "nobody takes them for missing"
    );

    let late = ledger.open_batch(&new("198.51.100.1", old), now())?;
    assert_eq!(late.part, FORGOTTEN_PARTS + 1, "no name is given twice");
    let other = ledger.open_batch(&new("198.51.100.3", old), now())?;
    assert_eq!(other.part, 1, "nothing of this source is forgotten");
    Ok(())
}

#[test]
fn late_part_of_a_forgotten_window_is_forgotten_too_and_its_name_is_not_given_again() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let window = new("198.51.100.1", now().as_second() - 100_000);
    sent(&mut ledger, &window, true)?;
    sent(&mut ledger, &new("198.51.100.1", now().as_second()), false)?;
    assert_eq!(forget(&mut ledger, later())?, [1]);
    sent(&mut ledger, &window, true)?;
    sent(&mut ledger, &new("198.51.100.2", now().as_second()), false)?;
    assert_eq!(forget(&mut ledger, later())?, [1]);
    assert_eq!(ledger.open_batch(&window, now())?.part, FORGOTTEN_PARTS + 2);
    assert_eq!(
        ledger
            .forgotten_windows(&BatchFilter::default())?
            .first()
            .map(|(_, sums)| sums.batches),
        Some(2)
    );
    Ok(())
}

#[test]
fn file_gets_smaller_in_bounded_steps() -> TestResult {
    let (dir, mut ledger) = ledger()?;
    for number in 0..150 {
        sent(
            &mut ledger,
            &new("198.51.100.1", now().as_second() - 1200 * (1000 - number)),
            true,
        )?;
    }
    sent(&mut ledger, &new("198.51.100.1", now().as_second()), false)?;
    let size = |ledger: &Ledger| -> Result<u64, LedgerError> { Ok(ledger.file_use()?.bytes / 4096) };
    let before = size(&ledger)?;
    assert_eq!(forget(&mut ledger, later())?.len(), 150);
    let kept = size(&ledger)?;
    assert!(kept >= before, "free pages are kept");
    let left = ledger.give_back_pages(3)?;
    assert_eq!(size(&ledger)?, kept - 3);
    assert!(left > 3, "{left}");
    while ledger.give_back_pages(5)? > 0 {}
    assert_eq!(size(&ledger)?, kept - 3 - left);
    drop(ledger);
    assert_eq!(Ledger::open(dir.path())?.integrity()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn last_run_is_noted() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    assert_eq!(ledger.housekeeper_run()?, None);
    let mut run = HousekeeperRecord {
        started_at: now(),
        duration: Duration::from_millis(1234),
        compressed: 1,
        expired: 2,
        expired_early: 3,
        forgotten: 4,
        bytes_freed: 5,
        failed: 6,
        error: Some("the disk is full".to_owned()),
    };
    for _ in 0..2 {
        ledger.note_housekeeper_run(&run)?;
        assert_eq!(ledger.housekeeper_run()?.as_ref(), Some(&run));
        (run.compressed, run.error) = (7, None);
    }
    Ok(())
}
