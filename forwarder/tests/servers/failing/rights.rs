//! Accounts that may not do all that a delivery needs, servers without links, and receivers that are too quick.

use std::fs;

use logferry_embedded_servers::{FaultAction, FaultScript, ScriptedFault, SftpOperation};
use logferry_forwarder::{DeliveryError, check_destination};
use logferry_ledger::{BatchState, FailureKind};

use crate::connecting::embedded::Embedded;
use crate::support::{Running, Spool, names_in, until};

/// The file of the first batch.
const LOG: &str = "accessLog_00_198-51-100-44.log";

fn always(operation: SftpOperation, action: FaultAction) -> ScriptedFault {
    ScriptedFault {
        operation,
        file: ".part".to_owned(),
        skip: 0,
        times: usize::MAX,
        action,
    }
}

fn script(faults: Vec<ScriptedFault>) -> FaultScript {
    FaultScript {
        faults,
        ..FaultScript::default()
    }
}

/// What `check --connect` says.
async fn checked(embedded: &Embedded) -> Result<(), DeliveryError> {
    let edw = embedded.destination();
    tokio::task::spawn_blocking(move || check_destination(&edw))
        .await
        .unwrap()
}

async fn refused(embedded: &Embedded) -> String {
    checked(embedded).await.unwrap_err().explanation()
}

/// Delivers a batch until the destination is down; returns why, and the names there.
async fn down(embedded: &Embedded, spool: &mut Spool) -> (String, FailureKind, Vec<String>) {
    let batch = spool.seal(0, b"one\n");
    let forwarder = Running::start(spool.dir(), vec![embedded.destination()]);
    until("down", || spool.down("edw").is_some()).await;
    assert!(spool.is_in(BatchState::Ready, &batch), "it costs no attempt");
    forwarder.stop().await;
    let (error, kind) = (spool.down("edw").unwrap(), spool.down_kind("edw").unwrap());
    (error, kind, names_in(&embedded.drop_dir()))
}

#[tokio::test(flavor = "multi_thread")]
async fn account_with_all_rights_passes_the_check_and_finds_nothing_left() {
    let embedded = Embedded::start().await;
    checked(&embedded).await.unwrap();
    assert!(names_in(&embedded.drop_dir()).is_empty());
    // A check before was cut off.
    fs::write(embedded.drop_dir().join("logferry-check.part"), "old").unwrap();
    checked(&embedded).await.unwrap();
    assert!(names_in(&embedded.drop_dir()).is_empty());
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_that_may_not_write_is_told_by_the_check() {
    let embedded = Embedded::start().await;
    let script = script(vec![always(SftpOperation::Open, FaultAction::Deny)]);
    embedded.server.set_fault_script(script);
    let said = refused(&embedded).await;
    assert!(
        said.starts_with("the account cannot write files in /: "),
        "{said}"
    );
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_that_may_not_rename_is_told_by_the_check_and_refused_after_one_attempt_without_litter() {
    let (embedded, mut spool) = (Embedded::start().await, Spool::new());
    let deny = always(SftpOperation::Rename, FaultAction::Deny);
    embedded.server.set_fault_script(script(vec![deny.clone()]));
    let said = refused(&embedded).await;
    assert!(
        said.starts_with("the account cannot rename files in /: "),
        "{said}"
    );
    assert!(
        said.ends_with("let the user write, rename and delete there"),
        "{said}"
    );
    assert!(names_in(&embedded.drop_dir()).is_empty());

    embedded.server.set_fault_script(script(vec![deny]));
    let (error, kind, left) = down(&embedded, &mut spool).await;
    assert!(error.contains("but not rename them"), "{error}");
    assert_eq!((kind, left), (FailureKind::Permission, Vec::new()));
    // Plainly, and as POSIX has it.
    assert_eq!(embedded.server.fault_count(0), 2);
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_that_may_not_delete_is_told_by_the_check_before_it_leaves_anything() {
    let embedded = Embedded::start().await;
    let script = script(vec![always(SftpOperation::Remove, FaultAction::Deny)]);
    embedded.server.set_fault_script(script);
    let said = refused(&embedded).await;
    assert!(
        said.starts_with("the account cannot delete files in /: "),
        "{said}"
    );
    assert!(names_in(&embedded.drop_dir()).is_empty());
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_that_may_neither_rename_nor_delete_gets_one_file_however_often_it_is_tried() {
    let (embedded, mut spool) = (Embedded::start().await, Spool::new());
    let faults = [SftpOperation::Rename, SftpOperation::Remove].map(|it| always(it, FaultAction::Deny));
    embedded.server.set_fault_script(script(faults.into()));
    let (error, _, left) = down(&embedded, &mut spool).await;
    assert!(error.contains("but not rename them"), "{error}");
    assert_eq!(left, [format!("{LOG}.part")]);
    let before = embedded.server.fault_count(0);
    // A restart tries again at once.
    let forwarder = Running::start(spool.dir(), vec![embedded.destination()]);
    until("tried again", || embedded.server.fault_count(0) >= before + 2).await;
    forwarder.stop().await;
    assert_eq!(names_in(&embedded.drop_dir()), [format!("{LOG}.part")]);
    // Once it may, what is there is used.
    embedded.server.set_fault_script(FaultScript::default());
    let batch = spool
        .ledger
        .batch_named(LOG.trim_end_matches(".log"))
        .unwrap()
        .unwrap();
    let forwarder = Running::start(spool.dir(), vec![embedded.destination()]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(names_in(&embedded.drop_dir()), [LOG]);
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_renames_only_as_posix_does_gets_each_file_and_replaces_none() {
    let (embedded, mut spool) = (Embedded::start().await, Spool::new());
    embedded.server.set_fault_script(FaultScript {
        refuses_plain_rename: true,
        ..FaultScript::default()
    });
    checked(&embedded).await.unwrap();
    let taken = "accessLog_01_198-51-100-44.log";
    fs::write(embedded.drop_dir().join(taken), "theirs").unwrap();
    let (free, other) = (spool.seal(0, b"one\n"), spool.seal(1, b"two\n"));
    let forwarder = Running::start(spool.dir(), vec![embedded.destination()]);
    until("sent", || spool.is_in(BatchState::Sent, &free)).await;
    until("held", || spool.is_in(BatchState::Failed, &other)).await;
    forwarder.stop().await;
    assert_eq!(fs::read(embedded.drop_dir().join(LOG)).unwrap(), b"one\n");
    assert_eq!(fs::read(embedded.drop_dir().join(taken)).unwrap(), b"theirs");
    assert_eq!(names_in(&embedded.drop_dir()), [LOG, taken]);
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_takes_temporary_files_is_told_and_gets_no_copy_a_minute() {
    let (embedded, mut spool) = (Embedded::start().await, Spool::new());
    let take = always(SftpOperation::Close, FaultAction::TakeAway);
    embedded.server.set_fault_script(script(vec![take.clone()]));
    let said = refused(&embedded).await;
    assert!(
        said.contains("a receiver takes files as soon as they are closed"),
        "{said}"
    );
    assert!(said.contains("temp_suffix"), "{said}");

    embedded.server.set_fault_script(script(vec![take]));
    let (error, _, left) = down(&embedded, &mut spool).await;
    assert!(
        error.contains(&format!("before it got its final name: /{LOG}.part")),
        "{error}"
    );
    assert!(left.is_empty(), "{left:?}");
    assert!(
        embedded.server.fault_count(0) <= 2,
        "it is tried again once, then rarely"
    );
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_with_handles_longer_than_the_protocol_allows_gets_its_files() {
    let (embedded, mut spool) = (Embedded::start().await, Spool::new());
    embedded.server.set_fault_script(FaultScript {
        has_long_handles: true,
        ..FaultScript::default()
    });
    let batch = spool.seal(0, &vec![b'x'; 1 << 20]);
    let forwarder = Running::start(spool.dir(), vec![embedded.destination()]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(names_in(&embedded.drop_dir()), [LOG]);
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_whose_last_byte_came_before_the_connection_broke_is_not_sent_again() {
    let (embedded, mut spool) = (Embedded::start().await, Spool::new());
    let lost = always(SftpOperation::Write, FaultAction::DoThenDisconnect);
    embedded.server.set_fault_script(script(vec![lost]));
    let batch = spool.seal(0, b"one\n");
    let forwarder = Running::start(spool.dir(), vec![embedded.destination()]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(embedded.server.fault_count(0), 1);
    assert_eq!(names_in(&embedded.drop_dir()), [LOG]);
    embedded.server.stop().await;
}
