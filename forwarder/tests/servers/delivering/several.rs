//! Several destinations with different filters.

use std::fs;
use std::time::Duration;

use logferry_config::Destination;
use logferry_ledger::{Batch, BatchState};

use crate::support::{Running, Spool, Sshd, configured, destination, names_in, until};

/// A destination that wants one source only, in a folder of its own.
fn wanting(name: &str, sshd: &Sshd, source: &str) -> Destination {
    let directory = sshd.path(name);
    fs::create_dir_all(&directory).unwrap();
    Destination {
        filter: configured(&format!("directory: d, sources: ['{source}']")).filter,
        directory: directory.to_str().unwrap().to_owned(),
        ..destination(name, sshd)
    }
}

fn is_at(spool: &Spool, batch: &Batch, name: &str) -> bool {
    spool
        .delivery(batch, name)
        .is_some_and(|delivery| delivery.delivered_at.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_destination_gets_what_it_wants_and_sent_is_what_is_wherever_it_is_wanted() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let one = spool.seal_of("198.51.100.1", 0, b"one\n");
    let two = spool.seal_of("198.51.100.2", 0, b"two\n");
    let nobodys = spool.seal_of("192.0.2.3", 0, b"three\n");
    let both = wanting("both", &sshd, "198.51.100.0/24");
    let second = wanting("second", &sshd, "198.51.100.2");
    let forwarder = Running::start(spool.dir(), vec![both, second]);
    for batch in [&one, &two] {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    assert_eq!(names_in(&sshd.path("both")), [one.file_name(), two.file_name()]);
    assert_eq!(names_in(&sshd.path("second")), [two.file_name()]);
    assert!(
        spool.is_in(BatchState::Ready, &nobodys),
        "what nobody wants stays"
    );
    assert_eq!(spool.ledger.deliveries(nobodys.id).unwrap(), []);

    // Until somebody does.
    let all = wanting("both", &sshd, "0.0.0.0/0");
    let forwarder = Running::start(spool.dir(), vec![all]);
    until("sent", || spool.is_in(BatchState::Sent, &nobodys)).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_waited_for_a_destination_which_was_removed_is_sent_at_the_next_start() {
    let (up, down, mut spool) = (Sshd::start(), Sshd::prepare(""), Spool::new());
    let batch = spool.seal(0, b"for both\n");
    let both = vec![destination("up", &up), destination("down", &down)];
    let forwarder = Running::start(spool.dir(), both);
    until("delivered to one", || is_at(&spool, &batch, "up")).await;
    forwarder.stop().await;
    assert!(spool.is_in(BatchState::Ready, &batch));
    let forwarder = Running::start(spool.dir(), vec![destination("up", &up)]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(names_in(&up.drop_dir()), [batch.file_name()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_failed_at_one_destination_is_delivered_to_the_others() {
    let (good, bad, mut spool) = (Sshd::start(), Sshd::start(), Spool::new());
    let batches: Vec<_> = (0..3).map(|window| spool.seal(window, b"for both\n")).collect();
    // Something else has the first one's name there.
    fs::write(bad.drop_dir().join(batches[0].file_name()), b"taken\n").unwrap();
    let mut refusing = destination("bad", &bad);
    refusing.retry.attempts = 1;
    refusing.failed_every = Duration::from_millis(50);
    let forwarder = Running::start(spool.dir(), vec![refusing, destination("good", &good)]);
    until("all at the good one", || {
        batches.iter().all(|batch| is_at(&spool, batch, "good"))
    })
    .await;
    until("held", || spool.is_in(BatchState::Failed, &batches[0])).await;
    for batch in &batches[1..] {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    fs::remove_file(bad.drop_dir().join(batches[0].file_name())).unwrap();
    until("sent", || spool.is_in(BatchState::Sent, &batches[0])).await;
    forwarder.stop().await;
    assert_eq!(names_in(&good.drop_dir()).len(), 3);
    assert_eq!(names_in(&bad.drop_dir()).len(), 3);
}
