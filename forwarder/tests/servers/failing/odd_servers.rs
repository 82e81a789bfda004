//! OpenSSH with limits, full disks, slow disks and hung processes.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{Destination, Login, Secret};
use logferry_forwarder::{FailureScope, check_destination};
use logferry_ledger::{BatchState, FailureKind, TransferRecord};
use logferry_test_servers::ran_as_root;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    ACCOUNT_ID, Direction, PASSWORD, PasswordAge, Running, Spool, Sshd, cutting_proxy, destination,
    limiting_proxy, names_in, until,
};

/// The processes that serve a server's connections.
fn connections(sshd: &Sshd) -> Vec<Pid> {
    let children = |pid: u32| -> Vec<u32> {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let mut all = children(sshd.pid());
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        all.extend(children(*pid));
        at += 1;
    }
    all.into_iter()
        .map(|pid| Pid::from_raw(pid.try_into().unwrap()))
        .collect()
}

fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        let _ = kill(*process, signal);
    }
}

/// The batches in flight to `edw`, by the ledger.
fn in_flight(spool: &Spool) -> Vec<TransferRecord> {
    let edw = "edw".parse().unwrap();
    spool.ledger.transfers(&edw, Timestamp::UNIX_EPOCH).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_for_one_session_at_a_time_gets_everything_and_is_never_down() {
    let (sshd, mut spool) = (Sshd::start_with("MaxSessions 1\nMaxStartups 1"), Spool::new());
    let proxy = limiting_proxy(sshd.port, 1);
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", proxy.port));
    let text = vec![b'x'; 1 << 20];
    // Enough for further sessions to try their luck.
    let batches: Vec<_> = (0..80).map(|window| spool.seal(window, &text)).collect();
    let mut edw = destination("edw", &sshd);
    edw.port = proxy.port;
    edw.retry.attempts = 1;
    let forwarder = Running::start(spool.dir(), vec![edw]);
    for batch in &batches {
        until("sent", || {
            assert_eq!(spool.down("edw"), None);
            spool.is_in(BatchState::Sent, batch)
        })
        .await;
    }
    forwarder.stop().await;
    for batch in &batches {
        assert_eq!(spool.delivery(batch, "edw").unwrap().attempts, 0);
    }
    assert_eq!(names_in(&sshd.drop_dir()).len(), batches.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_lets_in_one_at_a_time_lets_in_all_sessions_one_after_the_other() {
    let config = "MaxStartups 1\nPerSourceMaxStartups 1";
    let (sshd, mut spool) = (Sshd::start_with(config), Spool::new());
    let text = vec![b'x'; 1 << 20];
    let batches: Vec<_> = (0..80).map(|window| spool.seal(window, &text)).collect();
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    for batch in &batches {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    assert!(!sshd.log().contains("drop connection"), "{}", sshd.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn user_with_a_password_and_nothing_but_sftp_in_a_jail_is_enough() {
    if ran_as_root("failing::odd_servers::user_with_a_password_and_nothing_but_sftp_in_a_jail_is_enough") {
        return;
    }
    let config = "PasswordAuthentication yes\nChrootDirectory /mnt\nForceCommand internal-sftp\n";
    let (mut sshd, mut spool) = (Sshd::prepare_account(config, PasswordAge::Fresh), Spool::new());
    let jail = sshd.path("jail");
    fs::create_dir_all(jail.join("in")).unwrap();
    chown(jail.join("in"), Some(ACCOUNT_ID), Some(ACCOUNT_ID)).unwrap();
    sshd.mount(&format!("--bind {} /mnt", jail.display()));
    sshd.own_root();
    sshd.launch();
    let edw = Destination {
        directory: "/in".to_owned(),
        login: Login::Password(Secret::new(PASSWORD)),
        ..destination("edw", &sshd)
    };
    let batch = spool.seal(0, b"jailed\n");
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    let published = jail.join("in").join(batch.file_name());
    assert_eq!(fs::read(&published).unwrap(), b"jailed\n");
    assert_eq!(fs::metadata(published).unwrap().uid(), ACCOUNT_ID);
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_that_may_only_be_read_fails_the_batch_for_lack_of_permission() {
    if ran_as_root(
        "failing::odd_servers::folder_that_may_only_be_read_fails_the_batch_for_lack_of_permission",
    ) {
        return;
    }
    let (sshd, mut spool) = (Sshd::start_with_account("", PasswordAge::Fresh), Spool::new());
    chown(sshd.drop_dir(), Some(0), Some(0)).unwrap();
    let batch = spool.seal(0, b"not here\n");
    let mut edw = destination("edw", &sshd);
    edw.failed_every = Duration::from_millis(50);
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("failed", || spool.is_in(BatchState::Failed, &batch)).await;
    let delivery = spool.delivery(&batch, "edw").unwrap();
    assert_eq!(delivery.error_kind, Some(FailureKind::Permission));
    let error = delivery.last_error.unwrap();
    assert!(
        error.contains("permission denied") && error.ends_with("the user the right to write there"),
        "{error}"
    );
    assert_eq!(spool.down("edw"), None, "it answers, after all");
    chown(sshd.drop_dir(), Some(ACCOUNT_ID), Some(ACCOUNT_ID)).unwrap();
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    let delivery = spool.delivery(&batch, "edw").unwrap();
    assert_eq!((delivery.error_kind, delivery.last_error), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_is_named_with_its_free_space_and_costs_no_attempt() {
    if ran_as_root("failing::odd_servers::full_disk_is_named_with_its_free_space_and_costs_no_attempt") {
        return;
    }
    let (mut sshd, mut spool) = (Sshd::prepare_account("", PasswordAge::Fresh), Spool::new());
    let drop_dir = sshd.drop_dir();
    sshd.mount(&format!(
        "-t tmpfs -o size=4m,mode=777 none {}",
        drop_dir.display()
    ));
    sshd.launch();
    let drop_dir = sshd.seen(&drop_dir);
    let filler = drop_dir.join("filler");
    fs::write(&filler, vec![b'f'; 3 << 20]).unwrap();
    let text = vec![b'x'; 2 << 20];
    let batch = spool.seal(0, &text);
    let mut edw = destination("edw", &sshd);
    edw.retry.attempts = 1;
    // An upload that fails just before the space is freed is asked about after it, and costs an attempt.
    edw.failed_every = Duration::from_millis(50);
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("down", || spool.down("edw").is_some()).await;
    assert_eq!(spool.down_kind("edw"), Some(FailureKind::NoSpace));
    let error = spool.down("edw").unwrap();
    assert!(
        error.starts_with("the destination is full: ") && error.contains(" free, and 2.0 MiB on the way"),
        "{error}"
    );
    assert!(spool.is_in(BatchState::Ready, &batch));
    assert_eq!(spool.delivery(&batch, "edw"), None);
    fs::remove_file(filler).unwrap();
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(names_in(&drop_dir), [batch.file_name()]);
    assert!(fs::read(drop_dir.join(batch.file_name())).unwrap() == text);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_hangs_in_the_middle_of_a_transfer_is_left_and_gets_the_rest_later() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let text: Vec<u8> = (0..1 << 20u32).flat_map(u32::to_le_bytes).collect();
    let batch = spool.seal(0, &text);
    let mut edw = destination("edw", &sshd);
    edw.bandwidth = Some(1 << 20);
    edw.stall_after = Duration::from_secs(3);
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("half of it", || {
        in_flight(&spool)
            .iter()
            .any(|it| it.bytes_done > text.len() as u64 / 4)
    })
    .await;
    let hung = connections(&sshd);
    signal(&hung, Signal::SIGSTOP);
    until("noticed", || {
        let delivery = spool.delivery(&batch, "edw");
        delivery.is_some_and(|it| it.error_kind == Some(FailureKind::Stalled))
    })
    .await;
    assert_eq!(spool.down_kind("edw"), Some(FailureKind::Stalled));
    signal(&hung, Signal::SIGKILL);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert!(fs::read(sshd.drop_dir().join(batch.file_name())).unwrap() == text);
    assert_eq!(in_flight(&spool), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_transfer_goes_on_for_longer_than_a_server_may_be_silent() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, &vec![b'x'; 600 << 10]);
    let mut edw = destination("edw", &sshd);
    edw.bandwidth = Some(64 << 10);
    edw.stall_after = Duration::from_secs(4);
    edw.retry.attempts = 1;
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("progress", || {
        in_flight(&spool)
            .iter()
            .any(|it| it.batch == batch.id && it.bytes_total == 600 << 10 && it.bytes_per_second > 0)
    })
    .await;
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(spool.delivery(&batch, "edw").unwrap().attempts, 0);
    assert_eq!(in_flight(&spool), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_closes_an_idle_connection_is_connected_to_anew_without_a_word() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let first = spool.seal(0, b"first\n");
    let mut edw = destination("edw", &sshd);
    edw.retry.attempts = 1;
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("the first", || spool.is_in(BatchState::Sent, &first)).await;
    signal(&connections(&sshd), Signal::SIGKILL);
    until("closed", || connections(&sshd).is_empty()).await;
    let second = spool.seal(1, b"second\n");
    until("the second", || {
        assert_eq!(spool.down("edw"), None);
        spool.is_in(BatchState::Sent, &second)
    })
    .await;
    forwarder.stop().await;
    assert_eq!(spool.delivery(&second, "edw").unwrap().attempts, 0);
}

#[test]
fn server_without_sftp_for_the_user_is_told_from_a_broken_connection() {
    let sshd = Sshd::start_with("ForceCommand true\n");
    let error = check_destination(&destination("edw", &sshd)).unwrap_err();
    let said = error.explanation();
    assert!(said.contains("ended the session before SFTP began"), "{said}");
    assert_eq!(
        (error.scope(), error.kind()),
        (FailureScope::Destination, FailureKind::Protocol)
    );
}

#[test]
fn connection_that_is_cut_while_sftp_starts_is_no_refusal_of_sftp() {
    let sshd = Sshd::start();
    // From the keys to the first answer of SFTP, closer than the answers are long.
    let cuts: Vec<_> = (0..120).map(|n| (Direction::ToClient, 2400 + n * 20)).collect();
    let number = cuts.len();
    let proxy = cutting_proxy(sshd.port, cuts);
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", proxy.port));
    let mut edw = destination("edw", &sshd);
    edw.port = proxy.port;
    let cut: Vec<_> = (0..number)
        .filter_map(|_| check_destination(&edw).err())
        .map(|error| error.explanation())
        .collect();
    let while_sftp_starts = cut.iter().filter(|said| said.contains(" broke")).count();
    assert!(while_sftp_starts > 0, "{cut:#?}");
    assert!(
        !cut.iter().any(|said| said.contains("offers no SFTP")),
        "{cut:#?}"
    );
}
