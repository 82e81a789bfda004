//! Deliveries to the embedded server, a second implementation that can be made to misbehave.

use std::fs;
use std::path::PathBuf;

use logferry_config::{Destination, Login, Secret};
use logferry_embedded_servers::{SftpOptions, SftpServer};
use logferry_forwarder::{FailureScope, check_destination};
use logferry_ledger::{BatchState, FailureKind};
use tempfile::TempDir;

use crate::support::{Running, Spool, destination_on_port, names_in, until};

/// The embedded server and its folder.
pub(crate) struct Embedded {
    pub(crate) server: SftpServer,
    dir: TempDir,
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("drop")).unwrap();
        let options = SftpOptions {
            root: dir.path().join("drop"),
            user: "ferry".to_owned(),
            password: Some("open sesame".to_owned()),
            authorized_key: None,
        };
        let server = SftpServer::start(options).await.unwrap();
        fs::write(dir.path().join("known_hosts"), server.known_hosts_line()).unwrap();
        Self { server, dir }
    }

    pub(crate) fn drop_dir(&self) -> PathBuf {
        self.dir.path().join("drop")
    }

    /// The file by which clients know it.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.dir.path().join("known_hosts")
    }

    pub(crate) fn destination(&self) -> Destination {
        let login = Login::Password(Secret::new("open sesame"));
        destination_on_port("edw", self.server.port(), login, self.known_hosts())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn password_opens_and_a_wrong_one_is_the_logins_fault() {
    let embedded = Embedded::start().await;
    let mut edw = embedded.destination();
    let blames = tokio::task::spawn_blocking(move || {
        let right = check_destination(&edw).map_err(|error| error.scope());
        edw.login = Login::Password(Secret::new("guessed"));
        let wrong = check_destination(&edw).map_err(|error| error.scope());
        [right, wrong]
    });
    assert_eq!(blames.await.unwrap(), [Ok(()), Err(FailureScope::Login)]);
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_a_full_server_refuses_waits_in_ready_and_goes_out_when_there_is_room() {
    let (embedded, mut spool) = (Embedded::start().await, Spool::new());
    embedded.server.refuse_writes(true);
    let batch = spool.seal(0, b"no room\n");
    let mut edw = embedded.destination();
    edw.retry.attempts = 1;
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("down", || spool.down("edw").is_some()).await;
    let error = spool.down("edw").unwrap();
    assert!(
        error.contains("the server says: no space left") && error.ends_with("free space at the destination"),
        "{error}"
    );
    assert_eq!(spool.down_kind("edw"), Some(FailureKind::NoSpace));
    assert!(spool.is_in(BatchState::Ready, &batch));
    assert_eq!(spool.delivery(&batch, "edw"), None, "it costs no attempt");
    embedded.server.refuse_writes(false);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(names_in(&embedded.drop_dir()), [batch.file_name()]);
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_died_while_idle_costs_no_attempt() {
    let (embedded, mut spool) = (Embedded::start().await, Spool::new());
    let first = spool.seal(0, b"first\n");
    let forwarder = Running::start(spool.dir(), vec![embedded.destination()]);
    until("the first", || spool.is_in(BatchState::Sent, &first)).await;
    embedded.server.cut_connections();
    let second = spool.seal(1, b"second\n");
    until("the second", || spool.is_in(BatchState::Sent, &second)).await;
    forwarder.stop().await;
    assert_eq!(spool.delivery(&second, "edw").unwrap().attempts, 0);
    assert_eq!(names_in(&embedded.drop_dir()).len(), 2);
    embedded.server.stop().await;
}
