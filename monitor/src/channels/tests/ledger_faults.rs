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

/// The id of a message, and the subjects of its incidents.
type SentMessage = (String, Vec<String>);

/// The other side takes a message and answers with an error, or takes it. Then the ledger can be written again.
#[derive(Debug, Clone)]
struct MendingTransport {
    ledger: Arc<Mutex<Connection>>,
    is_refused: bool,
    sent: Arc<Mutex<Vec<SentMessage>>>,
}

impl MessageTransport for MendingTransport {
    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        let sql = self.ledger.lock().expect("no panic");
        sql.execute_batch("DROP TRIGGER IF EXISTS refuse")
            .expect("dropped");
        let subjects = message.items.iter().map(|item| item.last.subject.clone());
        let mut sent = self.sent.lock().expect("no panic");
        sent.push((message.id.clone(), subjects.collect()));
        if self.is_refused && sent.len() == 1 {
            return Err(ChannelError::Ended("1".to_owned()));
        }
        Ok(())
    }
}

/// The messages about `a` and, a little later, `b`. The ledger cannot count the first attempt.
async fn sent(is_refused: bool) -> Vec<SentMessage> {
    let mut host = RelayHost::new();
    let sql = Connection::open(host.data_dir().join(FILE_NAME)).expect("opened");
    let transport = MendingTransport {
        ledger: Arc::new(Mutex::new(sql)),
        is_refused,
        sent: Arc::default(),
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
    transport.sent.lock().expect("no panic").clone()
}

#[tokio::test]
async fn a_message_that_the_ledger_could_not_count_is_sent_once() {
    let sent = sent(false).await;
    let subjects: Vec<_> = sent.iter().map(|(_, subjects)| subjects.join(" ")).collect();
    assert_eq!(subjects, ["a", "b"]);
}

#[tokio::test]
async fn a_message_that_the_ledger_could_not_count_is_repeated_as_it_was() {
    let sent = sent(true).await;
    let subjects: Vec<_> = sent.iter().map(|(_, subjects)| subjects.join(" ")).collect();
    assert_eq!(
        subjects,
        ["a", "a", "b"],
        "the other side may have kept the first"
    );
    assert_eq!(sent[0].0, sent[1].0);
}
