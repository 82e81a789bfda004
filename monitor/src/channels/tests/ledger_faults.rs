//! Messages that are sent while the ledger cannot be written.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use logferry_ledger::{AlertEventKind, FILE_NAME};
use rusqlite::Connection;

use super::super::alert_message::AlertMessage;
use super::super::channel_outbox::{ChannelOutbox, PassEnd};
use super::super::delivery::MessageTransport;
use super::event;
use crate::channel_error::ChannelError;
use crate::tests::settings::MonitoredHost as _;
use logferry_testkit::relay_host::RelayHost;

/// The other side takes a message and answers with an error, or takes it. Then the ledger can be written again.
#[derive(Debug, Clone)]
struct MendingTransport {
    ledger: Arc<Mutex<Connection>>,
    is_refused: bool,
    ids: Arc<Mutex<Vec<String>>>,
}

impl MessageTransport for MendingTransport {
    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        let sql = self.ledger.lock().expect("no panic");
        sql.execute_batch("DROP TRIGGER IF EXISTS refuse")
            .expect("dropped");
        let mut ids = self.ids.lock().expect("no panic");
        ids.push(message.id.clone());
        if self.is_refused && ids.len() == 1 {
            return Err(ChannelError::Ended("1".to_owned()));
        }
        Ok(())
    }
}

/// The ids of the messages that are sent of one event, whose first attempt the ledger cannot count.
async fn sent(is_refused: bool) -> Vec<String> {
    let mut host = RelayHost::new();
    let sql = Connection::open(host.data_dir().join(FILE_NAME)).expect("opened");
    let transport = MendingTransport {
        ledger: Arc::new(Mutex::new(sql)),
        is_refused,
        ids: Arc::default(),
    };
    let mut outbox = ChannelOutbox::new(&host.config(1), "chat", transport.clone());
    let mut queue = |subject: &str| {
        let event = event(subject, AlertEventKind::Began, (0, 0));
        let queued = host
            .ledger
            .queue_alert_events(&[("chat".to_owned(), event)], Timestamp::now());
        queued.expect("queued");
    };
    queue("a");
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON alert_events BEGIN SELECT RAISE(ABORT, 'full'); END";
    transport
        .ledger
        .lock()
        .expect("no panic")
        .execute_batch(refuse)
        .expect("made");
    outbox.pass(Timestamp::MAX).await.expect("the ledger works again");
    // Comes too late for a message that is repeated.
    queue("b");
    while !matches!(
        outbox.pass(Timestamp::MAX).await.expect("it works"),
        PassEnd::Idle
    ) {}
    transport.ids.lock().expect("no panic").clone()
}

#[tokio::test]
async fn a_message_that_the_ledger_could_not_count_is_sent_once() {
    let ids = sent(false).await;
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_message_that_the_ledger_could_not_count_is_repeated_as_it_was() {
    let ids = sent(true).await;
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert_eq!(ids[0], ids[1], "the other side may have kept it");
}
