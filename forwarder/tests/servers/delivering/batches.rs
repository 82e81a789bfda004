//! Deliveries to a real OpenSSH server.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use jiff::Timestamp;
use logferry_forwarder::ForwarderError;
use logferry_ledger::{BatchState, DeliveryCertainty, PublishedBatch};
use tokio_util::sync::CancellationToken;

use crate::support::{Direction, Running, Spool, Sshd, cutting_proxy, destination, names_in, until};

#[tokio::test(flavor = "multi_thread")]
async fn sealed_batches_are_delivered_whole_and_archived() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let large: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let batches = [
        spool.seal(0, b"first\nsecond\n"),
        spool.seal(1, &large),
        spool.seal(2, b""),
    ];
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    for batch in &batches {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;

    for (batch, text) in batches.iter().zip([&b"first\nsecond\n"[..], &large, b""]) {
        let path = sshd.drop_dir().join(batch.file_name());
        assert!(fs::read(&path).unwrap() == text, "{}", path.display());
        let delivery = spool.delivery(batch, "edw").unwrap();
        assert_eq!(delivery.path.as_deref(), path.to_str());
    }
    assert_eq!(names_in(&sshd.drop_dir()).len(), 3, "no temporary file stays");
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(spool.now(&batches[2]).sha256.as_deref(), Some(empty));
    assert_eq!(spool.down("edw"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_sealed_while_the_forwarder_waits_is_delivered_at_once() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let first = spool.seal(0, b"first\n");
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("the first", || spool.is_in(BatchState::Sent, &first)).await;
    // The forwarder looks by itself once an hour only.
    let second = spool.seal_in_ledger(1, b"second\n");
    spool.release(&second);
    until("the second", || spool.is_in(BatchState::Sent, &second)).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_the_relay_has_not_released_is_waited_for() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let held = spool.seal_in_ledger(0, b"held\n");
    let later = spool.seal(1, b"later\n");
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("the later one", || spool.is_in(BatchState::Sent, &later)).await;
    assert_eq!(spool.state(&held), BatchState::Ready);
    assert_eq!(spool.delivery(&held, "edw"), None, "no attempt is counted");
    spool.release(&held);
    until("the held one", || spool.is_in(BatchState::Sent, &held)).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_published_before_a_crash_is_recorded_and_not_sent_again() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, b"the same\n");
    let published = sshd.drop_dir().join(batch.file_name());
    fs::write(&published, b"the same\n").unwrap();
    let temporary = sshd.drop_dir().join(format!("{}.part", batch.file_name()));
    fs::write(&temporary, b"the sa").unwrap();
    let before = fs::metadata(&published).unwrap();

    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    let after = fs::metadata(&published).unwrap();
    assert_eq!(
        (before.ino(), before.ctime_nsec()),
        (after.ino(), after.ctime_nsec()),
        "untouched"
    );
    assert_eq!(names_in(&sshd.drop_dir()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn longer_temporary_file_left_by_a_crash_does_not_show_in_what_is_published() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, b"short\n");
    let temporary = sshd.drop_dir().join(format!("{}.part", batch.file_name()));
    fs::write(&temporary, vec![b'x'; 100_000]).unwrap();
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(names_in(&sshd.drop_dir()), [batch.file_name()]);
    assert_eq!(
        fs::read(sshd.drop_dir().join(batch.file_name())).unwrap(),
        b"short\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_recorded_before_a_crash_is_archived_at_the_next_start() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, b"recorded\n");
    let published = PublishedBatch {
        certainty: DeliveryCertainty::Published,
        path: "/drop/recorded".to_owned(),
        bytes: 9,
        sha256: "0".repeat(64),
        file_sha256: "0".repeat(64),
    };
    let name = "edw".parse().unwrap();
    spool
        .ledger
        .record_delivery(batch.id, &name, &published, true, Timestamp::now())
        .unwrap();
    let stranger = spool
        .file(BatchState::Ready, &batch)
        .with_file_name("stranger.log");
    fs::write(&stranger, b"not ours\n").unwrap();
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("archived", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert!(stranger.exists(), "what the ledger does not know is left alone");
    assert!(names_in(&sshd.drop_dir()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn different_file_of_that_name_is_never_overwritten_and_others_pass() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let (same_size, longer, free) = (
        spool.seal(0, b"ours\n"),
        spool.seal(1, b"ours\n"),
        spool.seal(2, b"ours\n"),
    );
    let there = |batch: &logferry_ledger::Batch| sshd.drop_dir().join(batch.file_name());
    fs::write(there(&same_size), b"his!\n").unwrap();
    fs::write(there(&longer), b"ours\nand more\n").unwrap();

    let mut edw = destination("edw", &sshd);
    edw.failed_every = Duration::from_millis(50);
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("the free one", || spool.is_in(BatchState::Sent, &free)).await;
    for batch in [&same_size, &longer] {
        until("failed", || spool.is_in(BatchState::Failed, batch)).await;
        let delivery = spool.delivery(batch, "edw").unwrap();
        assert!(delivery.attempts >= 3);
        let error = delivery.last_error.unwrap();
        assert!(
            error.contains("a different file of that name is there"),
            "{error}"
        );
    }
    assert_eq!(fs::read(there(&same_size)).unwrap(), b"his!\n");
    assert_eq!(fs::read(there(&longer)).unwrap(), b"ours\nand more\n");

    // Failed batches are tried again by themselves.
    fs::remove_file(there(&longer)).unwrap();
    until("sent from failed/", || spool.is_in(BatchState::Sent, &longer)).await;
    forwarder.stop().await;
    assert_eq!(fs::read(there(&longer)).unwrap(), b"ours\n");
    assert_eq!(names_in(&sshd.drop_dir()).len(), 3, "no temporary file stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_put_back_by_a_retry_goes_back_to_ready_and_out() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, b"ours\n");
    let there = sshd.drop_dir().join(batch.file_name());
    fs::write(&there, b"his!\n").unwrap();
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("failed", || spool.is_in(BatchState::Failed, &batch)).await;
    forwarder.stop().await;

    fs::remove_file(&there).unwrap();
    assert!(spool.ledger.retry(batch.id).unwrap());
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_was_altered_cut_or_lost_is_not_delivered() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let [altered, cut, lost, good] = [0, 1, 2, 3].map(|window| spool.seal(window, b"as it was sealed\n"));
    fs::write(spool.file(BatchState::Ready, &altered), b"as it was healed\n").unwrap();
    fs::write(spool.file(BatchState::Ready, &cut), b"as it was").unwrap();
    fs::remove_file(spool.file(BatchState::Ready, &lost)).unwrap();

    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("the good one", || spool.is_in(BatchState::Sent, &good)).await;
    for (batch, wanted) in [
        (&altered, "CRC-32C"),
        (&cut, "9 bytes, sealed with 17"),
        (&lost, "missing"),
    ] {
        until("failed", || spool.state(batch) == BatchState::Failed).await;
        let error = spool.delivery(batch, "edw").unwrap().last_error.unwrap();
        assert!(error.contains(wanted), "{error}");
    }
    forwarder.stop().await;
    assert_eq!(names_in(&sshd.drop_dir()), [good.file_name()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_destination_costs_no_attempts_and_gets_everything_later() {
    let (mut sshd, mut spool) = (Sshd::prepare(""), Spool::new());
    let batch = spool.seal(0, b"patient\n");
    let mut edw = destination("edw", &sshd);
    edw.retry.attempts = 1;
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("down", || spool.down("edw").is_some()).await;
    assert!(
        spool
            .down("edw")
            .unwrap()
            .contains("cannot connect to 127.0.0.1:")
    );
    assert_eq!(spool.state(&batch), BatchState::Ready);
    assert_eq!(spool.delivery(&batch, "edw"), None);
    sshd.launch();
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(spool.down("edw"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_folder_is_the_destinations_fault_and_not_the_batchs() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, b"patient\n");
    let edw = destination("edw", &sshd);
    fs::remove_dir(sshd.drop_dir()).unwrap();
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("down", || {
        spool
            .down("edw")
            .is_some_and(|error| error.contains("there is no folder"))
    })
    .await;
    assert_eq!(spool.delivery(&batch, "edw"), None);
    fs::create_dir(sshd.drop_dir()).unwrap();
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destination_that_is_down_does_not_hold_up_the_other() {
    let (up, mut down, mut spool) = (Sshd::start(), Sshd::prepare(""), Spool::new());
    let batch = spool.seal(0, b"for both\n");
    let destinations = vec![destination("up", &up), destination("down", &down)];
    let forwarder = Running::start(spool.dir(), destinations);
    let delivered = |name| {
        spool
            .delivery(&batch, name)
            .is_some_and(|it| it.delivered_at.is_some())
    };
    until("delivered to one", || delivered("up")).await;
    assert!(
        spool.is_in(BatchState::Ready, &batch),
        "not sent before all have it"
    );
    down.launch();
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    for sshd in [up, down] {
        assert_eq!(names_in(&sshd.drop_dir()), [batch.file_name()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_anywhere_end_in_one_right_file_for_each_batch() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let text: Vec<u8> = (0..40_000u32).flat_map(u32::to_le_bytes).collect();
    let batches: Vec<_> = (0..3).map(|window| spool.seal(window, &text)).collect();
    // From the middle of the handshake to far beyond the first batch, in both directions.
    let to_server = (0..24).map(|n| (Direction::ToServer, 500 + n * n * 900));
    let to_client = (0..24).map(|n| (Direction::ToClient, 1000 + n * 170));
    let cuts = to_server.zip(to_client).flat_map(|(a, b)| [a, b]).collect();
    let proxy = cutting_proxy(sshd.port, cuts);
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", proxy.port));
    let mut edw = destination("edw", &sshd);
    edw.port = proxy.port;
    edw.retry.backoff.max = edw.retry.backoff.initial;
    edw.failed_every = Duration::from_millis(10);

    let forwarder = Running::start(spool.dir(), vec![edw]);
    for batch in &batches {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    let names: Vec<_> = batches.iter().map(logferry_ledger::Batch::file_name).collect();
    assert_eq!(names_in(&sshd.drop_dir()), names);
    for name in names {
        assert!(fs::read(sshd.drop_dir().join(name)).unwrap() == text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_exchanged_anew_every_megabyte_change_no_byte() {
    let (sshd, mut spool) = (Sshd::start_with("RekeyLimit 1M"), Spool::new());
    let text: Vec<u8> = (0..8_000_000u32).flat_map(u32::to_le_bytes).collect();
    let batch = spool.seal(0, &text);
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert!(fs::read(sshd.drop_dir().join(batch.file_name())).unwrap() == text);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_forwarder_in_one_data_folder_is_refused() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, b"once\n");
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("at work", || spool.is_in(BatchState::Sent, &batch)).await;
    let config = logferry_config::ForwarderSettings {
        data_dir: spool.dir().to_owned(),
        interval: Duration::from_secs(1),
        destinations: vec![destination("edw", &sshd)],
        console_dir: None,
    };
    let second = logferry_forwarder::run(config, CancellationToken::new()).await;
    assert!(matches!(second, Err(ForwarderError::Lock { .. })), "{second:?}");
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarder_stops_while_a_server_keeps_silent_and_before_there_is_a_ledger() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (sshd, mut spool) = (Sshd::prepare(""), Spool::new());
    spool.seal(0, b"patient\n");
    let mut edw = destination("edw", &sshd);
    edw.port = silent.local_addr().unwrap().port();
    let forwarder = Running::start(spool.dir(), vec![edw.clone()]);
    let accepted = tokio::task::spawn_blocking(move || silent.accept().unwrap());
    let _connection = accepted.await.unwrap();
    forwarder.stop().await;

    let empty = tempfile::tempdir().unwrap();
    Running::start(empty.path(), vec![edw]).stop().await;
}
