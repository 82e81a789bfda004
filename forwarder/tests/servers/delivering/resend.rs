//! Resending delivered batches, and older batches to a destination that was added later.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use logferry_config::{Destination, Subscriber};
use logferry_forwarder::{ResendOutcome, resend};
use logferry_ledger::{Batch, BatchState};

use crate::connecting::embedded::Embedded;
use crate::support::{Running, Spool, Sshd, configured, destination, names_in, until};

fn ask(spool: &Spool, batches: &[Batch], destination: &Destination) -> ResendOutcome {
    let subscriber = Subscriber {
        name: destination.name.clone(),
        filter: destination.filter.clone(),
    };
    let now: Vec<_> = batches.iter().map(|batch| spool.now(batch)).collect();
    resend(spool.dir(), &now, &[subscriber], Some(Timestamp::now())).unwrap()
}

fn is_done(spool: &Spool, batch: &Batch, name: &str) -> bool {
    spool
        .delivery(batch, name)
        .is_some_and(|delivery| delivery.is_done())
}

/// Compresses a sent batch's file, as the housekeeper does.
fn compress(spool: &mut Spool, batch: &Batch) {
    let plain = spool.file(BatchState::Sent, batch);
    let compressed = File::create(plain.with_added_extension("gz")).unwrap();
    let mut encoder = GzEncoder::new(compressed, Compression::default());
    encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
    encoder.finish().unwrap();
    spool.ledger.mark_compressed(batch.id, Timestamp::now()).unwrap();
    fs::remove_file(plain).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn destination_added_later_gets_the_past_byte_for_byte_and_the_first_one_nothing_twice() {
    let (sshd, later, mut spool) = (Sshd::start(), Embedded::start().await, Spool::new());
    let large: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let texts = [&b"first\n"[..], &large, b"", b"no longer there\n"];
    let batches: Vec<_> = (0..4)
        .zip(texts)
        .map(|(window, text)| spool.seal(window, text))
        .collect();
    let edw = destination("edw", &sshd);
    let forwarder = Running::start(spool.dir(), vec![edw.clone()]);
    for batch in &batches {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    compress(&mut spool, &batches[1]);
    compress(&mut spool, &batches[2]);
    assert!(
        spool
            .ledger
            .mark_expired(batches[3].id, Timestamp::now())
            .unwrap()
    );
    fs::remove_file(spool.file(BatchState::Sent, &batches[3])).unwrap();

    let mut lab = later.destination();
    lab.name = "lab".parse().unwrap();
    let both = || vec![edw.clone(), lab.clone()];
    let forwarder = Running::start(spool.dir(), both());
    let sentinel = spool.seal(9, b"and now\n");
    until("sent", || spool.is_in(BatchState::Sent, &sentinel)).await;
    forwarder.stop().await;
    assert_eq!(
        names_in(&later.drop_dir()),
        [sentinel.file_name()],
        "not by itself"
    );

    let resent = ask(&spool, &batches, &lab);
    assert_eq!(resent.due.len(), 3);
    assert!(resent.due.iter().all(|due| !due.again));
    assert_eq!(resent.gone.len(), 1);
    assert_eq!(resent.gone[0].batch, batches[3].name());
    assert!(resent.gone[0].detail.contains("deleted by the housekeeper"));
    assert_eq!(
        ask(&spool, &batches[..1], &lab).waiting.len(),
        1,
        "asked for already"
    );
    assert!(
        !spool
            .ledger
            .mark_expired(batches[0].id, Timestamp::now())
            .unwrap(),
        "it is due"
    );
    let forwarder = Running::start(spool.dir(), both());
    for batch in &batches[..3] {
        until("at the new one", || is_done(&spool, batch, "lab")).await;
        assert_eq!(spool.state(batch), BatchState::Sent);
    }
    forwarder.stop().await;
    for (batch, text) in batches.iter().zip(texts).take(3) {
        assert!(fs::read(later.drop_dir().join(batch.file_name())).unwrap() == text);
    }
    assert_eq!(names_in(&later.drop_dir()).len(), 4);
    assert_eq!(names_in(&sshd.drop_dir()).len(), 5);
    assert!(
        spool
            .ledger
            .mark_expired(batches[0].id, Timestamp::now())
            .unwrap()
    );
    later.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_asked_for_once_more_is_written_only_if_it_is_missing_there() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batches: Vec<_> = (0..3).map(|window| spool.seal(window, b"the same\n")).collect();
    let mut edw = destination("edw", &sshd);
    edw.retry.attempts = 1;
    let forwarder = Running::start(spool.dir(), vec![edw.clone()]);
    for batch in &batches {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    let there = |batch: &Batch| sshd.drop_dir().join(batch.file_name());
    let before = fs::metadata(there(&batches[0])).unwrap();
    fs::remove_file(there(&batches[1])).unwrap();
    fs::write(there(&batches[2]), b"somebody's own\n").unwrap();

    let resent = ask(&spool, &batches, &edw);
    assert!(resent.due.len() == 3 && resent.due.iter().all(|due| due.again));
    let forwarder = Running::start(spool.dir(), vec![edw.clone()]);
    for batch in &batches[..2] {
        until("there again", || is_done(&spool, batch, "edw")).await;
    }
    let error = || {
        spool
            .delivery(&batches[2], "edw")
            .and_then(|delivery| delivery.last_error)
    };
    until("held", || error().is_some()).await;
    forwarder.stop().await;
    let after = fs::metadata(there(&batches[0])).unwrap();
    assert_eq!(
        (before.ino(), before.ctime_nsec()),
        (after.ino(), after.ctime_nsec()),
        "untouched"
    );
    assert_eq!(fs::read(there(&batches[1])).unwrap(), b"the same\n");
    assert_eq!(
        fs::read(there(&batches[2])).unwrap(),
        b"somebody's own\n",
        "never overwritten"
    );
    assert!(error().unwrap().contains("different file"), "{:?}", error());
    assert_eq!(names_in(&sshd.drop_dir()).len(), 3);
    for batch in &batches {
        assert!(spool.is_in(BatchState::Sent, batch), "their state stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_destination_does_not_want_or_is_open_is_not_resent_and_a_wish_ends_with_its_destination() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal_of("198.51.100.1", 0, b"one\n");
    let edw = destination("edw", &sshd);
    let mut lab = destination("lab", &sshd);
    lab.filter = configured("directory: d, sources: ['192.0.2.1']").filter;
    let forwarder = Running::start(spool.dir(), vec![edw.clone(), lab.clone()]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    let resent = ask(&spool, std::slice::from_ref(&batch), &lab);
    assert_eq!((resent.unwanted.len(), resent.due.len()), (1, 0));

    lab.filter = edw.filter.clone();
    assert_eq!(ask(&spool, std::slice::from_ref(&batch), &lab).due.len(), 1);
    assert_eq!(spool.ledger.resend_requests().unwrap().len(), 1);
    // Without it, nobody would ever free the file.
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("forgotten", || spool.ledger.resend_requests().unwrap().is_empty()).await;
    forwarder.stop().await;
}
